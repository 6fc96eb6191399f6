"""This node's replica of one range: what it has promised, and what it is at the moment.

It follows the range's value in the coordinator: primary if that says so, else a secondary, which
holds what a primary sends it. Invariants kept here:
I6: a promise is durable before it is answered, and every older epoch is refused from then on; this
    node's own primary among them.
B2: being alive is no right to serve: each term as primary begins with an epoch that nobody has
    served in, this process before its restart included.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from dstore.base.limits import REPLICA_BACKOFF_MS_MAX
from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, NotMine
from dstore.replication import placements
from dstore.replication.copying import no_such_copy
from dstore.replication.full_disk import FullDisk
from dstore.replication.handing_over import pass_on, passed_on
from dstore.replication.heartbeats import matched_at_once
from dstore.replication.leases import Promise
from dstore.replication.opening import Superseded, gather_log, until_held
from dstore.replication.placements import Overtaken
from dstore.replication.primary import Primary
from dstore.replication.replica_calls import (
    Appended,
    CopyTaken,
    Fetched,
    ReplicaTold,
    Sealed,
    TookOver,
)
from dstore.replication.surroundings import fault_of, pause_ms
from dstore.replication.taking_copies import CopyTaker
from dstore.storage import replica_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.replication.placements import Placed, Swapper
    from dstore.replication.replica_calls import (
        AppendRecords,
        AskReplica,
        BeginCopy,
        FetchRecords,
        SealReplica,
        TakeCopy,
        TakeOver,
    )
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import LogPoint, LogRecord, Standing
    from dstore.storage.range_writer import Prepared

_log: Final = get_logger(__name__)

Result = TypeVar("Result")


class Replica:
    """A replica, and the `Replication` of its file. Used from one event loop."""

    def __init__(self, range_id: str, around: Surroundings, *, began_ns: int) -> None:
        """Know nothing of the range's value yet: `follow` tells, and `run` acts.

        `began_ns` is when a former one of this range may have given a promise last.
        """
        self.range_id = range_id
        self._around = around
        self._promise = Promise(around.clock, began_ns=began_ns)
        self._is_first = began_ns == around.began_ns  # there was no former one in this process
        self._is_leaving = False
        self._promised_epoch = 0
        self._is_loaded = False
        self.placed: Placed | None = None
        self._news = asyncio.Event()
        self._primary: Primary | None = None
        self._serving: Primary | None = None
        # Told the records of each batch, for those who read the log.
        self.on_committed: Callable[[Sequence[LogRecord]], None] | None = None
        self.has_begun = asyncio.Event()  # to serve; cleared by who waits for it
        self._turn = asyncio.Lock()  # whatever has to do with epochs happens one after another
        self._copies = CopyTaker(self, around)
        self._disk = FullDisk(around)
        self.fault: Corrupt | None = None  # what it holds does not let it be opened
        self.is_damaged = False  # something that it holds can't be read
        self._standing: Standing | None = None  # as of the last change, while it is a secondary

    @property
    def serving_epoch(self) -> int | None:
        """The epoch in which this is the primary and answers; None if it is not."""
        return None if self.serving is None else self.serving.epoch

    @property
    def serving(self) -> Primary | None:
        """The primary that answers here, if this is one."""
        return None if self._serving is None or self._serving.is_closed else self._serving

    @property
    def is_named(self) -> bool:
        """Whether the range's value, as it was heard of last, names this replica its primary."""
        return self.placed is not None and self._is_mine(self.placed)

    @property
    def has_promised(self) -> bool:
        """Whether another node may hold a lease of this replica's now, so that it is in use."""
        return self._promise.wait_ns(self._around.node) > 0

    # ---------------------------------------------------------------------- the file's replication

    @property
    def wanted_after_seq(self) -> int | None:
        """What of the log others still want; see `Replication`."""
        return None if self._primary is None else self._primary.wanted_after_seq

    def ship(self, prepared: Prepared) -> asyncio.Future[None]:
        """Send a batch to the others; see `Replication`."""
        return self._served().ship(prepared.records, end=prepared.end.point)

    def committed(self, prepared: Prepared) -> None:
        """Hear that the batch is committed; see `Replication`."""
        if self._serving is not None and not self._serving.is_closed:
            self._serving.committed()
            if self.on_committed is not None:
                self.on_committed(prepared.records)

    def missed(self, _prepared: Prepared) -> bool:
        """Hear that the batch can't be committed here; see `Replication`."""
        primary = self._serving
        if primary is None or primary.is_closed:
            return False
        if not primary.take_back():
            self._disk.meet()
            primary.close()
            self._deposed(primary.epoch)
        return not primary.is_closed

    def certain(self) -> asyncio.Future[None] | None:
        """Make certain of being the only primary; see `Replication`."""
        return self._served().certain()

    def _served(self) -> Primary:
        if self._serving is None:
            raise NotMine(self.range_id, self._promised_epoch)
        return self._serving

    # --------------------------------------------------------------------------------- as secondary

    async def append(self, request: AppendRecords) -> Appended:
        """Hold what a primary sends. Raises: NotMine: another disk. Corrupt: it does not follow."""
        self._check(request.incarnation)
        async with self._turn:
            if not await self._bows_to(request.epoch, request.primary):
                return Appended(promised_epoch=self._promised_epoch)
            matched = matched_at_once(request, self._standing, promised_epoch=self._promised_epoch)
            if matched is None:
                try:
                    matched = await self._append(request)
                except Corrupt as error:
                    self._around.on_fault(self.range_id, error)
                    raise
            self._promise.give(request.primary, epoch=request.epoch)
            return Appended(
                promised_epoch=self._promised_epoch,
                matched=matched,
                standing=None if matched is not None else await self.look(),
                is_leaving=self.is_damaged or self._around.leaving.is_set(),
                is_bound=self._promise.is_bound,
                is_damaged=self.is_damaged,
            )

    async def seal(self, request: SealReplica) -> Sealed:
        """Promise an epoch. Raises: NotMine: another disk is meant."""
        self._check(request.incarnation)
        async with self._turn:
            if await self._bows_to(request.epoch, request.primary):
                await self._promise_epoch(request.epoch)
            return Sealed(standing=await self.look())

    async def fetch(self, request: FetchRecords) -> Fetched:
        """Give a primary what it lacks. Raises: NotMine: another disk is meant."""
        self._check(request.incarnation)
        async with self._turn:
            await self._load()
            if request.epoch != self._promised_epoch:
                return Fetched(records=None, standing=await self.look())
            records = await self._ask(partial(replica_log.records_behind, after=request.after))
            return Fetched(records=records, standing=await self.look())

    async def begin_copy(self, request: BeginCopy) -> CopyTaken:
        """Make room for a copy. Raises: NotMine: another disk is meant."""
        self._check(request.incarnation)
        async with self._turn:
            try:
                if not await self._bows_to(request.epoch, request.primary):
                    return CopyTaken(promised_epoch=self._promised_epoch)
                await self._promise_epoch(request.epoch)
                is_ready = await self._copies.make_room(request)
            except Corrupt as error:  # it can't even be emptied
                _log.warning("replica_ruined", range=self.range_id, reason=error.message)
                await self._copies.begin_anew(request)
                self._standing, self._promised_epoch, self.fault = None, request.epoch, None
                is_ready = self._is_loaded = True
            return CopyTaken(promised_epoch=self._promised_epoch, is_ready=is_ready)

    async def take_copy(self, request: TakeCopy) -> CopyTaken:
        """Take a piece of a copy. Raises: NotMine: another disk is meant. Corrupt."""
        self._check(request.incarnation)
        async with self._turn:
            if await self._bows_to(request.epoch, request.primary):
                if self._promised_epoch != request.epoch:
                    raise no_such_copy()
                await self._copies.take(request)
            return CopyTaken(promised_epoch=self._promised_epoch)

    async def tell(self, request: AskReplica) -> ReplicaTold:
        """Say where it stands. Raises: NotMine: another disk is meant."""
        self._check(request.incarnation)
        is_serving = self._serving is not None and await self._serving.is_certain()
        async with self._turn:
            await self._load()
            return ReplicaTold(
                standing=await self.look(),
                is_serving=is_serving,
                newest_at_us=await self._ask(replica_log.newest_at_us),
            )

    async def hand_over(self, node: str | None, *, swap: Swapper | None = None) -> int:
        """Make another in-sync replica the primary, as `Primary.hand_over`. Returns: its epoch."""
        primary = self._served()
        placed = await primary.hand_over(node, swap=swap)
        self._be_served_by(None)  # in the turn of the loop in which the primary has ended
        self.follow(placed)
        await pass_on(placed, self._around, epoch=primary.epoch)
        return placed.value.epoch

    async def take_over(self, request: TakeOver) -> TookOver:
        """Hear from a primary that it has ended, and who comes next. Raises: NotMine, Malformed."""
        self._check(request.incarnation)
        self._promise.release(request.primary, epoch=request.epoch)
        if self.placed is not None:
            self.follow(passed_on(request, self.placed))
        return TookOver()

    def leave(self) -> None:
        """Answer no other replica from now on: what is here is about to be deleted.

        Who deletes it reads the range's value behind this, linearizably: named after all, it stays.
        """
        self._is_leaving = True

    def stay(self) -> None:
        """Undo `leave`."""
        self._is_leaving = False

    def _check(self, incarnation: str) -> None:
        if incarnation != self._around.incarnation or self._is_leaving:
            raise NotMine(self.range_id)

    async def _bows_to(self, epoch: int, primary: str) -> bool:
        """Make room for a primary. Returns: False if a newer epoch was promised to another."""
        await self._load()
        if epoch < self._promised_epoch or primary == self._around.node:
            return False
        if self._primary is not None:
            if epoch <= self._primary.epoch:
                return False
            self._step_down()
        return True

    async def _append(self, request: AppendRecords) -> LogPoint | None:
        matched, standing = await self.alter(
            lambda connection: (
                replica_log.append(
                    connection,
                    epoch=request.epoch,
                    after=request.after,
                    records=request.records,
                    committed_seq=request.committed_seq,
                ),
                replica_log.standing(connection),
            )
        )
        self._standing, self._promised_epoch = standing, standing.promised_epoch
        return matched

    async def _promise_epoch(self, epoch: int) -> None:
        """Refuse every older epoch, durably before this returns."""
        if epoch > self._promised_epoch:
            await self.alter(partial(replica_log.promise, epoch=epoch))
            self._promised_epoch = epoch

    async def look(self) -> Standing:
        """Say where it stands, in its turn."""
        if self._standing is None:
            self._standing = await self._ask(replica_log.standing)
        return self._standing

    async def alter(self, work: Callable[[Any], Result]) -> Result:
        """Change the file durably, in its turn, and forget where it stood."""
        self._standing = None
        return await self._change(work)

    async def _load(self) -> None:
        """Read what was promised before this process began."""
        if not self._is_loaded:
            standing, has_promised = await self._ask(
                lambda connection: (
                    replica_log.standing(connection),
                    replica_log.has_promised_others(connection),
                )
            )
            if self._is_first and not has_promised:
                self._promise.clear()
            self._promised_epoch, self._is_loaded = standing.promised_epoch, True

    async def _ask(self, work: Callable[[Any], Result]) -> Result:
        """Read from the file, which is taken anew each time: idle, it may be closed for others."""
        return await (await self._around.open_file(self.range_id)).look(work)

    async def _change(self, work: Callable[[Any], Result]) -> Result:
        """Change the file durably; as `_ask`."""
        return await (await self._around.open_file(self.range_id)).change(work)

    # ---------------------------------------------------------------------------------- as primary

    def follow(self, placed: Placed) -> None:
        """Hear what the topology shows; an older value than the last is no news."""
        is_of_this = placed.value.range_id == self.range_id
        if is_of_this and (self.placed is None or placed.is_newer(self.placed)):
            self.placed = placed
            self._news.set()

    async def run(self) -> None:
        """Be what the range's value says, for as long as the node has the range."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                assert self.placed is not None
                try:
                    await self._act_on(self.placed)
                except Overtaken as error:
                    if error.now is not None:
                        self.follow(error.now)
                except Exception as error:  # noqa: BLE001 - the range goes on, whatever it is (I14)
                    self._note_failure(error)
                    await pause_ms(REPLICA_BACKOFF_MS_MAX)
                    await self._disk.rest(self._news)
                    self._news.set()
        finally:
            self._step_down()

    def _note_failure(self, error: Exception) -> None:
        fault = fault_of(error)
        _log.warning("range_not_opened", range=self.range_id, reason=str(error), exc_info=fault)
        self.fault = error if isinstance(error, Corrupt) else self.fault
        self._disk.look_at(error)
        if fault is not None:
            self._around.on_fault(self.range_id, fault)

    async def _act_on(self, placed: Placed) -> None:
        value = placed.value
        if self._primary is not None and not self._primary.is_closed:
            if value.epoch == self._primary.epoch:
                await self._primary.adopt(placed)
                return
            if value.epoch < self._primary.epoch:
                return
        async with self._turn:
            self._step_down()
        if self._is_mine(placed):
            await self._disk.make_way(placed)
            async with self._around.turns.one(self.range_id):
                await self._open(placed)
        else:
            self._disk.has_room()

    def _is_mine(self, placed: Placed) -> bool:
        return placed.value.node == self._around.node and any(
            each.node == self._around.node and each.incarnation == self._around.incarnation
            for each in placed.value.in_sync
        )

    def _step_down(self) -> None:
        """End as primary; what is under way is answered as unknown."""
        self._be_served_by(None)
        if self._primary is not None:
            _log.info("stepped_down", range=self.range_id, epoch=self._primary.epoch)
            self._primary.close()
            self._primary = None
        self._standing = None

    async def _open(self, placed: Placed) -> None:
        """Become primary (REPLICATION.md, opening a range); whatever comes between ends it."""
        is_new = placed.value.epoch == 1
        placed = await self._own_epoch(placed)
        await self._around.note(placed)
        placed = await gather_log(placed, self, self._around, is_new=is_new)
        await self._around.note(placed)
        try:
            primary = await self._seal_with_opening(placed)
            async with self._turn:
                self._be_served_by(primary)
        except BaseException:
            self._step_down()
            raise
        self._disk.has_room()
        _log.info("range_opened", range=self.range_id, epoch=primary.epoch, node=self._around.node)

    def be_served(self, primary: Primary, *, is_on: bool) -> None:
        """Answer clients as a primary that was opened here and goes on, or answer them no more."""
        self._be_served_by(primary if is_on else None)

    def _be_served_by(self, primary: Primary | None) -> None:
        if primary is not None and primary.is_closed:
            raise Superseded(self._promised_epoch)
        if primary is not self._serving:
            self._serving = primary
            self.has_begun.set()
            self._around.on_serving(self.range_id, None if primary is None else primary.epoch)

    async def _own_epoch(self, placed: Placed) -> Placed:
        """Promise an epoch to ourselves that nobody has promised before, raising it if need be."""
        async with self._turn:
            await self._load()
            promised = self._promised_epoch
        if promised >= placed.value.epoch:
            value = msgspec.structs.replace(placed.value, epoch=promised + 1)
            placed = await placements.swap(self._around.coordinator, placed, value, pause=pause_ms)
        async with self._turn:
            if self._promised_epoch >= placed.value.epoch:
                raise Superseded(self._promised_epoch)
            await self._promise_epoch(placed.value.epoch)
        return placed

    async def _seal_with_opening(self, placed: Placed) -> Primary:
        """Append the epoch's first record and wait until every in-sync replica has it durably."""
        epoch, time_us = placed.value.epoch, self._around.clock.wall_us()
        async with self._turn:
            self._require(epoch)
            before = await self.look()
            if before.epoch >= epoch:  # served here, as what was fetched says: an old disk is back
                raise Superseded(before.epoch)
            record = await self.alter(partial(replica_log.open_epoch, epoch=epoch, time_us=time_us))
            primary = self._primary = Primary(
                placed,
                self._around,
                end=before.end,
                history=(await self.look()).history,
                on_deposed=self._deposed,
            )
        await until_held(primary, primary.ship([record], end=record.point), self)
        await self._promise.wait_out(self._around.node)  # of any other primary
        async with self._turn:
            self._require(epoch)
            await self.alter(partial(replica_log.serve, epoch=epoch))
            primary.committed()
        return primary

    def _require(self, epoch: int) -> None:
        if self._promised_epoch != epoch:
            raise Superseded(self._promised_epoch)

    def _deposed(self, epoch: int) -> None:
        _log.warning("deposed", range=self.range_id, epoch=epoch)
        self._be_served_by(None)
        self._news.set()  # whatever the range's value is by now

    # --------------------------------------------------------------------- opening's `OwnReplica`

    async def standing(self) -> Standing:
        """Say where it stands."""
        async with self._turn:
            return await self.look()

    async def point_at(self, seq: int) -> LogPoint | None:
        """Find a point of the log."""
        return await self._ask(lambda connection: replica_log.point_at(connection, seq))

    async def take(self, epoch: int, after: LogPoint, records: Sequence[LogRecord]) -> bool:
        """Append what another replica holds; nothing of it is known to be committed yet."""
        async with self._turn:
            self._require(epoch)
            matched = await self.alter(
                lambda connection: replica_log.append(
                    connection, epoch=epoch, after=after, records=records, committed_seq=0
                )
            )
            return matched is not None
