"""An entry's rows in the V1 layout: reading them, and writing only those that change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from dstore.base.limits import LOOP_ENTRY_BYTES_MAX
from dstore.model.errors import Corrupt
from dstore.model.plain_numbers import plain_answer
from dstore.model.values import (
    Cell,
    DataType,
    Item,
    attribute_bytes,
    cell_of_row,
    from_cell,
    item_bytes,
    row_of_cell,
    to_cell,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    import apsw

    from dstore.storage.entry_cache import EntryCache
    from dstore.storage.range_scan import Span

HEAD: Final = ""  # C_COL of the head row; no attribute name is empty
HEAD_TYPE: Final = "Entry"

_READ = "SELECT C_COL, C_DATA_TYPE, C_DATA FROM v1 WHERE RID_ID = ?"
# Rows of one entry that one statement writes; `_UPSERTS` has a statement for each number of them.
# A statement for each row costs a third more.
_UPSERTED_ROWS_MAX: Final = 16
_UPSERTS: Final = tuple(
    "INSERT INTO v1 (RID_ID, HASH, C_COL, C_DATA_TYPE, C_DATA) VALUES "  # noqa: S608 - of constants
    + ", ".join(["(?1, ?2, ?, ?, ?)"] * rows)
    + " ON CONFLICT DO UPDATE SET C_DATA_TYPE = excluded.C_DATA_TYPE, C_DATA = excluded.C_DATA"
    for rows in range(_UPSERTED_ROWS_MAX + 1)
)
_READ_HEAD = "SELECT C_DATA FROM v1 WHERE RID_ID = ? AND C_COL = ''"
_HEADS_TO_END = "SELECT RID_ID, C_DATA FROM v1 WHERE C_COL = '' AND RID_ID >= ?"
_HEADS = f"{_HEADS_TO_END} AND RID_ID < ?"
_HEADS_ORDER = " ORDER BY RID_ID LIMIT ?"
_HEADS_REVERSE = " ORDER BY RID_ID DESC LIMIT ?"
_DELETE_ROW = "DELETE FROM v1 WHERE RID_ID = ? AND C_COL = ?"
_DELETE_ENTRY = "DELETE FROM v1 WHERE RID_ID = ?"
_SCAN_TO_END = "SELECT RID_ID, C_COL, C_DATA_TYPE, C_DATA FROM v1 WHERE RID_ID >= ?"
_SCAN = f"{_SCAN_TO_END} AND RID_ID < ?"
_IN_ORDER = " ORDER BY RID_ID, C_COL"
_IN_REVERSE = " ORDER BY RID_ID DESC, C_COL DESC"

_encode: Final = msgspec.json.Encoder().encode
_decode_item: Final = msgspec.json.Decoder(Item).decode
_STRING: Final = DataType.STRING.value
_ENTRY_VALUES: Final = 2  # of a statement of `_UPSERTS`, before those of the rows
_ROW_VALUES: Final = 3

# What Python takes for an entry and for each of its attributes beyond their text, which stands in
# the rows, and perhaps twice more in the JSON of answers.
_ENTRY_BYTES: Final = 600
_CELL_BYTES: Final = 240

Cells = dict[str, Cell]
"""Attribute name → what is stored of it; the head row is not among them."""


class EntryKey(msgspec.Struct, frozen=True, gc=False):
    """An entry's key attributes in wire form, as JSON, and what they count in bytes."""

    json: bytes
    size_bytes: int

    @classmethod
    def of(cls, attributes: Item) -> Self:
        """Write and count key attributes."""
        return cls(_encode(attributes), item_bytes(attributes))

    @property
    def item(self) -> Item:
        """The key attributes, made anew."""
        return _decode_item(self.json)


