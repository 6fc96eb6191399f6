"""Run the tasks: work of control that outlives a request, a process and a leader.

Only the leader runs them. A new one queues what earlier leaders left running. Every handler may be
run again from its beginning, and does then only what is left to do. A task never fails for good by
itself: it waits longer and longer between its attempts, and `tasks show` has the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.base.clock import US_PER_S
from dstore.base.limits import (
    CONTROL_PAGE_MAX,
    RETRY_AFTER_MS,
    TASK_IDLE_S,
    TASK_RETRY_S_MAX,
    TASK_RETRY_S_MIN,
    TASKS_AT_ONCE,
    TASKS_KEPT_S,
)
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.model.errors import DStoreError, Unavailable, UnavailableKind, Unknown
from dstore.service.control.leader import NotLeading, Term
from dstore.storage.control import tasks
from dstore.storage.control.records import TaskId, TaskRecord, TaskState

if TYPE_CHECKING:
    from dstore.service.control.realm import Realm

_log: Final = get_logger(__name__)
_FAILED: Final = "An error inside control; its log says more."


class NotYet(Unavailable):
    """A task waits for others; it is tried again later."""

    def __init__(self, message: str) -> None:
        """Say what it waits for."""
        super().__init__(UnavailableKind.OVERLOADED, message, retry_after_ms=RETRY_AFTER_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One attempt at a task."""

    term: Term
    task: TaskRecord


Handler = Callable[[Step], Awaitable[None]]
"""Does a task, or what is left of it. Raises: NotYet, and what its calls raise: try again."""


def new_task(
    task_id: TaskId, kind: str, *, subject: str, parameters: str, now_us: int
) -> TaskRecord:
    """Make a task that may begin at once."""
    return TaskRecord(
        id=task_id,
        kind=kind,
        subject=subject,
        state=TaskState.QUEUED,
        parameters=parameters,
        progress="{}",
        due_at_us=now_us,
        created_at_us=now_us,
        changed_at_us=now_us,
    )


async def report(realm: Realm, step: Step, progress: str) -> bool:
    """Write down how far a task has come (JSON). Returns: False if it is nobody's any more."""
    async with step.term.transaction() as tx:
        return await tasks.report(
            tx,
            step.task.id,
            realm.plane.process,
            progress=progress,
            now_us=realm.clock.wall_us(),
        )


async def fail(realm: Realm, step: Step, why: str) -> bool:
    """End a task for good, with a sentence. Returns: False if it is nobody's any more."""
    async with step.term.transaction() as tx:
        return await tasks.finish(
            tx,
            step.task.id,
            realm.plane.process,
            error=why,
            now_us=realm.clock.wall_us(),
        )


