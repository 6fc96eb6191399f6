"""A proxy over nodes: clients see one store, whatever happens to nodes, control and views."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dstore.api.dynamodb.errors import AwsError
from dstore.base.limits import (
    CONTROL_TRANSACTION_TIMEOUT_S,
    PROXY_CHANGE_TIMEOUT_S,
    PROXY_RETRY_S_MAX,
    SETTLED_TIMEOUT_S,
    VISIBLE_TIMEOUT_S,
)
from dstore.model.errors import ConditionFailed, NotMine, Refused, Unavailable, Unknown
from dstore.model.tables import IdType
from dstore.replication.peers.errors import Unreachable
from dstore.service.access import Principal
from dstore.service.calls.range_calls import ReadPage
from dstore.service.deferred_store import DeferredWrite, Verb
from dstore.service.entry_writes import create
from dstore.service.page_wire import decode_ask
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.storage.control import audit
from dstore.storage.requests import RequestName
from tests.support.proxies import Gate, ProxyCluster, proxy_cluster
from tests.unit.api.dynamodb.calling import TENANT, called

TABLE = "things"
NAMES = [f"k{number}" for number in range(24)]


async def made(cluster: ProxyCluster) -> None:
    """Make a tenant and a table of four ranges, two a node."""
    await cluster.proxy.registrar.create_tenant(TENANT)
    await called(
        cluster.proxy,
        "CreateTable",
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )


async def put(cluster: ProxyCluster, name: str, text: str = "v") -> None:
    await called(
        cluster.proxy, "PutItem", TableName=TABLE, Item={"id": {"S": name}, "a": {"S": text}}
    )


async def got(cluster: ProxyCluster, name: str) -> Any:
    answer = await called(cluster.proxy, "GetItem", TableName=TABLE, Key={"id": {"S": name}})
    return answer.get("Item")


async def test_who_makes_a_table_sees_it(tmp_path: Path) -> None:
    """A table is usable as soon as its creation is answered, and gone when its deletion is."""
    async with proxy_cluster(tmp_path, ranges_per_table=4) as cluster:
        await made(cluster)
        for name in NAMES:
            await put(cluster, name)
        assert await called(cluster.proxy, "ListTables") == {"TableNames": [TABLE]}
        table = cluster.proxy.directory.table(TENANT, TABLE)
        assert len(table.ranges.refs) == 4
        assert {ref.node for ref in table.ranges.refs} == {node.node for node in cluster.nodes}
        await called(cluster.proxy, "DeleteTable", TableName=TABLE)
        with pytest.raises(Refused):
            cluster.proxy.directory.table(TENANT, TABLE)
        await cluster.proxy.registrar.delete_tenant(TENANT, force=True)
        assert list(cluster.proxy.directory.tenant_names()) == []


async def test_items_are_found_on_all_nodes(tmp_path: Path) -> None:
    """Reads, batches, scans and v1's lists go over the nodes as over one."""
    async with proxy_cluster(tmp_path, ranges_per_table=4) as cluster:
        await made(cluster)
        requests = [
            {"PutRequest": {"Item": {"id": {"S": name}, "a": {"S": name}}}} for name in NAMES
        ]
        written = await called(cluster.proxy, "BatchWriteItem", RequestItems={TABLE: requests})
        assert written["UnprocessedItems"] == {}
        assert {name: (await got(cluster, name))["a"]["S"] for name in NAMES} == dict(
            zip(NAMES, NAMES, strict=True)
        )
        found = await called(
            cluster.proxy,
            "BatchGetItem",
            RequestItems={TABLE: {"Keys": [{"id": {"S": name}} for name in [*NAMES, "none"]]}},
        )
        assert sorted(one["id"]["S"] for one in found["Responses"][TABLE]) == sorted(NAMES)
        scanned = await called(cluster.proxy, "Scan", TableName=TABLE)
        assert scanned["Count"] == len(NAMES)
        seen: list[str] = []
        after: dict[str, Any] = {}
        while True:
            page = await called(cluster.proxy, "Scan", TableName=TABLE, Limit=5, **after)
            seen += [one["id"]["S"] for one in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            after = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        assert seen == [one["id"]["S"] for one in scanned["Items"]]
        listing = await cluster.proxy.items.list(TENANT, TABLE, after=b"", limit=100)
        assert listing.count == len(NAMES)
        whole = msgspec.json.decode(b"[%b]" % b",".join(listing.entries))
        assert [one["id"] for one in whole] == seen


async def test_a_node_that_is_away_and_comes_back(tmp_path: Path) -> None:
    """Reads and writes that could not reach a node are made when it is back; clients see none."""
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await made(cluster)
        [gate] = cluster.gates.values()
        for work in (put(cluster, "a"), got(cluster, "a")):
            gate.is_shut = True
            cluster.tasks.spawn(_open_soon(gate), name="open")
            await work
        assert (await got(cluster, "a"))["a"] == {"S": "v"}


async def _open_soon(gate: Gate) -> None:
    await asyncio.sleep(0.2)
    gate.is_shut = False


async def test_a_node_that_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long hears that nothing was done, and that a retry may help."""
    monkeypatch.setattr("dstore.service.proxy.node_calls.PROXY_CALL_TIMEOUT_S", 0.3)
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await made(cluster)
        [gate] = cluster.gates.values()
        gate.is_shut = True
        with pytest.raises(Unreachable):
            await put(cluster, "a")
        with pytest.raises(Unreachable):
            await got(cluster, "a")


async def test_a_lost_answer_to_a_write_is_unknown(tmp_path: Path) -> None:
    """A write that may have happened is never repeated nor called a failure, unless it is named."""
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await made(cluster)
        [gate] = cluster.gates.values()
        gate.losses = [Unknown("lost")]
        before = gate.calls
        with pytest.raises(Unknown):
            await put(cluster, "a")
        assert gate.calls == before + 1
        await cluster.proxy.registrar.create_table(TENANT, "entries", id_type=IdType.STRING)
        key = cluster.proxy.items.locate(TENANT, "entries", "one")
        mutation = create({"a": {"S": "x"}}, key=key, preconditions=NO_PRECONDITIONS)
        name = RequestName(principal="p", request_id="r", digest=b"d")
        gate.losses = [Unknown("lost"), Unknown("lost")]
        applied = await cluster.proxy.items.write(key, mutation, request=name)
        assert not applied.existed  # the first one's own answer
        gate.losses, gate.failures = [Unknown("lost")], []
        other = cluster.proxy.items.locate(TENANT, "entries", "two")
        with pytest.raises(Unknown):
            await cluster.proxy.items.write(
                other, create({}, key=other, preconditions=NO_PRECONDITIONS)
            )


async def test_a_range_that_has_moved_on_is_followed(tmp_path: Path) -> None:
    """A node in a newer epoch than the view sends the proxy to look again, unseen by the client."""
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await made(cluster)
        [gate] = cluster.gates.values()
        await put(cluster, "a")
        [ref] = cluster.proxy.directory.table(TENANT, TABLE).ranges.refs
        gate.failures = [NotMine(ref.range_id, 0)]  # it does not hold it yet
        assert await got(cluster, "a") is not None
        gate.failures = [NotMine(ref.range_id, 0), NotMine(ref.range_id, 0)]
        await put(cluster, "a", "w")
        assert (await got(cluster, "a"))["a"] == {"S": "w"}


@pytest.mark.parametrize("is_consistent", [None, False, True])
async def test_reads_are_as_consistent_as_they_are_asked(
    tmp_path: Path, is_consistent: bool | None
) -> None:
    """ConsistentRead goes to the primary alone; without it any replica may answer."""
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await made(cluster)
        await put(cluster, "a")
        [gate] = cluster.gates.values()
        further = {} if is_consistent is None else {"ConsistentRead": is_consistent}
        key = {"id": {"S": "a"}}
        gate.asked.clear()
        await called(cluster.proxy, "GetItem", TableName=TABLE, Key=key, **further)
        await called(
            cluster.proxy, "BatchGetItem", RequestItems={TABLE: {"Keys": [key], **further}}
        )
        await called(cluster.proxy, "Scan", TableName=TABLE, **further)
        await called(
            cluster.proxy,
            "Query",
            TableName=TABLE,
            KeyConditionExpression="id = :a",
            ExpressionAttributeValues={":a": {"S": "a"}},
            **further,
        )
        told = [
            decode_ask(one.ask).is_eventual if isinstance(one, ReadPage) else one.is_eventual
            for one in gate.asked
        ]
        assert told == [not is_consistent] * 4


async def test_lists_are_as_consistent_as_they_are_asked(tmp_path: Path) -> None:
    """v1 is strong unless its client wants otherwise."""
    async with proxy_cluster(tmp_path, nodes=1) as cluster:
        await made(cluster)
        [gate] = cluster.gates.values()
        gate.asked.clear()
        for is_eventual in (False, True):
            await cluster.proxy.items.list(
                TENANT, TABLE, after=b"", limit=5, is_eventual=is_eventual
            )
        assert [one.is_eventual for one in gate.asked] == [False, True]


async def test_refusals_come_back_as_they_are(tmp_path: Path) -> None:
    """A condition that fails shows its item, and a misfit its words, through the wire."""
    async with proxy_cluster(tmp_path) as cluster:
        await made(cluster)
        await put(cluster, "a")
        with pytest.raises(ConditionFailed) as failed:
            await called(
                cluster.proxy,
                "PutItem",
                TableName=TABLE,
                Item={"id": {"S": "a"}},
                ConditionExpression="attribute_not_exists(id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        assert failed.value.previous == {"id": {"S": "a"}, "a": {"S": "v"}}
        with pytest.raises(AwsError, match="exceeded the maximum"):
            await called(
                cluster.proxy,
                "UpdateItem",
                TableName=TABLE,
                Key={"id": {"S": "a"}},
                UpdateExpression="SET b = :b, c = :b",
                ExpressionAttributeValues={":b": {"S": "x" * 300_000}},
            )


async def test_control_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without control items are served as before; only changes of tables wait, and say so."""
    async with proxy_cluster(tmp_path) as cluster:
        await made(cluster)
        monkeypatch.setattr("dstore.service.proxy.remote_registrar.PROXY_CHANGE_TIMEOUT_S", 0.2)
        cluster.control_gate.is_shut = True
        await put(cluster, "a")
        assert await got(cluster, "a") is not None
        with pytest.raises(Unavailable):
            await cluster.proxy.registrar.create_tenant("other")


async def test_a_lost_answer_of_control(tmp_path: Path) -> None:
    """A creation whose answer was lost is asked for again, and is still the one and only."""
    async with proxy_cluster(tmp_path) as cluster:
        cluster.control_gate.losses = [Unknown("lost")]
        _, is_new = await cluster.proxy.registrar.create_tenant(TENANT)
        assert is_new
        cluster.control_gate.losses = [Unknown("lost")]
        await made_again(cluster)


async def made_again(cluster: ProxyCluster) -> None:
    await called(
        cluster.proxy,
        "CreateTable",
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    await called(cluster.proxy, "UpdateTable", TableName=TABLE, DeletionProtectionEnabled=True)
    described = await called(cluster.proxy, "DescribeTable", TableName=TABLE)
    assert described["Table"]["DeletionProtectionEnabled"]


async def test_tenants_are_kept_apart(tmp_path: Path) -> None:
    """What another tenant has under a name is not there for this one (I11)."""
    async with proxy_cluster(tmp_path) as cluster:
        await made(cluster)
        await cluster.proxy.registrar.create_tenant("other")
        assert list(cluster.proxy.directory.tenant("other").table_names) == []
        with pytest.raises(Refused):
            cluster.proxy.items.locate("other", TABLE, "a")


@pytest.mark.parametrize("near", [False, True])
async def test_writes_that_are_done_later(tmp_path: Path, near: bool) -> None:
    """The node that accepts a write does it, and tells through any proxy how it went."""
    async with proxy_cluster(tmp_path, ranges_per_table=4, near=near) as cluster:
        proxy = cluster.proxy
        await proxy.registrar.create_tenant(TENANT)
        table, _ = await proxy.registrar.create_table(TENANT, "entries", id_type=IdType.STRING)
        asked: dict[str, str] = {}
        for name in NAMES[:8]:
            write = DeferredWrite(
                tenant=TENANT,
                table="entries",
                table_id=table.definition.table_id,
                id=name,
                verb=Verb.CREATE,
                body=b'{"a":1}',
            )
            asked[name] = await proxy.deferred.accept(write)
        for name, request_id in asked.items():
            async with asyncio.timeout(10):
                while await proxy.deferred.outcome(TENANT, request_id) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert await proxy.items.read(proxy.items.locate(TENANT, "entries", name)) is not None
        nowhere = "x.deadbeef-0000-4000-8000-000000000001"
        for unknown in ("", "x", "x.y", f"{next(iter(asked.values()))}x", nowhere):
            async with asyncio.timeout(5):  # a node that was never there is not waited for
                with pytest.raises(Refused):
                    await proxy.deferred.outcome(TENANT, unknown)
        with pytest.raises(Refused):
            await proxy.deferred.outcome("other", asked[NAMES[0]])


async def test_control_writes_down_who_changed_what(tmp_path: Path) -> None:
    """The audit log names the client's credential beside the proxy that it came through."""
    async with proxy_cluster(tmp_path) as cluster:
        registrar, by = cluster.proxy.registrar, Principal(tenant=None, credential="op-1")
        await registrar.create_tenant(TENANT, by=by)
        await registrar.create_table(TENANT, "abc", id_type=IdType.STRING, by=by)
        await registrar.set_table(
            TENANT, "abc", lambda it: replace(it.settings, on_demand_since_us=7), by=by
        )
        await registrar.delete_table(TENANT, "abc", by=by)
        await registrar.delete_tenant(TENANT, force=False, by=by)
        async with cluster.control.plane.store.snapshot() as tx:
            entries = (await audit.page(tx)).records
        done = {one.entry.action: one.entry.actor for one in entries}
        wanted = {"create_tenant", "create_table", "set_table", "delete_table", "delete_tenant"}
        assert wanted <= done.keys()
        assert all(done[one].startswith("op-1 through proxy ") for one in wanted)


def test_a_slow_change_is_answered_by_control_itself() -> None:
    """A proxy waits for as long as control may take to say how a change went."""
    control_s = CONTROL_TRANSACTION_TIMEOUT_S + VISIBLE_TIMEOUT_S + SETTLED_TIMEOUT_S
    assert control_s < PROXY_CHANGE_TIMEOUT_S - 2 * PROXY_RETRY_S_MAX
