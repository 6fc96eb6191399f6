"""The primary of a range in one epoch: ships what is written, and decides who is in sync.

Invariants kept here:
I5: a batch is acknowledged when every in-sync replica, as the coordinator has the set, holds it
    durably, and never by fewer than `min_in_sync`. While a change of the set is on its way, the
    larger set counts (B6).
I6: it acts in one epoch only, and ends when any replica has promised a newer one.
I7: it is certain of being the only one as long as every in-sync replica's lease lasts.

A range that nobody reads or writes for a while sends nothing and has no lease: the next read asks
the replicas, as any read without a lease does. Silence counts from when somebody was asked.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_MS
from dstore.base.limits import (
    REPLICA_BATCH_BYTES,
    REPLICA_BATCH_RECORDS_MAX,
    REPLICA_CALL_TIMEOUT_S,
    REPLICA_COMMIT_TOLD_MS,
    REPLICA_HANDED_OVER_S,
    REPLICA_IDLE_MS,
    REPLICA_SURE_S,
    RETRY_AFTER_MS,
)
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, NotMine, Unavailable, UnavailableKind, Unknown
from dstore.replication import placements
from dstore.replication.copying import no_such_copy
from dstore.replication.follower import Follower
from dstore.replication.members import Members
from dstore.replication.splitting import not_cut
from dstore.storage import replica_copy, replica_log
from dstore.storage.log_records import RecordKind
from dstore.storage.replica_copy import CopyStart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dstore.replication.placements import Placed, Swapper
    from dstore.replication.split_calls import Split
    from dstore.replication.splitting import ServedOrNot
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import History, LogPoint, LogRecord
    from dstore.storage.replica_copy import CopyPage, CopyPlace
    from dstore.topology.values import Replica

_log: Final = get_logger(__name__)
_IDLE_NS: Final = REPLICA_IDLE_MS * NS_PER_MS


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
        self._around = around
        self._now_ns = around.clock.monotonic_ns
        self._on_deposed = on_deposed
        self._records: Sequence[LogRecord] = ()  # on their way
        self._target = end  # where the log ends behind them
        self._shipping: asyncio.Future[None] | None = None
        self._is_shared = False  # what is shipped, with others
        self._is_handing_over = False
        # Not sent before it is known who is primary.
        self._held: tuple[Sequence[LogRecord], LogPoint] | None = None
        self._at_rest = asyncio.Event()  # no batch is under way
        self._used_ns = self._now_ns()  # when somebody last asked for anything
        self._asking: list[tuple[int, asyncio.Future[None]]] = []
        self._copies = 0
        self._is_closed = False
        self._members = Members(placed, self, around)
        self._members.start()

    # ------------------------------------------------------------------------- what others see

    @property
    def placed(self) -> Placed:
        """The range's value, as far as it is known here."""
        return self._members.placed

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._is_closed

    @property
    def target(self) -> LogPoint:
        """Where the log ends, what is being shipped included."""
        return self._target

    @property
    def has_lease(self) -> bool:
        """Whether every in-sync replica has promised that nobody else serves by now."""
        now_ns = self._now_ns()
        return all(now_ns < follower.lease_until_ns for follower in self._members.required())

    @property
    def is_idle(self) -> bool:
        """Whether nobody has asked for anything for so long that it needs no lease."""
        is_busy = self._shipping is not None or self._asking
        return not is_busy and self._now_ns() - self._used_ns > _IDLE_NS

    @property
    def wanted_after_seq(self) -> int | None:
        """What is behind it in the log is still wanted; None: nothing is."""
        return self._members.wanted_after_seq

    @property
    def counted(self) -> Sequence[Replica]:
        """Who counts by the range's value, this node's replica among them."""
        return self._members.placed.value.in_sync

    def keep_images(self, *, is_on: bool) -> None:
        """Have the log hold images even if no other replica wants them: something here does."""
        self._members.keep_images(is_on=is_on)

    async def adopt(self, placed: Placed) -> None:
        """Take the range's value that the topology shows, if it is newer and of this epoch."""
        await self._members.adopt(placed)

    async def point_at(self, seq: int) -> LogPoint | None:
        """Find a point of the log; None if what follows it is not there any more."""
        file = await self._around.open_file(self.range_id)
        return await file.look(lambda connection: replica_log.point_at(connection, seq))

    async def records_after(self, point: LogPoint) -> Sequence[LogRecord] | None:
        """Read on behind a point of the log; None if that is not there any more."""
        if point.seq >= self.end.seq:
            return _one_message(self._records[point.seq - self.end.seq :])
        file = await self._around.open_file(self.range_id)
        return await file.look(
            partial(replica_log.records_behind, after=point, last_seq=self.end.seq)
        )

    async def copy_start(self) -> CopyStart:
        """Say from where the log is to follow a copy that is begun now.

        While the range is opened its rows may not show all of the log yet. Raises: Unavailable.
        """
        end = self.end
        file = await self._around.open_file(self.range_id)
        standing, applied = await file.look(replica_log.standing_applied)
        point = end if standing.applied_seq >= end.seq else applied
        if point is None:
            raise no_such_copy()
        history = tuple(each for each in standing.history if each.first_seq <= point.seq)
        epoch = history[-1].epoch if history else self.epoch
        return CopyStart(epoch=epoch, point=point, history=history)

    def next_copy_number(self) -> int:
        """Number a copy."""
        self._copies += 1
        return self._copies

    async def copy_page(self, place: CopyPlace) -> tuple[CopyPage, CopyPlace]:
        """Read rows for a copy."""
        file = await self._around.open_file(self.range_id)
        return await file.look(partial(replica_copy.read_page, place=place))

    # -------------------------------------------------------------------------------- shipping

    def ship(self, records: Sequence[LogRecord], *, end: LogPoint) -> asyncio.Future[None]:
        """Have the next records of the log held by every in-sync replica; see `Replication.ship`.

        `end` is where it ends behind them. If there is no other replica there need not be any: who
        comes in this very moment learns from a copy that is made later.

        An opening is held by fewer than a write needs, if there are no more: no client was told of
        anything that depends on it, and only a range that is open lets other replicas join.

        Raises: Unavailable: too few replicas are in sync. NotMine: this has ended.
        """
        if self._is_closed:
            raise NotMine(self.range_id, self.epoch)
        if not (self._members.is_writable or _is_opening(records)):
            raise Unavailable(
                UnavailableKind.UNREACHABLE,
                "Fewer replicas of the range are in sync than a write needs; retry later.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        assert self._shipping is None, "a batch is under way"
        assert not records or records[0].seq == self.end.seq + 1, (records[0].seq, self.end.seq)
        assert records or not self._members.followers, "others want records"
        self._use()
        self._is_shared = bool(self._members.followers)
        shipping = self._shipping = asyncio.get_running_loop().create_future()
        self._at_rest.clear()
        if self._is_handing_over:
            self._held = records, end
        else:
            self._send(records, end)
        return shipping

    def _send(self, records: Sequence[LogRecord], end: LogPoint) -> None:
        self._held, self._records, self._target = None, records, end
        self._members.wake()
        self.look()

    def committed(self) -> None:
        """Hear that what was shipped is committed here; the others hear of it a little later."""
        self.end, self._records, self._shipping = self._target, (), None
        self.committed_seq = self.end.seq
        self._at_rest.set()
        if self._members.followers:
            asyncio.get_running_loop().call_later(REPLICA_COMMIT_TOLD_MS / 1_000, self._tell)

    def take_back(self) -> bool:
        """Forget what was shipped and is not committed here, if nobody else can have got it.

        Returns: whether it is forgotten. If not, its places in the log are taken in this epoch.
        """
        if self._is_shared or self._members.followers:
            return False
        self._records, self._target, self._shipping = (), self.end, None
        self._at_rest.set()
        return True

    def certain(self) -> asyncio.Future[None] | None:
        """Make certain that nobody else may have acknowledged a write by now (I7).

        Raises: NotMine: this has ended.
        """
        if self._is_closed:
            raise NotMine(self.range_id, self.epoch)
        if not self._members.followers:
            return None  # a set of one
        self._use()
        return None if self.has_lease else self._confirm(self._now_ns())

    async def is_certain(self) -> bool:
        """Tell whether this is the primary, asking the others for a moment if it has no lease."""
        try:
            async with asyncio.timeout(REPLICA_SURE_S):
                asking = self.certain()
                if asking is not None:
                    await asking
        except (DStoreError, TimeoutError):
            return False
        return True

    @property
    def in_sync(self) -> Sequence[Follower]:
        """The other replicas that count."""
        return self._members.required()

    def follower(self, node: str) -> Follower | None:
        """Find another replica, in sync or not."""
        return self._members.followers.get(node)

    def condemn(self, node: str) -> bool:
        """Have another replica copied anew; see `Members.condemn`."""
        return self._members.condemn(node)

    def _use(self) -> None:
        """Note that somebody asks for something."""
        is_idle, self._used_ns = self.is_idle, self._now_ns()
        self._around.pace.used(self._used_ns)
        if is_idle:
            self._members.rouse()

    def heard(self, follower: Follower) -> None:
        """Look at what a follower has answered."""
        self._members.heard(follower)
        self.look()

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
        self._members.close()
        if self._shipping is not None and not self._shipping.done():
            self._shipping.set_exception(
                Unknown("The range has moved while the write was under way; read it to find out.")
                if self._held is None
                else NotMine(self.range_id, self.epoch)
            )
        for _, asking in self._asking:
            if not asking.done():
                asking.set_exception(NotMine(self.range_id, self.epoch))
        self._asking.clear()

    def _confirm(self, now_ns: int) -> asyncio.Future[None]:
        """Ask every in-sync replica; what is answered must have been sent from now on."""
        asking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append((now_ns, asking))
        for follower in self._members.required():
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

    def look(self) -> None:
        """Let go on what has waited for answers."""
        if self._is_closed:
            return
        required = self._members.required()
        shipping, target_seq = self._shipping, self.target.seq
        if shipping is not None and self._held is None and not shipping.done():
            # The set may have become too small since it was shipped (I5).
            is_enough = self._members.is_writable or _is_opening(self._records)
            if is_enough and all(each.matched_seq >= target_seq for each in required):
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
            self._members.wake()

    # --------------------------------------------------------------------------- handing it over

    async def hand_over(self, node: str | None, *, swap: Swapper | None = None) -> Placed:
        """Make an in-sync replica the primary; this has ended when it is.

        What is written meanwhile waits, and is refused when the other one is the primary. Reads go
        on: whoever opens the range waits out what it has promised to this one.

        Args:
            node: which one; None: whichever of them answers first.
            swap: changes the range's value; None: alone, and at once.

        Returns: the range's value.
        Raises: Unavailable: no such replica answers, or the coordinator does not; this is the
            primary still. NotMine: it is not.
        """
        members = self._members
        async with members.changing:
            if self._is_closed:
                raise NotMine(self.range_id, self.epoch)
            heir = await members.heir(node)
            if heir is None:
                raise _not_handed_over()
            self._is_handing_over = True
            try:
                await self._rest()
                heired = placements.with_primary(members.placed.value, heir.node)
                await members.swap(heired, by=swap)
                if members.placed.value.epoch > self.epoch:
                    self.close()
            finally:
                self._go_on()
        if members.placed.value.epoch == self.epoch:
            raise _not_handed_over()
        _log.info("handed_over", range=self.range_id, epoch=self.epoch, to=heir.node)
        return members.placed

    async def cut(
        self,
        split: Split,
        *,
        ripen: Callable[[Placed, LogPoint], Awaitable[bool]],
        be_served: ServedOrNot,
    ) -> list[Placed]:
        """Put two ranges in the place of this one; it has ended when they are (ADR 0018).

        Args:
            split: the attempt; all in-sync replicas have sown, and are near.
            ripen: has every in-sync replica of a value make its seeds ripe, if its log ends at a
                point. Returns: whether all have.
            be_served: tells clients that this serves them, or no longer.

        Returns: both, as the coordinator has them.
        Raises: Unavailable: it is not split, and this is the primary still. NotMine: it is not.
        """
        members = self._members
        async with members.changing:
            if self._is_closed:
                raise NotMine(self.range_id, self.epoch)
            self._is_handing_over = True
            try:
                await self._rest()
                await self._ripe(ripen)
                # A lease is worth nothing against the children's primaries: not even reads go on.
                be_served(is_on=False)
                children = await members.swap_for_two(split)
                self.close()
            except DStoreError:
                if not self._is_closed:
                    be_served(is_on=True)
                raise
            except BaseException:
                self.close()  # nobody knows whether there are children by now
                raise
            finally:
                self._go_on()
        _log.info("range_cut", range=self.range_id, epoch=self.epoch, at_hash=split.at_hash)
        return children

    async def _ripe(self, ripen: Callable[[Placed, LogPoint], Awaitable[bool]]) -> None:
        """Have the seeds of all ripened. Raises: Unavailable: some are not. NotMine: this ended."""
        members = self._members
        is_ripe = members.is_writable and await ripen(members.placed, self.end)
        if self._is_closed:
            raise NotMine(self.range_id, self.epoch)
        if not is_ripe:
            raise not_cut()

    async def _rest(self) -> None:
        """Return when the batch that is under way is committed: those behind it are held."""
        if self._shipping is None or self._held is not None:
            return
        try:
            async with asyncio.timeout(REPLICA_HANDED_OVER_S):
                await self._at_rest.wait()
        except TimeoutError:
            raise _not_handed_over() from None

    def _go_on(self) -> None:
        """Send what was held, if this is the primary still."""
        self._is_handing_over = False
        if self._held is not None and not self._is_closed:
            self._send(*self._held)


def _is_opening(records: Sequence[LogRecord]) -> bool:
    return bool(records) and records[0].kind is RecordKind.OPENING


def _one_message(records: Sequence[LogRecord]) -> Sequence[LogRecord]:
    """Take as much of a batch as one message has: images may be far larger than what was asked."""
    size_bytes = 0
    for count, record in enumerate(records[:REPLICA_BATCH_RECORDS_MAX], 1):
        size_bytes += record.size_bytes
        if size_bytes >= REPLICA_BATCH_BYTES:
            return records[:count]
    return records[:REPLICA_BATCH_RECORDS_MAX]


def _not_handed_over() -> Unavailable:
    return Unavailable(
        UnavailableKind.UNREACHABLE,
        "The range could not be handed over; retry.",
        retry_after_ms=RETRY_AFTER_MS,
    )
