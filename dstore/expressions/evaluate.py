"""A resolved condition against an item.

Nothing here can fail: types that do not fit and attributes that are not there make a comparison
false, `<>` true, and `NOT` turns either round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, assert_never

from dstore.expressions.ast import (
    Action,
    And,
    Arithmetic,
    Between,
    Call,
    Compare,
    ConditionNode,
    Constant,
    In,
    Keys,
    Not,
    Operand,
    Or,
    Path,
    Route,
    ValueRef,
)
from dstore.expressions.compare import begins, equal, holds_inside, in_order, size_of
from dstore.expressions.errors import Complaint
from dstore.expressions.paths import check_avoids, check_entered, entered_by
from dstore.expressions.source import AnySource, FormerSource
from dstore.model.values import Attribute, Item

_NO_ITEM: Final[Item] = {}


class Looks(NamedTuple):
    """What a condition looks at.

    Attributes:
        heads: the attributes of the item, as far as it looks at them at all.
        entered: those among them into which it looks.
    """

    heads: frozenset[str | int]
    entered: frozenset[str | int]


class Condition:
    """A condition or filter that is ready to be held against items.

    `source` is what it was read from; None if it was made of a tree, and then it cannot travel.
    """

    __slots__ = ("_looks", "source", "tree")

    def __init__(
        self, tree: ConditionNode, source: AnySource | None = None, *, looks: Looks | None = None
    ) -> None:
        """Take a tree that `resolve_condition` has made; what it looks at, if that is known."""
        self.tree = tree
        self.source = source
        self._looks = looks

    @property
    def looks(self) -> Looks:
        """Tell what the condition looks at."""
        looks = self._looks
        if looks is None:
            paths = list(paths_in(self.tree))
            looks = Looks(frozenset([path[0] for path in paths]), entered_by(paths))
            self._looks = looks
        return looks

    def holds(self, item: Item | None) -> bool:
        """Say whether the condition holds for an item; an item that is not there has nothing."""
        return holds(self.tree, _NO_ITEM if item is None else item)

    def check_key_paths(self, *, keys: Iterable[str], index_keys: Iterable[str] = ()) -> None:
        """Refuse paths into key attributes; raises as `paths.check_key_paths`."""
        entered = self.looks.entered
        if entered:
            check_entered(entered, keys=keys, index_keys=index_keys)

    def check_avoids_keys(self, keys: Iterable[str]) -> None:
        """Refuse a Query's filter that looks at the keys of what is queried.

        Raises: ExpressionError: KEY_FILTERED; FORMER_KEY_FILTERED if it is a QueryFilter.
        """
        is_former = isinstance(self.source, FormerSource)
        complaint = Complaint.FORMER_KEY_FILTERED if is_former else Complaint.KEY_FILTERED
        check_avoids(paths_in(self.tree), keys=keys, complaint=complaint)


def holds(node: ConditionNode, item: Item) -> bool:
    """Say whether a resolved condition holds for an item."""
    match node:
        case Compare():
            return _compares(node, item)
        case Call():
            return _call_holds(node, item)
        case And():
            for condition in node.conditions:  # noqa: SIM110 - a frame fewer a level
                if not holds(condition, item):
                    return False
            return True
        case Or():
            for condition in node.conditions:  # noqa: SIM110 - the same
                if holds(condition, item):
                    return True
            return False
        case Not():
            return not holds(node.condition, item)
        case Between():
            return _is_between(node, item)
        case In():
            return _is_among(node, item)
        case _:
            assert_never(node)


def look(item: Item, keys: Keys) -> Attribute | None:
    """Follow a path through an item; None if it leads nowhere."""
    attribute: Attribute | None = item.get(keys[0])  # type: ignore[arg-type] # a str by grammar
    for key in keys[1:]:
        if attribute is None:
            return None
        if type(key) is int:
            elements = attribute.get("L", ())
            attribute = elements[key] if key < len(elements) else None
        else:
            attribute = attribute.get("M", _NO_ITEM).get(key)
    return attribute


def paths_in(*nodes: ConditionNode | Operand | Arithmetic | Action) -> Iterator[Keys]:
    """Find the paths in resolved nodes, in no order that matters."""
    pending: list[ConditionNode | Operand | Arithmetic | Action] = list(nodes)
    while pending:
        node = pending.pop()
        match node:
            case Route():
                yield node.keys
            case Call():
                pending += node.operands
            case Compare() | Arithmetic():
                pending += (node.left, node.right)
            case And() | Or():
                pending += node.conditions
            case Not():
                pending.append(node.condition)
            case Between():
                pending += (node.operand, node.low, node.high)
            case In():
                pending += (node.operand, *node.options)
            case Action():
                pending.append(node.target)
                if node.value is not None:
                    pending.append(node.value)
            case Constant() | Path() | ValueRef():
                pass
            case _:
                assert_never(node)


def _compares(node: Compare, item: Item) -> bool:
    left, right = _value(node.left, item), _value(node.right, item)
    operator = node.operator
    if left is None or right is None:
        return operator == "<>"
    if operator == "=":
        return equal(left, right)
    if operator == "<>":
        return not equal(left, right)
    return in_order(operator, left, right)


def _is_between(node: Between, item: Item) -> bool:
    value, low, high = (_value(each, item) for each in (node.operand, node.low, node.high))
    if value is None or low is None or high is None:
        return False
    return in_order("<=", low, value) and in_order("<=", value, high)


def _is_among(node: In, item: Item) -> bool:
    value = _value(node.operand, item)
    if value is None:
        return False
    for option in node.options:
        candidate = _value(option, item)
        if candidate is not None and equal(value, candidate):
            return True
    return False


def _call_holds(call: Call, item: Item) -> bool:
    first = _value(call.operands[0], item)
    if call.function == "attribute_exists":
        return first is not None
    if call.function == "attribute_not_exists":
        return first is None
    second = _value(call.operands[1], item)
    if first is None or second is None:
        return False
    if call.function == "begins_with":
        return begins(first, second)
    if call.function == "contains":
        return holds_inside(first, second)
    assert call.function == "attribute_type", call.function
    return second["S"] in first


def _value(operand: Operand, item: Item) -> Attribute | None:
    """Give an operand's value in an item, None if it has none."""
    match operand:
        case Route():
            return look(item, operand.keys)
        case Constant():
            return operand.attribute
        case Call():
            assert operand.function == "size", operand.function
            return _size(operand.operands, item)
        case Path() | ValueRef():
            raise AssertionError("the tree was not resolved")
        case _:
            assert_never(operand)


def _size(operands: Sequence[Operand], item: Item) -> Attribute | None:
    attribute = _value(operands[0], item)
    size = None if attribute is None else size_of(attribute)
    return None if size is None else {"N": str(size)}
