"""Query, case by case; every case names the public source of its answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, copies, invalid, name_of, run, violated
from tests.support.dynamodb_conditions import condition_cases
from tests.support.dynamodb_members import PARITY, enum_cases, enumeration, table_name_cases
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_values import LAYERS, NEWER_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "Query"
SOURCE: Final = "dynalite test/query.js"
# The sentences are dynalite's; what stands before them the service says since 2025.
KEYCOND: Final = (
    "dynalite validations/index.js convertKeyCondition; "
    "https://github.com/aws-amplify/amplify-category-api/pull/3531"
)
OPERANDS: Final = (
    "paritysuite/dynamodb-conformance tests/tier1/query/queryKeyConditionOperands.test.ts"
)
MESSAGES: Final = f"{PARITY}/error-messages/query.test.ts"
ALTERNATOR: Final = "Alternator test/alternator/test_key_condition_expression.py"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html"
S: Final[dict[str, Any]] = {"S": "a"}
ID: Final[dict[str, Any]] = {"S": "<ID>"}
OF_P: Final[dict[str, Any]] = {
    "TableName": "<PC>",
    "KeyConditionExpression": "p = :p",
    "ExpressionAttributeValues": {":p": ID},
}


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def query(expression: str, table: str = "PC", **values: Any) -> dict[str, Any]:
    """Spell a query by its key condition; `:p` is the case's own key, if it stands there."""
    if ":p" in expression:
        values.setdefault("p", ID)
    given = {f":{name}": value for name, value in values.items()}
    return {
        "TableName": f"<{table}>",
        "KeyConditionExpression": expression,
        **({"ExpressionAttributeValues": given} if given else {}),
    }


