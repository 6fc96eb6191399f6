"""Global indexes: hidden tables that follow what their base tables declare, and are filled once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import msgspec
import pytest

from dstore.model.errors import RefusalKind, Refused
from dstore.model.keys import KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import StoredKey, decode_definition, encode_definition
from dstore.model.table_settings import (
    NO_SETTINGS,
    Index,
    KeyAttribute,
    ProjectionType,
    TableSettings,
)
from dstore.model.tables import TableDefinition, TableId
from dstore.service.calls.control_calls import (
    DeclareTable,
    DeleteTable,
    DeleteTenant,
    SetTable,
    TableChanged,
)
from dstore.service.control import indexes as indexes_module
from dstore.service.control.index_rebuilds import rebuilds_after_loss
from dstore.service.control.index_tables import build_task
from dstore.service.control.publications import definition_of, table_publication
from dstore.service.control.realm import append
from dstore.service.proxy.view_directory import ViewDirectory
from dstore.storage.control import tables, tasks
from dstore.storage.control.records import TableRecord, TaskRecord, TaskState
from dstore.topology import keyspace as keys
from dstore.topology.indexes import index_view, index_views
from dstore.topology.values import RangeState, encode
from dstore.topology.view import TableView
from tests.contract.control.conftest import Place
from tests.support.control import (
    WAIT_S_MAX,
    ControlProcess,
    ObedientNode,
    eventually,
    new_tenant,
    obedient_nodes,
)
from tests.support.filling import FillingNodes
from tests.support.topology import uuid

BY_STATE = Index(name="by-state", hash_keys=("state",), projection=ProjectionType.ALL)
BY_DAY = Index(name="by-day", hash_keys=("day",), projection=ProjectionType.KEYS_ONLY)
ATTRIBUTES = tuple(KeyAttribute(name=name, kind=KeyKind.STRING) for name in ("state", "day"))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes_module, "INDEX_ASK_S_MAX", 0.05)
    monkeypatch.setattr(indexes_module, "INDEXES_LOOK_S", 0.1)


def _settings(*indexes: Index) -> TableSettings:
    return TableSettings(global_indexes=indexes, index_attributes=ATTRIBUTES if indexes else ())


def _declare(*indexes: Index, name: str = "orders", number: int = 100) -> DeclareTable:
    return DeclareTable(
        tenant="acme",
        name=name,
        table_id=uuid(number),
        partition=StoredKey("id", KeyKind.STRING),
        settings=_settings(*indexes),
        actor="tester",
    )


def _set(before: TableSettings, after: TableSettings) -> SetTable:
    return SetTable(
        tenant="acme", name="orders", table_id=uuid(100), expected=before, settings=after
    )


@asynccontextmanager
async def _led(
    place: Place, nodes: FillingNodes, *, count: int = 3
) -> AsyncIterator[tuple[ControlProcess, tuple[ObedientNode, ...]]]:
    """Run nodes that obey, and a leader with a tenant."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), count) as obedient,
        place.leader(nodes=nodes) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        yield leader, obedient


def _index(process: ControlProcess, name: str = "by-state") -> TableView | None:
    base = process.watcher.view.table("acme", "orders")
    return None if base is None else index_view(process.watcher.view, base.definition, name)


async def _until_index(
    process: ControlProcess, status: ResourceStatus, name: str = "by-state"
) -> TableView:
    def is_so() -> bool:
        found = _index(process, name)
        return found is not None and found.status is status

    await eventually(is_so)
    found = _index(process, name)
    assert found is not None
    return found


async def _until_gone(process: ControlProcess, index: TableView) -> None:
    table_id = index.definition.table_id
    await eventually(
        lambda: (found := _index(process)) is None or found.definition.table_id != table_id
    )


async def _task(process: ControlProcess, index: TableView) -> TaskRecord:
    async with process.plane.store.snapshot() as tx:
        found = await tasks.get(tx, build_task(index.definition.table_id))
    assert found is not None
    return found


