"""Views against a plain dictionary, and the maps that they are made of."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.model.hashing import HASH_MAX
from dstore.topology.coordinator import Revision
from dstore.topology.fold import Fold
from dstore.topology.sorted_map import CHUNK_KEYS_MAX, SortedMap
from tests.support.topology import HALF, definition, events, placement, shown, table, tenant

NAMES = st.integers(0, 3 * CHUNK_KEYS_MAX).map(lambda number: f"{number:04}")
CHANGES = st.dictionaries(NAMES, st.integers(1, 9) | st.none(), max_size=12)


@given(
    count=st.integers(0, 3 * CHUNK_KEYS_MAX),
    steps=st.lists(CHANGES, max_size=8),
    cut=st.tuples(NAMES, NAMES),
    after=NAMES,
)
@settings(max_examples=60)
def test_sorted_map_is_a_sorted_dictionary(
    count: int, steps: list[dict[str, int | None]], cut: tuple[str, str], after: str
) -> None:
    """Its chunks split and join; nobody outside can tell."""
    expected: dict[str, int] = {f"{number:04}": number + 1 for number in range(count)}
    made: SortedMap[int] = SortedMap[int]().changed(expected)
    gone: dict[str, int | None] = {name: None for name in expected if min(cut) <= name < max(cut)}
    for changes in (*steps, gone, *steps):
        former = list(made.items())
        changed = made.changed(changes)
        assert list(made.items()) == former
        made = changed
        for name, value in changes.items():
            expected.pop(name, None)
            if value is not None:
                expected[name] = value
        assert list(made.items()) == sorted(expected.items())
        assert (list(made), list(made.values())) == (sorted(expected), [v for _, v in made.items()])
        assert len(made) == len(expected)
        assert all(0 < len(names) <= CHUNK_KEYS_MAX for names, _ in made._chunks)
    assert {name: made.get(name) for name in expected} == expected
    assert made.get(after) == expected.get(after)
    assert (after in made) == (after in expected)
    following = sorted(item for item in expected.items() if item[0] > after)
    for limit in (1, 10, 10_000):
        assert made.after(after, limit) == following[:limit]


TABLES = st.sampled_from(["aaa", "bbb"])
TENANTS = st.sampled_from(["t1", "t2"])
LOWS = st.sampled_from([0, HALF + 1])
HIGHS = st.sampled_from([HALF, HASH_MAX])


@st.composite
def change(draw: st.DrawFn) -> tuple[str, bytes | None]:
    """Draw a write of one key: good, bad or a deletion."""
    owner, name = draw(TENANTS), draw(TABLES)
    match draw(st.sampled_from(["tenant", "table", "range", "range", "range"])):
        case "tenant":
            key, value = f"tenant/{owner}", tenant(draw(st.integers(1, 3)))
        case "table":
            table_id = draw(st.sampled_from([100, 101]))
            key = f"table/{owner}/{name}"
            value = table(definition(owner, name, table_id=table_id))
        case _:
            key = f"tenant/{owner}/{name}/{draw(LOWS)}"
            value = placement(
                draw(HIGHS),
                table_id=draw(st.sampled_from([100, 100, 101])),
                range_id=draw(st.integers(1, 10**6)),
            )
    return key, draw(st.sampled_from([value, value, value, None, b"{]"]))


def folded(revisions: list[list[tuple[str, bytes | None]]]) -> Fold:
    made = Fold()
    for number, changes in enumerate(revisions, 1):
        made.apply(events(dict(changes), number))
        made.stamp(cluster_id="c", revision=Revision(number))
    return made


@given(st.lists(st.lists(change(), max_size=5), max_size=12))
@settings(max_examples=200)
def test_ranges_shown_never_gap_or_overlap(
    revisions: list[list[tuple[str, bytes | None]]],
) -> None:
    """I8, whatever is written in whatever order."""
    made = Fold()
    for number, changes in enumerate(revisions, 1):
        made.apply(events(dict(changes), number))
        for owner in made.view.tenants.values():
            for found in owner.tables.values():
                expected = 0
                for placed in found.ranges:
                    assert placed.low_hash == expected
                    assert placed.placement.table_id == found.definition.table_id
                    expected = placed.high_hash + 1
                assert expected in {0, HASH_MAX + 1}


@given(st.lists(st.lists(change(), max_size=5), max_size=12))
@settings(max_examples=200)
def test_once_all_is_good_the_view_is_the_store(
    revisions: list[list[tuple[str, bytes | None]]],
) -> None:
    """Whatever was kept out on the way, nothing stays behind: the view is what etcd holds."""
    made = folded(revisions)
    good: dict[str, bytes | None] = {}
    for owner in ("t1", "t2"):
        good[f"tenant/{owner}"] = tenant()
        for name in ("aaa", "bbb"):
            good[f"table/{owner}/{name}"] = table(definition(owner, name, table_id=102))
            good[f"tenant/{owner}/{name}/0"] = placement(table_id=102, range_id=10**7)
            good[f"tenant/{owner}/{name}/{HALF + 1}"] = None
    made.apply(events(good, 100))
    expected = {key: (value, 100) for key, value in good.items() if value is not None}
    assert shown(made.view) == expected
    assert made.problems == {}
    assert set(made.known_keys()) == expected.keys()


@given(st.lists(st.lists(change(), max_size=5), max_size=12))
@settings(max_examples=100)
def test_resync_gives_the_view_that_the_events_gave(
    revisions: list[list[tuple[str, bytes | None]]],
) -> None:
    """A listing folded into a view that knows all of it changes nothing, in parts of any size."""
    made = folded(revisions)
    before, problems = shown(made.view), dict(made.problems)
    store: dict[str, tuple[bytes, int]] = {}
    for number, changes in enumerate(revisions, 1):
        for key, value in dict(changes).items():
            store.pop(key, None)
            if value is not None:
                store[key] = (value, number)
    for key, (value, number) in sorted(store.items()):
        for event in events({key: value}, number):
            assert event.kv is not None
            made.apply(made.newer([event.kv]))
    assert shown(made.view) == before
    assert made.problems.keys() == problems.keys()
