"""Placement of new tables: complete, spread, balanced, and the same everywhere."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dstore.base.limits import (
    NEW_TABLE_RANGES_MAX,
    RANGES_PER_TABLE_DEFAULT_MAX,
    REPLICATION_FACTOR_MAX,
)
from dstore.model.hashing import HASH_MAX
from dstore.service.control.placement import Candidate, place, range_count

TIB = 1 << 40

nodes = st.lists(
    st.builds(
        Candidate,
        node=st.uuids().map(str),
        zone=st.sampled_from(["", "a", "b", "c"]),
        ranges=st.integers(0, 10_000),
        primaries=st.integers(0, 5_000),
        free_bytes=st.integers(0, TIB),
        capacity_bytes=st.sampled_from([0, TIB, 4 * TIB]),
        load_percent=st.integers(0, 100),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda candidate: candidate.node,
)
counts = st.integers(1, NEW_TABLE_RANGES_MAX)
factors = st.integers(1, REPLICATION_FACTOR_MAX)


@st.composite
def _alike(draw: st.DrawFn) -> list[Candidate]:
    zones, in_each = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return [
        Candidate(
            node=f"{zone}-{number}",
            zone=str(zone),
            ranges=draw(st.integers(0, 100)),
            primaries=draw(st.integers(0, 100)),
        )
        for zone in range(zones)
        for number in range(in_each)
    ]


alike = _alike()  # equal nodes, equally many in each zone


@given(nodes, counts)
def test_every_hash_has_one_owner(candidates: list[Candidate], count: int) -> None:
    """Ranges of a new table have no gap and no overlap, and known nodes only (I8)."""
    made = place(candidates, count)
    assert len(made) == count
    assert (made[0].low_hash, made[-1].high_hash) == (0, HASH_MAX)
    assert all(former.high_hash + 1 == latter.low_hash for former, latter in pairwise(made))
    assert {each.node for each in made} <= {candidate.node for candidate in candidates}


@given(nodes, counts)
def test_a_table_is_spread_over_the_nodes(candidates: list[Candidate], count: int) -> None:
    """No node with room has two ranges of a table more than another one with room."""
    of_node = Counter(each.node for each in place(candidates, count))
    roomy = [each for each in candidates if not each.is_nearly_full] or candidates
    shares = [of_node[candidate.node] for candidate in roomy]
    assert max(shares) - min(shares) <= 1
    assert sum(shares) == count, "nearly full nodes get nothing while others have room"


@given(nodes, counts)
def test_zones_are_used_evenly(candidates: list[Candidate], count: int) -> None:
    """A zone has two ranges more than another only if that one has no node left with as few."""
    made = place(candidates, count)
    roomy = [each for each in candidates if not each.is_nearly_full] or candidates
    zone_of = {each.node: each.zone for each in roomy}
    whole_rounds = count // len(roomy) * len(roomy)
    of_zone = Counter(zone_of[each.node] for each in made[whole_rounds:])
    size = Counter(zone_of.values())
    before = Counter(zone_of[each.node] for each in made[:whole_rounds])
    for richer in of_zone:
        for poorer in size:
            if of_zone[poorer] < size[poorer]:  # it had a node to give
                total = {zone: before[zone] + of_zone[zone] for zone in (richer, poorer)}
                assert total[richer] <= total[poorer] + 1


@given(nodes, counts, factors, st.randoms(use_true_random=False))
def test_every_process_places_the_same(
    candidates: list[Candidate], count: int, factor: int, random: object
) -> None:
    """The order in which nodes are known changes nothing."""
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types it as an object
    assert place(shuffled, count, factor=factor) == place(candidates, count, factor=factor)


@given(st.integers(1, 6), st.integers(1, 60))
def test_small_tables_even_out(node_count: int, tables: int) -> None:
    """Tables of one range, made one after the other, load equal nodes equally."""
    loads = Counter({str(number): 0 for number in range(node_count)})
    for _ in range(tables):
        candidates = [
            Candidate(node=node, ranges=ranges, capacity_bytes=TIB, free_bytes=TIB)
            for node, ranges in loads.items()
        ]
        loads[place(candidates, 1)[0].node] += 1
    assert max(loads.values()) - min(loads.values()) <= 1


@given(nodes, counts, factors)
def test_replicas_are_on_different_nodes_and_zones(
    candidates: list[Candidate], count: int, factor: int
) -> None:
    """As many replicas as asked for, or as there are nodes, in as many zones as can be."""
    roomy = [each for each in candidates if not each.is_nearly_full] or candidates
    zone_of = {each.node: each.zone for each in candidates}
    room = {each.node for each in roomy}
    for made in place(candidates, count, factor=factor):
        assert made.nodes == (made.node, *made.secondaries)
        assert len(set(made.nodes)) == len(made.nodes) == min(factor, len(candidates))
        zones = {zone_of[node] for node in made.nodes}
        in_room = {zone_of[node] for node in room}
        assert len(zones) >= min(factor, len(in_room))
        if not room <= set(made.nodes):
            assert set(made.nodes) <= room, "a nearly full node only if all others have it"


@given(nodes, counts, factors)
def test_more_replicas_leave_primaries_spread(
    candidates: list[Candidate], count: int, factor: int
) -> None:
    """With several replicas the primaries are as even over the nodes as with one."""
    of_node = Counter(each.node for each in place(candidates, count, factor=factor))
    roomy = [each for each in candidates if not each.is_nearly_full] or candidates
    shares = [of_node[candidate.node] for candidate in roomy]
    assert max(shares) - min(shares) <= 1


@given(alike, counts, factors)
def test_replicas_are_spread_evenly(candidates: list[Candidate], count: int, factor: int) -> None:
    """Where zones are of equal size no node has many more of a table's replicas than another."""
    of_node = Counter(
        node for each in place(candidates, count, factor=factor) for node in each.nodes
    )
    shares = [of_node[candidate.node] for candidate in candidates]
    zones = {candidate.zone for candidate in candidates}
    assert max(shares) - min(shares) <= (1 if len(zones) == 1 else 2)


