"""Removes items whose time is over, from the ranges that this node is the primary of.

It knows when each range has something due next, and sleeps until the first of them. Each item is
removed by a write like any other, which is replicated and logged as the service's own, on the
condition that the item still says so: whoever has changed it meanwhile wins. A piece that was lost
half-way, or of which nobody knows whether it was done, is simply looked for again.

By whose clock: the primary's. One that is ahead removes items early, one that is behind late;
one that is set ahead while it runs is doubted for an hour (`believed_clock`). Replicas do what the
log says, so they never differ (ADR 0022).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.clock import US_PER_S
from dstore.base.expiry_limits import (
    EXPIRY_DUE_S_MIN,
    EXPIRY_LOOK_S,
    EXPIRY_RANGES_AT_ONCE,
    EXPIRY_RETRY_S,
    EXPIRY_RETRY_S_MAX,
    EXPIRY_SWEPT_ROWS,
    EXPIRY_TURN_PIECES,
    EXPIRY_WRITE_S,
)
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.model.errors import ConditionFailed, DStoreError, NotMine, Unavailable, UnavailableKind
from dstore.model.expiry import is_due, rule_of
from dstore.model.keys import HASH_BYTES
from dstore.service.expiring.believed_clock import BelievedClock
from dstore.service.expiring.due_times import DueTimes
from dstore.storage import expiry_rows
from dstore.storage.derived_rows import expiry_of
from dstore.storage.writes import Applied, Expire, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.base.clock import Clock
    from dstore.base.metrics import ExpiryMetrics
    from dstore.model.expiry import ExpiryRule
    from dstore.service.disk_space import DiskSpace
    from dstore.service.expiring.effort import Effort
    from dstore.service.holdings import Holdings
    from dstore.storage.entries import Entry
    from dstore.storage.range_file import RangeFile

_log: Final = get_logger(__name__)


class Sweeper:
    """Removes what is due. Used from one event loop."""

    def __init__(
        self,
        holdings: Holdings,
        *,
        disk: DiskSpace,
        effort: Effort,
        clock: Clock,
        counts: ExpiryMetrics,
    ) -> None:
        """Sweep ranges of `holdings`; nothing is due before somebody says so."""
        self._holdings = holdings
        self._disk = disk
        self._effort = effort
        self._clock = BelievedClock(clock)
        self._counts = counts
        self._due = DueTimes()
        self._swept: dict[str, int | None] = {}  # being swept: what was written meanwhile is due
        self._late: dict[str, int] = {}  # ranges that are behind, and since when
        self._tries: dict[str, int] = {}  # of those that failed
        self._tasks = Tasks(_never)
        self._is_news = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due now, and nothing is being removed."""
        first_s = self._due.first_s
        return not self._swept and (first_s is None or first_s > self._now_s())

    def look(self, range_id: str) -> None:
        """Have a range looked at: it is served from now on, or has its rows from now on."""
        self.expiring(range_id, 0)

    def forget(self, range_id: str) -> None:
        """Expect nothing of a range: nothing expires in it, or it is not served here."""
        self._due.set(range_id, None)
        self._late.pop(range_id, None)
        self._tries.pop(range_id, None)
        self._count()

    def expiring(self, range_id: str, at_s: int) -> None:
        """Hear that something was written that expires then."""
        if range_id in self._swept:
            known_s = self._swept[range_id]
            self._swept[range_id] = at_s if known_s is None else min(known_s, at_s)
        elif self._due.sooner(range_id, at_s) and self._due.first_s == at_s:
            self._is_news.set()

    async def run(self) -> None:
        """Sweep, until cancelled."""
        try:
            while True:
                self._is_news.clear()
                now_s = self._now_s()
                while len(self._swept) < EXPIRY_RANGES_AT_ONCE:
                    range_id = self._due.take(now_s=now_s)
                    if range_id is None:
                        break
                    self._swept[range_id] = None
                    self._tasks.spawn(self._sweep(range_id), name="sweep_range")
                self._count()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._rest_s()):
                        await self._is_news.wait()
        finally:
            await self._tasks.close()

    def _rest_s(self) -> float:
        """Say how long there is nothing to do; never long, since wall clocks are set."""
        first_s = self._due.first_s
        if first_s is None or len(self._swept) >= EXPIRY_RANGES_AT_ONCE:
            return EXPIRY_LOOK_S
        left_s = first_s - self._clock.wall_us() / US_PER_S
        return min(max(left_s, 0.0), EXPIRY_LOOK_S)

    def _now_s(self) -> int:
        return self._clock.wall_us() // US_PER_S

    def _count(self) -> None:
        """Say how far behind it is."""
        first_s = self._due.first_s
        oldest_s = min(self._late.values(), default=None)
        known = [each for each in (first_s, oldest_s) if each]  # 0: of these nobody knows yet
        self._counts.behind_s = max(0, self._now_s() - min(known)) if known else 0

    # ----------------------------------------------------------------------------- one range

    async def _sweep(self, range_id: str) -> None:
        """Remove some of what is due in a range, and say when it has something due next."""
        next_s: int | None = None
        try:
            next_s = await self._sweep_some(range_id)
            self._tries.pop(range_id, None)
        except NotMine:
            self._late.pop(range_id, None)  # `look` says when it is served again
        except Exception as error:  # noqa: BLE001 - the range is swept again, whatever it is (I14)
            next_s = self._now_s() + self._put_off(range_id, error)
        finally:
            sooner_s = self._swept.pop(range_id)
            self._due.set(range_id, next_s)
            if sooner_s is not None:
                self._due.sooner(range_id, sooner_s)
            self._is_news.set()

    def _put_off(self, range_id: str, error: Exception) -> int:
        tries = self._tries[range_id] = self._tries.get(range_id, 0) + 1
        unforeseen = None if isinstance(error, DStoreError) else error
        _log.warning("expiry_later", range=range_id, reason=str(error), exc_info=unforeseen)
        return int(min(EXPIRY_RETRY_S * 2 ** min(tries - 1, 16), EXPIRY_RETRY_S_MAX))

    async def _sweep_some(self, range_id: str) -> int | None:
        """Remove a few pieces. Returns: when to go on, in wall seconds; None: nothing expires.

        Raises: NotMine: it is not served here. Unavailable, Unknown: try again.
        """
        for _ in range(EXPIRY_TURN_PIECES):
            file, rule = await self._open(range_id)
            if rule is None:
                self._late.pop(range_id, None)
                return None
            now_s = self._now_s()
            find = partial(expiry_rows.due, now_s=now_s, limit=EXPIRY_SWEPT_ROWS)
            found = await file.look(find)
            if not found:
                self._late.pop(range_id, None)
                next_s = await file.look(partial(expiry_rows.next_s, now_s=now_s))
                # What has come due since is looked for in a moment, and not over and over.
                return None if next_s is None else max(next_s, now_s + EXPIRY_DUE_S_MIN)
            self._late[range_id] = found[0][0]
            self._count()
            self._disk.check_write()
            await self._effort.allow(len(found))
            await self._remove(file, rule, [rid_id for _, rid_id in found])
        return self._now_s()  # behind those that are due as well

    async def _open(self, range_id: str) -> tuple[RangeFile, ExpiryRule | None]:
        """Open the file of a range that is served here; no rule: nothing expires, or not yet."""
        held = self._holdings.ranges.get(range_id)
        if held is None:
            raise NotMine(range_id)
        table = self._holdings.table_of(range_id)
        ref = table.ranges.at(held.hash_start.to_bytes(HASH_BYTES, "big"))
        if ref.range_id != range_id:  # a child that is not a range yet
            raise NotMine(range_id)
        file = await self._holdings.open(ref)
        rule, state = rule_of(table.definition), expiry_of(file.derived)
        is_kept = rule == state.rule and not state.is_dropping and state.built_to is None
        return file, rule if is_kept else None

    async def _remove(self, file: RangeFile, rule: ExpiryRule, rid_ids: Sequence[bytes]) -> None:
        """Remove items that are due. Raises: what a write may raise."""
        now_s = self._now_s()
        writes = [
            file.submit(
                Write(
                    rid_id=rid_id,
                    entry_hash=int.from_bytes(rid_id[:HASH_BYTES], "big"),
                    apply=_expire(rule, rid_id, now_s=now_s),
                )
            )
            for rid_id in rid_ids
        ]
        for write in writes:
            write.add_done_callback(_heard)
        _, waiting = await asyncio.wait(writes, timeout=EXPIRY_WRITE_S)
        failure: BaseException | None = None
        for write in writes:
            if write in waiting:
                continue
            error = write.exception()
            if error is None:
                applied: Applied = write.result()
                self._counts.expired += applied.existed
            elif isinstance(error, ConditionFailed):
                self._counts.spared += 1
            else:
                failure = error
        if failure is not None:
            raise failure
        if waiting:
            raise Unavailable(UnavailableKind.OVERLOADED, "The writes take too long.")


def _expire(rule: ExpiryRule, rid_id: bytes, *, now_s: int) -> Callable[[Entry | None], Expire]:
    """Make the write that removes an item which is still due: pure, as every one (I3)."""

    def apply(previous: Entry | None) -> Expire:
        if previous is not None:
            at_s = expiry_rows.at_of_entry(rule, rid_id, previous)
            if not is_due(at_s, now_s=now_s):
                raise ConditionFailed
        return Expire()

    return apply


def _heard(write: asyncio.Future[Applied]) -> None:
    """Look at a write's failure, also of one that is waited for no longer."""
    if not write.cancelled():
        write.exception()


def _never(error: BaseException) -> None:
    """Take the failure of a critical task; there is none here."""
    raise AssertionError from error
