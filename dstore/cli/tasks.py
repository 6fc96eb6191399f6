"""`dstore tasks`: work of control that takes longer than a request, such as deleting a table."""

import json
import re
import time
from enum import StrEnum
from typing import Any, Final

import click

from dstore.cli.answers import document, pages_of_control
from dstore.cli.client import Client, Request, UrlPath, client, path_of
from dstore.cli.command import TEXT, Noun, Word
from dstore.cli.connection import Surface
from dstore.cli.failures import ExitCode, Failure, usage
from dstore.cli.options import asked, calls_admin
from dstore.cli.output import Column, note, print_list, print_result, print_thing

_POLL_S: Final = 0.5
_WHOLE_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII)
_FINAL: Final = frozenset({"done", "failed", "cancelled"})

_COLUMNS: Final = (
    Column(heading="ID", key="id"),
    Column(heading="KIND", key="kind"),
    Column(heading="STATE", key="state"),
    Column(heading="TRIES", key="attempts"),
    Column(heading="CHANGED", key="changedAt"),
    Column(heading="SUBJECT", key="subject"),
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
    found = pages_of_control(client(Surface.ADMIN), _path(), key="tasks", query=query)
    print_list("TaskList", _COLUMNS, found)


@tasks.command(example="dstore tasks show delete_table-5d0f --follow")
@_task_argument
@click.option("--follow", is_flag=True, help="Stay until it is finished, and tell how it goes.")
@calls_admin
def show(*, task_id: str, follow: bool) -> None:
    """Show a task; with --follow the exit status tells whether it succeeded."""
    server = client(Surface.ADMIN)
    task_id = _resolved(server, task_id)
    found = _followed(server, task_id) if follow else _found(server, task_id)
    shown = {
        "task": found.get("id"),
        "kind": found.get("kind"),
        "subject": found.get("subject"),
        "state": found.get("state"),
        "progress": _progress(found),
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
    answer = server.call(Request(method="POST", path=_path(task_id, "retry")))
    print_result("Task", document(answer), sentence=f"Task {task_id} is begun again.")


def _resolved(server: Client, given: str) -> str:
    """Find the task whose id begins as it was typed, as `dstore tasks list` shows them.

    Raises: Failure: none begins so, or several do.
    """
    if _WHOLE_ID.search(given) or asked().print_curl:
        return given
    pages = pages_of_control(server, _path(), key="tasks")
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


def _followed(server: Client, task_id: str) -> dict[str, Any]:
    """Ask until the task is finished, and say when something about it changed."""
    said = ""
    while True:
        found = _found(server, task_id)
        if found.get("state") in _FINAL:
            return found
        line = _line(found)
        if line != said:
            note(line)
            said = line
        time.sleep(_POLL_S)


def _line(found: dict[str, Any]) -> str:
    words = [str(found.get("state")), _progress(found), str(found.get("error") or "")]
    return ", ".join(word for word in words if word)


def _progress(found: dict[str, Any]) -> str:
    """Spell the progress, whatever the task writes down of it."""
    match found.get("progress"):
        case dict() as progress:
            return ", ".join(f"{name} {_plain(value)}" for name, value in progress.items())
        case None | "":
            return ""
        case other:
            return _plain(other)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _found(server: Client, task_id: str) -> dict[str, Any]:
    return document(server.call(Request(method="GET", path=_path(task_id))))


def _path(*rest: str) -> UrlPath:
    return path_of("admin", "v1", "task", *rest)
