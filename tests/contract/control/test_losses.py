"""Ranges whose replicas are gone for good go on with what is left once an operator says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from dstore.model.errors import Refused, Unavailable
from dstore.model.stored_definition import encode_definition
from dstore.model.table_settings import Index, ProjectionType, TableSettings
from dstore.replication import placements
from dstore.replication.peers.errors import unreachable
from dstore.replication.replica_calls import AskReplicas, ReplicasTold, ReplicaTold
from dstore.replication.surroundings import pause_ms
from dstore.service.control import index_tables
from dstore.service.control import tasks as tasks_module
from dstore.service.control.losses import Losses
from dstore.service.control.publications import definition_of
from dstore.service.control.whereabouts import is_alive
from dstore.storage.control import audit, notices, tables, tasks
from dstore.storage.control.records import RangeId, TaskId, TaskRecord, TaskState
from dstore.topology.indexes import is_doubtful
from dstore.topology.values import RangePlacement, RangeState, ReplicaState
from tests.contract.control.conftest import Place
from tests.support.control import ControlProcess, eventually
from tests.support.moving import MovingCluster, Primaries, create_table, moving_cluster
from tests.support.replicas import told
from tests.support.topology import uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

SAID = {"reason": "the machines burnt", "actor": "tester"}


@dataclass
class _Node:
    """A node that only says where its replicas stand."""

    told: ReplicaTold

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Any:
        """Answer control."""
        del deadline_s, request_id
        assert isinstance(request, AskReplicas)
        return ReplicasTold(told=tuple(self.told for _ in request.asked))

    async def close(self) -> None:
        """Have nothing to end."""


class _Telling(Primaries):
    """Primaries that teach nobody, of nodes of which some say where they stand."""

    standing: dict[str, ReplicaTold]

    def peer(self, node: str, *, last_uri: str | None = None) -> Any:
        """See `Nodes.peer`."""
        del last_uri
        if node not in self.standing:
            raise unreachable("is dead")
        return _Node(self.standing[node])


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_module, "TASK_RETRY_S_MIN", 0.05)
    monkeypatch.setattr(tasks_module, "TASK_IDLE_S", 0.05)


def _tell(cluster: MovingCluster, **by_number: ReplicaTold) -> _Telling:
    """Let nodes say where they stand, and no others."""
    telling = _Telling(coordinator=cluster.place.coordinator, is_teaching=False)
    telling.standing = {uuid(int(name[1:])): each for name, each in by_number.items()}
    cluster.primaries.is_teaching = False
    cluster.primaries = telling
    return telling


async def _lose(cluster: MovingCluster, leader: ControlProcess, *numbers: int) -> None:
    for number in numbers:
        await cluster.nodes[number - 1].die()
    lost = [str(cluster.nodes[number - 1].node) for number in numbers]
    await eventually(lambda: not any(is_alive(leader.watcher.view, node) for node in lost))


async def _learns(cluster: MovingCluster, number: int) -> None:
    """Take a replica out of the set."""
    [placed] = await cluster.primaries.placed()
    states = {uuid(number)}
    value = placements.with_state(placed.value, states, ReplicaState.LEARNER)
    if value.node in states:
        value = placements.with_primary(value, value.in_sync[0].node)
    await placements.swap(cluster.place.coordinator, placed, value, pause=pause_ms)


async def _left_to_a_learner(cluster: MovingCluster, leader: ControlProcess) -> RangePlacement:
    """Make a table, and lose both replicas that count. Returns: its only range."""
    await create_table(leader)
    await _learns(cluster, 3)
    await _lose(cluster, leader, 1, 2)
    [value] = await cluster.values()
    return value


async def _ended(process: ControlProcess, task_id: TaskId) -> TaskRecord:
    async with asyncio.timeout(15):
        while True:
            async with process.plane.store.snapshot() as tx:
                task = await tasks.get(tx, task_id)
            if task is not None and task.state not in {TaskState.QUEUED, TaskState.RUNNING}:
                return task
            await asyncio.sleep(0.02)


async def _told(process: ControlProcess) -> Sequence[str]:
    async with process.plane.store.snapshot() as tx:
        return [each.kind for each in (await notices.page(tx)).records]


async def _said(process: ControlProcess) -> list[tuple[str, str]]:
    async with process.plane.store.snapshot() as tx:
        entries = (await audit.page(tx)).records
    found = [each.entry for each in entries]
    return [(each.actor, each.result) for each in found if each.action == "accept_loss"]


def _counting(value: RangePlacement) -> set[str]:
    return {each.node for each in value.in_sync}


async def test_a_survivor_goes_on(place: Place) -> None:
    """Two of three nodes are gone: refused until both are named, then nothing is lost."""
    async with moving_cluster(place, 3) as cluster:
        _tell(cluster, n3=told(9))
        async with cluster.leader(replication_factor=3, ranges_per_table=1) as leader:
            await create_table(leader)
            await _lose(cluster, leader, 1, 2)
            [before] = await cluster.values()
            losses, range_id = leader.control.losses, RangeId(before.range_id)
            report = await losses.report(range_id)
            assert (report.best, report.is_lossless, report.why_not) == (uuid(3), True, "")
            assert sorted(report.missing) == [uuid(1), uuid(2)]
            assert [each.is_heard for each in report.replicas].count(True) == 1
            with pytest.raises(Refused, match="may come back"):
                await losses.accept(range_id, gone=[uuid(1)], **SAID)
            assert await _said(leader) == []
            done = await _ended(
                leader, await losses.accept(range_id, gone=[uuid(1), uuid(2)], **SAID)
            )
            assert (done.state, done.error) == (TaskState.DONE, "")
            [after] = await cluster.until(lambda found: len(found[0].in_sync) == 1)
            assert (after.node, _counting(after)) == (uuid(3), {uuid(3)})
            assert after.state is RangeState.OKAY
            assert (await _told(leader)).count("loss_accepted") == 1
            assert sorted(await _said(leader)) == [("control", "done"), ("tester", "ordered")]


async def test_a_learner_may_lack_something(place: Place) -> None:
    """Whoever shows the range or its table says so, until somebody says otherwise."""
    async with moving_cluster(place, 3) as cluster:
        _tell(cluster, n3=told(5))
        async with cluster.leader(replication_factor=3, ranges_per_table=1) as leader:
            before = await _left_to_a_learner(cluster, leader)
            await _declare_index(leader)
            losses, range_id = leader.control.losses, RangeId(before.range_id)
            assert not (await losses.report(range_id)).is_lossless
            await _ended(leader, await losses.accept(range_id, gone=[uuid(1), uuid(2)], **SAID))
            [after] = await cluster.until(lambda found: found[0].state is not RangeState.OKAY)
            assert (after.node, after.state) == (uuid(3), RangeState.POSSIBLE_LOSS)
            await eventually(
                lambda: leader.watcher.view.table("acme", "orders").ranges[0].placement == after  # type: ignore[union-attr]
            )
            status = await leader.control.survey.status()
            assert status.ranges.possible_loss == 1
            shown = await leader.control.survey.placement()
            assert (shown.tables[0].possible_loss, shown.ranges[0].has_possible_loss) == (1, True)
            await _ended(leader, await losses.clear(range_id, **SAID))
            await cluster.until(lambda found: found[0].state is RangeState.OKAY)
            assert {"loss_accepted", "loss_cleared"} <= set(await _told(leader))
            async with leader.plane.store.snapshot() as tx:
                sentences = [each.details for each in (await notices.page(tx)).records]
            command = "dstore table rebuild-index orders by-state --tenant acme"
            assert sum(command in each for each in sentences) == 1


async def test_indexes_of_a_table_that_may_have_lost_writes(place: Place) -> None:
    """The status says of each what mends it, until it has been made anew."""
    async with moving_cluster(place, 3) as cluster:
        _tell(cluster, n3=told(5))
        async with cluster.leader(replication_factor=3, ranges_per_table=1) as leader:
            before = await _left_to_a_learner(cluster, leader)
            await _declare_index(leader, is_made=True)
            assert await _rebuilds(leader) == []
            task = await leader.control.losses.accept(
                RangeId(before.range_id), gone=[uuid(1), uuid(2)], **SAID
            )
            await _ended(leader, task)
            await eventually(lambda: _is_doubtful(leader))
            [said] = await _rebuilds(leader)
            assert "rows that its table has lost" in said
            assert "dstore table rebuild-index orders by-state --tenant acme" in said
            await leader.control.rebuilds.rebuild("acme", "orders", "by-state", actor="tester")
            await eventually(lambda: not _is_doubtful(leader))
            assert await _rebuilds(leader) == []


def _is_doubtful(leader: ControlProcess) -> bool:
    tenant = leader.watcher.view.tenant("acme")
    assert tenant is not None
    hidden = [each for each in tenant.tables.values() if each.definition.index_of is not None]
    return any(is_doubtful(each) for each in hidden)


async def _rebuilds(leader: ControlProcess) -> list[str]:
    status = await leader.control.survey.status()
    return [each for each in status.problems if "rebuild-index" in each]


async def _declare_index(leader: ControlProcess, *, is_made: bool = False) -> None:
    """Have the table declare an index, of which at the most the records are made."""
    index = Index(name="by-state", hash_keys=("_id",), projection=ProjectionType.ALL)
    async with leader.plane.store.transaction() as tx:
        found = await tables.get(tx, "acme", "orders")
        assert found is not None
        declared = TableSettings(global_indexes=(index,))
        changed = replace(definition_of(found), settings=declared)
        await tables.update(tx, replace(found, definition=encode_definition(changed)))
        if is_made:
            await index_tables.follow(leader.control.realm, tx, changed)


async def test_who_lives_is_waited_for(place: Place) -> None:
    """A node that holds its lease and does not answer control may well serve."""
    async with moving_cluster(place, 3) as cluster:
        _tell(cluster, n3=told(9))
        async with cluster.leader(replication_factor=3, ranges_per_table=1) as leader:
            await create_table(leader)
            await _lose(cluster, leader, 1)
            [before] = await cluster.values()
            with pytest.raises(Refused, match="is alive"):
                await leader.control.losses.accept(
                    RangeId(before.range_id), gone=[uuid(1), uuid(2)], **SAID
                )


async def test_who_is_back_is_not_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order ends, and says why, if it is not what would be ordered now."""
    async with moving_cluster(place, 3) as cluster:
        telling = _tell(cluster, n3=told(9))
        async with cluster.leader(replication_factor=3, ranges_per_table=1) as leader:
            await create_table(leader)
            await _lose(cluster, leader, 1, 2)
            [before] = await cluster.values()
            losses = leader.control.losses
            real = Losses._order

            async def back_meanwhile(self: Losses, *args: Any, **named: Any) -> TaskId:
                telling.standing[uuid(2)] = told(9)
                return await real(self, *args, **named)

            monkeypatch.setattr(Losses, "_order", back_meanwhile)
            ended = await _ended(
                leader,
                await losses.accept(RangeId(before.range_id), gone=[uuid(1), uuid(2)], **SAID),
            )
            assert ended.state is TaskState.FAILED
            assert "goes on by itself" in ended.error
            assert "loss_accepted" not in await _told(leader)
            assert sorted(await _said(leader)) == [("control", "refused"), ("tester", "ordered")]
            assert (await cluster.values())[0].state is RangeState.OKAY


