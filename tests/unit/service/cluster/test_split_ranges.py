"""A node's range is split while it is written to: seeds become ranges, the parent's file goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import DStoreError, NotMine, Unavailable
from dstore.model.hashing import HASH_MAX
from dstore.replication.peers.port import Received
from dstore.replication.placements import Placed
from dstore.replication.split_calls import CUT_RANGE, CutRange, Split
from dstore.security.identity import ComponentRole, Identity
from dstore.service.calls.recollection_calls import ASK_REMEMBERED, AskRemembered, Remembered, Shown
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Delete, Put, Revision
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.cluster_nodes import (
    ME,
    OTHER,
    PLANE,
    TENANT,
    LivingNode,
    Placement,
    ScriptedControl,
    a_definition,
    living,
    uuid,
)

ORDERS = a_definition("orders")
AT_HASH = 1 << 31
LOW_ID, HIGH_ID = uuid("5eed", 1), uuid("5eed", 2)
NAMES = [f"n{number}" for number in range(60)]


@pytest.fixture
async def placement() -> AsyncIterator[Placement]:
    failures: list[BaseException] = []
    opened = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    made = Placement(opened)
    await made.add_tenant()
    await made.add_table(ORDERS)
    yield made
    await opened.close()
    assert failures == []


async def _write(node: LivingNode, name: str) -> None:
    """Write as a client does whose proxy looks again for what has moved."""
    items = node.node.items
    while True:
        key = items.locate(TENANT, "orders", name)
        try:
            await items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))
        except (NotMine, Unavailable):
            await asyncio.sleep(0.01)
            continue
        return


async def _missing(node: LivingNode) -> list[str]:
    items = node.node.items
    return [
        name for name in NAMES if await items.read(items.locate(TENANT, "orders", name)) is None
    ]


async def _cut(node: LivingNode, placement: Placement) -> None:
    """Ask as control does, until the children stand there."""
    listing = await placement.coordinator.list(keys.ranges_prefix(TENANT, "orders"))
    path = keys.parse(listing.kvs[0].key)
    assert isinstance(path, keys.RangePath)
    value = values.decode(path, listing.kvs[0].value)
    ask = CutRange(
        range_id=value.range_id,
        epoch=value.epoch,
        incarnation=value.replicas[0].incarnation,
        split=Split(low_id=LOW_ID, high_id=HIGH_ID, at_hash=AT_HASH),
    )
    replicas = node.cluster._replicas
    assert replicas is not None
    [handler] = [each.handler for each in replicas.answered() if each.call is CUT_RANGE]
    control = Identity(control_plane=PLANE, role=ComponentRole.CONTROL, uuid=PLANE)
    received = Received(caller=control, deadline_ns=0, request_id="")
    async with asyncio.timeout(20):
        while len(listing.kvs) == 1:
            try:
                await handler(ask, received)
            except DStoreError:
                await asyncio.sleep(0.02)
            listing = await placement.coordinator.list(keys.ranges_prefix(TENANT, "orders"))


async def _name_children(placement: Placement) -> None:
    """Name the children to the node, as control does when it has seen them."""
    held = (
        values.HeldRange(low_hash=0, high_hash=AT_HASH - 1, range_id=LOW_ID),
        values.HeldRange(low_hash=AT_HASH, high_hash=HASH_MAX, range_id=HIGH_ID),
    )
    await placement.put(
        keys.NodeRangesPath(ME, TENANT, "orders"),
        values.NodeRanges(low_hash=0, high_hash=AT_HASH - 1, table_id=ORDERS.table_id, ranges=held),
    )


async def test_a_range_is_split_under_load(tmp_path: Path, placement: Placement) -> None:
    """Nothing is lost, and what is left in the end are the children, after a restart too."""
    data = tmp_path / "data"
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        [parent] = node.held()
        for name in NAMES[:30]:
            await _write(node, name)
        async with asyncio.TaskGroup() as group:
            group.create_task(_cut(node, placement))
            for name in NAMES[30:]:
                await _write(node, name)
                await asyncio.sleep(0.005)
        await node.until(lambda: node.cluster.is_settled)
        assert await _missing(node) == []
        table = node.node.holdings.table(TENANT, "orders")
        assert [ref.range_id for ref in table.ranges.refs] == [LOW_ID, HIGH_ID]
        assert parent in node.held()
        with pytest.raises(DStoreError):
            await _write_as_to(node, parent)
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        assert await _missing(node) == []
        await _name_children(placement)
        await node.until(lambda: node.held() == {LOW_ID, HIGH_ID})
        assert await _missing(node) == []
        assert not list(data.glob(f"ranges/*/{parent}*"))
        assert node.node.holdings.counts.sum() == len(NAMES)


async def _write_as_to(node: LivingNode, parent: str) -> None:
    """Ask the parent, as a proxy does that has not heard of its children."""
    items = node.node.items
    located = items.locate(TENANT, "orders", "late")
    table = node.node.holdings.table(TENANT, "orders")
    ref = table.ranges.refs[0]

    await node.node.ranges.read(replace(ref, range_id=parent), located.rid_id)


async def test_seeds_of_a_dead_attempt_go(tmp_path: Path, placement: Placement) -> None:
    """The parent goes on in a later epoch: nothing will become of them."""
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        [parent] = node.held()
        ref = node.node.holdings.ranges[parent].ref

        seeds = [
            replace(ref, range_id=LOW_ID, high=AT_HASH - 1),
            replace(ref, range_id=HIGH_ID, low=AT_HASH),
        ]
        held = node.node.holdings
        await held.turn(TENANT, held.seeds.plant(parent, seeds, epoch=1))
        assert node.held() == {parent, LOW_ID, HIGH_ID}
        await _write(node, "a")
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()  # and so in a later epoch
        await _write(node, "b")
        await node.until(lambda: node.held() == {parent})


async def _plant(node: LivingNode) -> str:
    """Let the range have seeds, by an attempt in its first epoch. Returns: its id."""
    [parent] = node.held()
    held = node.node.holdings
    ref = held.ranges[parent].ref
    seeds = [
        replace(ref, range_id=LOW_ID, high=AT_HASH - 1),
        replace(ref, range_id=HIGH_ID, low=AT_HASH),
    ]
    await held.turn(TENANT, held.seeds.plant(parent, seeds, epoch=1))
    return parent


async def test_seeds_stay_while_nobody_knows_whether_there_are_children(
    tmp_path: Path, placement: Placement
) -> None:
    """A recovery that has not heard everybody shows the parent, which may be split all the same."""
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        parent = await _plant(node)
        path, value = await _shown(placement)
        [replica] = value.replicas
        unknown = msgspec.structs.replace(replica, incarnation=values.UNSETTLED)
        epoch = value.epoch + 5
        unsettled = msgspec.structs.replace(value, epoch=epoch, replicas=(unknown,))
        await placement.put(path, unsettled)
        await _seen(node, placement)
        assert node.held() == {parent, LOW_ID, HIGH_ID}
        await placement.put(path, msgspec.structs.replace(value, epoch=epoch + 1))
        await node.until(lambda: node.held() == {parent})


async def _shown(placement: Placement) -> tuple[keys.RangePath, values.RangePlacement]:
    [kv] = (await placement.coordinator.list(keys.ranges_prefix(TENANT, "orders"))).kvs
    path = keys.parse(kv.key)
    assert isinstance(path, keys.RangePath)
    return path, values.decode(path, kv.value)


async def _seen(node: LivingNode, placement: Placement) -> None:
    """Wait until the node has looked at all that is shown."""
    revision = (await placement.coordinator.get("nothing")).revision
    async with asyncio.timeout(10.0):
        await node.watcher.reached(revision)
    replicas = node.cluster._replicas
    assert replicas is not None
    await replicas.settle_seeds(TENANT, "orders")


async def test_seeds_go_with_their_table(tmp_path: Path, placement: Placement) -> None:
    """Nothing of it is left on the disk."""
    data = tmp_path / "data"
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        await _plant(node)
        await placement.remove_table(ORDERS)
        await node.until(lambda: node.held() == set())
        await node.until(lambda: not list(data.glob("ranges/*/*.db")))


async def test_control_hears_that_a_range_was_split(tmp_path: Path, placement: Placement) -> None:
    """Should the coordinator be lost before control has seen the children; also after a restart."""
    data = tmp_path / "data"
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        parent = await _plant(node)
        assert [each.cut for each in await _remembered(node, parent, LOW_ID)] == [None, None]
        assert (await _remembered(node, LOW_ID))[0].promised_epoch == 0, "no seed is ripe"
        await _cut(node, placement)
        await node.until(lambda: parent in node.held() and node.cluster.is_settled)
        split = Split(low_id=LOW_ID, high_id=HIGH_ID, at_hash=AT_HASH)
        await node.until(lambda: node.node.holdings.seeds.is_cut(parent))
        assert (await _remembered(node, parent))[0].cut == split
    async with living(data, placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        told = await _remembered(node, parent, LOW_ID, HIGH_ID)
        assert [each.cut for each in told] == [split, None, None]
        assert min(each.promised_epoch for each in told[1:]) > 1


async def _remembered(node: LivingNode, *range_ids: str) -> list[Remembered]:
    replicas = node.cluster._replicas
    assert replicas is not None
    [handler] = [each.handler for each in replicas.answered() if each.call is ASK_REMEMBERED]
    control = Identity(control_plane=PLANE, role=ComponentRole.CONTROL, uuid=PLANE)
    received = Received(caller=control, deadline_ns=0, request_id="")
    view = node.watcher.view
    shown = Shown(view.cluster_id, 1, view.revision)
    answer = await handler(AskRemembered(range_ids=range_ids, shown=shown), received)
    told = [each for each in answer.told if each is not None]
    assert len(told) == len(range_ids)
    return told


async def test_who_has_said_that_nothing_is_split_holds_to_it(
    tmp_path: Path, placement: Placement
) -> None:
    """It begins with no child that was shown before it was asked."""
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        parent = await _plant(node)
        replicas = node.cluster._replicas
        assert replicas is not None
        assert (await _remembered(node, parent))[0].cut is None
        told = replicas._seeds._told
        told[parent] = msgspec.structs.replace(told[parent], revision=1 << 40)
        await _cut(node, placement)
        await _seen(node, placement)
        assert not node.node.holdings.seeds.is_cut(parent)
        assert node.held() == {parent, LOW_ID, HIGH_ID}
        told[parent] = msgspec.structs.replace(told[parent], revision=0)
        await replicas.settle_seeds(TENANT, "orders")
        assert node.node.holdings.seeds.is_cut(parent)


async def test_control_is_told_of_a_child_that_is_just_begun(
    tmp_path: Path, placement: Placement
) -> None:
    """The answer waits for what is on its way to the disk."""
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        parent = await _plant(node)
        seeds = node.node.holdings.seeds
        begins, may_begin = asyncio.Event(), asyncio.Event()
        begin = seeds.begin

        async def late(child_id: str) -> None:
            begins.set()
            await may_begin.wait()
            await begin(child_id)

        seeds.begin = late  # type: ignore[method-assign]
        async with asyncio.TaskGroup() as group:
            group.create_task(_cut(node, placement))
            await begins.wait()
            asked = group.create_task(_remembered(node, parent))
            await asyncio.sleep(0.05)
            assert not asked.done(), "it is behind the child that is begun with"
            may_begin.set()
            [told] = await asked
            assert told.cut is not None


async def test_seeds_do_not_fill_the_disk(tmp_path: Path, placement: Placement) -> None:
    """There is no room for both: what was begun goes, and the range stays as it is."""
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        parent = await _plant(node)
        node.node.disk.free_bytes = -1
        path, value = await _shown(placement)
        replicas = node.cluster._replicas
        assert replicas is not None
        with pytest.raises(Unavailable, match="nearly full"):
            await replicas._seeds.plant(
                Placed(path=path, value=value, revision=Revision(1)),
                Split(low_id=LOW_ID, high_id=HIGH_ID, at_hash=AT_HASH),
            )
        assert node.held() == {parent}


async def test_a_range_stays_while_nobody_knows_who_has_its_children(
    tmp_path: Path, placement: Placement
) -> None:
    """They may be meant to be here; once it is known that they are not, all of it goes."""
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        parent = await _plant(node)
        _, value = await _shown(placement)
        for incarnation in (values.UNSETTLED, uuid("d15c", 1)):
            [replica] = value.replicas
            elsewhere = msgspec.structs.replace(replica, node=OTHER, incarnation=incarnation)
            common = msgspec.structs.replace(
                value, epoch=value.epoch + 9, node=OTHER, replicas=(elsewhere,)
            )
            children = (
                (0, msgspec.structs.replace(common, range_id=LOW_ID, high_hash=AT_HASH - 1)),
                (AT_HASH, msgspec.structs.replace(common, range_id=HIGH_ID)),
            )
            await placement.commit(
                Delete(key=keys.NodeRangesPath(ME, TENANT, "orders").path),
                *(
                    Put(
                        key=keys.RangePath(TENANT, "orders", low_hash).path,
                        value=values.encode(child),
                    )
                    for low_hash, child in children
                ),
            )
            if incarnation == values.UNSETTLED:
                await _seen(node, placement)
                await asyncio.sleep(0.3)
                assert node.held() == {parent, LOW_ID, HIGH_ID}
        await node.until(lambda: node.held() == set())
