"""The request's names and values: checked as maps, put into the trees, and counted as used.

One `Substitutions` serves all expressions of a request, since AWS asks that each name and value be
used by any of them. Putting in and checking go together, node by node, because AWS complains about
whichever trouble comes first in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from dstore.expressions.ast import (
    Action,
    And,
    Arithmetic,
    Between,
    Call,
    Compare,
    ConditionNode,
    Constant,
    Field,
    In,
    Index,
    NameRef,
    Not,
    Operand,
    Or,
    Path,
    ProjectionTree,
    Route,
    SetValue,
    UpdateTree,
    ValueRef,
)
from dstore.expressions.check import (
    BETWEEN_CHECKS,
    CALL_CHECKS,
    COMPARE_CHECKS,
    IN_CHECKS,
    PATH_STEPS_MAX,
    check_action,
    signs_take_numbers,
)
from dstore.expressions.errors import Complaint, ExpressionError
from dstore.expressions.paths import check_apart
from dstore.model.values import Attribute, attribute_bytes

# Source: DynamoDB developer guide, "Constraints", expression parameters.
ALIAS_BYTES_MAX: Final = 255  # the sign # or : included
SUBSTITUTIONS_BYTES_MAX: Final = 2 * 1_024 * 1_024

_NAME_ALIAS = re.compile(r"#[A-Za-z0-9_]+")
_VALUE_ALIAS = re.compile(r":[A-Za-z0-9_]+")
_UTF8_BYTES_PER_CHAR_MAX: Final = 4


def check_names(names: Mapping[str, str]) -> None:
    """Refuse a map of names that is empty, or has a bad key (its length first) or an empty name."""
    if not names:
        raise ExpressionError(Complaint.NAMES_EMPTY)
    for alias, name in names.items():
        size = _text_bytes(alias)
        if size > ALIAS_BYTES_MAX:
            raise ExpressionError(Complaint.NAMES_KEY_TOO_LONG, token=alias, size=size)
        if _NAME_ALIAS.fullmatch(alias) is None:
            raise ExpressionError(Complaint.NAMES_KEY_INVALID, token=alias)
        if not name:
            raise ExpressionError(Complaint.NAMES_VALUE_EMPTY, token=alias)


def check_values(values: Mapping[str, Attribute]) -> None:
    """Refuse a map of values that is empty or has a bad key; the values are the edge's to check."""
    if not values:
        raise ExpressionError(Complaint.VALUES_EMPTY)
    for alias in values:
        if _text_bytes(alias) > ALIAS_BYTES_MAX:
            raise ExpressionError(Complaint.VALUES_KEY_TOO_LONG, token=alias)
        if _VALUE_ALIAS.fullmatch(alias) is None:
            raise ExpressionError(Complaint.VALUES_KEY_INVALID, token=alias)


class Substitutions:
    """Names and values with a count of what was used."""

    __slots__ = ("_names", "_used_names", "_used_values", "_values")

    def __init__(
        self, names: Mapping[str, str] | None, values: Mapping[str, Attribute] | None
    ) -> None:
        """Check the maps and begin to count.

        Args:
            names: `#name` → attribute name; None if the request has none.
            values: `:value` → attribute, each checked at the edge; None if there are none.
        Raises: ExpressionError: as `check_names`, `check_values`, and SUBSTITUTIONS_TOO_LARGE.
        """
        if names is not None:
            check_names(names)
        if values is not None:
            check_values(values)
        self._names = names or {}
        self._values = values or {}
        self._used_names: set[str] = set()
        self._used_values: set[str] = set()
        self._check_size()

    def _check_size(self) -> None:
        """Hold all substitutions together to 2 MB; the exact count only where it may matter."""
        at_most = 0
        for alias, name in self._names.items():
            at_most += (len(alias) + len(name)) * _UTF8_BYTES_PER_CHAR_MAX
        for alias, attribute in self._values.items():
            text = attribute.get("S") or attribute.get("N")
            content = (
                attribute_bytes(attribute) if text is None else len(text) * _UTF8_BYTES_PER_CHAR_MAX
            )
            at_most += len(alias) + content
        if at_most <= SUBSTITUTIONS_BYTES_MAX:
            return
        size = sum(_text_bytes(alias + name) for alias, name in self._names.items())
        size += sum(len(alias) + attribute_bytes(value) for alias, value in self._values.items())
        if size > SUBSTITUTIONS_BYTES_MAX:
            raise ExpressionError(Complaint.SUBSTITUTIONS_TOO_LARGE, size=size)

    def route(self, path: Path) -> Route:
        """Put the names into a path.

        Raises: ExpressionError: NAME_UNDEFINED or PATH_TOO_DEEP.
        """
        keys: list[str | int] = []
        for step in path.steps:
            if isinstance(step, Field):
                keys.append(step.name)
            elif isinstance(step, NameRef):
                name = self._names.get(step.alias)
                if name is None:
                    raise ExpressionError(
                        Complaint.NAME_UNDEFINED, offset=step.offset, token=step.alias
                    )
                self._used_names.add(step.alias)
                keys.append(name)
            elif isinstance(step, Index):
                keys.append(int(step.digits))
            else:
                assert_never(step)
        if len(keys) > PATH_STEPS_MAX:
            raise ExpressionError(Complaint.PATH_TOO_DEEP, offset=path.offset, levels=len(keys))
        return Route(tuple(keys), path.offset)

    def constant(self, ref: ValueRef) -> Constant:
        """Put a value in.

        Raises: ExpressionError: VALUE_UNDEFINED.
        """
        attribute = self._values.get(ref.alias)
        if attribute is None:
            raise ExpressionError(Complaint.VALUE_UNDEFINED, offset=ref.offset, token=ref.alias)
        self._used_values.add(ref.alias)
        [tag] = attribute
        return Constant(attribute, tag, ref.offset)

    def check_used(self) -> None:
        """Refuse names that no expression used, then values.

        Raises: ExpressionError: NAMES_UNUSED or VALUES_UNUSED.
        """
        if len(self._used_names) < len(self._names):
            unused = [alias for alias in self._names if alias not in self._used_names]
            raise ExpressionError(
                Complaint.NAMES_UNUSED, keys=_java_order(unused, len(self._names))
            )
        if len(self._used_values) < len(self._values):
            unused = [alias for alias in self._values if alias not in self._used_values]
            raise ExpressionError(
                Complaint.VALUES_UNUSED, keys=_java_order(unused, len(self._values))
            )


