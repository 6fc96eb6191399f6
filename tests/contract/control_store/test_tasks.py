"""Tasks have one owner at a time, and survive it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from dstore.storage.control import tasks
from dstore.storage.control.records import ControlUuid, TaskId, TaskState
from dstore.storage.control.store import ControlStore
from tests.contract.control_store.conftest import Site
from tests.support import control_records as made
from tests.support.control_records import NOW_US

ID = TaskId("task-1")
ME, OTHER = ControlUuid("me"), ControlUuid("other")


async def test_of_two_controls_one_begins_a_task(site: Site) -> None:
    """Two leaders, for a moment, do not do the same work twice."""
    stores = [await site.open(), await site.open()]
    async with stores[0].transaction() as tx:
        await tasks.add(tx, made.task())

    async def begin(number: int) -> bool:
        async with stores[number % 2].transaction() as tx:
            return await tasks.begin(tx, ID, ControlUuid(f"c{number}"), now_us=NOW_US)

    assert sorted(await asyncio.gather(*map(begin, range(6)))) == [False] * 5 + [True]


async def test_a_subject_has_one_unfinished_task_of_a_kind(store: ControlStore) -> None:
    """A request that is sent again finds the work that its first sending began."""
    async with store.transaction() as tx:
        first = await tasks.add(tx, made.task())
        assert await tasks.add(tx, made.task("task-2")) == first
        assert (await tasks.add(tx, made.task("task-3", kind="drain"))).id == "task-3"
        assert await tasks.cancel(tx, ID, now_us=NOW_US + 1)
        assert not await tasks.cancel(tx, ID, now_us=NOW_US + 1)
        assert (await tasks.add(tx, made.task("task-4"))).id == "task-4"


async def test_a_task_goes_through_its_life(store: ControlStore) -> None:
    """Begun, reported, failed, retried, done; each step by its owner alone."""
    async with store.transaction() as tx:
        await tasks.add(tx, made.task())
        assert [each.id for each in await tasks.due(tx, now_us=NOW_US, limit=9)] == [ID]
        assert await tasks.begin(tx, ID, ME, now_us=NOW_US + 1)
        assert await tasks.due(tx, now_us=NOW_US + 1, limit=9) == ()
        assert await tasks.report(tx, ID, ME, progress='{"n":1}', now_us=NOW_US + 2)
        assert not await tasks.report(tx, ID, OTHER, progress="{}", now_us=NOW_US + 2)
        assert not await tasks.finish(tx, ID, OTHER, now_us=NOW_US + 2)
        assert await tasks.retry_later(
            tx, ID, ME, error="No node.", due_at_us=NOW_US + 9, now_us=NOW_US + 3
        )
        assert await tasks.due(tx, now_us=NOW_US + 8, limit=9) == ()
        assert await tasks.begin(tx, ID, OTHER, now_us=NOW_US + 9)
        assert await tasks.finish(tx, ID, OTHER, now_us=NOW_US + 10)
        assert not await tasks.finish(tx, ID, OTHER, error="late", now_us=NOW_US + 11)
        assert await tasks.get(tx, ID) == replace(
            made.task(),
            state=TaskState.DONE,
            progress='{"n":1}',
            attempts=2,
            due_at_us=NOW_US + 9,
            changed_at_us=NOW_US + 10,
        )


async def test_a_new_leader_takes_over_what_ran(store: ControlStore) -> None:
    """The old one, if it lives, finds that its task is no longer its own."""
    async with store.transaction() as tx:
        await tasks.add(tx, made.task())
        await tasks.begin(tx, ID, ME, now_us=NOW_US)
    async with store.transaction() as tx:
        assert await tasks.requeue_running(tx, now_us=NOW_US + 1) == 1
        assert await tasks.begin(tx, ID, OTHER, now_us=NOW_US + 2)
        assert not await tasks.report(tx, ID, ME, progress="{}", now_us=NOW_US + 3)


async def test_tasks_are_listed_newest_first_by_state(store: ControlStore) -> None:
    """What an operator asks for first is what happened last; old news goes."""
    async with store.transaction() as tx:
        for number in range(5):
            task = made.task(f"task-{number}", subject=f"s{number}")
            await tasks.add(tx, task)
            if number % 2:
                await tasks.begin(tx, task.id, ME, now_us=NOW_US + number)
                await tasks.finish(tx, task.id, ME, error="No.", now_us=NOW_US + number)
        failed = await tasks.page(tx, state=TaskState.FAILED)
        first = await tasks.page(tx, limit=4)
        rest = await tasks.page(tx, limit=4, after=first.after)
        assert [each.id for each in failed.records] == ["task-3", "task-1"]
        assert [each.id for each in (*first.records, *rest.records)] == [
            "task-3", "task-1", "task-4", "task-2", "task-0",
        ]  # fmt: skip
        assert await tasks.forget_finished(tx, before_us=NOW_US + 3) == 1
