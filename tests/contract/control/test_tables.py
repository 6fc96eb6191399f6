"""Tenants and tables of a cluster, from the call to what the coordinator shows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from dstore.model.errors import RefusalKind, Refused, Unavailable
from dstore.model.hashing import HASH_MAX
from dstore.model.keys import KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import StoredKey
from dstore.model.table_settings import NO_SETTINGS, TableSettings
from dstore.model.tables import IdType
from dstore.service.calls.control_calls import (
    DeclareTable,
    DeleteTable,
    DeleteTenant,
    SetTable,
)
from dstore.storage.control.records import NodeUuid
from dstore.topology import keyspace as keys
from dstore.topology import values
from tests.contract.control.conftest import Place
from tests.support.control import (
    WAIT_S_MAX,
    ControlProcess,
    ObedientNode,
    eventually,
    new_table,
    new_tenant,
    obedient_nodes,
)
from tests.support.topology import uuid


async def _shown(place: Place, path: keys.TablePath) -> values.TableValue | None:
    found = await place.coordinator.get(path.path)
    return None if found.kv is None else values.decode(path, found.kv.value)


async def _orders(process: ControlProcess) -> None:
    await process.control.tenants.create(new_tenant())
    made = await process.control.tables.create(new_table())
    assert made.status is ResourceStatus.ACTIVE


async def test_a_table_is_active_when_its_call_returns(place: Place) -> None:
    """Who created a table may use it: every node has said that it holds its part."""
    async with (
        obedient_nodes(place.coordinator, await place.store()) as nodes,
        place.leader() as leader,
    ):
        tenant = await leader.control.tenants.create(new_tenant())
        assert tenant.is_new
        table = await leader.control.tables.create(new_table())
        assert (table.is_done, table.status) == (True, ResourceStatus.ACTIVE)
        shown = await place.coordinator.get("table/acme/orders")
        assert shown.kv is not None
        assert shown.kv.mod_revision <= table.revision
        view = await leader.watcher.reached(type(shown.revision)(table.revision))
        found = view.table("acme", "orders")
        assert found is not None
        assert len(found.ranges) == len(nodes)
        assert {placed.placement.node for placed in found.ranges} == {n.node for n in nodes}
        assert (found.ranges[0].low_hash, found.ranges[-1].high_hash) == (0, HASH_MAX)
        for node in nodes:
            held = node.held["acme", "orders"]
            assert [(each.low_hash, each.range_id) for each in held.ranges] == [
                (placed.low_hash, placed.range_id)
                for placed in found.ranges
                if placed.placement.node == node.node
            ]


async def test_creations_may_be_repeated(place: Place) -> None:
    """An answer that got lost is given again; another creation of the same is told apart (I9)."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 1),
        place.leader() as leader,
    ):
        tenants, tables = leader.control.tenants, leader.control.tables
        first = await tenants.create(new_tenant())
        assert (await tenants.create(new_tenant())).is_new
        other = await tenants.create(new_tenant(number=71))
        assert (other.is_new, other.uuid) == (False, first.uuid)
        made = await tables.create(new_table())
        again = await tables.create(new_table())
        assert (again.is_done, again.table_id) == (True, made.table_id)
        same = await tables.create(new_table(number=101))
        assert (same.is_done, same.table_id) == (False, made.table_id)
        with pytest.raises(Refused) as caught:
            await tables.create(
                msgspec.structs.replace(new_table(number=102), id_type=IdType.BYTES)
            )
        assert caught.value.kind is RefusalKind.CONFLICT


async def test_dynamodb_tables_are_declared_once(place: Place) -> None:
    """CreateTable of a table that exists is refused, unless it is the same call once more."""
    ask = DeclareTable(
        tenant="acme",
        name="orders",
        table_id=uuid(100),
        partition=StoredKey("id", KeyKind.STRING),
        sort=StoredKey("at", KeyKind.NUMBER),
        settings=TableSettings(tags={"a": "b"}),
    )
    async with (
        obedient_nodes(place.coordinator, await place.store(), 1),
        place.leader(ranges_per_table=4) as leader,
    ):
        with pytest.raises(Refused) as missing:
            await leader.control.tables.declare(ask)
        assert missing.value.kind is RefusalKind.NOT_FOUND
        await leader.control.tenants.create(new_tenant())
        made = await leader.control.tables.declare(ask)
        assert (await leader.control.tables.declare(ask)).table_id == made.table_id
        with pytest.raises(Refused, match="already exists"):
            await leader.control.tables.declare(msgspec.structs.replace(ask, table_id=uuid(101)))
        placement = await leader.control.survey.placement(tenant="acme", table="orders")
        assert len(placement.ranges) == 4
        assert [row.why for row in placement.ranges] == [""] * 4


