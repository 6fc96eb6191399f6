"""Everything that a view shows, counted for an operator; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dstore.model.features import needed_by
from dstore.model.status import ResourceStatus
from dstore.service.control.held import complaint, held_report, living_in_sync
from dstore.service.control.status import RangeCounts
from dstore.topology import values
from dstore.topology.indexes import is_doubtful

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.model.features import Feature
    from dstore.model.tables import TableDefinition
    from dstore.topology.view import PlacedRange, TopologyView


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLoad:
    """Of how many ranges a node has a replica, and of how many of them it is the primary."""

    ranges: int = 0
    primaries: int = 0


NO_LOAD: Final = NodeLoad()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """All tables and ranges of a view, counted.

    Attributes:
        tables, indexes: how many of each status; of an index that of its hidden table.
        survivable: node failures, whichever, after which every range takes writes; -1: one takes
            none already, since too few of its replicas live.
        without_loss: node failures, whichever, after which every acknowledged write is still on a
            living node; -1: those of a range are on none already.
        of_node: the load of each node that is named by a range.
        needed: features that a table needs its nodes to know.
        doubtful: indexes, by the definitions of their hidden tables, that may have other rows than
            their tables.
    """

    tenants: int
    tables: dict[ResourceStatus, int]
    indexes: dict[ResourceStatus, int]
    ranges: RangeCounts
    survivable: int
    without_loss: int
    of_node: Mapping[str, NodeLoad] = field(default_factory=dict)
    needed: frozenset[Feature] = frozenset()
    doubtful: tuple[TableDefinition, ...] = ()


def count(view: TopologyView) -> Counted:
    """Count all there is; about 15 µs a range."""
    of_status: Counter[ResourceStatus] = Counter()
    of_indexes: Counter[ResourceStatus] = Counter()
    needed: set[Feature] = set()
    doubtful: list[TableDefinition] = []
    total = unavailable = lost = read_only = short = named = 0
    writes: list[int] = []  # of each range, the replicas beyond those that a write needs
    copies: list[int] = []  # of each range, the living ones beside the last
    scrubs_us: list[int] = []  # of each range, when it was scrubbed last, or made
    for tenant in view.tenants.values():
        named += tenant.known is not None
        for table in tenant.tables.values():
            definition = table.definition
            needed |= needed_by(definition)
            (of_status if definition.index_of is None else of_indexes)[table.status] += 1
            if definition.index_of is not None and is_doubtful(table):
                doubtful.append(definition)
            for placed in table.ranges:
                total += 1
                placement, living = placed.placement, living_in_sync(view, placed)
                if placement.state is values.RangeState.POSSIBLE_LOSS:
                    lost += 1
                short += living < placement.factor
                writes.append(living - placement.min_in_sync)
                copies.append(living - 1)
                scrubs_us += _scrubbed_at(view, placed, definition)
                if complaint(view, placed, tenant=definition.tenant, table=definition.name):
                    unavailable += 1
                else:
                    read_only += living < placement.min_in_sync
    return Counted(
        tenants=named,
        tables=dict(of_status),
        indexes=dict(of_indexes),
        ranges=RangeCounts(
            total=total,
            unavailable=unavailable,
            read_only=read_only,
            under_replicated=short,
            possible_loss=lost,
            oldest_scrub_us=min(scrubs_us, default=0),
        ),
        survivable=max(min(writes, default=0), -1),
        without_loss=min(copies, default=0),
        of_node=node_loads(view),
        needed=frozenset(needed),
        doubtful=tuple(doubtful),
    )


def _scrubbed_at(
    view: TopologyView, placed: PlacedRange, definition: TableDefinition
) -> tuple[int, ...]:
    """Say when a range was scrubbed, as its primary says, or made: that is whole as well."""
    told = held_report(
        view,
        node=placed.placement.node,
        tenant=definition.tenant,
        table=definition.name,
        range_id=placed.range_id,
    )
    if told is None or not told.scrubbed_at_us:
        return ()
    return (max(told.scrubbed_at_us, definition.created_at_us),)


def node_loads(view: TopologyView) -> Mapping[str, NodeLoad]:
    """Count what each node has, as ranges' values name it; about 1 µs a replica."""
    replicas: Counter[str] = Counter()
    primaries: Counter[str] = Counter()
    for tenant in view.tenants.values():
        for table in tenant.tables.values():
            for placed in table.ranges:
                primaries[placed.placement.node] += 1
                replicas.update(each.node for each in placed.placement.replicas)
    return {
        node: NodeLoad(ranges=ranges, primaries=primaries[node])
        for node, ranges in replicas.items()
    }


def survival(counted: Counted) -> str:
    """Say in a sentence how many node failures the cluster survives."""
    if counted.ranges.total == 0:
        return "0 node failures survivable: there are no ranges yet."
    if counted.without_loss < 0:
        return "0 node failures survivable: some ranges have no living replica."
    if counted.survivable < 0:
        return "0 node failures survivable: some ranges are read-only already."
    if counted.survivable > 0:
        plural = "" if counted.survivable == 1 else "s"
        return f"{counted.survivable} node failure{plural} survivable."
    if counted.without_loss > 0:
        return "0 node failures survivable: with one more node down some ranges are read-only."
    return "0 node failures survivable: some ranges have a single living replica."
