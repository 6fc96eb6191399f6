"""Plans are safe whatever is planned with, and carried out they leave nothing to plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.base.limits import (
    PLAN_PRIMARY_REQUESTS,
    PLAN_REPLICA_BYTES,
    PLAN_UNEVEN_PERCENT,
    PLAN_UNEVEN_REQUESTS_PERCENT,
)
from dstore.model.features import Feature
from dstore.service.control.planner import (
    Change,
    Copy,
    NodeSite,
    RangeSite,
    heir_of,
    plan,
)

_MIB = 1 << 20
_NO_LIMIT = 100_000
_FEATURES = st.sampled_from([frozenset[Feature](), frozenset(), frozenset({Feature.TIME_TO_LIVE})])


@st.composite
def _nodes(draw: st.DrawFn) -> tuple[NodeSite, ...]:
    made = []
    for number in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["good"] * 6 + ["maintenance", "leaving", "gone", "full"]))
        made.append(
            NodeSite(
                node=f"n{number}",
                zone=draw(st.sampled_from(["a", "a", "b", "c"])),
                capacity_bytes=draw(st.sampled_from([1 << 40, 1 << 40, 1 << 41])),
                keeps=kind not in {"leaving", "gone"},
                takes=kind == "good",
                leads=kind in {"good", "maintenance", "full"},
                is_alive=kind != "gone",
                is_full=kind == "full",
                lacks=draw(_FEATURES),
            )
        )
    return tuple(made)


@st.composite
def _clusters(draw: st.DrawFn) -> tuple[tuple[NodeSite, ...], tuple[RangeSite, ...]]:
    nodes = draw(_nodes())
    names = [each.node for each in nodes]
    ranges = []
    for number in range(draw(st.integers(0, 14))):
        on = draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True))
        factor = draw(st.integers(1, len(on)))
        ranges.append(
            RangeSite(
                range_id=f"r{number:03}",
                primary=on[0],
                copies=tuple(Copy(node=node) for node in on),
                wanted=draw(st.integers(1, 5)),
                factor=factor,
                size_bytes=draw(st.sampled_from([0, 0, _MIB, 64 * _MIB, 700 * _MIB])),
                requests_per_s=draw(st.sampled_from([0, 0, 0, 10, 80, 640, 5_000])),
                needs=draw(_FEATURES),
            )
        )
    return nodes, tuple(ranges)


def _carried_out(
    nodes: tuple[NodeSite, ...], ranges: tuple[RangeSite, ...], changes: tuple[Change, ...]
) -> tuple[RangeSite, ...]:
    """Do all of it; each step is checked."""
    by_id = {each.range_id: each for each in ranges}
    leads = {each.node for each in nodes if each.leads}
    lacks = {each.node: each.lacks for each in nodes}
    primaries: Counter[str] = Counter()
    for each in ranges:
        primaries[each.primary] += each.primary_weight
    for change in changes:
        each = by_id[change.range_id]
        on = [one.node for one in each.copies]
        primary = each.primary
        if change.add is not None:
            assert change.add not in on, "two replicas of a range on a node"
            assert not lacks[change.add] & each.needs, "it can't read the range's log"
            on.append(change.add)
        if change.remove is not None:
            on.remove(change.remove)
            assert len(on) >= each.factor, "below its factor"
            if change.remove == primary:
                heir = heir_of([node for node in on if node in leads] or on, primaries)
                assert heir is not None
                primary = heir
        if change.primary is not None:
            assert change.primary in on
            assert change.primary in leads
            primary = change.primary
        primaries[each.primary] -= each.primary_weight
        primaries[primary] += each.primary_weight
        by_id[each.range_id] = replace(
            each, primary=primary, copies=tuple(Copy(node=node) for node in on)
        )
    return tuple(by_id.values())


@settings(max_examples=100, deadline=None)
@given(_clusters())
def test_carried_out_a_plan_leaves_nothing_to_plan(
    cluster: tuple[tuple[NodeSite, ...], tuple[RangeSite, ...]],
) -> None:
    """Every step is safe, and there is no way back and forth."""
    nodes, ranges = cluster
    changes = plan(nodes, ranges, limit=_NO_LIMIT)
    after = _carried_out(nodes, ranges, changes)
    assert plan(nodes, after, limit=_NO_LIMIT) == ()


@settings(max_examples=60, deadline=None)
@given(_clusters(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_does_not_matter(
    cluster: tuple[tuple[NodeSite, ...], tuple[RangeSite, ...]], random: object
) -> None:
    """Two controls plan the same."""
    nodes, ranges = list(cluster[0]), list(cluster[1])
    expected = plan(nodes, ranges)
    random.shuffle(nodes)  # type: ignore[attr-defined] # hypothesis gives a Random
    random.shuffle(ranges)  # type: ignore[attr-defined]
    assert plan(nodes, ranges) == expected


@settings(max_examples=60, deadline=None)
@given(_clusters())
def test_every_range_gets_what_it_should_have(
    cluster: tuple[tuple[NodeSite, ...], tuple[RangeSite, ...]],
) -> None:
    """As many replicas as are wanted, as far as there are nodes to take them."""
    nodes, ranges = cluster
    after = _carried_out(nodes, ranges, plan(nodes, ranges, limit=_NO_LIMIT))
    keeps = {each.node for each in nodes if each.keeps}
    for each in after:
        takes = {site.node for site in nodes if site.takes and not site.lacks & each.needs}
        on = {one.node for one in each.copies}
        if len(on & keeps) < max(min(each.wanted, len(keeps)), each.factor):
            assert takes <= on, "nobody is left who could take one"
        else:
            assert on <= keeps, "and nobody has one who should not"


def _even(count: int, *, zones: str = "a") -> tuple[NodeSite, ...]:
    return tuple(
        NodeSite(node=f"n{number}", zone=zones[number % len(zones)]) for number in range(count)
    )


def _ranges(count: int, nodes: int, *, size_bytes: int, factor: int = 3) -> tuple[RangeSite, ...]:
    made = []
    for number in range(count):
        on = [f"n{(number + place) % nodes}" for place in range(factor)]
        made.append(
            RangeSite(
                range_id=f"r{number:03}",
                primary=on[0],
                copies=tuple(Copy(node=node) for node in on),
                wanted=factor,
                factor=factor,
                size_bytes=size_bytes,
            )
        )
    return tuple(made)


def test_a_node_that_joins_takes_its_part() -> None:
    """A fourth beside three gets a quarter, and no byte is moved that need not be."""
    nodes, ranges = _even(4), _ranges(24, 3, size_bytes=200 * _MIB)
    changes = plan(nodes, ranges)
    after = _carried_out(nodes, ranges, changes)
    load = Counter(one.node for each in after for one in each.copies)
    assert set(load.values()) == {18}
    assert sum(change.size_bytes for change in changes) == 18 * 200 * _MIB
    assert set(Counter(each.primary for each in after).values()) == {6}


def test_bytes_count_more_than_numbers() -> None:
    """One range as large as all the others together stands against them."""
    large = RangeSite(
        range_id="large",
        primary="n0",
        copies=(Copy(node="n0"),),
        wanted=1,
        factor=1,
        size_bytes=1_000 * _MIB,
    )
    small = tuple(
        RangeSite(
            range_id=f"r{number}",
            primary="n0",
            copies=(Copy(node="n0"),),
            wanted=1,
            factor=1,
            size_bytes=99 * _MIB,
        )
        for number in range(10)
    )
    nodes = _even(2)
    after = _carried_out(nodes, (large, *small), plan(nodes, (large, *small)))
    load: Counter[str] = Counter()
    for each in after:
        load[each.copies[0].node] += each.size_bytes + PLAN_REPLICA_BYTES
    even = sum(load.values()) / 2
    assert abs(load["n0"] - even) * 100 <= even * PLAN_UNEVEN_PERCENT


def _asked(ranges: tuple[RangeSite, ...], rates: tuple[int, ...]) -> tuple[RangeSite, ...]:
    """Have ranges be asked so often a second, the rest of them hardly ever."""
    idle = (0,) * (len(ranges) - len(rates))
    pairs = zip(ranges, (*rates, *idle), strict=True)
    return tuple(replace(each, requests_per_s=rate) for each, rate in pairs)


def _requests(ranges: tuple[RangeSite, ...]) -> Counter[str]:
    load: Counter[str] = Counter()
    for each in ranges:
        load[each.primary] += each.requests_per_s
    return load


def test_primaries_spread_by_what_they_are_asked() -> None:
    """Three hot ranges whose primaries are on one node go apart, and not a byte is moved."""
    ranges = tuple(
        replace(each, primary="n0" if number < 3 else each.primary)
        for number, each in enumerate(_ranges(9, 3, size_bytes=_MIB))
    )
    ranges = _asked(ranges, (2_000, 2_100, 1_900))
    nodes = _even(3)
    changes = plan(nodes, ranges)
    assert all(change.add is None and change.remove is None for change in changes)
    after = _carried_out(nodes, ranges, changes)
    assert sorted(_requests(after).values()) == [1_900, 2_000, 2_100]
    assert plan(nodes, after) == ()


def test_one_hot_range_has_a_node_for_itself() -> None:
    """What can't be shared out stays, and what is idle goes elsewhere."""
    ranges = _asked(_ranges(9, 3, size_bytes=_MIB), (5_000,))
    after = _carried_out(_even(3), ranges, plan(_even(3), ranges))
    hot = next(each for each in after if each.requests_per_s)
    assert [each for each in after if each.primary == hot.primary] == [hot]
    others = Counter(each.primary for each in after)
    assert sorted(others.values()) == [1, 4, 4]


