"""Publish everything anew, once an operator had the topology recovered (REPLICATION.md).

The coordinator may be empty, or an older copy of itself. What the store has is written over what
stands there, but for who has a range: that nodes remember, and they are asked (`recollecting`). A
range of which nobody heard knows enough can be opened by nobody until it is settled (`settling`).
What the store lacks is deleted; last, in one transaction, `control/plane` says that it is so.
Nobody who froze takes anything over before that. Each step may be repeated: a leader that dies
begins anew, and one that is deposed is refused by the coordinator. Each write compares and writes
`control/published`, so that one whose outcome nobody heard, and that is done late, is refused too:
by then a primary may have changed what it would write over (B6).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.limits import PUBLISHED_BYTES_MAX, PUBLISHED_WRITES_MAX, RETRY_AFTER_MS
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.model.status import ResourceStatus
from dstore.service.calls.recollection_calls import Shown
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.publications import (
    definition_of,
    table_publication,
    table_publications,
    tenant_publication,
)
from dstore.service.control.recollecting import Meant, Recollecting, last_sites, meant
from dstore.storage.control import planes, tables, tenants
from dstore.storage.control.components import CONTROLS, NODES, PROXIES
from dstore.storage.control.records import ComponentState, Publication
from dstore.topology import claims, values
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import (
    NO_REVISION,
    Delete,
    Found,
    Get,
    ModRevisionIs,
    Operation,
    Put,
    Transaction,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from dstore.service.control.sites import Site
    from dstore.service.peer_pool import Nodes
    from dstore.storage.control.records import (
        ControlRecord,
        NodeRecord,
        NodeUuid,
        ProxyRecord,
    )
    from dstore.storage.control.store import ControlStore, Key
    from dstore.topology.coordinator import Coordinator, KeyValue, Listing
    from dstore.topology.watcher import TopologyWatcher

_log: Final = get_logger(__name__)

_TABLES_AT_ONCE: Final = 100  # in a snapshot of the store; each has up to RANGES_PER_TABLE_MAX


class Republication:
    """Brings a recovery to its end."""

    def __init__(
        self,
        store: ControlStore,
        coordinator: Coordinator,
        *,
        plane: str,
        watcher: TopologyWatcher,
        nodes: Nodes,
    ) -> None:
        """Publish from `store`; `watcher` knows where `nodes` are, or last were."""
        self._store = store
        self._coordinator = coordinator
        self._plane = plane
        self._watcher = watcher
        self._nodes = nodes
        self._unsettled = 0
        self._silent: frozenset[str] = frozenset()
        self._marker = Put(key=keys.PUBLISHED.path, value=b"")  # as it stands there meanwhile
        self._marked = NO_REVISION  # by the last write that was done

    async def run(self, term: Term, *, sequence: int) -> None:
        """Publish everything, unless the coordinator shows it already, and note that it is done.

        Args:
            term: nobody changes tenants and tables before this has ended.
            sequence: of the store's last change, all of which the tables have.
        Raises: Unavailable(LOCKED): the coordinator is another plane's, or newer than the store.
            NotLeading, Unavailable, CoordinatorError: it is to be begun again.
        """
        listing = await self._coordinator.list(keys.EVERYTHING)
        claimed = claims.find(listing.kvs, keys.PLANE)
        published = claims.find(listing.kvs, keys.PUBLISHED)
        claim = None if claimed is None else own_claim(claimed, self._plane)
        if claim is None or claim.recoveries < term.recoveries:
            _check_sequence(published, sequence)
            self._unsettled = 0
            self._begin_with(published)
            shown = Shown(await self._coordinator.cluster_id(), term.recoveries, listing.revision)
            count = await self._publish(term, listing, shown)
            await self._finish(term, sequence=sequence)
            _log.warning("topology_republished", recoveries=term.recoveries, key_count=count)
            if self._unsettled:
                _log.error(
                    "ranges_unsettled", range_count=self._unsettled, nodes=sorted(self._silent)
                )
        async with term.transaction() as tx:
            await planes.end_recovery(tx, recoveries=term.recoveries)

    def _begin_with(self, published: KeyValue | None) -> None:
        """Go on behind what the coordinator has, whoever wrote it."""
        value = (
            values.encode(values.Published(sequence=0)) if published is None else published.value
        )
        self._marker = Put(key=keys.PUBLISHED.path, value=value)
        self._marked = NO_REVISION if published is None else published.mod_revision

    async def _publish(self, term: Term, listing: Listing, shown: Shown) -> int:
        """Write what the store has, delete what it lacks. Returns: how many keys it has."""
        kept: set[str] = set()
        async for some in self._everything(shown):
            kept.update(each.key for each in some)
            await self._write(term, map(_operation, some))
        members = await self._members()
        gone = await in_thread(partial(_left_over, listing, kept=kept, members=members))
        await self._write(term, gone)
        return len(kept)

    async def _everything(self, shown: Shown) -> AsyncIterator[list[Publication]]:
        """Make what the coordinator is to show, some at a time."""
        view = self._watcher.view
        async with self._store.snapshot() as tx:
            sites = await last_sites(tx, view)
        after: Key | None = None
        while True:
            async with self._store.snapshot() as tx:
                tenants_page = await tenants.page(tx, after=after)
            yield [tenant_publication(each, each.status) for each in tenants_page.records]
            if (after := tenants_page.after) is None:
                break
        recollecting = Recollecting(self._nodes, shown=shown)
        while True:
            async with self._store.snapshot() as tx:
                page = await tables.page_of_all(tx, after=after, limit=_TABLES_AT_ONCE)
                every = [await meant(tx, each) for each in page.records]
            created = [
                one
                for each in every
                if each.table.status is not ResourceStatus.DELETING
                for one in each.created(sites)
            ]
            remembered = [one for some in await recollecting.values(created) for one in some]
            self._unsettled += sum(not value.is_settled for _, value in remembered)
            placements = {path.path: values.encode(value) for path, value in remembered}
            publications = [
                replace(publication, value=placements.pop(publication.key, publication.value))
                for each in every
                for publication in _of_table(each, sites)
            ]
            # Upper parts of ranges that were split, and the store does not know it yet.
            upper = [Publication(key=key, value=value) for key, value in placements.items()]
            yield [*publications, *upper]
            if (after := page.after) is None:
                break
        self._silent = recollecting.silent

    async def _members(self) -> frozenset[str]:
        """Name the components that were not removed."""
        async with self._store.snapshot() as tx:
            found: list[ControlRecord | NodeRecord | ProxyRecord] = [
                *await CONTROLS.every(tx),
                *await NODES.every(tx),
                *await PROXIES.every(tx),
            ]
        return frozenset(each.uuid for each in found if each.state is not ComponentState.REMOVED)

    async def _write(self, term: Term, operations: Iterable[Operation]) -> None:
        for some in _parts(operations):
            await self._commit(term, (*some, self._marker))

    async def _commit(self, term: Term, operations: tuple[Operation, ...]) -> None:
        """Write behind the last write, and nothing if another one came between."""
        result = await self._coordinator.commit(
            Transaction(
                compares=(
                    term.fence,
                    ModRevisionIs(key=keys.PUBLISHED.path, revision=self._marked),
                ),
                then=operations,
                otherwise=(Get(key=keys.LEADER.path),),
            )
        )
        if result.succeeded:
            self._marked = result.revision
            return
        [leader] = result.responses
        assert isinstance(leader, Found)
        if leader.kv is None or leader.kv.create_revision != term.epoch:
            raise NotLeading(None)
        raise not_now("The coordinator has changed meanwhile; everything is published once more.")

    async def _finish(self, term: Term, *, sequence: int) -> None:
        """Say in one transaction whose the coordinator is, and that it shows everything."""
        claim = values.Plane(
            control_plane=self._plane, recoveries=term.recoveries, sequence=sequence
        )
        published = values.Published(sequence=sequence)
        await self._commit(
            term,
            (
                Put(key=keys.PLANE.path, value=values.encode(claim)),
                Put(key=keys.PUBLISHED.path, value=values.encode(published)),
            ),
        )


def own_claim(kv: KeyValue, plane: str) -> values.Plane:
    """Read whose a coordinator is. Raises: Unavailable(LOCKED): another control plane's."""
    claim = values.decode(keys.PLANE, kv.value)
    if claim.control_plane != plane:
        raise Unavailable(
            UnavailableKind.LOCKED,
            f"The coordinator belongs to control plane {claim.control_plane}, and this is {plane}; "
            "give each its own etcd, or its own namespace in one.",
        )
    return claim


