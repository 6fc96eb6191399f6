"""The primary of a range in one epoch: ships what is written, and decides who is in sync.

Invariants kept here:
I5: a batch is acknowledged when every in-sync replica, as the coordinator has the set, holds it
    durably, and never by fewer than `min_in_sync`. While a change of the set is on its way, the
    larger set counts (B6).
I6: it acts in one epoch only, and ends when any replica has promised a newer one.
I7: it is certain of being the only one as long as every in-sync replica's lease lasts.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.limits import (
    REPLICA_CALL_TIMEOUT_S,
    REPLICA_COMMIT_TOLD_MS,
    REPLICA_LAG_JOINING_MAX,
    REPLICA_LAG_RECORDS_MAX,
    REPLICA_SILENT_MS,
    REPLICA_TENDED_MS,
    RETRY_AFTER_MS,
)
from dstore.base.logging import get_logger
from dstore.model.errors import NotMine, Unavailable, UnavailableKind, Unknown
from dstore.replication import placements
from dstore.replication.follower import Follower
from dstore.replication.placements import Overtaken
from dstore.replication.surroundings import pause_ms
from dstore.storage import replica_copy, replica_log
from dstore.storage.replica_copy import CopyStart
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.values import Malformed, ReplicaState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.replication.placements import Placed
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import History, LogPoint, LogRecord
    from dstore.storage.replica_copy import CopyPage, CopyPlace
    from dstore.topology.values import RangePlacement

_log: Final = get_logger(__name__)


class Primary:
    """The primary of a range in one epoch. Used from one event loop."""

    def __init__(
        self,
        placed: Placed,
        around: Surroundings,
        *,
        end: LogPoint,
        history: History,
        on_deposed: Callable[[int], None],
    ) -> None:
        """Begin to send to the others what they lack; `ship` is what it is for.

        Args:
            placed: the range's value that says so, as it was captured.
            around: what replicas of a node share.
            end: where the log ends.
            history: its newest epochs, this one not among them if nothing of it is in the log.
            on_deposed: told of the newer epoch, once at most.
        """
        self.range_id = placed.value.range_id
        self.epoch = placed.value.epoch
        self.history = history
        self.end = end
        self.committed_seq = 0
        self.wanted_after_seq: int | None = end.seq  # of the log
        self._placed = placed
        self._around = around
        self._now_ns = around.clock.monotonic_ns
        self._on_deposed = on_deposed
        self._followers: dict[str, Follower] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._joining: str | None = None
        self._records: Sequence[LogRecord] = ()
        self._shipping: asyncio.Future[None] | None = None
        self._asking: list[tuple[int, asyncio.Future[None]]] = []
        self._copies = 0
        self._changing = asyncio.Lock()  # one configuration change at a time (B15)
        self._is_closed = False
        self._follow_set()
        self._note_required()
        self._tending = around.tasks.spawn(self._tend(), name="tend_replicas")

    # ------------------------------------------------------------------------- what others see

    @property
    def placed(self) -> Placed:
        """The range's value, as far as it is known here."""
        return self._placed

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._is_closed

    @property
    def target(self) -> LogPoint:
        """Where the log ends, what is being shipped included."""
        return self._records[-1].point if self._records else self.end

    @property
    def has_lease(self) -> bool:
        """Whether every in-sync replica has promised that nobody else serves by now."""
        now_ns = self._now_ns()
        return all(now_ns < follower.lease_until_ns for follower in self._required())

    async def point_at(self, seq: int) -> LogPoint | None:
        """Find a point of the log; None if what follows it is not there any more."""
        file = await self._around.open_file(self.range_id)
        return await file.look(lambda connection: replica_log.point_at(connection, seq))

    async def records_after(self, point: LogPoint) -> Sequence[LogRecord] | None:
        """Read on behind a point of the log; None if that is not there any more."""
        if point.seq == self.end.seq:
            return self._records
        if point.seq > self.end.seq:
            return ()
        file = await self._around.open_file(self.range_id)
        return await file.look(
            partial(replica_log.records_behind, after=point, last_seq=self.end.seq)
        )

    async def copy_start(self) -> CopyStart:
        """Say from where the log is to follow a copy that is begun now."""
        point = self.end
        file = await self._around.open_file(self.range_id)
        standing = await file.look(replica_log.standing)
        history = tuple(each for each in standing.history if each.first_seq <= point.seq)
        return CopyStart(epoch=history[-1].epoch, point=point, history=history)

    def next_copy_number(self) -> int:
        """Number a copy."""
        self._copies += 1
        return self._copies

    async def copy_page(self, place: CopyPlace) -> tuple[CopyPage, CopyPlace]:
        """Read rows for a copy."""
        file = await self._around.open_file(self.range_id)
        return await file.look(partial(replica_copy.read_page, place=place))

    # -------------------------------------------------------------------------------- shipping

    def ship(self, records: Sequence[LogRecord]) -> asyncio.Future[None]:
        """Have the next records of the log held by every in-sync replica; see `Replication.ship`.

        Raises: Unavailable: too few replicas are in sync. NotMine: this has ended.
        """
        if self._is_closed:
            raise NotMine(self.range_id, self.epoch)
        value = self._placed.value
        if len(value.in_sync) < value.min_in_sync:
            raise Unavailable(
                UnavailableKind.UNREACHABLE,
                "Fewer replicas of the range are in sync than a write needs; retry later.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        assert self._shipping is None, "a batch is under way"
        assert records[0].seq == self.end.seq + 1, (records[0].seq, self.end.seq)
        self._shipping = asyncio.get_running_loop().create_future()
        self._records = records
        for follower in self._followers.values():
            follower.wake()
        shipping = self._shipping
        self._look()
        return shipping

    def committed(self) -> None:
        """Hear that what was shipped is committed here; the others hear of it a little later."""
        self.end, self._records, self._shipping = self.target, (), None
        self.committed_seq = self.end.seq
        asyncio.get_running_loop().call_later(REPLICA_COMMIT_TOLD_MS / 1_000, self._tell)

    def certain(self) -> asyncio.Future[None] | None:
        """Make certain that nobody else may have acknowledged a write by now (I7).

        Raises: NotMine: this has ended.
        """
        if self._is_closed:
            raise NotMine(self.range_id, self.epoch)
        return None if self.has_lease else self._confirm(self._now_ns())

    def heard(self, follower: Follower) -> None:
        """Look at what a follower has answered."""
        del follower
        self._look()

    def depose(self, epoch: int) -> None:
        """Hear that a replica has promised a newer epoch."""
        if not self._is_closed:
            self.close()
            self._on_deposed(epoch)

    def close(self) -> None:
        """End: nothing is acknowledged from here on. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._tending.cancel()
        for sender in self._senders.values():
            sender.cancel()
        if self._shipping is not None and not self._shipping.done():
            self._shipping.set_exception(
                Unknown("The range has moved while the write was under way; read it to find out.")
            )
        for _, asking in self._asking:
            if not asking.done():
                asking.set_exception(NotMine(self.range_id, self.epoch))
        self._asking.clear()

    def _confirm(self, now_ns: int) -> asyncio.Future[None]:
        """Ask every in-sync replica; what is answered must have been sent from now on."""
        asking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append((now_ns, asking))
        for follower in self._required():
            follower.ask()
        asyncio.get_running_loop().call_later(REPLICA_CALL_TIMEOUT_S, self._give_up, asking)
        return asking

    def _give_up(self, asking: asyncio.Future[None]) -> None:
        self._asking = [each for each in self._asking if each[1] is not asking]
        if not asking.done():
            asking.set_exception(
                Unavailable(
                    UnavailableKind.UNREACHABLE,
                    "A replica of the range does not answer; retry.",
                    retry_after_ms=RETRY_AFTER_MS,
                )
            )

    def _look(self) -> None:
        """Let go on what has waited for answers."""
        if self._is_closed:
            return
        required = self._required()
        shipping, target_seq = self._shipping, self.target.seq
        is_held = all(each.matched_seq >= target_seq for each in required)
        if shipping is not None and is_held and not shipping.done():
            shipping.set_result(None)
        if not self._asking:
            return
        sent_ns = min((each.answered_sent_ns for each in required), default=self._now_ns())
        for asked_ns, asking in self._asking:
            if asked_ns <= sent_ns and not asking.done():
                asking.set_result(None)
        self._asking = [each for each in self._asking if not each[1].done()]

    def _tell(self) -> None:
        """Let the others know how far the log is committed, unless the next batch has."""
        if not self._is_closed:
            for follower in self._followers.values():
                follower.wake()

    # ------------------------------------------------------------------------------ who is in sync

    def _required(self) -> list[Follower]:
        """List the followers without which nothing is acknowledged (I5)."""
        return [
            self._followers[each.node]
            for each in self._placed.value.replicas
            if each.node in self._followers
            and (each.state is ReplicaState.IN_SYNC or each.node == self._joining)
        ]

    def _follow_set(self) -> None:
        """Send to the replicas that the range's value names, and to no others."""
        named = {each.node: each for each in self._placed.value.replicas}
        named.pop(self._around.node, None)
        for node, follower in list(self._followers.items()):
            # Of a node that came back with another disk nothing is known (REPLICATION, identity).
            if node not in named or named[node].incarnation != follower.incarnation:
                self._senders.pop(node).cancel()
                del self._followers[node]
        for node in named.keys() - self._followers.keys():
            follower = self._followers[node] = Follower(named[node], self, self._around)
            sender = self._around.tasks.spawn(follower.run(), name="send_to_replica")
            sender.add_done_callback(self._sender_ended)
            self._senders[node] = sender

    def _note_required(self) -> None:
        """Let no copy be made over a replica that counts; it leaves the set before."""
        required = self._required()
        for follower in self._followers.values():
            follower.is_required = follower in required

    def _sender_ended(self, sender: asyncio.Task[None]) -> None:
        """End with a sender that has failed in a way that nobody foresaw; its log says how."""
        if not sender.cancelled() and sender.exception() is not None:
            self.depose(self.epoch)

    async def adopt(self, placed: Placed) -> None:
        """Take the range's value that the topology shows, if it is newer and of this epoch."""
        async with self._changing:
            if placed.value.epoch == self.epoch and placed.revision > self._placed.revision:
                self._take(placed)

    async def _tend(self) -> None:
        """Let go of who is silent, and take in who has caught up, one after another."""
        while True:
            await pause_ms(REPLICA_TENDED_MS)
            self._keep_log()
            async with self._changing:
                silent = [each for each in self._required() if each.is_lost(REPLICA_SILENT_MS)]
                if silent:
                    await self._drop({each.node for each in silent})
                    continue
                ready = next(filter(self._is_ready, self._learners()), None)
                if ready is not None:
                    await self._join(ready)

    def _learners(self) -> list[Follower]:
        required = self._required()
        return [each for each in self._followers.values() if each not in required]

    def _is_ready(self, learner: Follower) -> bool:
        lag = self.target.seq - learner.matched_seq
        return learner.matched_seq >= 0 and lag <= REPLICA_LAG_JOINING_MAX

    async def _drop(self, nodes: set[str]) -> None:
        """Go on without some replicas, if enough are left; they learn from now on."""
        value = self._placed.value
        dropped = placements.with_state(value, nodes, ReplicaState.LEARNER)
        if len(dropped.in_sync) < value.min_in_sync:
            return
        _log.warning("replica_out_of_sync", range=self.range_id, nodes=sorted(nodes))
        await self._swap(dropped)

    async def _join(self, learner: Follower) -> None:
        """Take a learner in that holds everything up to the moment when it counts.

        From here on nothing is acknowledged without it; so it holds all that was acknowledged when
        the swap is done, whenever that is.
        """
        self._joining = learner.node
        self._note_required()
        try:
            target_seq = self.target.seq
            while learner.matched_seq < target_seq:
                if learner.is_silent(REPLICA_SILENT_MS) or learner.needs_copy:
                    return
                learner.ask()
                await pause_ms(REPLICA_COMMIT_TOLD_MS)
            await self._swap(
                placements.with_state(self._placed.value, {learner.node}, ReplicaState.IN_SYNC)
            )
        finally:
            self._joining = None
            self._note_required()
            self._look()

    async def _swap(self, value: RangePlacement) -> None:
        """Change the set, and know the outcome before this returns; the old set counts till then.

        The caller holds `_changing`.
        """
        try:
            placed = await placements.swap(
                self._around.coordinator, self._placed, value, pause=pause_ms
            )
        except Overtaken as error:
            now = error.now
            if now is None or now.value.epoch != self.epoch or now.value.node != self._around.node:
                self.depose(self.epoch + 1 if now is None else now.value.epoch)
                return
            placed = now  # somebody else's change of this epoch: decide anew on what it left
        except (CoordinatorError, Malformed) as error:
            _log.warning("replica_set_unchanged", range=self.range_id, reason=error.message)
            return
        self._take(placed)

    def _take(self, placed: Placed) -> None:
        self._placed = placed
        self._follow_set()
        self._note_required()
        self._look()

    def _keep_log(self) -> None:
        """Note how much of the log the followers still want, unless that is too much."""
        floor = self.end.seq - REPLICA_LAG_RECORDS_MAX
        wanted = [each.wanted_after_seq for each in self._followers.values()]
        self.wanted_after_seq = max(floor, min(wanted, default=self.end.seq), 0)
