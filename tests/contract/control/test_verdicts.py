"""What control's store says of what a node holds: only what is written down is a reason to drop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dstore.model.errors import RefusalKind, Refused
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.security.identity import ComponentRole, Identity
from dstore.service.calls.control_calls import DeleteTable, DeleteTenant
from dstore.service.calls.key_calls import AskOfRange, AskOfTenant, Verdict
from dstore.service.control.verdicts import HoldingVerdicts
from dstore.storage.control import notices, tables, tasks
from dstore.storage.control.components import NODES
from dstore.storage.control.records import (
    ComponentState,
    NodeUuid,
    NoticeRecord,
    RangeId,
    RangeRecord,
    TaskState,
)
from tests.contract.control.conftest import Place
from tests.support.control import (
    ControlProcess,
    ObedientNode,
    eventually,
    new_table,
    new_tenant,
    obedient_nodes,
)
from tests.support.topology import uuid

TENANT_ID = uuid(70)


def identity(leader: ControlProcess, node: ObedientNode) -> Identity:
    return Identity(control_plane=leader.plane.uuid, role=ComponentRole.NODE, uuid=str(node.node))


async def placed(leader: ControlProcess) -> tuple[AskOfRange, RangeRecord]:
    """Make a table. Returns: what the node that holds its first range would ask, and that range."""
    await leader.control.tenants.create(new_tenant())
    made = await leader.control.tables.create(new_table())
    async with leader.plane.store.snapshot() as tx:
        [first, *_] = await tables.ranges(tx, TableId(made.table_id))
        record = await tables.get_by_id(tx, TableId(made.table_id))
    assert record is not None
    asked = AskOfRange(
        tenant="acme",
        tenant_id=TENANT_ID,
        table="orders",
        table_id=made.table_id,
        created_at_us=record.created_at_us,
        range_id=first.range_id,
        epoch=first.epoch,
    )
    return asked, first


def changed(asked: AskOfRange, **further: Any) -> AskOfRange:
    return AskOfRange(**{name: getattr(asked, name) for name in asked.__struct_fields__} | further)


async def test_a_range_is_where_the_store_has_it(place: Place) -> None:
    """A node has it until it is told to leave; what the store lacks may be newer than the store."""
    async with (
        obedient_nodes(place.coordinator, await place.store()) as nodes,
        place.leader() as leader,
    ):
        asked, first = await placed(leader)
        judge = HoldingVerdicts(leader.plane).of_range
        holder = next(node for node in nodes if str(node.node) == first.node)
        other = next(node for node in nodes if str(node.node) != first.node)
        mine, theirs = identity(leader, holder), identity(leader, other)
        assert await judge(mine, asked) is Verdict.HELD
        assert await judge(theirs, asked) is Verdict.UNKNOWN
        assert await judge(mine, changed(asked, range_id=uuid(7))) is Verdict.UNKNOWN
        unknown = changed(asked, table_id=uuid(8), tenant_id=uuid(9))
        assert await judge(mine, unknown) is Verdict.UNKNOWN, "the store may be of before it"
        former = changed(unknown, created_at_us=asked.created_at_us - 1)
        assert await judge(mine, former) is Verdict.GONE, "its name is another one's by now"
        async with leader.control.leader.term().transaction() as tx:
            await tables.add_replica(tx, first.range_id, NodeUuid(str(other.node)))
            await tables.mark_leaving(tx, first.range_id, first.node)
        assert await judge(mine, asked) is Verdict.GONE
        assert await judge(mine, changed(asked, epoch=first.epoch + 1)) is Verdict.GONE
        assert await judge(theirs, asked) is Verdict.HELD
        async with leader.control.leader.term().transaction() as tx:
            assert await tables.remove_replica(tx, first.range_id, first.node)
        assert await judge(mine, asked) is Verdict.UNKNOWN


async def test_a_deletion_is_known_while_it_goes_on_and_behind_it(place: Place) -> None:
    """By the table's status, then by its task; once that is forgotten nobody knows any more."""
    async with (
        obedient_nodes(place.coordinator, await place.store()) as nodes,
        place.leader() as leader,
    ):
        asked, first = await placed(leader)
        judge = HoldingVerdicts(leader.plane).of_range
        [holder] = (node for node in nodes if str(node.node) == first.node)
        mine = identity(leader, holder)
        for node in nodes:
            node.is_obedient = False
        control = leader.control
        deleted = await control.tables.delete(DeleteTable("acme", "orders", asked.table_id))
        assert not deleted.is_done
        async with leader.plane.store.snapshot() as tx:
            record = await tables.get_by_id(tx, TableId(asked.table_id))
        assert record is not None
        assert record.status is ResourceStatus.DELETING
        assert await judge(mine, asked) is Verdict.GONE
        for node in nodes:
            node.is_obedient = True
            own = f"node/{node.node}/id/acme/orders/details"
            await place.coordinator.delete(own)
        await eventually(lambda: leader.watcher.view.table("acme", "orders") is None)
        assert await judge(mine, asked) is Verdict.GONE
        async with leader.control.leader.term().transaction() as tx:
            await tasks.forget_finished(tx, before_us=1 << 60)
        assert await judge(mine, asked) is Verdict.UNKNOWN


