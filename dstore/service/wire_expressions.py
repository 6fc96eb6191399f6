"""Expressions between components: their source, read again through the parser's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from dstore.expressions import (
    Condition,
    Expressions,
    FormerSource,
    FormerTerm,
    Projection,
    Update,
    former,
    sole_condition,
    sole_update,
)
from dstore.model.errors import invalid
from dstore.model.values import check_names
from dstore.service.wire_form import check_attribute, check_values
from dstore.service.wire_types import WireAttribute, WireItem

if TYPE_CHECKING:
    from dstore.expressions import Source
    from dstore.model.values import Attribute


class WireTerm(msgspec.Struct, frozen=True, array_like=True):
    """What a former parameter says about one attribute; see `expressions.FormerTerm`."""

    name: str
    operator: str = ""
    values: list[WireAttribute] = []


class WireFormer(msgspec.Struct, frozen=True, array_like=True):
    """A former parameter: at least one term, each of another attribute."""

    terms: list[WireTerm]
    is_any: bool = False

    def checked(self) -> list[FormerTerm]:
        """Check the terms as the edge checked them. Raises: Refused."""
        names = {term.name: None for term in self.terms}
        if not 0 < len(names) == len(self.terms):
            raise invalid("terms that are not of an attribute each")
        check_names(names)
        return [
            FormerTerm(term.name, term.operator, tuple(map(check_attribute, term.values)))
            for term in self.terms
        ]


class WireExpression(msgspec.Struct, frozen=True, array_like=True):
    """An expression's text, and the names and values that it uses; or what was asked without."""

    text: str
    names: dict[str, str] | None = None
    values: dict[str, WireAttribute] | None = None
    former: WireFormer | None = None

    def condition(self) -> Condition:
        """Read it as a condition. Raises: Refused: it is none, here as below."""
        if self.former is not None:
            return _former_condition(self.former)
        return sole_condition(self.text, self.names, self._values())

    def filter(self) -> Condition:
        """Read it as a filter."""
        if self.former is not None:
            return _former_condition(self.former)
        expressions = self._expressions()
        kept = expressions.filter(self.text)
        expressions.finish()
        return kept

    def update(self) -> Update:
        """Read it as an update."""
        if self.former is not None:
            terms = self.former.checked()
            for term in terms:
                former.check_change(term)
            return former.update_of(terms)
        return sole_update(self.text, self.names, self._values())

    def projection(self) -> Projection:
        """Read it as a projection."""
        if self.former is not None:
            return former.projection_of([term.name for term in self.former.checked()])
        expressions = self._expressions()
        projection = expressions.projection(self.text)
        expressions.finish()
        return projection

    def _expressions(self) -> Expressions:
        return Expressions(self.names, self._values())

    def _values(self) -> dict[str, Attribute] | None:
        return None if self.values is None else check_values(self.values)


def sent(expression: Condition | Projection | Update) -> WireExpression:
    """Give what travels of an expression that was read from a request."""
    source = expression.source
    assert source is not None, "an expression made of a tree cannot travel"
    if isinstance(source, FormerSource):
        return WireExpression("", former=_sent_former(source))
    return _sent_text(source.condensed())


def sent_if(expression: Condition | Projection | Update | None) -> WireExpression | None:
    """Give what travels of an expression that need not be there."""
    return None if expression is None else sent(expression)


def _sent_text(source: Source) -> WireExpression:
    names, values = source.names, source.values
    return WireExpression(
        source.text,
        None if names is None else dict(names),
        None if values is None else cast("WireItem", dict(values)),
    )


def _sent_former(source: FormerSource) -> WireFormer:
    terms = [
        WireTerm(term.name, term.operator, cast("list[WireAttribute]", list(term.values)))
        for term in source.terms
    ]
    return WireFormer(terms, source.is_any)


def _former_condition(wire: WireFormer) -> Condition:
    terms = wire.checked()
    for term in terms:
        former.check_comparison(term)
    return former.condition_of(terms, is_any=wire.is_any)