async def test_settings_are_compared_and_set(place: Place) -> None:
    """Of two who change a table on what both have seen, the second is told to look again (B5)."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 1),
        place.leader() as leader,
    ):
        await _orders(leader)
        first = TableSettings(tags={"who": "first"})
        second = TableSettings(tags={"who": "second"})
        ask = SetTable(
            tenant="acme",
            name="orders",
            table_id=uuid(100),
            expected=NO_SETTINGS,
            settings=first,
        )
        assert (await leader.control.tables.set(ask)).is_done
        assert (await leader.control.tables.set(ask)).is_done, "the same again"
        late = await leader.control.tables.set(msgspec.structs.replace(ask, settings=second))
        assert not late.is_done
        assert '"first"' in late.definition
        shown = await _shown(place, keys.TablePath("acme", "orders"))
        assert shown is not None
        assert shown.settings == first
        with pytest.raises(Refused):
            await leader.control.tables.set(msgspec.structs.replace(ask, table_id=uuid(9)))


async def test_a_deleted_table_leaves_nothing(place: Place) -> None:
    """A table goes from nodes, coordinator and store; its name is free, and the call repeatable."""
    ask = DeleteTable(tenant="acme", name="orders", table_id=uuid(100))
    async with (
        obedient_nodes(place.coordinator, await place.store()) as nodes,
        place.leader() as leader,
    ):
        await _orders(leader)
        gone = await leader.control.tables.delete(ask)
        assert gone.is_done
        again = await leader.control.tables.delete(ask)
        assert (again.is_done, again.table_id) == (True, uuid(100))
        listing = await place.coordinator.list(keys.EVERYTHING)
        assert not [kv.key for kv in listing.kvs if "orders" in kv.key]
        assert [node.held for node in nodes] == [{}, {}, {}]
        made = await leader.control.tables.create(new_table(number=101))
        assert (made.is_done, made.table_id) == (True, uuid(101))
        with pytest.raises(Refused):
            await leader.control.tables.delete(msgspec.structs.replace(ask, table_id=uuid(55)))


async def test_a_creation_that_is_repeated_late_brings_nothing_back(place: Place) -> None:
    """Its answer was lost and somebody deleted it: it would come back, and could not go again."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 1),
        place.leader() as leader,
    ):
        await _orders(leader)
        ask = DeleteTable(tenant="acme", name="orders", table_id=uuid(100))
        assert (await leader.control.tables.delete(ask)).is_done
        with pytest.raises(Refused, match="no table"):
            await leader.control.tables.create(new_table())
        assert (await leader.control.tables.create(new_table(number=101))).is_done
        assert (await leader.control.tenants.delete(DeleteTenant(name="acme", force=True))).is_done
        with pytest.raises(Refused, match="no tenant"):
            await leader.control.tenants.create(new_tenant())
        assert (await leader.control.tenants.create(new_tenant(number=71))).is_new
        assert (await leader.control.tenants.delete(DeleteTenant(name="acme"))).is_done


async def test_a_protected_table_stays(place: Place) -> None:
    """Deletion protection holds in a cluster as on one node."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 1),
        place.leader() as leader,
    ):
        await _orders(leader)
        ask = SetTable(
            tenant="acme",
            name="orders",
            table_id=uuid(100),
            expected=NO_SETTINGS,
            settings=replace(NO_SETTINGS, is_protected=True),
        )
        await leader.control.tables.set(ask)
        with pytest.raises(Refused, match="protected"):
            await leader.control.tables.delete(
                DeleteTable(tenant="acme", name="orders", table_id=uuid(100))
            )


async def test_a_tenant_goes_with_its_tables_and_credentials(place: Place) -> None:
    """Deleting a tenant voids its credentials at once, then takes its tables, then its key."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2),
        place.leader() as leader,
    ):
        await _orders(leader)
        key, _ = await leader.control.credentials.create_access_key("acme", actor="x")
        with pytest.raises(Refused, match="still has 1 table"):
            await leader.control.tenants.delete(DeleteTenant(name="acme"))
        assert [one.id for one in await leader.control.credentials.access_keys("acme")] == [key.id]
        await leader.control.tenants.delete(DeleteTenant(name="acme", force=True))
        await eventually(lambda: leader.watcher.view.tenant("acme") is None)
        listing = await place.coordinator.list(keys.EVERYTHING)
        assert not [kv.key for kv in listing.kvs if "acme" in kv.key]
        with pytest.raises(Refused):
            await leader.control.credentials.access_keys("acme")
        assert (await leader.control.tenants.create(new_tenant(number=72))).uuid == uuid(72)


