"""Items: how a value looks on the wire, in plain JSON, and in a row; the only file that knows.

An item stays what the wire made it: a `dict` of attribute name → one-key map, exactly DynamoDB's
form, and no class per value, because these functions run once per attribute on the hot path:

    {"S": "text"}  {"N": "12.50"}  {"B": "<base64>"}  {"BOOL": true}  {"NULL": true}
    {"SS": ["a"]}  {"NS": ["1"]}   {"BS": ["<base64>"]}
    {"L": [<attribute>]}           {"M": {name: <attribute>}}

It is validated once, at the edge, and trusted below it. Numbers are text everywhere; `NumberText`
marks one only between the JSON decoder and `from_plain`, and never stands inside an item.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from dstore.base.limits import ATTRIBUTE_NAME_BYTES_MAX, NESTING_DEPTH_MAX
from dstore.model import numbers
from dstore.model.errors import Corrupt, Refused, invalid

Attribute = dict[str, Any]
"""One value in wire form: a map of one type tag to its content."""

Item = dict[str, Attribute]
"""A whole entry in wire form: attribute name → attribute."""

_CONTAINER_BYTES = 3  # DynamoDB's overhead of a list or map, empty or not
_ELEMENT_BYTES = 1  # and of each of its elements
_UTF8_BYTES_PER_CHAR_MAX = 4


class TypedText(msgspec.Struct, frozen=True, gc=False):
    """A stored attribute that is no String: its C_DATA_TYPE and C_DATA."""

    data_type: str
    data: str | None


Cell = str | TypedText
"""A stored attribute: a String is its text alone, which is what most are.

