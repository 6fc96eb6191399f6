"""Giving ranges away: all that a node is primary of before it stops, and one that is damaged here.

The next primary is a replica in sync on a node that stays. While a range is handed over its writes
wait for milliseconds, and none fails; one that nobody can take is served on until the time is over.
Ranges without another replica are nobody else's, and just end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dstore.base.limits import (
    DEPARTURE_LAST_S,
    DEPARTURE_LOOK_S,
    DEPARTURE_PAUSE_S,
    DEPARTURES_AT_ONCE,
    RETREAT_PAUSE_S,
)
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.replication import placements
from dstore.replication.handing_over import is_bound
from dstore.replication.packed_swaps import PackedSwaps
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.values import ComponentStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstore.base.tasks import Tasks
    from dstore.replication.placements import Placed
    from dstore.replication.replica import Replica
    from dstore.replication.replicas import Replicas
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.watcher import TopologyWatcher

_log: Final = get_logger(__name__)


class Departure:
    """Gives a node's ranges away. Used from one event loop."""

    def __init__(
        self,
        node: str,
        replicas: Replicas,
        *,
        watcher: TopologyWatcher,
        coordinator: Coordinator,
        tasks: Tasks,
    ) -> None:
        """Give away what `replicas`, of `node`, are primary of; `watcher` shows who stays."""
        self._node = node
        self._replicas = replicas
        self._watcher = watcher
        self._coordinator = coordinator
        self._tasks = tasks
        self._swaps = PackedSwaps(coordinator, tasks)
        self._given: Counter[str] = Counter()  # to each node; so that none gets all
        self._retreating: set[str] = set()

    async def run(self, timeout_s: float) -> None:
        """Give everything away, then wait until nobody's writes wait for this node, for so long."""
        before = len(self._led())
        try:
            async with asyncio.timeout(timeout_s):
                await self._give_all()
                await self._until_uncounted()
        except TimeoutError:
            pass
        left = len(self._led())
        if before:
            _log.info("ranges_given_away", node=self._node, given=before - left, left=left)

    def retreat(self, range_id: str) -> None:
        """Give a damaged range away, as soon as somebody can take it, unless it is another's."""
        replica = self._replicas.of(range_id)
        if replica is None or range_id in self._retreating:
            return
        replica.is_damaged = True  # so that nobody counts on it, once another one is primary
        self._retreating.add(range_id)
        self._tasks.spawn(self._retreat(replica), name="give_damaged_away")

    async def _retreat(self, replica: Replica) -> None:
        try:
            while self._replicas.of(replica.range_id) is replica and replica.is_named:
                if await self._is_coordinator_there() and await self._give(replica):
                    _log.warning("damaged_range_given_away", range=replica.range_id)
                    return
                await asyncio.sleep(RETREAT_PAUSE_S)
        finally:
            self._retreating.discard(replica.range_id)

    # ------------------------------------------------------------------------------------ all

    def _led(self) -> list[Replica]:
        """List the ranges that are this node's and could be another's."""
        return [each for each in self._replicas.all() if each.is_named and self._may_go(each)]

    async def _give_all(self) -> None:
        while led := self._led():
            given = 0
            if await self._is_coordinator_there():
                works = iter(led)
                some = (self._give_some(works) for _ in range(min(DEPARTURES_AT_ONCE, len(led))))
                given = sum(await asyncio.gather(*some))
            if not given:
                await asyncio.sleep(DEPARTURE_PAUSE_S)

    async def _is_coordinator_there(self) -> bool:
        """Look first: a range's writes wait while it is tried to hand it over."""
        try:
            await self._coordinator.get(keys.PLANE.path, timeout_s=DEPARTURE_PAUSE_S)
        except CoordinatorError:
            return False
        return True

    async def _give_some(self, works: Iterator[Replica]) -> int:
        return sum([await self._give(replica) for replica in works])

    async def _until_uncounted(self) -> None:
        """Wait until the primaries have left this node's replicas out, those that are in use."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DEPARTURE_LAST_S):
                while any(map(self._is_counted_on, self._replicas.all())):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(DEPARTURE_LOOK_S)

    def _is_counted_on(self, replica: Replica) -> bool:
        placed = replica.placed
        return (
            placed is not None
            and replica.has_promised
            and placed.value.node != self._node
            and any(each.node == self._node for each in placed.value.in_sync)
        )

    # ------------------------------------------------------------------------------------ one

    async def _give(self, replica: Replica) -> bool:
        """Make another replica primary, one after the other is tried. Returns: whether one is."""
        placed = replica.placed
        if placed is None or not replica.is_named:
            return True
        for heir in self._heirs(replica, placed):
            self._given[heir] += 1
            try:
                if replica.serving_epoch is None:
                    await self._leave_unopened(replica, placed, heir)
                else:
                    await replica.hand_over(heir, swap=self._swaps.swap)
            except DStoreError as error:
                self._given[heir] -= 1
                _log.info(
                    "range_not_given_away",
                    range=replica.range_id,
                    to=heir,
                    reason=error.message,
                )
            else:
                return True
        return False

    async def _leave_unopened(self, replica: Replica, placed: Placed, heir: str) -> None:
        """Name another primary of a range that is not served here.

        As in a failover, nobody is told that this one has ended: it may be about to open the range,
        and then serves until the other one has sealed it.
        """
        value = placements.with_primary(placed.value, heir)
        replica.follow(await self._swaps.swap(placed, value))

    def _heirs(self, replica: Replica, placed: Placed) -> list[str]:
        """Order the nodes that can take a range at once; a damaged one anybody may."""
        able = [
            each.node
            for each in placed.value.in_sync
            if self._stays(each.node) and (replica.is_damaged or not is_bound(replica, each.node))
        ]
        return sorted(able, key=lambda node: (not self._is_okay(node), self._given[node], node))

    def _may_go(self, replica: Replica) -> bool:
        """Tell whether anybody has a replica of a range, or is getting one, who stays."""
        placed = replica.placed
        return placed is not None and any(self._stays(each.node) for each in placed.value.replicas)

    def _stays(self, node: str) -> bool:
        """Tell whether another node lives and is not about to stop."""
        seen = self._watcher.view.node(node)
        if node == self._node or seen is None or seen.alive is None:
            return False
        return seen.details is None or seen.details.value.status is not ComponentStatus.DRAINING

    def _is_okay(self, node: str) -> bool:
        seen = self._watcher.view.node(node)
        details = None if seen is None else seen.details
        return details is not None and details.value.status is ComponentStatus.OKAY
