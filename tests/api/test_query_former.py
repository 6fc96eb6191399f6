"""KeyConditions, QueryFilter and AttributesToGet of Query, case by case.

Every case names the public source of its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import NOT_FOUND, Case, invalid, name_of, run
from tests.support.dynamodb_former import (
    CONDITIONS,
    COUNTS,
    EXTENDDB,
    FILTER,
    INVALID,
    OTHERS,
    PARITY,
    QUERY,
    TOO_FEW,
    TYPES,
    WITHOUT,
    RefusedComparison,
    condition,
    n,
    s,
)
from tests.support.dynamodb_query_former import ID, MOTO, OF_P, query
from tests.support.dynamodb_values import BAD_VALUES, LAYERS, NEWER_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "Query"
START: Final = "The provided starting key is invalid"
UNSUPPORTED: Final = "Query key condition not supported"
NOT_INDEXABLE: Final = "Attempted conditional constraint is not an indexable operation"
MISTYPED: Final = f"{INVALID}Condition parameter type does not match schema type"


def refused(name: str, request: Mapping[str, Any], text: str, source: str = QUERY) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


# ------------------------------------------------------------------------------- what is refused

MIXING: Final = (
    "Can not use both expression and non-expression parameters in the same request: "
    "Non-expression parameters: {{{}}} Expression parameters: {{{}}}"
)
BAD_EQ: Final = {"a": condition("EQ", {})}
EVERYTHING: Final[dict[str, Any]] = {
    "TableName": "<PC>",
    "ExclusiveStartKey": {"a": {}},
    "Select": "SPECIFIC_ATTRIBUTES",
    "AttributesToGet": ["a", "a"],
    "QueryFilter": BAD_EQ,
    "ConditionalOperator": "OR",
    "KeyConditions": BAD_EQ,
    "ProjectionExpression": "",
    "FilterExpression": "",
    "KeyConditionExpression": "",
    "ExpressionAttributeNames": {},
    "ExpressionAttributeValues": {},
}


def without(*names: str) -> dict[str, Any]:
    """Leave members of EVERYTHING out."""
    return {name: value for name, value in EVERYTHING.items() if name not in names}


_EXPRESSIONS: Final = ("ProjectionExpression", "FilterExpression", "KeyConditionExpression")
TOGETHER: Final = [
    refused(
        "all",
        EVERYTHING,
        MIXING.format(
            "AttributesToGet, QueryFilter, ConditionalOperator, KeyConditions",
            ", ".join(_EXPRESSIONS),
        ),
    ),
    refused(
        "key-conditions-beside-others",
        without("KeyConditionExpression"),
        MIXING.format(
            "AttributesToGet, QueryFilter, ConditionalOperator",
            "ProjectionExpression, FilterExpression",
        ),
    ),
    refused(
        "no-key-conditions",
        without("KeyConditions"),
        MIXING.format("AttributesToGet, QueryFilter, ConditionalOperator", ", ".join(_EXPRESSIONS)),
    ),
    refused(
        "names-without-expressions",
        without(*_EXPRESSIONS),
        "ExpressionAttributeNames can only be specified when using expressions",
    ),
    refused(
        "values-without-expressions",
        without(*_EXPRESSIONS, "ExpressionAttributeNames"),
        "ExpressionAttributeValues can only be specified when using expressions: FilterExpression "
        "and KeyConditionExpression are null",
    ),
    *[
        refused(f"mixed-{name}", query(**request), MIXING.format(former, expressions), EXTENDDB)
        for name, request, former, expressions in (
            (
                "operator-with-key-condition",
                {
                    "conditions": None,
                    "ConditionalOperator": "AND",
                    "KeyConditionExpression": "p=:p",
                },
                "ConditionalOperator",
                "KeyConditionExpression",
            ),
            (
                "names-with-key-condition",
                {"conditions": None, "AttributesToGet": ["a"], "KeyConditionExpression": "p = :p"},
                "AttributesToGet",
                "KeyConditionExpression",
            ),
            (
                "filter-with-key-condition",
                {"conditions": None, "QueryFilter": {}, "KeyConditionExpression": "p = :p"},
                "QueryFilter",
                "KeyConditionExpression",
            ),
            (
                "both-key-conditions",
                {"conditions": OF_P, "KeyConditionExpression": "p = :p"},
                "KeyConditions",
                "KeyConditionExpression",
            ),
            (
                "filter-with-projection",
                {"conditions": OF_P, "QueryFilter": {}, "ProjectionExpression": "a"},
                "QueryFilter",
                "ProjectionExpression",
            ),
        )
    ],
    refused("operator-alone", query(OF_P, ConditionalOperator="AND"), WITHOUT, EXTENDDB),
    refused(
        "operator-before-conditions", query(None, ConditionalOperator="AND"), WITHOUT, EXTENDDB
    ),
    refused(
        "operator-with-empty-filter",
        query(OF_P, ConditionalOperator="OR", QueryFilter={}),
        WITHOUT,
        EXTENDDB,
    ),
    refused(
        "operator-of-one",
        query(OF_P, ConditionalOperator="AND", QueryFilter={"a": condition("EQ", s("x"))}),
        TOO_FEW,
        EXTENDDB,
    ),
    refused(
        "no-conditions",
        query(None, QueryFilter={"p": condition("EQ", ID)}),
        "Either the KeyConditions or KeyConditionExpression parameter must be specified in the "
        "request.",
        f"{FILTER}::test_query_filter_partition_key_1; dynalite validations/query.js",
    ),
]
FEW: Final = "Conditions can be of length 1 or 2 only"
ORDER: Final = [
    refused(
        "filter-before-names",
        query(BAD_EQ, QueryFilter=BAD_EQ, AttributesToGet=["a", "a"], ExclusiveStartKey={"a": {}}),
        BAD_VALUES["empty"][1],
    ),
    refused(
        "names-before-start",
        query(None, QueryFilter={}, AttributesToGet=["a", "a"], ExclusiveStartKey={"a": {}}),
        f"{INVALID}Duplicate value in attribute name: a",
    ),
    refused(
        "start-before-conditions",
        query({"a": condition("EQ")}, ExclusiveStartKey={"a": {}}),
        f"{START}: {BAD_VALUES['empty'][1]}",
    ),
    refused("no-condition", query({}, QueryFilter={}), FEW),
    refused("three-conditions", query({name: condition("NULL") for name in "abc"}), FEW),
    refused(
        "first-bad-of-three",
        query({"a": condition("EQ"), "b": condition("NULL"), "c": condition("NULL")}),
        f"{INVALID}Invalid number of argument(s) for the EQ ComparisonOperator",
    ),
    *[
        Case(
            name=f"table-before-key-{len(start)}",
            request=query(
                {"z": condition("NULL")}, "GONE", QueryFilter={}, ExclusiveStartKey=start
            ),
            error=NOT_FOUND,
            source=QUERY,
        )
        for start in ({}, {"b": s("a")}, {"a": s("a"), "b": s("a")})
    ],
    refused(
        "index-before-key",
        query({"z": condition("NULL")}, IndexName="whatever", ExclusiveStartKey={}),
        "The table does not have the specified index: whatever",
    ),
    refused(
        "consistent-index-before-key",
        query(
            {"z": condition("NULL")},
            "INDEXED",
            IndexName="gsi",
            ConsistentRead=True,
            ExclusiveStartKey={},
        ),
        "Consistent reads are not supported on global secondary indexes",
    ),
    *[
        refused(
            f"start-before-key-{at}",
            query({"z": condition("NULL")}, QueryFilter={}, ExclusiveStartKey=start),
            START,
        )
        for at, start in enumerate(({}, {"z": n(1)}, {"p": s("a")}))
    ],
]
KEYS: Final = [
    refused(
        "no-partition-key",
        query({"z": condition("NULL")}),
        MISSED := ("Query condition missed key schema element: p"),
    ),
    refused(
        "sort-key-alone",
        query({"c": condition("EQ", s("a"))}),
        MISSED,
        f"{CONDITIONS}::test_key_conditions_partition_missing",
    ),
    refused(
        "other-for-the-sort-key",
        query({**OF_P, "a": condition("EQ", n(5))}),
        "Query condition missed key schema element: c",
        f"{QUERY}; {CONDITIONS}::test_key_conditions_non_key",
    ),
    refused(
        "two-of-a-table-of-one",
        query({**OF_P, "c": condition("EQ", s("a"))}, "P"),
        "The number of query conditions (2) exceeds the number of key attributes defined in the "
        "schema (1)",
        "paritysuite/dynamodb-conformance tests/tier1/query/queryKeyConditionOperands.test.ts",
    ),
    *[
        refused(
            f"{operator}-of-the-partition-key",
            query({"p": condition(operator, *values)}),
            NOT_INDEXABLE,
            f"{QUERY}; {CONDITIONS}::test_key_conditions_partition_only_eq",
        )
        for operator, values in (
            ("NULL", []),
            ("NOT_NULL", []),
            ("NE", [s("a")]),
            ("CONTAINS", [s("a")]),
            ("NOT_CONTAINS", [s("a")]),
            ("IN", [s("a")]),
        )
    ],
    *[
        refused(
            f"{operator}-of-the-sort-key",
            query({**OF_P, "c": condition(operator, *values)}),
            NOT_INDEXABLE,
            f"{QUERY}; {CONDITIONS}::test_key_conditions_sort_unsupported",
        )
        for operator, values in (
            ("NULL", []),
            ("NOT_NULL", []),
            ("NE", [s("a")]),
            ("CONTAINS", [s("a")]),
            ("NOT_CONTAINS", [s("a")]),
            ("IN", [s("a"), s("b")]),
        )
    ],
    *[
        refused(
            f"{operator}-as-the-partition-key",
            query({"p": condition(operator, *values)}),
            UNSUPPORTED,
            f"{QUERY}; {CONDITIONS}::test_key_conditions_partition_only_eq",
        )
        for operator, values in (
            ("LT", [s("a")]),
            ("LE", [s("a")]),
            ("GT", [s("a")]),
            ("GE", [s("a")]),
            ("BEGINS_WITH", [s("a")]),
            ("BETWEEN", [s("a"), s("b")]),
        )
    ],
    refused(
        "type-of-the-partition-key",
        query({"p": condition("EQ", n(3))}),
        MISTYPED,
        f"{CONDITIONS}::test_key_conditions_wrong_type",
    ),
    refused(
        "type-of-the-sort-key",
        query({**OF_P, "c": condition("EQ", n(3))}),
        MISTYPED,
        f"{CONDITIONS}::test_key_conditions_wrong_type",
    ),
    refused("list-for-the-partition-key", query({"p": condition("EQ", {"L": []})}), MISTYPED),
    refused(
        "type-before-operator-of-the-partition-key", query({"p": condition("LT", n(3))}), MISTYPED
    ),
    refused(
        "empty-partition-key",
        query({"p": condition("EQ", s(""))}),
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
        "contain an empty string value. Key: p",
        f"{PARITY}; paritysuite/dynamodb-conformance tests/tier3/limits/emptyValues.test.ts",
    ),
    refused(
        "begins-of-a-number",
        query({**OF_P, "c": condition("BEGINS_WITH", n(3))}, "PN"),
        f"{INVALID}ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type",
        f"{CONDITIONS}::test_key_conditions_num_begins",
    ),
    refused(
        "start-of-another-partition",
        query(OF_P, ExclusiveStartKey={"p": s("other"), "c": s("a")}),
        "The provided starting key is outside query boundaries based on provided conditions",
    ),
    refused(
        "start-outside-of-the-range",
        query({**OF_P, "c": condition("GT", s("a"))}, ExclusiveStartKey={"p": ID, "c": s("a")}),
        "The provided starting key does not match the range key predicate",
    ),
    refused(
        "filter-of-the-partition-key",
        query(OF_P, QueryFilter={"p": condition("EQ", ID)}),
        "QueryFilter can only contain non-primary key attributes: Primary key attribute: p",
        f"{FILTER}::test_query_filter_partition_key_2; dynalite actions/query.js",
    ),
    refused(
        "filter-of-the-sort-key",
        query(OF_P, QueryFilter={"a": condition("NULL"), "c": condition("EQ", s("a"))}),
        "QueryFilter can only contain non-primary key attributes: Primary key attribute: c",
        f"{FILTER}::test_query_filter_sort_key_2; dynalite actions/query.js",
    ),
]
SELECTS: Final = [
    refused(
        f"select-{select}-with-names",
        query(OF_P, Select=select, AttributesToGet=["a"]),
        "1 validation error detected: Cannot specify the AttributesToGet when choosing to get "
        f"{what}",
        MOTO,
    )
    for select, what in (
        ("ALL_ATTRIBUTES", "ALL_ATTRIBUTES"),
        ("ALL_PROJECTED_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
        ("COUNT", "only the Count"),
    )
]


@pytest.mark.parametrize("case", TOGETHER, ids=name_of)
def test_what_goes_together(tables: Tables, case: Case) -> None:
    """Expressions and what they have replaced exclude each other, but for KeyConditions."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", ORDER, ids=name_of)
