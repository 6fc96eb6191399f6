"""Ranges are split by themselves, and whoever leads goes on where another stopped (ADR 0018)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from dstore.base.metrics import SplitMetrics
from dstore.model.errors import Refused
from dstore.model.hashing import HASH_MAX
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.replication import placements
from dstore.replication.surroundings import pause_ms
from dstore.security.identity import ComponentRole, Identity
from dstore.service.calls.control_calls import DeleteTable
from dstore.service.calls.key_calls import AskOfRange, Verdict
from dstore.service.control import moves as moves_module
from dstore.service.control import split_steps
from dstore.service.control import splits as splits_module
from dstore.service.control.leader import NotLeading
from dstore.service.control.split_choice import SplitBounds
from dstore.service.control.splits import SplitSettings
from dstore.service.control.verdicts import HoldingVerdicts
from dstore.storage.control import notices, pauses, splits, tables, tasks
from dstore.storage.control.records import (
    RangeId,
    SplitRecord,
    SplitState,
    SplitWhy,
    TaskId,
    TaskRecord,
    TaskState,
)
from dstore.topology import keyspace as keys
from dstore.topology.values import RangePlacement
from tests.contract.control.conftest import Place
from tests.support.control import ControlProcess, eventually
from tests.support.moving import MovingCluster, create_table, moving_cluster, rows_agree
from tests.support.topology import uuid

MIDDLE = 1 << 31
LARGE = 1 << 30
EVEN = {0: LARGE, MIDDLE: LARGE}
BOUNDS = SplitBounds(size_bytes=LARGE, requests_per_s=100, sustained_s=0.2)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves_module, "MOVES_PAUSE_S", 0.01)
    monkeypatch.setattr(moves_module, "MOVES_INTERVAL_S", 0.1)
    monkeypatch.setattr(splits_module, "SPLITS_LOOK_S", 0.05)
    monkeypatch.setattr(splits_module, "SPLITS_ASK_S", 0.02)
    monkeypatch.setattr(splits_module, "SPLITS_PAUSE_S", 0.01)
    monkeypatch.setattr(splits_module, "MOVES_FOLLOWED_S", 0.02)


def _settings(bounds: SplitBounds = BOUNDS) -> SplitSettings:
    return SplitSettings(bounds=bounds, counts=SplitMetrics())


async def _grow(cluster: MovingCluster) -> None:
    """Let all ranges that there are be too large, as their nodes tell."""
    grown = [each.range_id for each in await cluster.values()]
    for node in cluster.nodes:
        node.stored_bytes |= dict.fromkeys(grown, LARGE)
        await node.report_all()


async def _record(process: ControlProcess, parent: str) -> SplitRecord | None:
    async with process.plane.store.snapshot() as tx:
        return await splits.get(tx, RangeId(parent))


async def _until_begun(process: ControlProcess, parent: str) -> SplitRecord:
    async with asyncio.timeout(15):
        while True:
            found = await _record(process, parent)
            if found is not None and found.state is SplitState.BEGUN:
                return found
            await asyncio.sleep(0.01)


async def _until_state(process: ControlProcess, parent: str, state: SplitState) -> SplitRecord:
    async with asyncio.timeout(15):
        while True:
            found = await _record(process, parent)
            if found is not None and found.state is state:
                return found
            await asyncio.sleep(0.01)


def _bounds(found: Sequence[RangePlacement]) -> list[int]:
    return [value.high_hash for value in found]


async def test_a_range_that_is_too_large_is_split(place: Place) -> None:
    """Its halves are on the same nodes at first; store, coordinator and nodes agree on them."""
    settings = _settings()
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=settings) as leader,
    ):
        cluster.primaries.weights = dict.fromkeys((0, 1_000, MIDDLE, HASH_MAX), LARGE)
        await create_table(leader)
        [before] = await cluster.values()
        await _grow(cluster)
        found = await cluster.until(lambda found: len(found) == 2)
        assert _bounds(found) == [MIDDLE - 1, HASH_MAX]
        assert all(each.epoch > before.epoch for each in found)
        done = await _until_state(leader, before.range_id, SplitState.DONE)
        assert [done.low_id, done.high_id] == [each.range_id for each in found]
        assert done.why is SplitWhy.SIZE
        await cluster.settled(leader)
        await rows_agree(cluster, leader)
        assert settings.counts.begun == settings.counts.done == 1
        async with leader.plane.store.snapshot() as tx:
            told = (await notices.page(tx)).records
            task = await tasks.get(tx, split_steps.task_of(done))
        assert [each.kind for each in told] == ["range_split"]
        assert task is not None
        await eventually(lambda: settings.counts.under_way == 0)
        verdicts = HoldingVerdicts(leader.plane)
        asked = AskOfRange(
            tenant="acme",
            tenant_id=uuid(70),
            table="orders",
            table_id=before.table_id,
            range_id=before.range_id,
            epoch=before.epoch,
            created_at_us=0,
        )
        node = Identity(control_plane=leader.plane.uuid, role=ComponentRole.NODE, uuid=before.node)
        assert await verdicts.of_range(node, asked) is Verdict.GONE


async def test_its_halves_are_spread(place: Place) -> None:
    """A table of one range, with one copy, is on all nodes once it has enough parts."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=1, ranges_per_table=1, splits=_settings()) as leader,
    ):
        cluster.primaries.weights = dict.fromkeys((0, 1 << 30, MIDDLE, 3 << 30), LARGE)
        await create_table(leader)
        await _grow(cluster)
        await cluster.until(lambda found: len(found) == 2)
        await cluster.until(lambda found: len({each.node for each in found}) == 2)
        await cluster.settled(leader)
        await rows_agree(cluster, leader)


