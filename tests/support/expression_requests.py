"""Ask for one expression of a request, and tell what AWS would say to it."""

from __future__ import annotations

from collections.abc import Mapping

from dstore.expressions import ExpressionError, ExpressionKind, Expressions, sentence
from dstore.model.values import Attribute

Names = Mapping[str, str]
Values = Mapping[str, Attribute]


def said(
    kind: ExpressionKind,
    text: str,
    *,
    names: Names | None = None,
    values: Values | None = None,
) -> str:
    """Give AWS's sentence about one expression, without the expression's name; "" if it is fine."""
    expressions = Expressions(names, values)
    read = {
        ExpressionKind.CONDITION: expressions.condition,
        ExpressionKind.FILTER: expressions.filter,
        ExpressionKind.KEY_CONDITION: expressions.key_condition,
        ExpressionKind.PROJECTION: expressions.projection,
        ExpressionKind.UPDATE: expressions.update,
    }[kind]
    try:
        read(text)
    except ExpressionError as error:
        return sentence(error).removeprefix(f"Invalid {kind}: ")
    return ""


def filter_said(text: str, *, names: Names | None = None, values: Values | None = None) -> str:
    return said(ExpressionKind.FILTER, text, names=names, values=values)


def update_said(text: str, *, names: Names | None = None, values: Values | None = None) -> str:
    return said(ExpressionKind.UPDATE, text, names=names, values=values)
