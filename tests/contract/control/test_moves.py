"""Replicas move where they should be, and whoever leads goes on where another stopped."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from dstore.model.errors import RefusalKind, Refused, Unavailable
from dstore.service.control import moves as moves_module
from dstore.storage.control import tables
from dstore.storage.control.components import NODES
from dstore.storage.control.records import ComponentState, NodeUuid
from dstore.topology import keyspace as keys
from dstore.topology import values
from tests.contract.control.conftest import Place
from tests.support import control_records
from tests.support.control import (
    ObedientNode,
    eventually,
)
from tests.support.moving import create_table, is_safe, load_of, moving_cluster, rows_agree
from tests.support.topology import uuid


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves_module, "MOVES_PAUSE_S", 0.01)
    monkeypatch.setattr(moves_module, "MOVES_INTERVAL_S", 0.1)


async def test_a_cluster_that_grows_gets_the_replicas_that_it_should_have(place: Place) -> None:
    """Of one node's ranges there are three replicas once there are three nodes, and a factor."""
    async with (
        moving_cluster(place, 1) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=2) as leader,
    ):
        await create_table(leader)
        assert [value.factor for value in await cluster.values()] == [1, 1]
        await cluster.join(2)
        await cluster.until(lambda found: [each.factor for each in found] == [2, 2])
        await cluster.join(3)
        await cluster.until(lambda found: [each.factor for each in found] == [3, 3])
        found = await cluster.settled(leader)
        assert all(len(value.in_sync) == 3 for value in found)
        assert set(load_of(found).values()) == {2}
        assert sorted(Counter(value.node for value in found).values()) == [1, 1]
        await rows_agree(cluster, leader)


async def test_a_node_that_joins_takes_its_part(place: Place) -> None:
    """Replicas and primaries go to it, and at no moment has a range fewer than three in sync."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=8) as leader,
    ):
        await create_table(leader)
        await cluster.join(4)
        await cluster.until(lambda found: load_of(found)[uuid(4)] == 6)
        found = await cluster.settled(leader)
        assert set(load_of(found).values()) == {6}
        assert set(Counter(value.node for value in found).values()) == {2}
        assert all(is_safe(each, factor=3) for each in cluster.primaries.seen.values())
        assert all(value.factor == 3 for value in found)
        await rows_agree(cluster, leader)


async def test_one_that_is_gone_for_long_is_replaced(place: Place) -> None:
    """Its replicas are made anew on another; when it comes back it lets go of its own."""
    async with (
        moving_cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4, replaced_after_s=0.3) as leader,
    ):
        await create_table(leader)
        lost = await cluster.lose(4)
        found = await cluster.until(
            lambda found: (
                uuid(4) not in load_of(found) and all(len(value.in_sync) == 3 for value in found)
            )
        )
        assert set(load_of(found).values()) == {4}
        async with leader.plane.store.snapshot() as tx:
            assert await tables.replicas_on_their_way(tx), "nobody has heard it say so"
        lost.is_obedient = True
        cluster.primaries.dead.clear()
        await place.coordinator.delete(keys.NodeTablePath(lost.node, "acme", "orders").path)
        await lost.show()
        found = await cluster.settled(leader)
        assert set(load_of(found).values()) == {3}, "it is given its part again"
        await rows_agree(cluster, leader)


async def test_another_leader_goes_on(place: Place) -> None:
    """A move that stopped anywhere is brought to its end by whoever leads next."""
    async with moving_cluster(place, 3) as cluster:
        cluster.primaries.is_teaching = False
        settings = {"replication_factor": 3, "ranges_per_table": 4}
        async with cluster.leader(**settings) as first:
            await create_table(first)
            await cluster.join(4)
            await cluster.until(lambda found: load_of(found)[uuid(4)] == 2)
            await first.kill()
        cluster.primaries.is_teaching = True
        async with cluster.leader(**settings) as second:
            await cluster.until(lambda found: load_of(found)[uuid(4)] == 3)
            found = await cluster.settled(second)
            assert set(load_of(found).values()) == {3}
            assert all(is_safe(each, factor=3) for each in cluster.primaries.seen.values())
            await rows_agree(cluster, second)


async def test_who_was_to_learn_is_lost(place: Place) -> None:
    """Its replica goes; what was to be moved stays where it is, or goes to another."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4, replaced_after_s=0.3) as leader,
    ):
        await create_table(leader)
        cluster.primaries.is_teaching = False
        joined = await cluster.join(4)
        await cluster.until(lambda found: load_of(found)[uuid(4)] == 2)
        cluster.primaries.dead.add(uuid(4))
        cluster.primaries.is_teaching = True
        await joined.die()
        await cluster.until(lambda found: uuid(4) not in load_of(found))
        found = await cluster.until(lambda found: all(len(each.replicas) == 3 for each in found))
        assert set(load_of(found).values()) == {4}
        assert all(is_safe(each, factor=3) for each in cluster.primaries.seen.values())


