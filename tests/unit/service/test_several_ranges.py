"""A table of several ranges behaves as one of a single range does, to both APIs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from dstore.base.limits import LIST_BYTES_MAX, NEW_TABLE_RANGES_MAX
from dstore.model.errors import ConditionFailed, NotMine, RefusalKind, Refused
from dstore.model.keys import KeyKind, encode_key
from dstore.model.ranges import RangeMap, Table
from dstore.model.tables import IdType, KeyAttribute
from dstore.service.directory import Declared
from dstore.service.entry_writes import create
from dstore.service.items import EntryKey
from dstore.service.node import Node
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.service.read_answers import Listing
from tests.unit.api.dynamodb.calling import TENANT, called
from tests.unit.service.nodes import a_node

RANGES = [1, 2, 7]
NAMES = [f"k{number}" for number in range(40)]

each_count = pytest.mark.parametrize("ranges", RANGES)


@asynccontextmanager
async def a_table(directory: Path, ranges: int) -> AsyncIterator[Node]:
    """Open a node with the empty tables `plain` (p), `sorted` (p, n) and `entries` (v1)."""
    async with a_node(directory) as node:
        await node.catalog.create_tenant(TENANT)
        p = KeyAttribute(name="p", kind=KeyKind.STRING)
        n = KeyAttribute(name="n", kind=KeyKind.NUMBER)
        for declared in (
            Declared(name="plain", partition=p),
            Declared(name="sorted", partition=p, sort=n),
        ):
            await node.catalog.declare_table(TENANT, declared, ranges=ranges)
        await node.catalog.create_table(TENANT, "entries", id_type=IdType.STRING, ranges=ranges)
        yield node


def an_item(name: str, number: int = 0) -> dict[str, Any]:
    return {"p": {"S": name}, "n": {"N": str(number)}}


def a_key(name: str) -> dict[str, Any]:
    return {"p": {"S": name}}


@each_count
async def test_items_are_written_and_read_where_their_hash_is(tmp_path: Path, ranges: int) -> None:
    """A random session of all single-item operations, beside a dictionary, and after a restart."""
    random, known = Random(ranges), dict[str, dict[str, Any]]()
    async with a_table(tmp_path / "data", ranges) as node:
        assert len(node.catalog.table(TENANT, "plain").ranges.refs) == ranges
        for turn in range(300):
            name = random.choice(NAMES)
            match random.choice(["put", "put_new", "update", "delete", "get"]):
                case "put":
                    known[name] = an_item(name, turn)
                    await called(node, "PutItem", TableName="plain", Item=known[name])
                case "put_new":
                    fresh = an_item(name, turn)
                    asked = {"Item": fresh, "ConditionExpression": "attribute_not_exists(p)"}
                    if name in known:
                        with pytest.raises(ConditionFailed):
                            await called(node, "PutItem", TableName="plain", **asked)
                    else:
                        await called(node, "PutItem", TableName="plain", **asked)
                        known[name] = fresh
                case "update":
                    answer = await called(
                        node,
                        "UpdateItem",
                        TableName="plain",
                        Key=a_key(name),
                        UpdateExpression="ADD n :n",
                        ExpressionAttributeValues={":n": {"N": "1"}},
                        ReturnValues="ALL_NEW",
                    )
                    before = int(known[name]["n"]["N"]) if name in known else 0
                    known[name] = an_item(name, before + 1)
                    assert answer["Attributes"] == known[name]
                case "delete":
                    answer = await called(
                        node,
                        "DeleteItem",
                        TableName="plain",
                        Key=a_key(name),
                        ReturnValues="ALL_OLD",
                    )
                    assert answer.get("Attributes") == known.pop(name, None)
                case _:
                    answer = await called(node, "GetItem", TableName="plain", Key=a_key(name))
                    assert answer.get("Item") == known.get(name)
        table = node.catalog.table(TENANT, "plain")
        assert node.catalog.quantity(table) == node.catalog.entry_count() == len(known)
        assert node.catalog.size_bytes(table) > 0
    async with a_node(tmp_path / "data") as node:
        assert node.catalog.quantity(node.catalog.table(TENANT, "plain")) == len(known)
        found = await called(node, "Scan", TableName="plain")
        assert {item["p"]["S"]: item for item in found["Items"]} == known
        await called(node, "DeleteTable", TableName="plain")
        assert node.catalog.entry_count() == 0
        left = {held.table for held in node.holdings.ranges.values()}
        assert left == {"sorted", "entries"}
        assert len(list((tmp_path / "data" / "ranges").glob("??/*.db"))) == 2 * ranges


@each_count
async def test_batches_answer_whatever_the_ranges_are(tmp_path: Path, ranges: int) -> None:
    """Writes and reads of many ranges at once, and what is read is in the order asked for."""
    async with a_table(tmp_path / "data", ranges) as node:
        puts = [{"PutRequest": {"Item": an_item(name)}} for name in NAMES[:20]]
        deletes = [{"DeleteRequest": {"Key": a_key(name)}} for name in NAMES[20:25]]
        answer = await called(node, "BatchWriteItem", RequestItems={"plain": puts + deletes})
        assert answer == {"UnprocessedItems": {}}
        keys = [a_key(name) for name in reversed(NAMES)]
        answer = await called(node, "BatchGetItem", RequestItems={"plain": {"Keys": keys}})
        assert answer["Responses"]["plain"] == [an_item(name) for name in reversed(NAMES[:20])]
        assert answer["UnprocessedKeys"] == {}


async def test_pages_and_segments_are_those_of_one_range(tmp_path: Path) -> None:
    """Limits, filters and the megabyte end a page at the same item, however many ranges."""
    seen = []
    for ranges in RANGES:
        async with a_table(tmp_path / str(ranges), ranges) as node:
            for name in NAMES:
                text = {"S": "x" * 50_000}
                await called(node, "PutItem", TableName="plain", Item=an_item(name) | {"t": text})
            asks: list[dict[str, Any]] = [
                {},
                {"Limit": 3},
                {"Limit": 40},
                {"Limit": 41},
                {"Select": "COUNT", "ProjectionExpression": None},
                {
                    "FilterExpression": "begins_with(p, :k)",
                    "ExpressionAttributeValues": {":k": {"S": "k1"}},
                },
                *({"Segment": segment, "TotalSegments": 3, "Limit": 5} for segment in range(3)),
            ]
            found = [
                await pages(
                    node, "Scan", **({"TableName": "plain", "ProjectionExpression": "p"} | asked)
                )
                for asked in asks
            ]
            seen.append(found)
    assert [len(one) for one in seen[0][:4]] == [2, 14, 2, 2]
    assert seen[0] == seen[1] == seen[2]


@each_count
async def test_a_query_finds_its_partition(tmp_path: Path, ranges: int) -> None:
    """All of a partition is in one range, forward and backward, page by page."""
    async with a_table(tmp_path / "data", ranges) as node:
        for name in NAMES[:10]:
            for number in range(5):
                await called(node, "PutItem", TableName="sorted", Item=an_item(name, number))
        for name in NAMES[:10]:
            for forward in (True, False):
                found = await pages(
                    node,
                    "Query",
                    TableName="sorted",
                    KeyConditionExpression="p = :p AND n > :n",
                    ExpressionAttributeValues={":p": {"S": name}, ":n": {"N": "0"}},
                    ScanIndexForward=forward,
                    Limit=3,
                )
                numbers = [item["n"]["N"] for page in found for item in page["Items"]]
                assert numbers == (["1", "2", "3", "4"] if forward else ["4", "3", "2", "1"])
                assert [page["Count"] for page in found] == [3, 1]


def listed(page: Listing) -> list[str]:
    """Name the entries of a list."""
    return [entry["id"] for entry in msgspec.json.decode(b"[%b]" % b",".join(page.entries))]


@each_count
async def test_v1_lists_all_entries_once(tmp_path: Path, ranges: int) -> None:
    """Pages are full, in the order of hashes, and the last one says that it is the last."""
    async with a_table(tmp_path / "data", ranges) as node:
        for name in NAMES:
            await put_entry(node, name, {"a": {"S": name}})
        whole = await node.items.list(TENANT, "entries", after=b"", limit=1_000)
        assert whole.last is None
        names = listed(whole)
        assert sorted(names) == sorted(NAMES)
        assert sorted(names, key=lambda name: encode_key((KeyKind.STRING, name))) == names
        for limit in (1, 3, 20, 40):
            after, found = b"", list[Any]()
            while True:
                page = await node.items.list(TENANT, "entries", after=after, limit=limit)
                found += listed(page)
                if page.last is None:
                    break
                assert page.count == limit
                after = page.last
            assert found == names


async def test_v1_list_ends_at_its_bytes(tmp_path: Path) -> None:
    """The bound counts over borders of ranges; the page ends behind the entry that reaches it."""
    counts = []
    for ranges in RANGES:
        async with a_table(tmp_path / str(ranges), ranges) as node:
            for name in NAMES[:12]:
                await put_entry(node, name, {"a": {"S": "x" * (LIST_BYTES_MAX // 5)}})
            page = await node.items.list(TENANT, "entries", after=b"", limit=1_000)
            counts.append((page.count, page.last is None))
    assert counts == [(5, False)] * len(RANGES)


async def test_requests_follow_a_range_that_has_moved(tmp_path: Path) -> None:
    """Who knows a table of yesterday's ranges is served by today's, and no client retries."""
    async with a_table(tmp_path / "data", 2) as node:
        key = node.items.locate(TENANT, "entries", "one")
        old = EntryKey(table=outdated(key.table), key=key.key, rid_id=key.rid_id)
        applied = await node.items.write(old, create({}, key=old, preconditions=NO_PRECONDITIONS))
        assert not applied.existed
        assert await node.items.read(old) is not None
        page = await node.walks.listing(old.table, after=b"", limit=10)
        assert listed(page) == ["one"]
        await node.catalog.delete_table(TENANT, "entries")
        await node.catalog.create_table(TENANT, "entries", id_type=IdType.STRING)
        for table in (key, old):
            with pytest.raises(Refused) as refused:
                await node.items.read(table)
            assert refused.value.kind is RefusalKind.NOT_FOUND


async def test_a_range_in_another_epoch_is_not_served(tmp_path: Path) -> None:
    """Neither an older nor a newer epoch than ours: one of both sides does not know enough."""
    async with a_table(tmp_path / "data", 1) as node:
        [ref] = node.catalog.table(TENANT, "entries").ranges.refs
        key = node.items.locate(TENANT, "entries", "one")
        await node.holdings.raise_epoch(ref.range_id, 5)
        for epoch in (1, 4, 6):
            with pytest.raises(NotMine) as refused:
                await node.ranges.read(replace(ref, epoch=epoch), key.rid_id)
            assert (refused.value.range_id, refused.value.epoch) == (ref.range_id, 5)
        assert await node.ranges.read(replace(ref, epoch=5), key.rid_id) is None
        assert await node.items.read(key) is None  # follows
    async with a_node(tmp_path / "data") as node:
        assert node.catalog.table(TENANT, "entries").ranges.refs[0].epoch == 5


async def test_a_new_table_has_a_bounded_number_of_ranges(tmp_path: Path) -> None:
    """Each costs a file and a wrapped key."""
    async with a_node(tmp_path / "data") as node:
        await node.catalog.create_tenant(TENANT)
        for count in (0, NEW_TABLE_RANGES_MAX + 1):
            with pytest.raises(AssertionError):
                await node.catalog.create_table(TENANT, "abc", id_type=IdType.STRING, ranges=count)


def outdated(table: Table) -> Table:
    """Give the table as it was before its ranges were in their present epochs."""
    refs = [replace(ref, epoch=ref.epoch - 1) for ref in table.ranges.refs]
    return replace(table, ranges=RangeMap.of(refs))


async def put_entry(node: Node, name: str, item: dict[str, Any]) -> None:
    key = node.items.locate(TENANT, "entries", name)
    await node.items.write(key, create(item, key=key, preconditions=NO_PRECONDITIONS))


async def pages(node: Node, operation: str, **asked: Any) -> list[Any]:
    """Call an operation for all its pages."""
    asked = {name: value for name, value in asked.items() if value is not None}
    found = []
    while True:
        page = await called(node, operation, **asked)
        found.append(page)
        if "LastEvaluatedKey" not in page:
            return found
        asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]


async def test_equal_first_writes_of_two_tables_are_two_items(tmp_path: Path) -> None:
    """Nothing of one table's key shows in another's answers, though both keys are stored alike."""
    items: dict[str, dict[str, Any]] = {
        "first": {"id": {"S": "abcd"}},
        "second": {"email": {"S": "abcd"}},
        "third": {"id": {"B": "YWJjZA=="}},
    }
    async with a_node(tmp_path) as node:
        await node.catalog.create_tenant(TENANT)
        for name, key in items.items():
            [(attribute, value)] = key.items()
            partition = KeyAttribute(name=attribute, kind=KeyKind(next(iter(value))))
            await node.catalog.declare_table(TENANT, Declared(name=name, partition=partition))
            await called(node, "PutItem", TableName=name, Item={**key, "v": {"N": "1"}})
            await called(node, "Scan", TableName=name)
        for name, key in items.items():
            item = {**key, "v": {"N": "1"}}
            assert (await called(node, "GetItem", TableName=name, Key=key))["Item"] == item
            assert (await called(node, "Scan", TableName=name))["Items"] == [item]


async def test_what_is_asked_for_and_not_served_is_told_of(tmp_path: Path) -> None:
    """Replicated ranges that somebody waits for are opened first, so their node hears of them."""
    wanted: list[str] = []
    async with a_table(tmp_path / "data", 2) as node:
        first, second = node.catalog.table(TENANT, "plain").ranges.refs
        node.holdings.replicate((), on_wanted=wanted.append)
        node.holdings.serve(second.range_id, 4)
        for ref in (first, replace(second, epoch=3)):
            with pytest.raises(NotMine):
                node.holdings.peek(ref)
        assert node.holdings.peek(replace(second, epoch=4)) is None
    assert wanted == [first.range_id]