async def test_a_range_that_is_asked_too_much_is_split(place: Place) -> None:
    """Only once it has been asked so for long enough, and where the requests are."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=_settings()) as leader,
    ):
        cluster.primaries.weights = {7: 50, 9: 50}
        await create_table(leader)
        [before] = await cluster.values()
        for node in cluster.nodes:
            node.requests_per_s[before.range_id] = 1_000
            await node.report_all()
        found = await cluster.until(lambda found: len(found) == 2)
        assert _bounds(found) == [8, HASH_MAX]
        done = await _until_state(leader, before.range_id, SplitState.DONE)
        assert done.why is SplitWhy.HEAT
        assert done.begun_at_us > 0


async def test_one_partition_is_never_cut(place: Place) -> None:
    """A range that is of one key stays whole, however large it is, and is not asked for ever."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=_settings()) as leader,
    ):
        cluster.primaries.weights = {3: 1, 7: LARGE}
        await create_table(leader)
        await _grow(cluster)
        await eventually(lambda: leader.control.splits._memory.until_ns)
        cluster.primaries.weights = EVEN
        await asyncio.sleep(0.3)
        assert len(await cluster.values()) == 1
        assert not cluster.primaries.asked


async def _begun_by_a_former_leader(cluster: MovingCluster) -> tuple[str, SplitRecord]:
    """Let a leader begin a split, which nobody carries out yet, and end. Returns: of what; it."""
    cluster.primaries.weights, cluster.primaries.is_cutting = EVEN, False
    async with cluster.leader(**_led()) as first:
        await create_table(first)
        [before] = await cluster.values()
        await _grow(cluster)
        begun = await _until_begun(first, before.range_id)
        await eventually(lambda: cluster.primaries.asked)
        await first.kill()
    cluster.primaries.is_cutting = True
    return before.range_id, begun


def _led() -> dict[str, Any]:
    return {"replication_factor": 3, "ranges_per_table": 1, "splits": _settings()}


async def test_another_leader_goes_on(place: Place) -> None:
    """It asks for the same children, so that whatever the former one began comes true once."""
    async with moving_cluster(place, 3) as cluster:
        parent, begun = await _begun_by_a_former_leader(cluster)
        async with cluster.leader(**_led()) as second:
            found = await cluster.until(lambda found: len(found) == 2)
            assert [each.range_id for each in found] == [begun.low_id, begun.high_id]
            await _until_state(second, parent, SplitState.DONE)
            await cluster.settled(second)
            await rows_agree(cluster, second)
        assert len({each.split for each in cluster.primaries.asked}) == 1


async def test_it_is_split_while_nobody_leads(place: Place) -> None:
    """The next leader finds the children, and puts them where the parent was."""
    async with moving_cluster(place, 3) as cluster:
        parent, _ = await _begun_by_a_former_leader(cluster)
        await cluster.primaries._cut(cluster.primaries.asked[0])
        assert len(await cluster.values()) == 2
        async with cluster.leader(**_led()) as second:
            await _until_state(second, parent, SplitState.DONE)
            await cluster.settled(second)
            await rows_agree(cluster, second)


async def test_a_store_from_before_the_attempt_learns_of_it(place: Place) -> None:
    """The children stand, and the store has no row of the attempt: the next leader finishes it."""
    async with moving_cluster(place, 3) as cluster:
        parent, begun = await _begun_by_a_former_leader(cluster)
        await cluster.primaries._cut(cluster.primaries.asked[0])
        async with (await place.store()).transaction() as tx:
            await splits.forget(tx, begun.table_id)
            for task in await tasks.unfinished_of(tx, split_steps.SPLIT_RANGE):
                await tasks.cancel(tx, task.id, now_us=1)
        async with cluster.leader(**_led()) as second:
            done = await _until_state(second, parent, SplitState.DONE)
            assert done.why is SplitWhy.UNKNOWN
            children = [each.range_id for each in await cluster.values()]
            assert [done.low_id, done.high_id] == children
            await cluster.settled(second)
            await rows_agree(cluster, second)
            async with second.plane.store.snapshot() as tx:
                [told] = (await notices.page(tx)).records
            assert "put back" in told.details


