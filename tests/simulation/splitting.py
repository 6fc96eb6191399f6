"""A table on simulated machines whose ranges are split under load, again and again.

What runs is the product's: range files in the vault, `replication`, and control's choice of a
primary. Two controls, of which both always believe that they lead, ask primaries to split.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch
from uuid import UUID, uuid5

from dstore.model.errors import DStoreError
from dstore.model.hashing import HASH_MAX
from dstore.model.keys import HASH_BYTES, KeyKind, encode_key
from dstore.replication import placements, seeds
from dstore.replication.failover import fail_over
from dstore.replication.peers.calls import Calls
from dstore.replication.placements import Placed
from dstore.replication.split_calls import CutRange, Split
from dstore.replication.whereabouts import primary_of
from dstore.security.identity import ComponentRole, Identity
from dstore.storage import range_log, replica_copy, replica_log
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import CoordinatorError, Events, Resync
from dstore.topology.keyspace import AlivePath, RangePath
from dstore.topology.values import Malformed, RangePlacement
from tests.simulation.checkers import Log, Primaries, diverged, misplaced
from tests.simulation.coordination import MACHINE as COORDINATOR
from tests.simulation.faults import Fault, Faults
from tests.simulation.history import Call, Put, Read, Value
from tests.simulation.machines import Died
from tests.simulation.replicated_node import (
    PLANE,
    RANGE_ID,
    TABLE_ID,
    incarnation,
    node_id,
    number_of,
    replica_on,
)
from tests.simulation.scenario import Scenario
from tests.simulation.split_clients import KEYS, SplitClients
from tests.simulation.split_node import CALLS, PREFIX, TABLE, TENANT, SplitNode
from tests.simulation.split_pages import read_range

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from random import Random

    from dstore.replication.peers.port import Peer
    from dstore.topology.coordinator import Coordinator, Revision
    from tests.simulation.machines import Machine, Process
    from tests.simulation.network import Parting
    from tests.simulation.world import World

_RESTARTS_IN_S: Final = (0.1, 6.0)
_LOOKS_S: Final = 0.5  # between two looks of a control
_READY_S: Final = 120.0  # a file that is opened while its disk is slow is so until it is open
_REPLICAS: Final = 3
_RANGES_MAX: Final = 6
_PAUSE_S: Final = (2.0, 14.0)  # between two splits, by a control
_CHILDREN: Final = ("low", "high")


def hash_of(key: str) -> int:
    """Give the hash of a key."""
    return int.from_bytes(encode_key((KeyKind.STRING, key))[:HASH_BYTES], "big")


class SplitCluster:
    """A `Cluster`: a table on three nodes."""

    def __init__(self, world: World, *, nodes: int = _REPLICAS) -> None:
        """Set the machines up, all off."""
        self.world = world
        self.numbers = range(1, nodes + 1)
        self.nodes: list[Machine] = []
        for number in self.numbers:
            machine = world.machine(f"node-{number}", partial(self._node, number), has_disk=True)
            machine.restarts_in_s = _RESTARTS_IN_S
            self.nodes.append(machine)
        self.controls = [world.machine(f"control-{n}", self._control) for n in (1, 2)]
        for machine in self.controls:
            machine.restarts_in_s = _RESTARTS_IN_S
        self.clients = SplitClients(world, self.numbers)
        self.lives: dict[int, SplitNode] = {}
        self.bounds: dict[str, tuple[int, int]] = {RANGE_ID: (0, HASH_MAX)}
        self.store = {RANGE_ID}  # the ranges that control's store knows
        self.done = set[str]()  # those that it knows to be split
        self.learns = 0.3  # of a control's looks at children that its store does not know
        self._primaries = Primaries()
        self._told: list[str] = []
        self._is_over = False
        world.board.repeatable = frozenset(call.name for call in CALLS)
        self._patches = ExitStack()
        shape = world.random("splits")
        self.factor = shape.choice((_REPLICAS, _REPLICAS, 1))
        self.replicas = tuple(self.numbers)
        if self.factor == 1 and shape.random() < 0.5:
            self.replicas = (1,)  # then its log holds no images, but for who splits it
        if shape.random() < 0.7:  # so that filling seeds takes many turns
            self._patches.enter_context(patch.object(replica_copy, "REPLICA_COPY_ROWS", 2))
            self._patches.enter_context(patch.object(replica_copy, "REPLICA_COPY_BYTES", 40))
        if shape.random() < 0.5:
            self._patches.enter_context(patch.object(seeds, "SPLIT_TURN_MS", 120))
        if shape.random() < 0.3:
            for module in (range_log, replica_log):
                self._patches.enter_context(patch.object(module, "LOG_RECORDS_KEPT", 12))
                self._patches.enter_context(patch.object(module, "LOG_RECORDS_TRIMMED", 4))

    # ------------------------------------------------------------------------------- a Cluster

    async def start(self) -> None:
        """Start everything, place the first range, and wait until it answers."""
        self.world.ensure_up()
        await self.world.coordination.started.wait()
        replicas = tuple(map(replica_on, self.replicas))
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
        first = RangePath(TENANT, TABLE, 0)
        plane = values.Plane(control_plane=PLANE)
        await self.world.coordination.embedded.put(keys.PLANE.path, values.encode(plane))
        await self.world.coordination.embedded.put(first.path, values.encode(value))
        async with asyncio.timeout(_READY_S):
            while not await self._answers():  # noqa: ASYNC110 - the cluster tells nobody
                await asyncio.sleep(0.05)

    async def do(self, client: int, key: str, call: Call) -> Hashable:
        """Ask one node after the other until one has done it, or nobody knows."""
        return await self.clients.run(self.clients.do(client, key, call))

    async def put_all(self, client: int, puts: Mapping[str, Put]) -> Sequence[DStoreError | None]:
        """See `Bulk.put_all`."""
        return await self.clients.run(self.clients.put_all(client, puts))

    async def read_all(self, client: int, keys: Sequence[str]) -> Sequence[Value]:
        """See `Bulk.read_all`."""
        return await self.clients.run(self.clients.read_all(client, keys))

    async def scan(self, client: int) -> Mapping[str, Value]:
        """See `Bulk.scan`."""
        return await self.clients.run(self.clients.scan(client))

    def faults(self) -> Sequence[Fault]:
        """Whatever can befall a node, its links and the coordinator."""
        faults, nodes = Faults(self.world), self.nodes
        alive = [AlivePath(ComponentRole.NODE, node_id(number)).path for number in self.numbers]
        return (
            faults.kills(nodes),
            Fault(name="control_ends", strike=self._end_a_control, weight=1.0),
            faults.power_cuts(nodes),
            faults.pauses(nodes),
            faults.partitions(nodes, [*nodes, *self.controls, self.clients.machine]),
            faults.storms(),
            faults.resets(nodes, nodes),
            faults.slow_machines(nodes),
            faults.clock_jumps(nodes),
            faults.coordinator_cut_off([*nodes, *self.controls]),
            faults.coordinator_gaps(),
            faults.lost_leases(alive),
            faults.lost_decisions(),
            Fault(name="end_cutter", strike=self._end_a_cutter, weight=3.0),
            Fault(name="cut_unknown", strike=self._lose_cuts, weight=3.0),
            Fault(name="hand_over", strike=self._hand_over, weight=1.0),
        )

    def broken(self) -> Sequence[str]:
        """One primary at most acknowledges in an epoch of a range (I6)."""
        told, self._told = self._told, []
        return told

    async def work(self) -> None:
        """Look at every state of the ranges that the coordinator ever shows (I8)."""
        placed: dict[RangePath, RangePlacement] = {}
        async for batch in self.world.coordination.embedded.watch(PREFIX):
            match batch:
                case Resync():
                    kvs = [*batch.listing.kvs]
                    placed.clear()
                case Events():
                    kvs = [event.kv for event in batch.events if event.kv is not None]
                    gone = {event.key for event in batch.events if event.kv is None}
                    for lost in [each for each in placed if each.path in gone]:
                        del placed[lost]
                case _:
                    continue
            for kv in kvs:
                path = keys.parse(kv.key)
                assert isinstance(path, RangePath)
                value = placed[path] = values.decode(path, kv.value)
                self.note(path, value)
            shown = sorted((path.low_hash, value.high_hash) for path, value in placed.items())
            for complaint in misplaced(shown) if shown else ():
                self.world.violate(complaint)
            self.world.trace.event("ranges", str(len(shown)))
            if len(shown) > 2:
                self.world.trace.event("split_again")

    def note(self, path: RangePath, value: RangePlacement) -> None:
        """Note the bounds of a range; they never change."""
        bounds = (path.low_hash, value.high_hash)
        if self.bounds.setdefault(value.range_id, bounds) != bounds:
            self.world.violate(f"range {value.range_id} has other bounds than it had")

    async def settled(self) -> Sequence[str]:
        """Wait until all replicas are in sync; then logs and rows of each range are equal."""
        told: list[str] = []
        self._is_over = True
        self._patches.close()
        if failed := self.world.trace.counts["log.task_failed"]:
            told.append(f"{failed} tasks have failed")
        try:
            async with asyncio.timeout(_READY_S):
                while not _is_whole(await self._shown()):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.2)
        except (TimeoutError, Malformed):
            return [*told, "a replica does not come back into the set"]
        await asyncio.sleep(3.0)
        for placed in await self._shown():
            told += await self._differences(placed)
        return told

    async def _differences(self, placed: Placed) -> list[str]:
        value, contents = placed.value, dict[int, tuple[Log, Any]]()
        for number in (number_of(each.node) for each in value.replicas):
            node = self.lives[number]
            file = await node.process.run(node.open_file(value.range_id), name="open")
            contents[number] = await node.process.run(read_range(file), name="look")
        first, *others = contents
        told = diverged({f"node-{number}": log for number, (log, _) in contents.items()})
        low, high = self.bounds[value.range_id]
        rows = contents[first][1]
        if not all(low <= int.from_bytes(row[0][:HASH_BYTES], "big") <= high for row in rows):
            told.append(f"range {value.range_id} has rows of others")
        return told + [
            f"node-{number} has other rows of {value.range_id} than node-{first}"
            for number in others
            if contents[number][1] != rows
        ]

    def acknowledged(self, range_id: str, epoch: int, number: int) -> None:
        """Note that a node has acknowledged a write."""
        self._told += self._primaries.acknowledged(range_id, epoch, f"node-{number}")

    # --------------------------------------------------------------------------------- troubles

    async def _end_a_cutter(self, random: Random) -> None:
        """End a primary, or cut it off, shortly behind a moment at which something was cut."""
        counts = self.world.trace.counts
        before = counts["log.range_cut"] + counts["cut_asked"]
        for _ in range(200):
            await asyncio.sleep(0.02)
            if counts["log.range_cut"] + counts["cut_asked"] > before:
                break
        await asyncio.sleep(random.choice((0.0, random.uniform(0.0, 1.5))))
        try:
            placed = random.choice(await self._shown())
        except (DStoreError, Malformed, IndexError):
            return
        machine = self.nodes[number_of(placed.value.node) - 1]
        match random.randrange(3):
            case 0:
                machine.kill()
            case 1:
                machine.cut_power()
            case _:
                others = [node.name for node in self.nodes if node is not machine]
                parting = self.world.network.part([machine.name], others)
                try:
                    await asyncio.sleep(random.uniform(0.2, 6.0))
                finally:
                    parting.mend()

    async def _lose_cuts(self, random: Random) -> None:
        """Take the coordinator away from nodes in the moment in which it has cut a range."""
        coordination, network = self.world.coordination, self.world.network
        names = [node.name for node in self.nodes]
        partings: list[Parting] = []

        def loses(_machine: str, method: str, args: tuple[Any, ...]) -> bool:
            if method != "commit" or len(args[0].then) != len(_CHILDREN) or partings:
                return False
            partings.append(network.part([COORDINATOR], names))
            return True

        before = coordination.loses_reply
        try:
            for _ in range(200):
                coordination.loses_reply = loses  # another fault may have ended meanwhile
                await asyncio.sleep(0.05)
                if partings:
                    break
            await asyncio.sleep(random.uniform(0.2, 12.0))  # a commit is waited for for 5 s
        finally:
            coordination.loses_reply = before
            for each in partings:
                each.mend()

    async def _end_a_control(self, random: Random) -> None:
        """End a control; the next life of it knows nothing of what this one was about to do."""
        machine = random.choice(self.controls)
        if machine.is_up:
            machine.kill()

    async def _hand_over(self, random: Random) -> None:
        """Have some range handed over, as control does."""
        try:
            placed = random.choice(await self._shown())
        except (DStoreError, Malformed, IndexError):
            return
        life = self.lives.get(number_of(placed.value.node))
        replica = None if life is None else life.replicas.of(placed.value.range_id)
        if life is None or replica is None:
            return
        try:
            await life.process.run(replica.hand_over(None), name="hand_over")
        except (DStoreError, Died):
            return

    # --------------------------------------------------------------------------------- programs

    async def _node(self, number: int, process: Process) -> None:
        node = self.lives[number] = SplitNode(self, process, number)
        await node.live()

    async def _control(self, process: Process) -> None:
        """Fail ranges over whose primary's life has ended, and have some split now and then."""
        coordinator = self.world.coordination.client(process)
        identity = Identity(control_plane=PLANE, role=ComponentRole.CONTROL, uuid=PLANE)
        calls = Calls(CALLS)
        peers: dict[str, Peer] = {
            node_id(n): self.world.board.peer(process, f"node-{n}", calls=calls, identity=identity)
            for n in self.numbers
        }
        random = self.world.random(f"control {process.name} {process.life}")
        loop = asyncio.get_running_loop()
        next_s, cutting = loop.time() + random.uniform(*_PAUSE_S), ""
        while True:
            await asyncio.sleep(_LOOKS_S)
            try:
                listing = await coordinator.list(PREFIX)
                shown = [_placed(kv) for kv in listing.kvs]
                if not await self.looked(shown, listing.revision, coordinator, peers):
                    continue
                self._learn(shown, random)
                for placed in shown:
                    alive = AlivePath(ComponentRole.NODE, node_id(number_of(placed.value.node)))
                    if (await coordinator.get(alive.path)).kv is None:
                        await fail_over(placed, coordinator, peer_of=peers.__getitem__)
                if (
                    not cutting
                    and not self._is_over
                    and loop.time() > next_s
                    and len(shown) < _RANGES_MAX
                    and (known := [each for each in shown if each.value.range_id in self.store])
                ):
                    cutting = random.choice(known).value.range_id
                    self.world.trace.event("cut_asked", cutting)
                found = next((each for each in shown if each.value.range_id == cutting), None)
                if found is None:
                    if cutting:
                        next_s, cutting = loop.time() + random.uniform(*_PAUSE_S), ""
                    continue
                await self._ask_to_cut(found, peers)
            except (CoordinatorError, placements.Overtaken, Malformed):
                continue

    def disk_of(self, number: int) -> str:
        """Name the disk that a node has now."""
        return incarnation(number)

    async def looked(
        self,
        shown: Sequence[Placed],
        revision: Revision,
        coordinator: Coordinator,
        peers: Mapping[str, Peer],
    ) -> bool:
        """Look whether the topology is whole, as a control does first."""
        del self, shown, revision, coordinator, peers
        return True

    def _learn(self, shown: Sequence[Placed], random: Random) -> None:
        """Put children that are shown in their parent's place in the store, some time."""
        there = {each.value.range_id for each in shown}
        for range_id in sorted(self.store - there):
            low, high = self.bounds[range_id]
            within = [
                each for each in shown if low <= each.path.low_hash and each.value.high_hash <= high
            ]
            if len(within) == len(_CHILDREN) and random.random() < self.learns:
                self.store.discard(range_id)
                self.done.add(range_id)
                self.store.update(each.value.range_id for each in within)

    async def _ask_to_cut(self, placed: Placed, peers: dict[str, Peer]) -> None:
        """Ask a primary to split its range: under the same ids as long as its epoch lasts."""
        value, low = placed.value, placed.path.low_hash
        split = split_of(value, low)
        if split is None:
            return
        ask = CutRange(
            range_id=value.range_id,
            epoch=value.epoch,
            incarnation=primary_of(value).incarnation,
            split=split,
        )
        try:
            await peers[value.node].call(ask, deadline_s=1.0)
        except DStoreError:
            return

    async def _answers(self) -> bool:
        try:
            await self.do(0, "k0", Read())
        except DStoreError:
            return False
        return True

    async def _shown(self) -> list[Placed]:
        listing = await self.world.coordination.embedded.list(PREFIX)
        return [_placed(kv) for kv in listing.kvs]


