"""Reading entries in the order of a local index: its rows, and the entries that they name.

Both are read by one statement, so as of one commit: a row always has its entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.model.errors import Corrupt
from dstore.storage.entries import gather_entries

if TYPE_CHECKING:
    from collections.abc import Generator

    import apsw

    from dstore.storage.entries import Entry
    from dstore.storage.range_scan import Span

# CROSS JOIN and LEFT JOIN keep the index's rows outside, and so in their order.
_HEADS: Final = (
    "SELECT d.KEY, d.RID_ID, v.C_DATA FROM derived AS d "
    "LEFT JOIN v1 AS v ON v.RID_ID = d.RID_ID AND v.C_COL = '' WHERE d.DERIVATION = ? "
)
_ROWS: Final = (
    "SELECT d.KEY, v.C_COL, v.C_DATA_TYPE, v.C_DATA FROM derived AS d "
    "CROSS JOIN v1 AS v ON v.RID_ID = d.RID_ID WHERE d.DERIVATION = ? "
)
_TO_END: Final = "AND d.KEY >= ?"
_BETWEEN: Final = "AND d.KEY >= ? AND d.KEY < ?"


def read_index_heads(
    connection: apsw.Connection, span: Span, *, limit: int
) -> list[tuple[bytes, bytes, str]]:
    """Read the first rows of a span of an index: key, RID_ID, and the entry's version.

    Raises: Corrupt: a row names an entry that is not there.
    """
    between, bounds = _bounds(span)
    order = " ORDER BY d.KEY DESC LIMIT ?" if span.is_reverse else " ORDER BY d.KEY LIMIT ?"
    rows: list[tuple[Any, ...]] = connection.execute(
        _HEADS + between + order, (*bounds, limit)
    ).fetchall()
    if any(version is None for _, _, version in rows):
        raise Corrupt("A row of an index has no entry.", file=connection.filename, where="derived")
    return rows


def scan_index(
    connection: apsw.Connection, span: Span
) -> Generator[tuple[bytes, Entry], None, None]:
    """Yield (key of the index's row, entry) in the span's order, as `entries.scan_entries` does."""
    between, bounds = _bounds(span)
    way = " DESC" if span.is_reverse else ""
    order = f" ORDER BY d.KEY{way}, v.C_COL{way}"
    rows = connection.execute(_ROWS + between + order, bounds)
    return gather_entries(rows, file=connection.filename, is_reverse=span.is_reverse)


def _bounds(span: Span) -> tuple[str, tuple[int | bytes | None, ...]]:
    if span.high is None:
        return _TO_END, (span.index, span.low)
    return _BETWEEN, (span.index, span.low, span.high)