class Entry(msgspec.Struct, gc=False, eq=False):
    """A stored entry: its rows, its version, and what is made of the rows when it is asked for.

    Never changed once it is made, since readers share it. Two things are kept with it for those who
    answer: its `key`, and `whole`, the item's JSON. `version` is what an ETag shows.

    Python's cyclic collector looks neither at an entry nor at anything that is kept with it: there
    are hundreds of thousands, each looked at takes 0.1 us or more, and the event loop waits.
    """

    cells: Cells
    version: str
    key: EntryKey | None = None
    whole: msgspec.Raw | None = None
    _answer: bytes | None = None
    _data_bytes: int = -1  # not counted yet
    _item_bytes: int = -1

    @property
    def item(self) -> Item:
        """The item in wire form, made anew. Raises: Corrupt: a row is not what it says."""
        return {name: from_cell(cell) for name, cell in self.cells.items()}

    @property
    def answer(self) -> bytes:
        """The members of the JSON object that DynamoDB answers, without its braces and the key's.

        Raises: Corrupt: a row is not what it says.
        """
        if self._answer is None:
            plain = {name: plain_answer(cell) for name, cell in self.cells.items()}
            self._answer = _encode(plain)[1:-1]
        return self._answer

    @property
    def item_bytes(self) -> int:
        """What the attributes count as DynamoDB does (`values.item_bytes`), the key left out."""
        if self._item_bytes < 0:
            self._item_bytes = self._count_item()
        return self._item_bytes

    @property
    def data_bytes(self) -> int:
        """The rows' data in characters: roughly what a look at all of it costs."""
        if self._data_bytes < 0:
            texts = [
                cell if isinstance(cell, str) else cell.data or "" for cell in self.cells.values()
            ]
            self._data_bytes = sum(map(len, texts))
        return self._data_bytes

    @property
    def weight_bytes(self) -> int:
        """Roughly what the entry takes in memory, with what is made of it for answers."""
        return 3 * self.data_bytes + _CELL_BYTES * len(self.cells) + _ENTRY_BYTES

    @property
    def is_large(self) -> bool:
        """Whether an expression may take too long to look at it for the event loop."""
        return self.data_bytes > LOOP_ENTRY_BYTES_MAX

    def _count_item(self) -> int:
        """Count in one pass, since this is much of what a page costs: 0.15 us a string."""
        texts = list(self.cells)
        others_bytes = 0
        for cell in self.cells.values():
            if isinstance(cell, str):
                texts.append(cell)
            else:
                others_bytes += attribute_bytes(from_cell(cell))
        joined = "".join(texts)
        return others_bytes + (len(joined) if joined.isascii() else len(joined.encode()))


def read_entry(
    connection: apsw.Connection, rid_id: bytes, cache: EntryCache | None = None
) -> Entry | None:
    """Read one entry, or None if there is no such entry; only its head if the rest is cached."""
    if cache is not None:
        heads: list[tuple[Any, ...]] = connection.execute(_READ_HEAD, (rid_id,)).fetchall()
        if heads:
            cached = cache.get(heads[0][0])
            if cached is not None:
                return cached
    rows: list[tuple[Any, ...]] = connection.execute(_READ, (rid_id,)).fetchall()
    if not rows:
        return None
    head, data_type, version = rows[0]
    if head != HEAD or data_type != HEAD_TYPE:
        raise _headless(connection.filename)
    entry = Entry({name: cell_of_row(kind, data) for name, kind, data in rows[1:]}, version)
    if cache is not None:
        cache.put(entry)
    return entry


def read_heads(connection: apsw.Connection, span: Span, *, limit: int) -> list[tuple[bytes, str]]:
    """Read the keys and versions of a span's first entries, in its order, at most `limit`."""
    select = _HEADS_TO_END if span.high is None else _HEADS
    order = _HEADS_REVERSE if span.is_reverse else _HEADS_ORDER
    bounds = (span.low,) if span.high is None else (span.low, span.high)
    heads: list[tuple[Any, ...]] = connection.execute(select + order, (*bounds, limit)).fetchall()
    return [(rid_id, version or "") for rid_id, version in heads]


def cells_of(item: Item) -> Cells:
    """Encode an item as rows, in the order in which they are read back."""
    cells: Cells = {}
    for name in sorted(item):
        attribute = item[name]
        # Most are strings, and a call for each would be half of what this costs.
        text = attribute.get("S")
        cells[name] = to_cell(attribute) if text is None else text
    return cells


