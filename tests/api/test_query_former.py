"""KeyConditions, QueryFilter and AttributesToGet of Query, case by case.

Every case names the public source of its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import NOT_FOUND, Case, invalid, name_of, run
from tests.support.dynamodb_conditions import ITEM
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
    TRUTHS,
    TYPES,
    WITHOUT,
    Comparison,
    RefusedComparison,
    b,
    condition,
    n,
    s,
)
from tests.support.dynamodb_values import BAD_VALUES, VALIDATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.dynamodb_cases import Tables

OP: Final = "Query"
ID: Final[dict[str, Any]] = {"S": "<ID>"}
OF_P: Final[dict[str, Any]] = {"p": condition("EQ", ID)}
FULL: Final[dict[str, Any]] = {"p": ID, "c": {"S": "c"}, **ITEM}
START: Final = "The provided starting key is invalid"
UNSUPPORTED: Final = "Query key condition not supported"
NOT_INDEXABLE: Final = "Attempted conditional constraint is not an indexable operation"
MISTYPED: Final = f"{INVALID}Condition parameter type does not match schema type"
MOTO: Final = "moto tests/test_dynamodb/test_dynamodb_select.py, aws_verified"


def query(conditions: Any, table: str = "PC", **more: Any) -> dict[str, Any]:
    """Spell a query; None has no KeyConditions."""
    given = {} if conditions is None else {"KeyConditions": conditions}
    return {"TableName": f"<{table}>", **given, **more}


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
        for at, start in enumerate(({}, {"z": n(1)}, {"p": s("a")}, {"p": s("a"), "z": s("a")}))
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
@pytest.mark.parametrize("name", BAD_VALUES)
def test_refused_values(tables: Tables, member: str, name: str) -> None:
    """What is no attribute value is refused before the number of values is looked at."""
    value, text = BAD_VALUES[name]
    request = {"TableName": "<GONE>", member: {"a": condition("EQ", n(1), value)}}
    run(tables, OP, refused("", request, text, f"{QUERY}; {VALIDATIONS}"))


# --------------------------------------------------------------------------------- what is found


def found(
    name: str,
    table: str,
    conditions: Mapping[str, Any],
    wanted: Sequence[Any],
    source: str,
) -> Case:
    """Make a case of the sort keys that conditions find among those of `SORTED`."""
    items = [{"p": ID, "c": key} for key in SORTED[table]]
    answer = [{"p": ID, "c": key} for key in wanted]
    return Case(
        name=f"{table}-{name}",
        request=query({**OF_P, **conditions}, table),
        given=items,
        answer={"Items": answer, "Count": len(answer), "ScannedCount": len(answer)},
        source=source,
    )


SORTED: Final[dict[str, list[Any]]] = {
    "PC": [s("a"), s("ab"), s("abc"), s("b"), s("ÿ"), s("ÿÿ")],
    "PN": [n(-2), n(-1.5), n(0), n(3), n(10)],
    "PB": [b("AQ=="), b("AQI="), b("fw=="), b("gA=="), b("/w=="), b("//8=")],
}
RANGES: Final = [
    found(f"{operator}-{number}", table, {"c": condition(operator, *values)}, wanted, source)
    for source, table, rows in (
        (
            f"{CONDITIONS}::test_key_conditions_num",
            "PN",
            [
                ("EQ", [n(3)], [n(3)]),
                ("EQ", [n(4)], []),
                ("LT", [n(0)], [n(-2), n(-1.5)]),
                ("LE", [n(0)], [n(-2), n(-1.5), n(0)]),
                ("GT", [n(3)], [n(10)]),
                ("GE", [n(3)], [n(3), n(10)]),
                ("BETWEEN", [n(-1.5), n(3)], [n(-1.5), n(0), n(3)]),
                ("BETWEEN", [n(4), n(4)], []),
            ],
        ),
        (
            f"{CONDITIONS}::test_key_conditions_str",
            "PC",
            [
                ("EQ", [s("ab")], [s("ab")]),
                ("LT", [s("ab")], [s("a")]),
                ("LE", [s("ab")], [s("a"), s("ab")]),
                ("GT", [s("b")], [s("ÿ"), s("ÿÿ")]),
                ("GE", [s("b")], [s("b"), s("ÿ"), s("ÿÿ")]),
                ("BETWEEN", [s("ab"), s("b")], [s("ab"), s("abc"), s("b")]),
                ("BEGINS_WITH", [s("ab")], [s("ab"), s("abc")]),
                ("BEGINS_WITH", [s("ÿ")], [s("ÿ"), s("ÿÿ")]),
            ],
        ),
        (
            f"{CONDITIONS}::test_key_conditions_bytes",
            "PB",
            [
                ("EQ", [b("AQI=")], [b("AQI=")]),
                ("LT", [b("fw==")], [b("AQ=="), b("AQI=")]),
                ("LE", [b("fw==")], [b("AQ=="), b("AQI="), b("fw==")]),
                ("GT", [b("gA==")], [b("/w=="), b("//8=")]),
                ("GE", [b("gA==")], [b("gA=="), b("/w=="), b("//8=")]),
                ("BETWEEN", [b("fw=="), b("gA==")], [b("fw=="), b("gA==")]),
                ("BEGINS_WITH", [b("AQ==")], [b("AQ=="), b("AQI=")]),
                ("BEGINS_WITH", [b("/w==")], [b("/w=="), b("//8=")]),
            ],
        ),
    )
    for number, (operator, values, wanted) in enumerate(rows)
]
A: Final[dict[str, Any]] = {"p": ID, "c": s("a"), "a": n(1), "b": s("x"), "size": n(7)}
B: Final[dict[str, Any]] = {"p": ID, "c": s("b"), "a": n(2), "b": s("y")}
C: Final[dict[str, Any]] = {"p": ID, "c": s("c"), "b": s("x")}
BOTH: Final = {"a": condition("EQ", n(1)), "b": condition("EQ", s("y"))}


def page(name: str, items: Sequence[Any], source: str, **more: Any) -> Case:
    """Make a case of what a query of A, B and C by KeyConditions answers."""
    last = more.pop("last", None)
    scanned = more.pop("scanned", 3)
    key = {} if last is None else {"LastEvaluatedKey": {"p": last["p"], "c": last["c"]}}
    is_count = more.get("Select") == "COUNT"
    return Case(
        name=name,
        request=query(OF_P, **more),
        given=[A, B, C],
        answer={
            **({} if is_count else {"Items": list(items)}),
            "Count": len(items),
            "ScannedCount": scanned,
            **key,
        },
        source=source,
    )


def picked(item: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Take attributes out of an item."""
    return {name: item[name] for name in names if name in item}


