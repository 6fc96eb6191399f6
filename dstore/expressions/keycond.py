"""A key condition: its shape, then the keys that it asks for.

AWS looks three times: at the condition like at any other (`check`, `resolve`); at its shape, when
all expressions of the request are read and before the table is looked up; and at its fit to the
table's or index's keys. `KeyCondition` is made by the first look, `terms` by the second, and
`range_in` does the third.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from dstore.base.limits import PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX
from dstore.expressions.ast import (
    And,
    Between,
    Call,
    Compare,
    ConditionNode,
    Constant,
    In,
    Not,
    Operand,
    Or,
    Route,
)
from dstore.expressions.compare import begins, equal, in_order
from dstore.expressions.errors import Complaint, ExpressionError, ExpressionKind
from dstore.model.hashing import KeyKind, KeyValue
from dstore.model.tables import KeyAttribute
from dstore.model.values import Attribute

KeyOperator = Literal["=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"]

_MIRRORED: Final[dict[str, KeyOperator]] = {
    "=": "=",
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
}
_EMPTY_WORDS: Final = {"S": "string", "B": "binary"}


class KeyTerm(msgspec.Struct, frozen=True, kw_only=True):
    """One condition on one attribute, the attribute to the left: `:a < b` came in as `b > :a`.

    No operator is one that no key can be looked up by, which only KeyConditions can ask for.
    """

    name: str
    operator: KeyOperator | None
    values: tuple[Attribute, ...]  # two with BETWEEN, else one


class SortRange(msgspec.Struct, frozen=True, kw_only=True):
    """The sort keys asked for: all between the bounds that there are, and with the prefix.

    A bound that is None is none. The values are as `model.keys` takes them; a prefix is a string or
    binary, and then there are no bounds.
    """

    kind: KeyKind
    low: KeyValue | None = None
    low_included: bool = True
    high: KeyValue | None = None
    high_included: bool = True
    prefix: KeyValue | None = None
    term: KeyTerm

    def holds(self, attribute: Attribute) -> bool:
        """Say whether a sort key is in the range, as ExclusiveStartKey's must be."""
        first = self.term.values[0]
        match self.term.operator:
            case "=":
                return equal(attribute, first)
            case "BETWEEN":
                return in_order("<=", first, attribute) and in_order(
                    "<=", attribute, self.term.values[1]
                )
            case "begins_with":
                return begins(attribute, first)
            case None:
                raise AssertionError("no range is made of such a term")
            case operator:
                return in_order(operator, attribute, first)


class KeyRange(msgspec.Struct, frozen=True, kw_only=True):
    """What a key condition asks of a table or index: one partition, and maybe part of it.

    The values are in the order of the keys, of which only a global index has several of a sort: all
    of its partition keys, and the first of its sort keys; before the last range all are a value.
    """

    partition: tuple[tuple[KeyKind, KeyValue], ...]
    sorts: tuple[SortRange, ...] = ()


class KeyCondition:
    """A key condition whose names and values are in."""

    __slots__ = ("_terms", "_tree")

    def __init__(self, tree: ConditionNode | None, terms: tuple[KeyTerm, ...] = ()) -> None:
        """Take a tree that `resolve_condition` has made; or terms, of an attribute each."""
        self._tree = tree
        self._terms: tuple[KeyTerm, ...] | None = terms if tree is None else None

    def terms(self) -> tuple[KeyTerm, ...]:
        """Check the shape: comparisons of one attribute each with values, joined by AND.

        Raises: ExpressionError: one of the KEY_ complaints of a shape.
        """
        if self._terms is None:
            assert self._tree is not None, "a condition without terms has a tree"
            try:
                self._terms = _distinct(_terms_of(self._tree))
            except ExpressionError as error:
                error.expression = ExpressionKind.KEY_CONDITION
                raise
        return self._terms

    def range_in(
        self, partition: Sequence[KeyAttribute], sort: Sequence[KeyAttribute] = ()
    ) -> KeyRange:
        """Fit the condition to the keys of a table or index, in their order.

        Raises: ExpressionError: as `terms`, KEY_CONDITIONS_TOO_MANY, KEY_ELEMENT_MISSED,
            KEY_NOT_INDEXABLE, KEY_VALUE_TYPE, KEY_VALUE_EMPTY, KEY_OPERATOR_UNSUPPORTED,
            KEY_EQUALITY_MISSED, or a value that is too long.
        """
        terms = self.terms()
        count = len(partition) + len(sort)
        if len(terms) > count:
            raise ExpressionError(Complaint.KEY_CONDITIONS_TOO_MANY, count=len(terms), keys=count)
        by_name = {term.name: term for term in terms}
        values = tuple([_partition_value(by_name.get(key.name), key) for key in partition])
        if len(terms) == len(partition):
            return KeyRange(partition=values)
        return KeyRange(
            partition=values, sorts=_sort_ranges(by_name, sort, len(terms) - len(values))
        )