async def test_a_node_in_maintenance_is_given_nothing(place: Place) -> None:
    """However little it has."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=2, ranges_per_table=6) as leader,
    ):
        await create_table(leader)
        async with leader.plane.store.transaction() as tx:
            maintained = control_records.node(uuid(4), state=ComponentState.MAINTENANCE)
            await NODES.insert(tx, maintained)
        node = ObedientNode(place.coordinator, 4)
        await node.show()
        before = load_of(await cluster.values())
        found = await cluster.settled(leader)
        assert load_of(found) == before


async def test_a_node_is_decommissioned(place: Place) -> None:
    """Its replicas go to others without a range ever being weaker; then it can be removed."""
    async with (
        moving_cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        elasticity, node = leader.control.elasticity, NodeUuid(uuid(2))
        with pytest.raises(Refused, match="still has ranges"):
            await leader.control.survey.remove_node(node, actor="x")
        await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        await cluster.until(lambda found: uuid(2) not in load_of(found))
        found = await cluster.settled(leader)
        assert set(load_of(found).values()) == {4}
        assert all(is_safe(each, factor=3) for each in cluster.primaries.seen.values())
        await rows_agree(cluster, leader)
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
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=6) as leader,
    ):
        await create_table(leader)
        elasticity, node = leader.control.elasticity, NodeUuid(uuid(2))
        await elasticity.intend(node, ComponentState.DRAINING, actor="x")
        await cluster.until(lambda found: uuid(2) not in {each.node for each in found})
        assert load_of(await cluster.settled(leader))[uuid(2)] == 6
        await elasticity.intend(node, ComponentState.ACTIVE, actor="x")
        await cluster.until(lambda found: sum(each.node == uuid(2) for each in found) == 2)


async def test_whether_a_node_may_be_stopped(place: Place) -> None:
    """As long as enough others are in sync and alive."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=2) as leader,
    ):
        await create_table(leader)
        ok_to_stop = leader.control.elasticity.ok_to_stop
        assert (await ok_to_stop(NodeUuid(uuid(2)))).is_okay
        await cluster.nodes[2].die()
        watcher = leader.watcher
        await eventually(lambda: (seen := watcher.view.node(uuid(3))) is None or seen.alive is None)
        found = await ok_to_stop(NodeUuid(uuid(2)))
        assert (found.is_okay, found.losing) == (False, 2)
        assert "1 living replica in sync, and a write needs 2" in found.why
        with pytest.raises(Refused):
            await ok_to_stop(NodeUuid(uuid(9)))


async def test_nobody_is_let_go_while_the_coordinator_is_silent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was true when it was heard last may not be, and nobody would take the ranges over."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=2) as leader,
    ):
        await create_table(leader)
        node, control = NodeUuid(uuid(2)), leader.control
        assert (await control.elasticity.ok_to_stop(node)).is_okay
        assert (await control.survey.status()).failures_survivable == 1
        known = leader.watcher.status()
        for heard_ms_ago, is_silent in ((6_000, False), (15_000, True)):
            told = replace(known, heard_ms_ago=heard_ms_ago)
            monkeypatch.setattr(type(leader.watcher), "status", lambda _self, told=told: told)
            with pytest.raises(Unavailable, match="Nobody can tell now"):
                await control.elasticity.ok_to_stop(node)
            status = await control.survey.status()
            assert status.failures_survivable == (0 if is_silent else 1)
            assert ("the coordinator is silent" in status.sentence) is is_silent


async def test_nothing_is_moved_while_that_is_paused(place: Place) -> None:
    """The plan says what waits; an abort takes back what was begun; resumed, it goes on."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        elasticity = leader.control.elasticity
        await cluster.join_unmoved(leader, 4)
        await asyncio.sleep(0.3)
        found = await elasticity.plan()
        assert found.is_paused
        assert [each.add for each in found.moves if each.add] == [uuid(4)] * 3
        assert uuid(4) not in load_of(await cluster.values())
        cluster.primaries.is_teaching = False
        await elasticity.pause(is_on=False, actor="x")
        await cluster.until(lambda found: load_of(found)[uuid(4)] == 2)
        moving = [each for each in (await elasticity.plan()).moves if not each.why]
        assert {each.add for each in moving} == {uuid(4)}
        assert await elasticity.abort(actor="x") == 2
        await cluster.until(lambda found: uuid(4) not in load_of(found))
        cluster.primaries.is_teaching = True
        await rows_agree(cluster, leader)
        await elasticity.pause(is_on=False, actor="x")
        await cluster.until(lambda found: load_of(found)[uuid(4)] == 3)
        await cluster.settled(leader)
        assert all(is_safe(each, factor=3) for each in cluster.primaries.seen.values())
        await rows_agree(cluster, leader)


async def test_who_was_learning_from_a_disk_that_is_lost_keeps_what_it_has(place: Place) -> None:
    """It may be all there is: to give up what is copied is no order to forget that (B10)."""
    async with (
        moving_cluster(place, 1) as cluster,
        cluster.leader(replication_factor=2, ranges_per_table=1) as leader,
    ):
        await create_table(leader)
        cluster.primaries.is_teaching = False
        await cluster.join(2)
        [before] = await cluster.until(lambda found: len(found[0].replicas) == 2)
        lost = cluster.nodes[0].node
        boot = values.NodeBoot(number=2, nonce="m", incarnation=uuid(901))
        await cluster.place.coordinator.put(keys.NodeBootPath(lost).path, values.encode(boot))
        await leader.control.elasticity.abort(actor="x")
        await asyncio.sleep(0.5)
        assert await cluster.values() == [before]
        status = await leader.control.survey.status()
        assert status.ranges.unavailable == 1
