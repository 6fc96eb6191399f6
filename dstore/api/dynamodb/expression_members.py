"""The members of a request that are expressions, beside those that expressions have replaced.

AWS's order, the same for every operation: what may not stand together (`check_together`), then,
behind the operation's other members, the former ones (`former_members`), the maps of names and
values (`expressions_of`), then each text. An operation states once, as a value, which members it
has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.attributes import check_attribute
from dstore.api.dynamodb.errors import AwsError, validation
from dstore.api.dynamodb.former_members import read_attributes_to_get, read_expected
from dstore.expressions import (
    Condition,
    Expressions,
    Projection,
    Update,
    sole_condition,
    sole_update,
)
from dstore.expressions.resolve import check_names, check_values
from dstore.service.item_writes import Guard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dstore.model.values import Attribute

NAMES: Final = "ExpressionAttributeNames"
VALUES: Final = "ExpressionAttributeValues"
PROJECTION: Final = "ProjectionExpression"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionMembers:
    """Which members of an operation are expressions, and which are their former forms.

    Both in the order in which AWS lists them in its complaints.
    """

    expressions: tuple[str, ...]
    former: tuple[str, ...]
    tells_which: bool = True
    """Whether AWS says which expressions are missing where there are values for them."""
    _all: frozenset[str] = field(init=False, repr=False)
    _former: frozenset[str] = field(init=False, repr=False)
    _using: tuple[str, ...] = field(init=False, repr=False)
    """The expressions that may have values in them."""

    def __post_init__(self) -> None:
        """Know at a glance that a request has none of them, or none of the former ones."""
        known = frozenset((*self.expressions, *self.former, NAMES, VALUES))
        object.__setattr__(self, "_all", known)
        object.__setattr__(self, "_former", frozenset(self.former))
        using = tuple(name for name in self.expressions if name != PROJECTION)
        object.__setattr__(self, "_using", using)

    def check_together(self, members: Mapping[str, Any]) -> None:
        """Refuse members that exclude each other, or that need an expression and have none.

        Raises: AwsError: ValidationException.
        """
        if self._all.isdisjoint(members):
            return
        if self._former.isdisjoint(members):
            for name in self._using:
                if members.get(name) is not None:
                    return  # it may use both names and values: there is nothing to refuse
        former = _given(self.former, members)
        expressions = _given(self.expressions, members)
        if expressions and former:
            raise validation(
                "Can not use both expression and non-expression parameters in the same request: "
                f"Non-expression parameters: {{{', '.join(former)}}} "
                f"Expression parameters: {{{', '.join(expressions)}}}"
            )
        if not expressions and members.get(NAMES) is not None:
            raise validation(f"{NAMES} can only be specified when using expressions")
        if members.get(VALUES) is not None:
            self._check_values_used(expressions)

    def _check_values_used(self, expressions: list[str]) -> None:
        using = self._using
        if using and not any(name in using for name in expressions):
            verb = "is" if len(using) == 1 else "are"
            which = f": {' and '.join(using)} {verb} null" if self.tells_which else ""
            raise validation(f"{VALUES} can only be specified when using expressions{which}")


def expressions_of(members: Mapping[str, Any]) -> Expressions:
    """Check the maps of names and values, and give what reads the request's expressions.

    Raises: AwsError, ExpressionError: about the names' keys, then the values' keys, then what is
        no attribute value, then the maps' size.
    """
    return Expressions(members.get(NAMES), _values_of(members))


def read_guard(members: Mapping[str, Any]) -> Guard | None:
    """Read the Expected or the ConditionExpression of a request that has no other expression.

    Raises: AwsError, ExpressionError.
    """
    if members.get("ConditionExpression") is None:
        # `check_together` has made sure that there are no names and values either.
        return guard_of(read_expected(members), members)
    condition = sole_condition(
        members["ConditionExpression"], members.get(NAMES), _values_of(members)
    )
    return guard_of(condition, members)


def read_projection(members: Mapping[str, Any]) -> Projection | None:
    """Read the AttributesToGet or the ProjectionExpression of a request with nothing beside it.

    Raises: AwsError, ExpressionError.
    """
    if members.get(PROJECTION) is None:
        return read_attributes_to_get(members)  # nor names
    expressions = expressions_of(members)
    projection = projection_of(expressions, members)
    expressions.finish()
    return projection


def read_sole_update(members: Mapping[str, Any]) -> Update | None:
    """Read the UpdateExpression of a request that has nothing beside it; None if it has.

    Raises: AwsError, ExpressionError.
    """
    text = members.get("UpdateExpression")
    if text is None or members.get("ConditionExpression") is not None:
        return None
    return sole_update(text, members.get(NAMES), _values_of(members))  # nor former ones beside it


def guard_of(condition: Condition | None, members: Mapping[str, Any]) -> Guard | None:
    """Make what a write holds against the item, and ReturnValuesOnConditionCheckFailure of it."""
    if condition is None:
        return None
    shown = members.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return Guard(condition=condition, shows_item=shown)


def condition_of(expressions: Expressions, members: Mapping[str, Any]) -> Condition | None:
    """Read the ConditionExpression, if there is one. Raises: ExpressionError."""
    text = members.get("ConditionExpression")
    return None if text is None else expressions.condition(text)


def filter_of(expressions: Expressions, members: Mapping[str, Any]) -> Condition | None:
    """Read the FilterExpression, if there is one. Raises: ExpressionError."""
    text = members.get("FilterExpression")
    return None if text is None else expressions.filter(text)


def projection_of(expressions: Expressions, members: Mapping[str, Any]) -> Projection | None:
    """Read the ProjectionExpression, if there is one. Raises: ExpressionError."""
    text = members.get(PROJECTION)
    return None if text is None else expressions.projection(text)


def update_of(expressions: Expressions, members: Mapping[str, Any]) -> Update | None:
    """Read the UpdateExpression, if there is one. Raises: ExpressionError."""
    text = members.get("UpdateExpression")
    return None if text is None else expressions.update(text)


def _values_of(members: Mapping[str, Any]) -> dict[str, Attribute] | None:
    """Check the values themselves. Raises: as `expressions_of`, but for the size."""
    given = members.get(VALUES)
    if given is None:
        return None
    try:
        return {alias: _checked(alias, value) for alias, value in given.items()}
    except AwsError:
        # The keys of both maps come before; on the good path `Expressions` looks at them.
        names = members.get(NAMES)
        if names is not None:
            check_names(names)
        check_values(given)
        raise


def _given(names: Iterable[str], members: Mapping[str, Any]) -> list[str]:
    return [name for name in names if members.get(name) is not None]


def _checked(alias: str, value: Attribute) -> Attribute:
    try:
        return check_attribute(value)
    except AwsError as error:
        text = f"{VALUES} contains invalid value: {error.text} for key {alias}"
        raise validation(text, newer=error.newer, is_bare=error.is_bare) from None
