"""What was asked before there were expressions, as the trees that expressions are.

    Expected, QueryFilter, ScanFilter, ConditionalOperator   ->  condition_of  ->  Condition
    KeyConditions                                            ->  key_condition_of -> KeyCondition
    AttributeUpdates                                         ->  update_of     ->  Update
    AttributesToGet                                          ->  projection_of ->  Projection

Each is terms, one an attribute of the item, whose names are names and no paths. From here on
nothing knows what a request was written in: one evaluator serves both, except that AWS has another
sentence for an update that meets an attribute of a wrong type, and for a filter of keys.

A term is checked first (`check_comparison`, `check_change`); the orders are those of DynamoDB
local's validators, which share their sentences with the service. Types: LocalDBComparisonOperator
there, dynalite's suite, which was run against AWS, and Alternator's test_expected.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from dstore.expressions.ast import (
    Action,
    And,
    Between,
    Call,
    Comparator,
    Compare,
    ConditionNode,
    Constant,
    In,
    Not,
    Or,
    Route,
    SectionKind,
)
from dstore.expressions.compare import in_order
from dstore.expressions.errors import Complaint, ExpressionError
from dstore.expressions.evaluate import Condition
from dstore.expressions.keycond import KeyCondition, KeyOperator, KeyTerm
from dstore.expressions.project import Projection
from dstore.expressions.source import FormerSource, FormerTerm
from dstore.expressions.update import Update
from dstore.model.values import Attribute

KEY_CONDITIONS_MAX: Final = 2
# Attributes and values of an Expected, QueryFilter or ScanFilter: as many as an expression of 4 KB
# can name. A page may hold ten thousand items against each of them: ~5 s, in a thread.
OPERANDS_MAX: Final = 1_000

_COMPARATORS: Final[dict[str, Comparator]] = {
    "EQ": "=",
    "NE": "<>",
    "LT": "<",
    "LE": "<=",
    "GT": ">",
    "GE": ">=",
}
_FUNCTIONS: Final = {
    "NULL": "attribute_not_exists",
    "NOT_NULL": "attribute_exists",
    "BEGINS_WITH": "begins_with",
    "CONTAINS": "contains",
}
_KEY_OPERATORS: Final[dict[str, KeyOperator]] = {
    "EQ": "=",
    "LT": "<",
    "LE": "<=",
    "GT": ">",
    "GE": ">=",
    "BETWEEN": "BETWEEN",
    "BEGINS_WITH": "begins_with",
}
_SORTABLE: Final = frozenset({"S", "N", "B"})
_SCALARS: Final = _SORTABLE | {"BOOL", "NULL"}
_SETS: Final = frozenset({"SS", "NS", "BS"})
_ALL: Final = _SCALARS | _SETS | {"L", "M"}
# How many values an operator takes, None for any number from 1, and of which types.
_ARGUMENTS: Final[dict[str, tuple[int | None, frozenset[str]]]] = {
    "EQ": (1, _ALL),
    "NE": (1, _ALL),
    "LT": (1, _SORTABLE),
    "LE": (1, _SORTABLE),
    "GT": (1, _SORTABLE),
    "GE": (1, _SORTABLE),
    "IN": (None, _SORTABLE),
    "BETWEEN": (2, _SORTABLE),
    "BEGINS_WITH": (1, frozenset({"S", "B"})),
    "CONTAINS": (1, _SCALARS),
    "NOT_CONTAINS": (1, _SCALARS),
    "NULL": (0, frozenset()),
    "NOT_NULL": (0, frozenset()),
}
_PUT: Final = "PUT"
_ADD: Final = "ADD"
_DELETE: Final = "DELETE"
_ADDABLE: Final = _SETS | {"N", "L"}
_EMPTY_LIST: Final = Constant({"L": []}, "L")


# ------------------------------------------------------------------------------------- the checks


def check_comparison(term: FormerTerm) -> None:
    """Check what a condition compares with; the values themselves are the edge's to check.

    Raises: ExpressionError: about their number; then about each one's type, for the operator and
        beside the first; then FORMER_BETWEEN_REVERSED.
    """
    operator, values = term.operator, term.values
    arguments = _ARGUMENTS.get(operator)
    if arguments is None:
        raise _count_error(term)
    count, types = arguments
    if len(values) != count and (count is not None or not values):
        raise _count_error(term)
    for value in values:
        tag = _tag(value)
        if tag not in types:
            raise ExpressionError(Complaint.FORMER_ARGUMENT_TYPE, token=operator, type=tag)
        if tag not in values[0]:
            raise ExpressionError(Complaint.FORMER_ARGUMENT_TYPES_DIFFER, token=operator)
    if operator == "BETWEEN" and not in_order("<=", *values):
        raise ExpressionError(Complaint.FORMER_BETWEEN_REVERSED, token=operator)


def check_change(term: FormerTerm) -> None:
    """Check what an update does with an attribute.

    Raises: ExpressionError: no value where one is needed, or one of a type that the action cannot
        do anything with.
    """
    action, values = term.operator, term.values
    if len(values) > 1 or action not in {_PUT, _ADD, _DELETE}:
        raise _count_error(term)
    if not values:
        if action != _DELETE:
            raise ExpressionError(Complaint.FORMER_VALUE_MISSING)
        return
    tag = _tag(values[0])
    if action == _DELETE and tag not in _SETS:
        raise ExpressionError(Complaint.FORMER_DELETE_TYPE, type=tag)
    if action == _ADD and tag not in _ADDABLE:
        raise ExpressionError(Complaint.FORMER_ADD_TYPE, type=tag)


def _count_error(term: FormerTerm) -> ExpressionError:
    return ExpressionError(Complaint.FORMER_ARGUMENT_COUNT, token=term.operator)


# -------------------------------------------------------------------------------------- the trees


def condition_of(terms: Sequence[FormerTerm], *, is_any: bool = False) -> Condition:
    """Make a condition of terms, at least one, that `check_comparison` has passed.

    Args:
        terms: one an attribute.
        is_any: whether one that holds is enough; else all have to.
    """
    nodes = tuple([_condition_node(term) for term in terms])
    tree = nodes[0] if len(nodes) == 1 else Or(nodes) if is_any else And(nodes)
    return Condition(tree, FormerSource(tuple(terms), is_any))


def key_condition_of(terms: Sequence[FormerTerm]) -> KeyCondition:
    """Make a key condition of terms that `check_comparison` has passed.

    Raises: ExpressionError: FORMER_KEY_COUNT.
    """
    if not 0 < len(terms) <= KEY_CONDITIONS_MAX:
        raise ExpressionError(Complaint.FORMER_KEY_COUNT)
    return KeyCondition(
        None,
        tuple(
            [
                KeyTerm(
                    name=term.name, operator=_KEY_OPERATORS.get(term.operator), values=term.values
                )
                for term in terms
            ]
        ),
    )


def update_of(terms: Sequence[FormerTerm]) -> Update:
    """Make an update of terms, one an attribute, that `check_change` has passed."""
    return Update(tuple([_action(term) for term in terms]), FormerSource(tuple(terms)))


def projection_of(names: Sequence[str]) -> Projection:
    """Make a projection of whole attributes.

    Raises: ExpressionError: FORMER_NAME_REPEATED.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ExpressionError(Complaint.FORMER_NAME_REPEATED, token=name)
        seen.add(name)
    terms = tuple([FormerTerm(name) for name in names])
    return Projection([(name,) for name in names], FormerSource(terms))