async def test_a_refusal_is_the_one_task_s_that_it_was_told(place: Place) -> None:
    """Who asks again, behind a request that was taken back, is not answered with the old reason."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=_settings()) as leader,
    ):
        cluster.primaries.weights = EVEN
        await create_table(leader)
        [before] = await cluster.values()
        leader.control.splits._refused[before.range_id] = "It was refused long ago."
        await eventually(lambda: not leader.control.splits._refused)
        task_id = await leader.control.elasticity.split(RangeId(before.range_id), actor="tester")
        await cluster.until(lambda found: len(found) == 2)
        async with leader.plane.store.snapshot() as tx:
            task = await tasks.get(tx, task_id)
        assert task is not None
        assert task.error == ""


async def test_a_failover_ends_the_attempt(place: Place) -> None:
    """Nothing can become of it then; the range is split under other ids, and once."""
    settings = _settings()
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=settings) as leader,
    ):
        cluster.primaries.weights, cluster.primaries.is_cutting = EVEN, False
        await create_table(leader)
        [placed] = await cluster.primaries.placed()
        await _grow(cluster)
        first = await _until_begun(leader, placed.value.range_id)
        heir = next(each for each in placed.value.in_sync if each.node != placed.value.node)
        handed = placements.with_primary(placed.value, heir.node)
        await placements.swap(place.coordinator, placed, handed, pause=pause_ms)
        await eventually(lambda: settings.counts.abandoned == 1)
        cluster.primaries.is_cutting = True
        found = await cluster.until(lambda found: len(found) == 2)
        done = await _until_state(leader, placed.value.range_id, SplitState.DONE)
        assert {done.low_id, done.high_id}.isdisjoint({first.low_id, first.high_id})
        assert [each.range_id for each in found] == [done.low_id, done.high_id]
        async with leader.plane.store.snapshot() as tx:
            ended = await tasks.get(tx, split_steps.task_of(first))
        assert ended is not None
        assert ended.state is TaskState.CANCELLED


@pytest.mark.parametrize("is_cut", [False, True], ids=["before the swap", "behind it"])
async def test_the_table_is_deleted_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch, *, is_cut: bool
) -> None:
    """No key of it stays in the coordinator, neither the parent's nor a child's."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=_settings()) as leader,
    ):
        cluster.primaries.weights, cluster.primaries.is_cutting = EVEN, False
        await create_table(leader)
        [placed] = await cluster.primaries.placed()
        await _grow(cluster)
        await _until_begun(leader, placed.value.range_id)
        await eventually(lambda: cluster.primaries.asked)
        if is_cut:
            monkeypatch.setattr(leader.control.splits, "_drive", _stands_still)  # it has no time
            cluster.primaries.is_cutting = True
            await cluster.primaries._cut(cluster.primaries.asked[0])
            assert len(await cluster.values()) == 2
        gone = await leader.control.tables.delete(
            DeleteTable(tenant="acme", name="orders", table_id=uuid(100), actor="tester")
        )
        assert gone.status is ResourceStatus.DELETING
        await eventually(lambda: leader.watcher.view.table("acme", "orders") is None)
        assert (await place.coordinator.list(keys.ranges_prefix("acme", "orders"))).kvs == ()
        async with leader.plane.store.snapshot() as tx:
            assert await splits.begun(tx) == ()
            assert await splits.get(tx, RangeId(placed.value.range_id)) is None
        cluster.primaries.is_cutting = True
        for ask in cluster.primaries.asked[:1]:
            await cluster.primaries._cut(ask)
        assert (await place.coordinator.list(keys.ranges_prefix("acme", "orders"))).kvs == ()


async def _stands_still(*_: object) -> bool:
    return False


async def test_a_leader_that_is_none_any_more_changes_nothing(place: Place) -> None:
    """What it believes is refused by the store, and what it asks a primary for is the same."""
    async with moving_cluster(place, 3) as cluster:
        cluster.primaries.weights, cluster.primaries.is_cutting = EVEN, False
        settings = {"replication_factor": 3, "ranges_per_table": 1, "splits": _settings()}
        async with cluster.leader(**settings) as first:
            await create_table(first)
            [placed] = await cluster.primaries.placed()
            old_term, old_realm = first.control.leader.term(), first.control.realm
            await _grow(cluster)
            begun = await _until_begun(first, placed.value.range_id)
            await place.coordinator.delete(keys.LEADER.path)
            async with cluster.leader(**settings) as second:
                await eventually(lambda: second.leads)
                async with second.control.leader.term().transaction():
                    pass  # so the store knows of the newer leader
                with pytest.raises(NotLeading):
                    await split_steps.begin(
                        old_realm, old_term, placed, at_hash=5, why=SplitWhy.SIZE
                    )
                with pytest.raises(NotLeading):
                    await split_steps.abandon(old_realm, old_term, begun)
                again = await split_steps.begin(
                    second.control.realm,
                    second.control.leader.term(),
                    placed,
                    at_hash=5,
                    why=SplitWhy.SIZE,
                )
                assert again is None, "one attempt in an epoch"
                assert await _record(second, placed.value.range_id) == begun


