"""A write whose answer was lost is answered when it is sent again, and not done again (I9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dstore.api.dynamodb.action import Call
from dstore.api.dynamodb.actions import ACTIONS
from dstore.model.errors import ConditionFailed, Unknown
from dstore.service.access import Principal
from dstore.service.node import Node
from dstore.service.use_cases import UseCases
from tests.support.proxies import proxy_cluster
from tests.unit.api.dynamodb.calling import REGION, TENANT, called
from tests.unit.service.nodes import a_node

TABLE = "things"
ADD = {
    "TableName": TABLE,
    "Key": {"id": {"S": "k"}},
    "UpdateExpression": "ADD n :one",
    "ExpressionAttributeValues": {":one": {"N": "1"}},
    "ReturnValues": "UPDATED_NEW",
}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node(tmp_path / "data") as opened:
        await opened.catalog.create_tenant(TENANT)
        await made(opened)
        yield opened


async def made(cases: UseCases) -> None:
    await called(
        cases,
        "CreateTable",
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )


async def sent(
    cases: UseCases,
    operation: str,
    members: dict[str, Any],
    *,
    invocation: str = "i-1",
    body: str = "aa",
) -> Any:
    """Run an operation as a request of an SDK, whose body has this digest, in hexadecimal."""
    call = Call(
        cases=cases,
        principal=Principal(tenant=TENANT, credential="AKIA"),
        tenant=TENANT,
        region=REGION,
        members=dict(members),
        action=operation,
        invocation=invocation,
        body_sha256=body,
    )
    return await ACTIONS[operation].run(call)


async def number(node: UseCases) -> int:
    found = await called(node, "GetItem", TableName=TABLE, Key={"id": {"S": "k"}})
    return int(found["Item"]["n"]["N"]) if "Item" in found else 0


async def test_a_repeated_update_is_answered_and_not_done_again(node: Node) -> None:
    """With all that was asked of it, as often as it is sent."""
    answers = [await sent(node, "UpdateItem", ADD) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert await number(node) == 1


async def test_another_name_body_or_operation_is_another_request(node: Node) -> None:
    """So is one without a name, or whose name is none."""
    await sent(node, "UpdateItem", ADD)
    await sent(node, "UpdateItem", ADD, invocation="i-2")
    await sent(node, "UpdateItem", ADD, body="bb")
    assert await number(node) == 3
    for invocation in ("", "\x00", "x" * 65):
        for _ in range(2):
            await sent(node, "UpdateItem", ADD, invocation=invocation)
    assert await number(node) == 9
    bare = {"TableName": TABLE, "Key": {"id": {"S": "k"}}}
    await sent(node, "UpdateItem", bare, invocation="i-3")
    await sent(node, "DeleteItem", bare, invocation="i-3")
    assert await number(node) == 0


async def test_a_repetition_is_answered_after_a_restart(tmp_path: Path) -> None:
    """Also with what was asked of it: attributes and capacity come from the range's file."""
    asked = ADD | {"ReturnValues": "ALL_OLD", "ReturnConsumedCapacity": "TOTAL"}
    async with a_node(tmp_path / "data") as opened:
        await opened.catalog.create_tenant(TENANT)
        await made(opened)
        await sent(opened, "UpdateItem", ADD, invocation="i-0")
        first = await sent(opened, "UpdateItem", asked)
        assert first["Attributes"] == msgspec.Raw(b'{"id":{"S":"k"},"n":{"N":"1"}}')
        await sent(opened, "UpdateItem", ADD, invocation="i-2")
    async with a_node(tmp_path / "data") as opened:
        assert await sent(opened, "UpdateItem", asked) == first
        assert await number(opened) == 3


async def test_a_request_that_comes_again_before_it_is_done_waits_for_it(node: Node) -> None:
    """One that is cancelled takes nothing from the others, and its write happens all the same."""
    await called(node, "PutItem", TableName=TABLE, Item={"id": {"S": "j"}})  # opens the file
    loop = asyncio.get_running_loop()
    first, *others = [loop.create_task(sent(node, "UpdateItem", ADD)) for _ in range(4)]
    await asyncio.sleep(0)
    first.cancel()
    answers = await asyncio.gather(*others)
    assert answers[0] == answers[1] == answers[2]
    assert first.cancelled()
    assert await number(node) == 1


async def test_what_was_refused_is_judged_again(node: Node) -> None:
    """Nothing was written, so a repetition is a try of its own; one that was done is not."""
    guarded = ADD | {"ConditionExpression": "attribute_exists(id)"}
    with pytest.raises(ConditionFailed):
        await sent(node, "UpdateItem", guarded)
    await called(node, "PutItem", TableName=TABLE, Item={"id": {"S": "k"}})
    done = await sent(node, "UpdateItem", guarded)
    fresh = {
        "TableName": TABLE,
        "Item": {"id": {"S": "j"}},
        "ConditionExpression": "attribute_not_exists(id)",
    }
    for _ in range(2):  # the second one's condition does not hold any more
        assert await sent(node, "PutItem", fresh, invocation="i-4") == {}
    assert await sent(node, "UpdateItem", guarded) == done
    assert await number(node) == 1


async def test_each_write_of_a_repeated_batch_is_answered(node: Node) -> None:
    """What somebody else has written in between stays; a batch of another body is another one."""
    batch = {
        "RequestItems": {
            TABLE: [
                {"PutRequest": {"Item": {"id": {"S": "k"}, "n": {"N": "1"}}}},
                {"DeleteRequest": {"Key": {"id": {"S": "j"}}}},
            ]
        }
    }
    first = await sent(node, "BatchWriteItem", batch)
    await called(node, "PutItem", TableName=TABLE, Item={"id": {"S": "k"}, "n": {"N": "2"}})
    await called(node, "PutItem", TableName=TABLE, Item={"id": {"S": "j"}})
    assert await sent(node, "BatchWriteItem", batch) == first == {"UnprocessedItems": {}}
    assert await number(node) == 2
    assert "Item" in await called(node, "GetItem", TableName=TABLE, Key={"id": {"S": "j"}})
    await sent(node, "BatchWriteItem", batch, body="bb")
    assert await number(node) == 1


@pytest.mark.parametrize("near", [True, False])
async def test_an_answer_that_is_lost_on_its_way_to_a_proxy(tmp_path: Path, *, near: bool) -> None:
    """The proxy sends the same again by itself, as the SDK does; it is done once."""
    async with proxy_cluster(tmp_path, nodes=1, near=near) as cluster:
        await cluster.proxy.registrar.create_tenant(TENANT)
        await made(cluster.proxy)
        [gate] = cluster.gates.values()
        if not near:  # nothing is lost on the way to a node in the same process
            gate.losses.append(Unknown("The connection has ended."))
        first = await sent(cluster.proxy, "UpdateItem", ADD)
        assert not gate.losses
        assert first["Attributes"] == msgspec.Raw(b'{"n":{"N":"1"}}')
        assert await sent(cluster.proxy, "UpdateItem", ADD) == first
        assert await number(cluster.proxy) == 1


async def test_a_proxy_does_not_repeat_what_has_no_name(tmp_path: Path) -> None:
    """Nobody knows whether it was done: whether to send it again is the client's."""
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await cluster.proxy.registrar.create_tenant(TENANT)
        await made(cluster.proxy)
        [gate] = cluster.gates.values()
        gate.losses.append(Unknown("The connection has ended."))
        before = gate.calls
        with pytest.raises(Unknown):
            await sent(cluster.proxy, "UpdateItem", ADD, invocation="")
        assert gate.calls == before + 1
