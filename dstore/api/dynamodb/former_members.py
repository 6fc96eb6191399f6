"""The members of a request that expressions have replaced, read as the expressions that they are.

Values are checked before what is done with them, an attribute at a time, in the order in which the
request has them. The order of the checks of one attribute, and of ConditionalOperator behind them,
is that of DynamoDB local's input converter, which has the service's sentences; dynalite's suite,
which was run against AWS, agrees wherever it has a case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.attributes import check_attribute, check_name
from dstore.api.dynamodb.errors import AwsError, validation
from dstore.api.dynamodb.item_keys import INVALID
from dstore.base.limits import ITEM_BYTES_MAX
from dstore.expressions import FormerTerm, former
from dstore.model.values import attribute_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dstore.expressions import Condition, KeyCondition, Projection, Update
    from dstore.model.values import Attribute

ATTRIBUTES_TO_GET: Final = "AttributesToGet"
ATTRIBUTE_UPDATES: Final = "AttributeUpdates"
KEY_CONDITIONS: Final = "KeyConditions"
_OPERATOR: Final = "ConditionalOperator"
_EXPECTED: Final = "Expected"
_TOO_LARGE: Final = "Item size to update has exceeded the maximum allowed size"
_TESTS_OF_PRESENCE: Final = frozenset({"NULL", "NOT_NULL"})


def read_expected(members: Mapping[str, Any]) -> Condition | None:
    """Read Expected, and ConditionalOperator with it; None if nothing is expected.

    Raises: AwsError, ExpressionError.
    """
    terms: list[FormerTerm] = []
    size = 0
    for name, given in (members.get(_EXPECTED) or {}).items():
        _check_expected(name, given)
        alone = given.get("Value")
        values = _values(given) if alone is None else (check_attribute(alone),)
        check_name(name)
        size += _bytes(name, values)
        if size > ITEM_BYTES_MAX:
            raise validation("Item size has exceeded the maximum allowed size", is_bare=True)
        terms.append(FormerTerm(name, _operator_of(given), values))
        former.check_comparison(terms[-1])
    return _condition_of(members, _EXPECTED, terms)


def read_filter(members: Mapping[str, Any], member: str) -> Condition | None:
    """Read QueryFilter or ScanFilter, and ConditionalOperator with it; None if all is kept.

    Raises: AwsError, ExpressionError.
    """
    terms = _compared(members.get(member) or {})
    return _condition_of(members, member, terms)


def read_key_conditions(members: Mapping[str, Any]) -> KeyCondition:
    """Read KeyConditions, which are there. Raises: AwsError, ExpressionError."""
    return former.key_condition_of(_compared(members[KEY_CONDITIONS]))


def read_updates(members: Mapping[str, Any]) -> Update | None:
    """Read AttributeUpdates; None if they say nothing.

    Raises: AwsError, ExpressionError.
    """
    terms: list[FormerTerm] = []
    put_bytes = removed_bytes = 0
    for name, given in (members.get(ATTRIBUTE_UPDATES) or {}).items():
        value = given.get("Value")
        values = () if value is None else (check_attribute(value),)
        terms.append(FormerTerm(name, given.get("Action") or "PUT", values))
        former.check_change(terms[-1])
        check_name(name)
        if terms[-1].operator == "DELETE":
            removed_bytes += _bytes(name, values)
        else:
            put_bytes += _bytes(name, values)
        if max(put_bytes, removed_bytes) > ITEM_BYTES_MAX:
            raise validation(_TOO_LARGE, is_bare=True)
    return former.update_of(terms) if terms else None


def read_attributes_to_get(members: Mapping[str, Any]) -> Projection | None:
    """Read AttributesToGet; None if there are none. Raises: AwsError, ExpressionError."""
    names = members.get(ATTRIBUTES_TO_GET)
    if names is None:
        return None
    projection = former.projection_of(names)
    for name in names:
        check_name(name)
    return projection


def _compared(conditions: Mapping[str, Any]) -> list[FormerTerm]:
    """Read a map of Conditions. Raises: AwsError, ExpressionError."""
    terms: list[FormerTerm] = []
    for name, given in conditions.items():
        check_name(name)
        terms.append(FormerTerm(name, given["ComparisonOperator"], _values(given)))
        former.check_comparison(terms[-1])
    return terms


def _condition_of(
    members: Mapping[str, Any], member: str, terms: Sequence[FormerTerm]
) -> Condition | None:
    """Join terms as ConditionalOperator says. Raises: AwsError: it does not go with them."""
    operator = members.get(_OPERATOR)
    if operator is not None:
        if not terms:
            raise validation(f"{_OPERATOR} cannot be used without Filter or Expected")
        if len(terms) == 1:
            raise validation(
                f"{_OPERATOR} can only be used when Filter or Expected has two or more elements"
            )
    if not terms:
        return None
    operands = len(terms) + sum(len(term.values) for term in terms)
    if operands > former.OPERANDS_MAX:
        raise validation(
            f"{INVALID}dStore takes at most {former.OPERANDS_MAX} attributes and values in "
            f"{member}, not {operands}"
        )
    return former.condition_of(terms, is_any=operator == "OR")


def _check_expected(name: str, given: Mapping[str, Any]) -> None:
    """Refuse members of an expected attribute that do not go together."""
    operator, exists = given.get("ComparisonOperator"), given.get("Exists")
    has_value, has_list = "Value" in given, "AttributeValueList" in given
    if exists is not None and operator is not None:
        raise _misfit("Exists and ComparisonOperator cannot be used together", name)
    if has_value and has_list:
        raise _misfit("Value and AttributeValueList cannot be used together", name)
    if has_list and operator is None:
        raise _misfit("AttributeValueList can only be used with a ComparisonOperator", name)
    if exists is False and has_value:
        raise _misfit("Value cannot be used when Exists is false", name)
    if has_value or has_list or exists is False or operator in _TESTS_OF_PRESENCE:
        return
    if operator is not None:
        raise _misfit(
            f"Value or AttributeValueList must be used with ComparisonOperator: {operator}", name
        )
    shown = "null" if exists is None else "true"
    raise _misfit(f"Value must be provided when Exists is {shown}", name)


def _misfit(text: str, name: str) -> AwsError:
    return validation(f"{INVALID}{text} for Attribute: {name}")


def _operator_of(given: Mapping[str, Any]) -> str:
    """Name the comparison that an expected attribute asks for, in words or by Exists."""
    operator: str | None = given.get("ComparisonOperator")
    if operator is not None:
        return operator
    return "NULL" if given.get("Exists") is False else "EQ"


def _values(given: Mapping[str, Any]) -> tuple[Attribute, ...]:
    """Check the values that an attribute is compared with. Raises: AwsError."""
    return tuple([check_attribute(value) for value in given.get("AttributeValueList") or ()])


def _bytes(name: str, values: Iterable[Attribute]) -> int:
    return len(name.encode()) + sum(map(attribute_bytes, values))
