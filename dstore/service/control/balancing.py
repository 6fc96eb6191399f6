"""What there is to move: nodes and ranges as the planner wants them, and steps under way; pure.

Three places say together how far a change of a range's replicas is, so that whoever leads goes on
where another stopped, and nobody remembers anything:

    row in the store     named to the node   in the range's value   what is next
    holding              yes                 no                     learn, once it holds a file
    holding              yes                 learner                (its primary takes it in)
    retiring             yes                 yes                    be taken out, once enough
                                                                    others are in sync; a primary
                                                                    hands over first
    retiring, leaving    yes                 no                     be named to the node no more
    leaving              no                  no                     be forgotten, once let go of
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dstore.model.features import needed_by
from dstore.replication.placements import Placed
from dstore.replication.whereabouts import has_other_disk
from dstore.service.control.features import lacking
from dstore.service.control.held import held_status
from dstore.service.control.planner import Copy, NodeSite, RangeSite, heir_of
from dstore.service.control.sites import site_of
from dstore.service.control.whereabouts import is_alive, where
from dstore.storage.control.records import (
    ComponentState,
    HolderState,
    NodeUuid,
    RangeId,
    ReplicaRecord,
)
from dstore.topology import keyspace as keys
from dstore.topology import values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from dstore.model.features import Feature
    from dstore.storage.control.records import NodeRecord
    from dstore.topology.view import PlacedRange, TableView, TopologyView

Place = tuple[RangeId, NodeUuid]  # of a replica
_TAKES: frozenset[ComponentState] = frozenset({ComponentState.JOINING, ComponentState.ACTIVE})
_LEADS_NOTHING: frozenset[ComponentState] = frozenset(
    {ComponentState.DRAINING, ComponentState.DECOMMISSIONING}
)


class StepKind(StrEnum):
    """What brings a change one step further."""

    JOIN = "join"  # the node is to learn
    HAND_OVER = "hand_over"  # the primary, which is to go
    TAKE_OUT = "take_out"  # of the range's value
    LET_GO = "let_go"  # the node gives its replica up
    FORGET = "forget"  # it has
    RAISE = "raise"  # the factor, since there are enough replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of one range.

    Attributes:
        kind: what is to be done.
        placed: the range's value, as it is decided on.
        node: whose replica, or the heir; None: nobody's.
        factor: that it is to have.
    """

    kind: StepKind
    placed: Placed
    node: NodeUuid | None = None
    factor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """All nodes and ranges at one moment.

    Attributes:
        nodes: those that were not removed.
        ranges: of tables that are whole and active.
        placed: the value of each of these, by id.
        moving: ranges whose replicas change now, by id.
        onto: how many replicas each node learns now.
        steps: what can be done next.
    """

    nodes: tuple[NodeSite, ...]
    ranges: tuple[RangeSite, ...]
    placed: Mapping[str, Placed]
    moving: frozenset[str]
    onto: Mapping[str, int]
    steps: tuple[Step, ...]


def node_sites(
    view: TopologyView, records: Sequence[NodeRecord], gone: Collection[str]
) -> tuple[NodeSite, ...]:
    """Describe the nodes that were not removed; `gone` have been for long."""
    return tuple(
        _node_site(view, record, is_gone=record.uuid in gone)
        for record in records
        if record.state is not ComponentState.REMOVED
    )


def _node_site(view: TopologyView, record: NodeRecord, *, is_gone: bool) -> NodeSite:
    site = site_of(record, view, ranges=0)  # None: it can't be given anything now
    seen = view.node(record.uuid)
    details = None if seen is None or seen.details is None else seen.details.value
    is_full = site is not None and site.candidate.is_nearly_full
    if details is not None and details.status is values.ComponentStatus.NO_SPACE:
        is_full = is_alive(view, record.uuid)
    is_wanted = record.state in _TAKES
    return NodeSite(
        node=record.uuid,
        zone=(details.zone if details is not None else "") or record.zone,
        capacity_bytes=(details.capacity_bytes if details is not None else 0)
        or record.capacity_bytes,
        keeps=not is_gone and record.state is not ComponentState.DECOMMISSIONING,
        takes=is_wanted and site is not None and not is_full and not is_gone,
        leads=site is not None and record.state not in _LEADS_NOTHING,
        is_alive=is_alive(view, record.uuid),
        is_full=is_full and is_wanted,
        lacks=lacking(view, record.uuid),
    )


