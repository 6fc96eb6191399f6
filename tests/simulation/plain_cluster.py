"""Today's cluster: nodes that hold the only copy of their ranges, a proxy, control's keys.

Everything is the product's: `ClusterNode` with its storage, `Proxy`, the watchers, the embedded
coordinator. Only control is scripted: it gives shares of keys, and its placement is made at the
start. A range is away while its node is; nothing that was acknowledged may be lost for all that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dstore.base.tasks import Tasks
from dstore.model.errors import DStoreError
from dstore.model.keys import KeyKind
from dstore.model.tables import Door, KeyAttribute, TableDefinition, TableId
from dstore.replication.index_calls import INDEX_CALLS
from dstore.replication.peers.calls import Answered, Calls, Methods
from dstore.replication.peers.errors import unreachable
from dstore.replication.replica_calls import REPLICA_CALLS
from dstore.replication.sample_calls import ASK_SAMPLE
from dstore.replication.split_calls import SPLIT_CALLS
from dstore.roles.member_node import node_jobs
from dstore.security.identity import ComponentRole, Identity
from dstore.service.calls.control_calls import CONTROL_CALLS
from dstore.service.calls.feed_calls import FEED_RANGE
from dstore.service.calls.key_calls import (
    COMPONENT_KEY,
    KEY_CALLS,
    TENANT_SHARES,
    AskComponentKey,
    AskTenantShares,
    ComponentKey,
    TenantShare,
    TenantShares,
)
from dstore.service.calls.range_calls import RANGE_CALLS
from dstore.service.calls.recollection_calls import ASK_REMEMBERED
from dstore.service.cluster.node_details import NodePlace
from dstore.service.cluster_node import ClusterNode
from dstore.service.enrolment.control_link import ControlLink
from dstore.service.node import Node, NodeOptions, open_node
from dstore.service.proxy.proxy import Proxy, Surroundings
from dstore.storage.vault.vault import Vault
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.scopes import routing, routing_and
from dstore.topology.watcher import TopologyWatcher
from tests.simulation.faults import Fault, Faults
from tests.simulation.history import Call, Put, Read, Value
from tests.simulation.scenario import Scenario
from tests.simulation.store import ItemStore
from tests.support.cluster_nodes import PLANE, TENANT, TENANT_ID, Placement

if TYPE_CHECKING:
    from dstore.replication.peers.port import Peer, Received
    from dstore.security.keys import ControlShare
    from tests.simulation.machines import Machine, Process
    from tests.simulation.peers import SimPeer
    from tests.simulation.world import World

Result = TypeVar("Result")
TABLE: Final = "things"
CONTROL: Final = "control"
PROXY: Final = "proxy"
PROXY_ID: Final = "b0000000-0000-4000-8000-000000000001"
_CONTROL_CALLS: Final = Calls((*KEY_CALLS, *CONTROL_CALLS))
_NODE_CALLS: Final = Calls(
    (
        *RANGE_CALLS,
        *REPLICA_CALLS,
        *SPLIT_CALLS,
        ASK_SAMPLE,
        ASK_REMEMBERED,
        *INDEX_CALLS,
        FEED_RANGE,
    )
)
_PAGE_CACHE_BYTES: Final = 1 << 20
_RESTARTS_IN_S: Final = (0.1, 6.0)
_READY_S: Final = 30.0


def node_id(number: int) -> keys.ComponentId:
    """Name node `number`, from 1."""
    return keys.ComponentId(f"a0000000-0000-4000-8000-{number:012d}")


def _definition() -> TableDefinition:
    return TableDefinition(
        tenant=TENANT,
        name=TABLE,
        table_id=TableId("7ab1e000-0000-4000-8000-000000000001"),
        partition=KeyAttribute(name="p", kind=KeyKind.STRING),
        door=Door.DYNAMODB,
        created_at_us=1,
    )


@dataclass(slots=True)
class Living:
    """A life of a node."""

    process: Process
    node: ClusterNode


@dataclass(slots=True)
class _Serving:
    """A proxy that clients are connected to."""

    process: Process
    proxy: Proxy
    watcher: TopologyWatcher
    store: ItemStore


class PlainCluster:
    """A `Cluster` of `nodes` nodes and one proxy; each node holds one range of the table."""

    def __init__(self, world: World, *, nodes: int = 2, has_control_disk: bool = False) -> None:
        """Set the machines up, all off."""
        self.world = world
        self.control = world.machine(CONTROL, self._control, has_disk=has_control_disk)
        self.proxy = world.machine(PROXY, self._proxy)
        self.nodes: list[Machine] = []
        self._numbers: dict[str, int] = {}
        for number in range(1, nodes + 1):
            machine = world.machine(f"node-{number}", self._node, has_disk=True)
            self._numbers[machine.name] = number
            self.nodes.append(machine)
        for machine in (self.proxy, *self.nodes):
            machine.restarts_in_s = _RESTARTS_IN_S
        self.living: dict[int, Living] = {}
        self._serving: _Serving | None = None
        self.plane = PLANE  # the control plane's UUID

    # ------------------------------------------------------------------------------- a Cluster

    async def start(self) -> None:
        """Start everything, place the table, and wait until it answers."""
        self.world.ensure_up()
        await self.world.coordination.started.wait()
        placement = Placement(self.world.coordination.embedded)
        await placement.add_tenant()
        nodes = [node_id(number) for number in self._numbers.values()]
        async with asyncio.timeout(_READY_S):
            for node in nodes:
                while await placement.incarnation(node) == values.NO_INCARNATION:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        await placement.add_table(_definition(), nodes)
        await self._until_it_answers()

    async def _until_it_answers(self) -> None:
        async with asyncio.timeout(_READY_S):
            for number in range(8):
                while not await self._answers(f"ready {number}"):  # noqa: ASYNC110 - from outside
                    await asyncio.sleep(0.05)

    async def do(self, client: int, key: str, call: Call) -> Hashable:
        """Have the proxy do it; without one nothing is done."""
        return await self._by_proxy(lambda store: store.do(key, call), client)

    async def put_all(self, client: int, puts: Mapping[str, Put]) -> Sequence[DStoreError | None]:
        """Put values as one batch; see `scenario.Bulk`."""
        return await self._by_proxy(lambda store: store.put_all(puts), client)

    async def read_all(self, client: int, keys: Sequence[str]) -> Sequence[Value]:
        """Read values as one batch; see `scenario.Bulk`."""
        return await self._by_proxy(lambda store: store.read_all(keys), client)

    async def scan(self, client: int) -> Mapping[str, Value]:
        """Read the whole table; see `scenario.Bulk`."""
        return await self._by_proxy(lambda store: store.scan(), client)

    async def _by_proxy(
        self, work: Callable[[ItemStore], Coroutine[Any, Any, Result]], client: int
    ) -> Result:
        serving = self._serving
        if serving is None or not serving.process.is_alive:
            raise unreachable("is down")
        return await serving.process.run(work(serving.store), name=f"client {client}")

    def faults(self) -> Sequence[Fault]:
        """Whatever can befall a node, its links, the proxy and the coordinator."""
        faults, nodes, proxy = Faults(self.world), self.nodes, self.proxy
        alive = [keys.AlivePath(ComponentRole.NODE, node_id(n)).path for n in (1, len(nodes))]
        return (
            faults.kills([*nodes, *nodes, proxy]),
            faults.power_cuts(nodes),
            faults.pauses([*nodes, proxy]),
            faults.partitions([proxy], nodes),
            faults.storms(),
            faults.resets([proxy], nodes),
            faults.slow_machines(nodes),
            faults.disk_errors(nodes),
            faults.clock_jumps([*nodes, proxy]),
            faults.coordinator_cut_off([*nodes, proxy]),
            faults.coordinator_gaps(),
            faults.lost_leases(alive),
            faults.lost_decisions(),
        )

    def broken(self) -> Sequence[str]:
        """Nothing is shared by these nodes that could contradict itself."""
        return ()

    async def work(self) -> None:
        """Nothing is done beside the clients' requests."""

    async def settled(self) -> Sequence[str]:
        """Everything has answered; there is nothing else to compare."""
        return ()

    async def _answers(self, key: str) -> bool:
        try:
            await self.do(0, key, Read())
        except DStoreError:
            return False
        return True

    # ------------------------------------------------------------------------------- programs

    async def _control(self, process: Process) -> None:
        methods = Methods(
            (
                Answered(call=COMPONENT_KEY, handler=_component_key),
                Answered(call=TENANT_SHARES, handler=_tenant_shares),
            )
        )
        self.world.board.listen(process, methods)
        await asyncio.get_running_loop().create_future()

    async def _node(self, process: Process) -> None:
        number = self._numbers[process.name]
        me = node_id(number)
        identity = self._identity(ComponentRole.NODE, me)
        coordinator = self.world.coordination.client(process)
        watcher = TopologyWatcher(
            coordinator,
            clock=process.clock,
            metrics=self.world.metrics,
            scope=routing_and(me),
        )
        node = ClusterNode(
            NodePlace(identity=identity, zone="z", version="1", started_at_us=5),
            coordinator=coordinator,
            watcher=watcher,
            control=self._control_link(process, identity),
            opening=lambda share: _opened(process, share),
            jobs=node_jobs,
            peer_of=lambda uuid: self._peer(process, _machine_named(uuid), identity),
            clock=process.clock,
            entropy=process.entropy,
        )
        self.living[number] = Living(process, node)
        node.announce(f"https://{process.name}:8001")
        self.world.board.listen(process, Methods(node.answered()))
        tasks = Tasks(process.fatal)
        tasks.spawn(watcher.run(), name="watch_topology", critical=True)
        tasks.spawn(node.run(), name="node", critical=True)
        await tasks.drain()

    async def _proxy(self, process: Process) -> None:
        identity = self._identity(ComponentRole.PROXY, PROXY_ID)
        watcher = TopologyWatcher(
            self.world.coordination.client(process),
            clock=process.clock,
            metrics=self.world.metrics,
            scope=routing,
        )
        proxy = Proxy(
            Surroundings(
                watcher=watcher,
                control=self._control_link(process, identity),
                dial=lambda _uuid, uri: self._peer(process, machine_of(uri), identity),
                clock=process.clock,
                entropy=process.entropy,
                metrics=self.world.metrics,
                location="NA",
            )
        )
        tasks = Tasks(process.fatal)
        tasks.spawn(watcher.run(), name="watch_topology", critical=True)
        await watcher.known()
        store = ItemStore(proxy, tenant=TENANT, table=TABLE, entropy=process.entropy)
        self._serving = _Serving(process, proxy, watcher, store)
        await tasks.drain()

    def _identity(self, role: ComponentRole, uuid: str) -> Identity:
        return Identity(control_plane=self.plane, role=role, uuid=uuid)

    def _control_link(self, process: Process, identity: Identity) -> Peer:
        """Make the way to control, which tries again where that does no harm."""
        return ControlLink(
            [f"https://{CONTROL}:8002"],
            dial=lambda uri: self._peer(process, machine_of(uri), identity),
            calls=_CONTROL_CALLS,
            clock=process.clock,
        )

    def _peer(self, process: Process, target: str, identity: Identity) -> SimPeer:
        calls = _CONTROL_CALLS if target == CONTROL else _NODE_CALLS
        return self.world.board.peer(process, target, calls=calls, identity=identity)


