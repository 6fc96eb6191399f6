"""Work of control that outlives a request: /admin/v1/task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin import rows
from dstore.api.admin.cursors import after_of, after_text
from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route
from dstore.model.errors import invalid
from dstore.storage.control.records import TaskId, TaskState

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.status import ClusterReports

TASKS = "/admin/v1/task"
TASK = f"{TASKS}/{{id}}"
RETRY = f"{TASK}/retry"


def task_routes(reports: ClusterReports, door: Door) -> tuple[Route, ...]:
    """Bind the routes to control."""

    async def list_tasks(request: web.Request) -> Answer:
        """List a page of tasks, those that changed last first."""
        await receive(request, door, parameters=("state", "after"))
        found, after = await reports.tasks(
            state=_state(request), after=after_of(request, tuple[int, str])
        )
        return json_answer(
            {"tasks": [rows.task(task) for task in found], "after": after_text(after)}
        )

    async def read_task(request: web.Request) -> Answer:
        """Show a task."""
        await receive(request, door)
        return json_answer(rows.task(await reports.task(TaskId(request.match_info["id"]))))

    async def retry_task(request: web.Request) -> Answer:
        """Have a task that waits or that failed begin at once."""
        principal, _ = await receive(request, door)
        task_id = TaskId(request.match_info["id"])
        task = await reports.retry_task(task_id)
        record_change("retry_task", principal, task=task_id)
        return json_answer(rows.task(task))

    return (
        Route(method="GET", path=TASKS, handler=list_tasks, operation="list_tasks"),
        Route(method="GET", path=TASK, handler=read_task, operation="read_task"),
        Route(method="POST", path=RETRY, handler=retry_task, operation="retry_task"),
    )


def _state(request: web.Request) -> TaskState | None:
    text = request.query.get("state")
    if text is None:
        return None
    try:
        return TaskState(text)
    except ValueError:
        raise invalid(f"state is one of {', '.join(TaskState)}.") from None