async def test_a_node_that_never_says_okay(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table stays CREATING for as long as a node is silent; the status has the reason."""
    monkeypatch.setattr("dstore.service.control.tables.SETTLED_TIMEOUT_S", 0.3)
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2) as nodes,
        place.leader() as leader,
    ):
        nodes[1].is_obedient = False
        await leader.control.tenants.create(new_tenant())
        table = await leader.control.tables.create(new_table())
        assert table.status is ResourceStatus.CREATING
        placement = await leader.control.survey.placement(tenant="acme")
        assert nodes[1].node in placement.tables[0].why
        assert [bool(row.why) for row in placement.ranges].count(True) == 1
        status = await leader.control.survey.status()
        assert status.tables == {ResourceStatus.CREATING: 1}
        assert status.ranges.unavailable == 1
        nodes[1].is_obedient = True
        await nodes[1].report_all()
        view = leader.watcher
        await eventually(
            lambda: (
                (found := view.view.table("acme", "orders")) is not None
                and found.status is ResourceStatus.ACTIVE
            )
        )


async def test_a_dead_node_does_not_hold_a_deletion_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A living node that has not let go is waited for, visibly; a dead one is not."""
    monkeypatch.setattr("dstore.service.control.tables.SETTLED_TIMEOUT_S", 0.2)
    monkeypatch.setattr("dstore.service.control.deletions.TASK_WAIT_S", 0.5)
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2) as nodes,
        place.leader() as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        await eventually(lambda: not leader.control.realm.watcher.status().problem_count)
        nodes[0].is_obedient = False
        gone = await leader.control.tables.delete(
            DeleteTable(tenant="acme", name="orders", table_id=uuid(100))
        )
        assert not gone.is_done
        with pytest.raises(Unavailable, match="being deleted"):
            await leader.control.tables.create(new_table(number=101))

        async def who_is_waited_for() -> str:
            tasks, _ = await leader.control.survey.tasks()
            return tasks[0].error

        async with asyncio.timeout(WAIT_S_MAX):
            while nodes[0].node not in await who_is_waited_for():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        tasks, _ = await leader.control.survey.tasks()
        await nodes[0].die()
        await leader.control.survey.retry_task(tasks[0].id)
        await eventually(lambda: leader.watcher.view.table("acme", "orders") is None)


async def test_without_a_node_no_table_is_made(place: Place) -> None:
    """No node that is alive, okay and out of maintenance: refused before anything is written."""
    async with place.leader() as leader:
        await leader.control.tenants.create(new_tenant())
        with pytest.raises(Unavailable, match="No node"):
            await leader.control.tables.create(new_table())
        store = await place.store()
        node = ObedientNode(place.coordinator, 1)
        await node.admit(store)
        await node.show()
        await eventually(lambda: leader.watcher.view.node(node.node) is not None)
        row = await leader.control.survey.set_maintenance(
            NodeUuid(node.node), is_on=True, actor="x"
        )
        assert row.state == "maintenance"
        with pytest.raises(Unavailable, match="No node"):
            await leader.control.tables.create(new_table())


async def test_a_name_is_used_again_and_again(place: Place) -> None:
    """A table made and deleted under one name in quick succession is each time its own."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2),
        place.leader() as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        for number in range(100, 106):
            made = await leader.control.tables.create(new_table(number=number))
            assert (made.is_done, made.status) == (True, ResourceStatus.ACTIVE)
            gone = await leader.control.tables.delete(
                DeleteTable(tenant="acme", name="orders", table_id=uuid(number))
            )
            assert gone.is_done
        tasks, _ = await leader.control.survey.tasks()
        assert {task.id[-36:] for task in tasks} == {uuid(number) for number in range(100, 106)}


async def test_a_tenant_with_many_tables_goes_whole(place: Place) -> None:
    """More tables than one transaction takes: they go part by part, and then the tenant."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 1),
        place.leader() as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        for start in range(0, 60, 20):
            await asyncio.gather(
                *(
                    leader.control.tables.create(new_table(f"orders{n}", number=200 + n))
                    for n in range(start, start + 20)
                )
            )
        await leader.control.tenants.delete(DeleteTenant(name="acme", force=True))
        await eventually(lambda: leader.watcher.view.tenant("acme") is None)
        listing = await place.coordinator.list(keys.EVERYTHING)
        assert not [kv.key for kv in listing.kvs if "acme" in kv.key]