async def test_a_tenant_is_gone_once_it_is_deleted(place: Place) -> None:
    """With all of its tables; another one of its name is no reason to think that it is there."""
    async with (
        obedient_nodes(place.coordinator, await place.store()) as nodes,
        place.leader() as leader,
    ):
        asked, first = await placed(leader)
        verdicts = HoldingVerdicts(leader.plane)
        [holder] = (node for node in nodes if str(node.node) == first.node)
        mine = identity(leader, holder)
        of_tenant = AskOfTenant("acme", TENANT_ID)
        assert await verdicts.of_tenant(mine, of_tenant) is Verdict.HELD
        assert await verdicts.of_tenant(mine, AskOfTenant("other", uuid(71))) is Verdict.UNKNOWN
        await leader.control.tenants.delete(DeleteTenant("acme", force=True))
        await eventually(lambda: leader.watcher.view.tenant("acme") is None)
        assert await verdicts.of_tenant(mine, of_tenant) is Verdict.GONE
        assert await verdicts.of_range(mine, asked) is Verdict.GONE
        await leader.control.tenants.create(new_tenant(number=72))
        assert await verdicts.of_tenant(mine, of_tenant) is Verdict.GONE
        assert await verdicts.of_tenant(mine, AskOfTenant("acme", uuid(72))) is Verdict.HELD


async def test_a_node_that_was_removed_is_told_nothing(place: Place) -> None:
    """So it keeps what it holds, for whoever looks for it there."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 1) as (node,),
        place.leader() as leader,
    ):
        asked, _ = await placed(leader)
        async with leader.plane.store.transaction() as tx:
            record = await NODES.get(tx, str(node.node))
            assert record is not None
            await NODES.update(tx, replace(record, state=ComponentState.REMOVED))
        verdicts, mine = HoldingVerdicts(leader.plane), identity(leader, node)
        for judging in (
            verdicts.of_range(mine, asked),
            verdicts.of_tenant(mine, AskOfTenant("acme", TENANT_ID)),
        ):
            with pytest.raises(Refused) as refused:
                await judging
            assert refused.value.kind is RefusalKind.FORBIDDEN


async def test_an_operator_discards_what_nobody_knows(place: Place) -> None:
    """Only what a node has told of, and what control does not know; and only on that node."""
    async with (
        obedient_nodes(place.coordinator, await place.store()) as nodes,
        place.leader() as leader,
    ):
        asked, first = await placed(leader)
        judge, discard = HoldingVerdicts(leader.plane).of_range, leader.control.elasticity.discard
        one, other = (NodeUuid(str(node.node)) for node in nodes[:2])
        unknown = changed(asked, range_id=uuid(7), table_id=uuid(8))
        with pytest.raises(Refused, match="is known") as known:
            await discard(one, first.range_id, actor="x")
        assert known.value.kind is RefusalKind.CONFLICT
        with pytest.raises(Refused, match="has not told"):
            await discard(one, RangeId(uuid(7)), actor="x")
        with pytest.raises(Refused) as nobody:
            await discard(NodeUuid(uuid(99)), RangeId(uuid(7)), actor="x")
        assert nobody.value.kind is RefusalKind.NOT_FOUND
        async with leader.plane.store.transaction() as tx:
            told = f'{{"details": "Node {one} keeps range {uuid(7)}."}}'
            await notices.insert(
                tx, NoticeRecord(node=one, at_us=1, kind="unknown_range", details=told)
            )
        assert await judge(identity(leader, nodes[0]), unknown) is Verdict.UNKNOWN
        task = await discard(one, RangeId(uuid(7)), actor="x")
        assert await discard(one, RangeId(uuid(7)), actor="x") == task
        assert await judge(identity(leader, nodes[0]), unknown) is Verdict.GONE
        assert await judge(identity(leader, nodes[1]), unknown) is Verdict.UNKNOWN
        assert other != one
        await eventually(lambda: leader.leads)
        async with asyncio.timeout(10):
            while (await leader.control.survey.task(task)).state is not TaskState.DONE:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