def _terms_of(node: ConditionNode) -> Iterator[KeyTerm]:
    """Walk the condition from the top and from the left, as AWS does."""
    match node:
        case And():
            for condition in node.conditions:
                yield from _terms_of(condition)
        case Or() | Not() | In():
            raise _shape_error(Complaint.KEY_OPERATOR, type(node).__name__.upper())
        case Compare():
            if node.operator == "<>":
                raise _shape_error(Complaint.KEY_OPERATOR, node.operator)
            yield _compare_term(node)
        case Between():
            if not isinstance(node.operand, Route):
                raise _shape_error(Complaint.KEY_FIRST_OPERAND, "BETWEEN")
            name, values = _name_and_values((node.operand, node.low, node.high))
            yield KeyTerm(name=name, operator="BETWEEN", values=values)
        case Call():
            if node.function != "begins_with":
                raise _shape_error(Complaint.KEY_OPERATOR, node.function)
            if not isinstance(node.operands[0], Route):
                raise _shape_error(Complaint.KEY_FIRST_OPERAND, node.function)
            name, values = _name_and_values(node.operands)
            yield KeyTerm(name=name, operator="begins_with", values=values)


def _compare_term(node: Compare) -> KeyTerm:
    name, values = _name_and_values((node.left, node.right))
    operator = _MIRRORED[node.operator]
    if isinstance(node.left, Route):
        operator = _MIRRORED[operator]
    return KeyTerm(name=name, operator=operator, values=values)


def _name_and_values(operands: Sequence[Operand]) -> tuple[str, tuple[Attribute, ...]]:
    """Take the one attribute and the values among operands."""
    name = ""
    values = []
    for operand in operands:
        if isinstance(operand, Route):
            if name:
                raise _shape_error(Complaint.KEY_NAMES_SEVERAL)
            if len(operand.keys) > 1:
                raise _shape_error(Complaint.KEY_PATH_NESTED)
            name = str(operand.keys[0])
        elif isinstance(operand, Constant):
            values.append(operand.attribute)
        else:
            raise _shape_error(Complaint.KEY_NESTED_OPERATION)
    if not name:
        raise _shape_error(Complaint.KEY_NAME_MISSING)
    return name, tuple(values)


def _distinct(terms: Iterator[KeyTerm]) -> tuple[KeyTerm, ...]:
    """Take the terms one by one, each on another attribute."""
    taken: dict[str, KeyTerm] = {}
    for term in terms:
        if term.name in taken:
            raise _shape_error(Complaint.KEY_CONDITION_REPEATED)
        taken[term.name] = term
    return tuple(taken.values())


def _partition_value(term: KeyTerm | None, key: KeyAttribute) -> tuple[KeyKind, KeyValue]:
    if term is None:
        raise ExpressionError(Complaint.KEY_ELEMENT_MISSED, name=key.name)
    [value] = _key_values(term, key)[:1]
    if term.operator != "=":
        raise ExpressionError(Complaint.KEY_OPERATOR_UNSUPPORTED)
    _check_length(term, Complaint.PARTITION_VALUE_TOO_LONG, PARTITION_KEY_BYTES_MAX)
    return key.kind, value


def _sort_ranges(
    by_name: Mapping[str, KeyTerm], keys: Sequence[KeyAttribute], count: int
) -> tuple[SortRange, ...]:
    """Fit the `count` terms that are left to the sort keys: the first ones, without a gap."""
    given = [key for key in keys if key.name in by_name]
    if len(given) < count:
        missed = next(key for key in keys if key.name not in by_name)
        raise ExpressionError(Complaint.KEY_ELEMENT_MISSED, name=missed.name)
    before = keys[: keys.index(given[-1])]
    unequal = [key.name for key in before if key not in given or by_name[key.name].operator != "="]
    if unequal:
        raise ExpressionError(
            Complaint.KEY_EQUALITY_MISSED, keys=", ".join(unequal), name=given[-1].name
        )
    return tuple(_sort_range(by_name[key.name], key) for key in given)


def _sort_range(term: KeyTerm, key: KeyAttribute) -> SortRange:
    values = _key_values(term, key)
    _check_length(term, Complaint.SORT_VALUE_TOO_LONG, SORT_KEY_BYTES_MAX)
    first = values[0]
    match term.operator:
        case "=":
            return SortRange(kind=key.kind, low=first, high=first, term=term)
        case "<" | "<=":
            included = term.operator == "<="
            return SortRange(kind=key.kind, high=first, high_included=included, term=term)
        case ">" | ">=":
            included = term.operator == ">="
            return SortRange(kind=key.kind, low=first, low_included=included, term=term)
        case "BETWEEN":
            return SortRange(kind=key.kind, low=first, high=values[1], term=term)
        case "begins_with":
            return SortRange(kind=key.kind, prefix=first, term=term)
        case None:
            raise AssertionError("no key is looked up by such a term")


def _key_values(term: KeyTerm, key: KeyAttribute) -> list[KeyValue]:
    """Give a term's values as keys of the declared type."""
    if term.operator is None:
        raise ExpressionError(Complaint.KEY_NOT_INDEXABLE)
    tag = key.kind.value
    values: list[KeyValue] = []
    for attribute in term.values:
        if tag not in attribute:
            raise ExpressionError(Complaint.KEY_VALUE_TYPE)
        content: str = attribute[tag]
        if not content:
            raise ExpressionError(Complaint.KEY_VALUE_EMPTY, type=_EMPTY_WORDS[tag], name=key.name)
        values.append(b64decode(content) if tag == "B" else content)
    return values


def _check_length(term: KeyTerm, complaint: Complaint, bytes_max: int) -> None:
    for attribute in term.values:
        [(tag, content)] = attribute.items()
        if tag != "N":
            raw = b64decode(content) if tag == "B" else content.encode()
            if len(raw) > bytes_max:
                raise ExpressionError(complaint)


def _shape_error(complaint: Complaint, operator: str = "") -> ExpressionError:
    return ExpressionError(complaint, token=operator)
