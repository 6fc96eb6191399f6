"""Trees → text: the inverse of the parser, with no more parentheses than a tree needs."""

from __future__ import annotations

from typing import assert_never

from dstore.expressions.ast import (
    And,
    Arithmetic,
    Between,
    Call,
    Compare,
    ConditionNode,
    Constant,
    Field,
    In,
    NameRef,
    Not,
    Operand,
    Or,
    Path,
    Route,
    SetValue,
    Step,
    UpdateTree,
    ValueRef,
)


def condition_text(node: ConditionNode) -> str:
    match node:
        case Or():
            return " OR ".join(_term(each, tight=isinstance(each, Or)) for each in node.conditions)
        case And():
            return " AND ".join(
                _term(each, tight=isinstance(each, Or | And)) for each in node.conditions
            )
        case Not():
            return "NOT " + _term(node.condition, tight=isinstance(node.condition, Or | And))
        case Compare():
            return f"{operand_text(node.left)} {node.operator} {operand_text(node.right)}"
        case Between():
            low, high = operand_text(node.low), operand_text(node.high)
            return f"{operand_text(node.operand)} BETWEEN {low} AND {high}"
        case In():
            options = ", ".join(map(operand_text, node.options))
            return f"{operand_text(node.operand)} IN ({options})"
        case Call():
            return operand_text(node)
        case _:
            assert_never(node)


def _term(node: ConditionNode, *, tight: bool) -> str:
    return f"({condition_text(node)})" if tight else condition_text(node)


def operand_text(operand: SetValue) -> str:
    match operand:
        case Path():
            return path_text(operand)
        case ValueRef():
            return operand.alias
        case Call():
            return f"{operand.function}({', '.join(map(operand_text, operand.operands))})"
        case Arithmetic():
            return f"{operand_text(operand.left)} {operand.operator} {operand_text(operand.right)}"
        case Route() | Constant():
            raise AssertionError("a resolved tree has no text")
        case _:
            assert_never(operand)


def path_text(path: Operand) -> str:
    assert isinstance(path, Path)
    return "".join(map(_step_text, path.steps)).removeprefix(".")


def _step_text(step: Step) -> str:
    match step:
        case Field():
            return f".{step.name}"
        case NameRef():
            return f".{step.alias}"
        case _:
            return f"[{step.digits}]"


def update_text(tree: UpdateTree) -> str:
    sections = []
    for section in tree.sections:
        actions = []
        for action in section.actions:
            assert isinstance(action.target, Path)
            text = path_text(action.target)
            if action.value is not None:
                sign = " = " if section.kind.value == "SET" else " "
                text += sign + operand_text(action.value)
            actions.append(text)
        sections.append(f"{section.kind.value} {', '.join(actions)}")
    return " ".join(sections)
