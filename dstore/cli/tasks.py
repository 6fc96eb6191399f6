"""`dstore tasks`: work of control that takes longer than a request, such as deleting a table."""

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import click

from dstore.cli.answers import document, pages_of_control
from dstore.cli.client import Client, Request, client
from dstore.cli.command import TEXT, Noun, Word
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode, Failure, usage
from dstore.cli.following import followed, found_task, progress_text, task_path
from dstore.cli.options import asked, calls_admin
from dstore.cli.output import Column, Page, is_json, print_list, print_result, print_thing

_WHOLE_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII)

_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="KIND", key="kind"),
    Column(heading="STATE", key="state"),
    Column(heading="TRIES", key="attempts"),
    Column(heading="CHANGED", key="changedAt"),
    Column(heading="SUBJECT", key="subject"),
    Column(heading="PROGRESS", key="progressText", is_data=True),
    Column(heading="ERROR", key="error", is_data=True),
)

_task_argument = click.argument(
    "task_id", metavar="ID", type=TEXT, help="Its id, or how it begins."
)


class State(StrEnum):
    """Which tasks are listed."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@click.group(cls=Noun)
def tasks() -> None:
    """Tasks: work of control that takes longer than a request.

    A task survives restarts of control, and is tried again until it succeeds.
    """


@tasks.command("list", example="dstore tasks list --state failed")
@click.option("--state", type=Word(State), help="Those of one state; all if left out.")
@calls_admin
def list_(*, state: State | None) -> None:
    """List tasks, those that changed last first."""
    query = {} if state is None else {"state": state.value}
    found = pages_of_control(client(Surface.ADMIN), task_path(), key="tasks", query=query)
    print_list("TaskList", _COLUMNS, found if is_json() else _for_people(found))


def _for_people(pages: Iterator[Page]) -> Iterator[Page]:
    """Spell each task's progress."""
    for page in pages:
        tasks_ = [json.loads(row) for row in page.rows]
        rows = [{**each, "progressText": progress_text(each) or None} for each in tasks_]
        yield Page(rows=[json.dumps(row).encode() for row in rows], after=page.after)


@tasks.command(example="dstore tasks show delete_table-5d0f --follow")
@_task_argument
@click.option("--follow", is_flag=True, help="Stay until it is finished, and tell how it goes.")
@calls_admin
def show(*, task_id: str, follow: bool) -> None:
    """Show a task; with --follow the exit status tells whether it succeeded."""
    server = client(Surface.ADMIN)
    task_id = _resolved(server, task_id)
    found = followed(server, task_id) if follow else found_task(server, task_id)
    shown = {
        "task": found.get("id"),
        "kind": found.get("kind"),
        "subject": found.get("subject"),
        "state": found.get("state"),
        "progress": progress_text(found),
        "error": found.get("error"),
        "tries": found.get("attempts"),
        "due": found.get("dueAt") if found.get("state") == State.QUEUED else None,
        "changed": found.get("changedAt"),
        "begun": found.get("createdAt"),
    }
    known = {name: value for name, value in shown.items() if value not in {None, ""}}
    print_thing("Task", found, known)
    if follow and found.get("state") != State.DONE:
        raise click.exceptions.Exit(ExitCode.FAILED)


@tasks.command(example="dstore tasks retry delete_table-5d0f")
@_task_argument
@calls_admin
def retry(*, task_id: str) -> None:
    """Have a task that waits, or that failed, begin at once."""
    server = client(Surface.ADMIN)
    task_id = _resolved(server, task_id)
    answer = server.call(Request(method="POST", path=task_path(task_id, "retry")))
    print_result("Task", document(answer), sentence=f"Task {task_id} is begun again.")


def _resolved(server: Client, given: str) -> str:
    """Find the task whose id begins as it was typed, as `dstore tasks list` shows them.

    Raises: Failure: none begins so, or several do.
    """
    if _WHOLE_ID.search(given) or asked().print_curl:
        return given
    pages = pages_of_control(server, task_path(), key="tasks")
    ids = [str(json.loads(row).get("id")) for page in pages for row in page.rows]
    found = [each for each in ids if each.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        raise usage(f"{len(found)} tasks begin with {given}; type more of the id.")
    raise Failure(
        f"There is no task {given}; dstore tasks list shows those there are.",
        exit_code=ExitCode.NOT_FOUND,
    )
