"""A proxy of a test's own, with control and real nodes, all in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dstore.api.v1.entries import plan_deferred
from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.metrics import Metrics, create_metrics
from dstore.base.tasks import Tasks
from dstore.model.ranges import RangeRef
from dstore.replication.peers.calls import Methods
from dstore.replication.peers.errors import unreachable
from dstore.replication.peers.port import Peer
from dstore.service.node import Node
from dstore.service.proxy.proxy import Near, Proxy, Surroundings
from dstore.service.range_server import RangeServer
from dstore.storage.control.opening import open_store
from dstore.storage.control.store import ControlStore
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.watcher import TopologyWatcher
from tests.support.control import ControlProcess, ObedientNode, control_process, eventually
from tests.support.peers import direct
from tests.unit.service.nodes import a_node


class KeepingNode(ObedientNode):
    """A node that does what control decides, and stores data."""

    def __init__(self, coordinator: Coordinator, number: int, *, node: Node) -> None:
        """Have `node` hold what control gives to node `number`."""
        super().__init__(coordinator, number)
        self.real = node

    async def _take(self, key: str, value: bytes | None) -> None:
        path = keys.parse(key)
        if isinstance(path, keys.NodeRangesPath):
            await self._settle(path, value)
        await super()._take(key, value)

    async def _settle(self, path: keys.NodeRangesPath, value: bytes | None) -> None:
        duties, held = self.real.duties, self.held.get((path.tenant, path.table))
        if value is None:
            for gone in () if held is None else held.ranges:
                await duties.drop_range(gone.range_id)
            return
        tenant: Any = await self._value(keys.TenantPath(path.tenant))
        table: Any = await self._value(keys.TablePath(path.tenant, path.table))
        former = self.real.holdings.tenants.get(path.tenant)
        if former is not None and former.uuid != tenant.uuid:
            await duties.drop_tenant(path.tenant, tenant_id=former.uuid)
        await duties.ensure_tenant(path.tenant, tenant_id=tenant.uuid)
        definition = table.definition(keys.TablePath(path.tenant, path.table))
        given: Any = values.decode(path, value)
        for one in given.ranges:
            ref = RangeRef(range_id=one.range_id, low=one.low_hash, high=one.high_hash)
            await duties.ensure_range(definition, ref)

    async def _value(self, path: Any) -> Any:
        found = await self._coordinator.get(path.path)
        assert found.kv is not None, path
        return values.decode(path, found.kv.value)


@dataclass
class Gate:
    """A peer that can be shut: then it cannot be reached; `failures` are raised first."""

    peer: Peer
    is_shut: bool = False
    calls: int = 0
    asked: list[Any] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    # Raised after the call was made: its answer is lost.
    losses: list[Exception] = field(default_factory=list)

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Any:
        """Call, if that is possible."""
        self.calls += 1
        self.asked.append(request)
        if self.is_shut:
            raise unreachable("is away")
        if self.failures:
            raise self.failures.pop(0)
        reply = await self.peer.call(request, deadline_s=deadline_s, request_id=request_id)
        if self.losses:
            raise self.losses.pop(0)
        return reply

    async def close(self) -> None:
        """End."""
        await self.peer.close()


@dataclass
class ProxyCluster:
    """Everything of it; `gates` are the nodes as the proxy sees them, by UUID."""

    proxy: Proxy
    coordinator: EmbeddedCoordinator
    watcher: TopologyWatcher
    control: ControlProcess
    nodes: tuple[KeepingNode, ...]
    gates: dict[str, Gate]
    control_gate: Gate
    tasks: Tasks
    metrics: Metrics


@asynccontextmanager
async def proxy_cluster(
    directory: Path, *, nodes: int = 2, near: bool = False, ranges_per_table: int | None = None
) -> AsyncIterator[ProxyCluster]:
    """Run a proxy over nodes that it calls as peers, or, if `near`, asks by reference."""
    clock, entropy = SystemClock(), SystemEntropy()
    failures: list[BaseException] = []
    async with AsyncExitStack() as stack:
        coordinator = await EmbeddedCoordinator.open(
            None, clock=clock, entropy=entropy, on_failure=failures.append
        )
        stack.push_async_callback(coordinator.close)
        (directory / "control").mkdir(parents=True)
        store = await stack.enter_async_context(_store(directory / "control", failures))
        control = await stack.enter_async_context(
            control_process(
                coordinator, store, directory / "process", ranges_per_table=ranges_per_table
            )
        )
        tasks = Tasks(failures.append)
        opened = [
            await stack.enter_async_context(a_node(directory / f"node{number}"))
            for number in range(nodes)
        ]
        stack.push_async_callback(tasks.close)
        keeping = tuple(
            KeepingNode(coordinator, number, node=node) for number, node in enumerate(opened, 1)
        )
        gates: dict[str, Gate] = {}
        for node in keeping:
            await node.admit(store)
            await node.show()
            tasks.spawn(node.obey(), name="keeping_node", critical=True)
            tasks.spawn(node.real.do_deferred(plan_deferred), name="deferred", critical=True)
            gates[node.node] = Gate(direct(Methods(answered_by(node.real))))
        metrics = create_metrics()
        watcher = TopologyWatcher(coordinator, clock=clock, metrics=metrics)
        tasks.spawn(watcher.run(), name="watcher", critical=True)
        control_gate = Gate(direct(Methods(control.control.answered)))
        proxy = Proxy(
            Surroundings(
                watcher=watcher,
                control=control_gate,
                dial=lambda node, _uri: gates[node],
                clock=clock,
                entropy=entropy,
                metrics=metrics,
                location="NA",
                near=_nearby(keeping, gates) if near else {},
            )
        )
        stack.push_async_callback(proxy.close)
        await eventually(lambda: control.leads and len(watcher.view.nodes) == nodes)
        yield ProxyCluster(
            proxy=proxy,
            coordinator=coordinator,
            watcher=watcher,
            control=control,
            nodes=keeping,
            gates=gates,
            control_gate=control_gate,
            tasks=tasks,
            metrics=metrics,
        )
    assert failures == []
    await asyncio.sleep(0)


@asynccontextmanager
async def _store(directory: Path, failures: list[BaseException]) -> AsyncIterator[ControlStore]:
    store = await open_store("sqlite:", directory=directory, on_fatal=failures.append)
    try:
        yield store
    finally:
        await store.close()


def _nearby(nodes: Sequence[KeepingNode], gates: dict[str, Gate]) -> dict[str, Near]:
    """Let a proxy ask nodes by reference."""
    return {node.node: Near(peer=gates[node.node], ranges=node.real.ranges) for node in nodes}


def answered_by(node: Node) -> Any:
    """List the calls that a node answers."""
    return RangeServer(
        node.holdings, node.ranges, items=node.items, deferred=node.deferred, disk=node.disk
    ).answered()