async def test_nothing_begins_where_something_else_is_under_way(place: Place) -> None:
    """A range whose replicas move, or may have lost writes, stays whole; so does all, if paused."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=2, splits=_settings()) as leader,
    ):
        cluster.primaries.weights = dict.fromkeys((1, 2, MIDDLE + 1, MIDDLE + 2), LARGE)
        async with leader.plane.store.transaction() as tx:
            await pauses.pause(tx, is_on=True)
        await create_table(leader)
        await _grow(cluster)
        await asyncio.sleep(0.4)
        assert not cluster.primaries.asked
        cluster.primaries.is_teaching = False
        await cluster.join(4)
        async with leader.plane.store.transaction() as tx:
            await pauses.pause(tx, is_on=False)
        await eventually(lambda: cluster.primaries.asked)
        async with leader.plane.store.snapshot() as tx:
            begun = {each.range_id for each in await splits.begun(tx)}
            ids = {each.range_id for each in await tables.ranges(tx, TableId(uuid(100)))}
        assert begun | ids
        asked: set[str] = {each.range_id for each in cluster.primaries.asked}
        moving = {value.range_id for value in await cluster.values() if len(value.replicas) > 3}
        assert asked.isdisjoint(moving)


async def test_an_operator_has_a_range_split(place: Place) -> None:
    """Whatever its size; a task says how it went, and fails if all is of one partition."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=_settings()) as leader,
    ):
        await create_table(leader)
        [before] = await cluster.values()
        placing = leader.control.elasticity

        async def ended(task_id: TaskId) -> TaskRecord:
            async with asyncio.timeout(15):
                while True:
                    async with leader.plane.store.snapshot() as tx:
                        task = await tasks.get(tx, task_id)
                    if task is not None and task.state not in {
                        TaskState.QUEUED,
                        TaskState.RUNNING,
                    }:
                        return task
                    await asyncio.sleep(0.02)

        cluster.primaries.weights = {7: 100}
        refused = await ended(await placing.split(RangeId(before.range_id), actor="tester"))
        assert (refused.state, "partition" in refused.error) == (TaskState.FAILED, True)
        cluster.primaries.weights = {7: 100, MIDDLE: 100}
        done = await ended(await placing.split(RangeId(before.range_id), actor="tester"))
        assert (done.state, done.error) == (TaskState.DONE, "")
        assert json.loads(done.progress)["state"] == "done"
        assert _bounds(await cluster.values()) == [MIDDLE - 1, HASH_MAX]
        record = await _record(leader, before.range_id)
        assert record is not None
        assert record.why is SplitWhy.OPERATOR
        with pytest.raises(Refused):
            await placing.split(RangeId(before.range_id), actor="tester")


async def test_a_split_that_was_asked_for_is_taken_back(place: Place) -> None:
    """As long as it has not begun."""
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=_settings()) as leader,
    ):
        cluster.primaries.weights = None
        await create_table(leader)
        [before] = await cluster.values()
        placing = leader.control.elasticity
        task_id = await placing.split(RangeId(before.range_id), actor="tester")
        assert [each.kind for each in (await placing.plan()).following] == ["split_range"]
        await placing.abort(actor="tester")
        async with leader.plane.store.snapshot() as tx:
            task = await tasks.get(tx, task_id)
        assert task is not None
        assert task.state is TaskState.CANCELLED
        await placing.pause(is_on=False, actor="tester")
        cluster.primaries.weights = EVEN
        await asyncio.sleep(0.3)
        assert len(await cluster.values()) == 1


async def test_a_table_has_only_so_many_ranges(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range that is too large stays so, and is not looked at all the time."""
    monkeypatch.setattr(split_steps, "RANGES_PER_TABLE_MAX", 1)
    async with (
        moving_cluster(place, 3) as cluster,
        cluster.leader(replication_factor=3, ranges_per_table=1, splits=_settings()) as leader,
    ):
        cluster.primaries.weights = EVEN
        await create_table(leader)
        await _grow(cluster)
        await eventually(lambda: leader.control.splits._memory.until_ns)
        assert len(await cluster.values()) == 1
        assert not cluster.primaries.asked
