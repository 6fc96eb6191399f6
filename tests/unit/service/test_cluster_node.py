"""A node of a cluster does what the topology says, and destroys nothing on a doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from random import Random

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.limits import TABLES_MEASURED_S
from dstore.model.errors import NotMine, Unavailable
from dstore.model.features import KNOWN_HERE
from dstore.replication.peers.calls import Methods
from dstore.security.identity import ComponentRole, Identity
from dstore.service.calls.range_calls import ReadEntry
from dstore.service.cluster import table_reports
from dstore.service.cluster_node import (
    WAITING_FOR_CONTROL,
)
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.last_known_good import LastKnownGood
from dstore.topology.status import TopologyState
from tests.support.cluster_nodes import (
    ME,
    OTHER,
    PLANE,
    TENANT,
    URI,
    LivingNode,
    Placement,
    ScriptedControl,
    a_definition,
    keys_of,
    living,
    uuid,
)
from tests.support.entropy import SeededEntropy
from tests.support.peers import direct

ORDERS = a_definition("orders")
HELD = keys.NodeRangesPath(ME, TENANT, "orders")
REPORTED = keys.NodeTablePath(ME, TENANT, "orders")
DETAILS = keys.DetailsPath(ComponentRole.NODE, ME)
BOOT = keys.NodeBootPath(ME)


@pytest.fixture
async def coordinator() -> AsyncIterator[EmbeddedCoordinator]:
    failures: list[BaseException] = []
    opened = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    yield opened
    await opened.close()
    assert failures == []


@pytest.fixture
def control() -> ScriptedControl:
    return ScriptedControl()


@pytest.fixture
async def placement(coordinator: EmbeddedCoordinator) -> Placement:
    made = Placement(coordinator)
    await made.add_tenant()
    return made


async def write(node: LivingNode, name: str, table: str = "orders") -> None:
    items = node.node.items
    key = items.locate(TENANT, table, name)
    await items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))


async def count(node: LivingNode, table: str = "orders") -> int:
    listing = await node.node.items.list(TENANT, table, after=b"", limit=100)
    return listing.count


async def reported(coordinator: EmbeddedCoordinator) -> values.NodeTableDetails | None:
    kv = (await coordinator.get(REPORTED.path)).kv
    return None if kv is None else values.decode(REPORTED, kv.value)


async def details(coordinator: EmbeddedCoordinator) -> values.Details | None:
    kv = (await coordinator.get(DETAILS.path)).kv
    return None if kv is None else values.decode(DETAILS, kv.value)


async def test_ranges_appear_and_disappear(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
) -> None:
    """A table that control places is served and reported okay, also after a restart, then goes."""
    data = tmp_path / "data"
    async with living(data, coordinator, control) as node:
        await node.settled()
        assert not node.held()
        said = await details(coordinator)
        assert said is not None
        assert (said.status, said.uri, said.zone) == (values.ComponentStatus.OKAY, URI, "z")
        assert said.features == KNOWN_HERE, "control lets nobody use what a node does not say"
        await placement.add_table(ORDERS, [ME, ME], epoch=3)
        await node.settled()
        assert [ref.epoch for ref in node.node.holdings.table(TENANT, "orders").ranges.refs] == [
            3,
            3,
        ]
        told = await reported(coordinator)
        assert told is not None
        assert told.status is values.HeldStatus.OKAY
        assert {each.range_id for each in told.ranges} == node.held()
        for name in "abcdefghij":
            await write(node, name)
    assert (await coordinator.get(keys.AlivePath(ComponentRole.NODE, ME).path)).kv is None
    said = await details(coordinator)
    assert said is not None
    assert said.status is values.ComponentStatus.DRAINING
    async with living(data, coordinator, control) as node:
        await node.settled()
        assert len(node.held()) == 2
        assert await count(node) == 10
        await placement.remove_table(ORDERS, 2)
        await node.until(lambda: not node.held())
        await node.settled()
        assert await reported(coordinator) is None
        await coordinator.delete(keys.TablePath(TENANT, "orders").path)
        await coordinator.delete(keys.TenantPath(TENANT).path)
        await node.until(lambda: not node.node.holdings.tenants)
    async with living(data, coordinator, control) as node:
        await node.settled()
        assert not node.held()


async def test_how_large_tables_are_is_told_every_few_seconds(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy's counts are what nodes said last, at the most a round of theirs ago."""
    assert TABLES_MEASURED_S <= 10
    monkeypatch.setattr(table_reports, "TABLES_MEASURED_S", 0.01)
    await placement.add_table(ORDERS, [ME, ME])
    async with living(tmp_path / "data", coordinator, control) as node:
        await node.settled()
        for name in "abc":
            await write(node, name)
        async with asyncio.timeout(10), aclosing(coordinator.watch(REPORTED.path)) as batches:
            async for _ in batches:
                told = await reported(coordinator)
                if told is not None and sum(each.entries for each in told.ranges) == 3:
                    assert all(each.stored_bytes > 0 for each in told.ranges)
                    if any(each.requests_per_s for each in told.ranges):
                        return
        pytest.fail("it was not told")


