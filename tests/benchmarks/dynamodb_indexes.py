"""What a global index costs: puts and queries with one beside those without, and adding one.

Three tables have the same items of 1 KB: one by its key, one by the keys that the index has, and
one with the index, which holds all attributes. So each put changes an entry of the index as large
as the item, and a query of the index answers what one of the second table does. All of them, with
the index, fit the node's caches of entries and of pages, and each workload runs once before it
counts. Queries run for a moment before each of their runs too, since puts have changed what the
index answers, and nothing changes the other table: what is measured is warm on both sides.

To add an index, a table is loaded with 200,000 items first; clients put meanwhile, and what their
slowest requests take is printed beside what they took before. In the end the index has every item
of the table once, attribute by attribute.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from tests.benchmarks.dynamodb_workloads import BATCH, PER_PARTITION, Members, item_of
from tests.benchmarks.wrk import Figure, replay, write_requests
from tests.support.http_client import Client

COST: Final = "index"
ADDING: Final = "add-index"
LARGE: Final = 200_000  # items
PUT_COST_MAX: Final = 1.6
QUERY_SHARE_MIN: Final = 0.9
P99_GROWTH_MAX: Final = 2.0
# Of 1 KB, in three tables and an index: 140 MB of the entry cache's 256.
_ITEMS: Final = 5_000
_REQUESTS: Final = 5_000  # written ahead for one run
_PLAIN: Final = "plain"
_GROUPED: Final = "grouped"
_INDEXED: Final = "indexed"
_GROWN: Final = "grown"
_KEYS: Final = {"group": "S", "place": "N"}
_WARM_UP_S: Final = 3
_QUERIED_BEFORE_S: Final = 1  # each of the 500 partitions, some times
_RUNS_BEFORE: Final = 3
_SEEDERS: Final = 4
# 200,000 items, of which 200 to 300 a second are filled in while 32 clients put without a pause, on
# two cores that others have as well.
_PATIENCE_S: Final = 1_000.0
_POLL_S: Final = 0.1
_LEVEL: Final = re.compile(rb"^dstore_index_lag_records 0(\.0)?$", re.MULTILINE)
_FILLED: Final = re.compile(rb"^dstore_index_items_total ([0-9.e+]+)$", re.MULTILINE)
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One measurement: what wrk saw, how long the index took to be level behind it, and the CPU."""

    figure: Figure
    late_s: float
    cpu_ms: float  # of the server for one request, the indexes' work counted in


def cost_lines(endpoint: Endpoint, directory: Path, *, seconds: int, rounds: int) -> Iterator[str]:
    """Measure puts and queries in turn, and give the lines to print. Raises: Unanswered."""
    endpoint.make_table(_PLAIN, {"id": "S"})
    endpoint.make_table(_GROUPED, _KEYS)
    endpoint.make_table(_INDEXED, {"id": "S"}, index=_KEYS)
    for table in (_PLAIN, _GROUPED, _INDEXED):
        _load(endpoint, table, items=_ITEMS)
    _await_count(endpoint, _INDEXED, items=_ITEMS)
    works: dict[str, tuple[str, Callable[[random.Random], Members]]] = {
        "put": ("PutItem", lambda rng: _put(_PLAIN, _ITEMS, rng)),
        "put indexed": ("PutItem", lambda rng: _put(_INDEXED, _ITEMS, rng)),
        "query": ("Query", lambda rng: _query(_GROUPED, rng)),
        "query index": ("Query", lambda rng: _query(_INDEXED, rng) | {"IndexName": INDEX}),
    }
    for operation, members in (works["query"], works["query index"]):
        _check_query(endpoint, operation, members(random.Random(2)))
    found: dict[str, list[_Run]] = {name: [] for name in works}
    for number in range(rounds + 1):  # round 0 warms up and is not counted
        for name, (operation, members) in works.items():
            path = directory / "index.requests"
            rng = random.Random(number)
            made = (endpoint.request(operation, members(rng)) for _ in range(_REQUESTS))
            write_requests(path, made)
            if operation == "Query":
                replay(endpoint.url, path, seconds=_QUERIED_BEFORE_S)
            run = _run(endpoint, path, seconds=seconds if number else _WARM_UP_S)
            if number:
                found[name].append(run)
    yield from _cost(found, seconds=seconds)


