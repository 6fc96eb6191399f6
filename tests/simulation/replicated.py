"""A replicated range on simulated machines: nodes with their files, two controls, and clients.

What runs is the product's: range files in the vault, `replication`, and control's choice of a
primary. Around it stands as little as can be: a node follows the range's value by a watch, and a
control, of which two always believe they lead, looks for a dead primary now and then.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from dstore.base.clock import NS_PER_MS
from dstore.base.limits import REPLICA_SILENT_MS
from dstore.model.errors import DStoreError, Unavailable, Unknown
from dstore.model.hashing import HASH_MAX
from dstore.replication import members, placements, primary
from dstore.replication.failover import fail_over
from dstore.replication.peers.calls import Calls
from dstore.replication.replica_calls import REPLICA_CALLS
from dstore.security.identity import ComponentRole, Identity
from dstore.storage import range_log, replica_log
from dstore.topology import values
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.keyspace import AlivePath, ComponentId
from dstore.topology.values import Malformed, RangePlacement, Replica
from tests.simulation.checkers import Log, Primaries, diverged
from tests.simulation.faults import Fault, Faults
from tests.simulation.history import Call, Read
from tests.simulation.intrigues import Intrigues
from tests.simulation.replicated_calls import (
    DO,
    answer_of,
    request_of,
)
from tests.simulation.replicated_node import (
    PATH,
    PLANE,
    RANGE_ID,
    TABLE_ID,
    Node,
    incarnation,
    node_id,
    number_of,
    read_all,
    replica_on,
)
from tests.simulation.scenario import Scenario
from tests.simulation.workloads import mixed

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from random import Random

    from dstore.model.errors import Corrupt
    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.replication.primary import Primary
    from dstore.topology.coordinator import Coordinator
    from tests.simulation.machines import Machine, Process
    from tests.simulation.workloads import Draw
    from tests.simulation.world import World

CLIENT: Final = "client"
_RESTARTS_IN_S: Final = (0.1, 6.0)
_LOOKS_S: Final = 0.5  # between two looks of a control
_TRIES_S: Final = 12.0  # a client's patience with one operation
_READY_S: Final = 30.0
READERS: Final = 2
_REPLICAS: Final = 3


def _keep_short_logs(patches: ExitStack) -> None:
    """Keep so little of a log that who is away for some seconds has to learn anew."""
    for module in (range_log, replica_log):
        patches.enter_context(patch.object(module, "LOG_RECORDS_KEPT", 12))
        patches.enter_context(patch.object(module, "LOG_RECORDS_TRIMMED", 4))
    patches.enter_context(patch.object(members, "REPLICA_LAG_RECORDS_MAX", 16))


class ReplicatedCluster:
    """A `Cluster`: one range on some of `nodes` nodes."""

    range_id = RANGE_ID
    path = PATH
    readers = READERS
    replica_on = staticmethod(replica_on)

    def __init__(self, world: World, *, nodes: int = 4) -> None:
        """Set the machines up, all off."""
        self.world = world
        self.numbers = range(1, nodes + 1)
        self.ids = [node_id(number) for number in self.numbers]
        self.nodes: list[Machine] = []
        for number in self.numbers:
            machine = world.machine(f"node-{number}", partial(self._node, number), has_disk=True)
            machine.restarts_in_s = _RESTARTS_IN_S
            self.nodes.append(machine)
        self.controls = [world.machine(f"control-{n}", self._control) for n in (1, 2)]
        for machine in self.controls:
            machine.restarts_in_s = _RESTARTS_IN_S
        self.client = world.machine(CLIENT, self._client)
        self._peers: dict[int, Peer] = {}
        self.lives: dict[int, Node] = {}
        self.believed: dict[int, int] = defaultdict(lambda: 1)  # as each client believes
        self._primaries = Primaries()
        self._told: list[str] = []
        world.board.repeatable = frozenset(call.name for call in REPLICA_CALLS)
        self._patches = ExitStack()
        # With 1 a write needs no majority, so that nothing but the set itself keeps it.
        self.factor = world.random("factor").choice((_REPLICAS, _REPLICAS, 1))
        if world.random("short logs").random() < 0.5:
            _keep_short_logs(self._patches)
        idle = world.random("idle")
        if idle.random() < 0.5:
            idle_ns = idle.randrange(20, 400) * NS_PER_MS
            self._patches.enter_context(patch.object(primary, "_IDLE_NS", idle_ns))

    # ------------------------------------------------------------------------------- a Cluster

    async def start(self) -> None:
        """Start everything, place the range, and wait until it answers."""
        self.world.ensure_up()
        await self.world.coordination.started.wait()
        replicas = self._first_replicas()
        value = RangePlacement(
            node=replicas[0].node,
            high_hash=HASH_MAX,
            uri=replicas[0].uri,
            table_id=TABLE_ID,
            range_id=RANGE_ID,
            epoch=1,
            replicas=replicas,
            factor=self.factor,
        )
        await self.world.coordination.embedded.put(PATH.path, values.encode(value))
        async with asyncio.timeout(_READY_S):
            while not await self._answers():  # noqa: ASYNC110 - the cluster tells nobody
                await asyncio.sleep(0.05)

    def _first_replicas(self) -> tuple[Replica, ...]:
        return tuple(map(replica_on, self.numbers[:_REPLICAS]))

    async def do(self, client: int, key: str, call: Call) -> Hashable:
        """Ask one node after the other until one has done it, or nobody knows."""
        process = self.client.process
        assert process is not None
        return await process.run(self._do(client, key, call), name="client")

    def faults(self) -> Sequence[Fault]:
        """Whatever can befall a node, its links and the coordinator."""
        faults, nodes = Faults(self.world), self.nodes
        alive = [self.alive_path(number) for number in self.numbers]
        return (
            faults.kills(nodes),
            faults.power_cuts(nodes),
            faults.pauses(nodes),
            faults.partitions(nodes, [*nodes, *self.controls, self.client]),
            faults.storms(),
            faults.resets(nodes, nodes),
            faults.slow_machines(nodes),
            faults.disk_errors(nodes),
            faults.clock_jumps(nodes),
            faults.coordinator_cut_off([*nodes, *self.controls]),
            faults.coordinator_gaps(),
            faults.lost_leases(alive),
            faults.lost_decisions(),
            *Intrigues(self).faults(),
        )

    @staticmethod
    def alive_path(number: int) -> str:
        """Name the key that says that a node is alive."""
        return AlivePath(ComponentRole.NODE, node_id(number)).path

    def broken(self) -> Sequence[str]:
        """One primary at most acknowledges in an epoch (I6), and its node knows that it is one."""
        told, self._told = self._told, []
        for number, life in self.lives.items():
            replica = life.replicas.of(RANGE_ID)
            if replica is not None and replica.serving_epoch != life.served:
                told.append(f"node-{number} was told {life.served}: {replica.serving_epoch}")
            serving = None if replica is None else replica._serving
            if serving is not None and _is_stalled(serving):
                self.world.trace.counts["in_sync_stall"] += 1
        return told

    async def work(self) -> None:
        """Nothing is done beside the clients' requests."""

    async def settled(self) -> Sequence[str]:
        """Wait until all replicas are in sync; then their logs and rows are equal."""
        told: list[str] = []
        self._patches.close()
        if failed := self.world.trace.counts["log.task_failed"]:
            told.append(f"{failed} tasks have failed")
        try:
            async with asyncio.timeout(_READY_S):
                while not await self._is_whole():  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.2)
        except (TimeoutError, Malformed):
            return [*told, "a replica does not come back into the set"]
        await asyncio.sleep(1.0)
        value = await self._value()
        named = [number_of(each.node) for each in value.replicas]
        contents = {number: await self._content(number) for number in named}
        told += diverged({f"node-{number}": log for number, (log, _) in contents.items()})
        rows = contents[named[0]][1]
        return told + [
            f"node-{number} has other rows than node-{named[0]}"
            for number, content in contents.items()
            if content[1] != rows
        ]

    def faulty(self, where: str, what: Corrupt) -> None:
        """Hear that a replica's content is not what it should be."""
        self.world.violate(f"{where} {what.message}")

    def acknowledged(self, epoch: int | None, number: int) -> None:
        """Note that a node has acknowledged a write in an epoch."""
        if epoch is not None:
            self._told += self._primaries.acknowledged(RANGE_ID, epoch, f"node-{number}")

    def tell(self, violation: str) -> None:
        """Note what must never be."""
        self._told.append(violation)

    # --------------------------------------------------------------------------------- programs

    async def _node(self, number: int, process: Process) -> None:
        disk_id = await self._disk_of(process, number)
        node = self.lives[number] = Node(self, process, number, disk_id=disk_id)
        await node.live()

    async def _disk_of(self, process: Process, number: int) -> str:
        """Tell which disk a node has: here none is ever exchanged."""
        del process
        return incarnation(number)

    async def _control(self, process: Process) -> None:
        """Fail the range over when its primary's life has ended."""
        coordinator = self.world.coordination.client(process)
        identity = Identity(control_plane=PLANE, role=ComponentRole.CONTROL, uuid=PLANE)
        calls = Calls(REPLICA_CALLS)
        peers: dict[str, Peer] = {
            node_id(n): self.world.board.peer(process, f"node-{n}", calls=calls, identity=identity)
            for n in self.numbers
        }
        while True:
            await asyncio.sleep(_LOOKS_S)
            try:
                placed = await placements.read(coordinator, PATH)
                if placed is None:
                    continue
                placed, is_lost = await self._looked_after(placed, coordinator)
                if is_lost:
                    await self._fail_over(placed, coordinator, peers)
            except (CoordinatorError, placements.Overtaken, Malformed):
                continue

    async def _looked_after(self, placed: Placed, coordinator: Coordinator) -> tuple[Placed, bool]:
        """Do what else is to be done. Returns: the value, and whether its primary is lost."""
        alive = AlivePath(ComponentRole.NODE, ComponentId(placed.value.node))
        return placed, (await coordinator.get(alive.path)).kv is None

    async def _fail_over(
        self, placed: Placed, coordinator: Coordinator, peers: Mapping[str, Peer]
    ) -> None:
        done = await fail_over(placed, coordinator, peer_of=peers.__getitem__)
        if done is not None and len(placed.value.in_sync) < len(placed.value.replicas):
            self.world.trace.event("failover_during_join")

    async def _client(self, process: Process) -> None:
        identity = Identity(control_plane=PLANE, role=ComponentRole.PROXY, uuid=PLANE)
        self._peers = {
            number: self.world.board.peer(
                process, f"node-{number}", calls=Calls([DO]), identity=identity
            )
            for number in self.numbers
        }
        await asyncio.get_running_loop().create_future()

    # ---------------------------------------------------------------------------------- clients

    async def _do(self, client: int, key: str, call: Call) -> Hashable:
        process = self.client.process
        assert process is not None
        loop = asyncio.get_running_loop()
        request = request_of(key, call, request_id=process.entropy.uuid())
        until_s, is_open = loop.time() + _TRIES_S, False
        asked: set[int] = set()  # who may have shipped it
        while True:
            number = self.believed[client]
            try:
                done = await self._peers[number].call(request, deadline_s=5.0)
                if asked - {number}:
                    self.world.trace.event("takeover_in_mid_write")
                return answer_of(call, done)
            except Unknown:
                is_open = not isinstance(call, Read)  # asked again under its name (I9)
                asked.update([number] if is_open else ())
                failure: DStoreError = Unknown("nobody knows")
            except Unavailable as error:
                failure = error
            self.believed[client] = number % len(self.nodes) + 1
            if loop.time() > until_s:
                if is_open:
                    raise Unknown("nobody knows") from failure
                raise failure
            await asyncio.sleep(0.1)

    async def _answers(self) -> bool:
        try:
            await self.do(0, "ready", Read())
        except DStoreError:
            return False
        return True

    async def _is_whole(self) -> bool:
        value = await self._value()
        return len(value.in_sync) == len(value.replicas)

    async def _value(self) -> RangePlacement:
        found = await self.world.coordination.embedded.get(PATH.path)
        assert found.kv is not None
        return values.decode(PATH, found.kv.value)

    async def _content(self, number: int) -> tuple[Log, Any]:
        """Read the applied part of a node's log, and its rows."""
        node = self.lives[number]
        return await node.process.run(read_all(node), name="look")


def _is_stalled(primary: Primary) -> bool:
    """Tell whether a write waits for a replica that is silent and can't be left out."""
    members = primary._members
    value = members.placed.value
    if primary._shipping is None or len(value.in_sync) > value.min_in_sync:
        return False
    since_ns = primary._now_ns() - REPLICA_SILENT_MS * NS_PER_MS
    return any(each.heard_ns < since_ns for each in members.required())


def read_much(client: int, random: Random, keys: Sequence[str]) -> Draw:
    """Let two clients only read, so that they stay with a primary that can't write any more."""
    if client < READERS:
        return lambda: (random.choice(keys), Read())
    return mixed(client, random, keys)


REPLICATED: Final = Scenario(
    name="replicated",
    build=ReplicatedCluster,
    think_s=0.5,
    workload=read_much,
    interesting=frozenset(
        {
            "log.range_opened",
            "log.failed_over",
            "log.replica_out_of_sync",
            "log.stepped_down",
            "log.handed_over",
            "log.copy_done",
            "log.log_tail_cut",
            "members_changed",
            "given_up",
            "takeover_in_mid_write",
            "swap_unknown",
            "failover_during_join",
            "watch_resynced",
            "in_sync_stall",
        }
    ),
)
