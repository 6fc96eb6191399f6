"""The local indexes of a range's file: a row for each item that is in one, and what they weigh.

A row is the index's ordered key (`model.index_rows.local_key`) and the key of the entry, which lies
in the same file; nothing is projected into it: what an index holds of an item is a matter of
reading. What the items of a partition key count towards AWS's bound is kept beside them, and how
much there is of each index, as its rows take it.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from dstore.base.index_limits import (
    INDEX_BUILT_ENTRIES,
    INDEX_ENTRY_OVERHEAD_BYTES,
    ITEM_COLLECTION_BYTES_MAX,
)
from dstore.base.limits import ITEM_BYTES_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.model.index_rows import IndexShape, IndexSize, local_key
from dstore.model.keys import KeyKind, decode_key, decode_partition
from dstore.model.values import attribute_bytes, from_cell, item_bytes
from dstore.storage.entries import scan_entries
from dstore.storage.range_scan import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from dstore.model.keys import KeyValue
    from dstore.model.values import Item
    from dstore.storage.entries import Entry

ITEM_TOO_LARGE: Final = "Item size has exceeded the maximum allowed size"
KIND: Final = "local_index"  # derived_rows.Kind
FIRST_ID: Final = 1  # of a table's local indexes, numbered in the order of their declaration

_PUT: Final = "INSERT OR REPLACE INTO derived (DERIVATION, KEY, RID_ID) VALUES (?, ?, ?)"
_DELETE: Final = "DELETE FROM derived WHERE DERIVATION = ? AND KEY = ?"
_GROW: Final = (
    "INSERT INTO collection (PREFIX, SIZE_BYTES) VALUES (?, ?) "
    "ON CONFLICT DO UPDATE SET SIZE_BYTES = SIZE_BYTES + excluded.SIZE_BYTES RETURNING SIZE_BYTES"
)
_FORGET: Final = "DELETE FROM collection WHERE PREFIX = ? AND SIZE_BYTES <= 0"
_SIZE: Final = "SELECT SIZE_BYTES FROM collection WHERE PREFIX = ?"
_DEFINE: Final = (
    "INSERT INTO derivation (ID, KIND, DEFINITION, ENTRIES, SIZE_BYTES) "
    "SELECT ?1, ?2, ?3, COUNT(*), IFNULL(SUM(LENGTH(KEY) + LENGTH(RID_ID)), 0) "
    "FROM derived WHERE DERIVATION = ?1"
)
_COUNT: Final = (
    "UPDATE derivation SET ENTRIES = ENTRIES + ?2, SIZE_BYTES = SIZE_BYTES + ?3 WHERE ID = ?1"
)
_SIZES: Final = "SELECT DEFINITION, ENTRIES, SIZE_BYTES FROM derivation WHERE KIND = ?"
_ARE_THERE: Final = "SELECT 1 FROM derivation WHERE KIND = ? LIMIT 1"
_NEXT: Final = b"\x00"
_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(IndexShape).decode


class LocalIndexes:
    """The local indexes of one file, a `derived_rows.Keeper`."""

    __slots__ = ("_numbered", "_partition", "_sort", "shapes")

    def __init__(self, numbered: Sequence[tuple[int, IndexShape]]) -> None:
        """Keep the indexes of these shapes, each under its number; at least one."""
        self._numbered = tuple(
            (number, shape, shape.range_keys[0].name) for number, shape in numbered
        )
        self.shapes = tuple(shape for _, shape in numbered)
        self._partition, *others = self.shapes[0].table_keys
        self._sort = others[0] if others else None

    @classmethod
    def read(cls, stored: Sequence[tuple[int, str]]) -> Self:
        """Make them of their stored definitions, by number. Raises: ValueError: one is none."""
        try:
            return cls([(number, _decode(definition)) for number, definition in stored])
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None

    def number_of(self, name: str) -> int | None:
        """Give the number under which the rows of an index lie; None: it is not kept here."""
        for number, shape, _ in self._numbered:
            if shape.name == name:
                return number
        return None

    def shape_of(self, number: int) -> IndexShape:
        """Give the shape of an index by its number."""
        return next(shape for known, shape, _ in self._numbered if known == number)

    def change(
        self,
        connection: apsw.Connection,
        rid_id: bytes,
        *,
        before: Entry | None,
        after: Item | None,
        is_bounded: bool,
    ) -> int:
        """Change an entry's rows and the count of its partition; see `derived_rows.Keeper`.

        Raises: Refused: the items of the partition key would be too many bytes, or the item and
            what the indexes hold of it would be.
        """
        prefix_bytes = decode_partition(rid_id, self._partition.kind)[1]
        old = {} if before is None else self._keys_before(before, rid_id, prefix_bytes)
        new = {} if after is None else self._keys_after(after, rid_id, prefix_bytes)
        more = self._bytes(rid_id, after, new)
        if is_bounded and more - len(new) * INDEX_ENTRY_OVERHEAD_BYTES > ITEM_BYTES_MAX:
            raise Refused(RefusalKind.TOO_LARGE, ITEM_TOO_LARGE)
        if before is not None:
            more -= self._bytes(rid_id, before.item, old)
        size = self._grow(connection, rid_id[:prefix_bytes], more, is_bounded=is_bounded)
        for number in old.keys() | new.keys():
            was, now = old.get(number), new.get(number)
            if was != now:
                _change_row(connection, number, rid_id, was=was, now=now)
        return size

    def _keys_before(self, entry: Entry, rid_id: bytes, prefix_bytes: int) -> dict[int, bytes]:
        """Find the rows that a stored entry has, decoding no more of it than their attributes."""
        cells = entry.cells
        item = {name: from_cell(cells[name]) for _, _, name in self._numbered if name in cells}
        return self._keys_after(item, rid_id, prefix_bytes)

    def _keys_after(self, item: Item, rid_id: bytes, prefix_bytes: int) -> dict[int, bytes]:
        keys = {}
        for number, shape, _ in self._numbered:
            key = local_key(shape, item, rid_id, prefix_bytes=prefix_bytes)
            if key is not None:
                keys[number] = key
        return keys

    def _bytes(self, rid_id: bytes, item: Item | None, keys: dict[int, bytes]) -> int:
        """Count an item, without its key in `item`, and its entries in the indexes."""
        if item is None:
            return 0
        key_bytes, rest_bytes = self._key_bytes(rid_id), item_bytes(item)
        size = key_bytes + rest_bytes
        for number, shape, _ in self._numbered:
            if number in keys:
                held = rest_bytes if shape.held is None else _held_bytes(item, shape.held)
                size += key_bytes + held + INDEX_ENTRY_OVERHEAD_BYTES
        return size

    def _key_bytes(self, rid_id: bytes) -> int:
        sort = self._sort
        sort_kind = None if sort is None else sort.kind
        _, first, second = decode_key(rid_id, self._partition.kind, sort_kind)
        size = len(self._partition.name.encode()) + _value_bytes(self._partition.kind, first)
        if sort is not None and second is not None:
            size += len(sort.name.encode()) + _value_bytes(sort.kind, second)
        return size

    def _grow(
        self, connection: apsw.Connection, prefix: bytes, more: int, *, is_bounded: bool
    ) -> int:
        """Count a partition's bytes anew. Returns: how many there are. Raises: Refused."""
        if not more:
            return collection_bytes(connection, prefix)
        rows: list[tuple[Any, ...]] = connection.execute(_GROW, (prefix, more)).fetchall()
        size = int(rows[0][0])
        if more < 0:
            connection.execute(_FORGET, (prefix,))
        elif is_bounded and size > ITEM_COLLECTION_BYTES_MAX:
            connection.execute(_GROW, (prefix, -more)).fetchall()
            raise Refused(RefusalKind.COLLECTION_FULL, "Collection size exceeded.")
        return size


