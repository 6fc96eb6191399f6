"""Scan, case by case; every case names the public source of its answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, copies, invalid, name_of, run, violated
from tests.support.dynamodb_conditions import ITEM, TRUTHS, condition_cases
from tests.support.dynamodb_members import PARITY, enum_cases, table_name_cases
from tests.support.dynamodb_projections import BAD_PROJECTIONS, PROJECTIONS
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_values import BAD_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "Scan"
SOURCE: Final = "dynalite test/scan.js"
MESSAGES: Final = f"{PARITY}/error-messages/scan.test.ts"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html"
SCAN: Final[dict[str, Any]] = {"TableName": "<P>"}
ONE: Final[dict[str, Any]] = {"TableName": "<ONE>"}
ONLY: Final[dict[str, Any]] = {"p": {"S": "only"}, **ITEM}
MANY: Final = 60
LEAST: Final = "Member must have value greater than or equal to "
MOST: Final = "Member must have value less than or equal to "
NO_START: Final = "The provided starting key is invalid: "
SCHEMA: Final = f"{NO_START}The provided key element does not match the schema"


def refused(name: str, request: Mapping[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


def bound(
    name: str, source: str = SOURCE, /, *broken: tuple[Any, str, str], **members: int
) -> Case:
    """Make a case of numbers out of their bounds."""
    return Case(name=name, request={**SCAN, **members}, error=violated(*broken), source=source)


CONSTRAINTS: Final = [
    *table_name_cases(OP, SCAN),
    *enum_cases(OP, SCAN, "ReturnConsumedCapacity", "Select", "ConditionalOperator"),
    bound("limit-0", MESSAGES, (0, "limit", f"{LEAST}1"), Limit=0),
    bound("limit-minus-1", SOURCE, (-1, "limit", f"{LEAST}1"), Limit=-1),
    bound(
        "total-segments-0", SOURCE, (0, "totalSegments", f"{LEAST}1"), TotalSegments=0, Segment=0
    ),
    bound(
        "total-segments-1000001",
        DOC,
        (1_000_001, "totalSegments", f"{MOST}1000000"),
        TotalSegments=1_000_001,
        Segment=0,
    ),
    bound("segment-minus-1", SOURCE, (-1, "segment", f"{LEAST}0"), TotalSegments=2, Segment=-1),
    bound(
        "segment-1000000",
        DOC,
        (1_000_000, "segment", f"{MOST}999999"),
        TotalSegments=2,
        Segment=1_000_000,
    ),
    Case(
        name="index-name-short",
        request=copies(SCAN, IndexName="ab"),
        error=violated(("ab", "indexName", "Member must have length greater than or equal to 3")),
        source=SOURCE,
    ),
    Case(
        name="index-name-pattern",
        request=copies(SCAN, IndexName="abc;"),
        error=violated(
            ("abc;", "indexName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
        ),
        source=SOURCE,
    ),
    Case(
        name="no-attributes-to-get",
        request=copies(SCAN, AttributesToGet=[]),
        error=violated(
            ("[]", "attributesToGet", "Member must have length greater than or equal to 1")
        ),
        source=SOURCE,
    ),
    refused(
        "segment-alone",
        copies(SCAN, Segment=0),
        "The TotalSegments parameter is required but was not present in the request when "
        "Segment parameter is present",
        MESSAGES,
    ),
    refused(
        "total-segments-alone",
        copies(SCAN, TotalSegments=4),
        "The Segment parameter is required but was not present in the request when parameter "
        "TotalSegments is present",
        MESSAGES,
    ),
    refused(
        "segment-too-high",
        copies(SCAN, Segment=5, TotalSegments=5),
        "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
        "Segment: 5 is not less than TotalSegments: 5",
        MESSAGES,
    ),
    refused(
        "mixed",
        copies(
            SCAN,
            ScanFilter={},
            AttributesToGet=["a"],
            FilterExpression="a = b",
            ProjectionExpression="a",
        ),
        "Can not use both expression and non-expression parameters in the same request: "
        "Non-expression parameters: {AttributesToGet, ScanFilter} Expression parameters: "
        "{ProjectionExpression, FilterExpression}",
    ),
    refused(
        "no-index",
        copies(SCAN, IndexName="gone"),
        "The table does not have the specified index: gone",
    ),
    refused(
        "consistent-global-index",
        {"TableName": "<INDEXED>", "IndexName": "gsi", "ConsistentRead": True},
        "Consistent reads are not supported on global secondary indexes",
    ),
    refused(
        "select-without-projection",
        copies(SCAN, Select="SPECIFIC_ATTRIBUTES"),
        "Must specify the AttributesToGet or ProjectionExpression when choosing to get "
        "SPECIFIC_ATTRIBUTES",
        MESSAGES,
    ),
    refused("start-empty", copies(SCAN, ExclusiveStartKey={}), SCHEMA),
    refused("start-other-name", copies(SCAN, ExclusiveStartKey={"a": {"S": "a"}}), SCHEMA),
    refused("start-other-type", copies(SCAN, ExclusiveStartKey={"p": {"N": "1"}}), SCHEMA),
    refused(
        "start-too-many", copies(SCAN, ExclusiveStartKey={"p": {"S": "a"}, "c": {"S": "a"}}), SCHEMA
    ),
    refused("start-too-few", {"TableName": "<PC>", "ExclusiveStartKey": {"p": {"S": "a"}}}, SCHEMA),
    *[
        refused(
            f"start-{name}",
            copies(SCAN, ExclusiveStartKey={"p": value}),
            text
            if re.search(
                "contains duplicates|number set|numeric value|significant digits|"
                "number with magnitude",
                text,
            )
            else f"{NO_START}{text}",
        )
        for name, (value, text) in BAD_VALUES.items()
    ],
    *condition_cases(SCAN, "FilterExpression", absent="FilterExpression is null"),
    *[
        refused(
            f"projection-{name}",
            {
                **SCAN,
                "ProjectionExpression": text,
                **({"ExpressionAttributeNames": names} if names else {}),
            },
            f"Invalid ProjectionExpression: {error}",
            source,
        )
        for name, text, names, error, source in BAD_PROJECTIONS
    ],
]


def page(*items: Any, **more: Any) -> dict[str, Any]:
    """Spell the answer of a scan that finds these items."""
    return {"Items": list(items), "Count": len(items), "ScannedCount": len(items)} | more


NEITHER: Final[dict[str, Any]] = {
    "FilterExpression": "n = :n",
    "ExpressionAttributeValues": {":n": {"N": "-1"}},
}
LAST: Final = {"LastEvaluatedKey": {"p": {"S": "only"}}}
ANSWERS: Final = [
    Case(name="one", request=ONE, answer=page(ONLY), source=DOC),
    Case(name="consistent", request={**ONE, "ConsistentRead": True}, answer=page(ONLY), source=DOC),
    Case(name="empty-table", request={"TableName": "<EMPTY>"}, answer=page(), source=SOURCE),
    Case(name="limit-1", request={**ONE, "Limit": 1}, answer=page(ONLY, **LAST), source=SOURCE),
    Case(name="limit-2", request={**ONE, "Limit": 2}, answer=page(ONLY), source=SOURCE),
    Case(
        name="start-there",
        request={**ONE, "ExclusiveStartKey": {"p": {"S": "only"}}},
        answer=page(),
        source=SOURCE,
    ),
    Case(
        name="count",
        request={**ONE, "Select": "COUNT"},
        answer={"Count": 1, "ScannedCount": 1},
        source=DOC,
    ),
    Case(name="filtered", request={**ONE, **NEITHER}, answer=page(ScannedCount=1), source=DOC),
    Case(
        name="filtered-and-limited",
        request={**ONE, **NEITHER, "Limit": 1},
        answer=page(ScannedCount=1, **LAST),
        source=DOC,
    ),
    Case(
        name="filter-on-key",
        request={
            **ONE,
            "FilterExpression": "p = :p",
            "ExpressionAttributeValues": {":p": {"S": "only"}},
        },
        answer=page(ONLY),
        source="Alternator test/alternator/test_filter_expression.py",
    ),
    Case(
        name="one-segment",
        request={**ONE, "Segment": 0, "TotalSegments": 1},
        answer=page(ONLY),
        source=DOC,
    ),
    *[
        Case(
            name=f"projects-{text}",
            request={
                **ONE,
                "ProjectionExpression": text,
                **({"ExpressionAttributeNames": names} if names else {}),
            },
            answer=page(item),
            source=source,
        )
        for text, names, item, source in PROJECTIONS
    ],
    *[
        Case(
            name=f"capacity-{name}",
            request={
                "TableName": f"<{table}>",
                "ConsistentRead": consistent,
                "ReturnConsumedCapacity": "TOTAL",
                "Select": "COUNT",
            },
            answer={
                "Count": count,
                "ScannedCount": count,
                "ConsumedCapacity": {"TableName": f"<{table}>", "CapacityUnits": units},
            },
            source=SOURCE,
        )
        for name, table, consistent, count, units in (
            ("one", "ONE", False, 1, 0.5),
            ("one-consistent", "ONE", True, 1, 1),
            ("large", "LARGE", False, 3, 1.5),
            ("large-consistent", "LARGE", True, 3, 3),
        )
    ],
    Case(
        name="capacity-indexes",
        request={**ONE, "ReturnConsumedCapacity": "INDEXES", "Select": "COUNT"},
        answer={
            "Count": 1,
            "ScannedCount": 1,
            "ConsumedCapacity": {
                "TableName": "<ONE>",
                "CapacityUnits": 0.5,
                "Table": {"CapacityUnits": 0.5},
            },
        },
        source=SOURCE,
    ),
]


@pytest.fixture(scope="module")
def scanned(tables: Tables) -> Tables:
    """Make tables that hold what this file puts there and nothing else."""
    # 3 * 4,000 bytes are 12 KB less a little: three units together, and 3 apart.
    large = [{"p": {"S": str(number)}, "a": {"S": "a" * 3900}} for number in range(3)]
    many = [{"p": {"S": f"m-{number}"}, "n": {"N": str(number)}} for number in range(MANY)]
    for symbol, items in (("ONE", [ONLY]), ("EMPTY", []), ("LARGE", large), ("MANY", many)):
        tables.names[symbol] = tables.new({"p": "S"})
        for item in items:
            tables.dynamodb.do("PutItem", {"TableName": tables.names[symbol], "Item": item})
    return tables


def pages(tables: Tables, **request: Any) -> Iterator[dict[str, Any]]:
    """Scan the table of many items to its end, page by page."""
    start: dict[str, Any] = {}
    for _ in range(MANY + 2):
        scan = {"TableName": tables.names["MANY"], **request, **start}
        answer = tables.dynamodb.do(OP, scan)
        yield answer
        if "LastEvaluatedKey" not in answer:
            return
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    raise AssertionError("the scan does not end")


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CONSTRAINTS, ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, then segments, start and expressions."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", ANSWERS, ids=name_of)
def test_answers(scanned: Tables, case: Case) -> None:
    """A scan answers the items, how many it read, and what that costs."""
    run(scanned, OP, case)


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: f"{truth.expression} {truth.values}")
def test_truths(scanned: Tables, truth: Any) -> None:
    """Each function and operator is as true of an item in a filter as the service finds it."""
    values = {"ExpressionAttributeValues": truth.values} if truth.values else {}
    request = {**ONE, "FilterExpression": truth.expression, **values, "Select": "COUNT"}
    answer = {"Count": int(truth.holds), "ScannedCount": 1}
    run(scanned, OP, Case(name="", request=request, answer=answer, source=truth.source))


@pytest.mark.parametrize("limit", [1, 2, 7, 59, 60, 61, 1000])
def test_pages_are_the_whole(scanned: Tables, limit: int) -> None:
    """Pages of any limit hold every item once, each at most `limit` (AWS API page)."""
    read = list(pages(scanned, Limit=limit))
    assert all(answer["ScannedCount"] <= limit for answer in read)
    found = [item["p"]["S"] for answer in read for item in answer["Items"]]
    assert sorted(found) == sorted(f"m-{number}" for number in range(MANY))


@pytest.mark.parametrize("total", [1, 2, 3, 10, 64, 1000])
def test_segments_are_the_whole(scanned: Tables, total: int) -> None:
    """Segments share the items out among them, none twice (AWS API page, parallel scan)."""
    found = []
    for segment in range(min(total, 64)) if total <= 64 else (0, 1, 500, 999):
        for answer in pages(scanned, Segment=segment, TotalSegments=total, Limit=7):
            found += [item["p"]["S"] for item in answer["Items"]]
    assert len(set(found)) == len(found)
    if total <= 64:
        assert sorted(found) == sorted(f"m-{number}" for number in range(MANY))


def test_a_start_of_another_segment(scanned: Tables) -> None:
    """A key of one segment starts no page of another (dynalite test/scan.js)."""
    starts = {
        segment: next(pages(scanned, Segment=segment, TotalSegments=2, Limit=1))
        for segment in (0, 1)
    }
    request = {
        "TableName": scanned.names["MANY"],
        "Segment": 0,
        "TotalSegments": 2,
        "ExclusiveStartKey": starts[1]["LastEvaluatedKey"],
    }
    answer = scanned.dynamodb.call(OP, request)
    assert answer.message == (
        f"{NO_START}Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. "
        "TotalSegments: 2 Segment: 0"
    )


def test_a_page_ends_at_a_megabyte(tables: Tables) -> None:
    """A page is cut after 1 MB of items, before the filter (AWS API page)."""
    name = tables.new({"p": "S"})
    for number in range(5):
        item = {"p": {"S": str(number)}, "a": {"S": "a" * 300_000}}
        tables.dynamodb.do("PutItem", {"TableName": name, "Item": item})
    request = {
        "TableName": name,
        "FilterExpression": "attribute_not_exists(a)",
        "ReturnConsumedCapacity": "TOTAL",
    }
    first = tables.dynamodb.do(OP, request)
    assert (first["Count"], first["ScannedCount"]) == (0, 4)
    assert first["ConsumedCapacity"]["CapacityUnits"] == 146.5  # 4 * 300,003 bytes, 293 units / 2
    second = tables.dynamodb.do(OP, {**request, "ExclusiveStartKey": first["LastEvaluatedKey"]})
    assert (second["ScannedCount"], "LastEvaluatedKey" in second) == (1, False)