def test_small_differences_of_rates_are_left_alone() -> None:
    """Rates come and go; a hand-over for each change of them would be worse than the difference."""
    nodes, ranges = _even(3), _ranges(60, 3, size_bytes=_MIB)
    shaken = _asked(ranges, (1_000, 900, 1_100) * 10)
    load = _requests(shaken)
    apart = max(load.values()) - min(load.values())
    part = sum(load.values()) // 3
    assert PLAN_PRIMARY_REQUESTS < apart < part * PLAN_UNEVEN_REQUESTS_PERCENT // 100
    assert plan(nodes, shaken) == ()
    assert plan(nodes, _asked(ranges, (1_000, 600, 1_400) * 10))


def test_zones_are_not_given_up_for_evenness() -> None:
    """A range in three zones stays in three, however full a zone's only node is."""
    nodes = (
        NodeSite(node="n0", zone="a"),
        NodeSite(node="n1", zone="b"),
        NodeSite(node="n2", zone="c"),
        NodeSite(node="n3", zone="c"),
    )
    ranges = _ranges(12, 3, size_bytes=100 * _MIB)
    after = _carried_out(nodes, ranges, plan(nodes, ranges))
    zone_of = {each.node: each.zone for each in nodes}
    for each in after:
        assert {zone_of[one.node] for one in each.copies} == {"a", "b", "c"}
    load = Counter(one.node for each in after for one in each.copies)
    assert (load["n0"], load["n1"], load["n2"], load["n3"]) == (12, 12, 6, 6)