async def _until(look: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(WAIT_S_MAX):
        while True:
            if await look():
                return
            await asyncio.sleep(0.01)


async def _until_task(process: ControlProcess, index: TableView, state: TaskState) -> None:
    async def look() -> bool:
        return (await _task(process, index)).state is state

    await _until(look)


async def _records(process: ControlProcess) -> list[TableRecord]:
    async with process.plane.store.snapshot() as tx:
        return list((await tables.page(tx, "acme")).records)


def _defined(changed: TableChanged) -> TableDefinition:
    return decode_definition(
        changed.definition,
        tenant=changed.tenant,
        name=changed.name,
        table_id=TableId(changed.table_id),
    )


async def test_an_index_is_made_with_its_table(place: Place) -> None:
    """Both are ACTIVE when the call returns; the index has ranges and replicas of its own."""
    nodes = FillingNodes()
    async with _led(place, nodes) as (leader, obedient):
        made = await leader.control.tables.declare(_declare(BY_STATE, BY_DAY))
        assert made.status is ResourceStatus.ACTIVE
        view = leader.watcher.view
        found = index_views(view, _defined(made))
        assert [each.definition.name for each in found] == ["orders:by-day", "orders:by-state"]
        assert {each.status for each in found} == {ResourceStatus.ACTIVE}
        assert {each.definition.created_at_us for each in found} == {_defined(made).created_at_us}
        base = view.table("acme", "orders")
        assert base is not None
        range_ids = {placed.range_id for each in (*found, base) for placed in each.ranges}
        assert len(range_ids) == 3 * len(base.ranges)
        for node in obedient:
            assert sorted(node.held) == [
                ("acme", "orders"),
                ("acme", "orders:by-day"),
                ("acme", "orders:by-state"),
            ]
        asked = {(each.range_id, str(index.definition.table_id))
                 for each in base.ranges for index in found}  # fmt: skip
        assert set(nodes.asked) == asked


async def test_an_index_is_added_and_removed(place: Place) -> None:
    """UpdateTable on a live table: it is filled before it is ACTIVE, and nothing of it stays."""
    nodes = FillingNodes(is_done=False)
    async with _led(place, nodes) as (leader, obedient):
        service = leader.control.tables
        made = await service.declare(_declare())
        assert made.status is ResourceStatus.ACTIVE
        with_index = _settings(BY_STATE)
        changed = await service.set(_set(NO_SETTINGS, with_index))
        assert (changed.is_done, changed.status) == (True, ResourceStatus.ACTIVE)
        index = await _until_index(leader, ResourceStatus.UPDATING)
        assert index.definition.index_of is not None
        assert index.definition.index_of.table_id == uuid(100)
        await eventually(lambda: max(nodes.asked.values(), default=0) >= 3)
        running = await _task(leader, index)
        assert running.state is TaskState.RUNNING
        progress = json.loads(running.progress)
        assert (progress["state"], progress["rangesDone"]) == ("filling", 0)
        assert progress["itemsRead"] == 7 * progress["ranges"]
        nodes.is_done = True
        await _until_index(leader, ResourceStatus.ACTIVE)
        await _until_task(leader, index, TaskState.DONE)
        removed = await service.set(_set(with_index, NO_SETTINGS))
        assert removed.is_done
        await eventually(lambda: _index(leader) is None)
        await eventually(lambda: all(("acme", "orders:by-state") not in n.held for n in obedient))

        async def is_alone() -> bool:
            return len(await _records(leader)) == 1

        await _until(is_alone)
        listing = await place.coordinator.list("")
        assert [kv.key for kv in listing.kvs if ":" in kv.key] == []
        again = await service.set(_set(NO_SETTINGS, with_index))
        assert again.is_done
        another = await _until_index(leader, ResourceStatus.ACTIVE)
        assert another.definition.table_id != index.definition.table_id


async def test_all_ranges_are_waited_for(place: Place) -> None:
    """One range of the base table that is not done keeps the index from being asked."""
    nodes = FillingNodes(is_done=False)
    async with _led(place, nodes) as (leader, _):
        await leader.control.tables.declare(_declare())
        await leader.control.tables.set(_set(NO_SETTINGS, _settings(BY_STATE)))
        index = await _until_index(leader, ResourceStatus.UPDATING)
        base = leader.watcher.view.table("acme", "orders")
        assert base is not None
        assert len(base.ranges) > 1
        *most, last = [each.range_id for each in base.ranges]
        nodes.done.update(most)
        since = nodes.asked[last, index.definition.table_id]
        await eventually(lambda: nodes.asked[last, index.definition.table_id] > since + 3)
        assert json.loads((await _task(leader, index)).progress)["rangesDone"] == len(most)
        found = _index(leader)
        assert found is not None
        assert found.status is ResourceStatus.UPDATING
        nodes.done.add(last)
        await _until_index(leader, ResourceStatus.ACTIVE)


async def test_another_leader_goes_on(place: Place) -> None:
    """Control is killed in mid-backfill, and while nobody answers: whoever leads next ends it."""
    nodes = FillingNodes(is_done=False)
    async with obedient_nodes(place.coordinator, await place.store()):
        async with place.leader(nodes=nodes) as first:
            await first.control.tenants.create(new_tenant())
            await first.control.tables.declare(_declare())
            await first.control.tables.set(_set(NO_SETTINGS, _settings(BY_STATE)))
            index = await _until_index(first, ResourceStatus.UPDATING)
            await eventually(lambda: nodes.asked.total() > 0)
            await first.kill()
        nodes.is_dead = True
        async with place.leader(nodes=nodes) as second:
            before = nodes.asked.total()
            await eventually(lambda: nodes.asked.total() > before)

            async def is_told() -> bool:
                return "is dead" in (await _task(second, index)).progress

            await _until(is_told)
            nodes.is_dead, nodes.is_done = False, True
            active = await _until_index(second, ResourceStatus.ACTIVE)
            assert active.definition.table_id == index.definition.table_id
            await _until_task(second, index, TaskState.DONE)


async def test_an_index_is_given_up_while_it_is_filled(place: Place) -> None:
    """Its task ends, its nodes are rid of it, and it can be declared again."""
    nodes = FillingNodes(is_done=False)
    async with _led(place, nodes) as (leader, obedient):
        service = leader.control.tables
        await service.declare(_declare())
        await service.set(_set(NO_SETTINGS, _settings(BY_STATE)))
        index = await _until_index(leader, ResourceStatus.UPDATING)
        assert (await service.set(_set(_settings(BY_STATE), NO_SETTINGS))).is_done
        await eventually(lambda: _index(leader) is None)
        await eventually(lambda: all(("acme", "orders:by-state") not in n.held for n in obedient))
        assert (await _task(leader, index)).state is TaskState.CANCELLED


async def test_a_table_goes_with_its_indexes(place: Place) -> None:
    """Also with one that is being filled; the table's name is free once all of it is gone."""
    nodes = FillingNodes(is_done=False)
    async with _led(place, nodes) as (leader, obedient):
        service = leader.control.tables
        await service.declare(_declare())
        await service.set(_set(NO_SETTINGS, _settings(BY_STATE)))
        await _until_index(leader, ResourceStatus.UPDATING)
        gone = await service.delete(
            DeleteTable(tenant="acme", name="orders", table_id=uuid(100), actor="tester")
        )
        assert gone.is_done
        assert await _records(leader) == []
        assert all(node.held == {} for node in obedient)
        nodes.is_done = True
        made = await service.declare(_declare(BY_STATE, number=101))
        assert made.status is ResourceStatus.ACTIVE


async def test_a_name_waits_for_the_indexes(place: Place) -> None:
    """A node that does not let go of an index keeps the table's name from being used again."""
    nodes = FillingNodes()
    async with _led(place, nodes, count=1) as (leader, (node,)):
        service = leader.control.tables
        await service.declare(_declare(BY_STATE))
        node.is_obedient = False
        gone = await service.delete(
            DeleteTable(tenant="acme", name="orders", table_id=uuid(100), actor="tester")
        )
        assert not gone.is_done
        for table in ("orders", "orders:by-state"):
            await place.coordinator.delete(keys.NodeTablePath(node.node, "acme", table).path)
        await eventually(lambda: leader.watcher.view.table("acme", "orders") is None)
        assert await _records(leader) == []


async def test_a_tenant_goes_with_its_indexes(place: Place) -> None:
    """They are no tables of its own, and are deleted with it."""
    async with _led(place, FillingNodes()) as (leader, obedient):
        await leader.control.tables.declare(_declare(BY_STATE, BY_DAY))
        with pytest.raises(Refused, match=r"1 table\(s\)"):
            await leader.control.tenants.delete(DeleteTenant(name="acme"))
        gone = await leader.control.tenants.delete(DeleteTenant(name="acme", force=True))
        assert gone.is_done
        assert all(node.held == {} for node in obedient)
        listing = await place.coordinator.list("table/")
        assert listing.kvs == ()


async def test_one_index_comes_or_goes_at_a_time(place: Place) -> None:
    """A second one is refused while the first is filled; giving that one up is not."""
    nodes = FillingNodes(is_done=False)
    async with _led(place, nodes) as (leader, _):
        service = leader.control.tables
        await service.declare(_declare())
        first = _settings(BY_STATE)
        await service.set(_set(NO_SETTINGS, first))
        both = _settings(BY_STATE, BY_DAY)
        with pytest.raises(Refused) as caught:
            await service.set(_set(first, both))
        assert caught.value.kind is RefusalKind.CONFLICT
        tagged = replace(first, tags={"a": "b"})
        assert (await service.set(_set(first, tagged))).is_done
        nodes.is_done = True
        await _until_index(leader, ResourceStatus.ACTIVE)
        assert (await service.set(_set(tagged, both))).is_done
        await _until_index(leader, ResourceStatus.ACTIVE, "by-day")


async def test_indexes_of_before_are_made(place: Place) -> None:
    """A table that declares an index, from when none was made, is given it by whoever leads."""
    nodes = FillingNodes()
    async with _led(place, nodes) as (leader, _):
        await leader.control.tables.declare(_declare())
        async with leader.plane.store.transaction() as tx:
            [record] = (await tables.page(tx, "acme")).records
            declared = replace(definition_of(record), settings=_settings(BY_STATE))
            await tables.update(tx, replace(record, definition=encode_definition(declared)))
            await append(tx, [table_publication(declared, record.status)])
        leader.control.publisher.wake()
        index = await _until_index(leader, ResourceStatus.ACTIVE)
        assert index.definition.created_at_us > declared.created_at_us


async def test_no_client_finds_an_index(place: Place) -> None:
    """It is in no list and no count, and its name leads nowhere; its base table leads to it."""
    async with _led(place, FillingNodes()) as (leader, _):
        await leader.control.tables.declare(_declare(BY_STATE))
        directory = ViewDirectory(leader.watcher)
        tenant = directory.tenant("acme")
        assert list(tenant.table_names) == ["orders"]
        assert len(tenant.tables) == 1
        assert tenant.tables.get("orders:by-state") is None
        with pytest.raises(Refused):
            directory.table("acme", "orders:by-state")
        base = directory.table("acme", "orders")
        [known] = directory.indexes(base)
        assert (known.name, known.status) == ("by-state", ResourceStatus.ACTIVE)
        found = directory.index_table(base, "by-state")
        assert found.definition.name == "orders:by-state"
        with pytest.raises(Refused, match="no index"):
            directory.index_table(base, "by-day")
        status = await leader.control.survey.status()
        assert sum(status.tables.values()) == 1


async def test_an_index_that_lost_rows_is_told_of(place: Place) -> None:
    """Status has the command that makes it anew; what that makes has lost nothing."""
    async with _led(place, FillingNodes()) as (leader, _):
        await leader.control.tables.declare(_declare(BY_STATE))
        index = _index(leader)
        assert index is not None
        lost = index.ranges[0]
        path = keys.RangePath("acme", "orders:by-state", lost.low_hash)
        value = msgspec.structs.replace(lost.placement, state=RangeState.POSSIBLE_LOSS)
        await place.coordinator.put(path.path, encode(value))

        async def told() -> list[str]:
            problems = (await leader.control.survey.status()).problems
            return [each for each in problems if "rebuild-index" in each]

        command = "dstore table rebuild-index orders by-state --tenant acme"

        async def is_told() -> bool:
            return [each.endswith(command) for each in await told()] == [True]

        await _until(is_told)
        assert rebuilds_after_loss(index.definition) == (command,)
        await leader.control.rebuilds.rebuild("acme", "orders", "by-state", actor="tester")
        await _until_gone(leader, index)
        again = await _until_index(leader, ResourceStatus.ACTIVE)
        assert again.definition.table_id != index.definition.table_id
        assert await told() == []


async def test_an_operator_has_an_index_made_anew(place: Place) -> None:
    """An active one goes, and is made and filled once more by itself; its table is not touched."""
    nodes = FillingNodes()
    async with _led(place, nodes) as (leader, _):
        made = await leader.control.tables.declare(_declare(BY_STATE, BY_DAY))
        first, other = _index(leader), _index(leader, "by-day")
        assert first is not None
        assert other is not None
        rebuild = partial(leader.control.rebuilds.rebuild, "acme", actor="tester")
        for table, index in (("orders", "by-moon"), ("absent", "by-state")):
            with pytest.raises(Refused) as refused:
                await rebuild(table, index)
            assert refused.value.kind is RefusalKind.NOT_FOUND
        await rebuild("orders", "by-state")
        await rebuild("orders", "by-state")  # a repetition changes nothing
        await _until_gone(leader, first)
        again = await _until_index(leader, ResourceStatus.ACTIVE)
        assert again.definition.table_id != first.definition.table_id
        assert again.definition.index_of == first.definition.index_of
        base, still = leader.watcher.view.table("acme", "orders"), _index(leader, "by-day")
        assert base is not None
        assert base.definition == _defined(made)
        assert still is not None
        assert still.definition.table_id == other.definition.table_id


async def test_an_index_that_is_lost_is_made_anew(place: Place) -> None:
    """Where a log does not reach back any more the index is deleted, and built once more."""
    nodes = FillingNodes(is_done=False)
    async with _led(place, nodes) as (leader, _):
        await leader.control.tables.declare(_declare())
        await leader.control.tables.set(_set(NO_SETTINGS, _settings(BY_STATE)))
        index = await _until_index(leader, ResourceStatus.UPDATING)
        nodes.is_lost = True
        await eventually(lambda: (found := _index(leader)) is None or found is not index)
        nodes.is_lost, nodes.is_done = False, True
        another = await _until_index(leader, ResourceStatus.ACTIVE)
        assert another.definition.table_id != index.definition.table_id
