"""A cluster whose table has indexes: they are fed, filled and split while anything befalls it.

Everything is the product's: control makes, fills, removes and adds global indexes, and splits the
ranges of the table and of its indexes when an operator asks for it; nodes feed them. In the end,
when everybody is back and every lane is level, each global index that the table declares is what a
recomputation from the table makes of it, and so are the local ones in the file of each replica.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from dstore.model.errors import DStoreError
from dstore.model.index_rows import local_shapes
from dstore.model.keys import KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.table_settings import Index, KeyAttribute, ProjectionType, TableSettings
from dstore.service import index_changes
from dstore.service.cluster import index_lane, index_pages
from dstore.service.control.split_steps import SPLIT_RANGE
from dstore.service.directory import Declared
from dstore.storage import log_reading, range_log, replica_log
from dstore.storage.control import splits, tasks
from dstore.storage.control.records import RangeId
from tests.simulation.machines import Died
from tests.simulation.plain_cluster import TABLE, node_id
from tests.simulation.scenario import Scenario
from tests.simulation.whole_cluster import WholeCluster
from tests.support.cluster_nodes import TENANT
from tests.support.indexed import Kept, kept, recomputed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.model.index_rows import IndexShape
    from dstore.model.tables import TableDefinition
    from dstore.service.proxy.proxy import Proxy
    from dstore.topology.view import TableView, TopologyView
    from tests.simulation.whole_cluster import Ruling
    from tests.simulation.world import World

_NODES: Final = 3
_KEY: Final = KeyAttribute(name="p", kind=KeyKind.STRING)
_SORT: Final = KeyAttribute(name="s", kind=KeyKind.STRING)
_CHANGED_S: Final = (4.0, 15.0)  # between two changes of the indexes
_SPLIT_S: Final = (3.0, 15.0)  # between two ranges that are to be split
_RANGES_MAX: Final = 6  # of a table, or an index
_SETTLED_S_MAX: Final = 180.0
_ALL: Final = 1 << 30
_BY_TEXT: Final = Index(name="by-text", hash_keys=("v",), projection=ProjectionType.ALL)
_OTHER: Final = Index(
    name="other", hash_keys=("v",), range_keys=("p",), projection=ProjectionType.KEYS_ONLY
)
_HIDDEN: Final = tuple(f"{TABLE}:{index.name}" for index in (_BY_TEXT, _OTHER))
_SETTINGS: Final = TableSettings(
    local_indexes=(
        Index(name="own", hash_keys=("p",), range_keys=("v",), projection=ProjectionType.ALL),
        Index(name="key", hash_keys=("p",), range_keys=("s",), projection=ProjectionType.KEYS_ONLY),
    ),
    global_indexes=(_BY_TEXT,),
    index_attributes=(KeyAttribute(name="v", kind=KeyKind.STRING),),
)


class IndexedCluster(WholeCluster):
    """A `Cluster` of a control, three nodes and a proxy; one index stays, one comes and goes."""

    ranges_per_table = 2
    has_indexes = True
    churn_s = (20.0, 60.0)

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world, nodes=_NODES)
        self._changing = world.random("indexes")
        self._splitting = world.random("splits")
        self._copying = world.random("copies")
        # One replica's log leaves out what nobody reads: rows of indexes, and cursors.
        self._factor = 1 if self._copying.random() < 0.4 else None
        self._small = ExitStack()
        small: dict[str, Any] = {"INDEX_NOTED_RECORDS": 12, "INDEX_NOTED_S": 1.0}
        if self._changing.random() < 0.6:  # windows, pages and zones of a few
            small |= {"INDEX_BATCH_RECORDS": 3, "INDEX_NOTED_ITEMS": 4}
            pages: dict[str, Any] = {"INDEX_SCANNED_ITEMS": 2, "INDEX_LOOP_SCANNED_ITEMS": 2}
            pages["INDEX_ZONE_ITEMS"] = 3
            self._small.enter_context(patch.multiple(index_pages, **pages))
        if self._splitting.random() < 0.5:  # so late that a split finds much that is not told
            small["INDEX_GATHERED_MS"] = 4_000
        self._small.enter_context(patch.multiple(index_lane, **small))
        if self._changing.random() < 0.5:  # logs so short that copies are made
            for module in (range_log, replica_log):
                kept: dict[str, Any] = {"LOG_RECORDS_KEPT": 16, "LOG_RECORDS_TRIMMED": 4}
                self._small.enter_context(patch.multiple(module, **kept))

    async def work(self) -> None:
        """Make and delete tables; add and remove an index; split what there is."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(super().work())
                group.create_task(self._change_indexes())
                group.create_task(self._split_ranges())
        finally:
            self._small.close()

    async def settled(self) -> Sequence[str]:
        """Compare each index with what the table makes of it, once nothing is on its way."""
        told = await super().settled()
        left: str | None = "nobody has looked"
        try:
            async with asyncio.timeout(_SETTLED_S_MAX):
                while True:
                    try:
                        if (left := await self._unlevel()) is None:
                            return [*told, *await self._wrong()]
                    except DStoreError as error:  # a node has begun just now
                        left = repr(error)
                    self.world.trace.note(f"not level: {left}")
                    await asyncio.sleep(0.5)
        except TimeoutError:
            return [*told, f"an index is not level: {left}"]

    # ------------------------------------------------------------------------------- indexes

    async def _make_realm(self, proxy: Proxy) -> None:
        await proxy.registrar.create_tenant(TENANT)
        if TABLE not in proxy.directory.tenant(TENANT).tables:
            settings = replace(_SETTINGS, replication_factor=self._factor)
            declared = Declared(name=TABLE, partition=_KEY, sort=_SORT, settings=settings)
            await proxy.registrar.declare_table(TENANT, declared)

    async def _change_indexes(self) -> None:
        has_other = False
        while True:
            await asyncio.sleep(self._changing.uniform(*_CHANGED_S))
            indexes = (_BY_TEXT,) if has_other else (_BY_TEXT, _OTHER)
            if self._copying.random() < 0.2:
                self._factor = None  # from here on there are others
            factor = self._factor
            settings = replace(_SETTINGS, global_indexes=indexes, replication_factor=factor)
            try:
                await self._ask(partial(_set, settings=settings))
            except (DStoreError, Died) as error:
                self.world.trace.note(f"indexes: {error!r}")
                continue
            has_other = not has_other
            self.world.trace.event("index_added" if has_other else "index_removed")

    async def _split_ranges(self) -> None:
        """Ask for splits of the table's ranges and of its indexes', as an operator does."""
        random = self._splitting
        while True:
            await asyncio.sleep(random.uniform(*_SPLIT_S))
            name = random.choice((TABLE, TABLE, *_HIDDEN))
            view = self._view()
            shown = None if view is None else view.table(TENANT, name)
            if shown is None or not 0 < len(shown.ranges) < _RANGES_MAX:
                continue
            range_id = random.choice(list(shown.ranges)).range_id
            if await self._done(partial(_split, RangeId(range_id))):
                self.world.trace.event("split_asked", name)

    def _view(self) -> TopologyView | None:
        serving = self._serving
        is_there = serving is not None and serving.process.is_alive
        return serving.watcher.view if serving is not None and is_there else None

    async def _unlevel(self) -> str | None:
        """Say what is still to be done; None: every index has everything, and nothing is split."""
        ruling = self.ruling
        if ruling is None or not ruling.process.is_alive:
            return "control is down"
        if split := await ruling.process.run(_being_split(ruling), name="look"):
            return split
        revision = (await self.world.coordination.embedded.get("nothing")).revision
        view = self._view()
        base = None if view is None else view.table(TENANT, TABLE)
        if view is None or base is None or view.revision < revision:
            return "the view"
        for index in base.definition.settings.global_indexes:
            hidden = view.table(TENANT, f"{TABLE}:{index.name}")
            if hidden is None or hidden.status is not ResourceStatus.ACTIVE:
                return f"{index.name} is {hidden and hidden.status}"
            if left := self._unserved(hidden) or self._unfed(base, hidden):
                return f"{index.name}: {left}"
        return self._unserved(base)

    def _unserved(self, table: TableView) -> str | None:
        for placed in table.ranges:
            living = self.living[self._number(placed.placement.node)]
            own = living.node._replicas
            replica = None if own is None else own._replicas.of(placed.range_id)
            epoch = None if replica is None else replica.serving_epoch
            if not living.process.is_alive or epoch != placed.placement.epoch:
                return f"{placed.range_id} is not served"
        return None

    def _unfed(self, base: TableView, hidden: TableView) -> str | None:
        for placed in base.ranges:
            replicas = self.living[self._number(placed.placement.node)].node._replicas
            if replicas is None:
                return "a node is locked"
            lane = replicas.indexes.lane(placed.range_id, hidden.definition.table_id)
            if lane is None or not lane.is_filled or lane.lag_records or lane.is_lost:
                return f"{placed.range_id} has not told all"
        return None

    def _number(self, node: str) -> int:
        return next(n for n in self._numbers.values() if node_id(n) == node)

    async def _wrong(self) -> Sequence[str]:
        view = self._view()
        base = None if view is None else view.table(TENANT, TABLE)
        if view is None or base is None:
            return ["the table is not shown"]
        told = await self._wrong_beside(base)
        items = await self._rows(base)
        if len(base.ranges) > self.ranges_per_table:
            self.world.trace.event("split_index_compared")
        for index in base.definition.settings.global_indexes:
            hidden = view.table(TENANT, f"{TABLE}:{index.name}")
            assert hidden is not None
            found = await self._rows(hidden)
            expected = _computed(items, base.definition, hidden.definition)
            self.world.trace.counts["index_compared"] += 1
            self.world.trace.counts["index_rows"] += len(expected)
            if {key: entry.item for key, entry in found.items()} != expected:
                lacking = sorted(expected.keys() - found.keys())
                extra = sorted(found.keys() - expected.keys())
                told.append(f"{index.name} lacks {lacking}, has {extra} too, or other items")
        return told

    async def _wrong_beside(self, base: TableView) -> list[str]:
        """Compare the local indexes in each replica's file with what its entries make of them."""
        told, shapes = [], local_shapes(base.definition)
        for placed in base.ranges:
            for replica in placed.placement.in_sync:
                living = self.living[self._number(replica.node)]
                reading = _read_local(living.node, placed.range_id, shapes)
                found, expected = await living.process.run(reading, name="look")
                self.world.trace.counts["local_rows"] += len(expected[0])
                if found != expected:
                    told.append(f"{placed.range_id} on {replica.node} has {found}, not {expected}")
        return told

    async def _rows(self, table: TableView) -> dict[bytes, Any]:
        found: dict[bytes, Any] = {}
        for placed in table.ranges:
            living = self.living[self._number(placed.placement.node)]
            page = await living.process.run(_read(living.node, placed.range_id), name="look")
            found.update(page.entries)
        return found


