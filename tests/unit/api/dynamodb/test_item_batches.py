"""BatchGetItem and BatchWriteItem on a node; and items that many requests want at once."""

from __future__ import annotations

from asyncio import CancelledError, gather, sleep
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from dstore.base.tasks import Tasks
from dstore.model.errors import ConditionFailed, Unavailable, UnavailableKind, Unknown
from tests.unit.api.dynamodb.calling import called
from tests.unit.api.dynamodb.item_tables import (
    HASH,
    INDEXED,
    RANGE,
    V1,
    node_fixture,
    refused,
    stored,
    validation,
)

if TYPE_CHECKING:
    from dstore.service.node import Node

__all__ = ["node_fixture"]

DUPLICATES = "Provided list of item keys contains duplicates"
NO_MATCH = "The provided key element does not match the schema"
NOT_ONE = (
    "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the "
    "supported datatypes"
)


def key(text: str) -> dict[str, Any]:
    return {"id": {"S": text}}


def a_put(text: str, **attributes: Any) -> dict[str, Any]:
    return {"PutRequest": {"Item": {**key(text), **attributes}}}


def a_delete(text: str) -> dict[str, Any]:
    return {"DeleteRequest": {"Key": key(text)}}


async def written(node: Node, /, **members: Any) -> Any:
    return await called(node, "BatchWriteItem", **members)


async def test_batch_of_every_table(node: Node) -> None:
    """Tables of any sort go together, v1's among them; each answers under its name."""
    requests = {
        HASH: [a_put("a", n={"N": "1.0"}), a_put("b"), a_delete("c")],
        RANGE: [{"PutRequest": {"Item": {"pk": {"S": "x"}, "sk": {"N": "1"}}}}],
        V1: [{"PutRequest": {"Item": {"_id": {"S": "v"}}}}],
    }
    answer = await written(node, RequestItems=requests, ReturnConsumedCapacity="INDEXES")
    assert answer == {
        "UnprocessedItems": {},
        "ConsumedCapacity": [
            {"TableName": name, "CapacityUnits": units, "Table": {"CapacityUnits": units}}
            for name, units in ((HASH, 3.0), (RANGE, 1.0), (V1, 1.0))
        ],
    }
    asked = {
        HASH: {"Keys": [key("b"), key("absent"), key("a")], "ConsistentRead": True},
        RANGE: {"Keys": [{"pk": {"S": "x"}, "sk": {"N": "1.0"}}], "ProjectionExpression": "sk"},
        V1: {"Keys": [{"_id": {"S": "absent"}}]},
    }
    answer = await called(node, "BatchGetItem", RequestItems=asked, ReturnConsumedCapacity="TOTAL")
    assert answer == {
        "Responses": {
            HASH: [key("b"), {**key("a"), "n": {"N": "1"}}],
            RANGE: [{"sk": {"N": "1"}}],
            V1: [],
        },
        "UnprocessedKeys": {},
        "ConsumedCapacity": [
            {"TableName": HASH, "CapacityUnits": 3.0},
            {"TableName": RANGE, "CapacityUnits": 0.5},
            {"TableName": V1, "CapacityUnits": 0.5},
        ],
    }


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        ({"absent": [a_put("a"), {}]}, NOT_ONE),
        ({HASH: [{**a_put("a"), **a_delete("b")}]}, NOT_ONE),
        ({"absent": [a_put("a", n={"N": "x"})]}, "cannot be converted to a numeric value: x"),
        ({"absent": [a_put("a", b={"S": "y" * 409_600})]}, "Item size has exceeded the maximum"),
        ({HASH: [a_put("a"), a_delete("a")]}, DUPLICATES),
        (
            {f"arn:aws:dynamodb:eu-west-1:000000000000:table/{HASH}": [a_delete("first")]},
            DUPLICATES,
        ),
        ({HASH: [{"PutRequest": {"Item": {"a": {"S": "x"}}}}]}, NO_MATCH),
        ({HASH: [{"PutRequest": {"Item": {"id": {"N": "1"}}}}]}, NO_MATCH),
        ({HASH: [{"DeleteRequest": {"Key": {"a": {"S": "x"}}}}]}, NO_MATCH),
        ({HASH: [a_put("")]}, "cannot contain an empty string value. Key: id"),
        (
            {
                INDEXED: [
                    {"PutRequest": {"Item": {"pk": {"S": "x"}, "sk": {"S": "y"}, "lk": {"N": "1"}}}}
                ]
            },
            "Type mismatch for Index Key lk Expected: S Actual: N IndexName: by_lk",
        ),
        (
            {HASH: [a_put(str(at)) for at in range(20)], V1: [a_put(str(at)) for at in range(6)]},
            "Too many items requested for the BatchWriteItem call",
        ),
        (
            {HASH: [a_put(str(at)) for at in range(26)]},
            "Member must have length less than or equal to 25",
        ),
        ({HASH: []}, "Member must have length greater than or equal to 1"),
    ],
)
async def test_writes_refused(node: Node, requests: dict[str, Any], text: str) -> None:
    """One bad request refuses the batch, and nothing of it is written (dynamodb-conformance)."""
    assert text in await validation(
        node, "BatchWriteItem", RequestItems={HASH: [a_put("first")], **requests}
    )
    assert await stored(node, HASH, **key("first")) is None


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"absent": {"Keys": [key("a"), key("a")]}}, DUPLICATES),
        ({RANGE: {"Keys": [{"pk": {"S": "x"}, "sk": {"N": n}} for n in ("1", "1.0")]}}, DUPLICATES),
        ({HASH: {"Keys": [{"a": {"S": "x"}}]}}, NO_MATCH),
        ({HASH: {"Keys": [key("")]}}, "cannot contain an empty string value. Key: id"),
        (
            {
                HASH: {"Keys": [key(str(at)) for at in range(60)]},
                V1: {"Keys": [key(str(at)) for at in range(41)]},
            },
            "Too many items requested for the BatchGetItem call",
        ),
        (
            {HASH: {"Keys": [key("a")], "ProjectionExpression": "a, a"}},
            "Invalid ProjectionExpression: Two document paths overlap",
        ),
        ({HASH: {"Keys": [key("a")], "ProjectionExpression": "id.a"}}, "Key: id"),
        (
            {HASH: {"Keys": [key("a")], "ProjectionExpression": "a", "AttributesToGet": ["a"]}},
            "Can not use both expression and non-expression parameters",
        ),
        ({HASH: {"Keys": [key("a")], "AttributesToGet": ["a", "a"]}}, "Duplicate value in attr"),
        ({HASH: {"Keys": []}}, "Member must have length greater than or equal to 1"),
    ],
)
async def test_reads_refused(node: Node, asked: dict[str, Any], text: str) -> None:
    """What is wrong with one table's block refuses the batch (dynalite; dynamodb-conformance)."""
    assert text in await validation(node, "BatchGetItem", RequestItems=asked)


