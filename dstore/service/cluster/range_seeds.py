"""A node's seeds in its cluster: planted when a primary asks, ranges when the topology names them.

Invariants kept here (ADR 0018):
- A ripe seed becomes a range when the coordinator names it to this node, and not before.
- A seed is deleted only when nothing can become of it: its parent is in a later epoch, so that the
  swap it was for will never be; or its child stands there without this node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, NotMine
from dstore.model.ranges import RangeRef
from dstore.storage import sowing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dstore.base.tasks import Tasks
    from dstore.replication.placements import Placed
    from dstore.replication.split_calls import Split
    from dstore.service.holdings import Holdings
    from dstore.storage.range_file import RangeFile
    from dstore.storage.table_records import RangeRecord
    from dstore.topology.values import RangePlacement
    from dstore.topology.view import TopologyView

_log: Final = get_logger(__name__)


class RangeSeeds:
    """A `seeds.SeedBed`. Used from one event loop."""

    def __init__(
        self,
        holdings: Holdings,
        *,
        node: str,
        tasks: Tasks,
        view: Callable[[], TopologyView],
        end: Callable[[str], None],
        follow: Callable[[str, Placed | None], None],
    ) -> None:
        """Prepare.

        Args:
            holdings: have the seeds.
            node: this one.
            tasks: own what follows the topology.
            view: the newest.
            end: lets a range, by its id, be no replica any more, and leaves its seeds alone.
            follow: lets a range, by its id, be a replica, by a value that is newer than the view's.
        """
        self._holdings = holdings
        self._node = node
        self._tasks = tasks
        self._view = view
        self._end = end
        self._follow = follow

    async def plant(self, parent: Placed, split: Split) -> None:
        """See `SeedBed.plant`."""
        path, value = parent.path, parent.value
        epoch = value.epoch + 1
        refs = [
            RangeRef(range_id=split.low_id, epoch=epoch, low=path.low_hash, high=split.at_hash - 1),
            RangeRef(range_id=split.high_id, epoch=epoch, low=split.at_hash, high=value.high_hash),
        ]
        seeds = self._holdings.seeds
        await self._holdings.turn(path.tenant, seeds.plant(value.range_id, refs, epoch=value.epoch))

    async def open_file(self, range_id: str) -> RangeFile:
        """See `SeedBed.open_file`."""
        return await self._holdings.open_held(range_id)

    async def see(self, low: Placed, high: Placed) -> None:
        """See `SeedBed.see`."""
        for child in (low, high):
            await self._settle(child.value.range_id, child.value, child)

    def look(self, table: tuple[str, str]) -> None:
        """Look at a table's seeds by the newest view, soon."""
        for held in self._holdings.seeds.every():
            if (held.tenant, held.table) == table:
                self._tasks.spawn(self._look_at(held.range_id), name="settle_seed")

    async def settle(self, table: tuple[str, str]) -> None:
        """Do with a table's seeds what the newest view wants; those that can't be now stay."""
        for held in self._holdings.seeds.every():
            if (held.tenant, held.table) == table:
                await self._look_at(held.range_id)

    async def _look_at(self, range_id: str) -> None:
        held = self._holdings.ranges.get(range_id)
        if held is None or held.parent is None:
            return
        shown = self._view().table(held.tenant, held.table)
        values = [] if shown is None else [each.placement for each in shown.ranges]
        try:
            child = _named(values, range_id)
            if child is not None:
                await self._settle(range_id, child, None)
            elif _is_dead(held, values):
                await self._uproot(held)
        except DStoreError as error:
            _log.warning("seed_not_settled", range=range_id, reason=error.message)

    async def _settle(self, range_id: str, value: RangePlacement, placed: Placed | None) -> None:
        """Make a range of a seed whose child stands there, if this node is to have it.

        One that is not ripe by then, or of a child that is elsewhere, is nothing any more.
        """
        held = self._holdings.ranges.get(range_id)
        if held is None or held.parent is None:
            return
        is_named = any(each.node == self._node for each in value.replicas)
        if not (is_named and await (await self.open_file(range_id)).look(sowing.is_ripe)):
            await self._uproot(held)
            return
        self._end(held.parent)
        await self._holdings.turn(held.tenant, self._begin(range_id))
        self._follow(range_id, placed)

    async def _begin(self, range_id: str) -> None:
        if self._holdings.seeds.is_seed(range_id):
            await self._holdings.seeds.begin(range_id)
            _log.info("child_begun", range=range_id)

    async def _uproot(self, held: RangeRecord) -> None:
        async def uproot() -> None:
            if self._holdings.seeds.is_seed(held.range_id):
                await self._holdings.seeds.uproot(held.range_id)
                _log.info("seed_uprooted", range=held.range_id)

        try:
            await self._holdings.turn(held.tenant, uproot())
        except NotMine:
            return


def _named(values: Iterable[RangePlacement], range_id: str) -> RangePlacement | None:
    return next((each for each in values if each.range_id == range_id), None)


def _is_dead(held: RangeRecord, values: list[RangePlacement]) -> bool:
    """Tell whether nothing can become of a seed: its parent goes on in a later epoch."""
    assert held.parent is not None
    parent = _named(values, held.parent)
    return parent is not None and parent.epoch > held.parent_epoch
