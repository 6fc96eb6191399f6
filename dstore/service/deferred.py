"""`Prefer: respond-async`: accept a write durably, answer 202, do it afterwards, tell how it went.

The 202 is given after the write is in the node database, sealed with its tenant's key. Its
conditions are evaluated when it runs. Each write runs under its own request id, or the client's
Idempotency-Key, so a crash between doing it and noting its outcome runs it again and changes
nothing (I9). Names are not kept for ever: what may have been done too long ago for that is not
tried again, since it could undo newer writes, and is told as unknown. A table's writes are begun in
the order of their acceptance; when one cannot be done yet (a full disk, a range that is on its
way), those behind it wait, but for the few that were begun with it, none of which is of the same
entry.

In a cluster the range of a write may have gone to another node until it is done: see
`cluster.forwarding`.
"""

from __future__ import annotations

from asyncio import Future, Lock, TaskGroup, gather, sleep
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.deferred_limits import ASYNC_SURE_S, ASYNC_WORKERS
from dstore.base.limits import INLINE_JSON_BYTES_MAX
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError, RefusalKind, Refused, Unavailable, Unknown
from dstore.service.deferred_queue import DeferredQueue, Waiting, in_steps
from dstore.service.deferred_store import DeferredOutcome, DeferredStore, DeferredWrite, failed
from dstore.service.items import EntryKey, Items
from dstore.storage.requests import RequestName

if TYPE_CHECKING:
    from dstore.service.disk_space import DiskSpace
    from dstore.service.write_answers import Written
    from dstore.storage.range_writer import Apply

PRINCIPAL: Final = "deferred"
_log: Final = get_logger(__name__)

