"""Query at the API: what it answers, and what it refuses in which words and order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.dynamodb.calling import called
from tests.unit.api.dynamodb.page_tables import invalid, item, key, page_tables, said

BY_P: dict[str, Any] = {
    "TableName": "sorted",
    "KeyConditionExpression": "p = :p",
    "ExpressionAttributeValues": {":p": {"S": "a"}},
}
FROM_2: dict[str, Any] = BY_P | {
    "KeyConditionExpression": "p = :p AND n >= :n",
    "ExpressionAttributeValues": {":p": {"S": "a"}, ":n": {"N": "2"}},
}
NO_MATCH = "The provided key element does not match the schema"


def start(**members: Any) -> dict[str, Any]:
    """Make an ExclusiveStartKey member."""
    return {"ExclusiveStartKey": members}


async def test_query_answers_items_in_order(tmp_path: Path) -> None:
    """Ascending if nothing is said, descending if asked for; both counts are there."""
    async with page_tables(tmp_path) as node:
        ahead = await called(node, "Query", **BY_P)
        back = await called(node, "Query", **BY_P, ScanIndexForward=False)
        some = await called(node, "Query", **FROM_2)
    assert ahead == {"Count": 5, "ScannedCount": 5, "Items": [item(n) for n in range(5)]}
    assert back["Items"] == ahead["Items"][::-1]
    assert some == {"Count": 3, "ScannedCount": 3, "Items": [item(n) for n in (2, 3, 4)]}


async def test_limit_counts_evaluated_items_and_leaves_a_key(tmp_path: Path) -> None:
    """The filter comes after; a limit reached with the last item leaves a key all the same."""
    filtered = FROM_2 | {
        "FilterExpression": "#t = :t",
        "ExpressionAttributeNames": {"#t": "text"},
        "ExpressionAttributeValues": FROM_2["ExpressionAttributeValues"] | {":t": {"S": "odd"}},
    }
    async with page_tables(tmp_path) as node:
        one = await called(node, "Query", **filtered, Limit=1)
        three = await called(node, "Query", **filtered, Limit=3)
        rest = await called(node, "Query", **filtered, ExclusiveStartKey=three["LastEvaluatedKey"])
    assert one == {"Count": 0, "ScannedCount": 1, "Items": [], "LastEvaluatedKey": key(2)}
    expected = {"Count": 1, "ScannedCount": 3, "Items": [item(3)], "LastEvaluatedKey": key(4)}
    assert three == expected
    assert rest == {"Count": 0, "ScannedCount": 0, "Items": []}


async def test_projection_count_and_capacity(tmp_path: Path) -> None:
    """A page is rounded once, half of it if the read may be stale; a count has no items."""
    async with page_tables(tmp_path) as node:
        projected = await called(
            node,
            "Query",
            **BY_P,
            ProjectionExpression="x, elsewhere",
            Select="SPECIFIC_ATTRIBUTES",
            Limit=1,
            ReturnConsumedCapacity="TOTAL",
        )
        counted = await called(
            node,
            "Query",
            **BY_P,
            Select="COUNT",
            ConsistentRead=True,
            ReturnConsumedCapacity="INDEXES",
        )
    assert projected["Items"] == [{"x": {"N": "0"}}]
    assert projected["ConsumedCapacity"] == {"TableName": "sorted", "CapacityUnits": 0.5}
    assert counted == {
        "Count": 5,
        "ScannedCount": 5,
        "ConsumedCapacity": {
            "TableName": "sorted",
            "CapacityUnits": 1.0,
            "Table": {"CapacityUnits": 1.0},
        },
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no limit": (
        BY_P | {"Limit": 0, "KeyConditions": {}},
        (
            "1 validation error detected: Value at 'Limit' failed to satisfy constraint: Member "
            "must have value greater than or equal to 1"
        ),
    ),
    "no condition": (
        {"TableName": "sorted"},
        (
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the "
            "request."
        ),
    ),
    "both forms": (
        BY_P | {"AttributesToGet": ["x"], "KeyConditions": {}},
        (
            "Can not use both expression and non-expression parameters in the same request: "
            "Non-expression parameters: {AttributesToGet, KeyConditions} Expression parameters: "
            "{KeyConditionExpression}"
        ),
    ),
    "former form": (
        {"TableName": "sorted", "KeyConditions": {}, "ProjectionExpression": "x"},
        "Conditions can be of length 1 or 2 only",
    ),
    "start before condition": (
        {"TableName": "sorted", **start(p={})},
        (
            "The provided starting key is invalid: Supplied AttributeValue is empty, must contain "
            "exactly one of the supported datatypes"
        ),
    ),
    "start of no number": (
        BY_P | start(p={"S": "a"}, n={"N": "b"}),
        "The parameter cannot be converted to a numeric value: b",
    ),
    "shape before table": (
        BY_P | {"TableName": "absent", "KeyConditionExpression": "p <> :p"},
        "Invalid KeyConditionExpression: Invalid operator used in KeyConditionExpression: <>",
    ),
    "unused value": (
        BY_P | {"ExpressionAttributeValues": {":p": {"S": "a"}, ":q": {"S": "a"}}},
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:q}",
    ),
    "projection and all": (
        BY_P | {"Select": "ALL_ATTRIBUTES", "ProjectionExpression": "x"},
        (
            "1 validation error detected: Cannot specify the ProjectionExpression when choosing to "
            "get ALL_ATTRIBUTES"
        ),
    ),
    "projection and count": (
        BY_P | {"Select": "COUNT", "ProjectionExpression": "x"},
        (
            "1 validation error detected: Cannot specify the ProjectionExpression when choosing to "
            "get only the Count"
        ),
    ),
    "specific without projection": (
        BY_P | {"Select": "SPECIFIC_ATTRIBUTES"},
        (
            "1 validation error detected: Must specify the AttributesToGet or ProjectionExpression "
            "when choosing to get SPECIFIC_ATTRIBUTES"
        ),
    ),
    "projected without index": (
        BY_P | {"Select": "ALL_PROJECTED_ATTRIBUTES"},
        "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
    ),
    "unknown index": (
        BY_P | {"IndexName": "other"},
        "The table does not have the specified index: other",
    ),
    "consistent global index": (
        BY_P | {"IndexName": "global", "ConsistentRead": True},
        "Consistent reads are not supported on global secondary indexes",
    ),
    "short start": (BY_P | start(p={"S": "a"}), "The provided starting key is invalid"),
    "empty start": (BY_P | start(), "The provided starting key is invalid"),
    "other start": (
        BY_P | start(p={"S": "a"}, other={"N": "1"}),
        "The provided starting key is invalid",
    ),
    "start of another type": (BY_P | start(p={"S": "a"}, n={"S": "1"}), NO_MATCH),
    "missed key": (
        BY_P | {"KeyConditionExpression": "x = :p"},
        "Query condition missed key schema element: p",
    ),
    "too many conditions": (
        BY_P | {"KeyConditionExpression": "p = :p AND x = :p AND n = :p"},
        (
            "The number of query conditions (3) exceeds the number of key attributes defined in "
            "the schema (2)"
        ),
    ),
    "start of another partition": (
        BY_P | start(p={"S": "b"}, n={"N": "1"}),
        "The provided starting key is outside query boundaries based on provided conditions",
    ),
    "start outside the range": (
        FROM_2 | start(p={"S": "a"}, n={"N": "1"}),
        "The provided starting key does not match the range key predicate",
    ),
    "start in the range of another partition": (
        FROM_2 | start(p={"S": "b"}, n={"N": "2"}),
        "The query can return at most one row and cannot be restarted",
    ),
    "projection into a key": (
        BY_P | {"ProjectionExpression": "p.deep"},
        (
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
            "allowed: Key: p"
        ),
    ),
    "filter on a key": (
        BY_P | {"FilterExpression": "x = :p AND n <> :p"},
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: n",
    ),
    "filter into a key of an index": (
        BY_P | {"FilterExpression": "x.deep = :p"},
        (
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not "
            "allowed: IndexKey: x"
        ),
    ),
}


@pytest.mark.parametrize(("members", "text"), REFUSED.values(), ids=list(REFUSED))
async def test_query_refuses_as_aws_does(
    tmp_path: Path, members: dict[str, Any], text: str
) -> None:
    """Each in AWS's words, and the earlier complaint first."""
    async with page_tables(tmp_path) as node:
        assert await said(node, "Query", members) == invalid(text)


async def test_absent_table_is_not_found(tmp_path: Path) -> None:
    """Once the request by itself is right."""
    async with page_tables(tmp_path) as node:
        answer = await said(node, "Query", BY_P | {"TableName": "absent"})
    assert answer == "ResourceNotFoundException: Requested resource not found"
