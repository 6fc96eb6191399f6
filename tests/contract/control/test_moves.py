"""Replicas move where they should be, and whoever leads goes on where another stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from dstore.base.tasks import Tasks
from dstore.model.errors import NotMine, RefusalKind, Refused
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.replication import placements
from dstore.replication.peers.errors import unreachable
from dstore.replication.placements import Overtaken
from dstore.replication.replica_calls import AskReplicas, HandedOver, HandOver, ReplicasTold
from dstore.replication.surroundings import pause_ms
from dstore.service.control import moves as moves_module
from dstore.storage.control import tables
from dstore.storage.control.components import NODES
from dstore.storage.control.records import ComponentState, HolderState, NodeUuid
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator
from dstore.topology.values import RangePlacement, ReplicaState
from tests.contract.control.conftest import Place
from tests.support import control_records
from tests.support.control import (
    ControlProcess,
    ObedientNode,
    control_process,
    eventually,
    new_table,
    new_tenant,
    obedient_nodes,
)
from tests.support.topology import uuid

RANGES = keys.ranges_prefix("acme", "orders")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves_module, "MOVES_PAUSE_S", 0.01)
    monkeypatch.setattr(moves_module, "MOVES_INTERVAL_S", 0.1)


@dataclass(kw_only=True)
class Primaries:
    """The primaries of all ranges: they take learners in, and hand over if they are told to.

    `is_teaching`: whether they take learners in now. `seen` has every value that a range had.
    """

    coordinator: Coordinator
    is_teaching: bool = True
    dead: set[str] = field(default_factory=set)
    seen: dict[str, list[RangePlacement]] = field(default_factory=dict)

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

    async def _swap(self, placed: placements.Placed, value: RangePlacement) -> None:
        with suppress(Overtaken):
            await placements.swap(self.coordinator, placed, value, pause=pause_ms)


@dataclass(kw_only=True)
class _Cluster:
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

    async def values(self) -> list[RangePlacement]:
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
async def _cluster(place: Place, count: int) -> AsyncIterator[_Cluster]:
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    primaries = Primaries(coordinator=place.coordinator)
    async with obedient_nodes(place.coordinator, await place.store(), 0):
        cluster = _Cluster(place=place, nodes=[], primaries=primaries, tasks=tasks)
        try:
            for number in range(1, count + 1):
                await cluster.join(number)
            tasks.spawn(primaries.teach(), name="primaries", critical=True)
            yield cluster
        finally:
            await tasks.close()
    assert failures == []


async def _create(leader: ControlProcess) -> None:
    await leader.control.tenants.create(new_tenant())
    made = await leader.control.tables.create(new_table())
    assert made.status is ResourceStatus.ACTIVE


def _load(found: Sequence[RangePlacement]) -> Counter[str]:
    return Counter(each.node for value in found for each in value.replicas)


def _is_safe(history: Sequence[RangePlacement], *, factor: int) -> bool:
    """Tell whether a range had so many in-sync replicas all the time."""
    return all(len(value.in_sync) >= factor for value in history)


async def _rows_agree(cluster: _Cluster, leader: ControlProcess) -> None:
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


async def test_a_cluster_that_grows_gets_the_replicas_that_it_should_have(place: Place) -> None:
    """Of one node's ranges there are three replicas once there are three nodes, and a factor."""
    async with (
        _cluster(place, 1) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=2) as leader,
    ):
        await _create(leader)
        assert [value.factor for value in await cluster.values()] == [1, 1]
        await cluster.join(2)
        await cluster.until(lambda found: [each.factor for each in found] == [2, 2])
        await cluster.join(3)
        await cluster.until(lambda found: [each.factor for each in found] == [3, 3])
        found = await cluster.settled(leader)
        assert all(len(value.in_sync) == 3 for value in found)
        assert set(_load(found).values()) == {2}
        assert sorted(Counter(value.node for value in found).values()) == [1, 1]
        await _rows_agree(cluster, leader)