def test_one_replica_after_another() -> None:
    """A range with a learner that lives is left alone; a dead one is replaced."""
    nodes = (*_even(4), NodeSite(node="n9", keeps=False, takes=False, leads=False, is_alive=False))
    copies = (Copy(node="n0"), Copy(node="n1"), Copy(node="n2", is_in_sync=False))
    one = RangeSite(range_id="r", primary="n0", copies=copies, wanted=3, factor=3)
    assert plan(nodes, (one,)) == ()
    dead = replace(one, copies=(*copies[:2], Copy(node="n9", is_in_sync=False)))
    [change] = plan(nodes, (dead,))
    assert (change.add, change.remove) == ("n2", "n9")


def test_a_replica_that_was_to_leave_stays_first() -> None:
    """If the one that was to come is lost, who is still there is taken back, without a copy."""
    nodes = (*_even(4), NodeSite(node="n9", keeps=False, takes=False, leads=False, is_alive=False))
    one = RangeSite(
        range_id="r",
        primary="n0",
        copies=(
            Copy(node="n0"),
            Copy(node="n1"),
            Copy(node="n3", is_leaving=True),
            Copy(node="n9", is_in_sync=False),
        ),
        wanted=3,
        factor=3,
    )
    [change] = plan(nodes, (one,))
    assert (change.add, change.remove) == ("n3", "n9")


def test_nothing_is_taken_away_where_nobody_can_take_over() -> None:
    """Three of three: one that is gone for long is still one of three."""
    nodes = (*_even(2), NodeSite(node="n2", keeps=False, takes=False, leads=False, is_alive=False))
    ranges = _ranges(6, 3, size_bytes=_MIB)
    assert [change for change in plan(nodes, ranges) if change.remove] == []


def test_who_drains_gives_its_primaries_away() -> None:
    """And keeps its replicas."""
    nodes = (NodeSite(node="n0", takes=False, leads=False), *_even(3)[1:])
    ranges = _ranges(6, 3, size_bytes=_MIB)
    changes = plan(nodes, ranges)
    assert all(change.add is None and change.remove is None for change in changes)
    after = _carried_out(nodes, ranges, changes)
    assert Counter(each.primary for each in after) == {"n1": 3, "n2": 3}
