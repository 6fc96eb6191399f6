"""ScanFilter and AttributesToGet of Scan, case by case; every case names its source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import NOT_FOUND, Case, invalid, name_of, normal, run
from tests.support.dynamodb_conditions import ITEM
from tests.support.dynamodb_former import (
    COUNTS,
    EXTENDDB,
    INVALID,
    OTHERS,
    PARITY,
    TOO_FEW,
    TRUTHS,
    TYPES,
    WITHOUT,
    Comparison,
    RefusedComparison,
    condition,
    n,
    s,
)
from tests.support.dynamodb_values import BAD_VALUES, VALIDATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "Scan"
SOURCE: Final = "dynalite test/scan.js"
MOTO: Final = "moto tests/test_dynamodb/test_dynamodb_select.py, aws_verified"
FULL: Final[dict[str, Any]] = {"p": s("full"), **ITEM}
OTHER: Final[dict[str, Any]] = {"p": s("other"), "s": s("other"), "x": n(1)}
BAD_EQ: Final = {"a": condition("EQ", {})}
SCAN: Final[dict[str, Any]] = {"TableName": "<GONE>"}
MIXING: Final = (
    "Can not use both expression and non-expression parameters in the same request: "
    "Non-expression parameters: {{{}}} Expression parameters: {{{}}}"
)


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException; no table is needed for it."""
    return Case(name=name, request={**SCAN, **request}, error=invalid(text), source=source)


REFUSED: Final = [
    refused(
        "all",
        {
            "AttributesToGet": ["a", "a"],
            "ScanFilter": BAD_EQ,
            "ConditionalOperator": "AND",
            "ProjectionExpression": "",
            "FilterExpression": "",
            "ExpressionAttributeNames": {},
            "ExpressionAttributeValues": {},
        },
        MIXING.format(
            "AttributesToGet, ScanFilter, ConditionalOperator",
            "ProjectionExpression, FilterExpression",
        ),
        f"{SOURCE}; {EXTENDDB}",
    ),
    *[
        refused(
            f"mixed-{former}-{expression}", request, MIXING.format(former, expression), EXTENDDB
        )
        for former, expression, request in (
            (
                "ConditionalOperator",
                "FilterExpression",
                {"ConditionalOperator": "AND", "FilterExpression": "a = :v"},
            ),
            (
                "ConditionalOperator",
                "ProjectionExpression",
                {"ConditionalOperator": "AND", "ProjectionExpression": "a"},
            ),
            (
                "ScanFilter",
                "ProjectionExpression",
                {"ScanFilter": {"a": condition("EQ", s("x"))}, "ProjectionExpression": "b"},
            ),
            (
                "AttributesToGet",
                "FilterExpression",
                {"AttributesToGet": ["a"], "FilterExpression": "a = :v"},
            ),
            (
                "ScanFilter",
                "FilterExpression",
                {"ScanFilter": {}, "FilterExpression": "a = :v"},
            ),
        )
    ],
    *[
        refused(f"operator-{name}", request, text, EXTENDDB)
        for name, request, text in (
            ("and-alone", {"ConditionalOperator": "AND"}, WITHOUT),
            ("or-alone", {"ConditionalOperator": "OR"}, WITHOUT),
            ("of-nothing", {"ConditionalOperator": "AND", "ScanFilter": {}}, WITHOUT),
            ("of-names", {"ConditionalOperator": "AND", "AttributesToGet": ["a", "b"]}, WITHOUT),
            (
                "of-one",
                {"ConditionalOperator": "AND", "ScanFilter": {"a": condition("EQ", s("x"))}},
                TOO_FEW,
            ),
        )
    ],
    refused(
        "names-before-filter",
        {"AttributesToGet": ["a", "a"], "ScanFilter": BAD_EQ, "ExclusiveStartKey": {"a": {}}},
        f"{INVALID}Duplicate value in attribute name: a",
    ),
    refused(
        "filter-before-start",
        {"ScanFilter": {"a": condition("EQ")}, "ExclusiveStartKey": {"a": {}}, "Segment": 1},
        f"{INVALID}Invalid number of argument(s) for the EQ ComparisonOperator",
    ),
    refused(
        "start-before-segment",
        {"ScanFilter": {}, "ExclusiveStartKey": {"a": {}}, "Segment": 1},
        f"The provided starting key is invalid: {BAD_VALUES['empty'][1]}",
    ),
    Case(
        name="table-behind",
        request={**SCAN, "ScanFilter": {"a": condition("EQ", s("x"))}, "AttributesToGet": ["a"]},
        error=NOT_FOUND,
        source=SOURCE,
    ),
    *[
        refused(
            f"select-{select}",
            {"Select": select, "AttributesToGet": ["a"]},
            f"Cannot specify the AttributesToGet when choosing to get {what}",
            MOTO,
        )
        for select, what in (
            ("ALL_ATTRIBUTES", "ALL_ATTRIBUTES"),
            ("ALL_PROJECTED_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
            ("COUNT", "only the Count"),
        )
    ],
]


@pytest.fixture(scope="module")
def filled(tables: Tables) -> str:
    """Make a table of two items. Returns: its name."""
    name = tables.new({"p": "S"})
    for item in (FULL, OTHER):
        tables.dynamodb.do("PutItem", {"TableName": name, "Item": item})
    return name


def ordered(items: list[Any]) -> list[str]:
    """Put items into an order: a scan has none."""
    return sorted(json.dumps(item, sort_keys=True) for item in normal(items))


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """What does not go together, what is told first, and what a filter cannot be."""
    run(tables, OP, case)


@pytest.mark.parametrize("one", [*COUNTS, *TYPES, *OTHERS], ids=lambda one: one.name)
def test_refused_comparisons(tables: Tables, one: RefusedComparison) -> None:
    """A comparison with too few values, or with such as it has no use for, is refused."""
    run(tables, OP, refused("", {"ScanFilter": {"a": one.condition}}, one.text))


@pytest.mark.parametrize("name", BAD_VALUES)
def test_refused_values(tables: Tables, name: str) -> None:
    """What is no attribute value is refused as it is in an item."""
    value, text = BAD_VALUES[name]
    request = {"ScanFilter": {"a": condition("EQ", n(1), value)}}
    run(tables, OP, refused("", request, text, f"{SOURCE}; {VALIDATIONS}"))


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth.name)
def test_truths(tables: Tables, filled: str, truth: Comparison) -> None:
    """Each comparison of ScanFilter is as true of an item as the service finds it."""
    only_full = {"p": condition("EQ", FULL["p"])}
    request = {
        "TableName": filled,
        "ScanFilter": {**only_full, truth.attribute: truth.condition},
        "ConsistentRead": True,
    }
    answer = tables.dynamodb.do(OP, request)
    wanted = [FULL] if truth.holds else []
    assert normal(answer["Items"]) == normal(wanted), truth.source
    assert (answer["Count"], answer["ScannedCount"]) == (len(wanted), 2)


