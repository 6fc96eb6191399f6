"""What records make of an index's rows: applied one after another they are the index."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import msgspec

from dstore.model.index_of import IndexOf
from dstore.model.keys import KeyKind, encode_key
from dstore.model.table_settings import KeyAttribute, ProjectionType
from dstore.model.tables import Door, TableDefinition, TableId
from dstore.service import index_changes
from dstore.storage import range_log
from dstore.storage.entries import Entry, cells_of
from dstore.storage.log_records import LogRecord, RecordKind

BASE = TableDefinition(
    tenant="acme",
    name="orders",
    table_id=TableId("base"),
    partition=KeyAttribute(name="id", kind=KeyKind.STRING),
    sort=KeyAttribute(name="day", kind=KeyKind.NUMBER),
    door=Door.DYNAMODB,
    created_at_us=0,
)
INDEX = IndexOf(
    table_id="base",
    table="orders",
    name="by-state",
    hash_keys=(KeyAttribute(name="state", kind=KeyKind.STRING),),
    range_keys=(KeyAttribute(name="day", kind=KeyKind.NUMBER),),
    table_keys=BASE.keys,
    projection=ProjectionType.INCLUDE,
    included=("who",),
)
SHAPE = index_changes.shape_of(INDEX)


def _record(seq: int, rid_id: bytes, old: Any, new: Any) -> LogRecord:
    names = index_changes.wanted_names(INDEX)
    wanted = {name: old[name] for name in names if name in old} if old else {}
    return LogRecord(
        epoch=1,
        seq=seq,
        time_us=0,
        kind=RecordKind.DELETE if new is None else RecordKind.PUT,
        rid_id=rid_id,
        image=None if new is None else range_log.image_of(new),
        request=None,
        digest=b"d" * 32,
        old=range_log.image_of(wanted),
    )


def _rows_of(items: dict[bytes, Any]) -> dict[bytes, Any]:
    entries = [(rid_id, Entry(cells_of(item), "v")) for rid_id, item in items.items()]
    made = index_changes.rows_of_entries(entries, SHAPE, BASE, position=(1, 1))
    return {row.rid_id: _item(row.image) for row in made}


def _item(image: bytes | None) -> Any:
    assert image is not None
    return range_log.item_of(image, file="")


def test_only_what_tells_an_old_row_is_wanted() -> None:
    """An index asks records for its own key attributes; the item's key is in every record."""
    assert index_changes.wanted_names(INDEX) == ("state",)


def test_records_lead_where_the_entries_are() -> None:
    """However windows are cut, rows of records are those of what the table has at the end."""
    random = Random(7)
    for _ in range(40):
        items: dict[bytes, Any] = {}
        rows: dict[bytes, Any] = {}
        window: list[LogRecord] = []
        for seq in range(1, 60):
            key = (
                (KeyKind.STRING, f"o{random.randrange(4)}"),
                (KeyKind.NUMBER, str(random.randrange(2))),
            )
            rid_id = encode_key(*key)
            old, new = items.get(rid_id), None
            if random.random() < 0.8:
                new = {"who": {"S": str(seq)}, "left_out": {"S": "x"}}
                if random.random() < 0.8:
                    new["state"] = {"S": random.choice("abc")}
                if random.random() < 0.1:
                    new["state"] = {"N": "1"}  # of another type: not in the index
                items[rid_id] = new
            else:
                items.pop(rid_id, None)
            if old is None and new is None:
                continue
            window.append(_record(seq, rid_id, old, new))
            if random.random() < 0.2:
                _take(rows, window)
        _take(rows, window)
        assert rows == _rows_of(items)


def test_a_row_that_stays_is_not_deleted() -> None:
    """Keys that are equal make one row, also if a number is spelled otherwise than before."""
    by_count = replace(INDEX, range_keys=(KeyAttribute(name="count", kind=KeyKind.NUMBER),))
    rid_id = encode_key((KeyKind.STRING, "o"), (KeyKind.NUMBER, "2"))
    for before, after, kept in (("1", "1", True), ("1.0", "1", True), ("1", "2", False)):
        old, new = ({"state": {"S": "a"}, "count": {"N": text}} for text in (before, after))
        record = msgspec.structs.replace(_record(1, rid_id, old, new), old=range_log.image_of(old))
        rows = index_changes.rows_of_records([record], index_changes.shape_of(by_count), BASE)
        assert [row.image is not None for row in rows] == ([True] if kept else [False, True])


def _take(rows: dict[bytes, Any], window: list[LogRecord]) -> None:
    for row in index_changes.rows_of_records(window, SHAPE, BASE):
        rows.pop(row.rid_id, None)
        if row.image is not None:
            rows[row.rid_id] = _item(row.image)
    window.clear()


def test_a_row_has_what_is_projected_and_all_keys() -> None:
    """An entry of an index stands for itself: keys of table and index, and what is included."""
    rid_id = encode_key((KeyKind.STRING, "o"), (KeyKind.NUMBER, "2"))
    item = {"state": {"S": "new"}, "who": {"S": "me"}, "left_out": {"S": "x"}}
    assert list(_rows_of({rid_id: item}).values()) == [
        {
            "state": {"S": "new"},
            "who": {"S": "me"},
            "id": {"S": "o"},
            "day": {"N": "2"},
        }
    ]
