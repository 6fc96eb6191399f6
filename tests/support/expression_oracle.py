"""What expressions mean, said a second time: slowly, and with nothing of dStore's but the trees.

Attributes become Python values that compare as DynamoDB's do (numbers as fractions, strings and
binaries as bytes), and an item that is updated becomes a tree in which a list is a dict of its
indexes, so that removing and appending need no order.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from dstore.expressions.ast import (
    Action,
    And,
    Arithmetic,
    Between,
    Call,
    Compare,
    Field,
    In,
    NameRef,
    Not,
    Or,
    Path,
    UpdateTree,
    ValueRef,
)
from dstore.model.values import Attribute, Item

Value = tuple[str, Any]
_DIGITS_MAX = 38


def value_of(attribute: Attribute) -> Value:
    """Turn an attribute into something that Python compares rightly."""
    [(tag, content)] = attribute.items()
    match tag:
        case "S":
            return tag, content.encode()
        case "B":
            return tag, b64decode(content)
        case "N":
            return tag, Fraction(content)
        case "SS":
            return tag, frozenset(member.encode() for member in content)
        case "NS":
            return tag, frozenset(map(Fraction, content))
        case "BS":
            return tag, frozenset(map(b64decode, content))
        case "L":
            return tag, [value_of(element) for element in content]
        case "M":
            return tag, {name: value_of(element) for name, element in content.items()}
        case _:
            return tag, content


class Oracle:
    """The names and values of a request, and the item to look at."""

    def __init__(
        self, item: Item, names: Mapping[str, str], values: Mapping[str, Attribute]
    ) -> None:
        self.item = item
        self.names = names
        self.values = values

    def steps(self, path: Path) -> list[str | int]:
        steps: list[str | int] = []
        for step in path.steps:
            if isinstance(step, Field):
                steps.append(step.name)
            elif isinstance(step, NameRef):
                steps.append(self.names[step.alias])
            else:
                steps.append(int(step.digits))
        return steps

    def attribute(self, operand: object) -> Attribute | None:
        """Give what a path or value stands for."""
        if isinstance(operand, ValueRef):
            return self.values[operand.alias]
        assert isinstance(operand, Path)
        here: Attribute | None = {"M": self.item}
        for step in self.steps(operand):
            assert here is not None
            inside = here.get("M" if isinstance(step, str) else "L")
            try:
                here = inside[step]  # type: ignore[index] # None is caught below
            except (KeyError, IndexError, TypeError):
                return None
        return here

    def value(self, operand: object) -> Value | None:
        if isinstance(operand, Call):
            assert operand.function == "size"
            inner = self.value(operand.operands[0])
            if inner is None or inner[0] in {"N", "BOOL", "NULL"}:
                return None
            tag, content = inner
            length = len(content.decode().encode("utf-16-be")) // 2 if tag == "S" else len(content)
            return "N", Fraction(length)
        attribute = self.attribute(operand)
        return None if attribute is None else value_of(attribute)

    def holds(self, node: object) -> bool:
        match node:
            case Or(conditions=conditions):
                return True in [self.holds(each) for each in conditions]
            case And(conditions=conditions):
                return False not in [self.holds(each) for each in conditions]
            case Not(condition=condition):
                return not self.holds(condition)
            case Compare(operator=operator, left=left, right=right):
                return self._compares(operator, self.value(left), self.value(right))
            case Between(operand=operand, low=low, high=high):
                value = self.value(operand)
                above = self._compares(">=", value, self.value(low))
                return above and self._compares("<=", value, self.value(high))
            case In(operand=operand, options=options):
                return any(
                    self._compares("=", self.value(operand), self.value(each)) for each in options
                )
            case Call():
                return self._tests(node)
            case _:
                raise AssertionError(node)

    @staticmethod
    def _compares(operator: str, left: Value | None, right: Value | None) -> bool:
        same = left is not None and left == right
        if operator in {"=", "<>"}:
            return same == (operator == "=")
        if left is None or right is None or left[0] != right[0]:
            return False
        if left[0] not in {"S", "N", "B"}:
            return False
        order = (left[1] > right[1]) - (left[1] < right[1])
        answers = {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}
        return bool(answers[operator])

    def _tests(self, call: Call) -> bool:
        first, *rest = [self.value(operand) for operand in call.operands]
        if call.function == "attribute_exists":
            return first is not None
        if call.function == "attribute_not_exists":
            return first is None
        [second] = rest
        if first is None or second is None:
            return False
        if call.function == "attribute_type":
            return bool(first[0].encode() == second[1])
        if call.function == "begins_with":
            if first[0] != second[0] or first[0] not in {"S", "B"}:
                return False
            return bool(first[1][: len(second[1])] == second[1])
        if first[0] in {"S", "B"}:
            return bool(first[0] == second[0] and first[1].find(second[1]) >= 0)
        if first[0] in {"SS", "NS", "BS"}:
            return bool(first[0][0] == second[0] and second[1] in first[1])
        return bool(first[0] == "L" and second in first[1])

    # ------------------------------------------------------------------------------- updates

    def updated(self, tree: UpdateTree) -> Value | None:
        """Give the new item as a value; None if the update fails."""
        actions = [action for section in tree.sections for action in section.actions]
        try:
            writes = [self._write(action) for action in actions]
        except (_Failed, AssertionError):
            return None
        document = _loosened({"M": self.item})
        for steps, value in writes:
            parent = document
            for step in steps[:-1]:
                parent = parent[1][step]
            if value is not None:
                parent[1][steps[-1]] = _loosened(value)
            else:
                parent[1].pop(steps[-1], None)
        return _tightened(document)

    def _write(self, action: Action) -> tuple[list[str | int], Attribute | None]:
        assert isinstance(action.target, Path)
        steps = self.steps(action.target)
        parent: Attribute | None = {"M": self.item}
        if len(steps) > 1:
            parent = self.attribute(Path(action.target.steps[:-1]))
        if parent is None or ("M" if isinstance(steps[-1], str) else "L") not in parent:
            raise _Failed
        present = self.attribute(action.target)
        match action.kind.value:
            case "REMOVE":
                return steps, None
            case "SET":
                return steps, self._set_value(action.value)
            case kind:
                operand = self.attribute(action.value)
                assert operand is not None
                return steps, self._combined(kind, present, operand)

    def _combined(
        self, kind: str, present: Attribute | None, operand: Attribute
    ) -> Attribute | None:
        if present is None:
            return operand if kind == "ADD" else None
        [tag] = operand
        if tag not in present:
            raise _Failed
        if tag == "N":
            return _number(Fraction(present["N"]) + Fraction(operand["N"]))
        key = Fraction if tag == "NS" else str
        known = [key(member) for member in present[tag]]
        given = [key(member) for member in operand[tag]]
        if kind == "ADD":
            more = [each for each, at in zip(operand[tag], given, strict=True) if at not in known]
            return {tag: present[tag] + more}
        left = [each for each, at in zip(present[tag], known, strict=True) if at not in given]
        return {tag: left} if left else None

    def _set_value(self, value: object) -> Attribute:
        match value:
            case Arithmetic(operator=operator, left=left, right=right):
                one, other = self._set_value(left), self._set_value(right)
                if "N" not in one or "N" not in other:
                    raise _Failed
                sign = 1 if operator == "+" else -1
                return _number(Fraction(one["N"]) + sign * Fraction(other["N"]))
            case Call(function="if_not_exists", operands=(path, otherwise)):
                present = self.attribute(path)
                return self._set_value(otherwise) if present is None else present
            case Call(operands=(first, second)):
                one, other = self._set_value(first), self._set_value(second)
                if "L" not in one or "L" not in other:
                    raise _Failed
                return {"L": one["L"] + other["L"]}
            case _:
                attribute = self.attribute(value)
                if attribute is None:
                    raise _Failed
                return attribute


class _Failed(Exception):
    """The update cannot be done."""


def _number(value: Fraction) -> Attribute:
    """Spell a fraction with at most 38 digits, trying one power of ten after the other."""
    for exponent in range(130, -169, -1):
        scaled = value / Fraction(10) ** exponent
        if scaled.denominator == 1 and scaled:
            if len(str(abs(scaled.numerator))) > _DIGITS_MAX:
                raise _Failed
            return {"N": f"{scaled.numerator}E{exponent}"}
    return {"N": "0"}


def _loosened(attribute: Attribute) -> Any:
    """Make maps and lists into mutable dicts: ("L", {0: ..., 1: ...})."""
    [(tag, content)] = attribute.items()
    if tag == "M":
        return "M", {name: _loosened(inner) for name, inner in content.items()}
    if tag == "L":
        return "L", dict(enumerate(map(_loosened, content)))
    return attribute


def _tightened(loose: Any) -> Value:
    """Make the dicts values again, a list in the order of its indexes."""
    if isinstance(loose, dict):
        return value_of(loose)
    tag, content = loose
    if tag == "M":
        return "M", {name: _tightened(inner) for name, inner in content.items()}
    return "L", [_tightened(content[index]) for index in sorted(content)]
