"""Nodes that come back at another address, or with another disk: ranges' values follow them.

A range's value names the address and the disk of each of its replicas. What is to become of it is
`replication.whereabouts`; each change is a swap that compares what it was decided on, so that a
range that was given to another node meanwhile, or changed by its primary, stays as that decision
has it (B5), and is looked at once more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.limits import OBSERVER_INTERVAL_S, VISIBLE_TIMEOUT_S
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError
from dstore.model.status import ResourceStatus
from dstore.replication.packed_swaps import Swap, swap_all
from dstore.replication.placements import Placed
from dstore.replication.whereabouts import corrected
from dstore.security.identity import ComponentRole
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.whereabouts import where
from dstore.topology import keyspace as keys
from dstore.topology.status import TopologyState
from dstore.topology.values import RangeState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.service.control.realm import Realm
    from dstore.topology.coordinator import Coordinator, Revision
    from dstore.topology.values import RangePlacement
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)


class Addresses:
    """Follows nodes to new addresses and disks. `run` is a leader's job."""

    def __init__(self, realm: Realm, coordinator: Coordinator) -> None:
        """Follow the nodes of `realm`'s view; `coordinator` has the ranges' values."""
        self._realm = realm
        self._coordinator = coordinator
        self._due = asyncio.Event()

    async def run(self, term: Term) -> None:
        """Follow for as long as the term lasts. Raises: NotLeading: another leads."""
        end = self._realm.watcher.subscribe(keys.EVERYTHING, self._on_update)
        self._due.set()  # a node may have moved when nobody led
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                try:
                    is_done = await self._follow(term)
                except NotLeading:
                    raise
                except DStoreError as error:
                    _log.warning("addresses_not_published", reason=error.message)
                    is_done = False
                if not is_done:
                    self._due.set()
                    await asyncio.sleep(OBSERVER_INTERVAL_S)
        finally:
            end()

    def _on_update(self, update: Update) -> None:
        for path in update.paths:
            match path:
                case keys.DetailsPath(ComponentRole.NODE, node):
                    uri = where(update.view, node).uri
                    if uri not in {None, where(update.previous, node).uri}:
                        self._due.set()
                case keys.NodeBootPath():
                    self._due.set()
                case keys.RangePath(tenant, table, low_hash):
                    # Whoever changed it may have known less of its nodes.
                    shown = update.view.table(tenant, table)
                    placed = None if shown is None else shown.range_of(low_hash)
                    if placed is not None and _is_stale(update.view, placed.placement):
                        self._due.set()
                case _:
                    pass

    async def _follow(self, term: Term) -> bool:
        """Change the values that name other places than the nodes do. Returns: whether all is."""
        if self._realm.watcher.status().state is not TopologyState.LIVE:
            return False
        swaps = await in_thread(partial(_stale, self._realm.watcher.view))
        if not swaps:
            return True
        await self._write_down(term, swaps)
        swapped = await swap_all(self._coordinator, swaps)
        done = [each for each in swapped if isinstance(each, Placed)]
        for each in swapped:
            if isinstance(each, DStoreError):
                _log.info("address_not_published", reason=each.message)
        if done:
            _log.info("node_addresses_published", range_count=len(done))
            await self._seen(max(each.revision for each in done))
        return len(done) == len(swaps)

    async def _write_down(self, term: Term, swaps: Sequence[Swap]) -> None:
        """Audit what may be lost, before it is taken for what there is (B10)."""
        nodes = Counter(
            each.value.node
            for each in swaps
            if each.value.state is RangeState.POSSIBLE_LOSS
            and each.value.epoch > each.before.value.epoch
        )
        if not nodes:
            return
        async with term.transaction() as tx:
            for node, count in nodes.items():
                _log.error("writes_possibly_lost", node=node, range_count=count)
                await self._realm.audit(
                    tx,
                    actor="",
                    action="take_other_disk",
                    subject=f"node {node}, the only one that had {count} ranges",
                    result="possible loss",
                )

    async def _seen(self, revision: Revision) -> None:
        """Let the view come up to what was published; else the same is published once more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(VISIBLE_TIMEOUT_S):
                await self._realm.watcher.reached(revision)


def _is_stale(view: TopologyView, value: RangePlacement) -> bool:
    nodes = {each.node: where(view, each.node) for each in value.replicas}
    return corrected(value, nodes) is not value


def _stale(view: TopologyView) -> list[Swap]:
    """Make anew what names other places than the nodes do; about 0.3 µs a range."""
    nodes = {uuid: where(view, uuid) for uuid in view.nodes}
    found: list[Swap] = []
    right: set[int] = set()  # sets of replicas, which many ranges share
    for tenant in view.tenants.values():
        for table in tenant.tables.values():
            if table.status is ResourceStatus.DELETING:
                continue
            for placed in table.ranges:
                if id(placed.placement.replicas) in right:
                    continue
                value = corrected(placed.placement, nodes)
                if value is placed.placement:
                    right.add(id(value.replicas))
                    continue
                path = keys.RangePath(tenant.name, table.definition.name, placed.low_hash)
                before = Placed(path=path, value=placed.placement, revision=placed.mod_revision)
                found.append(Swap(before=before, value=value))
    return found
