"""Where a file's bytes are, read piece by piece."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.storage.weighing import Buckets, merged, weigh

_SCHEMA = (
    "CREATE TABLE v1 (RID_ID BLOB NOT NULL, C_COL TEXT NOT NULL, HASH INTEGER NOT NULL, "
    "C_DATA_TYPE TEXT NOT NULL, C_DATA TEXT, PRIMARY KEY (RID_ID, C_COL)) WITHOUT ROWID"
)


def _file(path: Path, entries: dict[int, int]) -> apsw.Connection:
    """Make a file with entries of some bytes, by their hashes."""
    connection = apsw.Connection(str(path / "range.db"))
    connection.execute(_SCHEMA)
    for hashed, size in entries.items():
        for column in ("", "data"):
            connection.execute(
                "INSERT INTO v1 VALUES (?, ?, ?, 'String', ?)",
                (hashed.to_bytes(4, "big") + b"key", column, hashed, "x" * size),
            )
    return connection


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_a_file_is_weighed_in_pieces(tmp_path: Path, rows: int) -> None:
    """Each hash once, in their order, whatever a piece is; the last piece says so."""
    connection = _file(tmp_path, {1: 10, 5: 1_000, 9: 10})
    buckets, after, pieces = Buckets(most=10), b"", 0
    while True:
        piece = weigh(connection, after, rows=rows)
        buckets.add(piece.weights)
        pieces += 1
        if piece.last is None:
            break
        after = piece.last
    found = dict(buckets.taken())
    assert list(found) == [1, 5, 9]
    assert found[5] > 10 * found[1] > 0
    assert pieces <= 4


def test_an_empty_file_weighs_nothing(tmp_path: Path) -> None:
    """There is one piece, and nothing in it."""
    piece = weigh(_file(tmp_path, {}), b"", rows=10)
    assert (piece.weights, piece.last) == ((), None)


@given(
    st.lists(st.integers(min_value=0, max_value=1_000), max_size=200),
    st.integers(min_value=1, max_value=20),
)
def test_neighbours_share_a_bucket_where_there_are_many(weights: list[int], most: int) -> None:
    """Nothing is lost, the order stays, and there are no more than that."""
    found = merged(list(enumerate(weights)), most=most)
    assert len(found) <= most
    assert sum(weight for _, weight in found) == sum(weights)
    assert [low for low, _ in found] == sorted({low for low, _ in found})
    assert not weights or found[0][0] == 0


def test_a_heavy_hash_stays_by_itself() -> None:
    """Light ones are joined, so that a range can be cut before the heavy one and behind it."""
    weights = [(number, 1) for number in range(100)]
    weights[50] = (50, 1_000)
    assert 50 in {low for low, _ in merged(weights, most=5)}
    assert 51 in {low for low, _ in merged(weights, most=5)}
