"""Verify SigV4 without secrets: a proxy holds each access key's keys of single days, AWS's kDate.

    kDate = HMAC-SHA-256("AWS4" + secret, day)

Control derives them for the days around today and hands them out; who steals a proxy's memory can
sign for those days and learns nothing of the secret, nor of any later day. Region and service are
free in a request, so what follows from them is derived here, once, and kept.

The days go back as far as a signature in a query may live (`sigv4_parts.EXPIRES_S_MAX`), which
gives a thief nothing: with today's key he could write one that lives as long. They go ahead as far
as control may be away.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

from dstore.base.clock import US_PER_S
from dstore.base.limits import DAY_S, SIGNING_DAYS_AHEAD, SIGNING_DAYS_BEFORE, SIGNING_KEYS_KEPT_MAX
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.security.sigv4 import (
    DateKey,
    SignatureProblem,
    SignatureRefused,
    SigningKey,
    date_key,
    signing_key,
)
from dstore.security.sigv4_request import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from dstore.base.entropy import Entropy
    from dstore.security.sigv4_parts import Scope
    from dstore.security.sigv4_request import Claim

DATE_KEY_BYTES: Final = 32
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY_CHARS: Final = 8
_RETRY_AFTER_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyDays:
    """What a proxy is given of one access key; it travels as it is.

    Attributes:
        access_key_id: the public id.
        tenant: whose it is; the signature proves no more than that.
        first_day: days since 1970-01-01 UTC.
        keys: DATE_KEY_BYTES for that day and for each that follows.
        tenant_id: the tenant's UUID; "" from a control that does not say it.
    """

    access_key_id: str
    tenant: str
    first_day: int
    keys: bytes = field(repr=False)
    tenant_id: str = ""

    @property
    def last_day(self) -> int:
        """The last day that there is a key for, days since 1970-01-01 UTC."""
        return self.first_day + len(self.keys) // DATE_KEY_BYTES - 1

    def key_of(self, day: int) -> DateKey | None:
        """The key of a day, counted since 1970-01-01 UTC; None if it was not given."""
        if not self.first_day <= day <= self.last_day:
            return None
        at = (day - self.first_day) * DATE_KEY_BYTES
        return DateKey(self.keys[at : at + DATE_KEY_BYTES])


class _Verifier(NamedTuple):
    """What checks a signature of one scope; `owner` is None if there is no such access key."""

    key: SigningKey
    owner: AccessKeyDays | None


def derive_days(secret: str, *, access_key_id: str, tenant: str, now_us: int) -> AccessKeyDays:
    """Derive what proxies are given of an access key today; about 15 µs.

    Args:
        secret: in clear; it stays with control.
        access_key_id: the public id.
        tenant: whose it is.
        now_us: wall clock of control.
    """
    first = day_of(now_us) - SIGNING_DAYS_BEFORE
    count = SIGNING_DAYS_BEFORE + 1 + SIGNING_DAYS_AHEAD
    keys = b"".join(date_key(secret, day_text(first + ahead)) for ahead in range(count))
    return AccessKeyDays(access_key_id=access_key_id, tenant=tenant, first_day=first, keys=keys)


class SigningKeys:
    """The access keys that a proxy can verify, in memory only; it belongs to the event loop."""

    def __init__(self, entropy: Entropy) -> None:
        """Start empty: until control has given some, every signature is met with Unavailable."""
        self._owners: dict[str, AccessKeyDays] = {}
        self._through_day: int | None = None
        # Those that made a right signature; the latest used last.
        self._ready: OrderedDict[Scope, _Verifier] = OrderedDict()
        self._nobody = DateKey(entropy.token(DATE_KEY_BYTES))

    def __len__(self) -> int:
        """Count the access keys."""
        return len(self._owners)

    def replace(self, given: Iterable[AccessKeyDays], *, through_day: int) -> None:
        """Take all that control has; what is not among it was revoked meanwhile.

        Args:
            given: the keys of all active access keys.
            through_day: the last day that control derived, even if there is no access key at all.
        """
        self._owners = {one.access_key_id: one for one in given}
        self._through_day = through_day
        self._forget(lambda scope: not self._still(scope))

    def put(self, given: AccessKeyDays) -> None:
        """Take one access key that was made or changed."""
        self._owners[given.access_key_id] = given
        self._forget(
            lambda scope: scope.access_key_id == given.access_key_id and not self._still(scope)
        )

    def revoke(self, access_key_ids: Collection[str]) -> None:
        """Forget access keys; no signature of theirs is right from here on."""
        for access_key_id in access_key_ids:
            self._owners.pop(access_key_id, None)
        self._forget(lambda scope: scope.access_key_id in access_key_ids)

    def revoke_tenant(self, tenant: str) -> None:
        """Forget a tenant's access keys."""
        self.revoke({one.access_key_id for one in self._owners.values() if one.tenant == tenant})

    def find(self, access_key_id: str) -> AccessKeyDays | None:
        """Find an access key, whether or not somebody has signed with it."""
        return self._owners.get(access_key_id)

    def serves(self, now_us: int) -> bool:
        """Whether keys for today have come; if not, control has been away for days."""
        return self._through_day is not None and day_of(now_us) <= self._through_day

    def authenticate(self, claim: Claim, *, body_sha256: str, now_us: int) -> AccessKeyDays:
        """Check a request's signature. Returns: the access key that made it.

        Args:
            claim: from `sigv4_request.read_claim`.
            body_sha256: lower-case hexadecimal SHA-256 of the raw body as it was received.
            now_us: wall clock.

        Raises:
            SignatureRefused: as `sigv4_request.verify` says, each refusal at the same cost; SKEW
                also for days of which no signature is in time, whoever made it.
            Unavailable(LOCKED): control has not given the keys of that day, to any access key.

        Cost: `verify` and a look-up; about 10 µs more for the first request of a scope.
        """
        scope = claim.scope
        ready = self._ready.get(scope)
        key, owner = self._derived(scope, now_us) if ready is None else ready
        try:
            verify(
                claim, body_sha256=body_sha256, key=None if owner is None else key, now_us=now_us
            )
        except SignatureRefused:
            if ready is not None:
                self._derived(scope, now_us)  # as for an access key that does not exist
            raise
        assert owner is not None, "without a key no signature is right"
        if ready is None:
            self._ready[scope] = _Verifier(key, owner)
            if len(self._ready) > SIGNING_KEYS_KEPT_MAX:
                self._ready.popitem(last=False)
        else:
            self._ready.move_to_end(scope)
        return owner

    def _derived(self, scope: Scope, now_us: int) -> _Verifier:
        day = self._day_in_time(scope.date, now_us)
        owner = self._owners.get(scope.access_key_id)
        held = None if owner is None else owner.key_of(day)
        key = signing_key(
            self._nobody if held is None else held, region=scope.region, service=scope.service
        )
        return _Verifier(key, None if held is None else owner)

    def _day_in_time(self, text: str, now_us: int) -> int:
        day = _day_number(text)
        today = day_of(now_us)
        if day is None or not today - SIGNING_DAYS_BEFORE <= day <= today + 1:
            raise SignatureRefused(
                SignatureProblem.SKEW,
                "The request was signed on a day too far from the server's; set the client's "
                "clock, or sign again.",
            )
        if self._through_day is None or day > self._through_day:
            raise Unavailable(
                UnavailableKind.LOCKED,
                "The keys that verify today's signatures have not come from control; retry.",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        return day

    def _still(self, scope: Scope) -> bool:
        """Whether a kept verifier is what would be made anew."""
        owner, kept = self._owners.get(scope.access_key_id), self._ready[scope].owner
        day = _day_number(scope.date)
        if owner is None or kept is None or day is None:
            return False
        if (owner.tenant, owner.tenant_id) != (kept.tenant, kept.tenant_id):
            return False
        held = owner.key_of(day)
        return held is not None and held == kept.key_of(day)

    def _forget(self, is_stale: Callable[[Scope], bool]) -> None:
        for scope in [one for one in self._ready if is_stale(one)]:
            del self._ready[scope]


def day_of(now_us: int) -> int:
    """Count the days since 1970-01-01 UTC."""
    return now_us // (DAY_S * US_PER_S)


def day_text(day: int) -> str:
    """Spell a day, counted since 1970-01-01, as a scope does: YYYYMMDD."""
    return date.fromordinal(_EPOCH + day).strftime("%Y%m%d")


def _day_number(text: str) -> int | None:
    """Read YYYYMMDD; None if there is no such day."""
    assert len(text) == _DAY_CHARS
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).toordinal() - _EPOCH
    except ValueError:
        return None
