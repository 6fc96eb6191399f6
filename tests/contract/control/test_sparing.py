"""What is refused before it begins, what is approved, and how far it is: nodes that are to go."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from dstore.base.limits import MIB
from dstore.model.errors import RefusalKind, Refused
from dstore.replication import placements
from dstore.replication.surroundings import pause_ms
from dstore.security.identity import ComponentRole
from dstore.service.control import move_tasks
from dstore.service.control import moves as moves_module
from dstore.storage.control.records import ComponentState, NodeUuid, TaskId, TaskState
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.values import ReplicaState
from tests.support.control import eventually
from tests.support.moving import create_table, load_of, moving_cluster
from tests.support.topology import uuid

if TYPE_CHECKING:
    from tests.contract.control.conftest import Place
    from tests.support.control import ControlProcess
    from tests.support.moving import MovingCluster


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves_module, "MOVES_PAUSE_S", 0.01)
    monkeypatch.setattr(moves_module, "MOVES_INTERVAL_S", 0.1)
    monkeypatch.setattr(move_tasks, "MOVES_FOLLOWED_S", 0.05)


async def _task(leader: ControlProcess, task_id: TaskId | None) -> tuple[TaskState, dict[str, int]]:
    assert task_id is not None
    found = await leader.control.survey.task(task_id)
    return found.state, json.loads(found.progress)


async def _ended(leader: ControlProcess, task_id: TaskId | None) -> TaskState:
    async with asyncio.timeout(20):
        while True:
            state, _ = await _task(leader, task_id)
            if state not in {TaskState.QUEUED, TaskState.RUNNING}:
                return state
            await asyncio.sleep(0.02)


async def _told_sizes(cluster: MovingCluster, leader: ControlProcess, *, stored_bytes: int) -> None:
    """Have every node say how large its replicas are."""
    for node in cluster.nodes:
        reports = tuple(
            values.HeldReport(
                range_id=each.range_id,
                status=values.HeldStatus.OKAY,
                entries=1,
                stored_bytes=stored_bytes,
            )
            for held in node.held.values()
            for each in held.ranges
        )
        if reports:
            details = values.NodeTableDetails(status=values.HeldStatus.OKAY, ranges=reports)
            path = keys.NodeTablePath(node.node, "acme", "orders").path
            await cluster.place.coordinator.put(path, values.encode(details))
    await _seen(cluster, leader)


async def _has_room(
    cluster: MovingCluster, leader: ControlProcess, node: keys.ComponentId, *, free_bytes: int
) -> None:
    """Have a node say how much of its disk is free."""
    seen = leader.watcher.view.node(node)
    assert seen is not None
    assert seen.details is not None
    details = msgspec.structs.replace(
        seen.details.value, free_bytes=free_bytes, capacity_bytes=6_000 * MIB
    )
    path = keys.DetailsPath(ComponentRole.NODE, node).path
    await cluster.place.coordinator.put(path, values.encode(details))
    await _seen(cluster, leader)


async def _seen(cluster: MovingCluster, leader: ControlProcess) -> None:
    revision = (await cluster.place.coordinator.list("node/")).revision
    await leader.watcher.reached(revision)


async def test_what_does_not_fit_the_disks_of_others_is_not_begun(place: Place) -> None:
    """A decommission is refused with the bytes that find no room, and accepted when they do."""
    async with (
        moving_cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        elasticity, node = leader.control.elasticity, NodeUuid(uuid(2))
        await _told_sizes(cluster, leader, stored_bytes=1_000 * MIB)
        for each in cluster.nodes:
            if str(each.node) != str(node):
                await _has_room(cluster, leader, each.node, free_bytes=1_500 * MIB)
        with pytest.raises(Refused, match="3 ranges, 3,000 MiB, would not fit") as refused:
            await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        assert refused.value.kind is RefusalKind.CONFLICT
        for each in cluster.nodes:
            if str(each.node) != str(node):
                await _has_room(cluster, leader, each.node, free_bytes=100 * MIB)
        with pytest.raises(Refused, match="since the disks of 3 are nearly full"):
            await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        found = await leader.control.survey.nodes()
        assert {row.state for row in found} == {ComponentState.ACTIVE}
        for each in cluster.nodes:
            await _has_room(cluster, leader, each.node, free_bytes=4_000 * MIB)
        task = await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        assert await _ended(leader, task) is TaskState.DONE
        removed = await leader.control.survey.remove_node(node, actor="x")
        assert removed.state is ComponentState.REMOVED


async def test_a_decommission_says_how_far_it_is(place: Place) -> None:
    """In bytes and moves, as long as it lasts; taken back, its task is cancelled."""
    async with (
        moving_cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        await _told_sizes(cluster, leader, stored_bytes=100 * MIB)
        cluster.primaries.is_teaching = False
        elasticity, node = leader.control.elasticity, NodeUuid(uuid(2))
        task = await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        again = await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        assert again == task
        async with asyncio.timeout(20):
            while True:
                _, progress = await _task(leader, task)
                if progress.get("movesTotal") == 3:
                    break
                await asyncio.sleep(0.02)
        assert progress["totalBytes"] == 300 * MIB
        assert progress["doneBytes"] == 0
        found = await elasticity.plan()
        assert {each.kind for each in found.following} <= {"move_replicas"}
        assert await elasticity.intend(node, ComponentState.ACTIVE, actor="x") is None
        assert await _ended(leader, task) is TaskState.CANCELLED


async def test_what_is_over_says_that_all_of_it_is_done(place: Place) -> None:
    """Whoever looks at a task that has ended must not read that nothing of it was done."""
    async with (
        moving_cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        node = NodeUuid(uuid(2))
        elasticity = leader.control.elasticity
        task = await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        assert await _ended(leader, task) is TaskState.DONE
        _, progress = await _task(leader, task)
        assert progress["movesDone"] == progress["movesTotal"] == 3


async def test_a_range_without_an_heir_keeps_its_node_from_being_drained(place: Place) -> None:
    """Whoever drains a node wants to stop it; so what would be lost by that is said."""
    async with (
        moving_cluster(place, 2) as cluster,
        cluster.leader(replication_factor=1, ranges_per_table=2) as leader,
    ):
        await create_table(leader)
        elasticity = leader.control.elasticity
        with pytest.raises(Refused, match="1 range would have no other primary") as refused:
            await elasticity.intend(NodeUuid(uuid(2)), ComponentState.DRAINING, actor="x")
        assert refused.value.kind is RefusalKind.CONFLICT
        await cluster.join(3)
        await eventually(lambda: uuid(3) in leader.watcher.view.nodes)
        task = await elasticity.intend(NodeUuid(uuid(3)), ComponentState.DRAINING, actor="x")
        assert await _ended(leader, task) is TaskState.DONE


async def test_a_dead_node_that_was_to_give_ranges_up_is_removed(place: Place) -> None:
    """It will never say that it has; nobody counts on it by then."""
    async with (
        moving_cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        node, lost = NodeUuid(uuid(4)), await cluster.lose(4)
        await eventually(
            lambda: (seen := leader.watcher.view.node(lost.node)) is None or seen.alive is None
        )
        survey, elasticity = leader.control.survey, leader.control.elasticity
        with pytest.raises(Refused, match="still has ranges"):
            await survey.remove_node(node, actor="x")
        task = await elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        await cluster.until(lambda found: str(node) not in load_of(found))
        assert await _ended(leader, task) is TaskState.DONE
        await _seen(cluster, leader)
        removed = await survey.remove_node(node, actor="x")
        assert removed.state is ComponentState.REMOVED


async def test_one_that_lives_gives_its_ranges_up_first(place: Place) -> None:
    """Only a dead node's are forgotten."""
    async with (
        moving_cluster(place, 4) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        node = NodeUuid(uuid(4))
        cluster.nodes[3].is_obedient = False
        await leader.control.elasticity.intend(node, ComponentState.DECOMMISSIONING, actor="x")
        await cluster.until(lambda found: str(node) not in load_of(found))
        await _seen(cluster, leader)
        with pytest.raises(Refused, match="still has ranges"):
            await leader.control.survey.remove_node(node, actor="x")


async def test_a_plan_that_was_shown_is_carried_out_while_moves_are_paused(place: Place) -> None:
    """Exactly that one: nothing else begins, and its task ends with it."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        elasticity = leader.control.elasticity
        await cluster.join_unmoved(leader, 4)
        await asyncio.sleep(0.2)
        shown = await elasticity.plan()
        assert load_of(await cluster.values())[uuid(4)] == 0
        await cluster.join(5)
        await eventually(lambda: uuid(5) in leader.watcher.view.nodes)
        with pytest.raises(Refused, match="another one by now") as refused:
            await elasticity.apply(shown.token, actor="x")
        assert refused.value.kind is RefusalKind.CONFLICT
        shown = await elasticity.plan()
        assert shown.token == (await elasticity.plan()).token
        task = await elasticity.apply(shown.token, actor="x")
        assert await elasticity.apply(shown.token, actor="x") == task
        assert await _ended(leader, task) is TaskState.DONE
        moved = [each for each in shown.moves if each.add]
        load = load_of(await cluster.values())
        assert load[uuid(4)] + load[uuid(5)] == len(moved)
        assert (await elasticity.plan()).is_paused


async def test_an_abort_ends_a_plan_that_is_carried_out(place: Place) -> None:
    """What of it has not begun does not."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=4) as leader,
    ):
        await create_table(leader)
        elasticity = leader.control.elasticity
        await cluster.join_unmoved(leader, 4)
        cluster.primaries.is_teaching = False
        shown = await elasticity.plan()
        task = await elasticity.apply(shown.token, actor="x")
        await cluster.until(lambda found: load_of(found)[uuid(4)] == 2)
        await elasticity.abort(actor="x")
        cluster.primaries.is_teaching = True
        assert await _ended(leader, task) is TaskState.CANCELLED
        await cluster.until(lambda found: uuid(4) not in load_of(found))


