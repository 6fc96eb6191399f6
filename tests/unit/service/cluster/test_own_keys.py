"""What a node says of itself stays what it said last, whatever is done late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.security.identity import ComponentRole
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.values import ComponentStatus, HeldStatus, NodeTableDetails
from tests.support.cluster_nodes import (
    ME,
    TENANT,
    LivingNode,
    Placement,
    ScriptedControl,
    a_definition,
    living,
)

ORDERS = a_definition("orders")
TOLD = keys.NodeTablePath(ME, TENANT, "orders")


@pytest.fixture
async def placement() -> AsyncIterator[Placement]:
    opened = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=lambda _error: None
    )
    made = Placement(opened)
    await made.add_tenant()
    await made.add_table(ORDERS)
    yield made
    await opened.close()


async def _until(
    node: LivingNode, placement: Placement, value: bytes | None, *, path: keys.Path = TOLD
) -> None:
    """Wait until a key of the node's own holds something."""
    revision = (await placement.coordinator.get(path.path)).revision
    await node.watcher.reached(revision)
    await node.until(lambda: node.cluster.is_settled)
    kv = (await placement.coordinator.get(path.path)).kv
    assert (None if kv is None else kv.value) == value


async def test_a_former_write_of_its_own_that_is_done_late(
    tmp_path: Path, placement: Placement
) -> None:
    """Control would wait for ever for a node that does long since what it is to do (B6)."""
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        kv = (await placement.coordinator.get(TOLD.path)).kv
        assert kv is not None
        now = values.decode(TOLD, kv.value)
        assert now.status is HeldStatus.OKAY
        late = NodeTableDetails(status=HeldStatus.OPENING, ranges=now.ranges)
        await placement.put(TOLD, late)
        await _until(node, placement, kv.value)
        await placement.remove_table(ORDERS)
        await node.until(lambda: not node.held())
        await _until(node, placement, None)
        await placement.put(TOLD, late)
        await _until(node, placement, None)


async def test_the_end_of_a_former_process_that_is_said_late(
    tmp_path: Path, placement: Placement
) -> None:
    """It was about to stop, and this one is not: else nobody would hand a range over to it."""
    path = keys.DetailsPath(ComponentRole.NODE, ME)
    async with living(tmp_path / "data", placement.coordinator, ScriptedControl()) as node:
        await node.settled()
        kv = (await placement.coordinator.get(path.path)).kv
        assert kv is not None
        now = values.decode(path, kv.value)
        assert now.status is ComponentStatus.OKAY
        await placement.put(path, replace(now, status=ComponentStatus.DRAINING))
        await _until(node, placement, kv.value, path=path)
