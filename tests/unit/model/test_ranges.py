"""Which range a key is in, and what a walk has to cross."""

from __future__ import annotations

import pytest

from dstore.model.errors import NotMine
from dstore.model.hashing import HASH_MAX
from dstore.model.keys import hash_bounds
from dstore.model.ranges import RangeMap, RangeRef


def _range(name: str, low: int, high: int) -> RangeRef:
    return RangeRef(range_id=name, low=low, high=high)


def _key(key_hash: int) -> bytes:
    return key_hash.to_bytes(4, "big") + b"key\x00\x01"


WHOLE = RangeMap.of([_range("all", 0, HASH_MAX)])
THREE = RangeMap.of([_range("c", 200, HASH_MAX), _range("a", 0, 99), _range("b", 100, 199)])
GAPS = RangeMap.of([_range("a", 10, 99), _range("c", 200, 299)])


@pytest.mark.parametrize(
    ("key_hash", "name"),
    [(0, "a"), (99, "a"), (100, "b"), (199, "b"), (200, "c"), (HASH_MAX, "c")],
)
def test_key_is_in_the_range_of_its_hash(key_hash: int, name: str) -> None:
    """Both bounds of a range are its own."""
    assert THREE.at(_key(key_hash)).range_id == name
    assert WHOLE.at(_key(key_hash)).range_id == "all"


@pytest.mark.parametrize("key_hash", [0, 9, 100, 199, 300, HASH_MAX])
def test_key_of_no_known_range_is_refused(key_hash: int) -> None:
    """What is elsewhere must not read as absent."""
    with pytest.raises(NotMine):
        GAPS.at(_key(key_hash))


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [
        (b"", None, "abc"),
        (_key(99), None, "abc"),
        (_key(100), None, "bc"),
        (b"", hash_bounds(0, 99)[1], "a"),
        (b"", _key(100), "ab"),
        (*hash_bounds(100, 199), "b"),
        (_key(150), _key(160), "b"),
        (_key(HASH_MAX), None, "c"),
    ],
)
def test_walk_crosses_its_ranges_and_no_other(low: bytes, high: bytes | None, names: str) -> None:
    """A span that ends where a range begins does not touch that range."""
    assert "".join(ref.range_id for ref in THREE.crossing(low, high)) == names
    assert [ref.range_id for ref in WHOLE.crossing(low, high)] == ["all"]


@pytest.mark.parametrize(
    ("low", "high"),
    [(b"", None), (_key(20), None), (_key(20), _key(250)), (_key(120), _key(130)), (b"", _key(50))],
)
def test_walk_over_a_gap_is_refused(low: bytes, high: bytes | None) -> None:
    """A page that left out what is elsewhere would look complete."""
    with pytest.raises(NotMine):
        GAPS.crossing(low, high)


def test_walk_inside_a_known_range_is_not_refused() -> None:
    """What lies beside it does not matter to it."""
    assert [ref.range_id for ref in GAPS.crossing(_key(20), _key(90))] == ["a"]
    assert [ref.range_id for ref in GAPS.crossing(*hash_bounds(200, 299))] == ["c"]