@pytest.mark.parametrize(
    ("operation", "block"),
    [("BatchGetItem", {"Keys": [key("a")]}), ("BatchWriteItem", [a_put("a")])],
)
async def test_a_table_that_is_not_there(node: Node, operation: str, block: Any) -> None:
    """A batch names no table in its refusal, and does nothing."""
    name, text = await refused(node, operation, RequestItems={HASH: block, "absent": block})
    assert (name, text) == ("ResourceNotFoundException", "Requested resource not found")
    assert await stored(node, HASH, **key("a")) is None


async def test_reads_beyond_16_mb(node: Node) -> None:
    """What does not fit comes back as asked, to be asked again; two requests give everything."""
    large = {"S": "y" * 400_000}
    for at in range(45):
        await called(node, "PutItem", TableName=HASH, Item={**key(f"{at:02}"), "a": large})
    block: dict[str, Any] = {
        "Keys": [key(f"{at:02}") for at in range(45)],
        "ConsistentRead": True,
        "ProjectionExpression": "#i",
        "ExpressionAttributeNames": {"#i": "id"},
    }
    first = await called(node, "BatchGetItem", RequestItems={HASH: block})
    fitting = (16 << 20) // (400_000 + len("id00a"))
    assert first["Responses"][HASH] == block["Keys"][:fitting]
    rest = first["UnprocessedKeys"]
    assert rest == {HASH: {**block, "Keys": block["Keys"][fitting:]}}
    second = await called(node, "BatchGetItem", RequestItems=rest)
    assert second == {"Responses": {HASH: block["Keys"][fitting:]}, "UnprocessedKeys": {}}


class Flaky:
    """Stands in for `Items`: fails the writes of some keys, and passes on the others."""

    def __init__(self, node: Node, failures: dict[bytes, Exception]) -> None:
        self._items = node.items
        self._failures = failures

    async def submit(self, entry: Any, apply: Any, **options: Any) -> Any:
        failure = next((e for part, e in self._failures.items() if part in entry.rid_id), None)
        if failure is not None:
            raise failure
        return await self._items.submit(entry, apply, **options)


FULL = Unavailable(UnavailableKind.OVERLOADED, "full")


