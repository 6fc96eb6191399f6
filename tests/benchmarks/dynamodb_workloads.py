"""What `scripts/bench dynamodb` loads and sends: items of 1 KB in 10 attributes, 20,000 keys.

Table `single` has a partition key; table `composite` has 2,000 partitions of 10 items. Every
workload keeps the number of items, so that the rounds are alike: writes replace.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tests.benchmarks.dynamodb_endpoint import Endpoint, Unanswered

KEYS: Final = 20_000
PER_PARTITION: Final = 10
BATCH: Final = 25
SINGLE: Final = "single"
COMPOSITE: Final = "composite"
ITEM_BYTES: Final = 1_024
_TEXTS: Final = 8  # beside two other attributes
_SEEDERS: Final = 4
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789 "
# Texts are cut out of this one: to draw each character anew would take longer than to measure.
_TEXT: Final = "".join(random.Random(3).choices(_ALPHABET, k=100_000))

Members: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One line of the printed table.

    Attributes:
        name: as `--only` takes it.
        operation: DynamoDB's name.
        members: makes the members of one request, of random keys.
        requests: how many are written ahead.
        target: the least ratio to dynalite's requests a second.
        is_right: tells whether an answer is what this workload measures.
        items: in one request, where items a second are of interest.
        pattern: what each answer must hold, a Lua pattern, where a 200 may hide a failure.
        p99_target_ms: the most that dStore's may be.
    """

    name: str
    operation: str
    members: Callable[[random.Random], Members]
    requests: int
    target: float
    is_right: Callable[[Members], bool]
    items: int = 1
    pattern: str | None = None
    p99_target_ms: float | None = None


def item_of(number: int, rng: random.Random) -> Members:
    """Make an item of `single`."""
    return _filled({"id": _id(number), "version": {"N": "1"}}, rng)


def _composite_item(number: int, rng: random.Random) -> Members:
    partition, sort = divmod(number, PER_PARTITION)
    return _filled({"partition": _partition(partition), "sort": {"N": str(sort)}}, rng)


def _filled(item: Members, rng: random.Random) -> Members:
    used = sum(len(name) + _value_bytes(value) for name, value in item.items())
    names = [f"attribute{number}" for number in range(_TEXTS)]
    left = ITEM_BYTES - used - sum(map(len, names))
    chars, more = divmod(left, _TEXTS)
    texts = (chars + (number < more) for number in range(_TEXTS))
    return item | {
        name: {"S": _text(rng, length)} for name, length in zip(names, texts, strict=True)
    }


def _text(rng: random.Random, chars: int) -> str:
    start = int(rng.random() * (len(_TEXT) - chars))
    return _TEXT[start : start + chars]


def _value_bytes(value: Members) -> int:
    # A number's size by DynamoDB's rule: one byte for two digits, and one more.
    return len(value["S"]) if "S" in value else 2


def _id(number: int) -> Members:
    return {"S": f"key-{number:08d}"}


def _partition(number: int) -> Members:
    return {"S": f"partition-{number:08d}"}


# -------------------------------------------------------------------------------- the workloads


def _any_id(rng: random.Random) -> Members:
    return {"id": _id(rng.randrange(KEYS))}


def _put(rng: random.Random) -> Members:
    return {"TableName": SINGLE, "Item": item_of(rng.randrange(KEYS), rng)}


def _get(rng: random.Random) -> Members:
    return {"TableName": SINGLE, "Key": _any_id(rng)}


def _update(rng: random.Random) -> Members:
    return {
        "TableName": SINGLE,
        "Key": _any_id(rng),
        "UpdateExpression": "SET attribute3 = :text, #v = #v + :one",
        "ExpressionAttributeNames": {"#v": "version"},
        "ExpressionAttributeValues": {
            ":text": {"S": _text(rng, 100)},
            ":one": {"N": "1"},
        },
    }


def _conditional(rng: random.Random) -> Members:
    return _put(rng) | {
        "ConditionExpression": "attribute_exists(id) AND #v >= :least",
        "ExpressionAttributeNames": {"#v": "version"},
        "ExpressionAttributeValues": {":least": {"N": "1"}},
    }


def _query(rng: random.Random) -> Members:
    return {
        "TableName": COMPOSITE,
        "KeyConditionExpression": "#p = :p",
        "ExpressionAttributeNames": {"#p": "partition"},
        "ExpressionAttributeValues": {":p": _partition(rng.randrange(KEYS // PER_PARTITION))},
    }


def _batch(rng: random.Random) -> Members:
    numbers = rng.sample(range(KEYS), BATCH)
    return _batch_write(SINGLE, [item_of(number, rng) for number in numbers])


def _batch_write(table: str, items: list[Members]) -> Members:
    return {"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in items]}}


def _is_empty(answer: Members) -> bool:
    return answer == {}


def _is_whole_item(answer: Members) -> bool:
    return len(answer["Item"]) == _TEXTS + 2


def _is_whole_partition(answer: Members) -> bool:
    count: object = answer["Count"]
    return count == len(answer["Items"]) == PER_PARTITION


def _is_all_written(answer: Members) -> bool:
    return answer == {"UnprocessedItems": {}}


WORKLOADS: Final = (
    Workload(
        name="put",
        operation="PutItem",
        members=_put,
        requests=KEYS,
        target=0.5,
        is_right=_is_empty,
        p99_target_ms=25.0,
    ),
    Workload(
        name="get",
        operation="GetItem",
        members=_get,
        requests=KEYS,
        target=0.75,
        is_right=_is_whole_item,
    ),
    Workload(
        name="update",
        operation="UpdateItem",
        members=_update,
        requests=KEYS,
        target=0.5,
        is_right=_is_empty,
    ),
    Workload(
        name="conditional",
        operation="PutItem",
        members=_conditional,
        requests=KEYS,
        target=0.75,
        is_right=_is_empty,
    ),
    Workload(
        name="query",
        operation="Query",
        members=_query,
        requests=KEYS // PER_PARTITION,
        target=1.2,
        is_right=_is_whole_partition,
    ),
    Workload(
        name="batch",
        operation="BatchWriteItem",
        members=_batch,
        requests=KEYS // BATCH,
        target=0.75,
        is_right=_is_all_written,
        items=BATCH,
        pattern='"UnprocessedItems":{}',
    ),
)


def seed(endpoint: Endpoint) -> None:
    """Make both tables and load them through the API. Raises: Unanswered."""
    endpoint.make_table(SINGLE, {"id": "S"})
    endpoint.make_table(COMPOSITE, {"partition": "S", "sort": "N"})
    rng = random.Random(1)
    batches = [
        _batch_write(table, [make(number, rng) for number in range(first, first + BATCH)])
        for table, make in ((SINGLE, item_of), (COMPOSITE, _composite_item))
        for first in range(0, KEYS, BATCH)
    ]

    def load(members: Members) -> None:
        answer = endpoint.call("BatchWriteItem", members)
        if not _is_all_written(answer):
            raise Unanswered(f"{endpoint.name}: BatchWriteItem left {answer}")

    with ThreadPoolExecutor(_SEEDERS) as pool:
        for _ in pool.map(load, batches):
            pass


def check(endpoint: Endpoint, workload: Workload) -> None:
    """Send one request of a workload and look at the answer. Raises: Unanswered."""
    answer = endpoint.call(workload.operation, workload.members(random.Random(2)))
    if not workload.is_right(answer):
        raise Unanswered(f"{endpoint.name}: {workload.name} answers {answer}")
