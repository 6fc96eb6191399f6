"""Which nodes get the replicas of each range of a new table, and which is its primary; pure.

A table's ranges share the hashes out evenly. The primary of each is the node that has the fewest of
this table's primaries; among those of the zone that has the fewest; among those the one that is the
least loaded for its size. So a table lies on as many nodes, and in as many zones, as it can, and
many small tables even out over the nodes. Its other replicas are on other nodes, first of all in
other zones, then where the fewest of this table's replicas are. A node that is nearly full gets
replicas only if there are not enough others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dstore.base.limits import (
    FREE_DISK_BYTES_MIN,
    NEW_TABLE_RANGES_MAX,
    RANGES_PER_TABLE_DEFAULT_MAX,
    REPLICATION_FACTOR_MAX,
)
from dstore.model.ranges import even_ranges

_FULL_PERCENT: Final = 90  # of its disk in use: what is there will grow by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A node that may be given a range.

    Attributes:
        node: its UUID.
        zone: what fails together with it; "" is a zone as any other.
        ranges: of how many it has a replica, of all tables.
        primaries: of how many of them it was made the primary.
        free_bytes, capacity_bytes: of its disk; 0 and 0 if it has not said.
        load_percent: 0 idle to 100 saturated.
    """

    node: str
    zone: str = ""
    ranges: int = 0
    primaries: int = 0
    free_bytes: int = 0
    capacity_bytes: int = 0
    load_percent: int = 0

    @property
    def is_nearly_full(self) -> bool:
        """Whether it had better be given nothing new."""
        if self.capacity_bytes == 0:
            return False
        used_percent = 100 * (self.capacity_bytes - self.free_bytes) // self.capacity_bytes
        return used_percent >= _FULL_PERCENT or self.free_bytes < 2 * FREE_DISK_BYTES_MIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A range of a new table, its primary and the other nodes of it; both hashes are inclusive."""

    low_hash: int
    high_hash: int
    node: str
    secondaries: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes that are to have the range, the primary first."""
        return (self.node, *self.secondaries)


@dataclass(slots=True)
class _Given:
    """What of one table has been given to whom so far."""

    primaries: Counter[str] = field(default_factory=Counter)  # by node
    zones: Counter[str] = field(default_factory=Counter)  # primaries by zone
    replicas: Counter[str] = field(default_factory=Counter)  # by node, primaries among them
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)  # (primary, secondary)


def range_count(nodes: int, setting: int | None) -> int:
    """Decide in how many ranges a new table is.

    Args:
        nodes: that take new ranges, >= 1.
        setting: `ranges_per_table`, 1 to NEW_TABLE_RANGES_MAX; None: one a node, up to
            RANGES_PER_TABLE_DEFAULT_MAX.
    """
    if setting is None:
        return min(max(nodes, 1), RANGES_PER_TABLE_DEFAULT_MAX)
    assert 1 <= setting <= NEW_TABLE_RANGES_MAX, setting
    return setting


def place(
    candidates: Sequence[Candidate], count: int, *, factor: int = 1
) -> tuple[Assignment, ...]:
    """Give each of `count` equal ranges its nodes.

    Args:
        candidates: >= 1, of different UUIDs, in any order.
        count: 1 to NEW_TABLE_RANGES_MAX.
        factor: how many replicas each range is to have, 1 to REPLICATION_FACTOR_MAX; it has fewer
            if there are fewer nodes.
    Returns: assignments by low hash; they cover every hash once (I8). Equal inputs, in whatever
        order, give equal results in every process.
    """
    assert candidates
    assert 1 <= factor <= REPLICATION_FACTOR_MAX, factor
    roomy = [each for each in candidates if not each.is_nearly_full] or list(candidates)
    named = {each.node for each in roomy}
    full = [each for each in candidates if each.node not in named]
    given = _Given()
    made: list[Assignment] = []
    for low, high in even_ranges(count):
        primary = _next_primary(roomy, given)
        chosen = [primary]
        while len(chosen) < factor:
            secondary = _next_secondary(roomy, chosen, given) or _next_secondary(
                full, chosen, given
            )
            if secondary is None:
                break
            chosen.append(secondary)
        first, *others = (each.node for each in chosen)
        given.primaries[first] += 1
        given.zones[primary.zone] += 1
        given.replicas.update(each.node for each in chosen)
        given.pairs.update((first, other) for other in others)
        made.append(Assignment(low_hash=low, high_hash=high, node=first, secondaries=tuple(others)))
    return tuple(made)


def _next_primary(candidates: Sequence[Candidate], given: _Given) -> Candidate:
    return min(
        candidates,
        key=lambda each: (
            given.primaries[each.node],
            given.zones[each.zone],
            given.replicas[each.node],
            _load(each, each.primaries + given.primaries[each.node]),
            _load(each, each.ranges + given.replicas[each.node]),
            -each.free_bytes,
            each.node,
        ),
    )


def _next_secondary(
    candidates: Sequence[Candidate], chosen: Sequence[Candidate], given: _Given
) -> Candidate | None:
    """Choose one more node for a range; None if all have it."""
    zones = Counter(each.zone for each in chosen)
    taken = {each.node for each in chosen}
    primary = chosen[0].node
    return min(
        (each for each in candidates if each.node not in taken),
        key=lambda each: (
            zones[each.zone],
            given.replicas[each.node],
            -given.primaries[each.node],  # the others have primaries to come
            given.pairs[primary, each.node],  # if one fails, many take over from it
            _load(each, each.ranges + given.replicas[each.node]),
            -each.free_bytes,
            each.node,
        ),
        default=None,
    )


def _load(candidate: Candidate, ranges: int) -> int:
    """Rate what one more than so many ranges makes of a node's load for its size.

    Integers, so exact. A node without a known size counts as one of a tebibyte.
    """
    size_gib = max((candidate.capacity_bytes or 1 << 40) >> 30, 1)
    return (ranges + 1) * (100 + candidate.load_percent) * (1 << 20) // size_gib
