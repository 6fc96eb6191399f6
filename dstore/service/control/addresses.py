"""A node that comes back at another address: its ranges are published anew with it.

So are those of a node of which nobody knew which disk it has when the topology was recovered. A
range's value names its primary's URI (SPEC.md). Only what is shown changes, and each write
compares the revision of what it replaces: a range that was given to another node meanwhile, or
changed by its primary, stays as that decision has it (B5).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from dstore.base.limits import OBSERVER_INTERVAL_S, OUTBOX_BATCH_MAX, VISIBLE_TIMEOUT_S
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError
from dstore.model.status import ResourceStatus
from dstore.security.identity import ComponentRole
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.sites import NO_INCARNATION
from dstore.storage.control import outbox
from dstore.storage.control.records import Publication
from dstore.topology import keyspace as keys
from dstore.topology import values

if TYPE_CHECKING:
    from dstore.service.control.realm import Realm
    from dstore.topology.coordinator import Revision
    from dstore.topology.view import TopologyView
    from dstore.topology.watcher import Update

_log: Final = get_logger(__name__)


class Addresses:
    """Follows nodes to new addresses. `run` is a leader's job."""

    def __init__(self, realm: Realm) -> None:
        """Publish in `realm`."""
        self._realm = realm
        self._due = asyncio.Event()
        self._due.set()

    async def run(self, term: Term) -> None:
        """Follow for as long as the term lasts. Raises: NotLeading: another leads."""
        end = self._realm.watcher.subscribe(keys.NODES, self._on_update)
        self._due.set()  # a node may have moved when nobody led
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                try:
                    await self._follow(term)
                except NotLeading:
                    raise
                except DStoreError as error:
                    _log.warning("addresses_not_published", reason=error.message)
                    self._due.set()
                    await asyncio.sleep(OBSERVER_INTERVAL_S)
        finally:
            end()

    def _on_update(self, update: Update) -> None:
        for path in update.paths:
            match path:
                case keys.DetailsPath(ComponentRole.NODE, node):
                    if _uri(update.view, node) not in {None, _uri(update.previous, node)}:
                        self._due.set()
                case keys.NodeBootPath():
                    self._due.set()
                case _:
                    pass

    async def _follow(self, term: Term) -> None:
        """Publish the ranges that are shown at another address than their node's own."""
        stale = await in_thread(partial(_stale, self._realm.watcher.view))
        for start in range(0, len(stale), OUTBOX_BATCH_MAX):
            sequence = 0
            async with term.transaction() as tx:
                for each in stale[start : start + OUTBOX_BATCH_MAX]:
                    sequence = await outbox.append(tx, [each])  # alone: it may be overtaken
            await self._seen(await self._realm.shown(sequence))
        if stale:
            _log.info("node_addresses_published", range_count=len(stale))
            self._due.set()  # to look again at those that were overtaken

    async def _seen(self, revision: Revision) -> None:
        """Let the view come up to what was published; else the same is published once more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(VISIBLE_TIMEOUT_S):
                await self._realm.watcher.reached(revision)


def _stale(view: TopologyView) -> list[Publication]:
    """Make anew what names an address that is not its node's any more; about 1 µs a range."""
    nodes = {uuid: _place(view, uuid) for uuid in view.nodes}
    found: list[Publication] = []
    for tenant in view.tenants.values():
        for table in tenant.tables.values():
            if table.status is ResourceStatus.DELETING:
                continue
            for placed in table.ranges:
                placement = placed.placement
                now = _at(placement, nodes.get(placement.node, _NOWHERE))
                if now is placement:
                    continue
                path = keys.RangePath(tenant.name, table.definition.name, placed.low_hash)
                found.append(
                    Publication(
                        key=path.path, value=values.encode(now), mod_revision=placed.mod_revision
                    )
                )
    return found


class _Place(NamedTuple):
    """Where a node is and which disk it has, as it says; None: it has not said."""

    uri: str | None
    incarnation: str | None


_NOWHERE: Final = _Place(None, None)


def _at(placement: values.RangePlacement, place: _Place) -> values.RangePlacement:
    """Correct what is known of the primary's place; the same object if nothing is to be."""
    uri = place.uri or placement.uri
    [primary] = [each for each in placement.replicas if each.node == placement.node]
    is_unknown = primary.incarnation == NO_INCARNATION
    incarnation = (place.incarnation if is_unknown else None) or primary.incarnation
    if (uri, incarnation) == (placement.uri, primary.incarnation):
        return placement
    corrected = replace(primary, uri=uri, incarnation=incarnation)
    replicas = tuple(corrected if each is primary else each for each in placement.replicas)
    return replace(placement, uri=uri, replicas=replicas)


def _place(view: TopologyView, node: str) -> _Place:
    seen = view.node(node)
    boot = None if seen is None else seen.boot
    return _Place(_uri(view, node), None if boot is None else boot.value.incarnation)


def _uri(view: TopologyView, node: str) -> str | None:
    seen = view.node(node)
    return None if seen is None or seen.details is None else seen.details.value.uri
