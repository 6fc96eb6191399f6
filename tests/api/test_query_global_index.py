"""Query and Scan by a global index: behind the writes by a little, then as AWS answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, invalid, name_of, run

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

BEHIND_S: Final = 20.0
POLL_S: Final = 0.05
SCAN: Final = "dynalite test/scan.js"
START: Final = "The provided starting key is invalid"
NO_MATCH: Final = "The provided key element does not match the schema"


def _query(tables: Tables, partition: Any, count: int, **more: Any) -> dict[str, Any]:
    """Query until there are so many items, or time is over."""
    request = {
        "TableName": tables.names["INDEXED"],
        "IndexName": "gsi",
        "KeyConditionExpression": "x = :x",
        "ExpressionAttributeValues": {":x": partition},
        **more,
    }
    deadline = time.monotonic() + BEHIND_S
    while True:
        answer: dict[str, Any] = tables.dynamodb.do("Query", request)
        if answer["Count"] == count or time.monotonic() > deadline:
            return answer
        time.sleep(POLL_S)


@pytest.fixture(name="partition", scope="module")
def _partition(tables: Tables) -> Any:
    """Six items under one key of the index, two of them of one sort key; one that is not in it."""
    partition = {"S": tables.fill("<ID>")}
    for number, y in enumerate(("5", "-1", "5", "0.5", "30", "2")):
        item = {"p": partition, "c": {"S": str(number)}, "x": partition, "y": {"N": y}}
        item["a"] = {"L": [{"N": str(number)}]}
        tables.dynamodb.do("PutItem", {"TableName": tables.names["INDEXED"], "Item": item})
    item = {"p": partition, "c": {"S": "none"}, "x": partition}
    tables.dynamodb.do("PutItem", {"TableName": tables.names["INDEXED"], "Item": item})
    assert _query(tables, partition, 6)["Count"] == 6
    return partition


def _sorts(answer: dict[str, Any]) -> list[str]:
    return [item["c"]["S"] for item in answer["Items"]]


def _of_equals(sorts: list[str]) -> list[str]:
    """Leave open which of two items with one sort key of the index comes first: nobody says."""
    return ["0 or 2" if sort in {"0", "2"} else sort for sort in sorts]


@pytest.mark.parametrize("is_forward", [True, False])
def test_the_order(tables: Tables, partition: Any, *, is_forward: bool) -> None:
    """By the index's sort key as a number; sparse."""
    order = ["1", "3", "5", "0", "2", "4"]
    answer = _query(tables, partition, 6, ScanIndexForward=is_forward)
    assert _of_equals(_sorts(answer)) == _of_equals(order if is_forward else order[::-1])
    first = answer["Items"][0 if is_forward else -1]
    assert first == {
        "p": partition,
        "c": {"S": "1"},
        "x": partition,
        "y": {"N": "-1"},
        "a": {"L": [{"N": "1"}]},
    }


@pytest.mark.parametrize(
    ("condition", "values", "order"),
    [
        ("y = :y", ["5"], ["0", "2"]),
        ("y < :y", ["5"], ["1", "3", "5"]),
        ("y <= :y", ["5"], ["1", "3", "5", "0", "2"]),
        ("y > :y", ["5"], ["4"]),
        ("y >= :y", ["5"], ["0", "2", "4"]),
        ("y between :y and :z", ["0.5", "5"], ["3", "5", "0", "2"]),
        ("y > :y", ["30"], []),
    ],
)
def test_conditions(
    tables: Tables, partition: Any, condition: str, values: list[str], order: list[str]
) -> None:
    """Every comparison of the index's sort key."""
    given = {":x": partition, **dict(zip((":y", ":z"), ({"N": n} for n in values), strict=False))}
    answer = _query(
        tables,
        partition,
        len(order),
        KeyConditionExpression=f"x = :x and {condition}",
        ExpressionAttributeValues=given,
    )
    assert _of_equals(_sorts(answer)) == _of_equals(order)