def resolve_condition(node: ConditionNode, substitutions: Substitutions) -> ConditionNode:
    """Put names and values into a condition, checking each node when its inside is done."""
    match node:
        case Compare():
            left = _resolve_operand(node.left, substitutions)
            right = _resolve_operand(node.right, substitutions)
            compare = Compare(node.operator, left, right, node.offset)
            for check in COMPARE_CHECKS:
                check(compare)
            return compare
        case Call():
            return _resolve_call(node, substitutions)
        case And() | Or():
            inner = [resolve_condition(condition, substitutions) for condition in node.conditions]
            return type(node)(tuple(inner), node.offset)
        case Not():
            return Not(resolve_condition(node.condition, substitutions), node.offset)
        case Between():
            between = Between(
                _resolve_operand(node.operand, substitutions),
                _resolve_operand(node.low, substitutions),
                _resolve_operand(node.high, substitutions),
                node.offset,
            )
            for check_between in BETWEEN_CHECKS:
                check_between(between)
            return between
        case In():
            operand = _resolve_operand(node.operand, substitutions)
            options = _resolve_operands(node.options, substitutions)
            among = In(operand, options, node.offset)
            for check_in in IN_CHECKS:
                check_in(among)
            return among
        case _:
            assert_never(node)


def resolve_projection(tree: ProjectionTree, substitutions: Substitutions) -> tuple[Route, ...]:
    """Put names into a projection's paths, which must be apart from each other."""
    routes = tuple([substitutions.route(path) for path in tree.paths])
    check_apart([route.keys for route in routes])
    return routes


def resolve_update(tree: UpdateTree, substitutions: Substitutions) -> tuple[Action, ...]:
    """Put names and values into an update's actions, in the order of the text.

    The targets come first and must be apart; then AWS goes from the last action back to the first:
    all names, then each action's values and their types.
    """
    actions = [action for section in tree.sections for action in section.actions]
    targets = [_route(action.target, substitutions) for action in actions]
    check_apart([target.keys for target in targets])
    resolved = []
    try:
        for action, target in zip(reversed(actions), reversed(targets), strict=True):
            value = None if action.value is None else _resolve_value(action.value, substitutions)
            resolved.append(Action(action.kind, target, value))
            check_action(resolved[-1])
    except ExpressionError:
        for action in reversed(actions):
            _check_defined(action.value, substitutions)
        raise
    return tuple(reversed(resolved))


def _route(target: Path | Route, substitutions: Substitutions) -> Route:
    assert isinstance(target, Path), "an update is resolved once"
    return substitutions.route(target)


def _check_defined(value: SetValue | None, substitutions: Substitutions) -> None:
    """Look up the names in a value, and nothing else."""
    match value:
        case Path():
            substitutions.route(value)
        case Call():
            for operand in value.operands:
                _check_defined(operand, substitutions)
        case Arithmetic():
            _check_defined(value.left, substitutions)
            _check_defined(value.right, substitutions)
        case None | ValueRef() | Route() | Constant():
            pass
        case _:
            assert_never(value)


def _resolve_value(value: SetValue, substitutions: Substitutions) -> SetValue:
    if not isinstance(value, Arithmetic):
        return _resolve_operand(value, substitutions)
    left = _resolve_operand(value.left, substitutions)
    right = _resolve_operand(value.right, substitutions)
    arithmetic = Arithmetic(value.operator, left, right, value.offset)
    signs_take_numbers(arithmetic)
    return arithmetic


def _resolve_operand(operand: Operand, substitutions: Substitutions) -> Operand:
    match operand:
        case Path():
            return substitutions.route(operand)
        case ValueRef():
            return substitutions.constant(operand)
        case Call():
            return _resolve_call(operand, substitutions)
        case Route() | Constant():
            return operand
        case _:
            assert_never(operand)


def _resolve_operands(
    operands: Sequence[Operand], substitutions: Substitutions
) -> tuple[Operand, ...]:
    return tuple([_resolve_operand(operand, substitutions) for operand in operands])


def _resolve_call(call: Call, substitutions: Substitutions) -> Call:
    resolved = Call(call.function, _resolve_operands(call.operands, substitutions), call.offset)
    for check in CALL_CHECKS:
        check(resolved)
    return resolved


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _java_order(keys: list[str], total: int) -> list[str]:
    """Put keys into the order in which a Java hash set of `total` of them gives them out.

    That is the order in AWS's sentence as far as anybody has seen; AWS promises none.
    """
    buckets = 16
    while total > buckets * 3 // 4:
        buckets *= 2
    return sorted(keys, key=lambda key: _java_bucket(key, buckets))


def _java_bucket(key: str, buckets: int) -> int:
    code = 0
    for character in key:
        code = (code * 31 + ord(character)) & 0xFFFFFFFF
    return (code ^ (code >> 16)) & (buckets - 1)
