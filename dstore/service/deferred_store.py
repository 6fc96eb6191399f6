"""Writes that were accepted with 202, as the node database keeps them: sealed, then their outcome.

A write is sealed with a key of its tenant, so that deleting the tenant's share shreds it wherever
copies of the database lie.
"""

from __future__ import annotations

from asyncio import sleep
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.clock import US_PER_S
from dstore.base.deferred_limits import (
    ASYNC_FORGET_S,
    ASYNC_REPEATED_S,
    CLOCK_ERROR_S,
    OUTCOMES_FORGOTTEN,
)
from dstore.base.limits import REQUEST_RETENTION_S, RETRY_AFTER_MS
from dstore.base.logging import get_logger
from dstore.model.errors import RefusalKind, Refused, Unavailable
from dstore.security.envelope import framed, open_sealed, seal
from dstore.service.deferred_queue import Waiting
from dstore.service.preconditions import NO_PRECONDITIONS, Preconditions
from dstore.storage import deferred_writes
from dstore.storage.deferred_writes import DeferredRow
from dstore.storage.requests import RequestName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.security.keys import Key256
    from dstore.service.catalog import Catalog
    from dstore.service.held_tenant import Tenant
    from dstore.storage.node_database import NodeDatabase
    from dstore.storage.node_keys import NodeKeys

INTERNAL_ERROR: Final = "internal-error"
REQUEST_FORMAT: Final = 1
_log = get_logger(__name__)


class Verb(StrEnum):
    """Which of v1's writes it is."""

    CREATE = "create"
    REPLACE = "replace"
    MERGE = "merge"
    DELETE = "delete"


class DeferredWrite(msgspec.Struct, frozen=True):
    """A write as it waits. `table_id` tells a table from a later one of the same name.

    `request` is the client's own name of it (its Idempotency-Key), under which it is done once,
    however often it is accepted.
    """

    tenant: str
    table: str
    table_id: str
    id: str
    verb: Verb
    body: bytes
    preconditions: Preconditions = NO_PRECONDITIONS
    request: RequestName | None = None
    format: int = REQUEST_FORMAT


class DeferredOutcome(msgspec.Struct, frozen=True):
    """How it went: `error` names the refusal, or is None; `version` is what an ETag shows.

    `error` is a RefusalKind, the name of another DStoreError, or INTERNAL_ERROR.
    """

    existed: bool = False
    version: str | None = None
    error: str | None = None
    detail: str | None = None