async def test_locked_until_control_is_there(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
) -> None:
    """A node that starts while control is away says so, serves nothing, and goes on by itself."""
    data = tmp_path / "data"
    await placement.add_table(ORDERS)
    async with living(data, coordinator, control) as node:
        await node.settled()
        await write(node, "a")
    control.is_away = True
    async with living(data, coordinator, control) as node:
        await node.until(lambda: bool(control.asked))
        said = None
        while said is None or said.status is not values.ComponentStatus.LOCKED:
            await asyncio.sleep(0.01)
            said = await details(coordinator)
        assert node.cluster.problem == WAITING_FOR_CONTROL
        assert node.cluster.node is None
        proxy = Identity(control_plane=PLANE, role=ComponentRole.PROXY, uuid=OTHER)
        peer = direct(Methods(node.cluster.answered()), here=proxy)
        asked = ReadEntry(uuid("9", 9), 1, b"abcdef")
        with pytest.raises(Unavailable, match="waiting for control"):
            await peer.call(asked, deadline_s=1.0)
        control.is_away = False
        await node.settled()
        assert node.cluster.problem == ""
        assert await count(node) == 1
        with pytest.raises(NotMine):
            await peer.call(asked, deadline_s=1.0)
        await peer.close()


async def test_shares_are_waited_for(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
) -> None:
    """I4: without control's share of the tenant no file is made, and the report says locked."""
    async with living(tmp_path / "data", coordinator, control) as node:
        await node.settled()
        control.is_away = True
        await placement.add_table(ORDERS)
        told = None
        while told is None:
            await asyncio.sleep(0.01)
            told = await reported(coordinator)
        assert told.status is values.HeldStatus.LOCKED
        assert not node.held()
        control.is_away = False
        await node.settled()
        [held] = node.node.holdings.ranges.values()
        assert held.drawn_under == held.enrolment == PLANE
        assert node.cluster.pending_rewrites == 0


async def test_a_node_serves_on_while_control_is_away(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
) -> None:
    """I10: what is running goes on."""
    await placement.add_table(ORDERS)
    async with living(tmp_path / "data", coordinator, control) as node:
        await node.settled()
        control.is_away = True
        await write(node, "a")
        assert await count(node) == 1


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_value_that_does_not_parse_drops_nothing(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
    is_running: bool,
) -> None:
    """A malformed key is no evidence, neither while the node runs nor when it starts."""
    data = tmp_path / "data"
    await placement.add_table(ORDERS)
    good = (await coordinator.get(HELD.path)).kv
    assert good is not None
    async with living(data, coordinator, control) as node:
        await node.settled()
        await write(node, "a")
        if is_running:
            await coordinator.put(HELD.path, b'{"lowHash": "nonsense"}')
            await asyncio.sleep(0.3)
            assert await count(node) == 1
    await coordinator.put(HELD.path, b'{"lowHash": "nonsense"}')
    async with living(data, coordinator, control) as node:
        await node.until(lambda: node.cluster.problem == "")
        await asyncio.sleep(0.5)
        assert len(node.held()) == 1
        await coordinator.put(HELD.path, good.value)
        await node.settled()
        assert await count(node) == 1


