"""Expressions between components: their source, read again through the parser's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from dstore.expressions import Condition, Expressions, Projection, Update, sole_condition
from dstore.service.wire_form import check_values
from dstore.service.wire_types import WireAttribute, WireItem

if TYPE_CHECKING:
    from dstore.expressions import Source
    from dstore.model.values import Attribute


class WireExpression(msgspec.Struct, frozen=True, array_like=True):
    """An expression's text, and the names and values that it uses."""

    text: str
    names: dict[str, str] | None = None
    values: dict[str, WireAttribute] | None = None

    def condition(self) -> Condition:
        """Read it as a condition. Raises: Refused: it is none, here as below."""
        return sole_condition(self.text, self.names, self._values())

    def filter(self) -> Condition:
        """Read it as a filter."""
        expressions = self._expressions()
        kept = expressions.filter(self.text)
        expressions.finish()
        return kept

    def update(self) -> Update:
        """Read it as an update."""
        expressions = self._expressions()
        update = expressions.update(self.text)
        expressions.finish()
        return update

    def projection(self) -> Projection:
        """Read it as a projection."""
        expressions = self._expressions()
        projection = expressions.projection(self.text)
        expressions.finish()
        return projection

    def _expressions(self) -> Expressions:
        return Expressions(self.names, self._values())

    def _values(self) -> dict[str, Attribute] | None:
        return None if self.values is None else check_values(self.values)


def sent(expression: Condition | Projection | Update) -> WireExpression:
    """Give what travels of an expression that was read from a text."""
    source: Source | None = expression.source
    assert source is not None, "an expression made of a tree cannot travel"
    source = source.condensed()
    names, values = source.names, source.values
    return WireExpression(
        source.text,
        None if names is None else dict(names),
        None if values is None else cast("WireItem", dict(values)),
    )


def sent_if(expression: Condition | Projection | Update | None) -> WireExpression | None:
    """Give what travels of an expression that need not be there."""
    return None if expression is None else sent(expression)