def disagreement(what: str) -> Unavailable:
    """Say that an operator has to decide."""
    return Unavailable(
        UnavailableKind.LOCKED,
        f"Control's store and its coordinator do not belong together: {what}. Nothing is changed "
        "until the right one is restored, or the topology is recovered from the store (dstore "
        "control recover-topology --dry-run).",
    )


def not_now(message: str) -> Unavailable:
    """Say that the same is tried again."""
    return Unavailable(UnavailableKind.OVERLOADED, message, retry_after_ms=RETRY_AFTER_MS)


def _check_sequence(published: KeyValue | None, sequence: int) -> None:
    if published is None:
        return
    shown = values.decode(keys.PUBLISHED, published.value).sequence
    if shown > sequence:
        raise disagreement(
            f"the store has {sequence} changes and the coordinator {shown}: the store is an old one"
        )


def _of_table(each: Meant, sites: Mapping[NodeUuid, Site]) -> tuple[Publication, ...]:
    record, definition = each.table, definition_of(each.table)
    if record.status is ResourceStatus.DELETING:  # its ranges are taken from the nodes already
        return (table_publication(definition, record.status),)
    return table_publications(
        definition,
        record.status,
        ranges=each.ranges,
        sites=sites,
        secondaries=each.secondaries,
    )


def _left_over(
    listing: Listing, *, kept: AbstractSet[str], members: frozenset[str]
) -> list[Operation]:
    """Find what stands in the coordinator and is to go; about 3 µs a key."""
    return [
        Delete(key=kv.key)
        for kv in listing.kvs
        if kv.key not in kept and _is_left_over(kv.key, members)
    ]


def _is_left_over(key: str, members: frozenset[str]) -> bool:
    """Tell whether a key that the store does not account for is to go."""
    match keys.parse(key):
        case keys.TenantPath() | keys.TablePath() | keys.RangePath() | keys.NodeRangesPath():
            return True
        case (
            keys.DetailsPath(component=component)
            | keys.NodeTablePath(node=component)
            | keys.NodeBootPath(node=component)
        ):
            return component not in members
        case _:
            return False


def _operation(each: Publication) -> Operation:
    assert each.value is not None
    return Put(key=each.key, value=each.value)


def _parts(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    """Cut into what one transaction of the coordinator takes."""
    part: list[Operation] = []
    size_bytes = 0
    for each in operations:
        each_bytes = len(each.key) + (len(each.value) if isinstance(each, Put) else 0)
        if part and (
            len(part) == PUBLISHED_WRITES_MAX or size_bytes + each_bytes > PUBLISHED_BYTES_MAX
        ):
            yield part
            part, size_bytes = [], 0
        part.append(each)
        size_bytes += each_bytes
    if part:
        yield part
