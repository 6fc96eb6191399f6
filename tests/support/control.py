"""Control processes of a test's own, and nodes that do as control decides but store nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.limits import REPLACED_AFTER_S
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.model.errors import Unavailable
from dstore.model.features import KNOWN_HERE
from dstore.model.tables import IdType
from dstore.security.control_key import ControlKey
from dstore.security.identity import ComponentRole
from dstore.security.keys import Key256
from dstore.service.calls.control_calls import CreateTable, CreateTenant
from dstore.service.control.control import Control, ControlSettings
from dstore.service.control.plane import ControlPlane, open_plane, register_control
from dstore.service.control.recovery import count_recoveries
from dstore.service.control.splits import SplitSettings
from dstore.service.peer_pool import Nodes
from dstore.storage.control.components import NODES
from dstore.storage.control.store import ControlStore
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator, CoordinatorError, Events, Resync
from dstore.topology.watcher import TopologyWatcher
from tests.support import control_records
from tests.support.topology import uuid

CONTROL_KEY = ControlKey(key=Key256(bytes(range(32))))
WAIT_S_MAX = 15.0


async def eventually(is_true: Callable[[], object], *, timeout_s: float = WAIT_S_MAX) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(timeout_s):
        while not is_true():  # noqa: ASYNC110 - whatever it is, it has no event
            await asyncio.sleep(0.01)


@dataclass(kw_only=True)
class ControlProcess:
    """One control process; `failures` are those of its critical tasks."""

    plane: ControlPlane
    control: Control
    watcher: TopologyWatcher
    tasks: Tasks
    failures: list[BaseException] = field(default_factory=list)

    @property
    def leads(self) -> bool:
        """Whether it may change things."""
        try:
            self.control.leader.term()
        except Unavailable:
            return False
        return True

    async def kill(self) -> None:
        """End it at once, as a crash would but for its lease, which it lets go."""
        await self.tasks.close()


@asynccontextmanager
async def control_process(
    coordinator: Coordinator,
    store: ControlStore,
    directory: Path,
    *,
    ranges_per_table: int | None = None,
    replication_factor: int = 1,
    moves_replicas: bool = False,
    replaced_after_s: float = REPLACED_AFTER_S,
    splits: SplitSettings | None = None,
    nodes: Nodes | None = None,
) -> AsyncIterator[ControlProcess]:
    """Run a control process on an opened coordinator and store, with a directory of its own."""
    directory.mkdir(exist_ok=True)  # noqa: ASYNC240 - a test's own
    clock, entropy = SystemClock(), SystemEntropy()
    plane = await open_plane(
        store, CONTROL_KEY, directory=directory, location="NA", clock=clock, entropy=entropy
    )
    uri = f"https://{plane.process}:8001/"
    await register_control(
        plane, uri=uri, version="0.1.0", certificate_serial="0a", now_us=clock.wall_us()
    )
    watcher = TopologyWatcher(
        coordinator,
        clock=clock,
        metrics=create_metrics(),
        recoveries=partial(count_recoveries, store),
    )
    settings = ControlSettings(
        uri=uri,
        version="0.1.0",
        ranges_per_table=ranges_per_table,
        replication_factor=replication_factor,
        moves_replicas=moves_replicas,
        replaced_after_s=replaced_after_s,
        splits=splits or SplitSettings(),
        has_indexes=True,
    )
    control = Control(
        plane,
        coordinator,
        watcher,
        settings=settings,
        clock=clock,
        entropy=entropy,
        nodes=nodes,
    )
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    made = ControlProcess(
        plane=plane, control=control, watcher=watcher, tasks=tasks, failures=failures
    )
    tasks.spawn(watcher.run(), name="watcher", critical=True)
    tasks.spawn(control.run(), name="control", critical=True)
    try:
        yield made
    finally:
        await tasks.close()
    assert failures == []


class ObedientNode:
    """A node as control sees one: it says that it holds what it is given, if `is_obedient`."""

    def __init__(self, coordinator: Coordinator, number: int, *, zone: str = "a") -> None:
        """Prepare node `number`."""
        self.node = keys.ComponentId(uuid(number))
        self.uri = f"https://node{number}:8001/"
        self.zone = zone
        self.is_obedient = True
        self.features: tuple[str, ...] = KNOWN_HERE
        self.held: dict[tuple[str, str], values.NodeRanges] = {}
        self.stored_bytes: dict[str, int] = {}  # by range, 0 of one that is not here
        self.requests_per_s: dict[str, int] = {}  # the same
        self._coordinator = coordinator
        self._lease: int | None = None

    async def admit(self, store: ControlStore) -> None:
        """Enter it into control's store."""
        async with store.transaction() as tx:
            await NODES.insert(tx, control_records.node(self.node))

    async def show(self) -> None:
        """Put what a living node puts."""
        put = self._coordinator.put
        details = values.Details(
            status=values.ComponentStatus.OKAY,
            uri=self.uri,
            zone=self.zone,
            capacity_bytes=1 << 40,
            free_bytes=1 << 39,
            features=self.features,
        )
        boot = values.NodeBoot(number=1, nonce="n", incarnation=uuid(900))
        await put(keys.NodeBootPath(self.node).path, values.encode(boot))
        await put(keys.DetailsPath(ComponentRole.NODE, self.node).path, values.encode(details))
        alive = values.Alive(session=uuid(901), boot=1)
        await put(keys.AlivePath(ComponentRole.NODE, self.node).path, values.encode(alive))

    async def die(self) -> None:
        """Let its life end."""
        await self._coordinator.delete(keys.AlivePath(ComponentRole.NODE, self.node).path)

    async def obey(self) -> None:
        """Follow what control gives and takes, until cancelled."""
        async with aclosing(self._coordinator.watch(keys.node_tables_prefix(self.node))) as watch:
            async for batch in watch:
                match batch:
                    case Events(events=events):
                        for event in events:
                            value = None if event.kv is None else event.kv.value
                            await self._take(event.key, value)
                    case Resync(listing=listing):
                        for kv in listing.kvs:
                            await self._take(kv.key, kv.value)
                    case _:
                        pass

    async def report_all(self) -> None:
        """Say what it held back while it was not obedient."""
        for (tenant, table), held in self.held.items():
            await self._report(tenant, table, held)

    async def _take(self, key: str, value: bytes | None) -> None:
        path = keys.parse(key)
        if not isinstance(path, keys.NodeRangesPath):
            return
        name = (path.tenant, path.table)
        if value is None:
            self.held.pop(name, None)
            if self.is_obedient:
                own = keys.NodeTablePath(self.node, path.tenant, path.table).path
                await self._again(lambda: self._coordinator.delete(own))
            return
        self.held[name] = values.decode(path, value)
        if self.is_obedient:
            await self._report(*name, self.held[name])

    async def _report(self, tenant: str, table: str, held: values.NodeRanges) -> None:
        okay = values.HeldStatus.OKAY
        value = values.NodeTableDetails(
            status=okay,
            ranges=tuple(
                values.HeldReport(
                    range_id=each.range_id,
                    status=okay,
                    stored_bytes=self.stored_bytes.get(each.range_id, 0),
                    requests_per_s=self.requests_per_s.get(each.range_id, 0),
                )
                for each in held.ranges
            ),
        )
        own = keys.NodeTablePath(self.node, tenant, table).path
        await self._again(lambda: self._coordinator.put(own, values.encode(value)))

    async def _again(self, work: Callable[[], object]) -> None:
        while True:
            try:
                await work()  # type: ignore[misc]  # both are coroutines of different results
            except CoordinatorError:
                await asyncio.sleep(0.05)
            else:
                return


@asynccontextmanager
async def obedient_nodes(
    coordinator: Coordinator, store: ControlStore, count: int = 3
) -> AsyncIterator[tuple[ObedientNode, ...]]:
    """Run nodes 1 to `count`, in zones a, b, a, b, …, admitted and alive."""
    nodes = tuple(
        ObedientNode(coordinator, number, zone="ab"[number % 2]) for number in range(1, count + 1)
    )
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tasks.close)
        for node in nodes:
            await node.admit(store)
            await node.show()
            tasks.spawn(node.obey(), name="obedient_node", critical=True)
        yield nodes
    assert failures == []


def new_tenant(name: str = "acme", *, number: int = 70) -> CreateTenant:
    return CreateTenant(name=name, tenant_id=uuid(number), actor="tester")


def new_table(
    name: str = "orders", *, tenant: str = "acme", number: int = 100, factor: int | None = None
) -> CreateTable:
    return CreateTable(
        tenant=tenant,
        name=name,
        table_id=uuid(number),
        id_type=IdType.STRING,
        actor="tester",
        replication_factor=factor,
    )
