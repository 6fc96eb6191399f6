"""Splits on nodes that lose their disks, one at a time, often while a range is being cut.

A replica is (node, disk incarnation): control makes the ranges' values follow the disks that nodes
have, and a node with another one learns anew, be it of a parent or of its children.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dstore.model.errors import DStoreError
from dstore.replication import placements
from dstore.replication.failover import fail_over
from dstore.replication.surroundings import pause_ms
from dstore.replication.whereabouts import Whereabouts, corrected, has_other_disk, primary_of
from dstore.topology.values import Malformed, ReplicaState
from tests.simulation.faults import Fault
from tests.simulation.replicated_node import incarnation, node_id, number_of
from tests.simulation.splitting import SPLIT, SplitCluster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.topology.coordinator import Coordinator, Revision
    from dstore.topology.values import Replica
    from tests.simulation.world import World

_AWAY_S: Final = (0.3, 7.0)  # until a node whose disk was lost is back
_RETRIED_S: Final = 0.3


class BereftCluster(SplitCluster):
    """A table whose ranges are split, on nodes that lose their disks."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        self._disks = dict.fromkeys(self.numbers, 0)
        self._is_disk_lost = False

    def disk_of(self, number: int) -> str:
        """Name the disk that a node has now."""
        return incarnation(100 * self._disks[number] + number)

    def faults(self) -> Sequence[Fault]:
        """All, and lost disks."""
        return (*super().faults(), Fault(name="disk_lost", strike=self._lose_disk, weight=5.0))

    async def looked(
        self,
        shown: Sequence[Placed],
        revision: Revision,
        coordinator: Coordinator,
        peers: Mapping[str, Peer],
    ) -> bool:
        """Make the values follow their nodes' disks, as `control.addresses` does."""
        del revision
        for before in shown:
            placed = before
            where = {
                each.node: Whereabouts(incarnation=self.disk_of(number_of(each.node)))
                for each in placed.value.replicas
            }
            value = corrected(placed.value, where)
            if value is not placed.value:
                placed = await placements.swap(coordinator, placed, value, pause=pause_ms)
                self.world.trace.event("value_corrected")
            primary = primary_of(placed.value)
            if has_other_disk(primary, where[primary.node]):
                await fail_over(placed, coordinator, peer_of=peers.__getitem__)
        return True

    async def _lose_disk(self, random: Random) -> None:
        """Let a node come back with an empty disk, if somebody else holds everything."""
        number = random.choice(self.numbers)
        machine = self.nodes[number - 1]
        counts = self.world.trace.counts
        before = counts["cut_asked"]
        for _ in range(200):
            await asyncio.sleep(0.05)
            if counts["cut_asked"] > before:
                break
        await asyncio.sleep(random.uniform(0.0, 3.0))
        if self._is_disk_lost or not machine.is_up or machine.disk is None:
            return
        self._is_disk_lost = True  # from now on no other's may be
        usual = machine.restarts_in_s
        try:
            machine.restarts_in_s = None
            machine.kill()
            await asyncio.sleep(random.uniform(*_AWAY_S))
            if machine.process is not None or not await self._is_spare(number):
                self._is_disk_lost = False
                return
            machine.disk.put_back({})
            self._disks[number] += 1
            self.world.trace.event("empty_disk", machine.name)
        finally:
            machine.restarts_in_s = usual
            machine.ensure_up()
        while not await self._is_learned(number):  # noqa: ASYNC110 - from outside
            await asyncio.sleep(_RETRIED_S)
        self._is_disk_lost = False
        self.world.trace.event("disk_learned")

    async def _is_spare(self, lost: int) -> bool:
        """Tell whether of each range somebody else is in the set, on the disk that it names."""
        try:
            shown = await self._shown()
        except (DStoreError, Malformed):
            return False
        for placed in shown:
            others = [each for each in placed.value.in_sync if each.node != node_id(lost)]
            if not others or not all(map(self._is_on, others)):
                return False
        return bool(shown)

    async def _is_learned(self, number: int) -> bool:
        return all(
            self._is_on(each) and each.state is ReplicaState.IN_SYNC
            for placed in await self._shown()
            for each in placed.value.replicas
            if each.node == node_id(number)
        )

    def _is_on(self, replica: Replica) -> bool:
        return self.disk_of(number_of(replica.node)) == replica.incarnation


BEREFT: Final = replace(
    SPLIT,
    name="bereft",
    build=BereftCluster,
    interesting=SPLIT.interesting | {"empty_disk", "value_corrected", "disk_learned"},
)
