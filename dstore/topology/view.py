"""What a process knows of the cluster at one revision: immutable, and sharing what did not change.

A view is folded from the coordinator's events by `topology.fold`; `topology.watcher` keeps the
newest. A request takes the view once and asks it without waiting: tenant, table, range of a hash.
These are structs since they come by the hundred thousand: a third of a dataclass's time and memory,
and those that come so many the collector need not look at (`gc=False`; they are in no cycle).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import Final, Generic, TypeVar

from msgspec import Struct, field
from msgspec.structs import force_setattr

from dstore.model.hashing import HASH_MAX
from dstore.model.ranges import RangeMap, RangeRef, Table
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableDefinition
from dstore.security.identity import ComponentRole
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import NO_REVISION, Revision
from dstore.topology.sorted_map import SortedMap

Value_co = TypeVar("Value_co", covariant=True)


class Known(Struct, Generic[Value_co], frozen=True, gc=False):
    """A value and the revision that wrote it, as a transaction compares it."""

    value: Value_co
    mod_revision: Revision


class PlacedRange(Struct, frozen=True, kw_only=True, gc=False):
    """A range and where it is; both hashes are inclusive."""

    low_hash: int
    placement: values.RangePlacement
    mod_revision: Revision

    @property
    def high_hash(self) -> int:
        """The last hash of the range."""
        return self.placement.high_hash

    @property
    def range_id(self) -> str:
        """The range's UUID."""
        return self.placement.range_id

    def ref(self, table: TableDefinition) -> RangeRef:
        """Name the range, which is one of `table`, as calls do."""
        placement = self.placement
        primary = placement.node
        return RangeRef(
            range_id=placement.range_id,
            epoch=placement.epoch,
            low=self.low_hash,
            high=placement.high_hash,
            node=primary,
            others=tuple(each.node for each in placement.in_sync if each.node != primary),
            table=table,
        )


class TableView(Struct, frozen=True, kw_only=True, gc=False):
    """A table: what it is, and its ranges by low hash.

    Invariant (I8): `ranges` cover 0 to HASH_MAX without gap or overlap, or there are none.
    `routed` is what `table` has worked out; never given, so never replace parts of a view.
    """

    definition: TableDefinition
    status: ResourceStatus
    mod_revision: Revision
    ranges: tuple[PlacedRange, ...] = ()
    routed: Table | None = None

    def range_of(self, key_hash: int) -> PlacedRange | None:
        """Find the range that owns a hash, 0 <= key_hash <= HASH_MAX; None if none is known."""
        ranges = self.ranges
        return ranges[bisect_right(ranges, key_hash, key=_low_hash_of) - 1] if ranges else None

    @property
    def table(self) -> Table:
        """The table as requests see it; worked out when it is first asked for."""
        made = self.routed
        if made is None:
            refs = RangeMap(tuple(placed.ref(self.definition) for placed in self.ranges))
            made = Table(definition=self.definition, ranges=refs)
            force_setattr(self, "routed", made)
        return made


class TenantView(Struct, frozen=True, kw_only=True):
    """A tenant and its tables by name. `known` is None as long as its own key is not there."""

    name: str
    known: Known[values.TenantValue] | None = None
    tables: SortedMap[TableView] = field(default_factory=SortedMap)


class ComponentView(Struct, frozen=True, kw_only=True):
    """A node, or a process of another role. What stands from `boot` on only nodes have.

    `held` and `reported` are by `keyspace.held_name`: what control gives the node of a table, and
    what the node says of it.
    """

    role: ComponentRole
    component: keys.ComponentId
    details: Known[values.Details] | None = None
    alive: Known[values.Alive] | None = None
    boot: Known[values.NodeBoot] | None = None
    held: SortedMap[Known[values.NodeRanges]] = field(default_factory=SortedMap)
    reported: SortedMap[Known[values.NodeTableDetails]] = field(default_factory=SortedMap)