Entries are kept by the hundred thousand, so a cell is nothing that Python's cyclic collector looks
at, as it would at a tuple; and then it looks at no dictionary of cells either.
"""


class NumberText(str):
    """A JSON number with its spelling kept, checked by `model.numbers`."""

    __slots__ = ()


class DataType(StrEnum):
    """The words of C_DATA_TYPE: SPEC.md's String and Integer, and the rest of DynamoDB's types."""

    STRING = "String"
    INTEGER = "Integer"
    NUMBER = "Number"
    BINARY = "Binary"
    BOOLEAN = "Boolean"
    NULL = "Null"
    STRING_SET = "StringSet"
    NUMBER_SET = "NumberSet"
    BINARY_SET = "BinarySet"
    LIST = "List"
    MAP = "Map"


# Wire tag → word, for the types whose row is compact JSON; and back.
_JSON_WORDS = {
    "SS": DataType.STRING_SET.value,
    "NS": DataType.NUMBER_SET.value,
    "BS": DataType.BINARY_SET.value,
    "L": DataType.LIST.value,
    "M": DataType.MAP.value,
}
_JSON_TAGS = {word: tag for tag, word in _JSON_WORDS.items()}
_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


def to_cell(attribute: Attribute) -> Cell:
    """Turn an attribute into what is stored of it.

    A String is its raw text, an Integer or Number its text as it was spelled, a Binary its base64,
    a Boolean `true` or `false`, a Null no data; sets, lists and maps are the compact JSON of the
    wire form.
    """
    [(tag, value)] = attribute.items()
    if tag == "S":
        text: str = value
        return text
    if tag == "N":
        whole = value.isdecimal() or (value[:1] == "-" and value[1:].isdecimal())
        return TypedText("Integer" if whole else "Number", value)
    if tag == "BOOL":
        return TypedText("Boolean", "true" if value else "false")
    if tag == "NULL":
        return TypedText("Null", None)
    if tag == "B":
        return TypedText("Binary", value)
    return TypedText(_JSON_WORDS[tag], _encode_json(value).decode())


def cell_of_row(data_type: str, data: str | None) -> Cell:
    """Take C_DATA_TYPE and C_DATA as they were read; what they say is not looked at yet."""
    return data if data_type == "String" and data is not None else TypedText(data_type, data)


def row_of_cell(cell: Cell) -> tuple[str, str | None]:
    """Give C_DATA_TYPE and C_DATA of a cell."""
    return ("String", cell) if isinstance(cell, str) else (cell.data_type, cell.data)


def from_cell(cell: Cell) -> Attribute:
    """Put an attribute together from what is stored of it; the exact inverse of `to_cell`.

    Raises: Corrupt: the word is unknown, or the data is not what it says. (`file` is left empty
        for the caller, who knows it.)
    """
    if isinstance(cell, str):
        return {"S": cell}
    data_type, data = cell.data_type, cell.data
    if data is None:
        if data_type == "Null":
            return {"NULL": True}
        raise _not_a_row(data_type)
    if data_type in {"Integer", "Number"}:
        return {"N": data}
    if data_type == "Boolean" and data in {"true", "false"}:
        return {"BOOL": data == "true"}
    if data_type == "Binary":
        return {"B": data}
    tag = _JSON_TAGS.get(data_type)
    if tag is None:
        raise _not_a_row(data_type)
    try:
        return {tag: _decode_json(data)}
    except msgspec.DecodeError:
        raise _not_a_row(data_type) from None


def plain_from_cell(cell: Cell) -> object:
    """Turn a cell into what `msgspec.json.encode` writes as plain JSON; `to_plain(from_cell(…))`.

    Raises: Corrupt: as `from_cell`.
    """
    return cell if isinstance(cell, str) else to_plain(from_cell(cell))


def item_from_plain(plain: dict[str, Any]) -> Item:
    """Turn a decoded JSON object into an item.

    Args:
        plain: as `api.http.json_body.decode_object` gives it.
    Raises: Refused: an attribute name is empty or longer than 65,535 bytes, or the values are
        nested deeper than 32 levels (the object itself is level 1).
    """
    check_names(plain)
    return {name: from_plain(value) for name, value in plain.items()}


def from_plain(value: object, depth: int = 2) -> Attribute:
    """Turn a plain JSON value into an attribute.

    A string is S, a number N with its spelling kept, true and false BOOL, null NULL, an array L, an
    object M. (Plain JSON has no binaries and no sets.)

    Args:
        value: str, NumberText, bool, None, list or dict, as the strict decoder made it.
        depth: the level at which a list or map here stands; the item's object is level 1.
    Raises: Refused: nested too deeply, or an attribute name out of bounds.
    """
    # The class decides, not isinstance: a NumberText is a str, and this is the hot path.
    kind = type(value)
    if kind is str:
        return {"S": value}
    if kind is NumberText:
        return {"N": str(value)}
    if kind is bool:
        return {"BOOL": value}
    if value is None:
        return {"NULL": True}
    if depth > NESTING_DEPTH_MAX:
        raise _too_deep()
    if isinstance(value, dict):
        check_names(value)
        return {"M": {name: from_plain(element, depth + 1) for name, element in value.items()}}
    assert isinstance(value, list), kind
    return {"L": [from_plain(element, depth + 1) for element in value]}


def to_plain(attribute: Attribute) -> object:
    """Turn an attribute into what `msgspec.json.encode` writes as plain JSON.

    Numbers are written digit for digit as they are stored (their text is a JSON number: v1 stores
    what JSON spelled, and the DynamoDB door normalises); a binary is its base64 string, a set an
    array. That is one way: a base64 string does not come back as a binary.
    """
    [(tag, value)] = attribute.items()
    if tag in {"S", "BOOL", "B"}:
        return value
    if tag == "N":
        return msgspec.Raw(value)
    if tag == "NULL":
        return None
    if tag == "L":
        return [to_plain(element) for element in value]
    if tag == "M":
        return {name: to_plain(element) for name, element in value.items()}
    if tag == "NS":
        return [msgspec.Raw(number) for number in value]
    assert tag in {"SS", "BS"}, tag
    return value


def item_bytes(item: Item) -> int:
    """Count an item's size in bytes as DynamoDB does; callers hold it against ITEM_BYTES_MAX.

    Names and strings count their UTF-8, a binary its raw bytes, a boolean or null 1, a number 1 and
    half a byte per significant digit (rounded up, before and behind the point) and 1 if negative; a
    list or map 3 and 1 more per element; a set the sum of its elements.
    Sources: DynamoDB developer guide, "DynamoDB item sizes and formats"; of numbers, for which it
    has no exact rule, paritysuite/dynamodb-conformance, tests/tier3/limits/numberByteSize.test.ts.
    """
    size = 0
    for name, attribute in item.items():
        size += len(name) if name.isascii() else len(name.encode())
        size += attribute_bytes(attribute)
    return size


def attribute_bytes(attribute: Attribute) -> int:
    """Count one value's size in bytes as DynamoDB does, without its name."""
    [(tag, value)] = attribute.items()
    if tag == "S":
        return len(value) if value.isascii() else len(value.encode())
    if tag == "N":
        return _number_bytes(value)
    if tag in {"BOOL", "NULL"}:
        return 1
    if tag == "B":
        return _base64_bytes(value)
    if tag == "L":
        inner = sum(attribute_bytes(element) + _ELEMENT_BYTES for element in value)
        return _CONTAINER_BYTES + inner
    if tag == "M":
        return _CONTAINER_BYTES + item_bytes(value) + _ELEMENT_BYTES * len(value)
    size_of = {"SS": _text_bytes, "NS": _number_bytes, "BS": _base64_bytes}[tag]
    return sum(map(size_of, value))


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _number_bytes(text: str) -> int:
    """Count a number's bytes; without an exponent, the common case, it needs no parsing."""
    negative = text[:1] == "-"
    whole, _, fraction = (text[1:] if negative else text).partition(".")
    if not (whole + fraction).isdecimal():
        return _number_bytes(numbers.plain(text))
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if not fraction:
        whole = whole.rstrip("0")
    elif not whole:
        fraction = fraction.lstrip("0")
    if not whole and not fraction:
        return 1
    return 1 + (len(whole) + 1) // 2 + (len(fraction) + 1) // 2 + negative


def _base64_bytes(text: str) -> int:
    """Count the raw bytes that padded base64 stands for."""
    return len(text) // 4 * 3 - text.count("=", -2)


def check_names(named: dict[str, Any]) -> None:
    """Refuse attribute names that DynamoDB could not hold: both doors open on the same tables."""
    if "" in named:
        raise invalid("An attribute name is empty; give every attribute a name.")
    for name in named:
        if len(name) * _UTF8_BYTES_PER_CHAR_MAX > ATTRIBUTE_NAME_BYTES_MAX:
            name_bytes = _text_bytes(name)
            if name_bytes > ATTRIBUTE_NAME_BYTES_MAX:
                raise invalid(
                    f"An attribute name has {name_bytes} bytes; use at most "
                    f"{ATTRIBUTE_NAME_BYTES_MAX}."
                )


def _too_deep() -> Refused:
    return invalid(
        f"Lists and objects are nested deeper than {NESTING_DEPTH_MAX} levels; flatten the entry."
    )


def _not_a_row(data_type: str) -> Corrupt:
    return Corrupt("A stored row's data is not of its type.", file="", where=data_type[:20])
