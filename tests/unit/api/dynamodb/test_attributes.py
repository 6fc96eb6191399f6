"""Attribute values: DynamoDB's complaints, and its spelling of numbers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.api.dynamodb.attributes import check_attribute, check_item, number
from dstore.api.dynamodb.errors import AwsError
from dstore.base.limits import NUMBER_EXPONENT_MAX, NUMBER_EXPONENT_MIN
from dstore.model import numbers

_INVALID = "One or more parameter values were invalid: "
_NUMERIC = "The parameter cannot be converted to a numeric value"
_OVER = "Number overflow. Attempting to store a number with magnitude larger than supported range"
_UNDER = (
    "Number underflow. Attempting to store a number with magnitude smaller than supported range"
)
_DIGITS = "Attempting to store more than 38 significant digits in a Number"
_EMPTY = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
_SEVERAL = (
    "Supplied AttributeValue has more than one datatypes set, "
    "must contain exactly one of the supported datatypes"
)
_NESTED = (
    "Nesting Levels have exceeded supported limits: "
    "Attributes in the item have nested levels beyond supported limit"
)

# Source of all that are not marked: dynalite test/putItem.js and test/getItem.js.
_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, _EMPTY),
    ({"S": "a", "N": "1"}, _SEVERAL),
    ({"S": "", "N": ""}, _NUMERIC),  # the content is looked at before the count
    ({"S": "a", "N": "b"}, f"{_NUMERIC}: b"),
    ({"N": ""}, _NUMERIC),
    ({"N": "b"}, f"{_NUMERIC}: b"),
    ({"N": " 1"}, f"{_NUMERIC}:  1"),
    ({"N": "1 "}, f"{_NUMERIC}: 1 "),
    ({"N": "1e"}, f"{_NUMERIC}: 1e"),
    ({"N": "1e+"}, f"{_NUMERIC}: 1e+"),
    ({"N": "."}, f"{_NUMERIC}: ."),
    ({"N": "-"}, f"{_NUMERIC}: -"),
    ({"N": "1.2.3"}, f"{_NUMERIC}: 1.2.3"),
    ({"N": "0x10"}, f"{_NUMERIC}: 0x10"),
    ({"N": "NaN"}, f"{_NUMERIC}: NaN"),
    ({"N": "Infinity"}, f"{_NUMERIC}: Infinity"),
    ({"N": "1_000"}, f"{_NUMERIC}: 1_000"),
    ({"N": "１"}, f"{_NUMERIC}: １"),
    ({"N": "1\n"}, f"{_NUMERIC}: 1\n"),
    ({"N": "123456789012345678901234567890123456789"}, _DIGITS),
    ({"N": "-1.23456789012345678901234567890123456789"}, _DIGITS),
    ({"N": "1e126"}, _OVER),
    ({"N": "-1e126"}, _OVER),
    ({"N": "1e1000000000000000000000"}, f"{_NUMERIC}: 1e1000000000000000000000"),
    ({"N": "9" * 127}, _OVER),  # too large before it has too many digits
    ({"N": "1e-131"}, _UNDER),
    ({"N": "-1e-131"}, _UNDER),
    ({"N": "1e-99999999999999999999"}, f"{_NUMERIC}: 1e-99999999999999999999"),
    # Zero too: paritysuite/dynamodb-conformance, tests/tier3/limits/numberExponent.
    ({"N": "0e126"}, _OVER),
    ({"N": "0.00e-131"}, _UNDER),
    ({"NULL": False}, f"{_INVALID}Null attribute value types must have the value of true"),
    ({"SS": []}, f"{_INVALID}An string set  may not be empty"),
    ({"NS": []}, f"{_INVALID}An number set  may not be empty"),
    ({"BS": []}, f"{_INVALID}Binary sets should not be empty"),
    ({"SS": ["a", "a"]}, f"{_INVALID}Input collection [a, a] contains duplicates."),
    ({"SS": ["", ""]}, f"{_INVALID}Input collection [, ] contains duplicates."),
    (
        {"BS": ["Yg==", "Yg=="]},
        f"{_INVALID}Input collection [Yg==, Yg==]of type BS contains duplicates.",
    ),
    ({"NS": ["1", ""]}, _NUMERIC),
    ({"NS": ["1", "b"]}, f"{_NUMERIC}: b"),
    ({"NS": ["1", "1"]}, "Input collection contains duplicates"),
    ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
    ({"NS": ["0", "-0"]}, "Input collection contains duplicates"),
    ({"L": [{}]}, _EMPTY),
    ({"L": [{"S": "a"}, {"M": {"a": {"N": "x"}}}]}, f"{_NUMERIC}: x"),
    ({"M": {"a": {"S": "a", "N": "1"}}}, _SEVERAL),
]


@pytest.mark.parametrize(("value", "text"), _REFUSED)
def test_what_dynamodb_refuses_is_refused_in_its_words(value: dict[str, Any], text: str) -> None:
    """Each broken value has one sentence; the first broken attribute of an item speaks."""
    with pytest.raises(AwsError) as raised:
        check_item({"ok": {"S": "a"}, "bad": value, "worse": {}})
    assert (raised.value.name, raised.value.text) == ("ValidationException", text)


@pytest.mark.parametrize(
    "value",
    [
        {"S": ""},
        {"S": "a"},
        {"B": ""},
        {"B": "YWI="},
        {"BOOL": False},
        {"NULL": True},
        {"SS": ["", "a"]},
        {"NS": ["-3", "1", "2.5"]},
        {"BS": ["", "YWI="]},
        {"L": []},
        {"M": {}},
        {"L": [{"S": "a"}, {"N": "1"}, {"L": [{"M": {"a": {"NULL": True}}}]}]},
    ],
)
def test_right_values_pass_unchanged(value: dict[str, Any]) -> None:
    """All ten types, with empty strings, binaries, lists and maps.

    Source: developer guide, "Supported data types"; empty members of sets: paritysuite/
    dynamodb-conformance, tests/tier3/limits/emptyValues.
    """
    assert value == check_attribute(value)


@pytest.mark.parametrize(
    ("given_set", "ordered"),
    [
        ({"SS": ["b", "\U00010000", "\uffff", "", "B"]}, ["", "B", "b", "\uffff", "\U00010000"]),
        ({"NS": ["10", "9", "-1", "0.5", "1E-130", "-2.50"]},
         ["-2.5", "-1", "0." + "0" * 129 + "1", "0.5", "9", "10"]),
        ({"BS": ["/w==", "AAA=", "YQ==", "AA=="]}, ["AA==", "AAA=", "YQ==", "/w=="]),
    ],
)  # fmt: skip
def test_sets_leave_in_order(given_set: dict[str, list[str]], ordered: list[str]) -> None:
    """Strings and binaries by their bytes, numbers by value; inside lists and maps too.

    Source: nubo-db/dynamodb-conformance.
    """
    [tag] = given_set
    assert check_attribute(given_set) == {tag: ordered}
    assert check_attribute({"L": [{"M": {"a": given_set}}]}) == {
        "L": [{"M": {"a": {tag: ordered}}}]
    }


# Source: dynalite test/putItem.js; paritysuite/dynamodb-conformance tests/tier3/limits/
# numberPrecision ("00042" → "42", "-0" → "0", "1.0" → "1", "1.5E2" → "150").
_SPELLINGS = {
    "00042": "42",
    "-0": "0",
    "0": "0",
    "0e0": "0",
    "0E+125": "0",
    "1e00": "1",
    "1E0": "1",
    "+1": "1",
    "1.0": "1",
    "3.1400": "3.14",
    "1.5E2": "150",
    "1e2": "100",
    ".5": "0.5",
    "5.": "5",
    "-0.50": "-0.5",
    "-1.50e-3": "-0.0015",
    "12345678901234567890123456789012345678": "12345678901234567890123456789012345678",
    "9.9999999999999999999999999999999999999E+125": "9" * 38 + "0" * 88,
    "1e-130": "0." + "0" * 129 + "1",
    "0" * 100_000 + "7": "7",
    "7." + "0" * 100_000: "7",
    "1e" + "0" * 100_000 + "2": "100",
    "0." + "0" * 100_000 + "1e100000": "0.1",
}


@pytest.mark.parametrize(
    ("given_text", "text"), _SPELLINGS.items(), ids=[text[:20] for text in _SPELLINGS]
)
def test_numbers_leave_as_dynamodb_spells_them(given_text: str, text: str) -> None:
    """No exponent, no zeros around, and as many zeros as anybody cares to send."""
    assert {"N": text} == check_attribute({"N": given_text})
    assert {"NS": [text]} == check_attribute({"NS": [given_text]})


@given(st.from_regex(r"\A[+-]?(0{0,3}[0-9]{0,25}(\.[0-9]{0,25}0{0,3})?)([eE][+-]?[0-9]{1,3})?\Z"))
def test_numbers_agree_with_the_model(text: str) -> None:
    """Whatever the model of numbers takes leaves as it spells it; what it refuses is refused.

    Zero alone is held to bounds that the model does not have, by the exponent it is written with.
    """
    power = int(text.lower().partition("e")[2] or 0)
    try:
        expected = numbers.plain(text)
    except Exception:  # noqa: BLE001 - any refusal
        expected = None
    if expected is None or (
        expected == "0" and not NUMBER_EXPONENT_MIN <= power <= NUMBER_EXPONENT_MAX
    ):
        with pytest.raises(AwsError):
            check_attribute({"N": text})
    else:
        assert {"N": expected} == check_attribute({"N": text})
        assert expected == number(text)


def test_numbers_of_a_megabyte_are_read_in_no_time() -> None:
    """Digits are counted, and not computed with, before they are bounded."""
    began = time.monotonic()
    for text in ("9" * 1_000_000, "1e" + "9" * 1_000_000, "0." + "1" * 1_000_000, "-" * 1_000_000):
        with pytest.raises(AwsError):
            number(text)
    assert time.monotonic() - began < 1


def _nested(levels: int, tag: str) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(levels - 1):
        value = {"M": {"n": value}} if tag == "M" else {"L": [value]}
    return value


@pytest.mark.parametrize("tag", ["M", "L"])
def test_values_nest_to_32_levels(tag: str) -> None:
    """The attribute itself is level 1; a leaf at level 32 is the deepest.

    Source: paritysuite/dynamodb-conformance, tests/tier1/putItem/nestingDepth (June 2026).
    """
    assert check_attribute(_nested(32, tag)) == _nested(32, tag)
    for levels in (33, 34, 150):
        with pytest.raises(AwsError) as raised:
            check_attribute(_nested(levels, tag))
        assert raised.value.text == _NESTED


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", f"{_INVALID}Empty attribute name"),
        ("a" * 65_536, f"{_INVALID}Attribute name is too large, must be less than 65536 bytes"),
        ("é" * 32_768, f"{_INVALID}Attribute name is too large, must be less than 65536 bytes"),
    ],
)
def test_names_have_bounds_in_bytes(name: str, text: str) -> None:
    """A name has 1 to 65,535 bytes of UTF-8, at any level. Source: DynamoDB local's error codes."""
    for item in ({name: {"S": "a"}}, {"a": {"M": {name: {"S": "a"}}}}):
        with pytest.raises(AwsError) as raised:
            check_item(item)
        assert raised.value.text == text
    assert check_item({"a" * 65_535: {"S": ""}})


def test_what_is_given_is_not_changed() -> None:
    """Normalising makes a new item: the request's own members may be read again."""
    item = {"a": {"N": "1.0"}, "b": {"L": [{"N": "01"}]}}
    assert check_item(item) == {"a": {"N": "1"}, "b": {"L": [{"N": "1"}]}}
    assert item == {"a": {"N": "1.0"}, "b": {"L": [{"N": "01"}]}}