def _run(endpoint: Endpoint, path: Path, *, seconds: int) -> _Run:
    before_s = _cpu_s(endpoint.pid)
    figure = replay(endpoint.url, path, seconds=seconds)
    began = time.monotonic()
    _await_level(endpoint)
    late_s = time.monotonic() - began
    cpu_ms = 1_000 * (_cpu_s(endpoint.pid) - before_s) / (figure.requests_per_s * seconds)
    return _Run(figure=figure, late_s=late_s, cpu_ms=cpu_ms)


def _cost(found: dict[str, list[_Run]], *, seconds: int) -> Iterator[str]:
    for name, runs in found.items():
        rate, p99 = (
            median(getattr(run.figure, of) for run in runs) for of in ("requests_per_s", "p99_ms")
        )
        cpu_ms = median(run.cpu_ms for run in runs)
        yield (
            f"{name:<12}{rate:>22,.0f} requests/s, p99 {p99:.2f} ms, {cpu_ms:.3f} ms of the "
            "server's CPU each"
        )
    pairs = list(zip(found["put"], found["put indexed"], strict=True))
    costs = [
        plain.figure.requests_per_s / indexed.figure.requests_per_s * (1 + indexed.late_s / seconds)
        for plain, indexed in pairs
    ]
    late_s = median(run.late_s for run in found["put indexed"])
    cpu = median(indexed.cpu_ms / plain.cpu_ms for plain, indexed in pairs)
    yield (
        f"{'':<12}a put with an index costs {median(costs):.2f} times one without "
        f"({min(costs):.2f}-{max(costs):.2f}, at most {PUT_COST_MAX}), the {late_s:.1f} s counted "
        f"in until the index is level; {cpu:.2f} times the CPU"
    )
    shares = [
        index.figure.requests_per_s / table.figure.requests_per_s
        for table, index in zip(found["query"], found["query index"], strict=True)
    ]
    yield (
        f"{'':<12}a query of an index has {median(shares):.2f} of a table's rate "
        f"({min(shares):.2f}-{max(shares):.2f}, at least {QUERY_SHARE_MIN})"
    )


def adding_lines(endpoint: Endpoint, directory: Path, *, seconds: int, items: int) -> Iterator[str]:
    """Add an index to a large table under load, and give the lines to print. Raises: Unanswered."""
    endpoint.make_table(_GROWN, {"id": "S"})
    began = time.monotonic()
    _load(endpoint, _GROWN, items=items)
    yield f"{'add-index':<12}{items:,} items loaded in {time.monotonic() - began:.0f} s"
    before: list[Figure] = []
    during: list[Figure] = []
    for number in range(_RUNS_BEFORE + 1):  # the first one warms up
        figure = _puts(endpoint, directory, items=items, seconds=seconds, seed=number)
        if number:
            before.append(figure)
            yield _said("before", figure)
    filled, began = _filled(endpoint), time.monotonic()
    _add_index(endpoint)
    while not _is_active(endpoint):
        if time.monotonic() - began > _PATIENCE_S:
            raise Unanswered(f"{endpoint.name}: the index is not ACTIVE after {_PATIENCE_S:.0f} s")
        seed = 10 + len(during)
        during.append(_puts(endpoint, directory, items=items, seconds=seconds, seed=seed))
        looked_at = f", {_filled(endpoint) - filled:,.0f} items looked at"
        yield _said("meanwhile", during[-1]) + looked_at
    took_s = time.monotonic() - began
    _await_level(endpoint)
    table, index = (_content(endpoint, _GROWN, name) for name in (None, INDEX))
    if table != index or table[0] != items:
        raise Unanswered(f"{endpoint.name}: the index has {index}, the table {table}")
    yield f"{'':<12}ACTIVE after {took_s:.0f} s, and equal to its table: each of {items:,} items"
    for what, figures in (("before", before), ("meanwhile", during)):
        rate, p99 = (median(getattr(f, of) for f in figures) for of in ("requests_per_s", "p99_ms"))
        worst = max(figure.p99_ms for figure in figures)
        yield (
            f"{'  puts':<12}{rate:>22,.0f} requests/s {what}, p99 {p99:.2f} ms, in the worst "
            f"{seconds} s {worst:.2f} ms"
        )
    growth = median(f.p99_ms for f in during) / median(f.p99_ms for f in before)
    yield f"{'':<12}p99 {growth:.2f} times that of before (at most {P99_GROWTH_MAX})"