@given(st.integers(1, 6), st.integers(1, 60), factors)
def test_small_replicated_tables_even_out(node_count: int, tables: int, factor: int) -> None:
    """Tables of one range load equal nodes equally, with primaries and with replicas."""
    primaries = Counter({str(number): 0 for number in range(node_count)})
    replicas = Counter(primaries)
    for _ in range(tables):
        candidates = [
            Candidate(
                node=node,
                ranges=replicas[node],
                primaries=primaries[node],
                capacity_bytes=TIB,
                free_bytes=TIB,
            )
            for node in primaries
        ]
        [made] = place(candidates, 1, factor=factor)
        primaries[made.node] += 1
        replicas.update(made.nodes)
    assert max(primaries.values()) - min(primaries.values()) <= 1
    assert max(replicas.values()) - min(replicas.values()) <= 2


def test_who_takes_over_is_spread() -> None:
    """The ranges of one node have their other replicas on all others, not on one neighbour."""
    candidates = [Candidate(node=str(number)) for number in range(4)]
    made = place(candidates, 12, factor=2)
    pairs = Counter((each.node, *each.secondaries) for each in made)
    assert set(pairs.values()) == {1}


def test_larger_and_idler_nodes_get_more() -> None:
    """Load counts for a node's size and for how busy it says it is."""
    small = Candidate(node="1", ranges=10, capacity_bytes=TIB, free_bytes=TIB)
    large = Candidate(node="2", ranges=20, capacity_bytes=4 * TIB, free_bytes=4 * TIB)
    assert place([small, large], 1)[0].node == "2"
    busy = Candidate(node="1", ranges=10, capacity_bytes=TIB, free_bytes=TIB, load_percent=90)
    idle = Candidate(node="2", ranges=12, capacity_bytes=TIB, free_bytes=TIB)
    assert place([busy, idle], 1)[0].node == "2"


@given(st.integers(1, 100))
def test_a_table_has_a_range_on_each_node(node_count: int) -> None:
    """Unless set otherwise, a new table uses every node, up to a bound."""
    assert range_count(node_count, None) == min(node_count, RANGES_PER_TABLE_DEFAULT_MAX)
    assert range_count(node_count, 5) == 5
