"""Which node gets which range of a new table; pure.

A table's ranges share the hashes out evenly. Each goes to the node that has the fewest of this
table's ranges; among those to the zone that has the fewest; among those to the node that is the
least loaded for its size. So a table lies on as many nodes, and in as many zones, as it can, and
many small tables even out over the nodes. A node that is nearly full gets ranges only if all are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dstore.base.limits import (
    FREE_DISK_BYTES_MIN,
    NEW_TABLE_RANGES_MAX,
    RANGES_PER_TABLE_DEFAULT_MAX,
)
from dstore.model.ranges import even_ranges

_FULL_PERCENT: Final = 90  # of its disk in use: what is there will grow by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A node that may be given a range.

    Attributes:
        node: its UUID.
        zone: what fails together with it; "" is a zone as any other.
        ranges: how many it has, of all tables.
        free_bytes, capacity_bytes: of its disk; 0 and 0 if it has not said.
        load_percent: 0 idle to 100 saturated.
    """

    node: str
    zone: str = ""
    ranges: int = 0
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
    """A range of a new table and its node; both hashes are inclusive."""

    low_hash: int
    high_hash: int
    node: str


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


def place(candidates: Sequence[Candidate], count: int) -> tuple[Assignment, ...]:
    """Give each of `count` equal ranges a node.

    Args:
        candidates: >= 1, of different UUIDs, in any order.
        count: 1 to NEW_TABLE_RANGES_MAX.
    Returns: assignments by low hash; they cover every hash once (I8). Equal inputs, in whatever
        order, give equal results in every process.
    """
    assert candidates
    roomy = [each for each in candidates if not each.is_nearly_full] or list(candidates)
    of_node: Counter[str] = Counter()
    of_zone: Counter[str] = Counter()
    made: list[Assignment] = []
    for low, high in even_ranges(count):
        chosen = min(
            roomy,
            key=lambda each: (
                of_node[each.node],
                of_zone[each.zone],
                _load(each, given=of_node[each.node]),
                -each.free_bytes,
                each.node,
            ),
        )
        of_node[chosen.node] += 1
        of_zone[chosen.zone] += 1
        made.append(Assignment(low_hash=low, high_hash=high, node=chosen.node))
    return tuple(made)


def _load(candidate: Candidate, *, given: int) -> int:
    """Rate what one more range would make of a node's load for its size; integers, so exact.

    A node without a known size counts as one of a tebibyte.
    """
    size_gib = max((candidate.capacity_bytes or 1 << 40) >> 30, 1)
    ranges = candidate.ranges + given + 1
    return ranges * (100 + candidate.load_percent) * (1 << 20) // size_gib