def sizes(connection: apsw.Connection) -> dict[str, IndexSize]:
    """Tell how much each index has that the file keeps, by name; some microseconds."""
    rows: list[tuple[Any, ...]] = connection.execute(_SIZES, (KIND,)).fetchall()
    return {
        _decode(definition).name: IndexSize(entries, size_bytes)
        for definition, entries, size_bytes in rows
    }


def collection_bytes(connection: apsw.Connection, prefix: bytes) -> int:
    """Read what the entries of a partition key count; 0 if there are none, or nobody counts."""
    rows: list[tuple[Any, ...]] = connection.execute(_SIZE, (prefix,)).fetchall()
    return int(rows[0][0]) if rows else 0


def bring_up(connection: apsw.Connection, shapes: Sequence[IndexShape]) -> None:
    """Have a file keep a table's local indexes from now on, unless it does so already.

    A new file is empty. One that was written by a dStore that knew no indexes is read as a whole,
    some hundred entries a transaction; nothing else may write to it meanwhile. Where that was cut
    short it begins again.
    """
    if not shapes or connection.execute(_ARE_THERE, (KIND,)).fetchall():
        return
    numbered = list(enumerate(shapes, start=FIRST_ID))
    indexes = LocalIndexes(numbered)
    with connection:
        for number, _ in numbered:
            connection.execute("DELETE FROM derived WHERE DERIVATION = ?", (number,))
        connection.execute("DELETE FROM collection")
    after = b""
    while (last := _build_some(connection, indexes, after=after)) is not None:
        after = last
    with connection:
        for number, shape in numbered:
            connection.execute(_DEFINE, (number, KIND, _encode(shape).decode()))


def _change_row(
    connection: apsw.Connection, number: int, rid_id: bytes, *, was: bytes | None, now: bytes | None
) -> None:
    """Let an entry have another row in an index, or one more, or none any more; and count it."""
    entries = size_bytes = 0
    if was is not None:
        connection.execute(_DELETE, (number, was))
        entries, size_bytes = -1, -len(was) - len(rid_id)
    if now is not None:
        connection.execute(_PUT, (number, now, rid_id))
        entries, size_bytes = entries + 1, size_bytes + len(now) + len(rid_id)
    if entries or size_bytes:
        connection.execute(_COUNT, (number, entries, size_bytes))


def _build_some(
    connection: apsw.Connection, indexes: LocalIndexes, *, after: bytes
) -> bytes | None:
    """Make the rows of some entries. Returns: the last one's key; None: there are no more."""
    found = []
    with closing(scan_entries(connection, Span(low=after and after + _NEXT))) as entries:
        for rid_id, entry in entries:
            found.append((rid_id, entry))
            if len(found) == INDEX_BUILT_ENTRIES:
                break
    with connection:
        for rid_id, entry in found:
            indexes.change(connection, rid_id, before=None, after=entry.item, is_bounded=False)
    return found[-1][0] if found else None


def _held_bytes(item: Item, held: frozenset[str]) -> int:
    return item_bytes({name: attribute for name, attribute in item.items() if name in held})


def _value_bytes(kind: KeyKind, value: KeyValue) -> int:
    if isinstance(value, bytes):
        return len(value)
    return attribute_bytes({kind.value: value})
