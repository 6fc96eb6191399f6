"""What a node remembers of its ranges' values, should the coordinator lose them.

Invariant: a primary has noted a value durably before it opens the range in its epoch, and before it
acknowledges anything by its set. `replication.recollection` says what that is good for. Replicas
that only follow note what they see, a little later.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.limits import NOTES_AT_ONCE, RECOLLECTION_RANGE_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, Unavailable, UnavailableKind
from dstore.replication.split_calls import Split
from dstore.service.calls.recollection_calls import AllRemembered, AskRemembered, Remembered
from dstore.storage.placement_records import NotedPlacement
from dstore.topology import values

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from dstore.base.tasks import Tasks
    from dstore.replication.placements import Placed
    from dstore.storage.log_records import Standing

_log: Final = get_logger(__name__)
_NOTHING: Final = Remembered(value=b"", revision=0, promised_epoch=0)


class Ledger(Protocol):
    """What a node has of its ranges on its disk; `holdings.Holdings` is one."""

    async def note_placements(self, noted: Sequence[NotedPlacement]) -> None:
        """See `placement_records.note`; durable when it returns. Raises: Unavailable, Unknown."""

    async def noted_placements(self, range_ids: Sequence[str]) -> Mapping[str, NotedPlacement]:
        """See `placement_records.read`."""

    async def standing(self, range_id: str) -> Standing:
        """Say where the replica of a range stands. Raises: NotMine, Unavailable, Corrupt."""


class PlacementNotes:
    """Notes ranges' values in the node's database. Used from one event loop."""

    def __init__(
        self, ledger: Ledger, *, incarnation: str, tasks: Tasks, noted: Collection[str] = ()
    ) -> None:
        """Begin.

        Args:
            ledger: where it is noted.
            incarnation: of the node's disk.
            tasks: own what is written in the background.
            noted: ranges, by id, of which a former process has noted a value: others had a replica.
        """
        self._ledger = ledger
        self._incarnation = incarnation
        self._tasks = tasks
        self._durable: dict[str, tuple[int, int]] = {}  # epoch and revision, by range
        self._shared = set(noted)  # ranges that others have a replica of, or had
        self._pending: dict[str, NotedPlacement] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._is_writing = False

    async def note(self, placed: Placed) -> None:
        """Remember a range's value; it is durable when this returns.

        Where nobody else has a replica, nor had, nothing is noted: control's store knows as much.
        Nor had in a former process: a recovery would wait for ever for who was taken away since.

        Raises: Unavailable, Unknown: it may not be; nothing may be acknowledged by its set.
        """
        if not self._add(placed):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def note_soon(self, placed: Placed) -> None:
        """Remember a range's value, as far as that can be done."""
        self._add(placed)

    def forget(self, range_id: str) -> None:
        """Let go of a range that is about to be deleted here."""
        self._durable.pop(range_id, None)
        self._shared.discard(range_id)

    async def remembered(self, request: AskRemembered) -> AllRemembered:
        """Say what the node remembers of ranges."""
        noted = await self._ledger.noted_placements(request.range_ids)
        told = await asyncio.gather(*(self._told(each, noted) for each in request.range_ids))
        return AllRemembered(incarnation=self._incarnation, told=tuple(told))

    def _add(self, placed: Placed) -> bool:
        """Queue a value. Returns: False if it says nothing, or nothing new."""
        value = placed.value
        newest = self._durable.get(value.range_id, (0, 0))
        is_alone = len(value.replicas) == 1 and value.range_id not in self._shared
        if is_alone or not value.is_settled or (value.epoch, placed.revision) <= newest:
            return False
        noted = NotedPlacement(
            range_id=value.range_id,
            value=values.encode(value),
            epoch=value.epoch,
            revision=placed.revision,
        )
        if len(value.replicas) > 1:
            self._shared.add(value.range_id)
        waiting = self._pending.get(value.range_id)
        if waiting is None or (waiting.epoch, waiting.revision) < (noted.epoch, noted.revision):
            self._pending[value.range_id] = noted
        if not self._is_writing:
            self._is_writing = True
            self._tasks.spawn(self._write(), name="note_placements")
        return True

    async def _write(self) -> None:
        """Write what waits, and what comes meanwhile."""
        try:
            while self._pending:
                waiters, self._waiters = self._waiters, []
                try:
                    await self._write_all()
                except DStoreError as error:
                    _log.warning("placements_not_noted", reason=error.message)
                    _end(waiters, error)
                except BaseException:
                    _end(waiters, _interrupted())
                    raise
                else:
                    _end(waiters, None)
        finally:
            self._is_writing = False
            _end(self._waiters, _interrupted())

    async def _write_all(self) -> None:
        """Write what waits now."""
        taken, self._pending = list(self._pending.values()), {}
        for start in range(0, len(taken), NOTES_AT_ONCE):
            some = taken[start : start + NOTES_AT_ONCE]
            await self._ledger.note_placements(some)
            self._durable.update({each.range_id: (each.epoch, each.revision) for each in some})

    async def _told(self, range_id: str, noted: Mapping[str, NotedPlacement]) -> Remembered | None:
        one = noted.get(range_id)
        if one is None:
            return _NOTHING
        if one.cut is not None:  # its log has ended, and there are children
            return Remembered(
                value=one.value or b"",
                revision=one.revision,
                promised_epoch=one.epoch,
                cut=Split(low_id=one.cut.low_id, high_id=one.cut.high_id, at_hash=one.cut.at_hash),
            )
        try:
            async with asyncio.timeout(RECOLLECTION_RANGE_S):
                standing = await self._ledger.standing(range_id)
        except (DStoreError, TimeoutError):
            return None
        is_held = standing.is_whole or not one.is_seed  # a seed that is not ripe is no replica
        return Remembered(
            value=one.value or b"",
            revision=one.revision,
            promised_epoch=standing.promised_epoch if is_held else 0,
        )


def _end(waiters: list[asyncio.Future[None]], error: DStoreError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


def _interrupted() -> Unavailable:
    return Unavailable(UnavailableKind.UNREACHABLE, "The node is about to end.")
