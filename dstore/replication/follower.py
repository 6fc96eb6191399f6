"""A primary's view of another replica: what it holds, and the one task that sends it the rest.

One message is under way at a time, and every one may be lost, doubled or late: a replica that has
the records says so again. What it is known to hold only grows, since an answer is for a place in
the primary's own log that was named in the request.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.clock import NS_PER_MS
from dstore.base.limits import (
    REPLICA_BACKOFF_IDLE_MS_MAX,
    REPLICA_BACKOFF_MS_MAX,
    REPLICA_BACKOFF_MS_MIN,
    REPLICA_CALL_TIMEOUT_S,
    REPLICA_HEARTBEAT_MS,
    REPLICA_SILENT_MS,
)
from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, DStoreError
from dstore.replication.copying import Copy, copy_to
from dstore.replication.forks import last_common_seq
from dstore.replication.leases import LEASE_NS, lease_until_ns
from dstore.replication.replica_calls import AppendRecords, SealReplica

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import History, LogPoint, LogRecord, Standing
    from dstore.storage.replica_copy import CopyPage, CopyPlace, CopyStart
    from dstore.topology.values import Replica

_log: Final = get_logger(__name__)


class Feed(Protocol):
    """The primary, as its followers read it."""

    range_id: str
    epoch: int

    @property
    def end(self) -> LogPoint:
        """Where the log ends in the file."""

    @property
    def target(self) -> LogPoint:
        """Where the log ends, what is being shipped included."""

    @property
    def committed_seq(self) -> int:
        """Up to where every in-sync replica holds the log."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody has asked for anything for long, so that no lease is needed."""

    @property
    def history(self) -> History:
        """The newest epochs of the log."""

    async def point_at(self, seq: int) -> LogPoint | None:
        """Find a point of the log; None if what follows it is not there any more."""

    async def records_after(self, point: LogPoint) -> Sequence[LogRecord] | None:
        """Read on behind a point; None if that is not there any more."""

    async def copy_start(self) -> CopyStart:
        """Say from where the log is to follow a copy."""

    def next_copy_number(self) -> int:
        """Number a copy, higher than any before in this epoch."""

    async def copy_page(self, place: CopyPlace) -> tuple[CopyPage, CopyPlace]:
        """Read rows for a copy."""

    def heard(self, follower: Follower) -> None:
        """Look at what a follower has answered."""

    def depose(self, epoch: int) -> None:
        """Hear that a replica has promised a newer epoch."""


