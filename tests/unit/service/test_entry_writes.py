"""v1's writes as pure functions of the entry before: what they keep of a table's indexes."""

from __future__ import annotations

from dataclasses import replace as with_
from typing import Any

import pytest

from dstore.model.errors import RefusalKind, Refused
from dstore.model.keys import KeyKind, encode_key
from dstore.model.ranges import RangeMap, RangeRef, Table
from dstore.model.table_settings import Index, ProjectionType, TableSettings
from dstore.model.tables import Door, KeyAttribute, TableDefinition, TableId
from dstore.model.values import Attribute, Item, NumberText, item_from_plain
from dstore.service.entry_writes import create, merge, replace
from dstore.service.items import EntryKey
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.storage.entries import Entry, cells_of
from dstore.storage.range_writer import Outcome, Put

INDEX = Index(
    name="by_color", hash_keys=("color",), range_keys=("size",), projection=ProjectionType.ALL
)
DEFINITION = TableDefinition(
    tenant="acme",
    name="table",
    table_id=TableId("1"),
    partition=KeyAttribute(name="id", kind=KeyKind.STRING),
    door=Door.DYNAMODB,
    created_at_us=0,
    settings=TableSettings(
        index_attributes=(
            KeyAttribute(name="color", kind=KeyKind.STRING),
            KeyAttribute(name="size", kind=KeyKind.NUMBER),
            KeyAttribute(name="raw", kind=KeyKind.BINARY),
            KeyAttribute(name="name", kind=KeyKind.STRING),
        ),
        global_indexes=(
            INDEX,
            with_(INDEX, name="by_raw", hash_keys=("raw",), range_keys=("name",)),
        ),
    ),
)
KEY = EntryKey(
    table=Table(definition=DEFINITION, ranges=RangeMap.of([RangeRef(range_id="r")])),
    key=(KeyKind.STRING, "x"),
    rid_id=encode_key((KeyKind.STRING, "x")),
)

OR_NONE = "or leave it out."
MISFITS = [
    ({"size": "5"}, f"by_color: give it a number, {OR_NONE}"),
    ({"color": NumberText("5")}, f"by_color: give it a string, {OR_NONE}"),
    ({"color": True}, f"by_color: give it a string, {OR_NONE}"),
    (
        {"raw": "AAE="},
        "by_raw: leave it out, or give it a binary through the DynamoDB API; JSON has none.",
    ),
    ({"color": ""}, f"by_color: give it a value that is not empty, {OR_NONE}"),
    ({"color": "x" * 2_049}, f"by_color: give it a value of at most 2048 bytes, {OR_NONE}"),
    ({"name": "x" * 1_025}, f"by_raw: give it a value of at most 1024 bytes, {OR_NONE}"),
]


def an_entry(**attributes: Attribute) -> Entry:
    return Entry(cells_of(attributes), "1")


def merged(patch: dict[str, Any], before: Item) -> Outcome:
    return merge(patch, key=KEY, preconditions=NO_PRECONDITIONS).apply(an_entry(**before))


@pytest.mark.parametrize(("entry", "sentence"), MISFITS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("write", [create, replace, merge])
def test_entries_fit_the_indexes(write: Any, entry: dict[str, Any], sentence: str) -> None:
    """What an index would be sorted by is a key, through this door as through DynamoDB's."""
    given = entry if write is merge else item_from_plain(entry)
    with pytest.raises(Refused) as refused:
        write(given, key=KEY, preconditions=NO_PRECONDITIONS).apply(an_entry())
    assert refused.value.kind is RefusalKind.INVALID
    [name] = entry
    assert refused.value.message == f"'{name}' is a key of the index {sentence}"


def test_keys_of_indexes() -> None:
    """Values of the right types are stored, and so is an entry without any."""
    for entry in ({"color": "x" * 2_048, "size": NumberText("1.5"), "name": "x" * 1_024}, {}):
        item = item_from_plain(entry)
        assert create(item, key=KEY, preconditions=NO_PRECONDITIONS).apply(None) == Put(item)


def test_a_merge_leaves_alone_what_it_does_not_name() -> None:
    """A binary stays one, and an entry from before the index is not refused for another change."""
    before: Item = {"raw": {"B": "AAE="}, "color": {"N": "1"}}
    assert merged({"a": "b"}, before) == Put({**before, "a": {"S": "b"}})
    assert merged({"color": None, "raw": None}, before) == Put({})
