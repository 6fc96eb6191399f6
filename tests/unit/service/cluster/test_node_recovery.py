"""A node whose coordinator was emptied and recovered says everything anew and keeps its data."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.security.identity import ComponentRole
from dstore.service.calls.key_calls import Verdict
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology import watcher as watcher_module
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.status import TopologyState
from tests.support.cluster_nodes import (
    ME,
    PLANE,
    TENANT,
    TENANT_ID,
    LivingNode,
    Placement,
    ScriptedControl,
    a_definition,
    living,
)

ORDERS = a_definition("orders")
OWN = (
    keys.DetailsPath(ComponentRole.NODE, ME),
    keys.AlivePath(ComponentRole.NODE, ME),
    keys.NodeBootPath(ME),
    keys.NodeTablePath(ME, TENANT, "orders"),
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "TOPOLOGY_RETRY_S", 0.02)


@pytest.fixture
async def coordinator() -> AsyncIterator[EmbeddedCoordinator]:
    failures: list[BaseException] = []
    opened = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    yield opened
    await opened.close()
    assert failures == []


async def once() -> int:
    """Say that the topology was recovered once."""
    await asyncio.sleep(0)
    return 1


async def write(node: LivingNode) -> None:
    items = node.node.items
    key = items.locate(TENANT, "orders", "a")
    await items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))


async def count(node: LivingNode) -> int:
    return (await node.node.items.list(TENANT, "orders", after=b"", limit=10)).count


async def emptied(coordinator: EmbeddedCoordinator, node: LivingNode) -> None:
    """Delete every key by hand, and wait until the node has noticed."""
    for kv in (await coordinator.list(keys.EVERYTHING)).kvs:
        await coordinator.delete(kv.key)
    await node.until(lambda: node.watcher.status().state is TopologyState.FROZEN)


async def recovered(coordinator: EmbeddedCoordinator, node: LivingNode) -> None:
    claim = values.Plane(control_plane=PLANE, recoveries=1, sequence=9)
    await coordinator.put(keys.PLANE.path, values.encode(claim))
    await node.until(lambda: node.watcher.status().state is TopologyState.LIVE)


async def test_all_of_it_is_said_anew_in_the_next_epoch(
    tmp_path: Path, coordinator: EmbeddedCoordinator
) -> None:
    """Details, life, start and tables stand there again; the range is the same, one epoch on."""
    placement = Placement(coordinator)
    await placement.add_tenant()
    await placement.add_table(ORDERS)
    data = tmp_path / "data"
    async with living(data, coordinator, ScriptedControl(), recoveries=once) as node:
        await node.settled()
        await write(node)
        before = {path.path: (await coordinator.get(path.path)).kv for path in OWN}
        assert None not in before.values()
        held = node.held()
        [ref] = node.node.holdings.table(TENANT, "orders").ranges.refs
        epoch = ref.epoch
        await emptied(coordinator, node)
        assert await count(node) == 1, "it serves meanwhile"
        await coordinator.put(
            keys.TenantPath(TENANT).path, values.encode(values.TenantValue(uuid=TENANT_ID))
        )
        await placement.add_table(ORDERS, epoch=epoch + 1)
        await recovered(coordinator, node)
        async with asyncio.timeout(10):
            while (await coordinator.get(OWN[2].path)).kv is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await node.settled()
        assert all(one.epoch > epoch for one in node.node.holdings.ranges.values())
        assert (node.held(), await count(node)) == (held, 1)
        async with asyncio.timeout(10):
            for path in OWN:
                while (await coordinator.get(path.path)).kv is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        boot = (await coordinator.get(OWN[2].path)).kv
        former = before[OWN[2].path]
        assert boot is not None
        assert former is not None
        assert boot.value == former.value, "the same start, on the same disk"
        await node.settled()


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.HELD, None])
async def test_what_the_recovery_lacks_is_kept(
    tmp_path: Path, coordinator: EmbeddedCoordinator, verdict: Verdict | None
) -> None:
    """A store that was old itself publishes no table that was made since; its data stays."""
    placement = Placement(coordinator)
    await placement.add_tenant()
    await placement.add_table(ORDERS)
    control = ScriptedControl()
    control.verdict = verdict
    async with living(tmp_path / "data", coordinator, control, recoveries=once) as node:
        await node.settled()
        await write(node)
        held = node.held()
        await emptied(coordinator, node)
        await recovered(coordinator, node)
        await node.until(lambda: node.watcher.view.table(TENANT, "orders") is None)
        asked = len(control.asked)
        await node.until(lambda: len(control.asked) > asked)
        await asyncio.sleep(0.1)
        assert node.held() == held
        assert await count(node) == 1
