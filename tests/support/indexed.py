"""Range files with local indexes: writes of their items, and what the indexes should hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.base.index_limits import INDEX_ENTRY_OVERHEAD_BYTES
from dstore.model.index_rows import IndexShape, IndexSize, added, entry_bytes, local_key
from dstore.model.keys import (
    KeyKind,
    decode_key,
    decode_partition,
    encode_key,
    partition_prefix,
)
from dstore.model.table_settings import KeyAttribute
from dstore.model.values import Item, item_bytes
from dstore.storage import local_indexes
from dstore.storage.entries import scan_entries
from dstore.storage.range_scan import Span
from dstore.storage.range_writer import Delete, Put, Write
from dstore.storage.requests import RequestName

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

_S, _N, _B = KeyKind.STRING, KeyKind.NUMBER, KeyKind.BINARY
_TABLE_KEYS: Final = (KeyAttribute(name="p", kind=_S), KeyAttribute(name="s", kind=_S))


def _shape(name: str, sort: KeyAttribute, held: frozenset[str] | None) -> IndexShape:
    return IndexShape(
        name=name,
        is_local=True,
        hash_keys=_TABLE_KEYS[:1],
        range_keys=(sort,),
        table_keys=_TABLE_KEYS,
        held=held,
    )


SHAPES: Final = (
    _shape("by-number", KeyAttribute(name="n", kind=_N), None),
    _shape("by-text", KeyAttribute(name="t", kind=_S), frozenset({"p", "s", "t", "v"})),
    _shape("by-bytes", KeyAttribute(name="b", kind=_B), frozenset({"p", "s", "b"})),
    _shape("by-sort", _TABLE_KEYS[1], frozenset({"p", "s"})),
)
"""Of a table by `p` and `s`: with all attributes, with some, with the keys, by the table's own."""


def rid(partition: str, sort: str) -> bytes:
    """Encode the key of an item."""
    return encode_key((_S, partition), (_S, sort))


def prefix(partition: str) -> bytes:
    """Encode what the keys of a partition's items begin with."""
    return partition_prefix((_S, partition))


def write(
    partition: str, sort: str, item: Item | None, *, request: RequestName | None = None
) -> Write:
    """Make a write that stores an item, without its key in it, or deletes it."""
    rid_id = rid(partition, sort)
    outcome = Delete() if item is None else Put(item)
    return Write(
        rid_id=rid_id,
        entry_hash=int.from_bytes(rid_id[:4], "big"),
        apply=lambda _previous: outcome,
        request=request,
    )


Kept = tuple[list[tuple[int, bytes, bytes]], dict[bytes, int]]
"""Index rows as (number, key, RID_ID), and the bytes of each partition."""


def kept(connection: apsw.Connection) -> Kept:
    """Read what a file has of its indexes."""
    rows: list[Any] = connection.execute(
        "SELECT DERIVATION, KEY, RID_ID FROM derived ORDER BY DERIVATION, KEY"
    ).fetchall()
    sizes: list[Any] = connection.execute("SELECT PREFIX, SIZE_BYTES FROM collection").fetchall()
    return rows, dict(sizes)


def recomputed(connection: apsw.Connection, shapes: Sequence[IndexShape] = SHAPES) -> Kept:
    """Work out from the entries what a file should have of indexes of a table by two texts."""
    rows = []
    sizes: dict[bytes, int] = {}
    names = [key.name for key in shapes[0].table_keys]
    for rid_id, entry in scan_entries(connection, Span()):
        end = decode_partition(rid_id, _S)[1]
        _, *key_values = decode_key(rid_id, _S, _S)
        key_item = {name: {"S": str(text)} for name, text in zip(names, key_values, strict=True)}
        item = {**key_item, **entry.item}
        size = item_bytes(item)
        for number, shape in enumerate(shapes, start=1):
            key = local_key(shape, item, rid_id, prefix_bytes=end)
            if key is not None:
                rows.append((number, key, rid_id))
                size += entry_bytes(shape, item) + INDEX_ENTRY_OVERHEAD_BYTES
        sizes[rid_id[:end]] = sizes.get(rid_id[:end], 0) + size
    return sorted(rows), sizes


def check_indexes(connection: apsw.Connection) -> None:
    """See that a file's indexes are what its entries make of them, and counted as they are."""
    assert recomputed(connection) == kept(connection)
    rows, _ = kept(connection)
    found = {each.name: IndexSize() for each in SHAPES}
    for number, key, rid_id in rows:
        name, size_bytes = SHAPES[number - 1].name, len(key) + len(rid_id)
        found[name] = added(({name: found[name]}, {name: IndexSize(1, size_bytes)}))[name]
    assert local_indexes.sizes(connection) == found
