"""The other replicas of a range, as its primary in one epoch has them: who counts, who learns.

Invariants kept here:
I5: who counts is whom the coordinator's value says, as it is known for certain; while a change of
    it is on its way, the larger set (B6).
B15: one change at a time, each of the value that was captured before it was decided on (B5).

A range that nobody reads or writes for a while sends nothing to who is in sync. Nobody is silent
who was asked for nothing, so the set is changed only while the range is used, or to take one in.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.limits import (
    REPLICA_BACKOFF_MS_MAX,
    REPLICA_CALL_TIMEOUT_S,
    REPLICA_COMMIT_TOLD_MS,
    REPLICA_COPY_LAG_RECORDS_MAX,
    REPLICA_CUT_OFF_MS,
    REPLICA_LAG_JOINING_MAX,
    REPLICA_LAG_RECORDS_MAX,
    REPLICA_SILENT_MS,
    REPLICA_TENDED_MS,
)
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, NotMine
from dstore.replication import placements
from dstore.replication.cut_off import heir_of_the_unheard
from dstore.replication.follower import Feed, Follower
from dstore.replication.placements import Overtaken
from dstore.replication.splitting import children_of, not_cut
from dstore.replication.surroundings import pause_ms, since_ms
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.values import Malformed, ReplicaState

if TYPE_CHECKING:
    from dstore.replication.placements import Placed, Swapper
    from dstore.replication.split_calls import Split
    from dstore.replication.surroundings import Surroundings
    from dstore.topology.values import RangePlacement

_log: Final = get_logger(__name__)


class Leader(Feed, Protocol):
    """The primary, as its members see it."""

    def look(self) -> None:
        """Let go on what has waited for whoever counts."""


class Members:
    """The other replicas of a range in one epoch. Used from the primary's event loop."""

    def __init__(self, placed: Placed, leader: Leader, around: Surroundings) -> None:
        """Begin to send to all that the range's value names; `start` does."""
        self.placed = placed
        self.followers: dict[str, Follower] = {}
        self.wanted_after_seq: int | None = 0  # of the log; None: nobody wants any of it
        self.is_writable = False  # enough are in sync
        self.changing = asyncio.Lock()  # one configuration change at a time (B15)
        self._leader = leader
        self._around = around
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._joining: str | None = None
        self._required_now: list[Follower] = []
        self._stirred = asyncio.Event()  # there may be something to tend
        self._tending: asyncio.Task[None] | None = None
        self._is_closed = False
        self._has_other_reader = False

    def start(self) -> None:
        """Begin to send, and to tend them."""
        self._follow_set()
        self._note_required()

    def required(self) -> list[Follower]:
        """List the followers without which nothing is acknowledged (I5)."""
        return self._required_now

    def wake(self) -> None:
        """Let all send what is new."""
        for follower in self.followers.values():
            follower.wake()

    def rouse(self) -> None:
        """Go on behind a time when nobody asked for anything."""
        for follower in self.followers.values():
            follower.rouse()
        self._stirred.set()

    def heard(self, follower: Follower) -> None:
        """Look at whoever may join, or is not to count any more."""
        if not follower.is_required or _needs_tending(follower):
            self._stirred.set()

    def close(self) -> None:
        """Send nothing from here on. Safe to call twice."""
        self._is_closed = True
        if self._tending is not None:
            self._tending.cancel()
        for sender in self._senders.values():
            sender.cancel()

    async def adopt(self, placed: Placed) -> None:
        """Take the range's value that the topology shows, if it is newer and of this epoch.

        Control adds replicas, which learn, and takes replicas away; until that is known here, who
        was taken away counts on, and may well answer.
        """
        async with self.changing:
            if placed.value.epoch == self._leader.epoch and placed.is_newer(self.placed):
                await self._around.note(placed)
                self._take(placed)

    def condemn(self, node: str) -> bool:
        """Have a replica leave the set and copied anew, see `Follower.condemn`.

        Returns: whether enough are in sync without it; until they are, it counts on.
        """
        follower = self.followers.get(node)
        if follower is None:
            return False
        follower.condemn()
        self._stirred.set()
        return not follower.is_required or self._can_spare({node})

    async def heir(self, node: str | None) -> Follower | None:
        """Find an in-sync replica that answers now, on a certain node or on any."""
        asked_ns = self._around.clock.monotonic_ns()
        heirs = [each for each in self.required() if node in (None, each.node)]
        for each in heirs:
            each.ask()
        while heirs and since_ms(self._around.clock, asked_ns) < REPLICA_CALL_TIMEOUT_S * 1_000:
            for each in heirs:
                if each.answered_sent_ns >= asked_ns and not (each.needs_copy or each.is_leaving):
                    return each
            await pause_ms(REPLICA_COMMIT_TOLD_MS)
            heirs = [each for each in heirs if not each.is_leaving]
        return None

    async def swap(self, value: RangePlacement, *, by: Swapper | None = None) -> None:
        """Change the set, and know the outcome before this returns; the old set counts till then.

        The caller holds `changing`. `by` swaps as `placements.swap` does; it is None for all that
        changes who counts.
        """
        leader = self._leader
        try:
            placed = await (by or self._swapped)(self.placed, value)
        except Overtaken as error:
            now = error.now
            if (
                now is None
                or now.value.epoch != leader.epoch
                or now.value.node != self.placed.value.node
            ):
                leader.depose(leader.epoch + 1 if now is None else now.value.epoch)
                return
            placed = now  # somebody else's change of this epoch: decide anew on what it left
        except (CoordinatorError, Malformed) as error:
            _log.warning("replica_set_unchanged", range=leader.range_id, reason=error.message)
            return
        if placed.value.epoch == leader.epoch:
            try:
                await self._around.note(placed)
            except DStoreError as error:
                _log.warning("replica_set_not_noted", range=leader.range_id, reason=error.message)
                leader.depose(leader.epoch)
                return
        self._take(placed)

    async def _swapped(self, before: Placed, value: RangePlacement) -> Placed:
        return await placements.swap(self._around.coordinator, before, value, pause=pause_ms)

    async def swap_for_two(self, split: Split) -> list[Placed]:
        """Put a range's children in its place, and know the outcome before this returns.

        The caller holds `changing`, and every in-sync replica has ripe seeds.

        Raises: Unavailable: surely they are not, and the set may be another one by now. NotMine:
            there is another primary, or no such range any more.
        """
        leader, before = self._leader, self.placed
        try:
            return await placements.swap_for_two(
                self._around.coordinator, before, children_of(before, split), pause=pause_ms
            )
        except Overtaken as error:
            now = error.now
            if (
                now is None
                or now.value.epoch != leader.epoch
                or now.value.node != before.value.node
            ):
                leader.depose(leader.epoch + 1 if now is None else now.value.epoch)
                raise NotMine(leader.range_id, leader.epoch) from None
            try:
                await self._around.note(now)
            except DStoreError:
                leader.depose(leader.epoch)
                raise
            self._take(now)
        except (CoordinatorError, Malformed) as error:
            _log.warning("range_not_cut", range=leader.range_id, reason=error.message)
        raise not_cut()

    def keep_images(self, *, is_on: bool) -> None:
        """Have the log hold images even if there are no followers."""
        self._has_other_reader = is_on
        self._keep_log()

    def _take(self, placed: Placed) -> None:
        self.placed = placed
        if not self._is_closed:
            self._follow_set()
            self._note_required()
            self._leader.look()

    def _follow_set(self) -> None:
        """Send to the replicas that the range's value names, and to no others."""
        named = {each.node: each for each in self.placed.value.replicas}
        named.pop(self._around.node, None)
        for node, follower in list(self.followers.items()):
            # Of a node that came back with another disk nothing is known (REPLICATION, identity).
            if node not in named or named[node].incarnation != follower.incarnation:
                self._senders.pop(node).cancel()
                del self.followers[node]
        for node in [node for node in named if node not in self.followers]:
            follower = self.followers[node] = Follower(named[node], self._leader, self._around)
            sender = self._around.tasks.spawn(follower.run(), name="send_to_replica")
            sender.add_done_callback(self._task_ended)
            self._senders[node] = sender
        if self.followers and self._tending is None:
            self._tending = self._around.tasks.spawn(self._tend(), name="tend_replicas")
            self._tending.add_done_callback(self._task_ended)

    def _note_required(self) -> None:
        """Note who counts. Over that one no copy is made; it leaves the set before."""
        value = self.placed.value
        self.is_writable = len(value.in_sync) >= value.min_in_sync
        self._required_now = [
            self.followers[each.node]
            for each in value.replicas
            if each.node in self.followers
            and (each.state is ReplicaState.IN_SYNC or each.node == self._joining)
        ]
        for follower in self.followers.values():
            follower.is_required = follower in self._required_now
            follower.wake()
        self._keep_log()
        self._stirred.set()

    def _keep_log(self) -> None:
        """Note how much of the log is still wanted, unless that is too much."""
        end_seq = self._leader.end.seq
        followers = self.followers.values()
        wanted = [each.wanted_after_seq for each in followers]
        is_copied = any(each.is_copied for each in followers)
        most = REPLICA_COPY_LAG_RECORDS_MAX if is_copied else REPLICA_LAG_RECORDS_MAX
        kept = max(end_seq - most, min(wanted, default=0), 0)
        self.wanted_after_seq = kept if self.followers or self._has_other_reader else None

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """End with a task that has failed in a way that nobody foresaw; its log says how."""
        if not task.cancelled() and task.exception() is not None:
            self._leader.depose(self._leader.epoch)

    async def _tend(self) -> None:
        """Let go of who is silent or leaves, and take in who has caught up, one after another."""
        while True:
            self._stirred.clear()
            if self._may_rest():
                await self._stirred.wait()
            elif self._is_steady():
                await self._until_due()
            await pause_ms(REPLICA_TENDED_MS)
            self._keep_log()
            async with self.changing:
                before = self.placed
                is_tried = await self._tend_once()
            if is_tried and self.placed is before:
                await pause_ms(REPLICA_BACKOFF_MS_MAX)

    def _may_rest(self) -> bool:
        """Tell whether there is nothing to tend until somebody asks, or answers."""
        if not self._leader.is_idle or any(each.needs_copy for each in self.required()):
            return False
        return all(
            each.is_leaving or each.is_silent(REPLICA_SILENT_MS) for each in self._learners()
        )

    def _is_steady(self) -> bool:
        """Tell whether nothing is to be tended unless somebody falls silent, or says something."""
        return len(self._required_now) == len(self.followers) and not any(
            map(_needs_tending, self._required_now)
        )

    async def _until_due(self) -> None:
        """Wait until somebody may have fallen silent, or something else has changed."""
        if not self._required_now:
            await self._stirred.wait()
            return
        heard_ns = min(each.heard_ns for each in self._required_now)
        due_ms = REPLICA_SILENT_MS - since_ms(self._around.clock, heard_ns)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(due_ms - REPLICA_TENDED_MS / 2, 0) / 1_000):
                await self._stirred.wait()

    async def _tend_once(self) -> bool:
        """Change the set, if it is to be changed. Returns: whether that was tried."""
        is_idle = self._leader.is_idle  # then nobody was asked for anything, and nobody is silent
        lost = {
            each.node
            for each in self.required()
            if (each.needs_copy and not each.is_wrong)
            or each.has_lost
            or (not is_idle and each.is_silent(REPLICA_SILENT_MS))
        }
        leaving = next((one.node for one in self.required() if one.is_leaving), None)
        if leaving is not None and await self._drop({*lost, leaving}):
            return True
        if lost and (await self._drop(lost) or await self._give_up()):
            return True
        wrong = {each.node for each in self.required() if each.is_wrong}
        if wrong and await self._drop(wrong):
            return True
        # Where too few are left without the lost ones, somebody else is what lets them go.
        ready = next(filter(self._is_ready, self._learners()), None)
        if ready is not None:
            await self._join(ready)
        return ready is not None

    def _learners(self) -> list[Follower]:
        required = self.required()
        return [each for each in self.followers.values() if each not in required]

    def _is_ready(self, learner: Follower) -> bool:
        lag = self._leader.target.seq - learner.matched_seq
        is_close = learner.matched_seq >= 0 and lag <= REPLICA_LAG_JOINING_MAX
        is_away = learner.is_leaving or learner.is_silent(REPLICA_SILENT_MS)
        return is_close and not learner.needs_copy and not is_away

    async def _drop(self, nodes: set[str]) -> bool:
        """Go on without some replicas, if enough are left; they learn from now on."""
        if not self._can_spare(nodes):
            return False
        value = self.placed.value
        dropped = placements.with_state(value, nodes, ReplicaState.LEARNER)
        _log.warning("replica_out_of_sync", range=value.range_id, nodes=sorted(nodes))
        await self.swap(dropped)
        return True

    async def _give_up(self) -> bool:
        """Have another one lead, if too few of those that count have been heard for long."""
        value, leader = self.placed.value, self._leader
        heard = [each for each in self.required() if not each.is_silent(REPLICA_CUT_OFF_MS)]
        if 1 + len(heard) >= value.min_in_sync:
            return False
        try:
            heir = await heir_of_the_unheard(self.placed, self._around)
        except CoordinatorError:
            return False
        if heir is None:
            return False
        _log.warning("replicas_not_heard", range=value.range_id, epoch=value.epoch, heir=heir)
        await self.swap(placements.with_primary(value, heir))
        if self.placed.value.epoch > leader.epoch:
            leader.depose(self.placed.value.epoch)
        return True

    def _can_spare(self, nodes: set[str]) -> bool:
        value = self.placed.value
        return len({each.node for each in value.in_sync} - nodes) >= value.min_in_sync

    async def _join(self, learner: Follower) -> None:
        """Take a learner in that holds everything up to the moment when it counts.

        From here on nothing is acknowledged without it; so it holds all that was acknowledged when
        the swap is done, whenever that is.
        """
        self._joining = learner.node
        self._note_required()
        try:
            target_seq, asked_ns = self._leader.target.seq, self._around.clock.monotonic_ns()
            while learner.matched_seq < target_seq or learner.answered_sent_ns < asked_ns:
                if learner.is_silent(REPLICA_SILENT_MS) or learner.needs_copy or learner.is_leaving:
                    return
                learner.ask()
                await pause_ms(REPLICA_COMMIT_TOLD_MS)
            await self.swap(
                placements.with_state(self.placed.value, {learner.node}, ReplicaState.IN_SYNC)
            )
        finally:
            self._joining = None
            self._note_required()
            self._leader.look()


def _needs_tending(follower: Follower) -> bool:
    return follower.is_leaving or follower.needs_copy or follower.is_wrong or follower.has_lost
