"""What an index is filled with: zones of a range, and the turns of a node's lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from dstore.base.clock import NS_PER_MS
from dstore.base.feed_limits import INDEX_ZONE_ITEMS, INDEX_ZONES_MAX
from dstore.model.hashing import HASH_MAX
from dstore.model.ranges import RangeRef
from dstore.service.cluster.index_pages import FillTurns, zone_end
from tests.support.lanes import ShiftedClock

if TYPE_CHECKING:
    from dstore.service.expiring.effort import Effort


@pytest.mark.parametrize(
    ("low", "high", "entries", "zones"),
    [
        (0, HASH_MAX, 0, 1),
        (0, HASH_MAX, 2 * INDEX_ZONE_ITEMS - 1, 1),
        (0, HASH_MAX, 3 * INDEX_ZONE_ITEMS, 3),
        (0, HASH_MAX, 1 << 40, INDEX_ZONES_MAX),
        (1 << 31, HASH_MAX, 5 * INDEX_ZONE_ITEMS, 5),
        (7, 9, 1 << 40, 3),
        (HASH_MAX, HASH_MAX, 1 << 40, 1),
    ],
)
def test_zones_are_a_whole_range(low: int, high: int, entries: int, zones: int) -> None:
    """Each ends behind where it begins, and the last one with the range, whatever that is."""
    ref = RangeRef(range_id="r", low=low, high=high)
    ends: list[bytes | None] = [zone_end(ref, b"", entries=entries)]
    while (end := ends[-1]) is not None:
        assert low < int.from_bytes(end, "big") <= high
        ends.append(zone_end(ref, end, entries=entries))
    assert len(ends) == zones
    found = [each for each in ends if each is not None]
    assert found == sorted(set(found))


def test_a_child_of_a_split_goes_on_with_zones_of_its_own() -> None:
    """Of what the parent was at it has nothing, or the rest, or all is before it."""
    ref = RangeRef(range_id="r", low=1_000, high=1_999)
    entries = 2 * INDEX_ZONE_ITEMS
    assert zone_end(ref, (10).to_bytes(4, "big"), entries=entries) == (1_500).to_bytes(4, "big")
    assert zone_end(ref, (1_200).to_bytes(4, "big"), entries=entries) == (1_700).to_bytes(4, "big")
    assert zone_end(ref, (3_000).to_bytes(4, "big"), entries=entries) is None


class Asked:
    """Clients who ask all the time, or never."""

    is_serving = True


def test_all_lanes_of_a_node_rest_behind_a_page_of_one() -> None:
    """While clients ask it takes its time once more; and nobody waits for one that never ends."""
    clock, asked = ShiftedClock(), Asked()
    turns = FillTurns(clock, cast("Effort", asked))
    due = [turns.is_due]
    turns.begin()
    clock.shift_ns += 50_000 * NS_PER_MS
    turns.end(50_000 * NS_PER_MS)
    due.append(turns.is_due)
    clock.shift_ns += 49_000 * NS_PER_MS
    due.append(turns.is_due)
    asked.is_serving = False
    due.append(turns.is_due)
    asked.is_serving = True
    clock.shift_ns += 1_000 * NS_PER_MS
    due.append(turns.is_due)
    turns.begin()  # it takes as long as the last one
    due.append(turns.is_due)
    clock.shift_ns += 50_000 * NS_PER_MS
    due.append(turns.is_due)
    assert due == [True, False, False, True, True, False, True]