def write_cells(
    connection: apsw.Connection,
    rid_id: bytes,
    *,
    entry_hash: int,
    before: Cells | None,
    after: Cells,
    version: str,
) -> None:
    """Write the rows in which `after` differs from `before`, and the head row."""
    values: list[bytes | int | str | None] = [rid_id, entry_hash, HEAD, HEAD_TYPE, version]
    stored = before or {}
    for name, cell in after.items():
        if stored.get(name) == cell:
            continue
        # As in `cells_of`.
        values += (name, _STRING, cell) if isinstance(cell, str) else (name, *row_of_cell(cell))
    gone = stored.keys() - after.keys()
    if gone:
        connection.executemany(_DELETE_ROW, [(rid_id, name) for name in sorted(gone)])
    _upsert(connection, values)


def _upsert(connection: apsw.Connection, values: list[bytes | int | str | None]) -> None:
    """Write rows of one entry: `values` are RID_ID and hash, then name, type, data of each row."""
    rows = (len(values) - _ENTRY_VALUES) // _ROW_VALUES
    if rows <= _UPSERTED_ROWS_MAX:
        connection.execute(_UPSERTS[rows], values)
        return
    entry, at_once = values[:_ENTRY_VALUES], _UPSERTED_ROWS_MAX * _ROW_VALUES
    for start in range(_ENTRY_VALUES, len(values), at_once):
        part = values[start : start + at_once]
        connection.execute(_UPSERTS[len(part) // _ROW_VALUES], entry + part)


def delete_cells(connection: apsw.Connection, rid_id: bytes) -> None:
    """Delete all rows of an entry."""
    connection.execute(_DELETE_ENTRY, (rid_id,))


def scan_entries(
    connection: apsw.Connection, span: Span
) -> Generator[tuple[bytes, Entry], None, None]:
    """Yield (RID_ID, entry) in the span's order, in one read transaction.

    The caller stops early by closing the iterator.
    """
    bounds = (span.low,) if span.high is None else (span.low, span.high)
    select = _SCAN_TO_END if span.high is None else _SCAN
    rows = connection.execute(select + (_IN_REVERSE if span.is_reverse else _IN_ORDER), bounds)
    return gather_entries(rows, file=connection.filename, is_reverse=span.is_reverse)


def gather_entries(
    rows: Iterable[tuple[Any, ...]], *, file: str, is_reverse: bool
) -> Generator[tuple[bytes, Entry], None, None]:
    """Gather rows (place, name, type, data), in the order of places and names, or backwards.

    Raises: Corrupt: the rows of a place do not begin with an entry's head.
    """
    gather = _entries_backward if is_reverse else _entries_forward
    return gather(rows, file=file)


def _entries_forward(
    rows: Iterable[tuple[Any, ...]], *, file: str
) -> Generator[tuple[bytes, Entry], None, None]:
    """Gather rows that come by ascending C_COL: an entry's head first."""
    current, version, cells = b"", "", Cells()
    for rid_id, name, data_type, data in rows:
        if name:  # which the head's is not
            if rid_id != current:
                raise _headless(file)
            cells[name] = cell_of_row(data_type, data)
        else:
            if current:
                yield current, Entry(cells, version)
            current, version, cells = rid_id, data or "", {}
    if current:
        yield current, Entry(cells, version)


def _entries_backward(
    rows: Iterable[tuple[Any, ...]], *, file: str
) -> Generator[tuple[bytes, Entry], None, None]:
    """Gather rows that come by descending C_COL: an entry's head last."""
    current, cells = b"", Cells()
    for rid_id, name, data_type, data in rows:
        if cells and rid_id != current:
            raise _headless(file)
        if name == HEAD:
            yield rid_id, Entry(cells, data or "")
            cells = {}
        else:
            current = rid_id
            cells[name] = cell_of_row(data_type, data)
    if cells:
        raise _headless(file)


def _headless(file: str) -> Corrupt:
    return Corrupt("An entry has no head row.", file=file, where="v1")
