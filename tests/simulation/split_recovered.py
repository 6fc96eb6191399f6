"""Splits whose topology is lost: the coordinator forgets all of it, and nodes are asked.

Control's store is what it was; what a cut was, and who counts, only the nodes remember.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dstore.service.calls.recollection_calls import Shown
from dstore.service.control.recollecting import Created, Recollecting
from dstore.service.control.settling import Settling, _wanted
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import NO_REVISION, Delete, ModRevisionIs, Put, Transaction
from dstore.topology.keyspace import RangePath
from dstore.topology.values import RangePlacement
from tests.simulation.faults import Fault
from tests.simulation.replicated_node import PLANE, TABLE_ID, replica_on
from tests.simulation.split_node import PREFIX, TABLE, TENANT
from tests.simulation.splitting import SPLIT, SplitCluster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.topology.coordinator import Coordinator, Revision
    from tests.simulation.world import World

_ORDERED_S: Final = (0.2, 8.0)  # until an operator has the topology recovered


@dataclass(frozen=True, slots=True)
class _Nodes:
    """`Nodes`, as control knows them."""

    peers: Mapping[str, Peer]

    def peer(self, node: str, *, last_uri: str | None = None) -> Peer:
        del last_uri
        return self.peers[node]


class RecoveredCluster(SplitCluster):
    """A table whose topology is lost, and recovered from control's store and its nodes."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off."""
        super().__init__(world)
        self.learns = 0.05
        self._recoveries = 0
        self._ordered_s = 0.0

    def faults(self) -> Sequence[Fault]:
        """All, and that the coordinator forgets."""
        return (*super().faults(), Fault(name="lose_topology", strike=self._lose, weight=4.0))

    async def _lose(self, random: Random) -> None:
        """Delete all keys, most of the time shortly behind a cut."""
        trace, embedded = self.world.trace, self.world.coordination.embedded
        before = trace.counts["log.range_cut"]
        for _ in range(random.choice((0, 400, 400))):
            await asyncio.sleep(0.02)
            if trace.counts["log.range_cut"] > before:
                break
        await asyncio.sleep(random.choice((0.0, 0.05, random.uniform(0.0, 1.0))))
        listing = await embedded.list(PREFIX)
        if not listing.kvs:
            return
        self._ordered_s = asyncio.get_running_loop().time() + random.uniform(*_ORDERED_S)
        await self._count(embedded)
        lost = (keys.PLANE.path, *(kv.key for kv in listing.kvs))
        await embedded.commit(
            Transaction(compares=(), then=tuple(Delete(key=each) for each in lost))
        )
        trace.event("topology_lost", str(len(listing.kvs)))

    async def looked(
        self,
        shown: Sequence[Placed],
        revision: Revision,
        coordinator: Coordinator,
        peers: Mapping[str, Peer],
    ) -> bool:
        """Recover what was lost, and settle what could not be then."""
        nodes: Any = _Nodes(peers)
        cluster_id = await coordinator.cluster_id()
        if not await self._count(coordinator):
            if asyncio.get_running_loop().time() > self._ordered_s:
                known = Shown(cluster_id, self._recoveries + 1, revision)
                await self._recover(coordinator, Recollecting(nodes, shown=known))
            return False
        unsettled = {each.value.range_id: each for each in shown if not each.value.is_settled}
        if unsettled:
            self.world.trace.event("unsettled", str(len(unsettled)))
            asking = Recollecting(nodes, shown=Shown(cluster_id, self._recoveries, revision))
            found = await asking.values(_wanted(self._created(), unsettled))
            none: Any = None
            if await Settling(none, coordinator, nodes=nodes)._swap(unsettled, found):
                self.world.trace.event("settled")
        return bool(shown)

    async def _count(self, coordinator: Coordinator) -> bool:
        """Learn how often the topology was recovered. Returns: whether it is whole."""
        kv = (await coordinator.get(keys.PLANE.path)).kv
        if kv is not None:
            self._recoveries = values.decode(keys.PLANE, kv.value).recoveries
        return kv is not None

    async def _recover(self, coordinator: Coordinator, asking: Recollecting) -> None:
        """Publish everything in one transaction: nobody takes a part of it for the whole."""
        created = self._created()
        found = await asking.values(created)
        if any(len(each) > 1 for each in found):
            self.world.trace.event("recovered_children")
        plane = values.Plane(control_plane=PLANE, recoveries=self._recoveries + 1)
        puts = [
            Put(key=path.path, value=values.encode(value)) for each in found for path, value in each
        ]
        result = await coordinator.commit(
            Transaction(
                compares=(ModRevisionIs(key=keys.PLANE.path, revision=NO_REVISION),),
                then=(Put(key=keys.PLANE.path, value=values.encode(plane)), *puts),
            )
        )
        if result.succeeded:
            self.world.trace.event("recovered", str(len(puts)))

    def _created(self) -> list[Created]:
        """Make the values that the store's ranges would have if they were made now."""
        replicas = tuple(map(replica_on, self.replicas))
        made = []
        for range_id in self.store:
            low, high = self.bounds[range_id]
            value = RangePlacement(
                node=replicas[0].node,
                high_hash=high,
                uri=replicas[0].uri,
                table_id=TABLE_ID,
                range_id=range_id,
                epoch=1 + self._recoveries + 1,
                replicas=replicas,
                factor=self.factor,
            )
            made.append((RangePath(TENANT, TABLE, low), value))
        return sorted(made, key=lambda each: each[0].low_hash)


RECOVERED: Final = replace(
    SPLIT,
    name="recovered",
    build=RecoveredCluster,
    interesting=SPLIT.interesting
    | {"topology_lost", "recovered", "recovered_children", "unsettled", "settled", "held_back"},
)