class Follower:
    """Another replica of a range. Used from the primary's event loop."""

    def __init__(self, replica: Replica, feed: Feed, around: Surroundings) -> None:
        """Know nothing of it yet."""
        self.node = replica.node
        self._replica = replica
        self._feed = feed
        self._around = around
        self._now_ns = around.clock.monotonic_ns
        self._matched: LogPoint | None = None
        self._found = feed.end  # where its log was found to end
        self._next: LogPoint | None = None  # a place to try, while nothing is known
        self._told_seq = -1  # up to where it knows the log to be committed
        self._wake = asyncio.Event()
        self._is_asked = False
        self._roused = asyncio.Event()
        self.heard_ns = self._now_ns()  # when it last answered; not yet: since when it is asked
        self.answered_sent_ns = -1  # when that was sent which it answered last
        self.lease_until_ns = -1
        self.needs_copy = False
        self.is_leaving = False  # it has asked not to be counted on
        self._bound_until_ns = -1
        self.is_wrong = False  # what it holds is not what its log says: only a copy mends that
        self._held_seq = -1  # up to where it has said, to this primary, that it holds the log
        self.has_lost = False  # it lacks some of that: whoever counts has to have it
        self.is_required = False  # for an acknowledgement; then it keeps what it holds
        self.kept_after_seq: int | None = None  # of the log, while a copy is made
        self._has_copy = False  # of the rows, behind which it reads on

    @property
    def incarnation(self) -> str:
        """Of its disk."""
        return self._replica.incarnation

    @property
    def is_bound(self) -> bool:
        """Whether it has promised others something, as far as is known: it would serve late."""
        return self._now_ns() < self._bound_until_ns

    @property
    def matched_seq(self) -> int:
        """Up to where it holds the primary's log, durably; -1: not known."""
        return -1 if self._matched is None else self._matched.seq

    def condemn(self) -> None:
        """Have it copied anew as soon as it does not count: its rows, or its file, are wrong."""
        if not self.is_wrong:
            self._around.files.condemned(self._feed.range_id, self.node)
        self.is_wrong = self.needs_copy = True
        self.wake()

    def wake(self) -> None:
        """Send what is new; if nothing is, the next heartbeat is early enough."""
        self._wake.set()

    def ask(self) -> None:
        """Send something now, for the sake of its answer."""
        self._is_asked = True
        self._wake.set()

    def rouse(self) -> None:
        """Go on behind a time when nobody asked for anything: silence counts from now on."""
        self.is_leaving = False  # by now it may be back
        if self.is_required:
            self.heard_ns = max(self.heard_ns, self._now_ns())
        self._roused.set()
        self._wake.set()

    async def run(self) -> None:
        """Send, for as long as the primary lasts."""
        backoff_ms = REPLICA_BACKOFF_MS_MIN
        while True:
            await self._due()
            try:
                is_sent = await self._send()
            except DStoreError as error:
                _log.debug("replica_not_reached", node=self.node, reason=error.message)
                is_sent = False
            if is_sent:
                backoff_ms = REPLICA_BACKOFF_MS_MIN
            else:
                is_idle = self._feed.is_idle
                most_ms = REPLICA_BACKOFF_IDLE_MS_MAX if is_idle else REPLICA_BACKOFF_MS_MAX
                is_roused = await self._pause(min(backoff_ms, most_ms))
                backoff_ms = REPLICA_BACKOFF_MS_MIN if is_roused else min(2 * backoff_ms, most_ms)

    async def _pause(self, duration_ms: float) -> bool:
        """Wait before it is asked again. Returns: whether it is to be asked now, and often."""
        self._roused.clear()
        try:
            async with asyncio.timeout(duration_ms / 1_000):
                return await self._roused.wait()
        except TimeoutError:
            return False

    async def _due(self) -> None:
        """Return when there is something to send."""
        feed = self._feed
        self._wake.clear()
        is_news = self.matched_seq < feed.target.seq or self._told_seq < feed.committed_seq
        if is_news or self._is_asked:
            return
        try:
            async with asyncio.timeout(REPLICA_HEARTBEAT_MS / 1_000):
                await self._wake.wait()
        except TimeoutError:
            # A learner is asked on, so that it joins, or is known to be away.
            if feed.is_idle and self.is_required:
                await self._wake.wait()

    async def _send(self) -> bool:
        """Send one message and take its answer. Returns: whether it has led to something."""
        feed, self._is_asked = self._feed, False
        if self.needs_copy and not self.is_required:
            return await self._copy()
        after = self._matched or self._next or feed.end
        records = await feed.records_after(after)
        if records is None:  # trimmed here: let it say anew where it stands
            self._forget()
            return False
        sent_ns, committed_seq = self._now_ns(), feed.committed_seq
        append = AppendRecords(
            range_id=feed.range_id,
            epoch=feed.epoch,
            primary=self._around.node,
            incarnation=self._replica.incarnation,
            after=after,
            records=tuple(records),
            committed_seq=committed_seq,
        )
        try:
            answer = await self._around.peer_of(self.node).call(
                append, deadline_s=REPLICA_CALL_TIMEOUT_S
            )
        except Corrupt:
            if not self.is_required:
                self.condemn()  # it will not take this the next time either
            raise
        if answer.promised_epoch > feed.epoch:
            feed.depose(answer.promised_epoch)
            return True
        self.heard_ns, self.is_leaving = self._now_ns(), answer.is_leaving
        self._bound_until_ns = self.heard_ns + LEASE_NS if answer.is_bound else -1
        if answer.is_damaged and not self.is_wrong:
            self.condemn()
        # Any answer has the lease in it, counted from when its request was sent (B1).
        self.answered_sent_ns, self.lease_until_ns = sent_ns, lease_until_ns(sent_ns)
        if answer.matched is not None:
            self._matched, self.kept_after_seq = answer.matched, None
            self.has_lost &= answer.matched.seq < self._held_seq
            self._held_seq = max(self._held_seq, answer.matched.seq)
            self.needs_copy |= self.is_wrong
            self._told_seq = min(committed_seq, answer.matched.seq)
        elif answer.standing is not None:
            self._look_for_loss(answer.standing)
            await self._look_for_fork(after, answer.standing)
        feed.heard(self)
        return answer.matched is not None or not self.needs_copy

    def _look_for_loss(self, standing: Standing) -> None:
        """See whether its log ends below what it has acknowledged, as behind an old copy of a disk.

        Only then: what it holds of a primary's log nobody cuts while that one leads (B7).
        """
        if standing.end.seq < self._held_seq and not self.has_lost:
            self.has_lost = True
            _log.error(
                "replica_has_lost",
                range=self._feed.range_id,
                node=self.node,
                acknowledged_seq=self._held_seq,
                end_seq=standing.end.seq,
            )
            self._around.files.fell_short(self.node)

    async def _look_for_fork(self, tried: LogPoint, standing: Standing) -> None:
        """Go back to where both logs are equal, or find that they never are."""
        feed = self._feed
        self._matched = None
        seq = last_common_seq((feed.history, feed.end.seq), (standing.history, standing.end.seq))
        self._found = standing.end
        point = await feed.point_at(seq) if standing.is_whole else None
        if point == tried:  # where the epochs say they are equal they are not
            point = None
        self.needs_copy = point is None
        self._next = point

    async def _copy(self) -> bool:
        """Let it learn anew, from the rows."""
        feed = self._feed
        if self.is_wrong:
            await self._find_end()
        copy = Copy(
            number=feed.next_copy_number(),
            found=self._found,
            start=await feed.copy_start(),
            is_wrong=self.is_wrong,
        )
        start = copy.start
        self.kept_after_seq = start.point.seq
        self._held_seq, self.has_lost = -1, False  # what it has goes
        try:
            is_done = await copy_to(self._replica, feed, copy, around=self._around)
            self.heard_ns = self._now_ns()
            if is_done:
                self.needs_copy, self._matched, self._next = False, None, start.point
                self._has_copy = True
                self.is_wrong = False
        except DStoreError:
            # It may be something else by now than what it was when the copy was begun.
            self._forget()
            raise
        return is_done

    async def _find_end(self) -> None:
        """Ask where its log ends; of one that can't even tell that, it says nothing."""
        request = SealReplica(
            range_id=self._feed.range_id,
            epoch=self._feed.epoch,
            primary=self._around.node,
            incarnation=self._replica.incarnation,
        )
        with suppress(Corrupt):
            peer = self._around.peer_of(self.node)
            sealed = await peer.call(request, deadline_s=REPLICA_CALL_TIMEOUT_S)
            self._found = sealed.standing.end

    @property
    def wanted_after_seq(self) -> int:
        """What it is still going to read of the log."""
        return self.matched_seq if self.kept_after_seq is None else self.kept_after_seq

    @property
    def is_copied(self) -> bool:
        """Whether a copy is made, or was, and it still comes from there: else all was for nothing.

        A copy takes long, and meanwhile the log grows.
        """
        if self.kept_after_seq is not None:
            return True
        return self._has_copy and not (self.is_required or self.is_silent(REPLICA_SILENT_MS))

    def _forget(self) -> None:
        """Know nothing of it any more: its next answer says where it stands."""
        self._matched = self._next = self.kept_after_seq = None
        self.needs_copy = self._has_copy = False

    def is_silent(self, limit_ms: int) -> bool:
        """Tell whether it has not answered for longer than that."""
        return self._now_ns() - self.heard_ns > limit_ms * NS_PER_MS
