"""A node of a cluster over a real etcd that comes and goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from dstore.topology import keyspace as keys
from dstore.topology import values
from tests.support.cluster_nodes import (
    ME,
    TENANT,
    LivingNode,
    Placement,
    ScriptedControl,
    a_definition,
    living,
)
from tests.support.etcd import EtcdServer, coordinator_of, running

ORDERS = a_definition("orders")


async def write(node: LivingNode, name: str) -> None:
    key = node.node.items.locate(TENANT, "orders", name)
    await node.node.items.write(key, create({}, key=key, preconditions=NO_PRECONDITIONS))


async def count(node: LivingNode) -> int:
    return (await node.node.items.list(TENANT, "orders", after=b"", limit=100)).count


async def test_a_node_serves_on_while_etcd_is_away(tmp_path: Path) -> None:
    """I10: ranges appear, are served while etcd is down, and go when it is back and says so."""
    control = ScriptedControl()
    with running(EtcdServer(directory=tmp_path / "etcd")) as server:
        coordinator = coordinator_of(server)
        placement = Placement(coordinator)
        await placement.add_tenant()
        await placement.add_table(ORDERS)
        async with living(tmp_path / "data", coordinator, control) as node:
            await node.settled()
            await write(node, "a")
            await asyncio.to_thread(server.stop)
            await write(node, "b")
            assert await count(node) == 2
            await asyncio.to_thread(server.start)
            await node.settled()
            assert await count(node) == 2
            await placement.remove_table(ORDERS)
            await node.until(lambda: not node.held(), within_s=20.0)
            await node.settled()
            told = await coordinator.get(keys.NodeTablePath(ME, TENANT, "orders").path)
            assert told.kv is None
            boot = keys.NodeBootPath(ME)
            counted = (await coordinator.get(boot.path)).kv
            assert counted is not None
            assert values.decode(boot, counted.value).number == 1
        await coordinator.close()