class DeferredStore:
    """The node database's side of the queue."""

    def __init__(
        self,
        *,
        database: NodeDatabase,
        catalog: Catalog,
        keys: NodeKeys,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`catalog` knows the tenants, whose shares are part of the keys."""
        self._database = database
        self._catalog = catalog
        self._keys = keys
        self._clock = clock
        self._entropy = entropy

    async def load(self) -> list[Waiting]:
        """Read what was accepted and not done before the last stop, in order.

        A row that cannot be read gets its outcome: it must not keep the node from starting.
        """
        keys: dict[str, Key256] = {}
        found: list[Waiting] = []
        lost: dict[str, DeferredOutcome] = {}
        for row in await self._database.read(deferred_writes.waiting):
            try:
                found.append(self._opened(row, keys))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this row's alone
                lost[row.request_id] = failed(row.request_id, error)
        await self.note(lost)
        return found

    def waiting(self, write: DeferredWrite) -> Waiting:
        """Give a write its request id and its place in time."""
        return Waiting(
            request_id=self._entropy.uuid(),
            tenant=write.tenant,
            table_id=write.table_id,
            entry_id=write.id,
            encoded=msgspec.msgpack.encode(write),
            accepted_us=self._clock.wall_us(),
            is_named=write.request is not None,
        )

    def now_us(self) -> int:
        """Tell the wall time."""
        return self._clock.wall_us()

    def is_still_known(self, since_us: int) -> bool:
        """Tell whether what was done since a wall time is known by its name wherever it was done.

        A clock that has gone back further than clocks err says nothing of how long ago that was.
        """
        age_us = self._clock.wall_us() - since_us
        return -CLOCK_ERROR_S * US_PER_S <= age_us <= ASYNC_REPEATED_S * US_PER_S

    async def enqueue(self, one: Waiting) -> None:
        """Make a write durable. Raises: Refused: its tenant is gone. Unavailable: not written."""
        tenant = self._catalog.tenant(one.tenant)
        sealed = seal(
            self._key(tenant),
            one.encoded,
            context=_context(one.request_id),
            entropy=self._entropy,
        )
        row = DeferredRow(
            request_id=one.request_id,
            tenant=one.tenant,
            request=sealed,
            outcome=None,
            time_us=one.accepted_us,
        )
        uuid = tenant.record.uuid
        await self._database.run(
            lambda db: deferred_writes.enqueue(db, row, tenant_uuid=uuid), job_bytes=len(sealed)
        )

    async def outcome(self, tenant: str, request_id: str) -> DeferredOutcome | None:
        """Ask how a write went.

        Returns: None while it waits. Raises: Refused: not known, or no longer.
        """
        row = await self._database.read(lambda db: deferred_writes.find(db, tenant, request_id))
        if row is None:
            raise Refused(
                RefusalKind.NOT_FOUND,
                f"There is no such request; outcomes are kept for {REQUEST_RETENTION_S} s.",
            )
        if row.outcome is None:
            return None
        return msgspec.msgpack.decode(row.outcome, type=DeferredOutcome)

    async def note(self, outcomes: Mapping[str, DeferredOutcome]) -> None:
        """Make outcomes durable, by request id, however long that takes."""
        done = [(name, msgspec.msgpack.encode(outcome)) for name, outcome in outcomes.items()]

        clock = self._clock
        while done:
            try:
                await self._database.run(
                    lambda db: deferred_writes.finish(db, done, time_us=clock.wall_us())
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
                _complain("deferred_not_noted", error)
                await sleep(RETRY_AFTER_MS / 1_000)
            else:
                return

    async def note_undone(self, ids: Sequence[str], *, at_us: int) -> None:
        """Note that writes surely were not done before a wall time; a failure is only logged."""
        try:
            for first in range(0, len(ids), OUTCOMES_FORGOTTEN):
                some = ids[first : first + OUTCOMES_FORGOTTEN]
                await self._database.run(
                    partial(deferred_writes.note_undone, request_ids=some, time_us=at_us)
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, it may pass
            _complain("deferred_not_noted", error)

    async def forget_old(self) -> None:
        """Delete outcomes that were kept long enough, slice by slice, until cancelled."""
        clock, kept_us = self._clock, REQUEST_RETENTION_S * US_PER_S
        while True:
            gone = 0
            try:
                gone = await self._database.run(
                    lambda db: deferred_writes.forget(
                        db, before_us=clock.wall_us() - kept_us, limit=OUTCOMES_FORGOTTEN
                    )
                )
            except Exception as error:  # noqa: BLE001 - the next round tries again
                _complain("deferred_not_forgotten", error)
            if gone < OUTCOMES_FORGOTTEN:
                await sleep(ASYNC_FORGET_S)

    def _opened(self, row: DeferredRow, keys: dict[str, Key256]) -> Waiting:
        """Unseal a stored write; `keys` remembers those of tenants met before."""
        key = keys.get(row.tenant)
        if key is None:
            key = keys[row.tenant] = self._key(self._catalog.tenant(row.tenant))
        encoded = open_sealed(key, row.request, context=_context(row.request_id))
        write = msgspec.msgpack.decode(encoded, type=DeferredWrite)
        return Waiting(
            request_id=row.request_id,
            tenant=row.tenant,
            table_id=write.table_id,
            entry_id=write.id,
            encoded=encoded,
            accepted_us=row.time_us,
            is_named=write.request is not None,
        )

    def _key(self, tenant: Tenant) -> Key256:
        return self._keys.deferred_key(tenant.record.uuid, tenant_share=tenant.share)


def failed(request_id: str, error: Exception) -> DeferredOutcome:
    """Note a defect of the server's own; the log has its type, as its text may hold values."""
    _log.error("deferred_failed", deferred_id=request_id, error=type(error).__name__)
    detail = "The server failed at this write; its operator finds the failure in the log."
    return DeferredOutcome(error=INTERNAL_ERROR, detail=detail)


def _complain(event: str, error: Exception) -> None:
    """Log what is no full queue or full disk, which are known and pass."""
    if not isinstance(error, Unavailable):
        _log.error(event, error=type(error).__name__)


def _context(request_id: str) -> bytes:
    return framed([b"deferred", request_id.encode()])
