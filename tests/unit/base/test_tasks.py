"""I14: no background task dies silently."""

import asyncio

import pytest
from structlog.testing import capture_logs

from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks


async def _fail() -> None:
    raise ValueError("gone")


async def _sleep() -> None:
    await asyncio.sleep(3_600)


async def _one() -> int:
    await asyncio.sleep(0)
    return 1


async def test_failure_of_a_critical_task_reaches_the_owner() -> None:
    """I14: a core loop that fails must stop the process, not leave it half alive."""
    errors: list[BaseException] = []
    metrics = create_metrics()
    tasks = Tasks(errors.append, failures=metrics.tasks_failed)
    with capture_logs() as events:
        tasks.spawn(_fail(), name="core", critical=True)
        await tasks.drain()
    assert [type(error) for error in errors] == [ValueError]
    assert [(e["event"], e["task"], e["critical"]) for e in events] == [
        ("task_failed", "core", True)
    ]
    assert b"dstore_tasks_failed_total 1.0" in metrics.render()


async def test_failure_of_another_task_is_logged_only() -> None:
    """I14: one request's work must not stop the process, and still be heard of."""
    errors: list[BaseException] = []
    tasks = Tasks(errors.append)
    with capture_logs() as events:
        tasks.spawn(_fail(), name="side")
        await tasks.drain()
    assert errors == []
    assert [event["event"] for event in events] == ["task_failed"]


async def test_critical_task_cancelled_by_a_stranger_counts_as_failed() -> None:
    """I14: a cancelled core loop is as dead as a failed one."""
    errors: list[BaseException] = []
    tasks = Tasks(errors.append)
    tasks.spawn(_sleep(), name="core", critical=True).cancel()
    await tasks.drain()
    assert [type(error) for error in errors] == [asyncio.CancelledError]


async def test_close_cancels_and_awaits_every_task() -> None:
    """A process that ends leaves nothing half done, and blames nobody for its own cancelling."""
    errors: list[BaseException] = []
    tasks = Tasks(errors.append)
    spawned = [tasks.spawn(_sleep(), name="core", critical=True) for _ in range(3)]
    await asyncio.sleep(0)
    await tasks.close()
    await tasks.close()
    assert [task.cancelled() for task in spawned] == [True] * 3
    assert (errors, len(tasks)) == ([], 0)


async def test_spawn_after_close_is_refused() -> None:
    """Work that nobody would wait for must not start."""
    tasks = Tasks(lambda _: None)
    await tasks.close()
    with pytest.raises(RuntimeError, match="late"):
        tasks.spawn(_sleep(), name="late")


async def test_drain_waits_without_cancelling() -> None:
    """A commit under way ends before the process does."""
    tasks = Tasks(lambda _: None)
    task = tasks.spawn(_one(), name="commit")
    await tasks.drain()
    assert task.result() == 1


async def test_group_holds_its_tasks() -> None:
    """The loop keeps weak references only; a collected task would vanish in the middle."""
    tasks = Tasks(lambda _: None)
    tasks.spawn(_sleep(), name="held")
    assert len(tasks) == 1
    await tasks.close()
