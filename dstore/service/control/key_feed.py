"""What proxies verify clients with: kDate keys of access keys, and digests of bearer tokens.

Control alone has the secrets, sealed in its store; a proxy gets keys that are good for single days
(`security.signing_keys`). Each control process derives them once and answers all proxies from
memory; before an answer it sees, by one number of the store, whether anything was changed meanwhile
by itself or by another control. So a revocation reaches a proxy with its next question.

A `state` names exactly what there is: a digest over all of it and the day. Whoever quotes one that
this process has been through gets the difference; anybody else is given everything, page by page.
What a difference leads to is named by its own state again, so neither another control nor a store
restored from a backup can leave a proxy with a key that was revoked.
"""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from dstore.base.clock import NS_PER_S
from dstore.base.limits import CREDENTIALS_CHANGES_MAX, CREDENTIALS_FRESH_S, SIGNING_DAYS_AHEAD
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.status import ResourceStatus
from dstore.security.control_key import ControlKey, Sealed
from dstore.security.envelope import WrongKey, framed
from dstore.security.signing_keys import day_of, derive_days
from dstore.service.calls.key_calls import (
    AccessKeyGiven,
    AskCredentials,
    BearerGiven,
    Credentials,
)
from dstore.storage.control import credentials, tenants
from dstore.storage.control.records import AccessKeyRecord, BearerRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from dstore.base.clock import Clock
    from dstore.service.control.plane import ControlPlane
    from dstore.storage.control.store import Key, Page, Transaction

_log: Final = get_logger(__name__)

_DERIVED_AT_ONCE: Final = 256  # ~50 us each, in a thread; then the event loop has its turn
# A name in one list of both kinds.
_ACCESS_KEY: Final = "a/"
_BEARER: Final = "b/"

Given = AccessKeyGiven | BearerGiven
Listed = TypeVar("Listed")


class Record(NamedTuple):
    """A credential as the store has it, and the UUID of its tenant; "" for the operator's.

    Names are given again once they are free, UUIDs are not: by its name alone a credential that is
    not known to be void yet would open the next tenant of that name (I11).
    """

    credential: AccessKeyRecord | BearerRecord
    tenant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """All credentials at one moment; `names` are the sorted keys of `given`."""

    version: int
    day: int
    state: bytes
    records: Mapping[str, Record] = field(repr=False)
    given: Mapping[str, Given] = field(repr=False)
    names: Sequence[str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """From one state to the next: the names that came, went or changed."""

    before: bytes
    names: frozenset[str]


class KeyFeed:
    """Answers proxies; it belongs to the event loop."""

    def __init__(self, plane: ControlPlane, *, clock: Clock) -> None:
        """Start empty; the first question reads the store."""
        self._plane = plane
        self._clock = clock
        self._contents: _Contents | None = None
        self._steps: deque[_Step] = deque(maxlen=CREDENTIALS_CHANGES_MAX)
        self._read_at_ns: int | None = None
        self._looks_asked = self._looks_done = 0
        self._reading = asyncio.Lock()

    async def given(self, asked: AskCredentials) -> Credentials:
        """Answer a proxy.

        Raises: Unavailable: the store can't be read, so nobody knows what was revoked; another
            control may. Corrupt.
        """
        contents = await self._current()
        changed = None if asked.after else self._changed_since(asked.state, contents)
        if changed is None or len(changed) > asked.limit:
            return _page(contents, after=asked.after, limit=asked.limit)
        return _answer(contents, sorted(changed), is_whole=False)

    def look_again(self) -> None:
        """Read the store for the next answer, however fresh what is known is."""
        self._looks_asked += 1

    async def _current(self) -> _Contents:
        contents = self._contents
        if contents is None or not self._is_fresh(contents):
            async with self._reading:  # one reading serves all that ask meanwhile
                contents = self._contents
                if contents is None or not self._is_fresh(contents):
                    contents = await self._read()
        return contents

    def _is_fresh(self, contents: _Contents) -> bool:
        if self._read_at_ns is None or contents.day != day_of(self._clock.wall_us()):
            return False
        if self._looks_done != self._looks_asked:
            return False
        age_ns = self._clock.monotonic_ns() - self._read_at_ns
        return age_ns < int(CREDENTIALS_FRESH_S * NS_PER_S)

    async def _read(self) -> _Contents:
        former, now_us = self._contents, self._clock.wall_us()
        began_ns, day = self._clock.monotonic_ns(), day_of(now_us)
        looks = self._looks_asked
        async with self._plane.store.snapshot() as tx:
            version = await credentials.version(tx)
            if former is not None and (former.version, former.day) == (version, day):
                self._read_at_ns, self._looks_done = began_ns, looks
                return former
            records = await _records(tx)
        kept = former if former is not None and former.day == day else None
        given, fresh = await in_thread(partial(_sorted_out, records, kept))
        derive = partial(_derive, control_key=self._plane.control_key, now_us=now_us)
        for begin in range(0, len(fresh), _DERIVED_AT_ONCE):
            given |= await in_thread(partial(derive, fresh[begin : begin + _DERIVED_AT_ONCE]))
        contents, step = await in_thread(
            partial(_assembled, records, given, kept, version=version, day=day)
        )
        if kept is None:
            self._steps.clear()  # every key is another one today
        elif step is not None:
            self._steps.append(step)
        self._contents, self._read_at_ns = contents, began_ns
        return contents

    def _changed_since(self, state: bytes, contents: _Contents) -> frozenset[str] | None:
        """Name what differs from a state; None if this process was never in it."""
        if state == contents.state:
            return frozenset()
        changed: frozenset[str] = frozenset()
        for step in reversed(self._steps):
            changed |= step.names
            if step.before == state:
                return changed
        return None


def _sorted_out(
    records: Mapping[str, Record], kept: _Contents | None
) -> tuple[dict[str, Given], list[tuple[str, Record]]]:
    """Tell what was derived before and is the same, and what is to be derived."""
    given: dict[str, Given] = {}
    fresh: list[tuple[str, Record]] = []
    for name, record in records.items():
        if kept is not None and kept.records.get(name) == record and name in kept.given:
            given[name] = kept.given[name]
        else:
            fresh.append((name, record))
    return given, fresh


def _assembled(
    records: Mapping[str, Record],
    given: Mapping[str, Given],
    kept: _Contents | None,
    *,
    version: int,
    day: int,
) -> tuple[_Contents, _Step | None]:
    """Put all together. Returns: it, and the step that led here if there was one."""
    contents = _Contents(
        version=version,
        day=day,
        state=_state_of(records, day),
        records=records,
        given=given,
        names=sorted(given),
    )
    if kept is None or kept.state == contents.state:
        return contents, None
    return contents, _Step(before=kept.state, names=_differing(kept.records, records))


def _page(contents: _Contents, *, after: str, limit: int) -> Credentials:
    begin = bisect_right(contents.names, after)
    names = contents.names[begin : begin + limit]
    has_more = begin + limit < len(contents.names)
    return _answer(contents, names, is_whole=True, after=names[-1] if has_more else "")


def _answer(
    contents: _Contents, names: Sequence[str], *, is_whole: bool, after: str = ""
) -> Credentials:
    found = [contents.given[name] for name in names if name in contents.given]
    gone = [name for name in names if name not in contents.given]
    return Credentials(
        version=contents.version,
        state=contents.state,
        through_day=contents.day + SIGNING_DAYS_AHEAD,
        is_whole=is_whole,
        after=after,
        access_keys=tuple(one for one in found if isinstance(one, AccessKeyGiven)),
        bearers=tuple(one for one in found if isinstance(one, BearerGiven)),
        revoked_access_keys=_plain(gone, _ACCESS_KEY),
        revoked_bearers=_plain(gone, _BEARER),
    )


def _plain(names: Iterable[str], prefix: str) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix) for name in names if name.startswith(prefix))