async def test_it_is_done_once_whatever_is_cut_short(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The swap is made and the leader hears no more of it; the next attempt only tells of it."""
    async with moving_cluster(place, 3) as cluster:
        _tell(cluster, n3=told(5))
        async with cluster.leader(replication_factor=3, ranges_per_table=1) as leader:
            before = await _left_to_a_learner(cluster, leader)
            real, cuts = Losses._done, [1, 1]

            async def cut_short(self: Losses, *args: Any, **named: Any) -> None:
                if cuts:
                    cuts.pop()
                    raise Unavailable(kind, "The store is away.", retry_after_ms=1)
                await real(self, *args, **named)

            kind = unreachable("is away").kind
            monkeypatch.setattr(Losses, "_done", cut_short)
            losses, range_id = leader.control.losses, RangeId(before.range_id)
            gone = [uuid(1), uuid(2)]
            first = await losses.accept(range_id, gone=gone, **SAID)
            again = await losses.accept(range_id, gone=gone, **SAID)
            done = await _ended(leader, first)
            assert (again, done.state) == (first, TaskState.DONE)
            [after] = await cluster.values()
            assert after.epoch == before.epoch + 1
            assert (await _told(leader)).count("loss_accepted") == 1


async def test_another_leader_carries_it_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was ordered stands in the store."""
    async with moving_cluster(place, 3) as cluster:
        _tell(cluster, n3=told(5))
        async with cluster.leader(replication_factor=3, ranges_per_table=1) as leader:
            before = await _left_to_a_learner(cluster, leader)
            with monkeypatch.context() as patched:
                patched.setattr(Losses, "_swap", _never)
                task_id = await leader.control.losses.accept(
                    RangeId(before.range_id), gone=[uuid(1), uuid(2)], **SAID
                )
                await asyncio.sleep(0.1)
                await leader.kill()
        assert (await cluster.values())[0].state is RangeState.OKAY
        async with cluster.leader(replication_factor=3, ranges_per_table=1) as heir:
            assert (await _ended(heir, task_id)).state is TaskState.DONE
            assert (await cluster.values())[0].state is RangeState.POSSIBLE_LOSS


async def _never(*_: object) -> None:
    await asyncio.Event().wait()
