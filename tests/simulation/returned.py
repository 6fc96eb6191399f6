"""A replicated range whose nodes come back with an empty disk, or with an old copy of their own.

A replica is (node, disk incarnation): each start of a node is counted by the product's boot
counter, and control makes the range's value follow the disks that nodes have
(`replication.whereabouts`). In most seeds a write needs no majority, so nothing hides a replica
that is taken for what it was. One machine at a time loses its disk, and nothing is lost by that.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.model.errors import DStoreError
from dstore.replication import placements
from dstore.replication.surroundings import pause_ms
from dstore.replication.whereabouts import Whereabouts, corrected, has_other_disk, primary_of
from dstore.service.cluster.boot_counter import BootCounter
from dstore.topology import values
from dstore.topology.keyspace import ComponentId, NodeBootPath
from dstore.topology.values import NO_INCARNATION, RangeState, ReplicaState
from tests.simulation.faults import Fault
from tests.simulation.replicated import CLIENT, REPLICATED, ReplicatedCluster
from tests.simulation.replicated_node import PLANE, node_id, number_of, replica_on

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

    from dstore.replication.placements import Placed
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.values import NodeBoot, Replica
    from tests.simulation.machines import Machine, Process
    from tests.simulation.network import Parting
    from tests.simulation.world import World

_BACKED_UP_S: Final = (0.2, 10.0)  # before a disk is lost
_AWAY_S: Final = (3.0, 7.0)  # whoever puts a directory back takes longer than a lease lasts
_LEAVES_S: Final = (2.0, 6.0)  # until who is cut off has left the set
_WITH_ANOTHER_ABSENT: Final = 0.5
_RETRIED_S: Final = 0.3
_KINDS: Final = frozenset(
    {"kill", "betrayal", "succession", "hand_over", "partition", "pause", "lease_lost", "storm"}
)


class DiskSettings:
    """What a node remembers of itself, in a file of its disk; durable at once."""

    def __init__(self, directory: Path) -> None:
        """Keep it in a directory."""
        self._path = directory / "settings"

    async def settings(self) -> dict[str, str]:
        """Read all of it."""
        if not self._path.exists():
            return {}
        return msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])

    async def set_setting(self, name: str, value: str) -> None:
        """Remember something."""
        self._path.write_bytes(msgspec.json.encode({**await self.settings(), name: value}))


class ReturnedCluster(ReplicatedCluster):
    """A range whose nodes lose their disks, one at a time."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        # With 1 nothing hides who is taken for what it was; with 3 a lost disk may stop all writes.
        self.factor = world.random("factor").choice((1, 1, 3))
        self.replica_on = self._replica_on
        self._is_disk_lost = False

    def faults(self) -> Sequence[Fault]:
        """Befall primaries, and disks."""
        ordinary = [each for each in super().faults() if each.name in _KINDS]
        return (*ordinary, Fault(name="disk_lost", strike=self._lose_disk, weight=8.0))

    async def settled(self) -> Sequence[str]:
        """One machine at a time loses nothing, so nothing says that something is lost."""
        told = [*await super().settled()]
        if (await self._value()).state is RangeState.POSSIBLE_LOSS:
            told.append("writes are said to be lost that are not")
        return told

    # ------------------------------------------------------------------------------- identity

    async def _disk_of(self, process: Process, number: int) -> str:
        """Count the start, as a node of the cluster does."""
        disk = process.machine.disk
        assert disk is not None
        counter = BootCounter(
            self.world.coordination.client(process),
            DiskSettings(disk.directory),
            node=node_id(number),
            control_plane=PLANE,
            entropy=process.entropy,
        )
        while True:
            try:
                booted = await counter.count()
            except DStoreError:
                await asyncio.sleep(_RETRIED_S)
            else:
                return booted.boot.incarnation

    def _first_replicas(self) -> tuple[Replica, ...]:
        return tuple(
            msgspec.structs.replace(each, incarnation=NO_INCARNATION)
            for each in super()._first_replicas()
        )

    def _replica_on(self, number: int) -> Replica:
        boot = self._boot(number)
        disk_id = NO_INCARNATION if boot is None else boot.incarnation
        return msgspec.structs.replace(replica_on(number), incarnation=disk_id)

    def _boot(self, number: int) -> NodeBoot | None:
        path = NodeBootPath(node_id(number))
        for kv in self.world.coordination.embedded._versions.list(path.path).kvs:
            return values.decode(path, kv.value)
        return None

    async def _looked_after(self, placed: Placed, coordinator: Coordinator) -> tuple[Placed, bool]:
        """Make the value follow its nodes' disks, as `control.addresses` does."""
        where = {
            each.node: await _whereabouts(coordinator, each.node) for each in placed.value.replicas
        }
        value = corrected(placed.value, where)
        if value is not placed.value:
            placed = await placements.swap(coordinator, placed, value, pause=pause_ms)
            self.world.trace.event("value_corrected")
            if len(value.in_sync) < value.min_in_sync:
                self.world.trace.event("too_few_are_left")
        primary = primary_of(placed.value)
        if has_other_disk(primary, where[primary.node]):
            return placed, True
        return await super()._looked_after(placed, coordinator)

    # ------------------------------------------------------------------------------- the fault

    async def _lose_disk(self, random: Random) -> None:
        """Let a node come back with another disk, if somebody else holds everything."""
        number = random.choice(self.numbers)
        machine = self.nodes[number - 1]
        disk = machine.disk
        assert disk is not None
        backup: dict[str, bytes] = {}
        if random.random() < 0.5 and self._may_be_lost(machine):
            backup = disk.backup()
            await asyncio.sleep(random.uniform(*_BACKED_UP_S))
        if not self._may_be_lost(machine):
            return
        self._is_disk_lost = True  # from now on no other's may be
        usual = machine.restarts_in_s
        before = self._boot(number)
        absent: Parting | None = None
        if random.random() < _WITH_ANOTHER_ABSENT:
            absent = self._part_another(random, number)
            await asyncio.sleep(random.uniform(*_LEAVES_S))
        try:
            # Whatever was decided while it was up is known when it comes back.
            machine.restarts_in_s = None
            machine.kill()
            await asyncio.sleep(random.uniform(*_AWAY_S))
            if machine.process is not None or before is None or not await self._is_spare(number):
                self._is_disk_lost = False
                return
            disk.put_back(backup)
            self.world.trace.event("old_disk" if backup else "empty_disk", machine.name)
        finally:
            machine.restarts_in_s = usual
            machine.ensure_up()
            if absent is not None:
                asyncio.get_running_loop().call_later(random.uniform(*_LEAVES_S), absent.mend)
        while (now := self._boot(number)) is None or now.number == before.number:  # noqa: ASYNC110 - from outside
            await asyncio.sleep(_RETRIED_S)
        if now.incarnation == before.incarnation:
            return  # nobody can tell from outside when it has again what it lacks
        while not await self._is_learned(number):  # noqa: ASYNC110 - as above
            await asyncio.sleep(_RETRIED_S)
        self._is_disk_lost = False

    def _part_another(self, random: Random, number: int) -> Parting:
        """Cut another node off, so that it leaves the set, and what is left may be too little."""
        other = random.choice([each for each in self.nodes if each is not self.nodes[number - 1]])
        names = [name for name in self.world.machines if name not in (other.name, CLIENT)]
        return self.world.network.part([other.name], names)

    def _may_be_lost(self, machine: Machine) -> bool:
        return not self._is_disk_lost and machine.is_up

    async def _is_spare(self, lost: int) -> bool:
        """Tell whether everybody else in the set is on the disk that it names."""
        value = await self._value()
        others = [each for each in value.in_sync if each.node != node_id(lost)]
        return bool(others) and all(self._is_on(each) for each in others)

    async def _is_learned(self, number: int) -> bool:
        value = await self._value()
        mine = [each for each in value.replicas if each.node == node_id(number)]
        return all(self._is_on(each) and each.state is ReplicaState.IN_SYNC for each in mine)

    def _is_on(self, replica: Replica) -> bool:
        boot = self._boot(number_of(replica.node))
        return boot is not None and boot.incarnation == replica.incarnation


async def _whereabouts(coordinator: Coordinator, node: str) -> Whereabouts:
    path = NodeBootPath(ComponentId(node))
    kv = (await coordinator.get(path.path)).kv
    disk_id = None if kv is None else values.decode(path, kv.value).incarnation
    return Whereabouts(incarnation=disk_id)


RETURNED: Final = replace(
    REPLICATED,
    name="returned",
    build=ReturnedCluster,
    duration_s=40.0,
    think_s=0.3,
    fault_pause_s=1.5,
    interesting=frozenset(
        {
            "empty_disk",
            "old_disk",
            "value_corrected",
            "too_few_are_left",
            "log.node_is_old_copy",
            "log.failed_over",
        }
    ),
)