async def _records(tx: Transaction) -> dict[str, Record]:
    """Read all credentials; those of a tenant that is being deleted are void."""
    tenant_ids: dict[str | None, str] = {
        tenant.name: tenant.uuid
        async for tenant in _all(partial(tenants.page, tx))
        if tenant.status is not ResourceStatus.DELETING
    }
    tenant_ids[None] = ""  # the operator
    records: dict[str, Record] = {}
    async for key in _all(partial(credentials.access_keys, tx)):
        if key.tenant in tenant_ids:
            records[_ACCESS_KEY + key.id] = Record(key, tenant_ids[key.tenant])
    async for bearer in _all(partial(credentials.bearers, tx)):
        if bearer.tenant in tenant_ids:
            records[_BEARER + bearer.id] = Record(bearer, tenant_ids[bearer.tenant])
    return records


async def _all(read: Callable[..., Awaitable[Page[Listed]]]) -> AsyncIterator[Listed]:
    after: Key | None = None
    while True:
        page = await read(after=after)
        for record in page.records:
            yield record
        if page.after is None:
            return
        after = page.after


def _derive(
    records: Sequence[tuple[str, Record]], *, control_key: ControlKey, now_us: int
) -> dict[str, Given]:
    """Make what proxies are given; one that does not open is left out, and said."""
    made: dict[str, Given] = {}
    for name, (record, tenant_id) in records:
        if isinstance(record, BearerRecord):
            made[name] = BearerGiven(
                id=record.id, tenant=record.tenant, digest=record.digest, tenant_id=tenant_id
            )
            continue
        try:
            secret = control_key.open(
                record.sealed_secret, what=Sealed.ACCESS_KEY, record_id=record.id
            )
        except WrongKey:
            _log.error("access_key_damaged", access_key_id=record.id, tenant=record.tenant)
            continue
        days = derive_days(
            secret.decode(), access_key_id=record.id, tenant=record.tenant, now_us=now_us
        )
        made[name] = AccessKeyGiven(
            access_key_id=days.access_key_id,
            tenant=days.tenant,
            first_day=days.first_day,
            keys=days.keys,
            tenant_id=tenant_id,
        )
    return made


def _differing(before: Mapping[str, Record], after: Mapping[str, Record]) -> frozenset[str]:
    names = before.keys() | after.keys()
    return frozenset(name for name in names if before.get(name) != after.get(name))


def _state_of(records: Mapping[str, Record], day: int) -> bytes:
    """Digest what is given: 32 bytes; about 2 us a record."""
    digest = hashlib.sha256(framed((b"credentials", str(day).encode())))
    for name in sorted(records):
        record, tenant_id = records[name]
        secret = record.digest if isinstance(record, BearerRecord) else record.sealed_secret
        whose = "" if record.tenant is None else f"={record.tenant}={tenant_id}"
        digest.update(framed((name.encode(), whose.encode(), secret)))
    return digest.digest()