CONSTRAINTS: Final = [
    *table_name_cases(OP, OF_P),
    *enum_cases(OP, OF_P, "ReturnConsumedCapacity", "Select", "ConditionalOperator"),
    # The text changed between the service's releases; both say which bound.
    *[
        Case(
            name=f"limit-{limit}",
            request=copies(OF_P, Limit=limit),
            error=invalid(
                re.compile(
                    rf"^1 validation error detected: Value ('{limit}' )?at '[lL]imit' failed to "
                    r"satisfy constraint: Member must have value greater than or equal to 1$"
                )
            ),
            source=MESSAGES,
        )
        for limit in (0, -1)
    ],
    Case(
        name="index-name-short",
        request=copies(OF_P, IndexName="ab"),
        error=violated(("ab", "indexName", "Member must have length greater than or equal to 3")),
        source=SOURCE,
    ),
    Case(
        name="index-name-long",
        request=copies(OF_P, IndexName="a" * 256),
        error=violated(
            ("a" * 256, "indexName", "Member must have length less than or equal to 255")
        ),
        source=SOURCE,
    ),
    Case(
        name="index-name-pattern",
        request=copies(OF_P, IndexName="abc;"),
        error=violated(
            ("abc;", "indexName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
        ),
        source=SOURCE,
    ),
    Case(
        name="no-attributes-to-get",
        request=copies(OF_P, AttributesToGet=[]),
        error=violated(
            ("[]", "attributesToGet", "Member must have length greater than or equal to 1")
        ),
        source=SOURCE,
    ),
    Case(
        name="comparison-operator",
        request={"TableName": "<PC>", "KeyConditions": {"p": {"ComparisonOperator": "hi"}}},
        error=violated(
            (
                "hi",
                "keyConditions.p.member.comparisonOperator",
                enumeration(
                    "IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, "
                    "GE, CONTAINS"
                ),
            )
        ),
        source=SOURCE,
    ),
    refused(
        "no-condition",
        {"TableName": "<PC>"},
        "Either the KeyConditions or KeyConditionExpression parameter must be specified in the "
        "request.",
    ),
    refused(
        "mixed",
        copies(OF_P, AttributesToGet=["a"], QueryFilter={}),
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {AttributesToGet, QueryFilter} Expression parameters: "
        "{KeyConditionExpression}",
    ),
    refused(
        "names-alone",
        {"TableName": "<PC>", "KeyConditions": {}, "ExpressionAttributeNames": {"#a": "a"}},
        "ExpressionAttributeNames can only be specified when using expressions",
    ),
    *[
        refused(
            f"start-{name}",
            copies(OF_P, ExclusiveStartKey={"p": value}),
            text
            if re.search(
                "contains duplicates|number set|numeric value|significant digits|"
                "number with magnitude",
                text,
            )
            else f"The provided starting key is invalid: {text}",
            f"{SOURCE}; {LAYERS}",
        )
        for name, (value, text) in NEWER_VALUES.items()
    ],
]

SHAPE: Final = "Invalid KeyConditionExpression: "
NO_KEY: Final = f"{SHAPE}Invalid condition in KeyConditionExpression: No key attribute specified"
BAD: Final = "Invalid operator used in KeyConditionExpression: "
KEYS: Final = [
    refused(
        "empty",
        query(""),
        "Invalid KeyConditionExpression: The expression can not be empty;",
        MESSAGES,
    ),
    refused(
        "undefined-value",
        query("p = :x"),
        "Invalid KeyConditionExpression: An expression attribute value used in expression is "
        "not defined; attribute value: :x",
    ),
    refused(
        "undefined-name",
        query("#p = :p"),
        "Invalid KeyConditionExpression: An expression attribute name used in the document "
        "path is not defined; attribute name: #p",
    ),
    refused(
        "reserved",
        query("size = :p"),
        "Invalid KeyConditionExpression: Attribute name is a reserved keyword; reserved "
        "keyword: size",
    ),
    refused(
        "redundant-parens",
        query("((p = :p))"),
        "Invalid KeyConditionExpression: The expression has redundant parentheses;",
    ),
    refused(
        "unused-value",
        query("p = :p", x=S),
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:x}",
    ),
    refused(
        "unused-name",
        {**OF_P, "ExpressionAttributeNames": {"#unused": "a"}},
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#unused}",
        MESSAGES,
    ),
    refused("or", query("p = :p or c = :a", a=S), f"{SHAPE}{BAD}OR", KEYCOND),
    refused("not", query("not p = :p"), f"{SHAPE}{BAD}NOT", KEYCOND),
    refused("in", query("p in (:p)"), f"{SHAPE}{BAD}IN", KEYCOND),
    refused("unequal", query("p <> :p"), f"{SHAPE}{BAD}<>", KEYCOND),
    refused("exists", query("attribute_exists(p)"), f"{SHAPE}{BAD}attribute_exists", KEYCOND),
    refused(
        "not-exists",
        query("p = :p and attribute_not_exists(c)"),
        f"{SHAPE}{BAD}attribute_not_exists",
        KEYCOND,
    ),
    refused("contains", query("p = :p and contains(c, :a)", a=S), f"{SHAPE}{BAD}contains", KEYCOND),
    refused(
        "type",
        query("p = :p and attribute_type(c, :a)", a={"S": "S"}),
        f"{SHAPE}{BAD}attribute_type",
        KEYCOND,
    ),
    refused(
        "size",
        query("size(p) = :a", a={"N": "1"}),
        f"{SHAPE}KeyConditionExpressions cannot contain nested operations",
        KEYCOND,
    ),
    refused(
        "between-of-value",
        query("p = :p and :a between c and :b", a=S, b=S),
        f"{SHAPE}Invalid condition in KeyConditionExpression: BETWEEN operator must have the key "
        "attribute as its first operand",
        KEYCOND,
    ),
    refused(
        "begins-of-value",
        query("p = :p and begins_with(:a, c)", a=S),
        f"{SHAPE}Invalid condition in KeyConditionExpression: begins_with operator must have the "
        "key attribute as its first operand",
        KEYCOND,
    ),
    refused(
        "two-names",
        query("p = c"),
        f"{SHAPE}Invalid condition in KeyConditionExpression: Multiple attribute names used in one "
        "condition",
        KEYCOND,
    ),
    refused(
        "nested",
        query("p.a = :p"),
        f"{SHAPE}KeyConditionExpressions cannot have conditions on nested attributes",
        KEYCOND,
    ),
    refused(
        "nested-index",
        query("p[0] = :p"),
        f"{SHAPE}KeyConditionExpressions cannot have conditions on nested attributes",
        KEYCOND,
    ),
    refused("no-name", query(":p = :a", a=S), NO_KEY, KEYCOND),
    refused(
        "twice",
        query("p = :p and p = :p"),
        f"{SHAPE}KeyConditionExpressions must only contain one condition per key",
        KEYCOND,
    ),
    refused(
        "sort-twice",
        query("p = :p and c > :a and c < :b", a=S, b={"S": "b"}),
        f"{SHAPE}KeyConditionExpressions must only contain one condition per key",
        KEYCOND,
    ),
    refused(
        "between-reversed",
        query("p = :p and c between :a and :b", a={"S": "b"}, b=S),
        "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be "
        "greater than or equal to lower bound; lower bound operand: AttributeValue: {S:b}, "
        "upper bound operand: AttributeValue: {S:a}",
    ),
    refused(
        "sort-key-only",
        query("c = :a", a=S),
        "Query condition missed key schema element: p",
        MESSAGES,
    ),
    refused(
        "no-key-attribute",
        query("a = :a", a=S),
        "Query condition missed key schema element: p",
        MESSAGES,
    ),
    refused(
        "other-with-key",
        query("p = :p and a = :a", a=S),
        "Query condition missed key schema element: c",
    ),
    refused(
        "two-of-hash-table",
        query("p = :p and c = :a", "P", a=S),
        "The number of query conditions (2) exceeds the number of key attributes defined in the "
        "schema (1)",
        OPERANDS,
    ),
    refused("order-of-partition-key", query("p > :p"), "Query key condition not supported"),
    refused(
        "begins-of-partition-key", query("begins_with(p, :p)"), "Query key condition not supported"
    ),
    refused(
        "between-of-partition-key",
        query("p between :p and :p"),
        "Query key condition not supported",
    ),
    refused(
        "type-of-key",
        query("p = :a", a={"N": "1"}),
        "One or more parameter values were invalid: Condition parameter type does not match "
        "schema type",
    ),
    refused(
        "type-of-sort-key",
        query("p = :p and c < :a", a={"N": "1"}),
        "One or more parameter values were invalid: Condition parameter type does not match "
        "schema type",
    ),
    refused(
        "begins-of-number",
        query("p = :p and begins_with(c, :a)", "PN", a={"N": "1"}),
        "Invalid KeyConditionExpression: Incorrect operand type for operator or function; "
        "operator or function: begins_with, operand type: N",
    ),
    refused(
        "no-index",
        {**OF_P, "IndexName": "gone"},
        "The table does not have the specified index: gone",
    ),
    refused(
        "consistent-global-index",
        {**query("x = :a", "INDEXED", a=S), "IndexName": "gsi", "ConsistentRead": True},
        "Consistent reads are not supported on global secondary indexes",
        MESSAGES,
    ),
    refused(
        "filter-on-key",
        {**OF_P, "FilterExpression": "p = :p"},
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: p",
    ),
    refused(
        "filter-on-sort-key",
        {**OF_P, "FilterExpression": "attribute_exists(c)"},
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: c",
    ),
    refused(
        "filter-undefined-name",
        {**OF_P, "FilterExpression": "#missing = :p"},
        "Invalid FilterExpression: An expression attribute name used in the document path is "
        "not defined; attribute name: #missing",
        MESSAGES,
    ),
    refused(
        "start-of-other-names",
        copies(OF_P, ExclusiveStartKey={"a": S, "b": S}),
        "The provided starting key is invalid",
    ),
    refused(
        "start-too-few",
        copies(OF_P, ExclusiveStartKey={"p": ID}),
        "The provided starting key is invalid",
    ),
    refused(
        "start-too-many",
        copies(OF_P, ExclusiveStartKey={"p": ID, "c": S, "a": S}),
        "The provided starting key is invalid",
    ),
    refused(
        "start-elsewhere",
        copies(OF_P, ExclusiveStartKey={"p": {"S": "other"}, "c": S}),
        "The provided starting key is outside query boundaries based on provided conditions",
    ),
    refused(
        "start-beyond-condition",
        {
            **query("p = :p and c > :a", a={"S": "b"}),
            "ExclusiveStartKey": {"p": ID, "c": {"S": "a"}},
        },
        "The provided starting key does not match the range key predicate",
    ),
    *condition_cases(OF_P, "FilterExpression", is_newer=True),
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", [*CONSTRAINTS, *KEYS], ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, then expressions, then what does not fit the table."""
    run(tables, OP, case)
