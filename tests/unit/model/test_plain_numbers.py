"""Stored numbers come out in DynamoDB's one spelling, wherever they stand."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.model import numbers
from dstore.model.plain_numbers import plain_answer, plain_attribute
from dstore.model.values import Attribute, from_cell, to_cell

SPELLINGS = {
    "0": "0",
    "-0": "0",
    "0.0": "0",
    "1.50": "1.5",
    "-1.50": "-1.5",
    "1E2": "100",
    "1e-2": "0.01",
    "100": "100",
    "0.5": "0.5",
    "12.5": "12.5",
    "-7": "-7",
}

texts = st.text(max_size=6) | st.sampled_from(['"N":"1.50"', 'x"N', "N", '"N":"', "\\"])
attributes = st.recursive(
    st.sampled_from(list(SPELLINGS)).map(lambda text: {"N": text})
    | texts.map(lambda text: {"S": text})
    | st.just({"NULL": True}),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda elements: {"L": elements})
        | st.dictionaries(texts, inner, max_size=3).map(lambda members: {"M": members})
    ),
    max_leaves=8,
)


def spelled_plainly(attribute: Attribute) -> Attribute:
    """Say what is expected, one value after the other."""
    [(tag, content)] = attribute.items()
    if tag == "N":
        return {"N": numbers.plain(content)}
    if tag == "L":
        return {"L": [spelled_plainly(element) for element in content]}
    if tag == "M":
        return {"M": {name: spelled_plainly(element) for name, element in content.items()}}
    return attribute


@pytest.mark.parametrize(("spelling", "plain"), SPELLINGS.items())
def test_spellings(spelling: str, plain: str) -> None:
    """Every spelling that v1 may store has one plain form, alone and inside."""
    assert plain_attribute(to_cell({"N": spelling})) == {"N": plain}
    nested = {"M": {"a": {"L": [{"N": spelling}]}}}
    assert plain_attribute(to_cell(nested)) == {"M": {"a": {"L": [{"N": plain}]}}}


@given(attributes)
def test_every_attribute(attribute: Attribute) -> None:
    """Neither text that looks like a number nor a member named N deceives the search for them."""
    cell = to_cell(attribute)
    expected = spelled_plainly(attribute)
    assert expected == plain_attribute(cell)
    assert expected == msgspec.json.decode(msgspec.json.encode(plain_answer(cell)))


def test_nothing_to_do() -> None:
    """A list whose numbers are plain is answered as it is stored, without being decoded."""
    cell = to_cell({"L": [{"N": "1.5"}]})
    answer = plain_answer(cell)["L"]
    assert isinstance(answer, msgspec.Raw)
    assert from_cell(cell) == plain_attribute(cell)
