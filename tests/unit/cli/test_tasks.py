"""`dstore tasks`: what control is at, and staying until it is done."""

import json
from typing import Any

import pytest

from dstore.cli import following
from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, problem

TASKS = "/admin/v1/task"
ID = "00000000-0000-4000-8000-000000000071"


def a_task(state: str, **changes: Any) -> dict[str, Any]:
    """A task as control describes it."""
    return {
        "id": ID,
        "kind": "delete_table",
        "subject": "rid:dStore:acme:NA:table:orders",
        "state": state,
        "progress": {},
        "error": None,
        "attempts": 1,
        "dueAt": "2026-01-02T03:04:05.000Z",
        "owner": None,
        "createdAt": "2026-01-02T03:04:05.000Z",
        "changedAt": "2026-01-02T03:04:06.000Z",
        **changes,
    }


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_POLL_S", 0.001)


def test_tasks_are_listed_by_state(server: FakeServer, run: Run) -> None:
    """Those that failed are what one looks for."""
    server.on("GET", f"{TASKS}?state=failed", {"tasks": [a_task("failed")], "after": "x"})
    server.on("GET", f"{TASKS}?state=failed&after=x", {"tasks": [], "after": None})
    lines = run("tasks", "ls", "--state", "failed").stdout.splitlines()
    assert lines[1].split()[:3] == [ID, "delete_table", "failed"]
    assert run("tasks", "ls", "--state", "lost").exit_code == ExitCode.USAGE


def test_task_that_waits_says_until_when_and_why(server: FakeServer, run: Run) -> None:
    """The error of the last try is what an operator can act upon."""
    shown = a_task("queued", progress={"nodes": 2, "phase": "drop"}, error="A node is away.")
    server.on("GET", f"{TASKS}/{ID}", shown)
    result = run("tasks", "show", ID)
    assert "progress  nodes 2, phase drop\n" in result.stdout
    assert "error     A node is away.\n" in result.stdout
    assert "due       2026" in result.stdout
    assert json.loads(run("tasks", "show", ID, "-o", "json").stdout)["attempts"] == 1


@pytest.mark.parametrize(
    ("end", "exit_code"),
    [("done", ExitCode.OK), ("failed", ExitCode.FAILED)],
)
def test_following_ends_with_the_task(
    server: FakeServer, run: Run, end: str, exit_code: ExitCode
) -> None:
    """What changes is told once; the exit status is the task's."""
    for state in ("queued", "running", "running"):
        server.on("GET", f"{TASKS}/{ID}", reply=None, document=a_task(state))
    server.on("GET", f"{TASKS}/{ID}", a_task("running", progress={"nodes": 1}))
    server.on("GET", f"{TASKS}/{ID}", a_task(end))
    result = run("tasks", "show", ID, "--follow")
    assert result.exit_code == exit_code
    assert result.stderr.splitlines() == ["queued", "running", "running, nodes 1"]
    assert f"state    {end}\n" in result.stdout


def test_showing_without_following_is_no_verdict(server: FakeServer, run: Run) -> None:
    """Who only looks is not told that looking failed."""
    server.on("GET", f"{TASKS}/{ID}", a_task("failed"))
    assert run("tasks", "show", ID).exit_code == ExitCode.OK


def test_task_is_begun_again(server: FakeServer, run: Run) -> None:
    """Control says so if there is nothing to begin."""
    server.on("POST", f"{TASKS}/{ID}/retry", a_task("queued"))
    assert ID in run("tasks", "retry", ID).stderr
    assert server.seen[0].method == "POST"
    gone = ID.replace("71", "72")
    server.on("POST", f"{TASKS}/{gone}/retry", reply=problem(404, "There is no such task."))
    assert run("tasks", "retry", gone).exit_code == ExitCode.NOT_FOUND


def test_task_is_named_by_how_its_id_begins(server: FakeServer, run: Run) -> None:
    """What the list shows is long; nothing is done about one of several."""
    rows = [a_task("done", id=f"delete_table-{ID}"), a_task("done", id=f"delete_tenant-{ID}")]
    server.on("GET", TASKS, {"tasks": rows, "after": None})
    server.on("GET", f"{TASKS}/delete_table-{ID}", rows[0])
    assert f"task     delete_table-{ID}\n" in run("tasks", "show", "delete_tab").stdout
    assert run("tasks", "retry", "delete_t").exit_code == ExitCode.USAGE
    assert run("tasks", "retry", "move").exit_code == ExitCode.NOT_FOUND
    assert {seen.method for seen in server.seen} == {"GET"}
