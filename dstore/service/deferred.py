"""`Prefer: respond-async`: accept a write durably, answer 202, do it afterwards, tell how it went.

The 202 is given after the write is in the node database. Its conditions are evaluated when it
runs. Each write runs under its own request id, or the client's Idempotency-Key, so a crash between
doing it and noting its outcome runs it again and changes nothing (I9). Order of acceptance is the
order of evaluation within a table, as long as the node takes writes at all (a full disk makes them
wait).
"""

from __future__ import annotations

from asyncio import Event, Future, gather, sleep
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.clock import US_PER_S
from dstore.base.limits import (
    ASYNC_QUEUE_DEPTH_MAX,
    REQUEST_RETENTION_S,
    RETRY_AFTER_MS,
    WRITE_BATCH_MAX,
)
from dstore.base.logging import get_logger
from dstore.model.errors import (
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)
from dstore.service.items import EntryKey, Items
from dstore.service.preconditions import NO_PRECONDITIONS, Preconditions
from dstore.storage import deferred_writes
from dstore.storage.deferred_writes import DeferredRow
from dstore.storage.requests import RequestName

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.storage.node_database import NodeDatabase
    from dstore.storage.range_writer import Applied, Apply

REQUEST_FORMAT: Final = 1
PRINCIPAL: Final = "deferred"
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
    """How it went: `error` names the refusal, or is None; `version` is what an ETag shows."""

    existed: bool = False
    version: str | None = None
    error: str | None = None
    detail: str | None = None


Plan = Callable[[DeferredWrite, EntryKey], "Apply"]
"""Builds a write from its stored form; the surface that accepted it knows how to read the body."""


class Deferred:
    """The node's queue of accepted writes."""

    def __init__(
        self, *, database: NodeDatabase, items: Items, clock: Clock, entropy: Entropy
    ) -> None:
        """Start empty; `load` and `run` make it work."""
        self._database = database
        self._items = items
        self._clock = clock
        self._entropy = entropy
        self._queue: deque[tuple[str, DeferredWrite]] = deque()
        self._arrived = Event()
        self._is_running = False

    @property
    def depth(self) -> int:
        """Writes accepted and not yet done."""
        return len(self._queue)

    async def load(self) -> None:
        """Take up what was accepted before the last stop."""
        for row in await self._database.run(deferred_writes.waiting):
            write = msgspec.msgpack.decode(row.request, type=DeferredWrite)
            self._queue.append((row.request_id, write))
        if self._queue:
            self._arrived.set()

    async def accept(self, write: DeferredWrite) -> str:
        """Make a write durable in the queue. Returns: its request id, under which to ask.

        Raises: Unavailable: the queue is full; nothing was accepted.
        """
        if len(self._queue) >= ASYNC_QUEUE_DEPTH_MAX:
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "Too many accepted writes are waiting; retry, or write without respond-async.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        encoded = msgspec.msgpack.encode(write)
        row = DeferredRow(
            request_id=self._entropy.uuid(),
            tenant=write.tenant,
            request=encoded,
            outcome=None,
            time_us=self._clock.wall_us(),
        )
        await self._database.run(
            lambda db: deferred_writes.enqueue(db, row), job_bytes=len(encoded)
        )
        self._queue.append((row.request_id, write))
        self._arrived.set()
        return row.request_id

    async def outcome(self, tenant: str, request_id: str) -> DeferredOutcome | None:
        """Ask how a write went.

        Returns: None while it waits. Raises: Refused: not known, or no longer.
        """
        row = await self._database.run(lambda db: deferred_writes.find(db, tenant, request_id))
        if row is None:
            raise Refused(
                RefusalKind.NOT_FOUND,
                f"There is no such request; outcomes are kept for {REQUEST_RETENTION_S} s.",
            )
        if row.outcome is None:
            return None
        return msgspec.msgpack.decode(row.outcome, type=DeferredOutcome)

    async def run(self, plan: Plan) -> None:
        """Do what waits, batch after batch, until cancelled; what is not noted runs again."""
        while True:
            await self._arrived.wait()
            batch = list(self._queue)[:WRITE_BATCH_MAX]
            if not batch:
                self._arrived.clear()
                continue
            answers = [await self._begin(request_id, write, plan) for request_id, write in batch]
            outcomes = await gather(*(_outcome(answer) for answer in answers))
            await self._note(
                [
                    (request_id, outcome)
                    for (request_id, _), outcome in zip(batch, outcomes, strict=True)
                    if outcome is not None
                ]
            )
            for _ in batch:
                self._queue.popleft()
            again = [one for one, outcome in zip(batch, outcomes, strict=True) if outcome is None]
            if again:
                self._queue.extendleft(reversed(again))
                await sleep(RETRY_AFTER_MS / 1_000)

    async def _begin(
        self, request_id: str, write: DeferredWrite, plan: Plan
    ) -> Future[Applied] | DStoreError:
        """Submit one write behind those before it."""
        try:
            entry = self._items.locate(write.tenant, write.table, write.id)
            if entry.table.definition.table_id != write.table_id:
                raise Refused(RefusalKind.NOT_FOUND, "The table was deleted before the write ran.")
            name = write.request or RequestName(
                principal=PRINCIPAL, request_id=request_id, digest=b""
            )
            return await self._items.submit(
                entry, plan(write, entry), request=name, body_bytes=len(write.body)
            )
        except DStoreError as error:
            return error

    async def _note(self, outcomes: list[tuple[str, DeferredOutcome]]) -> None:
        """Make outcomes durable, however long the disk is full."""
        done = [(request_id, msgspec.msgpack.encode(outcome)) for request_id, outcome in outcomes]
        before_us = self._clock.wall_us() - REQUEST_RETENTION_S * US_PER_S
        while True:
            try:
                await self._database.run(
                    lambda db: deferred_writes.finish(db, done, forget_before_us=before_us)
                )
            except Unavailable:
                await sleep(RETRY_AFTER_MS / 1_000)
            else:
                return


async def _outcome(answer: Future[Applied] | DStoreError) -> DeferredOutcome | None:
    """Wait for one write. Returns: None if it could not be done yet and has to run again."""
    try:
        if isinstance(answer, DStoreError):
            raise answer
        applied = await answer
    except (Unavailable, Unknown):
        return None
    except DStoreError as error:
        name = error.kind if isinstance(error, Refused) else type(error).__name__
        return DeferredOutcome(error=str(name), detail=error.message)
    return DeferredOutcome(existed=applied.existed, version=applied.version)