async def test_whether_one_may_be_stopped_in_a_mixed_cluster(place: Place) -> None:
    """Tables of one replica, replicas that learn and nodes that are down each have their reason."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=2) as leader,
    ):
        await create_table(leader)
        ok_to_stop = leader.control.elasticity.ok_to_stop
        one, two, three = (NodeUuid(uuid(number)) for number in (1, 2, 3))
        for node in (one, two, three):
            found = await ok_to_stop(node)
            assert (found.is_okay, found.losing, found.why, found.reasons) == (True, 0, "", ())
        await leader.control.elasticity.pause(is_on=True, actor="x")
        cluster.primaries.is_teaching = False
        for placed in await cluster.primaries.placed():
            value = placed.value
            if value.node == three:
                value = placements.with_primary(value, two)
            value = placements.with_state(value, {three}, ReplicaState.LEARNER)
            await placements.swap(place.coordinator, placed, value, pause=pause_ms)
        revision = (await place.coordinator.list("tenant/")).revision
        await leader.watcher.reached(revision)
        assert (await ok_to_stop(three)).is_okay, "nobody counts on who learns"
        found = await ok_to_stop(one)
        assert (found.is_okay, found.losing, len(found.reasons)) == (False, 2, 2)
        assert "would have 1 living replica in sync, and a write needs 2" in found.why
        assert f"the one on node {three} is not in sync" in found.why
        await cluster.nodes[2].die()
        assert not (await ok_to_stop(two)).is_okay
        await place.coordinator.delete(
            keys.NodeTablePath(cluster.nodes[2].node, "acme", "orders").path
        )


async def test_a_table_of_one_replica_needs_its_node(place: Place) -> None:
    """The others may be stopped; of a table that is being deleted nobody is needed."""
    async with (
        moving_cluster(place, 2) as cluster,
        cluster.leader(replication_factor=1, ranges_per_table=1) as leader,
    ):
        await create_table(leader)
        [value] = await cluster.values()
        on = NodeUuid(value.node)
        [other] = [NodeUuid(each.node) for each in cluster.nodes if str(each.node) != str(on)]
        ok_to_stop = leader.control.elasticity.ok_to_stop
        assert (await ok_to_stop(other)).is_okay
        found = await ok_to_stop(on)
        assert not found.is_okay
        assert "0 living replicas in sync, and a write needs 1: it has no other" in found.why
