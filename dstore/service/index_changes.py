"""What records of a table's log, and its entries, make of the rows of one of its global indexes.

Pure. A row's key has the item's key in it, so no two items ever make one row, and what becomes of
a row follows from the records of one item, in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.index_rows import IndexShape, global_key, projected
from dstore.model.table_settings import ProjectionType
from dstore.service.items import key_attributes
from dstore.storage import range_log
from dstore.storage.feeding import FedRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dstore.model.index_of import IndexOf
    from dstore.model.tables import TableDefinition
    from dstore.model.values import Item
    from dstore.storage.entries import Entry
    from dstore.storage.log_records import LogRecord


def shape_of(index: IndexOf) -> IndexShape:
    """Give the shape of an index as its hidden table declares it."""
    held: frozenset[str] | None = None
    if index.projection is not ProjectionType.ALL:
        keys = (*index.hash_keys, *index.range_keys, *index.table_keys)
        included = index.included if index.projection is ProjectionType.INCLUDE else ()
        held = frozenset((*(each.name for each in keys), *included))
    return IndexShape(
        name=index.name,
        is_local=False,
        hash_keys=index.hash_keys,
        range_keys=index.range_keys,
        table_keys=index.table_keys,
        held=held,
    )


def wanted_names(index: IndexOf) -> tuple[str, ...]:
    """List the attributes of an older item that tell where its row was; the item's key is known."""
    known = {each.name for each in index.table_keys}
    names = {each.name for each in (*index.hash_keys, *index.range_keys)}
    return tuple(sorted(names - known))


def rows_of_records(
    records: Iterable[LogRecord], shape: IndexShape, base: TableDefinition
) -> tuple[FedRow, ...]:
    """Give what records of `base`'s log change, the last of what they make of each row, in order.

    Raises: Corrupt: a record is none of this table.
    """
    rows: dict[bytes, FedRow] = {}
    for record in records:
        for row in _rows_of(record, shape, base):
            rows.pop(row.rid_id, None)
            rows[row.rid_id] = row
    return tuple(rows.values())


def _rows_of(record: LogRecord, shape: IndexShape, base: TableDefinition) -> Iterator[FedRow]:
    rid_id = record.rid_id
    key = key_attributes(base, rid_id)
    old, new = _whole(record.old, key), _whole(record.image, key)
    after = None if new is None else global_key(shape, new, rid_id)
    if old is None:
        before = None
    elif new is not None and all(old.get(each.name) == new.get(each.name) for each in shape.keys):
        before = after
    else:
        before = global_key(shape, old, rid_id)
    if before is not None and before != after:
        yield FedRow(record.epoch, record.seq, before, None)
    if after is not None and new is not None:
        yield FedRow(record.epoch, record.seq, after, range_log.image_of(projected(shape, new)))


def rows_of_entries(
    entries: Iterable[tuple[bytes, Entry]],
    shape: IndexShape,
    base: TableDefinition,
    *,
    position: tuple[int, int],
) -> tuple[FedRow, ...]:
    """Give the rows of entries read behind a record, of epoch and seq. Raises: Corrupt."""
    rows: list[FedRow] = []
    for rid_id, entry in entries:
        item = {**entry.item, **key_attributes(base, rid_id)}
        key = global_key(shape, item, rid_id)
        if key is not None:
            rows.append(FedRow(*position, key, range_log.image_of(projected(shape, item))))
    return tuple(rows)


def _whole(image: bytes | None, key: Item) -> Item | None:
    return None if image is None else {**range_log.item_of(image, file=""), **key}