async def _opened(process: Process, share: ControlShare) -> Node:
    disk = process.machine.disk
    assert disk is not None
    return await open_node(
        NodeOptions(
            directory=disk.directory,
            location="NA",
            page_cache_bytes=_PAGE_CACHE_BYTES,
            entry_cache_bytes=1 << 20,
            open_files_max=8,
            free_disk_bytes_min=0,
            wal_pages_checkpoint=40,  # so that the log is folded now and then
        ),
        clock=process.clock,
        entropy=process.entropy,
        on_fatal=process.fatal,
        shares=[share],
        vault=vault_on(process),
    )


def vault_on(process: Process) -> Vault:
    """Make a process's vault, on its machine's disk."""
    disk = process.machine.disk
    assert disk is not None
    return Vault(
        entropy=process.entropy,
        page_cache_bytes=_PAGE_CACHE_BYTES,
        base_vfs=disk.name,
        fdatasync=disk.fdatasync,
    )


def _component_key(_request: AskComponentKey, received: Received) -> ComponentKey:
    return ComponentKey(received.caller.uuid[-16:].encode() * 2)


def _tenant_shares(request: AskTenantShares, _received: Received) -> TenantShares:
    shares = (
        TenantShare(name, TENANT_ID, TENANT_ID[-16:].encode() * 2) for name in request.tenants
    )
    return TenantShares(tuple(shares))