async def test_a_node_that_joins_takes_its_part(place: Place) -> None:
    """Replicas and primaries go to it, and at no moment has a range fewer than three in sync."""
    async with (
        _cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=8) as leader,
    ):
        await _create(leader)
        await cluster.join(4)
        await cluster.until(lambda found: _load(found)[uuid(4)] == 6)
        found = await cluster.settled(leader)
        assert set(_load(found).values()) == {6}
        assert set(Counter(value.node for value in found).values()) == {2}
        assert all(_is_safe(each, factor=3) for each in cluster.primaries.seen.values())
        assert all(value.factor == 3 for value in found)
        await _rows_agree(cluster, leader)


async def test_one_that_is_gone_for_long_is_replaced(place: Place) -> None:
    """Its replicas are made anew on another; when it comes back it lets go of its own."""
    async with (
        _cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4, replaced_after_s=0.3) as leader,
    ):
        await _create(leader)
        lost = cluster.nodes[3]
        lost.is_obedient = False
        cluster.primaries.dead.add(str(lost.node))
        for placed in await cluster.primaries.placed():  # what their primaries and a failover do
            if any(each.node == lost.node for each in placed.value.replicas):
                value = placed.value
                if value.node == lost.node:
                    heir = next(each for each in value.in_sync if each.node != lost.node)
                    value = placements.with_primary(value, heir.node)
                value = placements.with_state(value, {str(lost.node)}, ReplicaState.LEARNER)
                await placements.swap(place.coordinator, placed, value, pause=pause_ms)
        await lost.die()
        found = await cluster.until(
            lambda found: (
                uuid(4) not in _load(found) and all(len(value.in_sync) == 3 for value in found)
            )
        )
        assert set(_load(found).values()) == {4}
        async with leader.plane.store.snapshot() as tx:
            assert await tables.replicas_on_their_way(tx), "nobody has heard it say so"
        lost.is_obedient = True
        cluster.primaries.dead.clear()
        await place.coordinator.delete(keys.NodeTablePath(lost.node, "acme", "orders").path)
        await lost.show()
        found = await cluster.settled(leader)
        assert set(_load(found).values()) == {3}, "it is given its part again"
        await _rows_agree(cluster, leader)


async def test_another_leader_goes_on(place: Place) -> None:
    """A move that stopped anywhere is brought to its end by whoever leads next."""
    async with _cluster(place, 3) as cluster:
        cluster.primaries.is_teaching = False
        settings = {"replication_factor": 3, "ranges_per_table": 4}
        async with cluster.leader(**settings) as first:
            await _create(first)
            await cluster.join(4)
            await cluster.until(lambda found: _load(found)[uuid(4)] == 2)
            await first.kill()
        cluster.primaries.is_teaching = True
        async with cluster.leader(**settings) as second:
            await cluster.until(lambda found: _load(found)[uuid(4)] == 3)
            found = await cluster.settled(second)
            assert set(_load(found).values()) == {3}
            assert all(_is_safe(each, factor=3) for each in cluster.primaries.seen.values())
            await _rows_agree(cluster, second)


async def test_who_was_to_learn_is_lost(place: Place) -> None:
    """Its replica goes; what was to be moved stays where it is, or goes to another."""
    async with (
        _cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4, replaced_after_s=0.3) as leader,
    ):
        await _create(leader)
        cluster.primaries.is_teaching = False
        joined = await cluster.join(4)
        await cluster.until(lambda found: _load(found)[uuid(4)] == 2)
        cluster.primaries.dead.add(uuid(4))
        cluster.primaries.is_teaching = True
        await joined.die()
        await cluster.until(lambda found: uuid(4) not in _load(found))
        found = await cluster.until(lambda found: all(len(each.replicas) == 3 for each in found))
        assert set(_load(found).values()) == {4}
        assert all(_is_safe(each, factor=3) for each in cluster.primaries.seen.values())


async def test_a_node_in_maintenance_is_given_nothing(place: Place) -> None:
    """However little it has."""
    async with (
        _cluster(place, 3) as cluster,
        cluster.leader(replication_factor=2, ranges_per_table=6) as leader,
    ):
        await _create(leader)
        async with leader.plane.store.transaction() as tx:
            maintained = control_records.node(uuid(4), state=ComponentState.MAINTENANCE)
            await NODES.insert(tx, maintained)
        node = ObedientNode(place.coordinator, 4)
        await node.show()
        before = _load(await cluster.values())
        found = await cluster.settled(leader)
        assert _load(found) == before


