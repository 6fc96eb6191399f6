"""Conditions and updates that are read again with other values: no check of them gets lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.expressions import (
    Condition,
    ExpressionError,
    Expressions,
    Update,
    sentence,
    sole_condition,
    sole_update,
)
from dstore.expressions.patterns import key_of
from dstore.model.values import Attribute

Names = dict[str, str]
Values = dict[str, Attribute]

TEXTS = (
    "a = :x",
    "#n > :x",
    "a BETWEEN :x AND :y",
    "a BETWEEN b AND :x",
    "a IN (:x, b, :y)",
    "NOT (a <> :x OR b < :y) AND attribute_exists(#n.#m)",
    "begins_with(a, :x)",
    "contains(a, :x) OR contains(a, :y)",
    "attribute_type(a, :x)",
    "size(a) > :x",
    "attribute_not_exists(a)",
    ":x = a",
    "a = a",
    "a = ",
)
UPDATES = (
    "SET a = :x",
    "SET #n = #n + :x, c = :y - :x",
    "SET a = if_not_exists(b, :x) + :y REMOVE #n.#m",
    "SET a = list_append(a, :x)",
    "SET a[1] = :x, a.b = :y",
    "ADD #n :x DELETE b :y",
    "REMOVE a, b[0]",
    "SET a = :x SET b = :y",
    "SET a = size(b)",
    "SET a",
)
NAMES: tuple[Names | None, ...] = (
    None,
    {},
    {"#n": "a"},
    {"#n": "size"},
    {"#n": "a", "#m": "b"},
    {"#n": "a", "#m": "b", "#o": "c"},
    {"n": "a"},
)
attributes = st.one_of(
    st.text("abS", max_size=2).map(lambda text: {"S": text}),
    st.integers(-9, 9).map(lambda number: {"N": str(number)}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    st.just({"B": "YQ=="}),
    st.just({"SS": ["a"]}),
    st.just({"L": [{"N": "1"}]}),
)
maps_of_values = st.none() | st.dictionaries(
    st.sampled_from((":x", ":y", ":z", "x")), attributes, max_size=3
)


def anew(text: str, names: Names | None, values: Values | None) -> Condition:
    expressions = Expressions(names, values)
    condition = expressions.condition(text)
    expressions.finish()
    return condition


def told(read: Any, *request: Any) -> object:
    """Tell what came of a reading: all of a condition, or the sentence about what is wrong."""
    try:
        condition: Condition = read(*request)
    except ExpressionError as error:
        return sentence(error)
    return condition.tree, condition.looks, condition.source


@given(st.sampled_from(TEXTS), st.sampled_from(NAMES), st.lists(maps_of_values, max_size=5))
def test_again_is_as_anew(text: str, names: Names | None, requests: list[Values | None]) -> None:
    """Whatever was read before, a condition comes out as if nothing had been, complaints too."""
    for values in requests:
        assert told(sole_condition, text, names, values) == told(anew, text, names, values)


def update_anew(text: str, names: Names | None, values: Values | None) -> Update:
    expressions = Expressions(names, values)
    update = expressions.update(text)
    expressions.finish()
    return update


def update_told(read: Any, *request: Any) -> object:
    """Tell what came of a reading: all of an update, or the sentence about what is wrong."""
    try:
        update: Update = read(*request)
    except ExpressionError as error:
        return sentence(error)
    return update.actions, update.looks, update.touched, update.source


@given(st.sampled_from(UPDATES), st.sampled_from(NAMES), st.lists(maps_of_values, max_size=5))
def test_an_update_again_is_as_anew(
    text: str, names: Names | None, requests: list[Values | None]
) -> None:
    """Whatever was read before, an update comes out as if nothing had been, complaints too."""
    for values in requests:
        again = update_told(sole_update, text, names, values)
        assert again == update_told(update_anew, text, names, values)


def test_an_update_writes_the_requests_own_values() -> None:
    """A pattern holds no value: each request's update adds its own."""
    for number in ("1", "2"):
        values = {":by": {"N": number}, ":to": {"S": number}}
        update = sole_update("SET #v = #v + :by, a = :to", {"#v": "version"}, values)
        after, touched = update.apply({"version": {"N": "40"}})
        assert after == {"version": {"N": str(40 + int(number))}, "a": {"S": number}}
        assert touched == (("version",), ("a",))


@pytest.mark.parametrize(
    ("text", "first", "second", "complaint"),
    [
        ("a BETWEEN :x AND :y", ("1", "2"), ("3", "2"), "BETWEEN"),
        ("attribute_type(a, :x) AND b = :y", ("S", "x"), ("Q", "x"), "type name"),
    ],
)
def test_values_that_are_looked_at(
    text: str, first: tuple[str, str], second: tuple[str, str], complaint: str
) -> None:
    """Where values themselves are checked, each request's are."""

    def values(pair: tuple[str, str]) -> Values:
        return dict(zip((":x", ":y"), ({"S": one} for one in pair), strict=True))

    sole_condition(text, None, values(first))
    with pytest.raises(ExpressionError) as raised:
        sole_condition(text, None, values(second))
    assert complaint in sentence(raised.value)


def test_values_are_the_requests_own() -> None:
    """A pattern holds no value: the condition of each request compares with its own."""
    names = {"#v": "version"}
    for number in ("1", "2"):
        condition = sole_condition("#v = :seen", names, {":seen": {"N": number}})
        assert condition.holds({"version": {"N": number}})
        assert not condition.holds({"version": {"N": "3"}})


def test_conditions_that_share_what_holds_no_value() -> None:
    """Only what is around a value is made anew."""
    text = "attribute_exists(a) AND b = :x"
    one, two = (sole_condition(text, None, {":x": {"N": n}}) for n in ("1", "2"))
    assert one.tree.conditions[0] is two.tree.conditions[0]  # type: ignore[union-attr]
    assert one.tree != two.tree


def test_what_is_too_much_is_not_kept() -> None:
    """Long values, and values within values, are read anew, since their size counts each time."""
    assert key_of("a = :x", None, {":x": {"S": "x" * 4_000}}) is not None
    assert key_of("a = :x", None, {":x": {"S": "x" * 4_096}}) is None
    assert key_of("a = :x", {"#n": "x" * 4_096}, None) is None
    assert key_of("a = :x", None, {":x": {"L": []}}) is None
