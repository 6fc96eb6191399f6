"""What Query finds by KeyConditions, QueryFilter and AttributesToGet, case by case.

Every case names the public source of its answer; what is refused is in `test_query_former.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, name_of, run
from tests.support.dynamodb_former import (
    CONDITIONS,
    EXTENDDB,
    FILTER,
    PARITY,
    QUERY,
    TRUTHS,
    Comparison,
    b,
    condition,
    n,
    s,
)
from tests.support.dynamodb_query_former import FULL, ID, MOTO, OF_P, query

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.dynamodb_cases import Tables

OP: Final = "Query"


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
