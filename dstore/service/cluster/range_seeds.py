"""A node's seeds in its cluster: planted when a primary asks, ranges when the topology names them.

Invariants kept here (ADR 0018):
- A ripe seed becomes a range when the coordinator names it to this node, and not before.
- A seed is deleted only when nothing can become of it: its parent is in a later epoch, so that the
  swap it was for will never be; or its child stands there without this node; or its parent is given
  up here. A value that a recovery could not settle yet says neither.
- Once control was told that no child of a range is begun here, since the coordinator was lost, none
  is begun by what was shown before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, NotMine, Unavailable
from dstore.model.ranges import RangeRef
from dstore.replication.placements import Placed
from dstore.storage import sowing
from dstore.topology.keyspace import RangePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dstore.base.tasks import Tasks
    from dstore.replication.split_calls import Split
    from dstore.service.calls.recollection_calls import AskRemembered, Shown
    from dstore.service.disk_space import DiskSpace
    from dstore.service.holdings import Holdings
    from dstore.storage.range_file import RangeFile
    from dstore.storage.table_records import RangeRecord
    from dstore.topology.view import PlacedRange, TopologyView

_log: Final = get_logger(__name__)


class RangeSeeds:
    """A `seeds.SeedBed`. Used from one event loop."""

    def __init__(
        self,
        holdings: Holdings,
        *,
        disk: DiskSpace,
        node: str,
        tasks: Tasks,
        view: Callable[[], TopologyView],
        end: Callable[[str], None],
        follow: Callable[[str, Placed | None], None],
    ) -> None:
        """Prepare.

        Args:
            holdings: have the seeds.
            disk: that they are on.
            node: this one.
            tasks: own what follows the topology.
            view: the newest.
            end: lets a range, by its id, be no replica any more, and leaves its seeds alone.
            follow: lets a range, by its id, be a replica, by a value that is newer than the view's.
        """
        self._holdings = holdings
        self._disk = disk
        self._node = node
        self._tasks = tasks
        self._view = view
        self._end = end
        self._follow = follow
        self._told: dict[str, Shown] = {}  # parents, and what was shown when control asked first

    async def plant(self, parent: Placed, split: Split) -> None:
        """See `SeedBed.plant`."""
        path, value = parent.path, parent.value
        epoch = value.epoch + 1
        refs = [
            RangeRef(range_id=split.low_id, epoch=epoch, low=path.low_hash, high=split.at_hash - 1),
            RangeRef(range_id=split.high_id, epoch=epoch, low=split.at_hash, high=value.high_hash),
        ]
        holdings = self._holdings
        await self._check_room(value.range_id, refs)
        await holdings.turn(
            path.tenant, holdings.seeds.plant(value.range_id, refs, epoch=value.epoch)
        )

    async def _check_room(self, parent_id: str, refs: Sequence[RangeRef]) -> None:
        """Refuse to fill seeds that would fill the disk; those that were begun go.

        Raises: Unavailable: there is no room. NotMine: the parent is not held here.
        """
        parent = self._holdings.ranges.get(parent_id)
        if parent is None:
            raise NotMine(parent_id)
        begun = [each for each in refs if each.range_id in self._holdings.ranges]
        size_bytes = self._holdings.counts.size_bytes((parent.ref,))
        size_bytes -= self._holdings.counts.size_bytes(begun)
        try:
            self._disk.check_write(max(size_bytes, 0))
        except Unavailable:
            for ref in begun:
                if not await (await self.open_file(ref.range_id)).look(sowing.is_ripe):
                    await self._uproot(self._holdings.ranges[ref.range_id])
            raise

    async def open_file(self, range_id: str) -> RangeFile:
        """See `SeedBed.open_file`."""
        return await self._holdings.open_held(range_id)

    async def see(self, low: Placed, high: Placed) -> None:
        """See `SeedBed.see`."""
        for child in (low, high):
            await self._settle(child, is_news=True)

    async def be_asked(self, request: AskRemembered) -> None:
        """Hear that control is about to be told which of some ranges are split here, for good.

        Of several questions in one recovery the first counts: what is written later is known.

        Raises: NotMine, Unavailable: it can't be told now.
        """
        shown = request.shown
        if shown is None:
            return
        seeds = self._holdings.seeds.every()
        living = {each.parent for each in seeds}
        self._told = {key: known for key, known in self._told.items() if key in living}
        held = [each for each in seeds if each.parent in request.range_ids]
        for each in held:
            assert each.parent is not None
            known = self._told.get(each.parent)
            if known is None or not _is_of_one_recovery(known, shown):
                self._told[each.parent] = shown
        for tenant in {each.tenant for each in held}:
            await self._holdings.turn(tenant, _nothing())  # behind what has begun already

    async def uproot_all(self, parent_id: str) -> None:
        """Delete the seeds of a range that is given up here, of which none is a child's.

        Raises: Unavailable, Unknown: some may be left.
        """
        for held in self.of(parent_id):
            await self._uproot(held)
        self._told.pop(parent_id, None)

    def of(self, parent_id: str) -> list[RangeRecord]:
        """List the seeds of a range."""
        return [each for each in self._holdings.seeds.every() if each.parent == parent_id]

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
        ranges = () if shown is None else shown.ranges
        try:
            child = _named(ranges, range_id)
            if child is not None:
                path = RangePath(held.tenant, held.table, child.low_hash)
                placed = Placed(path=path, value=child.placement, revision=child.mod_revision)
                await self._settle(placed, is_news=False)
            elif _is_dead(held, ranges):
                await self._uproot(held)
        except DStoreError as error:
            _log.warning("seed_not_settled", range=range_id, reason=error.message)

    async def _settle(self, child: Placed, *, is_news: bool) -> None:
        """Make a range of a seed whose child stands there, if this node is to have it.

        One that is not ripe by then, or of a child that is elsewhere, is nothing any more; unless
        nobody knows yet who has the child.

        Args:
            child: the child.
            is_news: it is newer than the view.
        """
        range_id, value = child.value.range_id, child.value
        held = self._holdings.ranges.get(range_id)
        if held is None or held.parent is None:
            return
        is_named = any(each.node == self._node for each in value.replicas)
        if not (is_named and await (await self.open_file(range_id)).look(sowing.is_ripe)):
            if value.is_settled:
                await self._uproot(held)
            return
        if await self._holdings.turn(held.tenant, self._begin(child)):
            self._follow(range_id, child if is_news else None)

    async def _begin(self, child: Placed) -> bool:
        """Begin with a child, in the tenant's turn. Returns: whether it is a range by now."""
        range_id, seeds = child.value.range_id, self._holdings.seeds
        held = self._holdings.ranges.get(range_id)
        if held is None or not seeds.is_seed(range_id):
            return held is not None
        assert held.parent is not None
        told = self._told.get(held.parent)
        if told is not None and not seeds.is_cut(held.parent):
            is_later = child.revision > told.revision
            if self._view().cluster_id != told.cluster_id or not is_later:
                _log.warning("child_not_begun", range=range_id, reason="Control asked since.")
                return False
        self._end(held.parent)
        await seeds.begin(range_id)
        _log.info("child_begun", range=range_id)
        return True

    async def _uproot(self, held: RangeRecord) -> None:
        async def uproot() -> None:
            if self._holdings.seeds.is_seed(held.range_id):
                await self._holdings.seeds.uproot(held.range_id)
                _log.info("seed_uprooted", range=held.range_id)

        try:
            await self._holdings.turn(held.tenant, uproot())
        except NotMine:
            return


def _is_of_one_recovery(one: Shown, other: Shown) -> bool:
    return (one.cluster_id, one.recoveries) == (other.cluster_id, other.recoveries)


def _named(ranges: Iterable[PlacedRange], range_id: str) -> PlacedRange | None:
    return next((each for each in ranges if each.range_id == range_id), None)


def _is_dead(held: RangeRecord, ranges: Iterable[PlacedRange]) -> bool:
    """Tell whether nothing can become of a seed: its parent goes on in a later epoch.

    A parent that is not settled may be split: somebody who has not been heard may know.
    """
    assert held.parent is not None
    parent = _named(ranges, held.parent)
    return (
        parent is not None
        and parent.placement.is_settled
        and parent.placement.epoch > held.parent_epoch
    )


async def _nothing() -> None:
    """Do nothing."""
