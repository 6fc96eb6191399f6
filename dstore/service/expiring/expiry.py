"""Items that expire on a node: their times are kept beside them, and they are removed in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from dstore.service.expiring.effort import Effort
from dstore.service.expiring.index_keeper import IndexKeeper
from dstore.service.expiring.sweeper import Sweeper

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.metrics import ExpiryMetrics
    from dstore.model.ranges import Table
    from dstore.service.disk_space import DiskSpace
    from dstore.service.holdings import Holdings
    from dstore.service.range_heat import RangeHeat

_LOOKED_AT_ONCE: Final = 1_000  # in one turn of the event loop, at a start: about 1 ms


class Expiry:
    """Hears what happens to a node's ranges, and has done what follows. Used from one event loop.

    What is heard before `run` is done then.
    """

    def __init__(
        self,
        holdings: Holdings,
        *,
        heat: RangeHeat,
        disk: DiskSpace,
        clock: Clock,
        counts: ExpiryMetrics,
    ) -> None:
        """Work on what `holdings` holds, more slowly while `heat` counts requests."""
        self._holdings = holdings
        self._served: set[str] | None = None  # None: all that is held
        effort = Effort(clock, lambda: heat.noted)
        self.keeper = IndexKeeper(holdings, effort=effort, clock=clock, on_kept=self._kept)
        self.sweeper = Sweeper(holdings, disk=disk, effort=effort, clock=clock, counts=counts)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due now, and everything is as the tables' settings say."""
        return self.keeper.is_idle and self.sweeper.is_idle

    def replicate(self) -> None:
        """Remove items from now on only where `serve` says that a range is served."""
        self._served = set()

    def serve(self, range_id: str, *, is_on: bool) -> None:
        """Hear that a range is served here from now on, or no longer."""
        assert self._served is not None, "every range is served"
        if is_on:
            self._served.add(range_id)
            self.keeper.look(range_id)
        else:
            self._served.discard(range_id)
            self.sweeper.forget(range_id)

    def opened(self, range_id: str) -> None:
        """Hear that a range's file was opened."""
        self.keeper.look(range_id)

    def set(self, table: Table) -> None:
        """Hear that a table has other settings."""
        for ref in self._holdings.seeds.all_of(table):
            self.keeper.look(ref.range_id)

    def expiring(self, range_id: str, at_s: int) -> None:
        """Hear that something was written to a range that expires then, in wall seconds."""
        if self._served is None or range_id in self._served:
            self.sweeper.expiring(range_id, at_s)

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        if self._served is None:  # else each range says so when it is served
            for number, range_id in enumerate(list(self._holdings.ranges)):
                self.keeper.look(range_id)
                if number % _LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keeper.run(), name="keep_expiry")
            group.create_task(self.sweeper.run(), name="sweep_expired")

    def _kept(self, range_id: str, expires: bool) -> None:  # noqa: FBT001 - all that is said of it
        is_served = self._served is None or range_id in self._served
        if expires and is_served:
            self.sweeper.look(range_id)
        elif not expires:
            self.sweeper.forget(range_id)
