"""All expressions of one request: the door to this package.

The texts are given one by one, in the order in which the operation is to complain about them, and
`finish` complains about names and values that none of them used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from dstore.expressions import check
from dstore.expressions.ast import ConditionNode, ProjectionTree, UpdateTree
from dstore.expressions.cache import ParsedCache
from dstore.expressions.errors import ExpressionError, ExpressionKind
from dstore.expressions.evaluate import Condition
from dstore.expressions.keycond import KeyCondition
from dstore.expressions.parser import parse_condition, parse_projection, parse_update
from dstore.expressions.patterns import (
    Pattern,
    UpdatePattern,
    key_of,
    pattern_of,
    update_pattern_of,
)
from dstore.expressions.project import Projection
from dstore.expressions.resolve import (
    Substitutions,
    resolve_condition,
    resolve_projection,
    resolve_update,
)
from dstore.expressions.source import Source
from dstore.expressions.update import Update
from dstore.model.values import Attribute

_Tree = TypeVar("_Tree")

_PATTERN_CHARS_MAX: Final = 64 * 1_024

_conditions: Final = ParsedCache[ConditionNode]()
_updates: Final = ParsedCache[UpdateTree]()
_projections: Final = ParsedCache[ProjectionTree]()
# What a request without names and values makes of a text is always the same.
_bare_conditions: Final = ParsedCache[Condition]()
_bare_projections: Final = ParsedCache[Projection]()
_patterns: Final = ParsedCache[Pattern](chars_max=_PATTERN_CHARS_MAX)
_update_patterns: Final = ParsedCache[UpdatePattern](chars_max=_PATTERN_CHARS_MAX)


class Expressions:
    """The names and values of a request, and the expressions that use them."""

    __slots__ = ("_is_bare", "_names", "_substitutions", "_values")

    def __init__(
        self,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Attribute] | None = None,
    ) -> None:
        """Check the maps.

        Args:
            names: ExpressionAttributeNames; None if the request has none, which an empty map is
                not.
            values: ExpressionAttributeValues, the values themselves already checked; None the same.
        Raises: ExpressionError: about the maps' keys and sizes.
        """
        self._names = names
        self._values = values
        self._substitutions = Substitutions(names, values)
        self._is_bare = names is None and values is None

    def condition(self, text: str) -> Condition:
        """Read a ConditionExpression.

        Raises: ExpressionError: with `expression` set, here as below.
        """
        return self._whole_condition(ExpressionKind.CONDITION, text)

    def filter(self, text: str) -> Condition:
        """Read a FilterExpression."""
        return self._whole_condition(ExpressionKind.FILTER, text)

    def key_condition(self, text: str) -> KeyCondition:
        """Read a KeyConditionExpression; its shape and fit are checked by its own methods."""
        return KeyCondition(self._condition(ExpressionKind.KEY_CONDITION, text))

    def projection(self, text: str) -> Projection:
        """Read a ProjectionExpression."""
        if self._is_bare:
            return _bare_projections.get(ExpressionKind.PROJECTION, text, self._projection)
        return self._projection(ExpressionKind.PROJECTION, text)

    def update(self, text: str) -> Update:
        """Read an UpdateExpression."""
        kind = ExpressionKind.UPDATE
        try:
            tree = _updates.get(kind, text, _parse_update)
            return Update(resolve_update(tree, self._substitutions), self._source(text))
        except ExpressionError as error:
            error.expression = kind
            raise

    def finish(self) -> None:
        """Refuse names that no expression used, then values.

        Raises: ExpressionError: NAMES_UNUSED or VALUES_UNUSED.
        """
        self._substitutions.check_used()

    def _whole_condition(self, kind: ExpressionKind, text: str) -> Condition:
        if self._is_bare:
            return _bare_conditions.get(kind, text, self._make_condition)
        return self._make_condition(kind, text)

    def _make_condition(self, kind: ExpressionKind, text: str) -> Condition:
        return Condition(self._condition(kind, text), self._source(text))

    def _projection(self, kind: ExpressionKind, text: str) -> Projection:
        try:
            tree = _projections.get(kind, text, _parse_projection)
            routes = resolve_projection(tree, self._substitutions)
        except ExpressionError as error:
            error.expression = kind
            raise
        return Projection([route.keys for route in routes], self._source(text))

    def _source(self, text: str) -> Source:
        return Source(text, self._names, self._values)

    def _condition(self, kind: ExpressionKind, text: str) -> ConditionNode:
        try:
            tree = _conditions.get(kind, text, _parse_condition)
            return resolve_condition(tree, self._substitutions)
        except ExpressionError as error:
            error.expression = kind
            raise


def sole_condition(
    text: str, names: Mapping[str, str] | None, values: Mapping[str, Attribute] | None
) -> Condition:
    """Read the ConditionExpression of a request that has no other expression.

    What `Expressions(names, values)` does with its `condition` and `finish`, at a quarter of the
    cost for the same text, names and types of values as lately.

    Raises: ExpressionError: as they do, in that order.
    """
    key = key_of(text, names, values)
    if key is not None:
        pattern = _patterns.find(key.content, chars=key.chars)
        if pattern is not None:
            return pattern.filled(Source(text, names, values))
    expressions = Expressions(names, values)
    condition = expressions.condition(text)
    expressions.finish()
    if key is not None:
        written = _conditions.get(ExpressionKind.CONDITION, text, _parse_condition)
        pattern = pattern_of(written, condition)
        if pattern is not None:
            _patterns.keep(key.content, pattern, chars=key.chars)
    return condition


def sole_update(
    text: str, names: Mapping[str, str] | None, values: Mapping[str, Attribute] | None
) -> Update:
    """Read the UpdateExpression of a request that has no other expression, as `sole_condition`.

    Raises: ExpressionError.
    """
    key = key_of(text, names, values)
    if key is not None:
        pattern = _update_patterns.find(key.content, chars=key.chars)
        if pattern is not None:
            return pattern.filled(Source(text, names, values))
    expressions = Expressions(names, values)
    update = expressions.update(text)
    expressions.finish()
    if key is not None:
        written = _updates.get(ExpressionKind.UPDATE, text, _parse_update)
        pattern = update_pattern_of(written, update)
        _update_patterns.keep(key.content, pattern, chars=key.chars)
    return update


def _parse_condition(_kind: ExpressionKind, text: str) -> ConditionNode:
    return _parsed(text, parse_condition, check.check_condition)


def _parse_update(_kind: ExpressionKind, text: str) -> UpdateTree:
    return _parsed(text, parse_update, check.check_update)


def _parse_projection(_kind: ExpressionKind, text: str) -> ProjectionTree:
    return _parsed(text, parse_projection, check.check_projection)


def _parsed(text: str, parse: Callable[[str], _Tree], check_tree: Callable[[_Tree], None]) -> _Tree:
    check.check_size(text)
    tree = parse(text)
    check_tree(tree)
    return tree