Plan = Callable[[DeferredWrite, EntryKey], "Apply"]
"""Builds a write from its stored form; the surface that accepted it knows how to read the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """A write that is ready to be submitted."""

    entry: EntryKey
    apply: Apply
    name: RequestName
    body_bytes: int


class _TooLate(DStoreError):
    """A write may have been done, and nobody may know any more whether it was."""

    def __init__(self) -> None:
        """Say so to whoever asks how it went."""
        super().__init__(
            "The write waited so long that it can't be told any more whether it was done before; "
            "it was not done again. Read the entry to find out."
        )


class Deferred:
    """The node's queue of accepted writes."""

    def __init__(self, store: DeferredStore, items: Items, disk: DiskSpace) -> None:
        """Start empty; `load` and `run` make it work, and `disk` refuses what would not fit."""
        self._store = store
        self._disk = disk
        self._items = items
        self._queue = DeferredQueue()
        self._doubts_us: dict[str, int] = {}  # since when writes may have been done, by their ids
        self._large = Lock()

    def route(self, items: Items) -> None:
        """Do the writes by `items` from now on, which finds ranges that are elsewhere by then."""
        self._items = items

    @property
    def depth(self) -> int:
        """Writes accepted, or being accepted, whose outcome is not yet noted."""
        return self._queue.depth

    async def load(self) -> None:
        """Take up what was accepted before the last stop."""
        for one in await self._store.load():
            self._queue.count(one)
            self._doubts_us[one.request_id] = one.accepted_us
            self._queue.push(one)

    async def accept(self, write: DeferredWrite) -> str:
        """Make a write durable in the queue. Returns: its request id, under which to ask.

        Raises: Unavailable: the queue or the disk is full; nothing was accepted. Refused: no such
            tenant.
        """
        self._disk.check_write()
        one = self._store.waiting(write)
        self._queue.reserve(one)
        try:
            await self._store.enqueue(one)
        except BaseException:
            self._queue.release(one)
            raise
        self._queue.push(one)
        return one.request_id

    async def outcome(self, tenant: str, request_id: str) -> DeferredOutcome | None:
        """Ask how a write went.

        Returns: None while it waits. Raises: Refused: not known, or no longer.
        """
        return await self._store.outcome(tenant, request_id)

    async def run(self, plan: Plan) -> None:
        """Do what waits, several tables at a time, until cancelled.

        What is not noted before a stop runs again after it.
        """
        async with TaskGroup() as group:
            group.create_task(self._store.forget_old(), name="forget_deferred")
            group.create_task(self._note_undone(), name="note_undone")
            for _ in range(ASYNC_WORKERS):
                group.create_task(self._work(plan), name="do_deferred")

    async def _note_undone(self) -> None:
        """Note of what waits for long that it was not done: a restart would not know it.

        Not of what its client has named: that may have been done by its name elsewhere.
        """
        while True:
            await sleep(ASYNC_SURE_S)
            now_us = self._store.now_us()
            sure = [
                one.request_id
                for one in self._queue.untouched()
                if not one.is_named and one.request_id not in self._doubts_us
            ]
            await self._store.note_undone(sure, at_us=now_us)

    # ------------------------------------------------------------------------------------ the work

    async def _work(self, plan: Plan) -> None:
        """Give one table after another a turn."""
        while True:
            line = await self._queue.next_line()
            turn = line.take()
            outcomes: dict[str, DeferredOutcome] = {}
            for step in in_steps(turn):
                outcomes |= await self._do(step, plan)
                if any(one.request_id not in outcomes for one in step):
                    break  # what is behind it must not overtake it
            await self._store.note(outcomes)
            for one in turn:
                if one.request_id in outcomes:
                    self._queue.release(one)
                    self._doubts_us.pop(one.request_id, None)
            self._queue.give_back(line, [one for one in turn if one.request_id not in outcomes])

    async def _do(self, step: Sequence[Waiting], plan: Plan) -> dict[str, DeferredOutcome]:
        """Do writes of one table together. Returns: outcomes by request id, of all done."""
        planned = [await self._plan(one, plan) for one in step]
        began_us = self._store.now_us()
        begun = [await self._begin(one) for one in planned]
        answers = await gather(
            *(_outcome(one.request_id, answer) for one, answer in zip(step, begun, strict=True))
        )
        outcomes: dict[str, DeferredOutcome] = {}
        for one, answer in zip(step, answers, strict=True):
            if isinstance(answer, DeferredOutcome):
                outcomes[one.request_id] = answer
            elif isinstance(answer, Unknown):
                self._doubts_us.setdefault(one.request_id, began_us)
        return outcomes

    async def _plan(self, one: Waiting, plan: Plan) -> _Planned | Exception:
        """Read a stored write: a large one in a thread, one at a time; the loop runs in between."""
        try:
            write = msgspec.msgpack.decode(one.encoded, type=DeferredWrite)
            self._check_age(one)
            entry = self._locate(write)
            if len(write.body) > INLINE_JSON_BYTES_MAX:
                async with self._large:
                    apply = await in_thread(lambda: plan(write, entry))
            else:
                await sleep(0)
                apply = plan(write, entry)
        except Exception as error:  # noqa: BLE001 - it is the outcome of this write alone
            return error
        own = RequestName(principal=PRINCIPAL, request_id=one.request_id, digest=b"")
        name = replace(write.request or own, accepted_us=one.accepted_us)
        return _Planned(entry=entry, apply=apply, name=name, body_bytes=len(write.body))

    def _check_age(self, one: Waiting) -> None:
        """Refuse what may have been done so long ago that nobody knows it. Raises: _TooLate.

        By its client's name it may have been done before it came here.
        """
        since_us = self._doubts_us.get(one.request_id, one.accepted_us if one.is_named else None)
        if since_us is not None and not self._store.is_still_known(since_us):
            _log.warning("deferred_too_late", deferred_id=one.request_id)
            raise _TooLate

    def _locate(self, write: DeferredWrite) -> EntryKey:
        entry = self._items.locate(write.tenant, write.table, write.id)
        if entry.table.definition.table_id != write.table_id:
            raise Refused(RefusalKind.NOT_FOUND, "The table was deleted before the write ran.")
        return entry

    async def _begin(self, planned: _Planned | Exception) -> Future[Written] | Exception:
        """Submit one write behind those before it."""
        if isinstance(planned, Exception):
            return planned
        try:
            return await self._items.submit(
                planned.entry, planned.apply, request=planned.name, body_bytes=planned.body_bytes
            )
        except Exception as error:  # noqa: BLE001 - it is the outcome of this write alone
            return error


async def _outcome(
    request_id: str, answer: Future[Written] | Exception
) -> DeferredOutcome | Unavailable | Unknown:
    """Wait for one write. Returns: why it has to run again, if it could not be done yet."""
    try:
        if isinstance(answer, Exception):
            raise answer  # noqa: TRY301 - told apart below, with those that the future raises
        done = await answer
    except (Unavailable, Unknown) as error:
        return error
    except _TooLate as error:
        return DeferredOutcome(error=Unknown.__name__, detail=error.message)
    except DStoreError as error:
        name = error.kind if isinstance(error, Refused) else type(error).__name__
        return DeferredOutcome(error=str(name), detail=error.message)
    except Exception as error:  # noqa: BLE001 - a defect met by one write must not end the process
        return failed(request_id, error)
    return DeferredOutcome(existed=done.existed, version=done.version)
