"""IDs as they stand in URLs: one ID has one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.model.errors import Refused
from dstore.model.keys import KeyKind, KeyValue
from dstore.model.table_settings import NO_SETTINGS
from dstore.model.tables import (
    Door,
    IdType,
    TableDefinition,
    TableId,
    format_id,
    id_type_of,
    index_keys,
    kind_of,
    parse_id,
    v1_key,
)


@pytest.mark.parametrize(
    ("id_type", "text", "key"),
    [
        (IdType.STRING, "a/b é", (KeyKind.STRING, "a/b é")),
        (IdType.STRING, "x" * 2_048, (KeyKind.STRING, "x" * 2_048)),
        (IdType.INTEGER, "0", (KeyKind.NUMBER, "0")),
        (IdType.INTEGER, "-1", (KeyKind.NUMBER, "-1")),
        (IdType.INTEGER, "9" * 38, (KeyKind.NUMBER, "9" * 38)),
        (IdType.BYTES, "AA", (KeyKind.BINARY, b"\0")),
        (IdType.BYTES, "-_8", (KeyKind.BINARY, b"\xfb\xff")),
        (IdType.BYTES, "AAEC", (KeyKind.BINARY, b"\0\1\2")),
    ],
)
def test_ids(id_type: IdType, text: str, key: tuple[KeyKind, KeyValue]) -> None:
    """A valid ID is read as its key, and spelled as it was."""
    assert parse_id(id_type, text) == key
    assert format_id(key) == text
    assert id_type_of(kind_of(id_type)) is id_type


@pytest.mark.parametrize(
    ("id_type", "text"),
    [
        *((IdType.STRING, text) for text in ("", "x" * 2_049, "é" * 1_025, "\ud800")),
        *(
            (IdType.INTEGER, text)
            for text in ("", "-0", "00", "01", "+1", "1.0", "1e2", " 1", "1\n")
        ),
        *(
            (IdType.INTEGER, text)
            for text in ("abc", "1\n", "-", "1" * 39, "\uff11", "\u0661", "1_0")
        ),
        *(
            (IdType.BYTES, text)
            for text in ("", "AA==", "A", "AB", "AAE=", "+/", "A A", "AA\n", "é")
        ),
        (IdType.BYTES, "é"),
        (IdType.BYTES, "A" * 2_732),  # 2,049 bytes
    ],
)
def test_refused_ids(id_type: IdType, text: str) -> None:
    """A second spelling, or no ID at all, is refused with a short sentence."""
    with pytest.raises(Refused) as caught:
        parse_id(id_type, text)
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(
    "text", ["0", "-1", "1.5", "-0.001", "1" + "0" * 50, "0." + "0" * 129 + "1", "9" * 38]
)
def test_numbers_are_ids_where_dynamodb_made_the_table(text: str) -> None:
    """Any number that a key can be has an ID: its plain spelling, as lists show it."""
    key = (KeyKind.NUMBER, text)
    assert parse_id(IdType.INTEGER, text, door=Door.DYNAMODB) == key
    assert format_id(key) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1E50", "write 1" + "0" * 50 + "."),
        ("1.50", "write 1.5."),
        ("+1", "write 1."),
        ("-0", "write 0."),
        (".5", "write 0.5."),
        ("007", "write 7."),
        ("", "is not a number"),
        ("1\n", "is not a number"),
        ("\uff11", "is not a number"),
        ("1" * 39, "significant digits"),
        ("1E200", "too large or too small"),
    ],
)
def test_other_spellings_of_numbers_are_refused(text: str, says: str) -> None:
    """One value has one ID, and the sentence says which."""
    with pytest.raises(Refused) as caught:
        parse_id(IdType.INTEGER, text, door=Door.DYNAMODB)
    assert says in caught.value.message


@given(st.binary(min_size=1, max_size=50))
def test_bytes_round_trip(raw: bytes) -> None:
    """Every binary has exactly one URL."""
    key: tuple[KeyKind, KeyValue] = (KeyKind.BINARY, raw)
    assert parse_id(IdType.BYTES, format_id(key)) == key


def test_definition() -> None:
    """A v1 table is a DynamoDB table whose HASH key is `_id`."""
    table = TableDefinition(
        tenant="t",
        name="abc",
        table_id=TableId("1"),
        partition=v1_key(IdType.BYTES),
        door=Door.V1,
        created_at_us=0,
    )
    assert (table.partition.name, table.partition.kind) == ("_id", KeyKind.BINARY)
    assert table.id_type is IdType.BYTES
    assert table.sort is None
    assert table.settings == NO_SETTINGS
    assert index_keys(table) == ()
