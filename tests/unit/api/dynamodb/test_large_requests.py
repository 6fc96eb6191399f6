"""Requests that take long to check leave the event loop to others; large answers stay compact."""

from __future__ import annotations

import tracemalloc
from asyncio import sleep
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, Final

import pytest

from dstore.api.dynamodb.action import Call
from dstore.api.dynamodb.actions import ACTIONS
from dstore.api.dynamodb.errors import AwsError
from dstore.base.limits import AWS_BODY_BYTES_MAX, MIB
from dstore.base.tasks import Tasks
from dstore.service.access import Principal
from dstore.service.write_answers import Written, written
from tests.unit.api.dynamodb.calling import REGION, TENANT, called
from tests.unit.api.dynamodb.item_tables import HASH, node_fixture

if TYPE_CHECKING:
    from dstore.service.node import Node

__all__ = ["node_fixture"]

_LONG: Final = {"id": {"NS": [f"{number}.0" for number in range(20_000)]}}  # 50 ms to check
_TURNS_MIN: Final = 4
_X: Final = {"id": {"S": "x"}}
_BY_KEY: Final = {
    "KeyConditionExpression": "id = :x",
    "ExpressionAttributeValues": {":x": {"S": "x"}},
}


async def _turns_during(node: Node, operation: str, members: dict[str, Any]) -> int:
    """Call an operation that must fail, as with a large body. Returns: turns taken meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await sleep(0.001)

    tasks = Tasks(lambda _error: None)
    counting = tasks.spawn(count(), name="count")
    await sleep(0)
    call = Call(
        cases=node,
        principal=Principal(tenant=TENANT, credential="AKIA"),
        tenant=TENANT,
        region=REGION,
        members=members,
        body_bytes=AWS_BODY_BYTES_MAX,
    )
    try:
        with pytest.raises(AwsError):
            await ACTIONS[operation].run(call)
        return turns
    finally:
        counting.cancel()
        await tasks.drain()


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GetItem", {"TableName": HASH, "Key": _LONG}),
        ("DeleteItem", {"TableName": HASH, "Key": _LONG}),
        ("UpdateItem", {"TableName": HASH, "Key": _LONG}),
        ("PutItem", {"TableName": HASH, "Item": _LONG}),
        ("Query", {"TableName": HASH, "ExclusiveStartKey": _LONG, **_BY_KEY}),
        ("Scan", {"TableName": HASH, "ExclusiveStartKey": _LONG}),
        ("BatchGetItem", {"RequestItems": {HASH: {"Keys": [_LONG]}}}),
        ("BatchWriteItem", {"RequestItems": {HASH: [{"DeleteRequest": {"Key": _LONG}}]}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_large_requests_leave_the_loop_to_others(
    node: Node, operation: str, members: dict[str, Any]
) -> None:
    """A key of a million numbers takes seconds to check, whoever sends it."""
    assert await _turns_during(node, operation, members) >= _TURNS_MIN


async def test_large_updates_of_tables_leave_the_loop_to_others(node: Node) -> None:
    """Definitions of attributes are many only by mistake, or on purpose."""
    names = [f"a{number}" for number in range(100_000)]
    create = {
        "IndexName": "new",
        "KeySchema": [{"AttributeName": "missing", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    members = {
        "TableName": HASH,
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in names],
        "GlobalSecondaryIndexUpdates": [{"Create": create}],
    }
    assert await _turns_during(node, "UpdateTable", members) >= _TURNS_MIN


@pytest.mark.parametrize("projection", [{}, {"ProjectionExpression": "id, l"}])
async def test_large_batches_are_not_held_decoded(node: Node, projection: dict[str, str]) -> None:
    """Lists of short numbers take thirty times as much memory decoded as they take stored."""
    content = {"L": [{"N": str(number)} for number in range(10_000)]}
    keys = [{"id": {"S": str(number)}} for number in range(3)]
    for key in keys:
        await called(node, "PutItem", TableName=HASH, Item={**key, "l": content})
    batch = {HASH: {"Keys": keys, **projection}}
    call = Call(
        cases=node,
        principal=Principal(tenant=TENANT, credential="AKIA"),
        tenant=TENANT,
        region=REGION,
        members={"RequestItems": batch},
    )
    tracemalloc.start()
    try:
        reply = await ACTIONS["BatchGetItem"].run(call)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reply is not None
    assert held_bytes < 4 * MIB
    answered = await called(node, "BatchGetItem", RequestItems=batch)
    assert answered["Responses"][HASH] == [{**key, "l": content} for key in keys]


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("PutItem", {"Item": _X}),
        ("UpdateItem", {"Key": _X}),
        ("DeleteItem", {"Key": _X}),
        ("BatchWriteItem", {"RequestItems": {HASH: [{"DeleteRequest": {"Key": _X}}]}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_large_items_are_counted_beside_the_loop(
    node: Node, monkeypatch: pytest.MonkeyPatch, operation: str, members: dict[str, Any]
) -> None:
    """A short request may be about a large item, whose capacity takes long to count."""
    content = {"L": [{"N": str(number)} for number in range(10_000)]}
    await called(node, "PutItem", TableName=HASH, Item={**_X, "l": content})
    on_loop: list[bool] = []

    def counted(*given: Any, **more: Any) -> Written:
        on_loop.append(current_thread() is main_thread())
        return written(*given, **more)

    monkeypatch.setattr("dstore.service.ranges.written", counted)
    name = {} if "RequestItems" in members else {"TableName": HASH}
    await called(node, operation, **name, **members, ReturnConsumedCapacity="TOTAL")
    assert on_loop == [False]
