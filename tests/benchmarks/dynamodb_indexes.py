"""What a global index costs: puts and queries with one beside those without, and adding one.

The index holds all attributes, so each put changes an entry of it as large as the item. To add
one, the table is loaded with 200,000 items first; clients put meanwhile, and what their slowest
requests take is printed beside what they took before. In the end the index has every item once.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.dynamodb_endpoint import (
    INDEX,
    Endpoint,
    Unanswered,
    definitions_of,
    index_of,
)
from tests.benchmarks.dynamodb_workloads import (
    BATCH,
    COMPOSITE,
    KEYS,
    PER_PARTITION,
    SINGLE,
    Members,
    item_of,
)
from tests.benchmarks.wrk import Figure, replay, write_requests
from tests.support.http_client import Client

COST: Final = "index"
ADDING: Final = "add-index"
LARGE: Final = 200_000  # items
PUT_COST_MAX: Final = 1.6
QUERY_SHARE_MIN: Final = 0.9
P99_GROWTH_MAX: Final = 2.0
_INDEXED: Final = "indexed"
_GROWN: Final = "grown"
_KEYS: Final = {"group": "S", "place": "N"}
_SEEDERS: Final = 4
_PATIENCE_S: Final = 600.0
_POLL_S: Final = 0.1
_LEVEL: Final = re.compile(rb"^dstore_index_lag_records 0(\.0)?$", re.MULTILINE)


def cost_lines(endpoint: Endpoint, directory: Path, *, seconds: int, rounds: int) -> Iterator[str]:
    """Measure puts and queries in turn, and give the lines to print. Raises: Unanswered."""
    endpoint.make_table(_INDEXED, {"id": "S"}, index=_KEYS)
    _load(endpoint, _INDEXED, items=KEYS)
    _await_count(endpoint, _INDEXED, items=KEYS)
    works: dict[str, tuple[str, Callable[[random.Random], Members]]] = {
        "put": ("PutItem", lambda rng: _put(SINGLE, KEYS, rng)),
        "put indexed": ("PutItem", lambda rng: _put(_INDEXED, KEYS, rng)),
        "query": ("Query", _query_table),
        "query index": ("Query", _query_index),
    }
    found: dict[str, list[Figure]] = {name: [] for name in works}
    late_s: list[float] = []
    for number in range(rounds):
        for name, (operation, members) in works.items():
            rng = random.Random(number)
            path = directory / "index.requests"
            made = (endpoint.request(operation, members(rng)) for _ in range(KEYS // 4))
            write_requests(path, made)
            found[name].append(replay(endpoint.url, path, seconds=seconds))
            began = time.monotonic()
            _await_level(endpoint)
            if name == "put indexed":
                late_s.append(time.monotonic() - began)
    for name, figures in found.items():
        rate, p99 = (median(getattr(f, of) for f in figures) for of in ("requests_per_s", "p99_ms"))
        yield f"{name:<12}{rate:>22,.0f} requests/s, p99 {p99:.2f} ms"
    late = median(late_s)
    put = _ratio(found["put"], found["put indexed"]) * (seconds + late) / seconds
    query = _ratio(found["query index"], found["query"])
    yield (
        f"{'':<12}a put with an index costs {put:.2f} times one without (at most {PUT_COST_MAX}), "
        f"the {late:.1f} s counted in until the index is level"
    )
    yield (
        f"{'':<12}a query of an index has {query:.2f} of a table's rate (at least "
        f"{QUERY_SHARE_MIN})"
    )


def adding_lines(endpoint: Endpoint, directory: Path, *, seconds: int) -> Iterator[str]:
    """Add an index to a large table under load, and give the lines to print. Raises: Unanswered."""
    endpoint.make_table(_GROWN, {"id": "S"})
    _load(endpoint, _GROWN, items=LARGE)
    before = [_puts(endpoint, directory, seconds=seconds, seed=number) for number in range(3)]
    began = time.monotonic()
    endpoint.call(
        "UpdateTable",
        {
            "TableName": _GROWN,
            "AttributeDefinitions": definitions_of({"id": "S"} | _KEYS),
            "GlobalSecondaryIndexUpdates": [{"Create": index_of(_KEYS)}],
        },
    )
    during: list[Figure] = []
    while not _is_active(endpoint):
        if time.monotonic() - began > _PATIENCE_S:
            raise Unanswered(f"{endpoint.name}: the index is not ACTIVE after {_PATIENCE_S:.0f} s")
        during.append(_puts(endpoint, directory, seconds=seconds, seed=10 + len(during)))
    took_s = time.monotonic() - began
    _await_count(endpoint, _GROWN, items=LARGE)
    yield f"{'add-index':<12}{LARGE:,} items in {took_s:.0f} s while clients put, each once"
    for what, figures in (("before", before), ("meanwhile", during)):
        rate, p99 = (median(getattr(f, of) for f in figures) for of in ("requests_per_s", "p99_ms"))
        worst = max(figure.p99_ms for figure in figures)
        yield (
            f"{'  puts':<12}{rate:>22,.0f} requests/s {what}, p99 {p99:.2f} ms, in the worst "
            f"{seconds} s {worst:.2f} ms"
        )
    growth = median(f.p99_ms for f in during) / median(f.p99_ms for f in before)
    yield f"{'':<12}p99 {growth:.2f} times that of before (at most {P99_GROWTH_MAX})"


def _item(number: int, rng: random.Random) -> Members:
    group, place = divmod(number, PER_PARTITION)
    return item_of(number, rng) | {"group": _group(group), "place": {"N": str(place)}}


def _group(number: int) -> Members:
    return {"S": f"group-{number:08d}"}


def _put(table: str, items: int, rng: random.Random) -> Members:
    number = rng.randrange(items)
    item = item_of(number, rng) if table == SINGLE else _item(number, rng)
    return {"TableName": table, "Item": item}


def _query_table(rng: random.Random) -> Members:
    partition = {"S": f"partition-{rng.randrange(KEYS // PER_PARTITION):08d}"}
    return _query(COMPOSITE, "partition", partition)


def _query_index(rng: random.Random) -> Members:
    group = _group(rng.randrange(KEYS // PER_PARTITION))
    return _query(_INDEXED, "group", group) | {"IndexName": INDEX}


def _query(table: str, attribute: str, value: Members) -> Members:
    return {
        "TableName": table,
        "KeyConditionExpression": "#p = :p",
        "ExpressionAttributeNames": {"#p": attribute},
        "ExpressionAttributeValues": {":p": value},
    }


def _load(endpoint: Endpoint, table: str, *, items: int) -> None:
    rng = random.Random(4)

    def put(first: int) -> None:
        made = [_item(number, rng) for number in range(first, first + BATCH)]
        asked = {"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in made]}}
        if endpoint.call("BatchWriteItem", asked)["UnprocessedItems"]:
            raise Unanswered(f"{endpoint.name}: BatchWriteItem left some")

    with ThreadPoolExecutor(_SEEDERS) as pool:
        list(pool.map(put, range(0, items, BATCH)))


def _puts(endpoint: Endpoint, directory: Path, *, seconds: int, seed: int) -> Figure:
    rng = random.Random(seed)
    path = directory / "index-puts.requests"
    members = (_put(_GROWN, LARGE, rng) for _ in range(KEYS // 4))
    write_requests(path, (endpoint.request("PutItem", one) for one in members))
    return replay(endpoint.url, path, seconds=seconds)


def _is_active(endpoint: Endpoint) -> bool:
    table = endpoint.call("DescribeTable", {"TableName": _GROWN})["Table"]
    return bool(table["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE")


def _await_level(endpoint: Endpoint) -> None:
    """Wait until no index lacks a record."""
    assert endpoint.admin_url is not None, "dStore's"
    with Client(endpoint.admin_url, token=None) as admin:
        while not _LEVEL.search(admin.get("/metrics").body):
            time.sleep(_POLL_S)


def _await_count(endpoint: Endpoint, table: str, *, items: int) -> None:
    """Wait until the index has every item, and see that it has none twice."""
    deadline = time.monotonic() + _PATIENCE_S
    while (found := _count(endpoint, table)) != items:
        if found > items or time.monotonic() > deadline:
            raise Unanswered(f"{endpoint.name}: the index of {table} has {found} of {items} items")
        time.sleep(_POLL_S)


def _count(endpoint: Endpoint, table: str) -> int:
    asked: Members = {"TableName": table, "IndexName": INDEX, "Select": "COUNT"}
    count = 0
    while True:
        answer = endpoint.call("Scan", asked)
        count += int(answer["Count"])
        if "LastEvaluatedKey" not in answer:
            return count
        asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _ratio(some: list[Figure], others: list[Figure]) -> float:
    pairs = zip(some, others, strict=True)
    return float(median(a.requests_per_s / b.requests_per_s for a, b in pairs))
