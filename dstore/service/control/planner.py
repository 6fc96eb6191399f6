"""Which replicas should be elsewhere, and which ranges should have another primary; pure.

    changes = plan(nodes, ranges)      # in the order in which they are worth doing

Three ends, one after another, each on what the one before leaves behind; but first of all ranges
are handed over by nodes that are to lead nothing, since an operator waits for that:

1. Repair. A range with fewer replicas than it should have gets one more, and a replica on a node
   that does not count any more goes, once enough others are there.
2. Spread. Replicas go from nodes that have more than their part to nodes that have less, until
   all are within PLAN_UNEVEN_PERCENT of it, with as few bytes moved as that takes. A replica weighs
   what it stores and PLAN_REPLICA_BYTES besides, so that small ones spread by their number. A
   node's part is that of its disk.
3. Primaries are handed over to nodes that are asked less; that moves no bytes. A primary weighs
   what its range is asked a second and PLAN_PRIMARY_REQUESTS besides, so that idle ones spread by
   their number.

A change never puts two replicas of a range on a node, never leaves a range with fewer than it
should have, and never has a range in fewer zones than before, unless its node is to be rid of it.
Whoever carries all of it out finds nothing left to plan.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING

from dstore.base.limits import (
    PLAN_CHANGES_MAX,
    PLAN_PRIMARY_REQUESTS,
    PLAN_REPLICA_BYTES,
    PLAN_UNEVEN_PERCENT,
    PLAN_UNEVEN_REQUESTS_PERCENT,
)
from dstore.service.control.primaries import Led, even

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dstore.model.features import Feature


class Why(StrEnum):
    """What a change is for."""

    REPAIR = "repair"
    SPREAD = "spread"
    PRIMARY = "primary"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSite:
    """A node as it can be planned with.

    Attributes:
        node: its UUID.
        zone: what fails together with it; "" is a zone as any other.
        capacity_bytes: of its disk; 0 if it has not said.
        keeps: its replicas count; not so if it was removed, is to be emptied or is gone for long.
        takes: it may be given replicas; then it keeps what it has.
        leads: it lives, and may be given primaries.
        is_alive: it can be asked to hand over.
        is_full: it takes nothing since its disk is nearly full, and should give.
        lacks: features that it does not know; it takes no range that needs one.
    """

    node: str
    zone: str = ""
    capacity_bytes: int = 0
    keeps: bool = True
    takes: bool = True
    leads: bool = True
    is_alive: bool = True
    is_full: bool = False
    lacks: frozenset[Feature] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A replica of a range, or one that is about to be made.

    `is_leaving`: it goes as soon as enough others are in sync.
    """

    node: str
    is_in_sync: bool = True
    is_leaving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeSite:
    """A range as it can be planned with.

    Attributes:
        range_id: its UUID.
        primary: the node that is.
        copies: its replicas, of different nodes.
        wanted: how many it should have, if there are as many nodes.
        factor: how many its value promises; it never has fewer by a plan.
        size_bytes: of one replica.
        requests_per_s: that its primary is asked, roughly.
        needs: features that whoever has it must know.
    """

    range_id: str
    primary: str
    copies: tuple[Copy, ...]
    wanted: int
    factor: int
    size_bytes: int = 0
    requests_per_s: int = 0
    needs: frozenset[Feature] = frozenset()

    @property
    def primary_weight(self) -> int:
        """What its primary weighs."""
        return self.requests_per_s + PLAN_PRIMARY_REQUESTS

    @property
    def is_settled(self) -> bool:
        """Whether nothing about its replicas is under way."""
        return all(each.is_in_sync and not each.is_leaving for each in self.copies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a range's replicas, or of its primary.

    Attributes:
        range_id: which range.
        why: what it is for.
        add: a node that gets a replica.
        remove: a node that loses its replica, once that of `add` is in sync.
        primary: the node that is to be primary; without `add` and `remove`.
        size_bytes: what is copied.
    """

    range_id: str
    why: Why
    add: str | None = None
    remove: str | None = None
    primary: str | None = None
    size_bytes: int = 0


def plan(
    nodes: Sequence[NodeSite], ranges: Sequence[RangeSite], *, limit: int = PLAN_CHANGES_MAX
) -> tuple[Change, ...]:
    """Plan changes, the most urgent first; those of one range in the order in which they come.

    Args:
        nodes: all that ranges are on, or can be.
        ranges: all of them.
        limit: of changes of each kind; with more to do, the rest is planned when these are done.
    Returns: the same for the same nodes and ranges, in whatever order those are given.
    """
    draft = _Draft.of(nodes, ranges)
    kinds = (_reliefs(draft), _repairs(draft), _moves(draft), _evenings(draft))
    return tuple(change for made in kinds for change in islice(made, limit))


def heir_of(holders: Iterable[str], primaries: Mapping[str, int]) -> str | None:
    """Choose who is primary next: of whose ranges the primaries weigh least. None: nobody is there.

    Args:
        holders: from whom to choose.
        primaries: what the primaries of each node weigh, together.
    """
    return min(holders, key=lambda node: (primaries.get(node, 0), node), default=None)


@dataclass(slots=True, kw_only=True)
class _Draft:
    """Who has what, as far as it is planned; replicas that leave are not in it."""

    nodes: dict[str, NodeSite]
    ranges: list[RangeSite]  # by id
    holders: dict[str, list[str]]
    primary: dict[str, str]
    weight: dict[str, int]
    load: Counter[str] = field(default_factory=Counter)  # of each node, by weight
    primaries: Counter[str] = field(default_factory=Counter)  # of each node, by weight
    asked: dict[str, int] = field(default_factory=dict)  # what each range's primary weighs
    parts: dict[str, int] = field(default_factory=dict)  # of each node, how large it is

    @classmethod
    def of(cls, nodes: Sequence[NodeSite], ranges: Sequence[RangeSite]) -> _Draft:
        known = {each.node: each for each in sorted(nodes, key=lambda each: each.node)}
        sized = all(each.capacity_bytes for each in known.values() if each.takes or each.is_full)
        draft = cls(
            nodes=known,
            ranges=sorted(ranges, key=lambda each: each.range_id),
            holders={
                each.range_id: sorted(one.node for one in each.copies if not one.is_leaving)
                for each in ranges
            },
            primary={each.range_id: each.primary for each in ranges},
            asked={each.range_id: each.primary_weight for each in ranges},
            weight={each.range_id: each.size_bytes + PLAN_REPLICA_BYTES for each in ranges},
            parts={
                node: max(each.capacity_bytes >> 30, 1) if sized else 1
                for node, each in known.items()
            },
        )
        for each in draft.ranges:
            draft.primaries[each.primary] += each.primary_weight
            for node in draft.holders[each.range_id]:
                draft.load[node] += draft.weight[each.range_id]
        return draft

    def zones(self, range_id: str) -> Counter[str]:
        """Count a range's replicas by zone."""
        return Counter(self.nodes[node].zone for node in self.holders[range_id] if self.has(node))

    def has(self, node: str) -> bool:
        """Tell whether a node is known."""
        return node in self.nodes

    def fullness(self, node: str, weight: int) -> int:
        """Rate a node with so much more, for its size."""
        return ((self.load[node] + weight) << 10) // self.parts[node]

    def change(
        self, each: RangeSite, why: Why, *, add: str | None = None, remove: str | None = None
    ) -> Change:
        """Plan it, and go on from there."""
        range_id = each.range_id
        holders, weight = self.holders[range_id], self.weight[range_id]
        if add is not None:
            holders.append(add)
            self.load[add] += weight
        if remove is not None:
            holders.remove(remove)
            self.load[remove] -= weight
            if remove == self.primary[range_id]:
                heirs = [node for node in holders if self.has(node) and self.nodes[node].leads]
                self.lead(range_id, heir_of(heirs or holders, self.primaries))
        return Change(
            range_id=range_id,
            why=why,
            add=add,
            remove=remove,
            size_bytes=0 if add is None else each.size_bytes,
        )

    def lead(self, range_id: str, node: str | None) -> None:
        """Let another node be primary."""
        if node is not None:
            self.primaries[self.primary[range_id]] -= self.asked[range_id]
            self.primaries[node] += self.asked[range_id]
            self.primary[range_id] = node


# -------------------------------------------------------------------------------------- repairing


def _repairs(draft: _Draft) -> Iterator[Change]:
    """Mend ranges, those with the fewest replicas first."""
    keeping = sum(each.keeps for each in draft.nodes.values())

    def spare(each: RangeSite) -> int:
        return len(_counted(draft, each.range_id)) - each.factor

    for each in sorted(draft.ranges, key=spare):
        if _is_joining(draft, each):
            continue
        wanted = max(min(each.wanted, keeping), each.factor)
        while (change := _repair(draft, each, wanted)) is not None:
            yield change


def _repair(draft: _Draft, each: RangeSite, wanted: int) -> Change | None:
    counted = _counted(draft, each.range_id)
    lost = [node for node in draft.holders[each.range_id] if node not in counted]
    if len(counted) < wanted:
        node = _best(draft, each, counted)
        if node is None:
            return None
        is_replaced = bool(lost) and len(counted) + 1 >= each.factor
        return draft.change(each, Why.REPAIR, add=node, remove=lost[0] if is_replaced else None)
    if lost:
        return draft.change(each, Why.REPAIR, remove=lost[0])
    if len(counted) > wanted and each.is_settled:
        return draft.change(each, Why.REPAIR, remove=_worst(draft, each, counted))
    return None


def _counted(draft: _Draft, range_id: str) -> list[str]:
    """List the nodes whose replicas of a range count."""
    return [node for node in draft.holders[range_id] if draft.has(node) and draft.nodes[node].keeps]


def _is_joining(draft: _Draft, each: RangeSite) -> bool:
    """Tell whether a replica is on its way in; one comes after another (B15)."""
    return any(
        not one.is_in_sync
        and not one.is_leaving
        and one.node in draft.nodes
        and draft.nodes[one.node].keeps
        and draft.nodes[one.node].is_alive
        for one in each.copies
    )


def _best(draft: _Draft, each: RangeSite, counted: Sequence[str]) -> str | None:
    """Choose who gets one more replica of a range; who has one that was to leave, first of all."""
    zones = Counter(draft.nodes[node].zone for node in counted)
    leaving = {one.node for one in each.copies if one.is_leaving}
    weight = draft.weight[each.range_id]
    return min(
        (
            node
            for node, site in draft.nodes.items()
            if site.takes
            and node not in draft.holders[each.range_id]
            and not site.lacks & each.needs
        ),
        key=lambda node: (
            node not in leaving,
            zones[draft.nodes[node].zone],
            draft.fullness(node, weight),
            node,
        ),
        default=None,
    )


def _worst(draft: _Draft, each: RangeSite, counted: Sequence[str]) -> str:
    """Choose whose replica is one too many."""
    zones = Counter(draft.nodes[node].zone for node in counted)
    return max(
        counted,
        key=lambda node: (
            zones[draft.nodes[node].zone],
            draft.fullness(node, 0),
            node != draft.primary[each.range_id],
            node,
        ),
    )


# -------------------------------------------------------------------------------------- spreading


def _moves(draft: _Draft) -> Iterator[Change]:
    """Move replicas until every node has its part; each brings two nodes closer to it."""
    spread = [node for node, site in draft.nodes.items() if site.takes or site.is_full]
    if len(spread) < 2:  # noqa: PLR2004 - between one there is nothing to move
        return
    total, parts = sum(draft.load[node] for node in spread), sum(draft.parts[n] for n in spread)
    aim = {node: total * draft.parts[node] // parts for node in spread}
    movable: dict[str, list[RangeSite]] = defaultdict(list)
    for each in draft.ranges:
        if each.is_settled:
            for node in draft.holders[each.range_id]:
                movable[node].append(each)
    while (found := _next_move(draft, aim, movable)) is not None:
        each, add, remove = found
        movable[add].append(each)
        movable[remove].remove(each)
        yield draft.change(each, Why.SPREAD, add=add, remove=remove)


def _next_move(
    draft: _Draft, aim: Mapping[str, int], movable: Mapping[str, Sequence[RangeSite]]
) -> tuple[RangeSite, str, str] | None:
    """Choose what goes, to whom and from whom; both are nearer to their parts then, together."""
    beyond = {node: draft.load[node] - aim[node] for node in aim}
    is_uneven = {node: 100 * abs(beyond[node]) > PLAN_UNEVEN_PERCENT * aim[node] for node in aim}
    order = sorted(aim, key=lambda node: (-beyond[node], node))
    for giver in order:
        for taker in reversed(order):
            gap = beyond[giver] - beyond[taker]
            if gap <= 0:
                break
            if not draft.nodes[taker].takes or not (is_uneven[giver] or is_uneven[taker]):
                continue
            room = max(min(beyond[giver], -beyond[taker]), 0)
            each = _fitting(draft, movable[giver], way=(giver, taker), bounds=(room, gap))
            if each is not None:
                return each, taker, giver
    return None


def _fitting(
    draft: _Draft,
    ranges: Sequence[RangeSite],
    *,
    way: tuple[str, str],
    bounds: tuple[int, int],
) -> RangeSite | None:
    """Choose what goes: the largest that fits the room there is; else the smallest that helps."""
    room, gap = bounds
    best: RangeSite | None = None
    best_rank = (0, 0)
    for each in ranges:
        weight = draft.weight[each.range_id]
        if weight >= gap:
            continue
        rank = (1, weight) if weight <= room else (0, -weight)
        if (best is None or rank > best_rank) and _may_move(draft, each, way):
            best, best_rank = each, rank
    return best


def _may_move(draft: _Draft, each: RangeSite, way: tuple[str, str]) -> bool:
    giver, taker = way
    holders = draft.holders[each.range_id]
    if giver not in holders or taker in holders or draft.nodes[taker].lacks & each.needs:
        return False
    zones = draft.zones(each.range_id)
    from_zone, to_zone = draft.nodes[giver].zone, draft.nodes[taker].zone
    return zones[to_zone] == 0 or from_zone == to_zone or zones[from_zone] > 1


# -------------------------------------------------------------------------------------- primaries


def _reliefs(draft: _Draft) -> Iterator[Change]:
    """Hand ranges over whose primaries are to lead nothing; a dead one's a failover takes."""
    for each in draft.ranges:
        site = draft.nodes.get(draft.primary[each.range_id])
        if site is None or site.leads or not site.is_alive or not each.is_settled:
            continue
        heir = heir_of(_heirs(draft, each.range_id, site.node), draft.primaries)
        if heir is not None:
            yield _handed_over(draft, each.range_id, heir)


def _evenings(draft: _Draft) -> Iterator[Change]:
    """Hand ranges over to nodes whose primaries weigh less."""
    load = {node: draft.primaries[node] for node, site in draft.nodes.items() if site.leads}
    led = [
        Led(
            range_id=each.range_id,
            primary=draft.primary[each.range_id],
            on=tuple(_heirs(draft, each.range_id, "")),
            weight=each.primary_weight,
        )
        for each in draft.ranges
        if not _is_joining(draft, each) and not any(one.is_leaving for one in each.copies)
    ]
    requests = sum(
        each.requests_per_s for each in draft.ranges if draft.primary[each.range_id] in load
    )
    slack = (sum(load.values()) - requests) * PLAN_UNEVEN_PERCENT
    slack += requests * PLAN_UNEVEN_REQUESTS_PERCENT
    for range_id, heir in even(led, load, apart=slack // (100 * max(len(load), 1))):
        yield _handed_over(draft, range_id, heir)


def _heirs(draft: _Draft, range_id: str, primary: str) -> list[str]:
    return [
        node
        for node in draft.holders[range_id]
        if node != primary and draft.has(node) and draft.nodes[node].leads
    ]


def _handed_over(draft: _Draft, range_id: str, heir: str) -> Change:
    draft.lead(range_id, heir)
    return Change(range_id=range_id, why=Why.PRIMARY, primary=heir)