async def test_writes_that_did_not_happen_come_back(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what certainly was not written is unprocessed, in the request's own words."""
    monkeypatch.setattr(node, "items", Flaky(node, {b"bad": FULL}))
    requests = [a_put("good", n={"N": "1.0"}), a_put("bad1", n={"N": "1.0"}), a_delete("bad2")]
    answer = await written(node, RequestItems={HASH: requests}, ReturnConsumedCapacity="TOTAL")
    assert answer["UnprocessedItems"] == {HASH: requests[1:]}
    assert answer["ConsumedCapacity"] == [{"TableName": HASH, "CapacityUnits": 1.0}]
    monkeypatch.undo()
    assert await stored(node, HASH, **key("good")) == {**key("good"), "n": {"N": "1"}}


@pytest.mark.parametrize("failure", [FULL, Unknown("perhaps")])
async def test_a_batch_that_fails(
    node: Node, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """If nothing was written, the batch is Unavailable; what may have been is never disguised."""
    monkeypatch.setattr(node, "items", Flaky(node, {b"bad": failure}))
    requests = [a_put("bad1"), *([a_put("good")] if isinstance(failure, Unknown) else [])]
    with pytest.raises(type(failure)):
        await written(node, RequestItems={HASH: requests})


async def test_turns_between_large_reads(node: Node) -> None:
    """A batch of large items lets other requests have the event loop in between."""
    large = {"S": "y" * 300_000}
    for at in range(10):
        await called(node, "PutItem", TableName=HASH, Item={**key(str(at)), "a": large})
    asked = {HASH: {"Keys": [key(str(at)) for at in range(10)], "ProjectionExpression": "id"}}
    turns = 0
    reading = True

    async def count() -> None:
        nonlocal turns
        while reading:
            turns += 1
            await sleep(0)

    async def read() -> None:
        nonlocal reading
        await called(node, "BatchGetItem", RequestItems=asked)
        reading = False

    await gather(read(), count())
    assert turns >= 10


# ------------------------------------------------------------------------------------- races


async def test_counters_lose_nothing(node: Node) -> None:
    """64 requests that add to one item at once each add once, and each sees its own sum."""
    request = {
        "TableName": HASH,
        "Key": key("counter"),
        "UpdateExpression": "ADD n :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
        "ReturnValues": "UPDATED_NEW",
    }
    answers = await gather(*[called(node, "UpdateItem", **request) for _ in range(64)])
    seen = sorted(int(answer["Attributes"]["n"]["N"]) for answer in answers)
    assert seen == list(range(1, 65))
    assert await stored(node, HASH, **key("counter")) == {**key("counter"), "n": {"N": "64"}}


async def test_one_winner(node: Node) -> None:
    """Of many puts of one item that must not be there, exactly one succeeds, and its item stays."""

    async def put(name: str) -> str | None:
        item = {**key("leader"), "name": {"S": name}}
        try:
            await called(
                node,
                "PutItem",
                TableName=HASH,
                Item=item,
                ConditionExpression="attribute_not_exists(id)",
            )
        except ConditionFailed:
            return None
        return name

    outcomes = await gather(*[put(str(at)) for at in range(64)])
    [winner] = [name for name in outcomes if name is not None]
    assert (await stored(node, HASH, **key("leader")))["name"] == {"S": winner}


async def test_many_updates_of_a_list(node: Node) -> None:
    """Appending is read and write in one: no element is lost, none comes twice."""
    await called(node, "PutItem", TableName=HASH, Item={**key("list"), "l": {"L": []}})

    async def append(at: int) -> None:
        await called(
            node,
            "UpdateItem",
            TableName=HASH,
            Key=key("list"),
            UpdateExpression="SET l = list_append(l, :new)",
            ExpressionAttributeValues={":new": {"L": [{"N": str(at)}]}},
        )

    await gather(*[append(at) for at in range(64)])
    found = (await stored(node, HASH, **key("list")))["l"]["L"]
    assert sorted(int(element["N"]) for element in found) == list(range(64))


async def test_cancelled_requests(node: Node) -> None:
    """A request that is cancelled may have written; nothing is half done, and others go on."""
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    request = {
        "TableName": HASH,
        "Key": key("x"),
        "UpdateExpression": "ADD n :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    requests = [a_put("x"), a_put("y")]
    for turns in range(4):
        for work in (
            called(node, "UpdateItem", **request),
            written(node, RequestItems={HASH: requests}),
        ):
            task = tasks.spawn(work, name="cancelled")
            for _ in range(turns):
                await sleep(0)
            task.cancel()
            with suppress(CancelledError):
                await task
    # What was cancelled may yet be on its way: it is done whole or not at all, whenever that is.
    await called(node, "PutItem", TableName=HASH, Item={**key("z"), "n": {"N": "1"}})
    await called(node, "UpdateItem", **{**request, "Key": key("z")})
    assert await stored(node, HASH, **key("z")) == {**key("z"), "n": {"N": "2"}}
    found = await stored(node, HASH, **key("x")) or key("x")
    assert found.keys() <= {"id", "n"}
    assert "n" not in found or 1 <= int(found["n"]["N"]) <= turns + 1
    assert failures == []
