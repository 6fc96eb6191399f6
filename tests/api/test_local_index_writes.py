"""Writes of items in local indexes: what they cost, what their collections weigh, their bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import copies

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

DOC: Final = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/LSI.html "
    "LSI.ThroughputConsiderations.Writes"
)
KEY: Final[dict[str, Any]] = {"p": {"S": "<ID>"}, "c": {"S": "1"}}
Z, X, A, D = {"N": "1"}, {"S": "x"}, {"S": "a"}, {"S": "d"}


def _consumed(table: float, **indexes: float) -> dict[str, Any]:
    """Spell a ConsumedCapacity of INDEXES; `same` has every item and is always there."""
    told = {"Table": {"CapacityUnits": table}, "CapacityUnits": table + sum(indexes.values())}
    if indexes:
        told["LocalSecondaryIndexes"] = {
            name: {"CapacityUnits": units} for name, units in indexes.items()
        }
    return told


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, {}, _consumed(1, same=1)),
        (None, {"z": Z}, _consumed(1, all=1, same=1)),
        (None, {"z": Z, "x": X}, _consumed(1, all=1, keys=1, same=1)),
        ({"z": Z}, {"z": Z}, _consumed(1)),
        ({"z": Z}, {"z": {"N": "1.0"}}, _consumed(1)),
        ({"z": Z}, {"z": {"N": "2"}}, _consumed(1, all=2)),
        ({"z": Z}, {}, _consumed(1, all=1)),
        ({"z": Z, "d": D}, {"z": Z}, _consumed(1, all=1)),
        ({"x": X, "d": D}, {"x": X}, _consumed(1)),
        ({"x": X, "a": A}, {"x": X}, _consumed(1, same=1)),
        ({"x": X}, {"x": {"S": "y"}}, _consumed(1, keys=2)),
        ({"b": {"B": "AA=="}, "a": A}, {"b": {"B": "AA=="}, "a": D}, _consumed(1, some=1, same=1)),
        (None, {"z": Z, "d": {"S": "x" * 1_500}}, _consumed(2, all=2, same=1)),
        ({"z": Z, "d": {"S": "x" * 1_500}}, {"z": Z}, _consumed(2, all=2)),
        ({"z": Z, "d": {"S": "x" * 1_500}}, {"z": {"N": "2"}}, _consumed(2, all=3)),
        ({"z": Z, "x": X}, None, _consumed(1, all=1, keys=1, same=1)),
        (None, None, _consumed(1)),
    ],
)
def test_units_of_writes(
    tables: Tables,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    expected: dict[str, Any],
) -> None:
    """Each index is charged for what changes in it (DOC): a new key is a delete and a put."""
    key, name = tables.fill(KEY), tables.names["LOCAL"]
    if before is not None:
        tables.dynamodb.do("PutItem", {"TableName": name, "Item": key | before})
    asked = {"TableName": name, "ReturnConsumedCapacity": "INDEXES"}
    if after is None:
        answer = tables.dynamodb.do("DeleteItem", asked | {"Key": key})
    else:
        answer = tables.dynamodb.do("PutItem", asked | {"Item": key | after})
    assert answer["ConsumedCapacity"] == {"TableName": name} | expected


def test_units_of_an_update_and_a_batch(tables: Tables) -> None:
    """TOTAL sums the table and its indexes; a batch sums its writes."""
    key, name = tables.fill(KEY), tables.names["LOCAL"]
    update = {
        "TableName": name,
        "Key": key,
        "UpdateExpression": "SET z = :z, x = :x",
        "ExpressionAttributeValues": {":z": Z, ":x": X},
        "ReturnConsumedCapacity": "TOTAL",
    }
    answer = tables.dynamodb.do("UpdateItem", update)
    assert answer["ConsumedCapacity"] == {"TableName": name, "CapacityUnits": 4}
    items = [key | {"c": {"S": c}, "z": Z} for c in ("1", "2", "3")]
    batch = {
        "RequestItems": {name: [{"PutRequest": {"Item": item}} for item in items]},
        "ReturnConsumedCapacity": "INDEXES",
    }
    answer = tables.dynamodb.do("BatchWriteItem", batch)
    told = _consumed(3, all=3, keys=1, same=2)
    assert answer["ConsumedCapacity"] == [{"TableName": name} | told]


@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem", "DeleteItem"])
def test_collection_metrics(tables: Tables, operation: str) -> None:
    """A small collection is of 0 to 1 GB (dynamodb-conformance, itemCollectionMetrics.test.ts)."""
    key, name = tables.fill(KEY), tables.names["LOCAL"]
    request: dict[str, Any] = {"TableName": name, "Key": key, "ReturnItemCollectionMetrics": "SIZE"}
    if operation == "PutItem":
        request = copies(request, Key=None, Item=key | {"z": Z})
    answer = tables.dynamodb.do(operation, request)
    expected = {"ItemCollectionKey": {"p": key["p"]}, "SizeEstimateRangeGB": [0, 1]}
    assert answer == {"ItemCollectionMetrics": expected}
    answer = tables.dynamodb.do(operation, request | {"ReturnItemCollectionMetrics": "NONE"})
    assert "ItemCollectionMetrics" not in answer


def test_collection_metrics_of_a_batch(tables: Tables) -> None:
    """Each collection is told once."""
    key, name = tables.fill(KEY), tables.names["LOCAL"]
    puts = [{"PutRequest": {"Item": key | {"c": {"S": c}}}} for c in ("1", "2")]
    request = {"RequestItems": {name: puts}, "ReturnItemCollectionMetrics": "SIZE"}
    answer = tables.dynamodb.do("BatchWriteItem", request)
    expected = {"ItemCollectionKey": {"p": key["p"]}, "SizeEstimateRangeGB": [0, 1]}
    assert answer["ItemCollectionMetrics"] == {name: [expected]}


def test_size_with_the_indexes_entries(tables: Tables) -> None:
    """An item and what local indexes hold of it are 400 KB together (developer guide, Quotas)."""
    key, name = tables.fill(KEY), tables.names["LOCAL"]
    large = key | {"d": {"S": "x" * 300_000}}
    tables.dynamodb.do("PutItem", {"TableName": name, "Item": large})
    answer = tables.dynamodb.call("PutItem", {"TableName": name, "Item": large | {"z": Z}})
    assert answer.message == "Item size has exceeded the maximum allowed size"
    update = {
        "TableName": name,
        "Key": key,
        "UpdateExpression": "SET z = :z",
        "ExpressionAttributeValues": {":z": Z},
    }
    answer = tables.dynamodb.call("UpdateItem", update)
    assert answer.message == "Item size to update has exceeded the maximum allowed size"
    kept = tables.dynamodb.do("GetItem", {"TableName": name, "Key": key})["Item"]
    assert kept == large
