"""Moving replicas, and nodes that are to be stopped or to go, as an operator types it."""

from __future__ import annotations

import json

import pytest

from dstore.cli import following
from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, problem

ONE = "3f2a0000-0000-4000-8000-000000000001"
TWO = "3f2b0000-0000-4000-8000-000000000002"
TASK = "decommission_node-3f2c0000-0000-4000-8000-000000000003"
APPLY = "/admin/v1/placement/apply"
PLAN = "/admin/v1/placement/plan"
MOVE = {
    "tenant": "acme",
    "table": "orders",
    "rangeId": "r",
    "lowHash": 0,
    "highHash": 2_147_483_647,
    "isUnderWay": True,
    "why": "",
    "add": TWO,
    "remove": ONE,
    "primary": None,
    "sizeBytes": 4_194_304,
    "doneBytes": 1_048_576,
}


def test_the_plan_shows_who_gets_what(server: FakeServer, run: Run) -> None:
    """How far it is, too, and what is still to come."""
    to_come = {
        **MOVE,
        "isUnderWay": False,
        "why": "primary",
        "add": None,
        "remove": None,
        "primary": TWO,
        "sizeBytes": 0,
        "doneBytes": None,
    }
    server.on("GET", PLAN, {"isPaused": False, "moves": [MOVE, to_come]})
    shown = run("placement", "plan")
    assert shown.exit_code == 0
    assert "25 %" in shown.stdout
    assert "3f2a0000" in shown.stdout
    assert "3f2b0000" in shown.stdout
    assert "primary" in shown.stdout
    found = json.loads(run("placement", "plan", "--output", "json").stdout)
    assert found["moves"][0]["doneBytes"] == 1_048_576


def test_a_cluster_at_rest_has_an_empty_plan(server: FakeServer, run: Run) -> None:
    """And a pause is not forgotten."""
    server.on("GET", PLAN, {"isPaused": True, "moves": []})
    shown = run("placement", "plan")
    assert "0" in shown.stdout
    assert "dstore placement resume" in shown.stdout


def test_splits_are_shown_and_asked_for(server: FakeServer, run: Run) -> None:
    """With the point where the range is cut; the task is named for whoever waits."""
    split = {"tenant": "acme", "table": "orders", "rangeId": "r", "lowHash": 0, "highHash": 9}
    split |= {"atHash": 5, "why": "heat", "begunAt": "2026-01-01T00:00:00Z"}
    server.on("GET", PLAN, {"isPaused": False, "moves": [], "splits": [split]})
    shown = run("placement", "plan").stdout
    assert "heat" in shown
    assert "00000005" in shown
    server.on("POST", "/admin/v1/placement/split", {"rangeId": "r", "task": "split_range-1"})
    server.on("GET", "/admin/v1/placement", {"ranges": [{"rangeId": "r-1"}], "after": None})
    said = run("placement", "split", "r")
    assert said.exit_code == 0
    assert "split_range-1" in said.stderr
    assert json.loads(server.seen[-1].body) == {"rangeId": "r-1"}


def test_moves_are_paused_resumed_and_undone(server: FakeServer, run: Run) -> None:
    """Each says what it has done; undoing asks first."""
    server.on("PUT", "/admin/v1/placement/pause", {"isPaused": True})
    server.on("POST", "/admin/v1/placement/abort", {"isPaused": True, "ranges": 1})
    assert "No more replicas are moved" in run("placement", "pause").stderr
    assert "moved again" in run("placement", "resume").stderr
    assert [json.loads(seen.body) for seen in server.seen] == [{"paused": True}, {"paused": False}]
    assert run("placement", "abort").exit_code == ExitCode.UNSAFE
    assert "the moves of 1 range" in run("placement", "abort", "--yes").stderr


def test_a_node_is_drained_or_decommissioned(server: FakeServer, run: Run) -> None:
    """Control's reason against it is shown as it is."""
    path = f"/admin/v1/node/{ONE}/intent"
    server.on("PUT", path, {"id": ONE, "intent": "drain"})
    assert "is drained" in run("node", "drain", ONE).stderr
    assert "stays" in run("node", "drain", ONE, "--off").stderr
    assert "is decommissioned" in run("node", "decommission", ONE).stderr
    said = [json.loads(seen.body)["intent"] for seen in server.seen]
    assert said == ["drain", "stay", "decommission"]


def _task(state: str, **progress: object) -> dict[str, object]:
    return {"id": TASK, "kind": "decommission_node", "state": state, "progress": progress}


