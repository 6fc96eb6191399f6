"""Ranges of which a recovery could not tell who is in sync: they are settled as nodes come back.

Nobody can open such a range (`values.UNSETTLED`). The nodes that it is on are asked again and
again; as soon as nobody can know better, the value that is remembered is put in its place.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dstore.base.limits import RECOLLECTION_RETRY_S
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError
from dstore.replication import placements
from dstore.replication.packed_swaps import Swap, swap_all
from dstore.replication.placements import Placed
from dstore.replication.surroundings import pause_ms
from dstore.service.calls.recollection_calls import Shown
from dstore.service.control.recollecting import Created, Recollecting, last_sites, meant
from dstore.storage.control import tables
from dstore.topology import keyspace as keys
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.service.control.leader import Term
    from dstore.service.control.realm import Realm
    from dstore.service.peer_pool import Nodes
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.values import RangePlacement
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)

TableName = tuple[str, str]  # the tenant's and the table's


class Settling:
    """Settles ranges. `run` is a leader's job."""

    def __init__(self, realm: Realm, coordinator: Coordinator, *, nodes: Nodes) -> None:
        """Ask `nodes`; `coordinator` has the ranges' values."""
        self._realm = realm
        self._coordinator = coordinator
        self._nodes = nodes
        self._due = asyncio.Event()

    async def run(self, _term: Term) -> None:
        """Settle for as long as the term lasts."""
        end = self._realm.watcher.subscribe(keys.EVERYTHING, self._on_update)
        self._due.set()
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                try:
                    is_done = await self._settle()
                except DStoreError as error:
                    _log.warning("ranges_not_settled", reason=error.message)
                    is_done = False
                if not is_done:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RECOLLECTION_RETRY_S):
                            await self._due.wait()
                    self._due.set()
        finally:
            end()

    def _on_update(self, update: Update) -> None:
        for path in update.paths:
            match path:
                case keys.RangePath(tenant, name, low_hash):
                    table = update.view.table(tenant, name)
                    placed = None if table is None else table.range_of(low_hash)
                    if placed is not None and not placed.placement.is_settled:
                        self._due.set()
                case _:
                    pass

    async def _settle(self) -> bool:
        """Settle what can be. Returns: whether nothing is left."""
        if self._realm.watcher.status().state is not TopologyState.LIVE:
            return False
        view = self._realm.watcher.view
        unsettled = await in_thread(partial(_unsettled, view))
        round_ = Recollecting(self._nodes, shown=_shown(view))
        is_done = True
        for (tenant, name), shown in unsettled.items():
            created = await self._created(view, (tenant, name))
            found = await round_.values(_wanted(created, shown))
            settled = await self._swap(shown, found)
            is_done &= settled == len(shown)
            if settled:
                _log.warning("ranges_settled", tenant=tenant, table=name, range_count=settled)
        if not is_done:
            _log.warning("ranges_unsettled", nodes=sorted(round_.silent))
        return is_done

    async def _swap(self, shown: Mapping[str, Placed], found: Sequence[Sequence[Created]]) -> int:
        """Put what was found in the place of what is shown. Returns: how many are settled then."""
        swaps: list[Swap] = []
        settled = 0
        for some in found:
            known = [(shown.get(value.range_id), value) for _, value in some]
            swaps += [_swap(here, value) for here, value in known if here and value.is_settled]
            if len(some) > 1 and not any(here for here, _ in known):
                settled += await self._swap_for_two(shown, some)
        swapped = await swap_all(self._coordinator, swaps)
        return settled + sum(isinstance(each, Placed) for each in swapped)

    async def _swap_for_two(self, shown: Mapping[str, Placed], children: Sequence[Created]) -> int:
        """Put children in the place of a range that was split, and was not known to be.

        They may not be settled. Returns: 1 if nothing is left to be done, else 0.
        """
        (path, low), (high_path, high) = children
        before = next((each for each in shown.values() if each.path == path), None)
        if before is None or before.value.high_hash != high.high_hash:
            return 0
        pair = ((path, _behind(before, low)), (high_path, _behind(before, high)))
        try:
            await placements.swap_for_two(self._coordinator, before, pair, pause=pause_ms)
        except DStoreError as error:
            _log.warning("children_not_shown", path=path.path, reason=error.message)
            return 0
        return int(low.is_settled and high.is_settled)

    async def _created(self, view: TopologyView, name: TableName) -> list[Created]:
        async with self._realm.plane.store.snapshot() as tx:
            record = await tables.get(tx, *name)
            if record is None:
                return []
            sites = await last_sites(tx, view)
            return (await meant(tx, record)).created(sites)


def _shown(view: TopologyView) -> Shown:
    recoveries = 0 if view.plane is None else view.plane.value.recoveries
    return Shown(view.cluster_id, recoveries, view.revision)


def _wanted(created: Sequence[Created], shown: Mapping[str, Placed]) -> list[Created]:
    """Find the ranges of the store that are shown, or of which a child is that it does not know."""
    known = {value.range_id for _, value in created}
    children = [each for each in shown.values() if each.value.range_id not in known]
    return [
        (path, value)
        for path, value in created
        if value.range_id in shown
        or any(
            path.low_hash <= each.path.low_hash <= each.value.high_hash <= value.high_hash
            for each in children
        )
    ]


def _swap(before: Placed, value: RangePlacement) -> Swap:
    return Swap(before=before, value=_behind(before, value))


def _behind(before: Placed, value: RangePlacement) -> RangePlacement:
    return replace(value, epoch=max(value.epoch, before.value.epoch + 1))


def _unsettled(view: TopologyView) -> dict[TableName, dict[str, Placed]]:
    """Find the ranges that are not settled, by table and id; about 0.3 µs a range."""
    found: dict[TableName, dict[str, Placed]] = {}
    for tenant in view.tenants.values():
        for table in tenant.tables.values():
            for placed in table.ranges:
                if placed.placement.is_settled:
                    continue
                name = (tenant.name, table.definition.name)
                path = keys.RangePath(*name, placed.low_hash)
                found.setdefault(name, {})[placed.range_id] = Placed(
                    path=path, value=placed.placement, revision=placed.mod_revision
                )
    return found
