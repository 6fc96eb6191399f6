"""A write whose answer was lost is answered when it is sent again, and not done again (I9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dstore.api.dynamodb.action import Call
from dstore.api.dynamodb.actions import ACTIONS
from dstore.base.limits import REPEATS_BYTES_MAX, REPEATS_KEPT_S, REPEATS_MAX
from dstore.model.errors import (
    ConditionFailed,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)
from dstore.service.access import Principal
from dstore.service.node import Node
from dstore.service.repeats import Repeats, repeat_name
from dstore.service.use_cases import UseCases
from dstore.service.write_answers import Written
from dstore.storage.requests import RequestName
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
NAME = RequestName(principal="acme/DSAK", request_id="r", digest=b"d", is_brief=True)


class SteppedClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_us(self) -> int:
        return self.now_ns // 1_000


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


async def test_one_that_is_given_up_while_its_file_opens_leaves_the_others(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hear that nothing was written, and what is sent again is done."""
    opening = asyncio.Event()

    async def never(*_args: Any) -> Any:
        opening.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(node.ranges, "_peek", lambda _ref: None)
    monkeypatch.setattr(node.ranges, "_store", Opening(node.holdings, never))
    loop = asyncio.get_running_loop()
    first = loop.create_task(sent(node, "UpdateItem", ADD))
    await opening.wait()
    second = loop.create_task(sent(node, "UpdateItem", ADD))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(Unavailable):
        await second
    monkeypatch.undo()
    await sent(node, "UpdateItem", ADD)
    assert await number(node) == 1


class Opening:
    """Holdings whose files take a while to open."""

    def __init__(self, holdings: Any, opened: Any) -> None:
        self.open = opened
        self.table_of = holdings.table_of


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
    """The SDK hears of an error, sends the same again, and is answered as at first."""
    async with proxy_cluster(tmp_path, nodes=1, near=near) as cluster:
        await cluster.proxy.registrar.create_tenant(TENANT)
        await made(cluster.proxy)
        [gate] = cluster.gates.values()
        if not near:  # nothing is lost on the way to a node in the same process
            gate.losses.append(Unknown("The connection has ended."))
            with pytest.raises(Unknown):
                await sent(cluster.proxy, "UpdateItem", ADD)
        first = await sent(cluster.proxy, "UpdateItem", ADD)
        assert first["Attributes"] == msgspec.Raw(b'{"n":{"N":"1"}}')
        assert await sent(cluster.proxy, "UpdateItem", ADD) == first
        assert await number(cluster.proxy) == 1


async def test_a_proxy_does_not_repeat_what_a_node_may_have_forgotten(tmp_path: Path) -> None:
    """A node that starts anew knows no brief name: whether to send it again is the client's."""
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await cluster.proxy.registrar.create_tenant(TENANT)
        await made(cluster.proxy)
        [gate] = cluster.gates.values()
        gate.losses.append(Unknown("The connection has ended."))
        before = gate.calls
        with pytest.raises(Unknown):
            await sent(cluster.proxy, "UpdateItem", ADD)
        assert gate.calls == before + 1


async def test_answers_are_kept_for_a_while_and_not_for_ever() -> None:
    """At least REPEATS_KEPT_S, at most twice that, and never more than there is room for."""
    clock: Any = SteppedClock()
    known = Repeats(clock)
    kept(known, b"first", Written(existed=False, version="v"))
    clock.now_ns = int((REPEATS_KEPT_S - 0.1) * 1e9)
    found = known.find(b"first")
    assert found is not None
    assert found.result().version == "v"
    clock.now_ns = int((REPEATS_KEPT_S + 0.1) * 1e9)
    assert known.find(b"first") is not None
    clock.now_ns = int((2 * REPEATS_KEPT_S + 0.2) * 1e9)
    assert known.find(b"first") is None
    kept(known, b"last", Written(existed=False, version="v"))
    clock.now_ns *= 10
    assert known.find(b"last") is None
    for each in range(2 * REPEATS_MAX):
        assert known.find(b"%d" % each) is None
        kept(known, b"%d" % each, Written(existed=True, version=None))
    assert len(known) <= REPEATS_MAX
    assert known.find(b"%d" % (2 * REPEATS_MAX - 1)) is not None


async def test_large_answers_take_no_more_than_their_room() -> None:
    """Whole items come back to who asks for them; a few of them push out what is old."""
    known = Repeats(repeats_clock())
    large: Any = b"x" * (REPEATS_BYTES_MAX // 8)
    for each in range(64):
        assert known.find(b"%d" % each) is None
        kept(known, b"%d" % each, Written(existed=True, version="v", attributes=large))
        assert len(known) <= 8
    assert known.find(b"63") is not None


def kept(known: Repeats, name: bytes, answer: Written | Exception) -> None:
    """Have a write remembered that ended so."""
    known.end(name, known.keep(name), answer)


def repeats_clock() -> Any:
    return SteppedClock()


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (Refused(RefusalKind.INVALID, ""), False),
        (Unavailable(UnavailableKind.OVERLOADED, ""), False),
        (Unknown(""), True),
    ],
)
async def test_an_unknown_outcome_is_not_tried_again(error: Exception, *, is_kept: bool) -> None:
    """It may have been done: only what certainly was not may be done by a repetition."""
    known = Repeats(repeats_clock())
    kept(known, b"n", error)
    found = known.find(b"n")
    assert (found is not None) == is_kept
    if found is not None:
        assert found.exception() is error


def test_names_differ_in_every_part() -> None:
    """Whose, which, what, and the how manieth: none of them runs into the next one."""
    others = (
        replace(NAME, principal="acme/DSAL"),
        replace(NAME, request_id="s"),
        replace(NAME, digest=b"e"),
        replace(NAME, ordinal=1),
    )
    names = {repeat_name("r1", one) for one in (NAME, *others)} | {repeat_name("r2", NAME)}
    assert len(names) == 6
    assert repeat_name("r1", NAME) == repeat_name("r1", replace(NAME))
