"""A node of a cluster in this process, with a control that a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.model.hashing import HASH_MAX
from dstore.model.status import ResourceStatus
from dstore.model.tables import Door, IdType, TableDefinition, TableId, v1_key
from dstore.replication.peers.errors import Unreachable
from dstore.replication.peers.port import Peer
from dstore.security.identity import ComponentRole, Identity
from dstore.security.keys import ControlShare
from dstore.service.calls.key_calls import (
    AskComponentKey,
    AskOfRange,
    AskOfTenant,
    AskTenantShares,
    ComponentKey,
    Judged,
    TenantShare,
    TenantShares,
    Verdict,
)
from dstore.service.cluster.node_details import NodePlace
from dstore.service.cluster_node import ClusterNode
from dstore.service.node import Node, NodeOptions, open_node
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator, Delete, Operation, Put, Transaction
from dstore.topology.last_known_good import LastKnownGood
from dstore.topology.scopes import routing_and
from dstore.topology.watcher import Recoveries, TopologyWatcher

PLANE: Final = "c0000000-0000-4000-8000-000000000001"
ME: Final = keys.ComponentId("a0000000-0000-4000-8000-000000000001")
OTHER: Final = keys.ComponentId("a0000000-0000-4000-8000-000000000002")
TENANT: Final = "acme"
TENANT_ID: Final = "7e000000-0000-4000-8000-000000000001"
URI: Final = "https://127.0.0.1:8001"


def uuid(kind: str, number: int) -> str:
    return f"{kind:0<8}-0000-4000-8000-{number:012d}"


class ScriptedControl:
    """A `Peer` that gives shares, and says of all that is asked for that it is gone; or is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.verdict: Verdict | None = Verdict.GONE  # None: of that alone nothing is answered
        self.tenants = {TENANT: TENANT_ID}
        self.asked: list[Any] = []

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Any:
        del deadline_s, request_id
        self.asked.append(request)
        await asyncio.sleep(0)
        if self.is_away:
            raise Unreachable("Control is away.")
        match request:
            case AskComponentKey():
                return ComponentKey(b"k" * 32)
            case AskOfRange() | AskOfTenant():
                if self.verdict is None:
                    raise Unreachable("Control is away.")
                return Judged(self.verdict)
            case AskTenantShares(tenants):
                return TenantShares(
                    tuple(
                        TenantShare(name, self.tenants[name], self.tenants[name][-16:].encode() * 2)
                        for name in tenants
                        if name in self.tenants
                    )
                )
            case _:
                raise AssertionError(request)

    async def close(self) -> None:
        return None


def a_definition(name: str, number: int = 1, tenant: str = TENANT) -> TableDefinition:
    return TableDefinition(
        tenant=tenant,
        name=name,
        table_id=TableId(uuid("7ab1e", number)),
        partition=v1_key(IdType.STRING),
        door=Door.V1,
        created_at_us=1,
    )


