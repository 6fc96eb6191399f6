"""Tasks: work of control that outlives a request, a process, and a leader.

queued -> running -> done | failed        each arrow is a conditional update, so that of two
queued <- running  (retry, new leader)    controls one wins, and a late one changes nothing
queued | running -> cancelled
"""

from __future__ import annotations

from typing import Final

from dstore.base.limits import CONTROL_PAGE_MAX
from dstore.storage.control.records import ControlUuid, TaskId, TaskRecord, TaskState
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Key, Page, Transaction

_TASKS: Final = Relation(TaskRecord, "task", key=("id",), noun="A task of this ID")
_NEWEST_FIRST: Final = ("changed_at_us", "id")


async def add(tx: Transaction, task: TaskRecord) -> TaskRecord:
    """Queue a task, unless one of its kind is unfinished for its subject. Returns: that or this."""
    assert task.state is TaskState.QUEUED
    if await _TASKS.insert_new(tx, task):
        return task
    found = await _TASKS.select(
        tx,
        "WHERE id = $1 OR (kind = $2 AND subject = $3 AND state IN ('queued', 'running')) LIMIT 1",
        task.id,
        task.kind,
        task.subject,
    )
    return found[0]


async def get(tx: Transaction, task_id: TaskId) -> TaskRecord | None:
    """Find a task."""
    return await _TASKS.find(tx, id=task_id)


async def due(tx: Transaction, *, now_us: int, limit: int) -> tuple[TaskRecord, ...]:
    """List the tasks that may begin, those that wait the longest first."""
    assert 1 <= limit <= CONTROL_PAGE_MAX
    return await _TASKS.select(
        tx,
        f"WHERE state = 'queued' AND due_at_us <= $1 ORDER BY due_at_us, id LIMIT {limit}",
        now_us,
    )


async def begin(tx: Transaction, task_id: TaskId, owner: ControlUuid, *, now_us: int) -> bool:
    """Take a queued task. Returns: whether it is ours; False if another was first."""
    changed = await tx.change(
        "UPDATE task SET state = 'running', owner = $2, attempts = attempts + 1, "
        "changed_at_us = $3 WHERE id = $1 AND state = 'queued'",
        task_id,
        owner,
        now_us,
    )
    return changed == 1


async def report(
    tx: Transaction, task_id: TaskId, owner: ControlUuid, *, progress: str, now_us: int
) -> bool:
    """Write down how far a task has come (JSON). Returns: False if it is no longer ours."""
    changed = await tx.change(
        "UPDATE task SET progress = $3, changed_at_us = $4 "
        "WHERE id = $1 AND owner = $2 AND state = 'running'",
        task_id,
        owner,
        progress,
        now_us,
    )
    return changed == 1


async def finish(
    tx: Transaction, task_id: TaskId, owner: ControlUuid, *, error: str = "", now_us: int
) -> bool:
    """End a task, done or, with an error's sentence, failed. Returns: False if not ours."""
    changed = await tx.change(
        "UPDATE task SET state = $3, error = $4, owner = NULL, changed_at_us = $5 "
        "WHERE id = $1 AND owner = $2 AND state = 'running'",
        task_id,
        owner,
        TaskState.FAILED if error else TaskState.DONE,
        error,
        now_us,
    )
    return changed == 1


async def retry_later(  # each is a fact of the failure
    tx: Transaction,
    task_id: TaskId,
    owner: ControlUuid,
    *,
    error: str,
    due_at_us: int,
    now_us: int,
) -> bool:
    """Queue a task again after a failure. Returns: False if it is no longer ours."""
    changed = await tx.change(
        "UPDATE task SET state = 'queued', error = $3, due_at_us = $4, owner = NULL, "
        "changed_at_us = $5 WHERE id = $1 AND owner = $2 AND state = 'running'",
        task_id,
        owner,
        error,
        due_at_us,
        now_us,
    )
    return changed == 1


async def requeue_running(tx: Transaction, *, now_us: int) -> int:
    """Queue what earlier leaders left running; a new leader's first act. Returns: how many."""
    return await tx.change(
        "UPDATE task SET state = 'queued', owner = NULL, changed_at_us = $1 "
        "WHERE state = 'running'",
        now_us,
    )


async def cancel(tx: Transaction, task_id: TaskId, *, now_us: int) -> bool:
    """Cancel a task that is not finished; who runs it notices at its next report."""
    changed = await tx.change(
        "UPDATE task SET state = 'cancelled', owner = NULL, changed_at_us = $2 "
        "WHERE id = $1 AND state IN ('queued', 'running')",
        task_id,
        now_us,
    )
    return changed == 1


async def hasten(tx: Transaction, task_id: TaskId, *, now_us: int) -> bool:
    """Let a task that waits, or that failed, begin now. Returns: whether it is such a one.

    Raises: Refused: another task of its kind is unfinished for its subject.
    """
    changed = await tx.change(
        "UPDATE task SET state = 'queued', due_at_us = $2, changed_at_us = $2 "
        "WHERE id = $1 AND state IN ('queued', 'failed')",
        task_id,
        now_us,
    )
    return changed == 1


async def unfinished_of(tx: Transaction, kind: str) -> tuple[TaskRecord, ...]:
    """List the tasks of a kind that wait or run, by subject, CONTROL_PAGE_MAX at the most."""
    return await _TASKS.select(
        tx,
        "WHERE kind = $1 AND state IN ('queued', 'running') "
        f"ORDER BY subject LIMIT {CONTROL_PAGE_MAX}",
        kind,
    )


async def unfinished(tx: Transaction) -> int:
    """Count the tasks that wait or run."""
    counted = await tx.rows("SELECT COUNT(*) FROM task WHERE state IN ('queued', 'running')")
    count: int = counted[0][0]
    return count


async def page(
    tx: Transaction,
    *,
    state: TaskState | None = None,
    after: Key | None = None,
    limit: int = CONTROL_PAGE_MAX,
) -> Page[TaskRecord]:
    """List tasks, of one state or all, those that changed last first."""
    order, only = _NEWEST_FIRST, {} if state is None else {"state": state}
    return await _TASKS.page(tx, after=after, limit=limit, order=order, descends=True, **only)


async def forget_finished(tx: Transaction, *, before_us: int) -> int:
    """Remove finished tasks that did not change since then. Returns: how many."""
    return await tx.change(
        "DELETE FROM task WHERE state IN ('done', 'failed', 'cancelled') AND changed_at_us < $1",
        before_us,
    )
