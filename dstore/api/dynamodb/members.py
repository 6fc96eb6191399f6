"""The members that requests of several operations share, and how to put a request together.

    SHAPE = request(RETURN_CONSUMED_CAPACITY, TABLE_NAME, ITEM, …)      in actions/put_item.py

The order in which a request lists its members is of no matter: AWS complains in the order of a Java
HashMap (`shape_values.in_hash_map_order`); that of other structures is the order of print.
Bounds and enumerations: botocore's service model; the order within an enumeration: dynalite.
The members of tables alone are in `table_members.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dstore.api.dynamodb.attribute_shape import accept_all
from dstore.api.dynamodb.shape_scalars import Rule, String
from dstore.api.dynamodb.shapes import (
    AttributeValue,
    Boolean,
    Integer,
    ListOf,
    MapOf,
    Shape,
    Structure,
)
from dstore.base.limits import TABLE_ARN_CHARS_MAX, TABLE_NAME_CHARS_MAX, TABLE_NAME_CHARS_MIN


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure: its name, its shape, and whether it must be there."""

    name: str
    shape: Shape
    required: bool = False
    is_first: bool = False
    """AWS reports its absence before anything else, in other words."""

    def optional(self) -> Member:
        """Make it a member that may be left out."""
        return replace(self, required=False, is_first=False)

    def first(self) -> Member:
        """Make it a member whose absence is reported before anything else."""
        return replace(self, required=True, is_first=True)


def request(*members: Member, tell: Callable[[Sequence[str]], str] | None = None) -> Structure:
    """Put the shape of a request together; of `tell` see `Structure`."""
    return structure("", *members, tell=tell)


def structure(
    name: str, *members: Member, tell: Callable[[Sequence[str]], str] | None = None
) -> Structure:
    """Put a structure together; `name` is Java's name of its class."""
    return Structure(
        {member.name: member.shape for member in members},
        required=tuple(one.name for one in members if one.required and not one.is_first),
        required_first=tuple(one.name for one in members if one.is_first),
        name=name,
        tell=tell,
    )


def words(*enum: str) -> String:
    """Make a shape that takes one of these words, which AWS prints in this order."""
    return String(enum=enum)


# ------------------------------------------------------------------------------------- the names

NAME_PATTERN: Final = "[a-zA-Z0-9_.-]+"
NAME: Final = String(pattern=NAME_PATTERN, min=TABLE_NAME_CHARS_MIN, max=TABLE_NAME_CHARS_MAX)
"""The name of a table or of an index."""