def _machine_named(node: str) -> str:
    return f"node-{int(node[-12:])}"


def machine_of(uri: str) -> str:
    """Find the machine at an address."""
    return uri.removeprefix("https://").partition(":")[0]


class CrowdedCluster(PlainCluster):
    """One node with a slow disk that loses its power, again and again, under many requests."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world, nodes=1)
        self.nodes[0].restarts_in_s = (0.01, 0.2)

    async def _node(self, process: Process) -> None:
        """Begin at once: nobody waits for the former life's lease, which takes most of the time."""
        alive = keys.AlivePath(ComponentRole.NODE, node_id(1))
        await self.world.coordination.end_lease_of(alive.path)
        await super()._node(process)

    def faults(self) -> Sequence[Fault]:
        """What can befall a disk and its machine."""
        faults, nodes = Faults(self.world), self.nodes
        return (
            faults.kills(nodes),
            faults.power_cuts(nodes),
            faults.cuts_in_a_sync(nodes),
            faults.slow_machines(nodes),
            faults.disk_errors(nodes),
            faults.storms(),
        )


PLAIN: Final = Scenario(
    name="plain",
    build=PlainCluster,
    interesting=frozenset(
        {
            "kill",
            "power_cut",
            "pause",
            "process_fatal",
            "operation.ok",
            "operation.failed",
            "operation.unknown",
            "message_delayed",
            "message_dropped",
            "coordinator_compacted",
            "lease_ended",
        }
    ),
)

CROWDED: Final = Scenario(
    name="crowded",
    build=CrowdedCluster,
    interesting=frozenset({"kill", "power_cut", "process_fatal", "fault.slow_disk"}),
    clients=8,
    keys=6,
    think_s=0.05,
    duration_s=8.0,
    fault_pause_s=0.5,
)
