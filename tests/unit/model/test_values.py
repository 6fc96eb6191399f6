"""Items by example: the words of the rows, the plain form, the size rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dstore.model.errors import Corrupt, Refused
from dstore.model.values import (
    Attribute,
    NumberText,
    attribute_bytes,
    cell_of_row,
    from_cell,
    from_plain,
    item_bytes,
    item_from_plain,
    row_of_cell,
    to_cell,
    to_plain,
)

ROWS: list[tuple[Attribute, str, str | None]] = [
    ({"S": "text"}, "String", "text"),
    ({"S": ""}, "String", ""),
    ({"S": "a\0b"}, "String", "a\0b"),
    ({"N": "12"}, "Integer", "12"),
    ({"N": "-12"}, "Integer", "-12"),
    ({"N": "-0"}, "Integer", "-0"),
    ({"N": "12.0"}, "Number", "12.0"),
    ({"N": "1E2"}, "Number", "1E2"),
    ({"N": "-0.5"}, "Number", "-0.5"),
    ({"B": "AAE="}, "Binary", "AAE="),
    ({"BOOL": True}, "Boolean", "true"),
    ({"BOOL": False}, "Boolean", "false"),
    ({"NULL": True}, "Null", None),
    ({"SS": ["a", "b"]}, "StringSet", '["a","b"]'),
    ({"NS": ["1", "2.50"]}, "NumberSet", '["1","2.50"]'),
    ({"BS": ["AA=="]}, "BinarySet", '["AA=="]'),
    ({"L": []}, "List", "[]"),
    ({"L": [{"N": "1"}, {"S": "é"}]}, "List", '[{"N":"1"},{"S":"é"}]'),
    ({"M": {"a": {"NULL": True}}}, "Map", '{"a":{"NULL":true}}'),
]


@pytest.mark.parametrize(("attribute", "data_type", "data"), ROWS)
def test_stored_form(attribute: Attribute, data_type: str, data: str | None) -> None:
    """The rows are a file format: a change here makes stored entries unreadable."""
    cell = to_cell(attribute)
    assert (data_type, data) == row_of_cell(cell)
    assert cell == cell_of_row(data_type, data)
    assert attribute == from_cell(cell)


@pytest.mark.parametrize(
    ("data_type", "data"),
    [
        *(("Strung", "x"), ("", ""), ("Strung", None), ("String", None), ("Integer", None)),
        *(("Null", "x"), ("Boolean", "yes"), ("Boolean", None), ("List", "[1"), ("Map", "")),
    ],
)
def test_impossible_rows(data_type: str, data: str | None) -> None:
    """A row that `to_cell` cannot have made is reported, never shown as some value."""
    with pytest.raises(Corrupt):
        from_cell(cell_of_row(data_type, data))


PLAIN: list[tuple[Any, Attribute]] = [
    ("5", {"S": "5"}),
    (NumberText("5"), {"N": "5"}),
    (True, {"BOOL": True}),
    (None, {"NULL": True}),
    ([], {"L": []}),
    ([NumberText("1"), "1"], {"L": [{"N": "1"}, {"S": "1"}]}),
    ({"a": {"b": False}}, {"M": {"a": {"M": {"b": {"BOOL": False}}}}}),
]


@pytest.mark.parametrize(("plain", "attribute"), PLAIN)
def test_from_plain(plain: object, attribute: Attribute) -> None:
    """Each JSON type has one wire type; a string of digits stays a string."""
    assert attribute == from_plain(plain)


@pytest.mark.parametrize(
    ("attribute", "encoded"),
    [
        ({"N": "1.50"}, b"1.50"),
        (
            {"N": "123456789012345678901234567890.12345678"},
            b"123456789012345678901234567890.12345678",
        ),
        ({"B": "AAE="}, b'"AAE="'),
        ({"NS": ["1E2", "-0"]}, b"[1E2,-0]"),
        ({"SS": ["a"]}, b'["a"]'),
        ({"NULL": True}, b"null"),
        ({"M": {"a": {"L": [{"BOOL": True}]}}}, b'{"a":[true]}'),
    ],
)
def test_to_plain(attribute: Attribute, encoded: bytes) -> None:
    """v1 shows numbers digit for digit, binaries as base64 and sets as arrays."""
    assert encoded == msgspec.json.encode(to_plain(attribute))


def nest(levels: int) -> Any:
    """Put `levels` lists into each other."""
    value: Any = "leaf"
    for _ in range(levels):
        value = [value]
    return value


def test_nesting_bound() -> None:
    """32 levels with the item itself as the first, whoever made the value."""
    item_from_plain({"a": nest(31)})
    with pytest.raises(Refused, match="32 levels"):
        item_from_plain({"a": nest(32)})


def test_attribute_names() -> None:
    """A name that DynamoDB could not hold is refused at both doors and at every depth."""
    item_from_plain({"n" * 65_535: "x"})
    for name in ("", "n" * 65_536, "é" * 32_768):
        with pytest.raises(Refused, match="attribute name"):
            item_from_plain({name: "x"})
        with pytest.raises(Refused, match="attribute name"):
            item_from_plain({"outer": [{name: "x"}]})


@pytest.mark.parametrize(
    ("attribute", "size"),
    [
        ({"S": ""}, 0),
        ({"S": "é東😀"}, 9),
        ({"N": "0"}, 1),
        ({"N": "-0.0"}, 1),
        ({"N": "1"}, 2),
        ({"N": "-1"}, 3),
        ({"N": "12"}, 2),
        ({"N": "123"}, 3),
        ({"N": "1200"}, 2),
        ({"N": "1.50"}, 3),
        ({"N": "3.14159"}, 5),
        ({"N": "123456"}, 4),
        ({"N": "100.5"}, 4),
        ({"N": "1010"}, 3),
        ({"N": "0.15"}, 2),
        ({"N": "0.0000001"}, 2),
        ({"N": "1E125"}, 2),
        ({"N": "1E-100"}, 2),
        ({"N": "-12.5e3"}, 4),
        ({"N": "9" * 38}, 20),
        ({"B": ""}, 0),
        ({"B": "AA=="}, 1),
        ({"B": "AAE="}, 2),
        ({"B": "AAEC"}, 3),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["ab", "c"]}, 3),
        ({"NS": ["1", "-1"]}, 5),
        ({"BS": ["AA==", "AAE="]}, 3),
        ({"L": []}, 3),
        ({"L": [{"S": "ab"}, {"NULL": True}]}, 8),
        ({"M": {}}, 3),
        ({"M": {"ab": {"S": "c"}}}, 7),
    ],
)
def test_size(attribute: Attribute, size: int) -> None:
    """DynamoDB guide, "Item sizes and formats": what counts against 400 KB and is billed.

    Numbers as measured, paritysuite/dynamodb-conformance, tests/tier3/limits/numberByteSize.
    """
    assert size == attribute_bytes(attribute)
    assert size + 3 == item_bytes({"né": attribute})
