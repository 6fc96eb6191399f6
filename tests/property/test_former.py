"""What a former parameter asks for is what an expression that says the same asks for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.expressions import (
    Complaint,
    ExpressionError,
    Expressions,
    FormerTerm,
    Update,
    former,
)
from dstore.model.hashing import KeyKind
from dstore.model.tables import KeyAttribute
from dstore.model.values import Attribute, Item
from tests.property.test_expressions import ATTRIBUTE_NAMES, items, shaped_items
from tests.support.former_terms import (
    Spelling,
    binaries,
    changes,
    comparisons,
    numbers,
    of_attributes,
    strings,
)

stored = st.none() | items | shaped_items
KEY = {"key": {"S": "k"}}
KINDS = {KeyKind.STRING: strings, KeyKind.NUMBER: numbers, KeyKind.BINARY: binaries}
ORDERS = ["EQ", "LT", "LE", "GT", "GE", "BETWEEN", "BEGINS_WITH"]
COMPARATORS = {"EQ": "=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}


@given(of_attributes(comparisons()), st.booleans(), stored)
@settings(max_examples=500, deadline=None)
def test_conditions(terms: list[FormerTerm], is_any: bool, item: Item | None) -> None:
    """Expected and filters hold exactly when their expression does."""
    spelling = Spelling()
    text = spelling.condition(terms, is_any=is_any)
    expression = Expressions(spelling.names, spelling.values or None).condition(text)
    condition = former.condition_of(terms, is_any=is_any)
    assert condition.holds(item) == expression.holds(item)
    assert condition.looks == expression.looks


def outcome(update: Update, item: Item | None) -> object:
    """Apply an update; give what it makes, or its complaint."""
    try:
        made, touched = update.apply(item, key=KEY)
    except ExpressionError as error:
        return error.complaint
    return made, set(touched)


@given(of_attributes(changes), stored)
@settings(max_examples=500, deadline=None)
def test_updates(terms: list[FormerTerm], item: Item | None) -> None:
    """AttributeUpdates make of an item what their expression makes, or fail where it fails."""
    spelling = Spelling()
    text = spelling.update(terms)
    expression = Expressions(spelling.names, spelling.values or None).update(text)
    expected = outcome(expression, item)
    if expected is Complaint.ITEM_OPERAND_TYPE:
        expected = Complaint.FORMER_ITEM_TYPE
    update = former.update_of(terms)
    assert outcome(update, item) == expected
    assert update.assigned_types() == expression.assigned_types()


@given(st.lists(st.sampled_from(ATTRIBUTE_NAMES), min_size=1, unique=True), stored)
@settings(max_examples=200, deadline=None)
def test_projections(names: list[str], item: Item | None) -> None:
    """AttributesToGet pick whole attributes, whatever their names look like."""
    spelling = Spelling()
    text = ", ".join([spelling.name(name) for name in names])
    expression = Expressions(spelling.names, None).projection(text)
    assert former.projection_of(names).apply(item or {}) == expression.apply(item or {})


@st.composite
def key_asks(draw: st.DrawFn) -> tuple[KeyKind, Attribute, str, list[Attribute]]:
    """Draw a sort key's type, a partition, and what is asked of the sort key."""
    kind = draw(st.sampled_from(list(KINDS)))
    operator = draw(st.sampled_from(ORDERS))
    count = 2 if operator == "BETWEEN" else 1
    values = draw(st.lists(KINDS[kind], min_size=count, max_size=count))
    return kind, draw(strings), operator, values


@given(key_asks())
@settings(max_examples=300, deadline=None)
def test_key_conditions(ask: tuple[KeyKind, Attribute, str, list[Attribute]]) -> None:
    """KeyConditions ask for the range of their expression, or are refused as it is."""
    kind, partition, operator, values = ask
    keys = (
        KeyAttribute(name="a", kind=KeyKind.STRING),
        KeyAttribute(name="x.y[0]", kind=kind),
    )
    terms = [FormerTerm("x.y[0]", operator, tuple(values)), FormerTerm("a", "EQ", (partition,))]
    spelling = Spelling()
    name, given = spelling.name("x.y[0]"), [spelling.value(value) for value in values]
    if operator == "BETWEEN":
        sorted_by = f"{name} BETWEEN {given[0]} AND {given[1]}"
    elif operator == "BEGINS_WITH":
        sorted_by = f"begins_with({name}, {given[0]})"
    else:
        sorted_by = f"{name} {COMPARATORS[operator]} {given[0]}"
    text = f"a = {spelling.value(partition)} AND {sorted_by}"

    def by_former() -> object:
        for term in terms:
            former.check_comparison(term)
        return former.key_condition_of(terms).range_in(keys[:1], keys[1:])

    def by_expression() -> object:
        expressions = Expressions(spelling.names, spelling.values)
        return expressions.key_condition(text).range_in(keys[:1], keys[1:])

    def asked(read: object) -> object:
        try:
            return read()  # type: ignore[operator] # one of both
        except ExpressionError as error:
            # The sentences about values that do not go together differ, and nothing else does.
            return "refused" if error.complaint in _OF_VALUES else error.complaint

    assert asked(by_former) == asked(by_expression)


_OF_VALUES = {
    Complaint.FORMER_ARGUMENT_TYPE,
    Complaint.FORMER_BETWEEN_REVERSED,
    Complaint.BETWEEN_REVERSED,
    Complaint.OPERAND_TYPE,
}