class TopologyView(Struct, frozen=True, kw_only=True):
    """The cluster at one revision of one coordinator; empty before the first is known.

    `tenants` also has those whose tables are known before them: ask `tenant` and `table`.
    """

    cluster_id: str = ""
    revision: Revision = NO_REVISION
    tenants: SortedMap[TenantView] = field(default_factory=SortedMap)
    nodes: SortedMap[ComponentView] = field(default_factory=SortedMap)
    proxies: SortedMap[ComponentView] = field(default_factory=SortedMap)
    controls: SortedMap[ComponentView] = field(default_factory=SortedMap)
    reporting: SortedMap[ComponentView] = field(default_factory=SortedMap)
    notices: SortedMap[Known[values.Notice]] = field(default_factory=SortedMap)
    leader: Known[values.Leader] | None = None
    plane: Known[values.Plane] | None = None
    published: Known[values.Published] | None = None

    def tenant(self, name: str) -> TenantView | None:
        """Find a tenant."""
        found = self.tenants.get(name)
        return None if found is None or found.known is None else found

    def table(self, tenant: str, name: str) -> TableView | None:
        """Find a table of a tenant; 1 µs among 100,000."""
        found = self.tenants.get(tenant)
        return None if found is None or found.known is None else found.tables.get(name)

    def node(self, node: str) -> ComponentView | None:
        """Find a node by its UUID."""
        return self.nodes.get(node)

    def components(self, role: ComponentRole) -> SortedMap[ComponentView]:
        """Return the components of a role by UUID."""
        match role:
            case ComponentRole.NODE:
                return self.nodes
            case ComponentRole.PROXY:
                return self.proxies
            case ComponentRole.CONTROL:
                return self.controls
            case ComponentRole.REPORTING:
                return self.reporting


EMPTY_VIEW: Final = TopologyView()

_low_hash_of: Final = attrgetter("low_hash")


def coverage_complaint(ranges: list[PlacedRange]) -> str | None:
    """Say why ranges, sorted by low hash, do not cover every hash once; None if they do (I8)."""
    if not ranges:
        return "no range of it is placed"
    expected = 0
    for placed in ranges:
        if placed.low_hash > expected:
            return f"no range has the hashes from {expected} to {placed.low_hash - 1}"
        if placed.low_hash < expected:
            return f"two ranges have the hash {placed.low_hash}"
        expected = placed.high_hash + 1
    return None if expected > HASH_MAX else f"no range has the hashes from {expected} on"


def contents(view: TopologyView) -> Iterator[tuple[keys.Path, values.Value, Revision]]:
    """Walk every key that the view was made of, with its value and the revision that wrote it.

    Ranges that were withheld since they do not fit together are not in it.
    """
    for role in ComponentRole:
        for component in view.components(role).values():
            yield from _of_component(component)
    if view.leader is not None:
        yield keys.LEADER, view.leader.value, view.leader.mod_revision
    if view.plane is not None:
        yield keys.PLANE, view.plane.value, view.plane.mod_revision
    if view.published is not None:
        yield keys.PUBLISHED, view.published.value, view.published.mod_revision
    for name, notice in view.notices.items():
        sender, at_us = name.split("/")
        path = keys.NoticePath(keys.ComponentId(sender), int(at_us))
        yield path, notice.value, notice.mod_revision
    for tenant in view.tenants.values():
        if tenant.known is not None:
            yield keys.TenantPath(tenant.name), tenant.known.value, tenant.known.mod_revision
        for table in tenant.tables.values():
            yield from _of_table(table)


def _of_table(table: TableView) -> Iterator[tuple[keys.Path, values.Value, Revision]]:
    tenant, name = table.definition.tenant, table.definition.name
    value = values.TableValue.of(table.definition, table.status)
    yield keys.TablePath(tenant, name), value, table.mod_revision
    for placed in table.ranges:
        path = keys.RangePath(tenant, name, placed.low_hash)
        yield path, placed.placement, placed.mod_revision


def _of_component(
    component: ComponentView,
) -> Iterator[tuple[keys.Path, values.Value, Revision]]:
    role, uuid = component.role, component.component
    if component.details is not None:
        known = component.details
        yield keys.DetailsPath(role, uuid), known.value, known.mod_revision
    if component.alive is not None:
        yield keys.AlivePath(role, uuid), component.alive.value, component.alive.mod_revision
    if component.boot is not None:
        yield keys.NodeBootPath(uuid), component.boot.value, component.boot.mod_revision
    for name, held in component.held.items():
        yield keys.NodeRangesPath(uuid, *name.split("/")), held.value, held.mod_revision
    for name, reported in component.reported.items():
        yield keys.NodeTablePath(uuid, *name.split("/")), reported.value, reported.mod_revision
