"""How large a range's file is, and where in it the bytes are: in pieces, in so many buckets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import apsw

from dstore.base.limits import PAGE_BYTES
from dstore.storage import local_indexes
from dstore.storage.vault.residency import NotResident

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dstore.model.index_rows import IndexSizes

# Each cell has the key, and takes some 16 bytes besides; what a piece leaves of an entry is left.
_PIECE: Final = (
    "SELECT HASH, MAX(RID_ID), SUM(LENGTH(RID_ID) + LENGTH(C_COL) + IFNULL(LENGTH(C_DATA), 0) "
    "+ 16), COUNT(*) FROM (SELECT RID_ID, C_COL, HASH, C_DATA FROM v1 "
    "WHERE RID_ID > ? ORDER BY RID_ID, C_COL LIMIT ?) GROUP BY HASH ORDER BY HASH"
)


def size_bytes(resident: apsw.Connection, path: Path) -> int:
    """Measure a file's database by a connection that reads nothing from the disk."""
    try:
        rows: list[tuple[Any, ...]] = resident.execute("PRAGMA page_count").fetchall()
    except (NotResident, apsw.Error):  # as the file stood before the log; the log is the newer
        return path.stat().st_size
    return int(rows[0][0]) * PAGE_BYTES


def index_sizes(resident: apsw.Connection, *, was: IndexSizes) -> IndexSizes:
    """Measure a file's local indexes in the same way; `was`: as they were when last seen."""
    if not was:
        return was  # none are kept: which ones are is settled when a file is opened
    try:
        return local_indexes.sizes(resident)
    except (NotResident, apsw.Error):
        return was


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one piece of a file weighs.

    Attributes:
        weights: of each hash in it, in their order.
        last: the last key, behind which the next piece begins; None: there is none.
    """

    weights: tuple[tuple[int, int], ...]
    last: bytes | None


def weigh(connection: apsw.Connection, after: bytes, *, rows: int) -> Piece:
    """Weigh so many rows behind a key; about 1 µs a row, in a thread."""
    found: list[tuple[Any, ...]] = connection.execute(_PIECE, (after, rows)).fetchall()
    count = sum(each[3] for each in found)
    return Piece(
        weights=tuple((each[0], each[2]) for each in found),
        last=max(each[1] for each in found) if count == rows else None,
    )


@dataclass(slots=True)
class Buckets:
    """Weights by hash, as many as fit; where there are more, neighbours share a bucket."""

    most: int
    _found: list[tuple[int, int]] = field(default_factory=list)

    def add(self, weights: Sequence[tuple[int, int]]) -> None:
        """Add weights of hashes; they rise, and none is below those that were added before."""
        for low_hash, weight in weights:
            if self._found and self._found[-1][0] == low_hash:
                weight += self._found.pop()[1]  # noqa: PLW2901 - the entries of one partition
            assert not self._found or self._found[-1][0] < low_hash, "not in order"
            self._found.append((low_hash, weight))
        if len(self._found) > 4 * self.most:
            self._found = merged(self._found, most=2 * self.most)

    def taken(self) -> list[tuple[int, int]]:
        """Give them."""
        return merged(self._found, most=self.most)


def merged(found: Sequence[tuple[int, int]], *, most: int) -> list[tuple[int, int]]:
    """Join neighbours, the lightest first of all, until there are no more than `most`."""
    buckets = list(found)
    while len(buckets) > most:
        total = sum(weight for _, weight in buckets)
        light = 2 * total // most  # a bucket above this stays by itself
        joined: list[tuple[int, int]] = []
        for low_hash, weight in buckets:
            if joined and joined[-1][1] + weight <= light:
                joined[-1] = (joined[-1][0], joined[-1][1] + weight)
            else:
                joined.append((low_hash, weight))
        assert len(joined) < len(buckets), "two neighbours of the lighter half fit into one"
        buckets = joined
    return buckets
