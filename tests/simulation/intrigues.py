"""Troubles made for a replicated range: each is about a sentence of the protocol."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dstore.model.errors import DStoreError
from dstore.replication import placements
from dstore.replication.surroundings import pause_ms
from tests.simulation.coordination import MACHINE as COORDINATOR
from tests.simulation.faults import Fault
from tests.simulation.machines import Died

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from dstore.replication.placements import Placed
    from dstore.replication.replica import Replica as ReplicaHere
    from dstore.topology.values import RangePlacement
    from tests.simulation.machines import Machine, Process
    from tests.simulation.replicated import ReplicatedCluster


class Intrigues:
    """What befalls primaries, and whoever changes the in-sync set."""

    def __init__(self, cluster: ReplicatedCluster) -> None:
        """Trouble this cluster."""
        self.cluster = cluster

    def faults(self) -> Sequence[Fault]:
        """List them."""
        return (
            Fault(name="betrayal", strike=self.betray, weight=3.0),
            Fault(name="coup", strike=self.depose_unheard, weight=2.0),
            Fault(name="succession", strike=self.end_successors, weight=2.0),
            Fault(name="open_swap", strike=self.leave_a_swap_open, weight=2.0),
            Fault(name="hand_over", strike=self.hand_over, weight=2.0),
            Fault(name="exchange", strike=self.exchange, weight=2.0),
            Fault(name="factor", strike=self.change_factor, weight=0.5),
        )

    async def betray(self, random: Random) -> None:
        """Cut a primary off from the other nodes, then from whoever decides, or end it.

        Clients reach it all the while, if it lives: what it may tell them is what this is about.
        """
        number = max(
            self.cluster.believed.values(),
            key=list(self.cluster.believed.values()).count,
            default=1,
        )
        machine = self.cluster.nodes[number - 1]
        others = [node.name for node in self.cluster.nodes if node is not machine]
        one_way = random.random() < 0.3
        parting = self.cluster.world.network.part([machine.name], others, one_way=one_way)
        judges = [COORDINATOR, *(control.name for control in self.cluster.controls)]
        away = None
        try:
            await asyncio.sleep(random.choice((0.0, random.uniform(0.0, 3.0))))
            if random.random() < 0.5:
                away = self.cluster.world.network.part([machine.name], judges)
            elif random.random() < 0.5:
                machine.kill()
            else:
                machine.cut_power()
            await asyncio.sleep(random.uniform(0.5, 12.0))
        finally:
            parting.mend()
            if away is not None:
                away.mend()

    async def sever(self, random: Random) -> None:
        """Cut a primary off from the other nodes and nobody else, until another one serves."""
        machine = next(filter(self._is_serving, self.cluster.nodes), None)
        if machine is None:
            return
        others = [node for node in self.cluster.nodes if node is not machine]
        parting = self.cluster.world.network.part([machine.name], [node.name for node in others])
        try:
            async with asyncio.timeout(random.uniform(2.0, 20.0)):
                while not any(map(self._is_serving, others)):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.1)
            self.cluster.world.trace.event("taken_over_unheard", machine.name)
            await asyncio.sleep(random.uniform(0.0, 3.0))
        except TimeoutError:
            pass
        finally:
            parting.mend()

    async def depose_unheard(self, random: Random) -> None:
        """Have another primary within a moment, while readers stay with the one that is cut off.

        Those who write look for it at once.
        """
        machine = next(filter(self._is_serving, self.cluster.nodes), None)
        if machine is None:
            return
        number, clients = self.cluster.nodes.index(machine) + 1, [*self.cluster.believed]
        for client in clients:
            others = [each for each in self.cluster.numbers if each != number]
            self.cluster.believed[client] = (
                number if client < self.cluster.readers else random.choice(others)
            )
        names = [name for name in self.cluster.world.machines if name != self.cluster.client.name]
        await asyncio.sleep(random.uniform(0.0, 0.3))
        parting = self.cluster.world.network.part(
            [machine.name], [name for name in names if name != machine.name]
        )
        try:
            await self.cluster.world.coordination.end_lease_of(self.cluster.alive_path(number))
            await asyncio.sleep(random.uniform(2.0, 8.0))
        finally:
            parting.mend()

    def _is_serving(self, machine: Machine) -> bool:
        replica = self._replica(machine)
        return machine.is_up and replica is not None and replica.serving_epoch is not None

    async def end_successors(self, random: Random) -> None:
        """End the next two primaries, each a moment after it has begun to serve."""
        for _ in range(2):
            serving = await self._next_serving()
            await asyncio.sleep(random.uniform(0.0, random.choice((0.002, 0.05, 1.5))))
            if serving.is_up:
                serving.kill()

    async def _next_serving(self) -> Machine:
        for machine in self.cluster.nodes:
            replica = self._replica(machine)
            if machine.is_up and replica is not None and replica.serving_epoch is not None:
                machine.kill()
        await self.cluster.world.trace.next("log.range_opened")
        for machine in self.cluster.nodes:
            replica = self._replica(machine)
            if replica is not None and replica.serving_epoch is not None:
                return machine
        return self.cluster.nodes[0]

    async def hand_over(self, random: Random) -> None:
        """Have the primary hand the range over once or some times, as control asks it to."""
        for _ in range(random.choice((1, 1, 3)) * 10):
            await asyncio.sleep(random.uniform(0.0, 1.0))
            for machine in self.cluster.nodes:
                replica, process = self._replica(machine), machine.process
                if process is None or replica is None or replica.serving_epoch is None:
                    continue
                with suppress(Died):
                    await process.run(self._hand_over(replica, random), name="hand_over")
                break

    async def exchange(self, random: Random) -> None:
        """Add a replica on a node that has none; when it is in sync, take another one away.

        Control does so, sometimes by what it has read long ago.
        """
        added = await self._change(random, self._with_another)
        if added is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(2.0, 15.0)):
                while await self._change(random, self._without_one) is None:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.5)

    async def change_factor(self, random: Random) -> None:
        """Say that the range should have more replicas or fewer, and take it back later."""
        before = random.choice((1, 2, 5))
        for factor in (before, self.cluster.factor):
            await self._change(random, lambda value, _: placements.with_factor(value, factor))  # noqa: B023
            await asyncio.sleep(random.uniform(0.0, 6.0))

    def _with_another(self, value: RangePlacement, random: Random) -> RangePlacement:
        named = {each.node for each in value.replicas}
        free = [each for each in self.cluster.numbers if self.cluster.ids[each - 1] not in named]
        return placements.with_learner(value, self.cluster.replica_on(random.choice(free)))

    def _without_one(self, value: RangePlacement, random: Random) -> RangePlacement:
        if len(value.in_sync) < len(value.replicas):
            raise ValueError("Somebody learns.")
        return placements.without(value, random.choice(value.replicas).node)

    async def _change(
        self, random: Random, change: Callable[[RangePlacement, Random], RangePlacement]
    ) -> Placed | None:
        """Change the range's value as control does. Returns: None if that was not possible."""
        process = random.choice(self.cluster.controls).process
        if process is None:
            return None
        delay_s = random.choice((0.0, random.uniform(0.0, 3.0)))
        with suppress(Died):
            return await process.run(self._swap(process, delay_s, random, change), name="change")
        return None

    async def _swap(
        self,
        process: Process,
        delay_s: float,
        random: Random,
        change: Callable[[RangePlacement, Random], RangePlacement],
    ) -> Placed | None:
        coordinator = self.cluster.world.coordination.client(process)
        try:
            placed = await placements.read(coordinator, self.cluster.path)
            assert placed is not None
            value = change(placed.value, random)
            await asyncio.sleep(delay_s)
            done = await placements.swap(coordinator, placed, value, pause=pause_ms)
        except (DStoreError, IndexError, ValueError):
            return None
        self.cluster.world.trace.event("members_changed", f"{len(value.replicas)}")
        return done

    async def _hand_over(self, replica: ReplicaHere, random: Random) -> None:
        assert replica.serving_epoch is not None
        node = random.choice((None, *self.cluster.ids))
        with suppress(DStoreError):  # here: whoever asks may have gone when it fails
            await replica.hand_over(node)

    def _replica(self, machine: Machine) -> ReplicaHere | None:
        life = self.cluster.lives.get(int(machine.name[-1]))
        if life is None or machine.process is not life.process:
            return None
        return life.replicas.of(self.cluster.range_id)

    async def leave_a_swap_open(self, random: Random) -> None:
        """Lose the answer of somebody's next swap, and cut that one off from everybody then."""
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def loses(machine: str, method: str, _args: tuple[Any, ...]) -> bool:
            is_swap = method == "commit" and machine.startswith("node")
            if is_swap and not asked.done():
                asked.set_result(machine)
                return True
            return False

        self.cluster.world.coordination.loses_reply = loses
        try:
            async with asyncio.timeout(20.0):
                machine = await asked
                self.cluster.world.trace.event("swap_unknown", machine)
        except TimeoutError:
            return
        finally:
            self.cluster.world.coordination.heal()
        await asyncio.sleep(random.choice((0.0, random.uniform(0.0, 0.3))))
        others = [
            each
            for each in self.cluster.world.machines
            if each not in (machine, self.cluster.client.name)
        ]
        parting = self.cluster.world.network.part([machine], others)
        try:
            await asyncio.sleep(random.uniform(4.0, 12.0))
        finally:
            parting.mend()