def test_order_of_complaints(tables: Tables, case: Case) -> None:
    """The filter, the names, the starting key, the conditions, the table, the index, the key."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", KEYS, ids=name_of)
def test_conditions_that_fit_no_key(tables: Tables, case: Case) -> None:
    """The conditions must be of the table's keys, of their types, and such as find a range."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", SELECTS, ids=name_of)
def test_selects(tables: Tables, case: Case) -> None:
    """AttributesToGet goes with SPECIFIC_ATTRIBUTES alone."""
    run(tables, OP, case)


@pytest.mark.parametrize("member", ["KeyConditions", "QueryFilter"])
@pytest.mark.parametrize("one", [*COUNTS, *TYPES, *OTHERS], ids=lambda one: one.name)
def test_refused_comparisons(tables: Tables, member: str, one: RefusedComparison) -> None:
    """A comparison with too few values, or with such as it has no use for, is refused."""
    request = {"TableName": "<GONE>", member: {"a": one.condition}}
    run(tables, OP, refused("", request, one.text, one.source))


@pytest.mark.parametrize("member", ["KeyConditions", "QueryFilter"])
@pytest.mark.parametrize("name", NEWER_VALUES)
def test_refused_values(tables: Tables, member: str, name: str) -> None:
    """What is no attribute value is refused before the number of values is looked at."""
    value, text = NEWER_VALUES[name]
    request = {"TableName": "<GONE>", member: {"a": condition("EQ", n(1), value)}}
    run(tables, OP, refused("", request, text, f"{QUERY}; {LAYERS}"))