def _said(what: str, figure: Figure) -> str:
    return (
        f"{'':<12}puts {what}: {figure.requests_per_s:,.0f} requests/s, "
        f"p50 {figure.p50_ms:.2f} ms, p99 {figure.p99_ms:.2f} ms"
    )


def _add_index(endpoint: Endpoint) -> None:
    endpoint.call(
        "UpdateTable",
        {
            "TableName": _GROWN,
            "AttributeDefinitions": definitions_of({"id": "S"} | _KEYS),
            "GlobalSecondaryIndexUpdates": [{"Create": index_of(_KEYS)}],
        },
    )


def _item(number: int, rng: random.Random) -> Members:
    group, place = divmod(number, PER_PARTITION)
    return item_of(number, rng) | {"group": _group(group), "place": {"N": str(place)}}


def _group(number: int) -> Members:
    return {"S": f"group-{number:08d}"}


def _put(table: str, items: int, rng: random.Random) -> Members:
    return {"TableName": table, "Item": _item(rng.randrange(items), rng)}


def _query(table: str, rng: random.Random) -> Members:
    return {
        "TableName": table,
        "KeyConditionExpression": "#p = :p",
        "ExpressionAttributeNames": {"#p": "group"},
        "ExpressionAttributeValues": {":p": _group(rng.randrange(_ITEMS // PER_PARTITION))},
    }


def _check_query(endpoint: Endpoint, operation: str, members: Members) -> None:
    answer = endpoint.call(operation, members)
    if answer["Count"] != PER_PARTITION:
        raise Unanswered(f"{endpoint.name}: {operation} answers {answer}")


def _load(endpoint: Endpoint, table: str, *, items: int) -> None:
    rng = random.Random(4)

    def put(first: int) -> None:
        made = [_item(number, rng) for number in range(first, first + BATCH)]
        asked = {"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in made]}}
        if endpoint.call("BatchWriteItem", asked)["UnprocessedItems"]:
            raise Unanswered(f"{endpoint.name}: BatchWriteItem left some")

    with ThreadPoolExecutor(_SEEDERS) as pool:
        list(pool.map(put, range(0, items, BATCH)))


def _puts(endpoint: Endpoint, directory: Path, *, items: int, seconds: int, seed: int) -> Figure:
    rng = random.Random(seed)
    path = directory / "index-puts.requests"
    members = (_put(_GROWN, items, rng) for _ in range(_REQUESTS))
    write_requests(path, (endpoint.request("PutItem", one) for one in members))
    return replay(endpoint.url, path, seconds=seconds)


def _is_active(endpoint: Endpoint) -> bool:
    table = endpoint.call("DescribeTable", {"TableName": _GROWN})["Table"]
    return bool(table["GlobalSecondaryIndexes"][0]["IndexStatus"] == "ACTIVE")


def _await_level(endpoint: Endpoint) -> None:
    """Wait until no index lacks a record."""
    while not _LEVEL.search(_metrics(endpoint)):
        time.sleep(_POLL_S)


def _filled(endpoint: Endpoint) -> float:
    """Count the items that were looked at while indexes were filled."""
    found = _FILLED.search(_metrics(endpoint))
    return 0.0 if found is None else float(found[1])


def _metrics(endpoint: Endpoint) -> bytes:
    assert endpoint.admin_url is not None, "dStore's"
    with Client(endpoint.admin_url, token=None) as admin:
        return admin.get("/metrics").body


def _cpu_s(pid: int) -> float:
    """Read what a process has had of the cores, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _await_count(endpoint: Endpoint, table: str, *, items: int) -> None:
    """Wait until the index has every item, and see that it has none twice."""
    deadline = time.monotonic() + _PATIENCE_S
    while (found := _content(endpoint, table, INDEX)[0]) != items:
        if found > items or time.monotonic() > deadline:
            raise Unanswered(f"{endpoint.name}: the index of {table} has {found} of {items} items")
        time.sleep(_POLL_S)


def _content(endpoint: Endpoint, table: str, index: str | None) -> tuple[int, int]:
    """Scan a table or an index. Returns: how many items there are, and a sum of their digests."""
    asked: Members = {"TableName": table}
    if index is not None:
        asked["IndexName"] = index
    count = total = 0
    while True:
        answer = endpoint.call("Scan", asked)
        for item in answer["Items"]:
            digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).digest()
            count, total = count + 1, total + int.from_bytes(digest, "big")
        if "LastEvaluatedKey" not in answer:
            return count, total
        asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
