"""A cluster with its real control: it has a store on a disk of its own, leads, publishes, deletes.

Beside the clients' load tables come and go, made and deleted by way of the proxy. What was said to
be made is there, what was said to be deleted is not, and at no moment does a table have a gap or an
overlap among its ranges (I8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.limits import REPLACED_AFTER_S
from dstore.base.tasks import Tasks
from dstore.model.errors import DStoreError
from dstore.model.keys import KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.tables import KeyAttribute
from dstore.replication.peers.calls import Methods
from dstore.security.control_key import Sealed
from dstore.security.keys import new_key
from dstore.service.control.control import Control, ControlSettings
from dstore.service.control.key_feed import KeyFeed
from dstore.service.control.key_methods import KeyMethods
from dstore.service.control.membership import Memberships
from dstore.service.control.plane import ControlPlane, open_plane, register_control
from dstore.service.control.recovery import count_recoveries
from dstore.service.control.roster import Roster
from dstore.service.control.shares import TenantShareGiver
from dstore.service.control.verdicts import HoldingVerdicts
from dstore.service.directory import Declared
from dstore.service.peer_pool import PeerPool
from dstore.storage.control.components import NODES, PROXIES
from dstore.storage.control.vaulted import open_own_store
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.watcher import TopologyWatcher
from tests.simulation.checkers import misplaced
from tests.simulation.faults import Fault, Faults
from tests.simulation.history import Fate, History, Put, Read, fate_of
from tests.simulation.linearizability import violations
from tests.simulation.machines import Died
from tests.simulation.plain_cluster import (
    CONTROL,
    PROXY_ID,
    TABLE,
    PlainCluster,
    machine_of,
    node_id,
    vault_on,
)
from tests.simulation.scenario import Scenario
from tests.support import control_records
from tests.support.cluster_nodes import TENANT
from tests.support.control import CONTROL_KEY

if TYPE_CHECKING:
    from dstore.service.proxy.proxy import Proxy
    from tests.simulation.machines import Process
    from tests.simulation.world import World

_CHURNED: Final = ("come-and-go", "go-and-come")
_THERE: Final = "there"
_SETTLED_S_MAX: Final = 60.0
_KEY: Final = KeyAttribute(name="p", kind=KeyKind.STRING)


@dataclass(slots=True)
class Ruling:
    """A control process at work."""

    process: Process
    plane: ControlPlane
    control: Control


class WholeCluster(PlainCluster):
    """A `Cluster` of a control, two nodes and a proxy, all of them real."""

    ranges_per_table = 3
    churn_s = (0.5, 4.0)  # between two changes of a table
    replaced_after_s = REPLACED_AFTER_S
    has_indexes = False

    def __init__(self, world: World, *, nodes: int = 2) -> None:
        """Set the machines up, all off."""
        super().__init__(world, nodes=nodes, has_control_disk=True)
        self.control.restarts_in_s = (0.1, 4.0)
        self.admitted = set(self._numbers.values())  # the nodes that control knows
        self.ruling: Ruling | None = None
        self._planned = asyncio.Event()
        self._tables = History()
        self._random = world.random("churn")
        self._may_exist = dict.fromkeys(_CHURNED, False)

    async def start(self) -> None:
        """Start control first: the others belong to the plane that it makes."""
        self.world.machines["coordinator"].start()
        await self.world.coordination.started.wait()
        self.control.start()
        await self._planned.wait()
        self.world.ensure_up()
        await self._until(self._make_realm)
        await self._until_it_answers()

    def faults(self) -> Sequence[Fault]:
        """All that befalls nodes, and the same for control."""
        faults, control = Faults(self.world), [self.control]
        return (
            *super().faults(),
            faults.kills(control),
            faults.power_cuts(control),
            faults.pauses(control),
            faults.partitions(control, [self.proxy, *self.nodes]),
            faults.coordinator_cut_off(control),
            faults.lost_leases(["control/leader"]),
        )

    def broken(self) -> Sequence[str]:
        """Look at what the coordinator shows of every table."""
        versions = self.world.coordination.embedded._versions
        told, shown = [], dict[str, list[tuple[int, int]]]()
        for kv in versions.list("tenant/").kvs:
            path = keys.parse(kv.key)
            if isinstance(path, keys.RangePath):
                value = values.decode(path, kv.value)
                assert isinstance(value, values.RangePlacement)
                shown.setdefault(path.table, []).append((path.low_hash, value.high_hash))
        for table, ranges in shown.items():
            told += [f"table {table}: {problem}" for problem in misplaced(ranges)]
        return told

    async def work(self) -> None:
        """Make and delete tables."""
        random = self._random
        while True:
            await asyncio.sleep(random.uniform(*self.churn_s))
            await self._change(random.choice(_CHURNED))

    async def settled(self) -> Sequence[str]:
        """Judge what became of the tables, once control answers again."""
        for name in _CHURNED:
            found = None
            async with asyncio.timeout(_SETTLED_S_MAX):
                while (found := await self._is_there(name)) is None:  # noqa: ASYNC110 - from outside
                    await asyncio.sleep(0.2)
            read = self._tables.invoke("end", name, Read())
            self._tables.end(read, Fate.OK, _THERE if found else None)
        return violations(self._tables)

    # ------------------------------------------------------------------------------- tables

    async def _make_realm(self, proxy: Proxy) -> None:
        await proxy.registrar.create_tenant(TENANT)
        if TABLE not in proxy.directory.tenant(TENANT).tables:
            await proxy.registrar.declare_table(TENANT, Declared(name=TABLE, partition=_KEY))

    async def _change(self, name: str) -> None:
        """Delete a table or make it, whichever makes sense as far as is known."""
        is_made = not self._may_exist[name]
        call = Put(_THERE if is_made else None)
        operation = self._tables.invoke("churn", name, call)
        fate = Fate.UNKNOWN
        try:
            await self._ask(partial(_make if is_made else _delete, name=name))
            fate = Fate.OK
        except DStoreError as error:
            # A refusal tells little: the proxy's view may be behind what was just made.
            fate = fate_of(error)
            self.world.trace.note(f"{call} {name}: {type(error).__name__}")
        except Died:
            pass
        self._tables.end(operation, fate)
        self.world.trace.counts[f"table.{call.value}.{fate}"] += 1
        if fate is not Fate.FAILED or self._random.random() < 0.5:
            self._may_exist[name] = is_made

    async def _is_there(self, name: str) -> bool | None:
        """Ask the coordinator's newest state by way of the proxy; None: nobody tells now."""
        serving = self._serving
        revision = (await self.world.coordination.embedded.get("nothing")).revision
        if serving is None or not serving.process.is_alive:
            return None
        view = serving.watcher.view
        if view.revision < revision:
            return None
        shown = view.table(TENANT, name)
        if shown is None:
            return False
        return True if shown.status is ResourceStatus.ACTIVE else None

    async def _ask(self, work: Callable[[Proxy], Coroutine[Any, Any, None]]) -> None:
        serving = self._serving
        if serving is None or not serving.process.is_alive:
            raise Died
        await serving.process.run(work(serving.proxy), name="table")

    async def _until(self, work: Callable[[Proxy], Coroutine[Any, Any, None]]) -> None:
        """Have something done by the proxy, as soon as it can."""
        async with asyncio.timeout(_SETTLED_S_MAX):
            while True:
                try:
                    await self._ask(work)
                except (DStoreError, Died) as error:
                    self.world.trace.note(f"not yet: {error!r}")
                    await asyncio.sleep(0.2)
                else:
                    return

    # ------------------------------------------------------------------------------- control

    async def _done(self, work: Callable[[Ruling], Coroutine[Any, Any, None]]) -> bool:
        """Have control do something, for an operator. Returns: whether it was surely done."""
        ruling = self.ruling
        if ruling is None or not ruling.process.is_alive:
            return False
        with suppress(DStoreError, Died):
            await ruling.process.run(work(ruling), name="operator")
            return True
        return False

    async def _control(self, process: Process) -> None:
        disk, clock, entropy = process.machine.disk, process.clock, process.entropy
        assert disk is not None
        store = await open_own_store(
            disk.directory, CONTROL_KEY, vault=vault_on(process), on_fatal=process.fatal
        )
        plane = await open_plane(
            store,
            CONTROL_KEY,
            directory=disk.directory,
            location="NA",
            clock=clock,
            entropy=entropy,
        )
        await self.admit(plane, process)
        uri = f"https://{CONTROL}:8002"
        await register_control(
            plane, uri=uri, version="1", certificate_serial="0a", now_us=clock.wall_us()
        )
        coordinator = self.world.coordination.client(process)
        watcher = TopologyWatcher(
            coordinator,
            clock=clock,
            metrics=self.world.metrics,
            recoveries=partial(count_recoveries, store),
        )
        settings = ControlSettings(
            uri=uri,
            version="1",
            ranges_per_table=self.ranges_per_table,
            replaced_after_s=self.replaced_after_s,
            has_indexes=self.has_indexes,
        )
        tasks = Tasks(process.fatal)
        nodes = PeerPool(
            watcher,
            dial=lambda _, uri: self._peer(process, machine_of(uri), plane.identity),
            tasks=tasks,
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
        roster = Roster(store, clock=clock)
        await roster.refresh()
        answers = KeyMethods(
            memberships=Memberships(plane, clock=clock, entropy=entropy),
            shares=TenantShareGiver(plane),
            verdicts=HoldingVerdicts(plane),
            feed=KeyFeed(plane, clock=clock),
            roster=roster,
        )
        self.world.board.listen(process, Methods([*control.answered, *answers.answered()]))
        self.plane = plane.uuid
        self._planned.set()
        self.ruling = Ruling(process, plane, control)
        for job in (watcher.run(), control.run(), roster.run()):
            tasks.spawn(job, name="control_job", critical=True)
        await tasks.drain()

    async def admit(self, plane: ControlPlane, process: Process) -> None:
        """Enter nodes and proxy into control's store, as their joining would."""
        entropy = process.entropy
        async with plane.store.transaction() as tx:
            for number in sorted(self.admitted):
                record = control_records.node(node_id(number))
                if await NODES.get(tx, record.uuid) is None:
                    sealed = plane.control_key.seal_key(
                        new_key(entropy), what=Sealed.NODE, record_id=record.uuid, entropy=entropy
                    )
                    await NODES.insert(tx, replace(record, sealed_key=sealed))
            proxy = control_records.proxy(PROXY_ID)
            if await PROXIES.get(tx, proxy.uuid) is None:
                await PROXIES.insert(tx, proxy)


async def _make(proxy: Proxy, *, name: str) -> None:
    await proxy.registrar.declare_table(TENANT, Declared(name=name, partition=_KEY))


async def _delete(proxy: Proxy, *, name: str) -> None:
    await proxy.registrar.delete_table(TENANT, name)


WHOLE: Final = Scenario(
    name="whole",
    build=WholeCluster,
    interesting=frozenset(
        {
            "kill",
            "power_cut",
            "pause",
            "operation.ok",
            "operation.unknown",
            "table.there.ok",
            "table.None.ok",
            "lease_ended",
            "coordinator_compacted",
        }
    ),
)
