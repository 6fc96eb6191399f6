"""Which ranges are to be split, and where: pure.

A partition is never cut: a range whose bytes, or requests, are of one key can't be split.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.base.clock import US_PER_S
from dstore.base.split_limits import (
    SPLIT_BYTES,
    SPLIT_HEAT_PART_PERCENT,
    SPLIT_HELD_PART,
    SPLIT_PATIENCE_S,
    SPLIT_REQUESTS_PER_S,
    SPLIT_SIDE_PERCENT,
    SPLIT_SUSTAINED_S,
)
from dstore.storage.control.records import SplitWhy
from dstore.topology.values import RangeState

if TYPE_CHECKING:
    from dstore.replication.placements import Placed
    from dstore.replication.sample_calls import Bucket
    from dstore.service.control.balancing import Outlook
    from dstore.service.control.planner import RangeSite
    from dstore.storage.control.records import SplitRecord

_HUNDRED: Final = 100
_URGENCY: Final = (SplitWhy.OPERATOR, SplitWhy.HEAT, SplitWhy.SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitBounds:
    """From where on ranges are split.

    Attributes:
        size_bytes: of a replica's file; 0: no range is split for its size.
        requests_per_s: that a primary is asked; 0: none is split for its heat.
        sustained_s: seconds for which they must have come.
    """

    size_bytes: int = SPLIT_BYTES
    requests_per_s: int = SPLIT_REQUESTS_PER_S
    sustained_s: float = SPLIT_SUSTAINED_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Splittable:
    """A range that should be split."""

    placed: Placed
    why: SplitWhy


def hot(outlook: Outlook, bounds: SplitBounds) -> frozenset[str]:
    """Name the ranges that are asked so much now that a part of them had better be elsewhere.

    On one node alone there is nowhere else; and what is a small part of a node's load can be handed
    over as it is.
    """
    leading = sum(each.leads for each in outlook.nodes)
    if leading <= 1 or not bounds.requests_per_s:
        return frozenset()
    total = sum(each.requests_per_s for each in outlook.ranges)
    part = total * SPLIT_HEAT_PART_PERCENT / _HUNDRED / leading
    least = max(bounds.requests_per_s, part)
    return frozenset(each.range_id for each in outlook.ranges if each.requests_per_s >= least)


def due(
    outlook: Outlook,
    bounds: SplitBounds,
    *,
    sustained: Collection[str],
    wished: Collection[str],
    put_off: Collection[tuple[str, SplitWhy]],
    begun: Collection[str],
) -> list[Splittable]:
    """List the ranges that are to be split, the most urgent first.

    Args:
        outlook: all nodes and ranges.
        bounds: the operator's.
        sustained: ranges that have been `hot` for long enough.
        wished: ranges that an operator wants split.
        put_off: ranges that can't be split for that now.
        begun: ranges that are being split.
    """
    found = []
    for site in outlook.ranges:
        range_id = site.range_id
        reasons = {
            SplitWhy.OPERATOR: range_id in wished,
            SplitWhy.HEAT: range_id in sustained,
            SplitWhy.SIZE: bool(bounds.size_bytes) and site.size_bytes >= bounds.size_bytes,
        }
        why = next(
            (each for each in _URGENCY if reasons[each] and (range_id, each) not in put_off), None
        )
        placed = outlook.placed[range_id]
        if why is not None and range_id not in begun and can_split(outlook, site, placed):
            weight = site.size_bytes if why is SplitWhy.SIZE else site.requests_per_s
            key = (_URGENCY.index(why), -weight, range_id)
            found.append((key, Splittable(placed=placed, why=why)))
    return [split for _, split in sorted(found, key=lambda each: each[0])]


def can_split(outlook: Outlook, site: RangeSite, placed: Placed) -> bool:
    """Tell whether nothing else is done with a range, and all who count can make its children."""
    value = placed.value
    nodes = {each.node: each for each in outlook.nodes}
    primary = nodes.get(value.node)
    return (
        placed.path.low_hash < value.high_hash
        and value.is_settled
        and value.state is RangeState.OKAY
        and site.is_settled
        and site.range_id not in outlook.moving
        and len(value.in_sync) >= value.min_in_sync
        and primary is not None
        and primary.leads
        and all(each.node in nodes and nodes[each.node].is_alive for each in value.replicas)
        and not any(nodes[each.node].is_full for each in value.replicas)
    )


def point_of(
    buckets: Sequence[Bucket], placed: Placed, why: SplitWhy, *, bounds: SplitBounds
) -> int | None:
    """Say at which hash a range is cut: the lowest of the upper child.

    Half of what weighs lies below it, as nearly as partitions let; None: too much would lie on one
    side, so that little is won, or there is less in it than its file is large.
    """
    total = sum(each.weight for each in buckets)
    if not total:
        return None
    if why is SplitWhy.SIZE and total * SPLIT_HELD_PART < bounds.size_bytes:
        return None
    sides = list(_sides(buckets, placed))
    if not sides:
        return None
    below, at_hash = min(sides, key=lambda each: (abs(2 * each[0] - total), each[1]))
    least = total * SPLIT_SIDE_PERCENT / _HUNDRED
    return at_hash if min(below, total - below) >= least else None


def _sides(buckets: Sequence[Bucket], placed: Placed) -> Iterator[tuple[int, int]]:
    """Give how much lies below each point where the range can be cut."""
    below = 0
    for each in buckets:
        if placed.path.low_hash < each.low_hash <= placed.value.high_hash and below:
            yield below, each.low_hash
        below += each.weight


def is_awaited(split: SplitRecord, now_us: int) -> bool:
    """Tell whether a split is still waited for: replicas of its range stay where they are.

    One that takes very long goes on, and is in nobody's way.
    """
    return now_us - split.begun_at_us < SPLIT_PATIENCE_S * US_PER_S


def sustained_of(since_ns: Mapping[str, int], now_ns: int, *, sustained_ns: int) -> frozenset[str]:
    """Name what has been so since so long."""
    return frozenset(key for key, at_ns in since_ns.items() if now_ns - at_ns >= sustained_ns)