class TaskRunner:
    """Runs what is due, TASKS_AT_ONCE at a time. `begin` and `run` are a leader's jobs."""

    def __init__(
        self,
        realm: Realm,
        handlers: Mapping[str, Handler],
        *,
        followers: Mapping[str, Handler] | None = None,
    ) -> None:
        """Run tasks of the kinds that `handlers` names.

        Those of `followers` only look at what others do, for as long as that takes; there are few,
        and they take nobody's place.
        """
        followers = followers or {}
        self._realm = realm
        self._handlers = {**handlers, **followers}
        self._follower_kinds = frozenset(followers)
        self._following: set[TaskId] = set()  # of those that run
        self._running: set[TaskId] = set()
        self._doubtful: set[TaskId] = set()  # begun or ended, or not: an answer was lost

    async def begin(self, term: Term) -> None:
        """Queue what earlier leaders left running, and forget what ended long ago."""
        now_us = self._realm.clock.wall_us()
        async with term.transaction() as tx:
            await tasks.requeue_running(tx, now_us=now_us)
            await tasks.forget_finished(tx, before_us=now_us - TASKS_KEPT_S * US_PER_S)

    async def run(self, term: Term) -> None:
        """Run tasks for as long as the term lasts. Raises: NotLeading: another leads."""
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def failed(error: BaseException) -> None:
            if not failure.done():
                failure.set_exception(error)

        running = Tasks(failed)
        self._running.clear()
        self._following.clear()
        self._doubtful.clear()
        try:
            running.spawn(self._look(term, running), name="task_runner", critical=True)
            await failure
        finally:
            await running.close()

    async def _look(self, term: Term, running: Tasks) -> None:
        due = self._realm.tasks_due
        while True:
            due.clear()
            try:
                for task in await self._begun(term):
                    self._running.add(task.id)
                    if task.kind in self._follower_kinds:
                        self._following.add(task.id)
                    running.spawn(self._attempt(term, task), name=f"task_{task.kind}")
            except NotLeading:
                raise
            except DStoreError as error:
                _log.warning("tasks_not_looked_for", reason=error.message)
                await asyncio.sleep(TASK_IDLE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(TASK_IDLE_S):
                    await due.wait()

    async def _begun(self, term: Term) -> list[TaskRecord]:
        """Take what is due and fits. Returns: the tasks that are ours now."""
        room = TASKS_AT_ONCE - len(self._running) + len(self._following)
        if room <= 0:
            return []
        realm = self._realm
        owner, now_us = realm.plane.process, realm.clock.wall_us()
        async with realm.plane.store.snapshot() as tx:
            found = await tasks.due(tx, now_us=now_us, limit=min(room, CONTROL_PAGE_MAX))
        if not found and self._doubtful <= self._running:
            return []
        self._doubtful.update(task.id for task in found)
        begun: list[TaskRecord] = []
        async with term.transaction() as tx:
            for task_id in sorted(self._doubtful - self._running):
                await tasks.begin(tx, task_id, owner, now_us=now_us)
                # Ours by this transaction, or by one whose outcome was never heard.
                now = await tasks.get(tx, task_id)
                if now is not None and now.state is TaskState.RUNNING and now.owner == owner:
                    begun.append(now)
        self._doubtful &= self._running
        return begun

    async def _attempt(self, term: Term, task: TaskRecord) -> None:
        self._doubtful.add(task.id)  # until its end is written down
        try:
            error = await self._error_of(term, task)
            await self._ended(term, task, error)
            self._doubtful.discard(task.id)
        except NotLeading:
            pass  # the next leader queues it again
        finally:
            self._running.discard(task.id)
            self._following.discard(task.id)
            self._realm.tasks_due.set()

    async def _error_of(self, term: Term, task: TaskRecord) -> str:
        """Do a task. Returns: "" if it is done, else why not."""
        handler = self._handlers.get(task.kind)
        if handler is None:
            return f"No task of the kind {task.kind} is known here; upgrade control."
        try:
            await handler(Step(term=term, task=task))
        except NotLeading:
            raise
        except NotYet as waiting:
            return waiting.message
        except TimeoutError:
            return "The topology does not come up to what is recorded; the coordinator is slow."
        except DStoreError as error:
            _log.warning("task_attempt_failed", task=task.id, reason=error.message)
            return error.message
        except Exception as error:  # noqa: BLE001 - one task's bug is not the others'
            _log.error("task_attempt_failed", task=task.id, exc_info=error)
            return _FAILED
        return ""

    async def _ended(self, term: Term, task: TaskRecord, error: str) -> None:
        """Write down how an attempt ended, until that is known to be written."""
        realm = self._realm
        owner = realm.plane.process
        pause_s = min(TASK_RETRY_S_MIN * 2 ** min(task.attempts - 1, 16), TASK_RETRY_S_MAX)
        while True:
            now_us = realm.clock.wall_us()
            try:
                async with term.transaction() as tx:
                    if not error:
                        await tasks.finish(tx, task.id, owner, now_us=now_us)
                    else:
                        await tasks.retry_later(
                            tx,
                            task.id,
                            owner,
                            error=error,
                            due_at_us=now_us + int(pause_s * US_PER_S),
                            now_us=now_us,
                        )
            except NotLeading:
                raise
            except (Unavailable, Unknown) as failed:  # doing it twice does no harm
                _log.warning("task_end_not_written", task=task.id, reason=failed.message)
                await asyncio.sleep(TASK_IDLE_S)
            else:
                return
