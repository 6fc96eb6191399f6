"""Scan at the API: what it answers, its segments, and what it refuses in which words and order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dstore.base.limits import SCAN_SEGMENTS_MAX
from dstore.model.hashing import KeyKind, key_hash
from tests.unit.api.dynamodb.calling import called
from tests.unit.api.dynamodb.page_tables import invalid, item, key, page_tables, said

SORTED = {"TableName": "sorted"}
PLAIN = {"TableName": "plain"}


async def test_scan_pages_through_a_table(tmp_path: Path) -> None:
    """The last key of a page begins the next; a scan may filter by keys."""
    async with page_tables(tmp_path) as node:
        first = await called(node, "Scan", **SORTED, Limit=3)
        second = await called(
            node, "Scan", **SORTED, ExclusiveStartKey=first["LastEvaluatedKey"], Limit=3
        )
        kept = await called(
            node,
            "Scan",
            **SORTED,
            FilterExpression="n > :n",
            ExpressionAttributeValues={":n": {"N": "3"}},
            ProjectionExpression="n",
            ReturnConsumedCapacity="TOTAL",
        )
        empty = await called(node, "Scan", **PLAIN, Select="COUNT")
    items = [item(number) for number in range(5)]
    expected = {"Count": 3, "ScannedCount": 3, "Items": items[:3], "LastEvaluatedKey": key(2)}
    assert first == expected
    assert second == {"Count": 2, "ScannedCount": 2, "Items": items[3:]}
    assert kept == {
        "Count": 1,
        "ScannedCount": 5,
        "Items": [{"n": {"N": "4"}}],
        "ConsumedCapacity": {"TableName": "sorted", "CapacityUnits": 0.5},
    }
    assert empty == {"Count": 0, "ScannedCount": 0}


async def test_long_pages_end_behind_the_megabyte(tmp_path: Path) -> None:
    """Their answers are encoded in a thread, and say the same."""
    async with page_tables(tmp_path) as node:
        items = [{"p": {"S": str(at)}, "text": {"S": "é" * 199_000}} for at in range(4)]
        for one in items:
            await called(node, "PutItem", **PLAIN, Item=one)
        first = await called(node, "Scan", **PLAIN, ReturnConsumedCapacity="TOTAL")
        rest = await called(node, "Scan", **PLAIN, ExclusiveStartKey=first["LastEvaluatedKey"])
        none = await called(
            node,
            "Scan",
            **PLAIN,
            FilterExpression="p = :p",
            ExpressionAttributeValues={":p": {"S": "x"}},
        )
    assert (first["Count"], rest["Count"]) == (3, 1)
    assert sorted(first["Items"] + rest["Items"], key=lambda one: one["p"]["S"]) == items
    assert "LastEvaluatedKey" not in rest
    assert first["ConsumedCapacity"]["CapacityUnits"] == 146.0
    assert (none["Items"], none["ScannedCount"]) == ([], 3)


async def test_segments_are_parts_of_the_hashes(tmp_path: Path) -> None:
    """A segment has the items of its hashes; a key of another one does not begin it."""
    async with page_tables(tmp_path) as node:
        names = [f"name {number}" for number in range(20)]
        for name in names:
            await called(node, "PutItem", **PLAIN, Item={"p": {"S": name}})
        parts = [
            await called(node, "Scan", **PLAIN, Segment=segment, TotalSegments=4)
            for segment in range(4)
        ]
        other = parts[1]["Items"][0]
        refused = await said(
            node, "Scan", PLAIN | {"Segment": 0, "TotalSegments": 4, "ExclusiveStartKey": other}
        )
        last = PLAIN | {"Segment": SCAN_SEGMENTS_MAX - 1, "TotalSegments": SCAN_SEGMENTS_MAX}
        assert (await called(node, "Scan", **last))["Count"] == 0
    for segment, part in enumerate(parts):
        hashed = {name: key_hash(KeyKind.STRING, name) for name in names}
        wanted = [
            name for name in sorted(names, key=hashed.__getitem__) if hashed[name] >> 30 == segment
        ]
        assert [one["p"]["S"] for one in part["Items"]] == wanted
    assert refused == invalid(
        "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use "
        "ExclusiveStartKey with correct Segment. TotalSegments: 4 Segment: 0"
    )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "both forms": (
        SORTED | {"FilterExpression": "", "ScanFilter": {}, "AttributesToGet": ["x"]},
        (
            "Can not use both expression and non-expression parameters in the same request: "
            "Non-expression parameters: {AttributesToGet, ScanFilter} Expression parameters: "
            "{FilterExpression}"
        ),
    ),
    "values without filter": (
        SORTED | {"ExpressionAttributeValues": {}},
        (
            "ExpressionAttributeValues can only be specified when using expressions: "
            "FilterExpression is null"
        ),
    ),
    "start before segment": (
        SORTED | {"ExclusiveStartKey": {"p": {}}, "Segment": 1},
        (
            "The provided starting key is invalid: Supplied AttributeValue is empty, must contain "
            "exactly one of the supported datatypes"
        ),
    ),
    "segment alone": (
        SORTED | {"Segment": 0, "FilterExpression": ""},
        (
            "The TotalSegments parameter is required but was not present in the request when "
            "Segment parameter is present"
        ),
    ),
    "total alone": (
        SORTED | {"TotalSegments": 1},
        (
            "The Segment parameter is required but was not present in the request when parameter "
            "TotalSegments is present"
        ),
    ),
    "segment beyond": (
        SORTED | {"Segment": 2, "TotalSegments": 2},
        (
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            "Segment: 2 is not less than TotalSegments: 2"
        ),
    ),
    "segments beyond": (
        SORTED | {"Segment": -1, "TotalSegments": 1_000_001},
        (
            "2 validation errors detected: Value '1000001' at 'totalSegments' failed to satisfy "
            "constraint: Member must have value less than or equal to 1000000; Value '-1' at "
            "'segment' failed to satisfy constraint: Member must have value greater than or equal "
            "to 0"
        ),
    ),
    "empty filter": (
        SORTED | {"FilterExpression": ""},
        "Invalid FilterExpression: The expression can not be empty;",
    ),
    "projection and count": (
        SORTED | {"Select": "COUNT", "ProjectionExpression": "x"},
        "Cannot specify the ProjectionExpression when choosing to get only the Count",
    ),
    "specific without projection": (
        SORTED | {"Select": "SPECIFIC_ATTRIBUTES"},
        (
            "Must specify the AttributesToGet or ProjectionExpression when choosing to "
            "get SPECIFIC_ATTRIBUTES"
        ),
    ),
    "projection and projected without index": (
        SORTED | {"Select": "ALL_PROJECTED_ATTRIBUTES", "ProjectionExpression": "x"},
        "Cannot specify the ProjectionExpression when choosing to get ALL_PROJECTED_ATTRIBUTES",
    ),
    "unknown index": (
        SORTED | {"IndexName": "other"},
        "The table does not have the specified index: other",
    ),
    "short start": (
        SORTED | {"ExclusiveStartKey": {"p": {"S": "a"}}},
        "The provided starting key is invalid: The provided key element does not match the schema",
    ),
    "start of another type": (
        SORTED | {"ExclusiveStartKey": {"p": {"S": "a"}, "n": {"B": ""}}},
        "The provided starting key is invalid: The provided key element does not match the schema",
    ),
    "projection before filter": (
        SORTED
        | {
            "ProjectionExpression": "p.deep",
            "FilterExpression": "attribute_exists(n.deep)",
        },
        (
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
            "allowed: Key: p"
        ),
    ),
}


@pytest.mark.parametrize(("members", "text"), REFUSED.values(), ids=list(REFUSED))
async def test_scan_refuses_as_aws_does(tmp_path: Path, members: dict[str, Any], text: str) -> None:
    """Each in AWS's words, and the earlier complaint first."""
    async with page_tables(tmp_path) as node:
        assert await said(node, "Scan", members) == invalid(text)
