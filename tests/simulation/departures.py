"""A replicated range whose nodes are stopped cleanly and started again, as in a rolling restart.

What gives the range away is the product's (`service.cluster.departure`); a stand-in tells it that
all other nodes stay.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from dstore.model.errors import DStoreError
from dstore.service.cluster.departure import Departure
from dstore.topology.values import ComponentStatus
from tests.simulation.faults import Fault
from tests.simulation.machines import Died
from tests.simulation.replicated import REPLICATED, ReplicatedCluster
from tests.simulation.replicated_node import node_id

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from random import Random

    from dstore.topology.watcher import TopologyWatcher
    from tests.simulation.history import Call
    from tests.simulation.replicated_node import Node
    from tests.simulation.world import World

_DRAIN_S: Final = 6.0
_WHOLE_S: Final = 0.2  # between two looks whether the next one may be stopped


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the view says of a node, or of its details."""

    alive: bool = True
    status: ComponentStatus = ComponentStatus.OKAY

    @property
    def details(self) -> _Seen:
        return self

    @property
    def value(self) -> _Seen:
        return self


class _AllStay:
    """A watcher, and its view, in which every node lives and stays."""

    @property
    def view(self) -> _AllStay:
        return self

    def node(self, _node: str) -> _Seen:
        return _Seen()


async def depart(node: Node) -> None:
    """Give away what a node is primary of, as it does before it stops."""
    node.replicas._around.leaving.set()
    departure = Departure(
        node_id(node.number),
        node.replicas,
        watcher=cast("TopologyWatcher", _AllStay()),
        coordinator=node.coordinator,
        tasks=node.tasks,
    )
    await departure.run(_DRAIN_S)


class DepartingCluster(ReplicatedCluster):
    """All that befalls a replicated range, and nodes that are stopped cleanly as well."""

    def faults(self) -> Sequence[Fault]:
        """Stop nodes, whatever else happens."""
        return (*super().faults(), Fault(name="departure", strike=self.strike, weight=6.0))

    async def strike(self, random: Random) -> None:
        """Stop a node cleanly, or the process ends on the way."""
        machine = random.choice(self.nodes)
        process, node = machine.process, self.lives.get(self.nodes.index(machine) + 1)
        if process is None or node is None or node.process is not process:
            return
        try:
            with suppress(DStoreError, Died):
                await process.run(depart(node), name="depart")
            self.world.trace.event("departed", machine.name)
        finally:  # who has begun to leave does not stay
            if machine.process is process:
                machine.kill()


class RollingCluster(DepartingCluster):
    """Nothing befalls it but that its nodes are restarted, one after the other."""

    def __init__(self, world: World) -> None:
        """Set the machines up, all off; a range has as many replicas as there are nodes."""
        super().__init__(world, nodes=3)
        self._patches.close()
        self.factor = 3
        self.slowest_s = 0.0

    def faults(self) -> Sequence[Fault]:
        """List none; see `work`."""
        return (Fault(name="nothing", strike=_nothing),)

    async def do(self, client: int, key: str, call: Call) -> Hashable:
        """Note how long the slowest took, tries included."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        answer = await super().do(client, key, call)
        if client:  # not those of the start
            self.slowest_s = max(self.slowest_s, loop.time() - began_s)
        return answer

    async def work(self) -> None:
        """Restart the next one whenever all replicas are in sync."""
        random = self.world.random("rolling")
        while True:
            for machine in self.nodes:
                while not await self._may_stop_one():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(_WHOLE_S)
                await asyncio.sleep(random.uniform(0.0, 1.0))
                await self._restart(machine.name)

    async def _may_stop_one(self) -> bool:
        return all(each.is_up for each in self.nodes) and await self._is_whole()

    async def _restart(self, name: str) -> None:
        machine = self.world.machines[name]
        node = self.lives[self.nodes.index(machine) + 1]
        try:
            await node.process.run(depart(node), name="depart")
            self.world.trace.event("departed", name)
            self.world.trace.counts["departed.slowest_ms"] = int(self.slowest_s * 1_000)
        finally:  # as above, and when the play ends meanwhile
            machine.kill()


async def _nothing(_random: Any) -> None:
    return None


DEPARTING: Final = replace(
    REPLICATED,
    name="departing",
    build=DepartingCluster,
    duration_s=32.0,
    fault_pause_s=1.5,
    interesting=frozenset({"departed", "log.handed_over", "log.failed_over", "log.range_opened"}),
)
ROLLING: Final = replace(
    REPLICATED,
    name="rolling",
    build=RollingCluster,
    duration_s=45.0,
    think_s=0.12,
    interesting=frozenset({"departed", "log.handed_over"}),
)
