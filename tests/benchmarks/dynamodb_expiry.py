"""How many expired items dStore removes a second: alone, and while clients put and wait.

Alone: a table is loaded with items whose time is over, then time to live is enabled; what is
measured includes looking through all of them. Under load: the same items come due while wrk puts
others, and what the puts take is printed beside what they take without.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.benchmarks.dynamodb_endpoint import Endpoint, Unanswered
from tests.benchmarks.dynamodb_workloads import (
    BATCH,
    KEYS,
    SINGLE,
    Members,
    item_of,
)
from tests.benchmarks.wrk import Figure, replay, write_requests

NAME: Final = "expire"
RATE_MIN: Final = 1_000  # items/s
TABLE: Final = "expiring"
ATTRIBUTE: Final = "expires"
_SEEDERS: Final = 4
_PATIENCE_S: Final = 300.0
_POLL_S: Final = 0.05


def lines(endpoint: Endpoint, directory: Path, *, seconds: int) -> Iterator[str]:
    """Measure, and give the lines to print. Raises: Unanswered."""
    endpoint.make_table(TABLE, {"id": "S"})
    _load(endpoint, at_s=int(time.time()) - 60)
    began = time.monotonic()
    specification = {"AttributeName": ATTRIBUTE, "Enabled": True}
    endpoint.call(
        "UpdateTimeToLive", {"TableName": TABLE, "TimeToLiveSpecification": specification}
    )
    _until(endpoint, lambda: _left(endpoint, limit=1) == 0)
    alone = KEYS / (time.monotonic() - began)
    yield (
        f"{'expire':<12}{alone:>22,.0f} items/s alone, its index built meanwhile (at least "
        f"{RATE_MIN:,})"
    )
    before = _puts(endpoint, directory, seconds=seconds)
    at_s = int(time.time()) + _loading_s(endpoint) + 1
    _load(endpoint, at_s=at_s)
    time.sleep(max(0.0, at_s - time.time()))
    began = time.monotonic()
    during = _puts(endpoint, directory, seconds=seconds)
    passed_s = time.monotonic() - began
    removed = KEYS - _left(endpoint)
    yield f"{'':<12}{removed / passed_s:>22,.0f} items/s while clients put (at least {RATE_MIN:,})"
    for what, figure in (("without", before), ("meanwhile", during)):
        yield (
            f"{'  puts':<12}{figure.requests_per_s:>22,.0f} requests/s {what}, "
            f"p50 {figure.p50_ms:.2f} ms, p99 {figure.p99_ms:.2f} ms"
        )


def _loading_s(endpoint: Endpoint) -> int:
    """Guess how long it takes to load the table: by loading items that stay for an hour."""
    began = time.monotonic()
    _load(endpoint, at_s=int(time.time()) + 3_600)
    return int(2 * (time.monotonic() - began)) + 1


def _load(endpoint: Endpoint, *, at_s: int) -> None:
    rng = random.Random(4)
    expires = {ATTRIBUTE: {"N": str(at_s)}}

    def put(first: int) -> None:
        items = [item_of(number, rng) | expires for number in range(first, first + BATCH)]
        asked: Members = {
            "RequestItems": {TABLE: [{"PutRequest": {"Item": item}} for item in items]}
        }
        answer = endpoint.call("BatchWriteItem", asked)
        if answer["UnprocessedItems"]:
            raise Unanswered(f"{endpoint.name}: BatchWriteItem left some")

    with ThreadPoolExecutor(_SEEDERS) as pool:
        list(pool.map(put, range(0, KEYS, BATCH)))


def _puts(endpoint: Endpoint, directory: Path, *, seconds: int) -> Figure:
    rng = random.Random(5)
    path = directory / "puts-beside.requests"
    items = (item_of(rng.randrange(KEYS), rng) for _ in range(KEYS))
    write_requests(
        path, (endpoint.request("PutItem", {"TableName": SINGLE, "Item": one}) for one in items)
    )
    return replay(endpoint.url, path, seconds=seconds)


def _left(endpoint: Endpoint, *, limit: int | None = None) -> int:
    """Count the items of the table, or look whether there is one."""
    count = 0
    asked: Members = {"TableName": TABLE, "Select": "COUNT", "ConsistentRead": True}
    if limit is not None:
        asked["Limit"] = limit
    while True:
        answer = endpoint.call("Scan", asked)
        count += int(answer["Count"])
        if count and limit is not None:
            return count
        if "LastEvaluatedKey" not in answer:
            return count
        asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _until(endpoint: Endpoint, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise Unanswered(f"{endpoint.name}: items did not expire in {_PATIENCE_S:.0f} s")
        time.sleep(_POLL_S)