def test_waiting_tells_how_far_it_is(
    server: FakeServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes, pace and the time left, a line for each change; the end is the task's."""
    monkeypatch.setattr(following, "_POLL_S", 0.001)
    server.on("PUT", f"/admin/v1/node/{ONE}/intent", {"id": ONE, "task": TASK})
    progress = {
        "movesDone": 1,
        "movesTotal": 4,
        "doneBytes": 1 << 20,
        "totalBytes": 4 << 20,
        "bytesPerS": 1 << 19,
        "leftS": 6,
        "isPaused": False,
    }
    server.on("GET", f"/admin/v1/task/{TASK}", _task("running", **progress))
    server.on("GET", f"/admin/v1/task/{TASK}", _task("done"))
    waited = run("node", "decommission", ONE, "--wait")
    assert waited.exit_code == 0
    assert waited.stderr.splitlines()[1:] == [
        "running, 1 of 4 moves, 1.0 MiB of 4.0 MiB (25 %), 512.0 KiB/s, 6 s left",
        f"Node {ONE}, decommission: done.",
    ]
    shown = {"isPaused": False, "moves": [MOVE], "tasks": [_task("running", **progress)]}
    server.on("GET", PLAN, shown)
    assert "1.0 MiB of 4.0 MiB" in run("placement", "plan").stdout


def test_waiting_for_what_was_taken_back_fails(server: FakeServer, run: Run) -> None:
    """An abort, or another word about the node, ends its task."""
    server.on("PUT", f"/admin/v1/node/{ONE}/intent", {"id": ONE, "task": TASK})
    server.on("GET", f"/admin/v1/task/{TASK}", _task("cancelled"))
    waited = run("node", "drain", ONE, "--wait")
    assert waited.exit_code == ExitCode.FAILED
    assert "taken back" in waited.stderr


def test_a_plan_is_applied_as_it_was_shown(server: FakeServer, run: Run) -> None:
    """By its token; without one it is shown first, and asked for."""
    to_come = {**MOVE, "isUnderWay": False, "doneBytes": None, "why": "spread"}
    for moves in ([to_come], [to_come], [to_come], []):
        server.on("GET", PLAN, {"token": "5f0c", "isPaused": True, "moves": moves})
    server.on("POST", APPLY, {"task": TASK})
    assert "5f0c" in run("placement", "plan").stdout
    assert TASK in run("placement", "apply", "5f0c").stderr
    unsaid = run("placement", "apply")
    assert unsaid.exit_code == ExitCode.UNSAFE
    assert "spread" in unsaid.stdout
    assert run("placement", "apply", "--yes").exit_code == 0
    tokens = [json.loads(seen.body)["token"] for seen in server.seen if seen.method == "POST"]
    assert tokens == ["5f0c", "5f0c"]
    nothing = run("placement", "apply", "--yes")
    assert nothing.exit_code == ExitCode.FAILED
    assert "nothing to move" in nothing.stderr


def test_a_node_that_is_needed_is_not_decommissioned(server: FakeServer, run: Run) -> None:
    """Control's reason is shown as it is, and a script can tell it from a failure."""
    reply = problem(409, "2 ranges would fall below the factor.", name="conflict")
    server.on("PUT", f"/admin/v1/node/{ONE}/intent", reply=reply)
    refused = run("node", "decommission", ONE)
    assert refused.exit_code == ExitCode.UNSAFE
    assert "below the factor" in refused.stderr


def test_the_exit_status_says_whether_a_node_may_be_stopped(server: FakeServer, run: Run) -> None:
    """A script needs no more."""
    path = f"/admin/v1/node/{ONE}/ok-to-stop"
    server.on("GET", path, {"isOkay": True, "losing": 0, "why": ""})
    reasons = ["A write needs 2.", "Another one needs 2."]
    found = {"isOkay": False, "losing": 3, "why": reasons[0], "reasons": reasons}
    server.on("GET", path, found)
    assert run("node", "ok-to-stop", ONE).exit_code == 0
    needed = run("node", "ok-to-stop", ONE)
    assert needed.exit_code == ExitCode.UNSAFE
    assert needed.stderr.splitlines() == [
        *reasons,
        "And 1 more.",
        f"dstore: 3 ranges need node {ONE}.",
    ]


def test_a_range_that_nobody_knows_is_discarded_if_one_says_so(
    server: FakeServer, run: Run
) -> None:
    """It is for good, so it asks."""
    server.on("POST", f"/admin/v1/node/{ONE}/discard", {"id": ONE, "rangeId": "r", "task": TASK})
    assert run("node", "discard", ONE, "r").exit_code == ExitCode.UNSAFE
    said = run("node", "discard", ONE, "r", "--yes")
    assert said.exit_code == 0
    assert "deletes range r" in said.stderr
    assert json.loads(server.seen[-1].body) == {"rangeId": "r"}