async def test_a_node_is_decommissioned(place: Place) -> None:
    """Its replicas go to others without a range ever being weaker; then it can be removed."""
    async with (
        _cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await _create(leader)
        elasticity, node = leader.control.elasticity, NodeUuid(uuid(2))
        with pytest.raises(Refused, match="still has ranges"):
            await leader.control.survey.remove_node(node, actor="x")
        await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        await cluster.until(lambda found: uuid(2) not in _load(found))
        found = await cluster.settled(leader)
        assert set(_load(found).values()) == {4}
        assert all(_is_safe(each, factor=3) for each in cluster.primaries.seen.values())
        await _rows_agree(cluster, leader)
        removed = await leader.control.survey.remove_node(node, actor="x")
        assert removed.state is ComponentState.REMOVED
        with pytest.raises(Refused, match="4 ranges would fall below") as refused:
            await elasticity.intend(NodeUuid(uuid(3)), ComponentState.DECOMMISSIONING, actor="x")
        assert refused.value.kind is RefusalKind.CONFLICT
        with pytest.raises(Refused) as unknown:
            await elasticity.intend(node, ComponentState.DRAINING, actor="x")
        assert unknown.value.kind is RefusalKind.NOT_FOUND


async def test_a_node_is_drained_and_comes_back(place: Place) -> None:
    """Its primaries go and its replicas stay; afterwards it is given primaries again."""
    async with (
        _cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=6) as leader,
    ):
        await _create(leader)
        elasticity, node = leader.control.elasticity, NodeUuid(uuid(2))
        await elasticity.intend(node, ComponentState.DRAINING, actor="x")
        await cluster.until(lambda found: uuid(2) not in {each.node for each in found})
        assert _load(await cluster.settled(leader))[uuid(2)] == 6
        await elasticity.intend(node, ComponentState.ACTIVE, actor="x")
        await cluster.until(lambda found: sum(each.node == uuid(2) for each in found) == 2)


async def test_whether_a_node_may_be_stopped(place: Place) -> None:
    """As long as enough others are in sync and alive."""
    async with (
        _cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=2) as leader,
    ):
        await _create(leader)
        ok_to_stop = leader.control.elasticity.ok_to_stop
        assert (await ok_to_stop(NodeUuid(uuid(2)))).is_okay
        await cluster.nodes[2].die()
        watcher = leader.watcher
        await eventually(lambda: (seen := watcher.view.node(uuid(3))) is None or seen.alive is None)
        found = await ok_to_stop(NodeUuid(uuid(2)))
        assert (found.is_okay, found.losing) == (False, 2)
        assert "1 living replicas in sync, and a write needs 2" in found.why
        with pytest.raises(Refused):
            await ok_to_stop(NodeUuid(uuid(9)))


async def test_nothing_is_moved_while_that_is_paused(place: Place) -> None:
    """The plan says what waits; an abort takes back what was begun; resumed, it goes on."""
    async with (
        _cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await _create(leader)
        elasticity = leader.control.elasticity
        await elasticity.pause(is_on=True, actor="x")
        await cluster.join(4)
        await eventually(lambda: uuid(4) in leader.watcher.view.nodes)
        await asyncio.sleep(0.3)
        found = await elasticity.plan()
        assert found.is_paused
        assert [each.add for each in found.moves if each.add] == [uuid(4)] * 3
        assert uuid(4) not in _load(await cluster.values())
        cluster.primaries.is_teaching = False
        await elasticity.pause(is_on=False, actor="x")
        await cluster.until(lambda found: _load(found)[uuid(4)] == 2)
        moving = [each for each in (await elasticity.plan()).moves if not each.why]
        assert {each.add for each in moving} == {uuid(4)}
        assert await elasticity.abort(actor="x") == 2
        await cluster.until(lambda found: uuid(4) not in _load(found))
        cluster.primaries.is_teaching = True
        await _rows_agree(cluster, leader)
        await elasticity.pause(is_on=False, actor="x")
        await cluster.until(lambda found: _load(found)[uuid(4)] == 3)
        await cluster.settled(leader)
        assert all(_is_safe(each, factor=3) for each in cluster.primaries.seen.values())
        await _rows_agree(cluster, leader)
