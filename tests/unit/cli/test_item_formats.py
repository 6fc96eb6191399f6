"""Items in plain JSON and in DynamoDB's: nothing is lost in either."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.cli.failures import Failure
from dstore.cli.item_formats import read_attributes, read_items, spelled
from dstore.cli.item_options import Format

TEXTS = st.text(max_size=5, alphabet=st.characters(exclude_categories=["Cs"]))
NAMES = st.one_of(
    TEXTS.filter(bool),
    st.sampled_from(["$binary", "$map", "$stringSet", "$numberSet", "$binarySet", "S", "N"]),
)
NUMBERS = st.one_of(
    st.integers(-(10**37), 10**37).map(str),
    st.sampled_from(["0.1", "-12.50", "1E-130", "1e+5", "12345678901234567890.0123456789"]),
)
BINARIES = st.binary(max_size=4).map(lambda data: b64encode(data).decode())
ATTRIBUTES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.builds(lambda v: {"S": v}, TEXTS),
        st.builds(lambda v: {"N": v}, NUMBERS),
        st.builds(lambda v: {"B": v}, BINARIES),
        st.builds(lambda v: {"BOOL": v}, st.booleans()),
        st.just({"NULL": True}),
        st.builds(lambda v: {"SS": v}, st.lists(TEXTS, min_size=1, max_size=3)),
        st.builds(lambda v: {"NS": v}, st.lists(NUMBERS, min_size=1, max_size=3)),
        st.builds(lambda v: {"BS": v}, st.lists(BINARIES, min_size=1, max_size=3)),
    ),
    lambda inner: st.one_of(
        st.builds(lambda v: {"L": v}, st.lists(inner, max_size=3)),
        st.builds(lambda v: {"M": v}, st.dictionaries(NAMES, inner, max_size=2)),
    ),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, ATTRIBUTES, max_size=3), st.sampled_from(Format))
def test_what_is_printed_is_read_again(item: dict[str, Any], form: Format) -> None:
    """A scan is a copy: every type, every digit, and names that look like ours."""
    line = spelled(item, form)
    assert b"\n" not in line
    assert read_attributes(line, form, what="item") == item


def test_plain_is_what_people_write() -> None:
    """The ordinary types need no marks, and what JSON lacks is recognised."""
    item: Any = {
        "s": {"S": "é"},
        "n": {"N": "12345678901234567890123456789012345678"},
        "b": {"B": "YQ=="},
        "ns": {"NS": ["1", "2.50"]},
        "m": {"M": {"$binary": {"S": "mine"}}},
    }
    assert spelled(item, Format.PLAIN).decode() == (
        '{"s":"é","n":12345678901234567890123456789012345678,"b":{"$binary":"YQ=="},'
        '"ns":{"$numberSet":[1,2.50]},"m":{"$map":{"$binary":"mine"}}}'
    )


def test_number_that_json_lacks_is_spelled_as_its_value() -> None:
    """Another server's answer must not make a file that no JSON reader takes."""
    assert spelled({"n": {"N": "+.5"}}, Format.PLAIN) == b'{"n":0.5}'


def test_nesting_is_for_the_server_to_judge() -> None:
    """A mark takes levels of its own; 32 levels with a binary at the bottom are no mistake."""
    item: Any = {"B": "YQ=="}
    for _ in range(31):
        item = {"L": [item]}
    for form in Format:
        line = spelled({"a": item}, form)
        assert read_attributes(line, form, what="item") == {"a": item}


@pytest.mark.parametrize(
    "value",
    [
        '{"$binary": 1}',
        '{"$binary": null}',
        '{"$stringSet": [1]}',
        '{"$stringSet": "a"}',
        '{"$numberSet": ["1"]}',
        '{"$binarySet": [{"$binary": "YQ=="}]}',
        '{"$map": []}',
    ],
)
def test_mark_with_something_else_is_refused(value: str) -> None:
    """Stored as a map it would come back as something that nobody meant."""
    with pytest.raises(Failure, match="that is none: write"):
        read_attributes(f'{{"a": {value}}}', Format.PLAIN, what="item at line 3")


@pytest.mark.parametrize("text", ["", "[]", "1", '{"a": NaN}', '{"a":1,"a":2}', '{"a":"\\ud800"}'])
def test_what_is_no_object_is_refused(text: str) -> None:
    """By the decoder that the server has; the sentence says of what."""
    with pytest.raises(Failure, match="item at line 3"):
        read_attributes(text, Format.PLAIN, what="item at line 3")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('{"Item": {"a": {"S": "x"}}}', [{"a": {"S": "x"}}]),
        ('{"Item": {"S": {"S": "x"}}}', [{"S": {"S": "x"}}]),
        ('{"Item": {"S": "x"}}', [{"Item": {"S": "x"}}]),
        ('{"Item": {"N": "1"}, "b": {"S": "y"}}', [{"Item": {"N": "1"}, "b": {"S": "y"}}]),
        ('{"Items": [{"a": {"S": "x"}}, {}], "Count": 2}', [{"a": {"S": "x"}}, {}]),
        ('{"Items": {"L": []}}', [{"Items": {"L": []}}]),
        ('{"a": {"S": "x"}}', [{"a": {"S": "x"}}]),
    ],
)
def test_what_aws_tools_write_is_unwrapped(text: str, items: list[Any]) -> None:
    """An export's line and a scan's answer can't be mistaken for an item, nor the other way."""
    assert read_items(text.encode(), Format.DYNAMODB, what="item") == items


def test_plain_items_are_never_unwrapped() -> None:
    """In plain JSON anything may be an item."""
    [item] = read_items(b'{"Item": {"S": "x"}}', Format.PLAIN, what="item")
    assert item == {"Item": {"M": {"S": {"S": "x"}}}}


def test_wrong_types_travel_as_they_stand() -> None:
    """The server names the mistake; a number here must not become a string on the way."""
    import msgspec

    item = read_attributes('{"a": {"N": 1.50}}', Format.DYNAMODB, what="item")
    assert msgspec.json.encode(item) == b'{"a":{"N":1.50}}'
    assert json.loads(msgspec.json.encode(item)) == {"a": {"N": 1.5}}
