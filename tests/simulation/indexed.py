"""A cluster whose table has global indexes: they are fed and filled while anything befalls it.

Everything is the product's: control makes, fills, removes and adds the indexes, nodes feed them. In
the end, when everybody is back and every lane is level, each index that the table declares is what
a recomputation from the table makes of it.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from dstore.model.errors import DStoreError
from dstore.model.keys import KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.table_settings import Index, KeyAttribute, ProjectionType, TableSettings
from dstore.service import index_changes
from dstore.service.cluster import index_lane
from dstore.service.directory import Declared
from dstore.storage import log_reading, range_log, replica_log
from tests.simulation.machines import Died
from tests.simulation.plain_cluster import TABLE, node_id
from tests.simulation.scenario import Scenario
from tests.simulation.whole_cluster import WholeCluster
from tests.support.cluster_nodes import TENANT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.model.tables import TableDefinition
    from dstore.service.proxy.proxy import Proxy
    from dstore.topology.view import TableView, TopologyView
    from tests.simulation.world import World

_NODES: Final = 3
_KEY: Final = KeyAttribute(name="p", kind=KeyKind.STRING)
_CHANGED_S: Final = (4.0, 15.0)  # between two changes of the indexes
_SETTLED_S_MAX: Final = 180.0
_ALL: Final = 1 << 30
_BY_TEXT: Final = Index(name="by-text", hash_keys=("v",), projection=ProjectionType.ALL)
_OTHER: Final = Index(
    name="other", hash_keys=("v",), range_keys=("p",), projection=ProjectionType.KEYS_ONLY
)
_SETTINGS: Final = TableSettings(
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
        self._small = ExitStack()
        small: dict[str, Any] = {"INDEX_NOTED_RECORDS": 12, "INDEX_NOTED_S": 1.0}
        if self._changing.random() < 0.6:  # windows and pages of a few
            small |= {"INDEX_BATCH_RECORDS": 3, "INDEX_SCANNED_ITEMS": 2, "INDEX_NOTED_ITEMS": 4}
        self._small.enter_context(patch.multiple(index_lane, **small))
        if self._changing.random() < 0.5:  # logs so short that copies are made
            for module in (range_log, replica_log):
                kept: dict[str, Any] = {"LOG_RECORDS_KEPT": 16, "LOG_RECORDS_TRIMMED": 4}
                self._small.enter_context(patch.multiple(module, **kept))

    async def work(self) -> None:
        """Make and delete tables; add and remove an index."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(super().work())
                group.create_task(self._change_indexes())
        finally:
            self._small.close()

    async def settled(self) -> Sequence[str]:
        """Compare each index with what the table makes of it, once nothing is on its way."""
        told = await super().settled()
        left: str | None = "nobody has looked"
        try:
            async with asyncio.timeout(_SETTLED_S_MAX):
                while (left := self._unlevel()) is not None:
                    self.world.trace.note(f"not level: {left}")
                    await asyncio.sleep(0.5)
        except TimeoutError:
            return [*told, f"an index is not level: {left}"]
        return [*told, *await self._wrong()]

    # ------------------------------------------------------------------------------- indexes

    async def _make_realm(self, proxy: Proxy) -> None:
        await proxy.registrar.create_tenant(TENANT)
        if TABLE not in proxy.directory.tenant(TENANT).tables:
            declared = Declared(name=TABLE, partition=_KEY, settings=_SETTINGS)
            await proxy.registrar.declare_table(TENANT, declared)

    async def _change_indexes(self) -> None:
        has_other = False
        while True:
            await asyncio.sleep(self._changing.uniform(*_CHANGED_S))
            indexes = (_BY_TEXT,) if has_other else (_BY_TEXT, _OTHER)
            settings = replace(_SETTINGS, global_indexes=indexes)
            try:
                await self._ask(partial(_set, settings=settings))
            except (DStoreError, Died) as error:
                self.world.trace.note(f"indexes: {error!r}")
                continue
            has_other = not has_other
            self.world.trace.event("index_added" if has_other else "index_removed")

    def _view(self) -> TopologyView | None:
        serving = self._serving
        is_there = serving is not None and serving.process.is_alive
        return serving.watcher.view if serving is not None and is_there else None

    def _unlevel(self) -> str | None:
        """Say what is still to be done; None: every index has everything."""
        view = self._view()
        base = None if view is None else view.table(TENANT, TABLE)
        if view is None or base is None:
            return "the view"
        for index in base.definition.settings.global_indexes:
            hidden = view.table(TENANT, f"{TABLE}:{index.name}")
            if hidden is None or hidden.status is not ResourceStatus.ACTIVE:
                return f"{index.name} is {hidden and hidden.status}"
            for placed in base.ranges:
                living = self.living[self._number(placed.placement.node)]
                replicas = living.node._replicas
                if replicas is None or not living.process.is_alive:
                    return "a node is down"
                lane = replicas.indexes.lane(placed.range_id, hidden.definition.table_id)
                if lane is None or not lane.is_filled or lane.lag_records or lane.is_lost:
                    return f"{index.name} of {placed.range_id}"
        return None

    def _number(self, node: str) -> int:
        return next(n for n in self._numbers.values() if node_id(n) == node)

    async def _wrong(self) -> Sequence[str]:
        view = self._view()
        base = None if view is None else view.table(TENANT, TABLE)
        if view is None or base is None:
            return ["the table is not shown"]
        told = []
        items = await self._rows(base)
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
            "log.index_filled",
            "log.failed_over",
            "log.copy_done",
        }
    ),
)