PAGES: Final = [
    page("partition", [A, B, C], f"{CONDITIONS}::test_key_conditions_partition"),
    page("reverse", [C, B, A], f"{PARITY}/queryFilter", ScanIndexForward=False),
    page("count", [A, B, C], QUERY, Select="COUNT"),
    page("limit", [A, B], QUERY, Limit=2, last=B, scanned=2),
    page(
        "after",
        [B, C],
        QUERY,
        ExclusiveStartKey={"p": ID, "c": s("a")},
        scanned=2,
    ),
    page("empty-filter", [A, B, C], f"{FILTER}::test_query_filter_empty", QueryFilter={}),
    page(
        "filter",
        [B],
        f"{FILTER}::test_query_filter_counts; {PARITY}/queryFilter",
        QueryFilter={"a": condition("GT", n(1))},
    ),
    page("and", [], f"{FILTER}::test_query_filter_and", QueryFilter=BOTH),
    page(
        "and-in-words",
        [],
        f"{FILTER}::test_query_filter_and",
        QueryFilter=BOTH,
        ConditionalOperator="AND",
    ),
    page(
        "or",
        [A, B],
        f"{FILTER}::test_query_filter_or; {EXTENDDB}",
        QueryFilter=BOTH,
        ConditionalOperator="OR",
    ),
    page(
        "filter-behind-limit",
        [],
        f"{FILTER}::test_query_filter_paging",
        QueryFilter={"a": condition("EQ", n(2))},
        Limit=1,
        last=A,
        scanned=1,
    ),
    page(
        "filter-with-a-dot",
        [A, B, C],
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
        "LegacyConditionalParameters.QueryFilter.html",
        QueryFilter={"a.b": condition("NULL")},
    ),
    page(
        "names",
        [picked(one, "c", "size") for one in (A, B, C)],
        f"{PARITY}/attributesToGet",
        AttributesToGet=["c", "size"],
    ),
    page(
        "names-in-words",
        [picked(one, "a") for one in (A, B, C)],
        MOTO,
        AttributesToGet=["a"],
        Select="SPECIFIC_ATTRIBUTES",
    ),
    page(
        "names-behind-filter",
        [picked(A, "b"), picked(C, "b")],
        QUERY,
        AttributesToGet=["b"],
        QueryFilter={"b": condition("EQ", s("x"))},
    ),
    page(
        "filter-expression",
        [A],
        EXTENDDB,
        FilterExpression="a = :a",
        ExpressionAttributeValues={":a": n(1)},
    ),
    page(
        "projection-expression",
        [picked(one, "b") for one in (A, B, C)],
        EXTENDDB,
        ProjectionExpression="b",
    ),
]


@pytest.mark.parametrize("case", RANGES, ids=name_of)
def test_ranges(tables: Tables, case: Case) -> None:
    """Each operator finds its range of sort keys, of strings, numbers and binaries."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", PAGES, ids=name_of)
def test_pages(tables: Tables, case: Case) -> None:
    """A page by KeyConditions is the page that an expression gets."""
    run(tables, OP, case)


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.name)
def test_truths(tables: Tables, truth: Comparison) -> None:
    """Each comparison of QueryFilter is as true of an item as the service finds it."""
    items = [FULL] if truth.holds else []
    request = query(OF_P, QueryFilter={truth.attribute: truth.condition})
    answer = {"Items": items, "Count": len(items), "ScannedCount": 1}
    run(
        tables,
        OP,
        Case(name="", request=request, given=[FULL], answer=answer, source=truth.source),
    )
