"""The seeds of a range's children on one node: planted, filled from the range's file, made ripe.

Invariants kept here (ADR 0018):
- A seed is ripe only where the parent's log ended at the point that its primary named, with the
  same digest, and all of it was applied.
- A ripe seed may be a range already that nobody here has heard of. It is made a seed again only
  when its parent has gone on behind the point at which it was ripe: then it is none.
- Any other seed of which this process does not know how far it is filled is filled from nothing.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from dstore.base.limits import (
    REPLICA_BACKOFF_MS_MAX,
    REPLICA_TENDED_MS,
)
from dstore.base.logging import get_logger
from dstore.base.sowing_limits import SPLIT_FORSAKEN_S, SPLIT_TURN_MS
from dstore.model.errors import DStoreError
from dstore.model.hashing import HASH_MAX
from dstore.replication.surroundings import pause_ms, since_ms
from dstore.storage import sowing
from dstore.storage.sowing import SeedPlace

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.replication.placements import Placed
    from dstore.replication.split_calls import Split
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import LogPoint
    from dstore.storage.range_file import RangeFile
    from dstore.storage.range_scan import Span
    from dstore.storage.sowing import SeedTurn

_log: Final = get_logger(__name__)
_FORSAKEN_MS: Final = SPLIT_FORSAKEN_S * 1_000

Result = TypeVar("Result")


class SeedBed(Protocol):
    """Where a node keeps its seeds."""

    async def plant(self, parent: Placed, split: Split) -> None:
        """Have files of both seeds, noted durably as seeds of the parent in its epoch.

        Those that are there stay as they are. Seeds of the parent in older epochs go: they can't
        become ranges any more.

        Raises: NotMine: the parent is not held here. Unavailable.
        """

    async def open_file(self, range_id: str) -> RangeFile:
        """Open a seed's file, or the parent's. Raises: NotMine, Unavailable, Corrupt."""

    async def see(self, low: Placed, high: Placed) -> None:
        """Hear that both children stand in the coordinator, sooner than the topology shows it."""


class Sower:
    """Fills the two seeds of one attempt; of a replica that stays what it is meanwhile.

    Used from one event loop.
    """

    def __init__(
        self,
        parent: Placed,
        split: Split,
        bed: SeedBed,
        *,
        around: Surroundings,
        is_wanted: Callable[[], bool],
    ) -> None:
        """Prepare; `run` does it, as long as `is_wanted` and somebody asks for the seeds."""
        self._around = around
        self._clock = around.clock
        self._is_wanted = is_wanted
        self._asked_ns = around.clock.monotonic_ns()
        self._read_bytes = 0  # of pages, since the last pause
        self.split = split
        self.epoch = parent.value.epoch
        self._parent = parent
        self._bed = bed
        low_hash, high_hash = parent.path.low_hash, parent.value.high_hash
        assert low_hash < split.at_hash <= high_hash <= HASH_MAX
        self._spans: dict[str, Span] = {
            split.low_id: sowing.span_of(low_hash, split.at_hash - 1),
            split.high_id: sowing.span_of(split.at_hash, high_hash),
        }
        self._places: dict[str, SeedPlace] = {}
        self._level: dict[str, int] = {}  # up to which record of the parent each seed is all of it
        self._ripe_at: LogPoint | None = None  # both of them
        self._is_any_ripe = False  # as far as is known here
        self._turn = asyncio.Lock()

    @property
    def level_seq(self) -> int | None:
        """Up to where both seeds are all of the parent; None: they are not filled yet."""
        return min(self._level.values()) if len(self._level) == len(self._spans) else None

    def touch(self) -> None:
        """Hear that the seeds are wanted."""
        self._asked_ns = self._clock.monotonic_ns()

    async def run(self) -> None:
        """Fill the seeds, and keep them level, until nobody wants them any more."""
        while self._is_wanted() and since_ms(self._clock, self._asked_ns) < _FORSAKEN_MS:
            try:
                async with self._turn:
                    is_level = await self._go_on()
            except DStoreError as error:
                _log.info("seeds_not_filled", range=self._range_id, reason=error.message)
                self._places.clear()  # whatever was done of the last turn
                self._level.clear()
                await pause_ms(REPLICA_BACKOFF_MS_MAX)
                continue
            read_bytes, self._read_bytes = self._read_bytes, 0
            await self._around.pace.wait(read_bytes, clock=self._clock)
            await pause_ms(REPLICA_TENDED_MS if is_level else SPLIT_TURN_MS)

    async def ripen(self, point: LogPoint) -> bool:
        """Make both replicas, if the parent ended at `point` here too, and is applied that far.

        Returns: whether they are, durably.
        """
        async with self._turn:
            if self._ripe_at == point:
                return True
            if self.level_seq is None:
                return False
            for range_id in self._spans:
                turn = await self._take_turn(range_id)
                if turn is None or not turn.is_level:
                    return False
                if turn.place.point != point or turn.end != point:
                    return False
            self._is_any_ripe = True
            for range_id in self._spans:
                await self._change(
                    range_id,
                    partial(sowing.ripen, range_id=range_id, epoch=self.epoch, point=point),
                )
            self._ripe_at = point
            return True

    @property
    def _range_id(self) -> str:
        return self._parent.value.range_id

    async def _go_on(self) -> bool:
        """Take one turn for each seed. Returns: whether both are level."""
        if not self._places:
            self._ripe_at = None
            await self._bed.plant(self._parent, self.split)
            self._places = {range_id: await self._begin(range_id) for range_id in self._spans}
        are_level = True
        for range_id in self._spans:
            turn = await self._take_turn(range_id)
            if turn is None:
                return False
            are_level &= turn.is_level
        return are_level

    async def _begin(self, range_id: str) -> SeedPlace:
        """Find out how far a seed is, or empty it."""
        seed = await self._bed.open_file(range_id)
        base = await seed.change(sowing.prepare)
        if base is not None:
            parent = await self._bed.open_file(self._range_id)
            find = partial(sowing.place_of_ripe, base=base, range_id=range_id)
            if (place := await parent.look(find)) is not None:
                self._is_any_ripe = True
                return place
        while await self._change(range_id, sowing.clear_some):
            await pause_ms(SPLIT_TURN_MS)
        return SeedPlace()

    async def _take_turn(self, range_id: str) -> SeedTurn | None:
        """Bring one seed further. Returns: None: it is to be filled anew."""
        parent = await self._bed.open_file(self._range_id)
        read = partial(sowing.read_turn, place=self._places[range_id], span=self._spans[range_id])
        turn = await parent.look(read)
        if turn is None:
            _log.info("seeds_left_behind", range=self._range_id)
            self._places.clear()
            self._level.clear()
            return None
        if turn.records or turn.page is not None:
            await self._unripen()
            await self._change(range_id, partial(sowing.take_turn, turn=turn))
        self._places[range_id] = turn.place
        self._read_bytes += 0 if turn.page is None else turn.page.size_bytes
        if turn.is_level:
            assert turn.place.point is not None
            self._level[range_id] = turn.place.point.seq
        return turn

    async def _unripen(self) -> None:
        """Make seeds of ripe ones again, since the parent has gone on."""
        if self._is_any_ripe:
            for range_id in self._spans:
                await self._change(range_id, sowing.unripen)
            self._is_any_ripe, self._ripe_at = False, None

    async def _change(self, range_id: str, work: Callable[[Any], Result]) -> Result:
        return await (await self._bed.open_file(range_id)).change(work)