@pytest.mark.parametrize("missing", ["held", "held and one placement", "placement of another"])
async def test_a_gap_drops_nothing(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
    missing: str,
) -> None:
    """As long as the table lives and its ranges do not say where this one is, it is kept."""
    await placement.add_table(ORDERS, [ME, OTHER])
    async with living(tmp_path / "data", coordinator, control) as node:
        await node.settled()
        [mine] = node.held()
        low, high = (path for path, _ in keys_of(ORDERS, [ME, OTHER]) if "tenant/" in path.path)
        if missing == "held and one placement":
            await coordinator.delete(low.path)
        if missing == "placement of another":
            await coordinator.delete(high.path)
        await coordinator.delete(HELD.path)
        await asyncio.sleep(0.5)
        assert node.held() == {mine}
        # Now it says that both are elsewhere.
        ids = [mine, uuid("1", 7)]
        for path, value in keys_of(ORDERS, [OTHER, OTHER], range_ids=ids):
            await placement.put(path, value)
        await node.until(lambda: not node.held())


async def test_a_frozen_view_drops_nothing(tmp_path: Path, control: ScriptedControl) -> None:
    """An etcd that went back in time, or another one, makes no node throw anything away."""
    data = tmp_path / "data"

    def copy() -> LastKnownGood:
        return LastKnownGood(
            tmp_path / "copy", key=bytes(range(32)), owner="n", entropy=SeededEntropy(Random(1))
        )

    async def opened(seed: int) -> EmbeddedCoordinator:
        return await EmbeddedCoordinator.open(
            None,
            clock=SystemClock(),
            entropy=SeededEntropy(Random(seed)),
            on_failure=lambda _error: None,
        )

    first = await opened(1)
    placement = Placement(first)
    await placement.add_tenant()
    await placement.add_table(ORDERS)
    async with living(data, first, control, copy=copy()) as node:
        await node.settled()
        await write(node, "a")
        await node.until((tmp_path / "copy").exists)
        held = node.held()
    await first.close()
    for seed in (1, 2):  # the same cluster at an earlier revision, then another one
        younger = await opened(seed)
        async with living(data, younger, control, copy=copy()) as node:
            await node.until(lambda: node.watcher.status().state is TopologyState.FROZEN)
            await node.until(lambda: node.cluster.problem == "")
            await asyncio.sleep(0.5)
            with pytest.raises(NotMine):  # nobody can say in which epoch it might be opened
                await count(node)
            [range_id] = held
            assert node.held() == held
            assert (await node.node.holdings.open_held(range_id)).quantity == 1
        await younger.close()


async def test_an_empty_coordinator_drops_nothing(tmp_path: Path, control: ScriptedControl) -> None:
    """One that was made anew lacks every table, and is nobody's; no copy of the view is there."""

    async def opened() -> EmbeddedCoordinator:
        return await EmbeddedCoordinator.open(
            None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=lambda _error: None
        )

    first = await opened()
    placement = Placement(first)
    await placement.add_tenant()
    await placement.add_table(ORDERS)
    async with living(tmp_path / "data", first, control) as node:
        await node.settled()
        await write(node, "a")
    await first.close()
    second = await opened()
    for owner in (None, uuid("c", 9)):
        if owner is not None:
            await second.put(keys.PLANE.path, values.encode(values.Plane(control_plane=owner)))
        async with living(tmp_path / "data", second, control) as node:
            await node.until(lambda: node.cluster.problem == "")
            await asyncio.sleep(0.5)
            assert len(node.held()) == 1
    await second.close()


async def test_a_table_made_again_takes_the_place_of_the_former(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
) -> None:
    """Another table of the same name, of another tenant of the same name, begins empty."""
    await placement.add_table(ORDERS)
    async with living(tmp_path / "data", coordinator, control) as node:
        await node.settled()
        await write(node, "a")
        other_id = uuid("7e", 2)
        control.tenants[TENANT] = other_id
        await placement.add_tenant(tenant_id=other_id)
        again = a_definition("orders", 2)
        await placement.add_table(again)
        await node.settled()
        assert node.node.holdings.table(TENANT, "orders").definition == again
        assert node.node.holdings.tenant(TENANT).uuid == other_id
        assert await count(node) == 0


async def test_settings_and_epochs_follow(
    tmp_path: Path,
    coordinator: EmbeddedCoordinator,
    control: ScriptedControl,
    placement: Placement,
) -> None:
    """A higher epoch is taken over, a lower one is not."""
    await placement.add_table(ORDERS, epoch=2)
    async with living(tmp_path / "data", coordinator, control) as node:
        await node.settled()
        for epoch, expected in ((5, 5), (4, 5)):
            await placement.add_table(ORDERS, epoch=epoch)
            await node.settled()
            [ref] = node.node.holdings.table(TENANT, "orders").ranges.refs
            assert ref.epoch == expected