_ARN: Final = "arn:"
_NAME_OR_ARN: Final = re.compile(
    f"[a-zA-Z0-9_.-]{{{TABLE_NAME_CHARS_MIN},{TABLE_NAME_CHARS_MAX}}}"
    f"|{_ARN}.{{0,{TABLE_ARN_CHARS_MAX - len(_ARN)}}}",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class NameOrArn(String):
    """The name of a table, or its ARN, which is told by how it begins.

    An empty name breaks a bound of 1 and no other (paritysuite/dynamodb-conformance,
    tests/tier3/error-messages/putItem); 1 or 2 characters break the bound of names, 3. An ARN has
    a greatest length only; what it says is for `table_names.py`.
    """

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        return type(value) is str and _NAME_OR_ARN.fullmatch(value) is not None

    def _rules(self) -> Iterator[Rule]:
        least, pattern, length = NAME.rules[1], NAME.rules[0], NAME.rules[2]
        yield "Member must have length greater than or equal to 1", bool
        for text, holds in (pattern, least, length):
            yield text, _of_names(holds)
        text = f"Member must have length less than or equal to {TABLE_ARN_CHARS_MAX}"
        yield text, lambda value: not _is_arn(value) or len(value) <= TABLE_ARN_CHARS_MAX


class _RequestItemsKey(NameOrArn):
    """A key of a batch's RequestItems, of which AWS tells the bounds of names alone.

    Source: paritysuite/dynamodb-conformance, tests/tier3/error-messages/batchGetItem.test.ts and
    batchWriteItem.test.ts (October 2026).
    """

    def _rules(self) -> Iterator[Rule]:
        for text, holds in NAME.rules:
            yield text, _unless_arn(holds)


def _unless_arn(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _is_arn(value) or holds(value)


def _of_names(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: not value or _is_arn(value) or holds(value)


def _is_arn(value: str) -> bool:
    return value.startswith(_ARN)


TABLE_NAME: Final = Member("TableName", NameOrArn(), required=True)
INDEX_NAME: Final = Member("IndexName", NAME)
REQUEST_ITEMS_KEY: Final = _RequestItemsKey()
"""A key of a batch's RequestItems."""

# ------------------------------------------------------------------------------------- the items


@dataclass(frozen=True, slots=True)
class Attributes(MapOf):
    """A map of attribute values, in which nothing but their types is looked at; the hot path."""

    value: Shape = field(default=AttributeValue(), init=False)

    def accepts(self, value: Any) -> bool:
        """Tell quickly whether the value is right as it is."""
        return type(value) is dict and accept_all(value.values())


_ATTRIBUTES: Final = Attributes()
KEY: Final = Member("Key", _ATTRIBUTES, required=True)
ITEM: Final = Member("Item", _ATTRIBUTES, required=True)
EXCLUSIVE_START_KEY: Final = Member("ExclusiveStartKey", _ATTRIBUTES)
EXPRESSION_ATTRIBUTE_VALUES: Final = Member("ExpressionAttributeValues", _ATTRIBUTES)
EXPRESSION_ATTRIBUTE_NAMES: Final = Member("ExpressionAttributeNames", MapOf(String()))
CONDITION_EXPRESSION: Final = Member("ConditionExpression", String())
UPDATE_EXPRESSION: Final = Member("UpdateExpression", String())
FILTER_EXPRESSION: Final = Member("FilterExpression", String())
PROJECTION_EXPRESSION: Final = Member("ProjectionExpression", String())
KEY_CONDITION_EXPRESSION: Final = Member("KeyConditionExpression", String())

# ----------------------------------------------------------------------------------- the options

RETURN_CONSUMED_CAPACITY: Final = Member(
    "ReturnConsumedCapacity", words("INDEXES", "TOTAL", "NONE")
)
RETURN_ITEM_COLLECTION_METRICS: Final = Member("ReturnItemCollectionMetrics", words("SIZE", "NONE"))
RETURN_VALUES: Final = Member(
    "ReturnValues", words("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
)
RETURN_VALUES_ON_CONDITION_CHECK_FAILURE: Final = Member(
    "ReturnValuesOnConditionCheckFailure", words("ALL_OLD", "NONE")
)
SELECT: Final = Member(
    "Select",
    words("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
)
CONSISTENT_READ: Final = Member("ConsistentRead", Boolean())
SCAN_INDEX_FORWARD: Final = Member("ScanIndexForward", Boolean())
LIMIT: Final = Member("Limit", Integer(min=1))
"""Of a Query or Scan; ListTables has a bound of its own."""

# ----------------------------------------------------------------- the members before expressions

COMPARISON_OPERATORS: Final = (
    "IN",
    "NULL",
    "BETWEEN",
    "LT",
    "NOT_CONTAINS",
    "EQ",
    "GT",
    "NOT_NULL",
    "NE",
    "LE",
    "BEGINS_WITH",
    "GE",
    "CONTAINS",
)
_VALUE: Final = Member("Value", AttributeValue())
_VALUE_LIST: Final = Member("AttributeValueList", ListOf(AttributeValue()))
_OPERATOR: Final = Member("ComparisonOperator", words(*COMPARISON_OPERATORS))
_CONDITIONS: Final = MapOf(structure("Condition", _VALUE_LIST, replace(_OPERATOR, required=True)))
ATTRIBUTES_TO_GET: Final = Member("AttributesToGet", ListOf(String(), min=1, max=255))
CONDITIONAL_OPERATOR: Final = Member("ConditionalOperator", words("OR", "AND"))
EXPECTED: Final = Member(
    "Expected",
    MapOf(
        structure(
            "ExpectedAttributeValue", _VALUE_LIST, _OPERATOR, Member("Exists", Boolean()), _VALUE
        )
    ),
)
ATTRIBUTE_UPDATES: Final = Member(
    "AttributeUpdates",
    MapOf(
        structure("AttributeValueUpdate", _VALUE, Member("Action", words("ADD", "DELETE", "PUT")))
    ),
)
KEY_CONDITIONS: Final = Member("KeyConditions", _CONDITIONS)
QUERY_FILTER: Final = Member("QueryFilter", _CONDITIONS)
SCAN_FILTER: Final = Member("ScanFilter", _CONDITIONS)