@pytest.mark.parametrize("limit", [1, 2, 4])
@pytest.mark.parametrize("is_forward", [True, False])
def test_paging(tables: Tables, partition: Any, limit: int, *, is_forward: bool) -> None:
    """Pages join to the whole; a key to go on has the keys of index and table."""
    found: list[str] = []
    more: dict[str, Any] = {"Limit": limit, "ScanIndexForward": is_forward}
    while True:
        answer = _query(tables, partition, limit if len(found) + limit <= 6 else 6 % limit, **more)
        found += _sorts(answer)
        last = answer.get("LastEvaluatedKey")
        if last is None:
            break
        assert last.keys() == {"p", "c", "x", "y"}
        more["ExclusiveStartKey"] = last
    order = ["1", "3", "5", "0", "2", "4"]
    assert found == (order if is_forward else order[::-1])


def test_capacity_filter_and_projection(tables: Tables, partition: Any) -> None:
    """The index is charged alone; a filter and a projection see what it holds."""
    answer = _query(
        tables,
        partition,
        1,
        FilterExpression="a[0] = :n",
        ProjectionExpression="c, a",
        ExpressionAttributeValues={":x": partition, ":n": {"N": "4"}},
        ReturnConsumedCapacity="INDEXES",
    )
    assert answer == {
        "Items": [{"c": {"S": "4"}, "a": {"L": [{"N": "4"}]}}],
        "Count": 1,
        "ScannedCount": 6,
        "ConsumedCapacity": {
            "TableName": tables.names["INDEXED"],
            "CapacityUnits": 0.5,
            "Table": {"CapacityUnits": 0},
            "GlobalSecondaryIndexes": {"gsi": {"CapacityUnits": 0.5}},
        },
    }


def test_an_update_moves_an_item(tables: Tables) -> None:
    """From one partition of the index to another, and out of it."""
    old, new = {"S": tables.fill("<ID>")}, {"S": tables.fill("<ID>")}
    key = {"p": old, "c": {"S": "1"}}
    table = tables.names["INDEXED"]
    tables.dynamodb.do("PutItem", {"TableName": table, "Item": key | {"x": old, "y": {"N": "1"}}})
    assert _query(tables, old, 1)["Count"] == 1
    update = {"TableName": table, "Key": key, "UpdateExpression": "SET x = :x"}
    tables.dynamodb.do("UpdateItem", update | {"ExpressionAttributeValues": {":x": new}})
    assert _query(tables, new, 1)["Count"] == 1
    assert _query(tables, old, 0)["Count"] == 0
    tables.dynamodb.do("UpdateItem", update | {"UpdateExpression": "REMOVE y"})
    assert _query(tables, new, 0)["Count"] == 0


def _refused(name: str, text: str, **members: Any) -> Case:
    request = {"TableName": "<INDEXED>", "IndexName": "gsi", **members}
    return Case(name=name, request=request, error=invalid(text), source=SCAN)


REFUSED: Final = (
    *(
        _refused(f"start-{number}", START, ExclusiveStartKey=key)
        for number, key in enumerate[dict[str, Any]](
            (
                {"x": {"S": "a"}, "y": {"N": "1"}},
                {"p": {"S": "a"}, "c": {"S": "a"}},
                {"p": {"S": "a"}, "c": {"S": "a"}, "x": {"S": "a"}},
                {"p": {"S": "a"}, "c": {"S": "a"}, "x": {"S": "a"}, "z": {"N": "1"}},
            )
        )
    ),
    _refused(
        "start-type",
        NO_MATCH,
        ExclusiveStartKey={"p": {"S": "a"}, "c": {"S": "a"}, "x": {"S": "a"}, "y": {"S": "1"}},
    ),
    _refused(
        "start-type-of-the-tables-key",
        f"{START}: {NO_MATCH}",
        ExclusiveStartKey={"p": {"S": "a"}, "c": {"N": "1"}, "x": {"S": "a"}, "y": {"N": "1"}},
    ),
    _refused(
        "start-without-the-tables-key",
        f"{START}: {NO_MATCH}",
        ExclusiveStartKey={"q": {"N": "1"}, "r": {"N": "1"}, "x": {"S": "a"}, "y": {"N": "1"}},
    ),
    _refused(
        "consistent",
        "Consistent reads are not supported on global secondary indexes",
        ConsistentRead=True,
    ),
)


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_refusals_of_a_scan(tables: Tables, case: Case) -> None:
    """What AWS refuses is refused in its words."""
    run(tables, "Scan", case)
