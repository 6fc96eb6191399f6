"""Scan of a local index: all that is in it, in parts and pages, as the index holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.api.test_query_index import ACTION, HELD, ITEMS, NO_MATCH, ORDERS, SORTS, START
from tests.support.dynamodb_cases import LOCALS, Case, invalid, name_of, run

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "Scan"
PARTITIONS: Final = ("one", "two", "three", "four", "five")


def _refused(name: str, text: str, **members: Any) -> Case:
    request = {"TableName": "<LOCAL>", "IndexName": "all", **members}
    return Case(name=name, request=request, error=invalid(text), source=ACTION)


REFUSED: Final = (
    _refused("no-index", "The table does not have the specified index: no-one", IndexName="no-one"),
    _refused(
        "filter-on-what-is-not-held",
        "One or more parameter values were invalid: Secondary index some does not project one or "
        "more filter attributes: [d, x]",
        IndexName="some",
        FilterExpression="attribute_exists(x) and attribute_exists(d) and attribute_exists(c)",
    ),
    *(
        _refused(f"start-{number}", START, ExclusiveStartKey=key)
        for number, key in enumerate[dict[str, Any]](
            (
                {"p": {"S": "a"}},
                {"p": {"S": "a"}, "c": {"S": "a"}},
                {"p": {"S": "a"}, "z": {"N": "1"}},
                {"p": {"S": "a"}, "c": {"S": "a"}, "x": {"S": "a"}},
                {"p": {"S": "a"}, "c": {"S": "a"}, "z": {"N": "1"}, "d": {"S": "a"}},
            )
        )
    ),
    *(
        _refused(f"start-type-{number}", NO_MATCH, ExclusiveStartKey=key)
        for number, key in enumerate[dict[str, Any]](
            (
                {"p": {"N": "1"}, "c": {"S": "a"}, "z": {"N": "1"}},
                {"p": {"S": "a"}, "c": {"S": "a"}, "z": {"S": "1"}},
            )
        )
    ),
    _refused(
        "start-type-of-the-tables-key",
        f"{START}: {NO_MATCH}",
        ExclusiveStartKey={"p": {"S": "a"}, "c": {"N": "1"}, "z": {"N": "1"}},
    ),
)


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """What AWS refuses is refused in its words."""
    run(tables, OP, case)


@pytest.fixture(name="filled", scope="module")
def _filled(tables: Tables) -> str:
    name = tables.new({"p": "S", "c": "S"}, **LOCALS)
    for partition in PARTITIONS:
        for item in ITEMS:
            given = {"TableName": name, "Item": item | {"p": {"S": partition}}}
            tables.dynamodb.do("PutItem", given)
    return name


def _all(tables: Tables, name: str, **members: Any) -> list[dict[str, Any]]:
    """Scan to the end, page by page."""
    found: list[dict[str, Any]] = []
    request = {"TableName": name, **members}
    while True:
        answer = tables.dynamodb.do(OP, request)
        found += answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return found
        request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _by_partition(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    seen: dict[str, list[str]] = {}
    for item in found:
        seen.setdefault(item["p"]["S"], []).append(item["c"]["S"])
    return seen


@pytest.mark.parametrize("index", ORDERS)
@pytest.mark.parametrize("limit", [None, 1, 3, 7])
def test_all_of_it(tables: Tables, filled: str, index: str, limit: int | None) -> None:
    """Every partition comes whole, and in the index's order; nothing twice."""
    more = {} if limit is None else {"Limit": limit}
    found = _all(tables, filled, IndexName=index, **more)
    order = [str(number) for number in ORDERS[index]]
    assert _by_partition(found) == dict.fromkeys(PARTITIONS, order)
    for item in found:
        given = ITEMS[int(item["c"]["S"]) - 1] | {"p": item["p"]}
        assert item == {name: given[name] for name in HELD[index] if name in given}


@pytest.mark.parametrize("index", ORDERS)
@pytest.mark.parametrize("segments", [2, 3, 5])
def test_segments(tables: Tables, filled: str, index: str, segments: int) -> None:
    """Parts are apart from each other and together all of it."""
    parts = [
        _all(tables, filled, IndexName=index, Segment=part, TotalSegments=segments, Limit=4)
        for part in range(segments)
    ]
    seen = [_by_partition(part).keys() for part in parts]
    assert sum(map(len, seen)) == len(PARTITIONS)
    assert sum(map(len, parts)) == len(PARTITIONS) * len(ORDERS[index])


@pytest.mark.parametrize("index", ORDERS)
def test_selected(tables: Tables, filled: str, index: str) -> None:
    """All attributes are fetched if they are asked for; or their count alone is told."""
    found = _all(tables, filled, IndexName=index, Select="ALL_ATTRIBUTES", Limit=4)
    assert all(item == ITEMS[int(item["c"]["S"]) - 1] | {"p": item["p"]} for item in found)
    request = {"TableName": filled, "IndexName": index, "Select": "COUNT"}
    count = len(PARTITIONS) * len(ORDERS[index])
    assert tables.dynamodb.do(OP, request) == {"Count": count, "ScannedCount": count}


@pytest.mark.parametrize("index", ORDERS)
def test_filter_on_the_keys(tables: Tables, filled: str, index: str) -> None:
    """A scan may filter on any key."""
    found = _all(
        tables,
        filled,
        IndexName=index,
        FilterExpression=f"p = :p and attribute_exists({SORTS[index]}) and c > :c",
        ExpressionAttributeValues={":p": {"S": "two"}, ":c": {"S": "3"}},
    )
    order = [str(number) for number in ORDERS[index] if number > 3]
    assert _by_partition(found) == {"two": order}


def test_a_start_of_another_segment(tables: Tables, filled: str) -> None:
    """It is refused as of a table."""
    by_segment = [
        _all(tables, filled, IndexName="all", Segment=part, TotalSegments=2) for part in range(2)
    ]
    item = next(item for part in by_segment for item in part)
    wrong = 0 if item in by_segment[1] else 1
    request = {
        "TableName": filled,
        "IndexName": "all",
        "Segment": wrong,
        "TotalSegments": 2,
        "ExclusiveStartKey": {name: item[name] for name in ("p", "c", "z")},
    }
    answer = tables.dynamodb.call(OP, request)
    assert answer.message == (
        f"{START}: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. "
        f"TotalSegments: 2 Segment: {wrong}"
    )