def _condition_node(term: FormerTerm) -> ConditionNode:
    path = Route((term.name,))
    values = [_constant(value) for value in term.values]
    operator = term.operator
    comparator = _COMPARATORS.get(operator)
    if comparator is not None:
        return Compare(comparator, path, values[0])
    function = _FUNCTIONS.get(operator)
    if function is not None:
        return Call(function, (path, *values))
    return _OTHERS[operator](path, values)


def _contains_not(path: Route, values: Sequence[Constant]) -> ConditionNode:
    """Nothing contains nothing: an attribute that is not there does neither."""
    return And((Call("attribute_exists", (path,)), Not(Call("contains", (path, values[0])))))


_OTHERS: Final[dict[str, Callable[[Route, Sequence[Constant]], ConditionNode]]] = {
    "IN": lambda path, values: In(path, tuple(values)),
    "BETWEEN": lambda path, values: Between(path, values[0], values[1]),
    "NOT_CONTAINS": _contains_not,
}


def _action(term: FormerTerm) -> Action:
    path = Route((term.name,))
    if not term.values:
        return Action(SectionKind.REMOVE, path)
    value = _constant(term.values[0])
    if term.operator == _DELETE:
        return Action(SectionKind.DELETE, path, value)
    if term.operator == _PUT:
        return Action(SectionKind.SET, path, value)
    if value.tag == "L":  # no ADD of an expression takes a list, but this one does
        present = Call("if_not_exists", (path, _EMPTY_LIST))
        return Action(SectionKind.SET, path, Call("list_append", (present, value)))
    return Action(SectionKind.ADD, path, value)


def _constant(attribute: Attribute) -> Constant:
    return Constant(attribute, _tag(attribute))


def _tag(attribute: Attribute) -> str:
    return next(iter(attribute))
