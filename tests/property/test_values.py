"""An item is the same thing on the wire, in rows and, as far as plain JSON can say it, in v1."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.api.http.json_body import decode_object
from dstore.model.values import (
    Attribute,
    DataType,
    NumberText,
    cell_of_row,
    from_cell,
    from_plain,
    item_bytes,
    item_from_plain,
    row_of_cell,
    to_cell,
    to_plain,
)

number_texts = st.one_of(
    st.integers(-(10**37), 10**37).map(str),
    st.sampled_from(["0", "-0", "1.50", "1E2", "1e-7", "0.000", "1E-130", "9.99e+125", "-12.5"]),
)
base64_texts = st.binary(max_size=12).map(lambda raw: base64.b64encode(raw).decode())
texts = st.text(max_size=12)
names = st.text(min_size=1, max_size=6)


def tagged(tag: str, contents: st.SearchStrategy[Any]) -> st.SearchStrategy[Attribute]:
    """Draw attributes of one wire tag."""
    return contents.map(lambda value: {tag: value})


plain_scalars = (
    tagged("S", texts)
    | tagged("N", number_texts)
    | tagged("BOOL", st.booleans())
    | tagged("NULL", st.just(True))
)
wire_scalars = (
    plain_scalars
    | tagged("B", base64_texts)
    | tagged("SS", st.lists(texts, min_size=1, max_size=3, unique=True))
    | tagged("NS", st.lists(number_texts, min_size=1, max_size=3, unique=True))
    | tagged("BS", st.lists(base64_texts, min_size=1, max_size=3, unique=True))
)


def nested(scalars: st.SearchStrategy[Attribute]) -> st.SearchStrategy[Attribute]:
    """Draw attributes with lists and maps of them."""
    return st.recursive(
        scalars,
        lambda inner: (
            tagged("L", st.lists(inner, max_size=3))
            | tagged("M", st.dictionaries(names, inner, max_size=3))
        ),
        max_leaves=8,
    )


@given(nested(wire_scalars))
@settings(max_examples=200)
def test_row_round_trip(attribute: Attribute) -> None:
    """What is stored is what was sent, to the digit; SQLite gets plain strings only."""
    data_type, data = row_of_cell(to_cell(attribute))
    assert data_type in set(DataType)
    assert {type(data_type), type(data)} <= {str, type(None)}
    assert attribute == from_cell(cell_of_row(data_type, data))


@given(st.dictionaries(names, nested(plain_scalars), max_size=4))
@settings(max_examples=200)
def test_plain_round_trip(item: dict[str, Attribute]) -> None:
    """An entry that v1 answers and a client sends back unchanged is the same item."""
    body = msgspec.json.encode({name: to_plain(each) for name, each in item.items()})
    assert item == item_from_plain(decode_object(body, what="entry"))


@given(number_texts)
def test_digit_for_digit(text: str) -> None:
    """A number keeps its spelling from the request through the row to the answer."""
    attribute = from_plain(NumberText(text))
    stored = from_cell(to_cell(attribute))
    assert text.encode() == msgspec.json.encode(to_plain(stored))
    assert type(attribute["N"]) is str


@given(nested(wire_scalars))
def test_plain_is_json(attribute: Attribute) -> None:
    """Every item can be shown as plain JSON, binaries and sets included."""
    json.loads(msgspec.json.encode(to_plain(attribute)))


@given(nested(wire_scalars), names)
def test_size_grows(attribute: Attribute, name: str) -> None:
    """An item is larger than its parts, so that no nesting slips under the limit."""
    alone = item_bytes({name: attribute})
    assert alone >= len(name.encode())
    assert item_bytes({name: {"L": [attribute]}}) == alone + 4
    assert item_bytes({name: {"M": {"xy": attribute}}}) == alone + 6