def _computed(
    items: dict[bytes, Any], base: TableDefinition, index: TableDefinition
) -> dict[bytes, Any]:
    assert index.index_of is not None
    shape = index_changes.shape_of(index.index_of)
    rows = index_changes.rows_of_entries(items.items(), shape, base, position=(1, 1))
    return {
        row.rid_id: range_log.item_of(row.image, file="") for row in rows if row.image is not None
    }


async def _set(proxy: Proxy, *, settings: TableSettings) -> None:
    await proxy.registrar.set_table(TENANT, TABLE, lambda _: settings)


async def _split(range_id: RangeId, ruling: Ruling) -> None:
    await ruling.control.elasticity.split(range_id, actor="operator")


async def _being_split(ruling: Ruling) -> str:
    async with ruling.plane.store.snapshot() as tx:
        wished = [each.subject for each in await tasks.unfinished_of(tx, SPLIT_RANGE)]
        begun = [each.range_id for each in await splits.begun(tx)]
    return f"{wished} are to be split, {begun} are being split" if wished or begun else ""


async def _read_local(node: Any, range_id: str, shapes: Sequence[IndexShape]) -> tuple[Kept, Kept]:
    file = await node.node.holdings.open_held(range_id)
    found: tuple[Kept, Kept] = await file.look(
        lambda connection: (kept(connection), recomputed(connection, shapes))
    )
    return found


async def _read(node: Any, range_id: str) -> log_reading.EntryPage:
    file = await node.node.holdings.open_held(range_id)
    page: log_reading.EntryPage = await file.look(
        partial(log_reading.read_entries, after=b"", entries_max=_ALL, bytes_max=_ALL)
    )
    return page


INDEXED: Final = Scenario(
    name="indexed",
    build=IndexedCluster,
    interesting=frozenset(
        {
            "kill",
            "power_cut",
            "operation.ok",
            "operation.unknown",
            "index_added",
            "index_removed",
            "index_compared",
            "index_rows",
            "local_rows",
            "log.range_is_split",
            "split_index_compared",
            "log.index_filled",
            "log.failed_over",
            "log.copy_done",
        }
    ),
)