def look(
    view: TopologyView,
    nodes: Sequence[NodeSite],
    on_their_way: Sequence[ReplicaRecord],
    *,
    replication_factor: int,
) -> Outlook:
    """Put together what is to be planned with, and what is under way; about 10 µs a range.

    Args:
        view: the newest.
        nodes: that were not removed.
        on_their_way: the store's rows of replicas that retire or leave; not older than the view.
        replication_factor: of tables that have none of their own.
    """
    looking = _Looking(view, nodes, on_their_way)
    for tenant in view.tenants.values():
        for table in tenant.tables.values():
            if table.status.is_held:
                needs = needed_by(table.definition)
                for placed in table.ranges:
                    looking.add(
                        table,
                        placed,
                        wanted=table.definition.settings.replication_factor or replication_factor,
                        needs=needs,
                    )
    return Outlook(
        nodes=tuple(nodes),
        ranges=tuple(looking.ranges),
        placed=looking.placed,
        moving=frozenset(looking.moving),
        onto=looking.onto,
        steps=tuple(looking.steps()),
    )


@dataclass(slots=True)
class _Looking:
    """Goes through all ranges."""

    view: TopologyView
    nodes: Sequence[NodeSite]
    on_their_way: Sequence[ReplicaRecord]
    sites: dict[str, NodeSite] = field(init=False)
    states: dict[Place, HolderState] = field(init=False)
    leaving: dict[str, list[NodeUuid]] = field(init=False)
    named: dict[str, set[str]] = field(init=False)
    sizes: dict[str, int] = field(init=False)
    asked: dict[tuple[str, str], int] = field(init=False)  # (range, node) → requests a second
    ranges: list[RangeSite] = field(default_factory=list)
    placed: dict[str, Placed] = field(default_factory=dict)
    moving: set[str] = field(default_factory=set)
    onto: Counter[str] = field(default_factory=Counter)
    primaries: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.sites = {each.node: each for each in self.nodes}
        self.states = {(each.range_id, each.node): each.state for each in self.on_their_way}
        self.leaving, self.named = defaultdict(list), defaultdict(set)
        for each in self.on_their_way:
            self.leaving[each.range_id].append(each.node)
        self.sizes, self.asked = {}, {}
        for node, seen in self.view.nodes.items():
            for held in seen.held.values():
                for one in held.value.ranges:
                    self.named[one.range_id].add(node)
            for reported in seen.reported.values():
                for report in reported.value.ranges:
                    known = self.sizes.get(report.range_id, 0)
                    self.sizes[report.range_id] = max(known, report.stored_bytes)
                    if report.requests_per_s:
                        self.asked[report.range_id, node] = report.requests_per_s

    def add(
        self, table: TableView, placed: PlacedRange, *, wanted: int, needs: frozenset[Feature]
    ) -> None:
        """Note a range."""
        value, definition = placed.placement, table.definition
        range_id = value.range_id
        self.placed[range_id] = Placed(
            path=keys.RangePath(definition.tenant, definition.name, placed.low_hash),
            value=value,
            revision=placed.mod_revision,
        )
        site = RangeSite(
            range_id=range_id,
            primary=value.node,
            copies=tuple(self._copies(value)),
            wanted=wanted,
            factor=value.factor,
            size_bytes=self.sizes.get(range_id, 0),
            requests_per_s=self.asked.get((range_id, value.node), 0),
            needs=needs,
        )
        self.ranges.append(site)
        self.primaries[value.node] += site.primary_weight
        joining = [each.node for each in site.copies if self._is_joining(each)]
        self.onto.update(joining)
        if joining or any(each.is_leaving for each in site.copies):
            self.moving.add(range_id)

    def _copies(self, value: values.RangePlacement) -> Iterator[Copy]:
        on = set()
        for each in value.replicas:
            on.add(each.node)
            yield Copy(
                node=each.node,
                is_in_sync=each.state is values.ReplicaState.IN_SYNC,
                is_leaving=self._state(value, each.node) is not None,
            )
        for node in sorted(self.named.get(value.range_id, set()) - on):
            if self._state(value, node) is None:
                yield Copy(node=node, is_in_sync=False)

    def _state(self, value: values.RangePlacement, node: str) -> HolderState | None:
        """Say how a replica is on its way out; None: it is not."""
        return self.states.get((RangeId(value.range_id), NodeUuid(node)))

    def _is_joining(self, copy: Copy) -> bool:
        site = self.sites.get(copy.node)
        is_there = site is not None and site.keeps and site.is_alive
        return is_there and not copy.is_in_sync and not copy.is_leaving

    # ------------------------------------------------------------------------------ what is next

    def steps(self) -> Iterator[Step]:
        """List what can be done next, of every range."""
        keeping = sum(each.keeps for each in self.nodes)
        for site in self.ranges:
            placed = self.placed[site.range_id]
            on = {each.node for each in placed.value.replicas}
            for each in site.copies:
                node = NodeUuid(each.node)
                if each.is_leaving:
                    yield from self._taking_out(site, placed, node)
                elif node not in on:
                    yield from self._joining(placed, node)
            for node in self.leaving.get(site.range_id, ()):
                if node not in on:
                    yield from self._letting_go(placed, node)
            wanted = min(site.wanted, keeping)
            if site.is_settled and len(placed.value.in_sync) >= wanted > site.factor:
                yield Step(kind=StepKind.RAISE, placed=placed, factor=wanted)

    def _joining(self, placed: Placed, node: NodeUuid) -> Iterator[Step]:
        site = self.sites.get(node)
        if site is None or not site.keeps:
            yield Step(kind=StepKind.LET_GO, placed=placed, node=node)
        elif site.is_alive and self._held(placed, node) is values.HeldStatus.OKAY:
            yield Step(kind=StepKind.JOIN, placed=placed, node=node)

    def _taking_out(self, site: RangeSite, placed: Placed, node: NodeUuid) -> Iterator[Step]:
        # Who came back with another disk counts by the value until an operator has decided (B10).
        lost = {
            each.node
            for each in placed.value.in_sync
            if has_other_disk(each, where(self.view, each.node))
        }
        staying = [
            each.node
            for each in site.copies
            if each.is_in_sync and not each.is_leaving and each.node not in lost
        ]
        if len(staying) < max(site.factor, 1):
            return
        if node != placed.value.node:
            yield Step(kind=StepKind.TAKE_OUT, placed=placed, node=node)
            return
        heirs = [each for each in staying if each in self.sites and self.sites[each].leads]
        heir = heir_of(heirs, self.primaries)
        if heir is not None and is_alive(self.view, node):
            self.primaries[node] -= site.primary_weight
            self.primaries[heir] += site.primary_weight
            yield Step(kind=StepKind.HAND_OVER, placed=placed, node=NodeUuid(heir))

    def _letting_go(self, placed: Placed, node: NodeUuid) -> Iterator[Step]:
        is_named = node in self.named.get(placed.value.range_id, set())
        if is_named or self._state(placed.value, node) is HolderState.RETIRING:
            yield Step(kind=StepKind.LET_GO, placed=placed, node=node)
        elif node not in self.sites or (
            is_alive(self.view, node) and self._held(placed, node) is None
        ):
            yield Step(kind=StepKind.FORGET, placed=placed, node=node)

    def _held(self, placed: Placed, node: NodeUuid) -> values.HeldStatus | None:
        path = placed.path
        return held_status(
            self.view,
            node=node,
            tenant=path.tenant,
            table=path.table,
            range_id=placed.value.range_id,
        )