class Placement:
    """Writes what control would: a table of equal ranges on nodes."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator

    async def commit(self, *operations: Operation) -> None:
        done = await self.coordinator.commit(Transaction(compares=(), then=operations))
        assert done.succeeded

    async def put(self, path: keys.Path, value: values.Value) -> None:
        await self.coordinator.put(path.path, values.encode(value))

    async def add_tenant(self, name: str = TENANT, tenant_id: str = TENANT_ID) -> None:
        await self.put(keys.PLANE, values.Plane(control_plane=PLANE))
        await self.put(keys.TenantPath(name), values.TenantValue(uuid=tenant_id))

    async def add_table(
        self,
        definition: TableDefinition,
        nodes: Sequence[keys.ComponentId] = (ME,),
        *,
        range_ids: Sequence[str] | None = None,
        epoch: int = 1,
    ) -> None:
        """Put a table with one range for each of `nodes`, by hash."""
        disks = {node: await self.incarnation(node) for node in nodes}
        made = keys_of(definition, nodes, range_ids=range_ids, epoch=epoch, disks=disks)
        await self.commit(*(Put(key=path.path, value=values.encode(value)) for path, value in made))

    async def name_disks(self) -> None:
        """Write which disks nodes have into ranges that were placed when nobody knew."""
        for kv in (await self.coordinator.list(keys.TENANTS)).kvs:
            path = keys.parse(kv.key)
            is_unknown = values.NO_INCARNATION.encode() in kv.value
            if not isinstance(path, keys.RangePath) or not is_unknown:
                continue
            value = values.decode(path, kv.value)
            replicas = [
                replace(each, incarnation=await self.incarnation(keys.ComponentId(each.node)))
                for each in value.replicas
            ]
            await self.put(path, replace(value, replicas=tuple(replicas)))

    async def incarnation(self, node: keys.ComponentId) -> str:
        """Read which disk a node has now; one that never started has none that is known."""
        path = keys.NodeBootPath(node)
        kv = (await self.coordinator.get(path.path)).kv
        return values.NO_INCARNATION if kv is None else values.decode(path, kv.value).incarnation

    async def remove_table(self, definition: TableDefinition, ranges: int = 1) -> None:
        """Take a table away as control does: from the nodes first, then its keys."""
        tenant, name = definition.tenant, definition.name
        await self.commit(
            Put(
                key=keys.TablePath(tenant, name).path,
                value=values.encode(values.TableValue.of(definition, ResourceStatus.DELETING)),
            ),
            Delete(key=keys.NodeRangesPath(ME, tenant, name).path),
            *(Delete(key=keys.RangePath(tenant, name, low).path) for low, _ in bounds(ranges)),
        )


def bounds(count: int) -> list[tuple[int, int]]:
    step = (HASH_MAX + 1) // count
    return [
        (place * step, HASH_MAX if place == count - 1 else (place + 1) * step - 1)
        for place in range(count)
    ]


def keys_of(
    definition: TableDefinition,
    nodes: Sequence[keys.ComponentId] = (ME,),
    *,
    range_ids: Sequence[str] | None = None,
    epoch: int = 1,
    disks: Mapping[keys.ComponentId, str] | None = None,
) -> list[tuple[keys.Path, values.Value]]:
    """Make a table's keys: its own, its ranges', and those of the nodes that hold them.

    `disks` are the incarnations of the nodes' disks.
    """
    tenant, name = definition.tenant, definition.name
    table_id = definition.table_id
    ids = range_ids or [f"{place:08d}{table_id[8:]}" for place in range(len(nodes))]
    found: list[tuple[keys.Path, values.Value]] = [
        (keys.TablePath(tenant, name), values.TableValue.of(definition, ResourceStatus.ACTIVE))
    ]
    held: dict[keys.ComponentId, list[values.HeldRange]] = {}
    for (low, high), node, range_id in zip(bounds(len(nodes)), nodes, ids, strict=True):
        uri = f"https://{node}:8001"
        replica = values.Replica(
            node=node,
            incarnation=(disks or {}).get(node, values.NO_INCARNATION),
            uri=uri,
            state=values.ReplicaState.IN_SYNC,
        )
        placement = values.RangePlacement(
            node=node,
            high_hash=high,
            uri=uri,
            table_id=table_id,
            range_id=range_id,
            epoch=epoch,
            replicas=(replica,),
        )
        found.append((keys.RangePath(tenant, name, low), placement))
        held.setdefault(node, []).append(
            values.HeldRange(low_hash=low, high_hash=high, range_id=range_id)
        )
    for node, ranges in held.items():
        value = values.NodeRanges(
            low_hash=ranges[0].low_hash,
            high_hash=ranges[0].high_hash,
            table_id=table_id,
            ranges=tuple(ranges),
        )
        found.append((keys.NodeRangesPath(node, tenant, name), value))
    return found


class LivingNode:
    """A node that lives: its parts, and what became of it."""

    def __init__(
        self,
        data: Path,
        coordinator: Coordinator,
        control: ScriptedControl,
        *,
        copy: LastKnownGood | None = None,
        recoveries: Recoveries | None = None,
    ) -> None:
        data.mkdir(exist_ok=True)
        self.data = data
        self.coordinator = coordinator
        self.clock = SystemClock()
        self.entropy = SystemEntropy()
        self.watcher = TopologyWatcher(
            coordinator,
            clock=self.clock,
            metrics=create_metrics(),
            scope=routing_and(ME),
            copy=copy,
            recoveries=recoveries,
        )
        self.failures: list[BaseException] = []
        self.cluster = ClusterNode(
            NodePlace(
                identity=Identity(control_plane=PLANE, role=ComponentRole.NODE, uuid=ME),
                zone="z",
                version="1",
                started_at_us=5,
            ),
            coordinator=coordinator,
            watcher=self.watcher,
            control=control,
            opening=self._open,
            jobs=_no_jobs,
            peer_of=_nobody,
            clock=self.clock,
            entropy=self.entropy,
        )
        self.cluster.announce(URI)
        self.tasks = Tasks(self.failures.append)

    async def _open(self, share: ControlShare) -> Node:
        return await open_node(
            NodeOptions(
                directory=self.data,
                location="NA",
                page_cache_bytes=8 << 20,
                entry_cache_bytes=1 << 20,
                open_files_max=8,
                free_disk_bytes_min=0,
                wal_pages_checkpoint=8_000,
            ),
            clock=self.clock,
            entropy=self.entropy,
            on_fatal=self.failures.append,
            shares=[share],
        )

    @property
    def node(self) -> Node:
        assert self.cluster.node is not None
        return self.cluster.node

    def begin(self) -> None:
        for work in (self.watcher.run(), self.watcher.keep_copy(), self.cluster.run()):
            self.tasks.spawn(work, name="living", critical=True)

    async def end(self) -> None:
        await self.tasks.close()
        await self.cluster.close()

    async def until(self, holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
        """Wait until something is so; the node must not have failed."""
        async with asyncio.timeout(within_s):
            while not holds():
                assert not self.failures, self.failures
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Wait until the node has done all that stands in the coordinator by now.

        As control does, let ranges that were placed on it before its start know its disk.
        """
        await self.until(lambda: self.cluster.is_serving)
        await Placement(self.coordinator).name_disks()
        revision = (await self.coordinator.get("nothing")).revision
        async with asyncio.timeout(10.0):
            await self.watcher.reached(revision)
        await self.until(lambda: self.cluster.is_settled)

    def held(self) -> set[str]:
        return set(self.node.holdings.ranges)


@asynccontextmanager
async def living(
    data: Path,
    coordinator: Coordinator,
    control: ScriptedControl,
    *,
    copy: LastKnownGood | None = None,
    recoveries: Recoveries | None = None,
) -> AsyncIterator[LivingNode]:
    """Let a node live; at the end it must not have failed by itself."""
    made = LivingNode(data, coordinator, control, copy=copy, recoveries=recoveries)
    made.begin()
    try:
        yield made
    finally:
        with suppress(Exception):
            await made.cluster.drain()
        await made.end()
    assert not made.failures, made.failures


def _nobody(_node: str) -> Peer:
    raise Unreachable("There is no other node.")


def _no_jobs(_node: Node) -> Sequence[Coroutine[Any, Any, None]]:
    return ()
