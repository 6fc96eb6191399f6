"""A cluster of obedient nodes, of which a leading control moves the replicas."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING, Any

from dstore.base.tasks import Tasks
from dstore.model.errors import NotMine
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.replication import placements
from dstore.replication.peers.errors import unreachable
from dstore.replication.placements import Overtaken
from dstore.replication.replica_calls import AskReplicas, HandedOver, HandOver, ReplicasTold
from dstore.replication.sample_calls import AskSample, Bucket, Sampled
from dstore.replication.split_calls import CutRange
from dstore.replication.splitting import children_of, not_cut
from dstore.replication.surroundings import pause_ms
from dstore.storage.control import tables
from dstore.storage.control.records import HolderState
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator
from dstore.topology.values import RangePlacement, ReplicaState
from tests.support.control import (
    ControlProcess,
    ObedientNode,
    control_process,
    eventually,
    new_table,
    new_tenant,
    obedient_nodes,
)

if TYPE_CHECKING:
    from tests.contract.control.conftest import Place

RANGES = keys.ranges_prefix("acme", "orders")


@dataclass(kw_only=True)
class Primaries:
    """The primaries of all ranges: they take learners in, and hand over if they are told to.

    `is_teaching`: whether they take learners in now. `seen` has every value that a range had.
    `is_cutting`: whether they split what they are asked to. `weights` are what samples say: all of
    each range by hash; None: none is made yet. `asked` are the splits that were asked for.
    """

    coordinator: Coordinator
    is_teaching: bool = True
    dead: set[str] = field(default_factory=set)
    seen: dict[str, list[RangePlacement]] = field(default_factory=dict)
    is_cutting: bool = True
    weights: dict[int, int] | None = field(default_factory=dict)
    asked: list[CutRange] = field(default_factory=list)

    def peer(self, node: str, *, last_uri: str | None = None) -> Primaries:
        """See `Nodes.peer`."""
        del last_uri
        if node in self.dead:
            raise unreachable("is dead")
        return self

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Any:
        """Answer what control asks."""
        del deadline_s, request_id
        if isinstance(request, AskReplicas):
            return ReplicasTold(told=tuple(None for _ in request.asked))
        if isinstance(request, AskSample):
            weights = self.weights
            buckets = None if weights is None else starmap(Bucket, sorted(weights.items()))
            return Sampled(None if buckets is None else tuple(buckets))
        if isinstance(request, CutRange):
            self.asked.append(request)
            await self._cut(request)
            raise not_cut()
        assert isinstance(request, HandOver)
        for placed in await self.placed():
            if placed.value.range_id == request.range_id:
                if placed.value.epoch != request.epoch or placed.value.node in self.dead:
                    raise NotMine(request.range_id, placed.value.epoch)
                assert request.node is not None
                if request.node not in {each.node for each in placed.value.in_sync}:
                    raise unreachable("is not in sync")
                handed = placements.with_primary(placed.value, request.node)
                await self._swap(placed, handed)
                return HandedOver(epoch=handed.epoch)
        raise AssertionError("no such range")

    async def close(self) -> None:
        """Have nothing to end."""

    async def placed(self) -> list[placements.Placed]:
        """Read all ranges of the table."""
        found = []
        for kv in (await self.coordinator.list(RANGES)).kvs:
            path = keys.parse(kv.key)
            assert isinstance(path, keys.RangePath)
            value = values.decode(path, kv.value)
            found.append(placements.Placed(path=path, value=value, revision=kv.mod_revision))
            history = self.seen.setdefault(value.range_id, [])
            if not history or history[-1] != value:
                history.append(value)
        return found

    async def teach(self) -> None:
        """Take learners in, until cancelled."""
        while True:
            for placed in await self.placed() if self.is_teaching else []:
                ready = {
                    each.node
                    for each in placed.value.replicas
                    if each.state is ReplicaState.LEARNER and each.node not in self.dead
                }
                if ready and placed.value.node not in self.dead:
                    taken = placements.with_state(placed.value, ready, ReplicaState.IN_SYNC)
                    await self._swap(placed, taken)
            await asyncio.sleep(0.01)

    async def _cut(self, request: CutRange) -> None:
        for placed in await self.placed() if self.is_cutting else []:
            if (placed.value.range_id, placed.value.epoch) == (request.range_id, request.epoch):
                children = children_of(placed, request.split)
                with suppress(Overtaken):
                    await placements.swap_for_two(
                        self.coordinator, placed, children, pause=pause_ms
                    )

    async def _swap(self, placed: placements.Placed, value: RangePlacement) -> None:
        with suppress(Overtaken):
            await placements.swap(self.coordinator, placed, value, pause=pause_ms)


@dataclass(kw_only=True)
class MovingCluster:
    """Nodes that obey, their primaries, and controls that may lead."""

    place: Place
    nodes: list[ObedientNode]
    primaries: Primaries
    tasks: Tasks

    @asynccontextmanager
    async def leader(self, **settings: Any) -> AsyncIterator[ControlProcess]:
        """Let a control process lead that moves replicas."""
        self.place.started += 1
        async with control_process(
            self.place.coordinator,
            await self.place.store(),
            self.place.directory / f"control{self.place.started}",
            nodes=self.primaries,
            moves_replicas=True,
            **settings,
        ) as process:
            await eventually(lambda: process.leads)
            yield process

    async def join(self, number: int) -> ObedientNode:
        """Let one more node join."""
        node = ObedientNode(self.place.coordinator, number)
        await node.admit(await self.place.store())
        await node.show()
        self.tasks.spawn(node.obey(), name="obedient_node", critical=True)
        self.nodes.append(node)
        return node

    async def join_unmoved(self, leader: ControlProcess, number: int) -> None:
        """Pause all moves, then let one more node join, and wait until the leader knows it."""
        await leader.control.elasticity.pause(is_on=True, actor="x")
        node = await self.join(number)
        await eventually(lambda: node.node in leader.watcher.view.nodes)

    async def lose(self, number: int) -> ObedientNode:
        """Let a node die, with what its ranges' primaries and a failover do then."""
        lost = self.nodes[number - 1]
        lost.is_obedient = False
        self.primaries.dead.add(str(lost.node))
        for placed in await self.primaries.placed():
            if any(each.node == lost.node for each in placed.value.replicas):
                value = placed.value
                if value.node == lost.node:
                    heir = next(each for each in value.in_sync if each.node != lost.node)
                    value = placements.with_primary(value, heir.node)
                value = placements.with_state(value, {str(lost.node)}, ReplicaState.LEARNER)
                await placements.swap(self.place.coordinator, placed, value, pause=pause_ms)
        await lost.die()
        return lost

    async def values(self) -> list[RangePlacement]:
        """Read all ranges' values."""
        return [each.value for each in await self.primaries.placed()]

    async def until(self, is_true: Any) -> list[RangePlacement]:
        """Wait until the ranges' values are so."""
        async with asyncio.timeout(20):
            while not is_true(found := await self.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found

    async def settled(self, leader: ControlProcess) -> list[RangePlacement]:
        """Wait until nothing is planned and nothing under way."""
        async with asyncio.timeout(20):
            while True:
                await asyncio.sleep(0.05)
                revision = (await self.place.coordinator.list(RANGES)).revision
                await leader.watcher.reached(revision)
                found = await leader.control.moves.planned()
                outlook = found.outlook
                is_quiet = not (found.changes or outlook.steps or outlook.moving)
                now = (await self.place.coordinator.list(RANGES)).revision
                if is_quiet and now == revision:
                    return await self.values()


@asynccontextmanager
async def moving_cluster(place: Place, count: int) -> AsyncIterator[MovingCluster]:
    """Run a cluster of `count` nodes, without a control."""
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    primaries = Primaries(coordinator=place.coordinator)
    async with obedient_nodes(place.coordinator, await place.store(), 0):
        cluster = MovingCluster(place=place, nodes=[], primaries=primaries, tasks=tasks)
        try:
            for number in range(1, count + 1):
                await cluster.join(number)
            tasks.spawn(primaries.teach(), name="primaries", critical=True)
            yield cluster
        finally:
            await tasks.close()
    assert failures == []


async def create_table(leader: ControlProcess) -> None:
    """Make a tenant with a table."""
    await leader.control.tenants.create(new_tenant())
    made = await leader.control.tables.create(new_table())
    assert made.status is ResourceStatus.ACTIVE


def load_of(found: Sequence[RangePlacement]) -> Counter[str]:
    """Count the replicas of each node."""
    return Counter(each.node for value in found for each in value.replicas)


def is_safe(history: Sequence[RangePlacement], *, factor: int) -> bool:
    """Tell whether a range had so many in-sync replicas all the time."""
    return all(len(value.in_sync) >= factor for value in history)


async def rows_agree(cluster: MovingCluster, leader: ControlProcess) -> None:
    """Store, values, what nodes are told and what they say are one."""
    found = await cluster.values()
    on = {(value.range_id, each.node) for value in found for each in value.replicas}

    def told() -> Iterator[tuple[str, str]]:
        for node in cluster.nodes:
            for held in node.held.values():
                yield from ((each.range_id, str(node.node)) for each in held.ranges)

    await eventually(lambda: set(told()) == on)
    async with asyncio.timeout(10):
        while True:
            async with leader.plane.store.snapshot() as tx:
                kept = await tables.replicas(tx, TableId(found[0].table_id))
            if {(each.range_id, each.node) for each in kept} == on:
                break
            await asyncio.sleep(0.02)
    assert {each.state for each in kept} == {HolderState.HOLDING}