@pytest.mark.parametrize(
    ("members", "items", "source"),
    [
        ({}, [FULL, OTHER], SOURCE),
        ({"ScanFilter": {}}, [FULL, OTHER], SOURCE),
        ({"ScanFilter": {"x": condition("EQ", n(1))}}, [OTHER], f"{PARITY}/scanFilter"),
        (
            {"ScanFilter": {"x": condition("NOT_NULL"), "s": condition("EQ", s("hello"))}},
            [],
            f"{PARITY}/scanFilter",
        ),
        (
            {
                "ScanFilter": {"x": condition("NOT_NULL"), "s": condition("EQ", s("other"))},
                "ConditionalOperator": "AND",
            },
            [OTHER],
            f"{PARITY}/scanFilter; {EXTENDDB}",
        ),
        (
            {
                "ScanFilter": {"x": condition("NOT_NULL"), "s": condition("EQ", s("hello"))},
                "ConditionalOperator": "OR",
            },
            [FULL, OTHER],
            SOURCE,
        ),
        (
            {
                "ScanFilter": {"x": condition("EQ", n(2)), "s": condition("EQ", s("nobody"))},
                "ConditionalOperator": "OR",
            },
            [],
            "DynamoDB local, checkORConditions",
        ),
        (
            {"AttributesToGet": ["p", "x"]},
            [{"p": FULL["p"]}, {"p": OTHER["p"], "x": n(1)}],
            f"{PARITY}/attributesToGet",
        ),
        ({"AttributesToGet": ["x"], "Select": "SPECIFIC_ATTRIBUTES"}, [{}, {"x": n(1)}], MOTO),
        (
            {"AttributesToGet": ["x"], "ScanFilter": {"s": condition("EQ", s("other"))}},
            [{"x": n(1)}],
            SOURCE,
        ),
    ],
)
def test_pages(
    tables: Tables, filled: str, members: dict[str, Any], items: list[Any], source: str
) -> None:
    """A scan keeps what its filter is true of, and shows the attributes asked for."""
    answer = tables.dynamodb.do(OP, {"TableName": filled, **members})
    assert ordered(answer["Items"]) == ordered(items), source
    assert (answer["Count"], answer["ScannedCount"]) == (len(items), 2)


def test_a_count_has_no_items(tables: Tables, filled: str) -> None:
    """Select COUNT counts what the filter keeps (dynalite's suite)."""
    request = {
        "TableName": filled,
        "Select": "COUNT",
        "ScanFilter": {"x": condition("NULL")},
    }
    assert tables.dynamodb.do(OP, request) == {"Count": 1, "ScannedCount": 2}
