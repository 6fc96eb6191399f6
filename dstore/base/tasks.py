"""Owned background tasks: none is garbage-collected, and none dies silently (invariant I14).

The event loop keeps only weak references to tasks, and an exception nobody awaits vanishes. So
every task of dStore is spawned through a `Tasks`, which holds it, logs its failure, and hands the
failure of a critical one to the process, which then stops.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from dstore.base.logging import get_logger
from dstore.base.metrics import Counter

_log: Final = get_logger(__name__)

Result = TypeVar("Result")


class Tasks:
    """Own a group of background tasks from their start to their end."""

    __slots__ = ("_critical", "_failures", "_is_closed", "_on_failure", "_tasks")

    def __init__(
        self, on_failure: Callable[[BaseException], None], *, failures: Counter | None = None
    ) -> None:
        """Make an empty group.

        Args:
            on_failure: is called from the loop with the error of a critical task, once per task.
            failures: counts every failed task, critical or not (`metrics.tasks_failed`).
        """
        self._on_failure = on_failure
        self._failures = failures
        self._tasks: set[asyncio.Task[Any]] = set()
        self._critical: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        """Count the tasks that have not ended."""
        return len(self._tasks)

    def spawn(
        self, work: Coroutine[Any, Any, Result], *, name: str, critical: bool = False
    ) -> asyncio.Task[Result]:
        """Start `work` as a task that this group owns.

        A failure is logged as `task_failed`; one of a critical task also reaches `on_failure`, as
        does its cancellation by anyone but `close`. The caller may await the task as well.

        Raises: RuntimeError: the group is closed; `work` is then closed unstarted.
        """
        if self._is_closed:
            work.close()
            raise RuntimeError(f"The task {name} was spawned after its group was closed.")
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        if critical:
            self._critical.add(task)
        task.add_done_callback(self._ended)
        return task

    async def drain(self) -> None:
        """Wait until no task is left, those spawned meanwhile included; cancel none."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Refuse new tasks, cancel the rest and wait until each has ended; safe to call twice."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await self.drain()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        is_critical = task in self._critical
        self._critical.discard(task)
        if task.cancelled():
            if not is_critical or self._is_closed:
                return
            error: BaseException = asyncio.CancelledError()
        else:
            failure = task.exception()
            if failure is None:
                return
            error = failure
        _log.error("task_failed", task=task.get_name(), critical=is_critical, exc_info=error)
        if self._failures is not None:
            self._failures.inc()
        if is_critical:
            self._on_failure(error)