def _is_whole(shown: Sequence[Placed]) -> bool:
    """Tell whether there is something, and all replicas of it are in sync."""
    return bool(shown) and all(
        each.value.is_settled and len(each.value.in_sync) == len(each.value.replicas)
        for each in shown
    )


def split_of(value: RangePlacement, low: int) -> Split | None:
    """Choose the point in the middle of the keys of a range; None: it has too few."""
    hashes = sorted(
        each for number in range(KEYS) if low <= (each := hash_of(f"k{number}")) <= value.high_hash
    )
    if len(hashes) < 2:
        return None
    return Split(
        low_id=_child_id(value, _CHILDREN[0]),
        high_id=_child_id(value, _CHILDREN[1]),
        at_hash=hashes[len(hashes) // 2],
    )


def _child_id(value: RangePlacement, which: str) -> str:
    return str(uuid5(UUID(value.range_id), f"{which} {value.epoch}"))


def _placed(kv: Any) -> Placed:
    path = keys.parse(kv.key)
    assert isinstance(path, RangePath)
    return Placed(path=path, value=values.decode(path, kv.value), revision=kv.mod_revision)


SPLIT: Final = Scenario(
    name="split",
    build=SplitCluster,
    keys=KEYS,
    think_s=0.4,
    bulk=0.15,
    interesting=frozenset(
        {
            "log.range_opened",
            "log.failed_over",
            "log.replica_out_of_sync",
            "log.range_cut",
            "log.range_not_cut",
            "sprouted",
            "uprooted",
            "parent_gone",
            "split_again",
        }
    ),
)
