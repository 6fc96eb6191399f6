"""Moving replicas, and nodes that are to be stopped or to go, as an operator types it."""

from __future__ import annotations

import json

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, problem

ONE = "3f2a0000-0000-4000-8000-000000000001"
TWO = "3f2b0000-0000-4000-8000-000000000002"
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


def test_a_node_that_is_needed_is_not_decommissioned(server: FakeServer, run: Run) -> None:
    """Control's reason is shown as it is."""
    reply = problem(409, "2 ranges would fall below the factor.", name="conflict")
    server.on("PUT", f"/admin/v1/node/{ONE}/intent", reply=reply)
    refused = run("node", "decommission", ONE)
    assert refused.exit_code == ExitCode.FAILED
    assert "below the factor" in refused.stderr


def test_the_exit_status_says_whether_a_node_may_be_stopped(server: FakeServer, run: Run) -> None:
    """A script needs no more."""
    path = f"/admin/v1/node/{ONE}/ok-to-stop"
    server.on("GET", path, {"isOkay": True, "losing": 0, "why": ""})
    server.on("GET", path, {"isOkay": False, "losing": 2, "why": "A write needs 2."})
    assert run("node", "ok-to-stop", ONE).exit_code == 0
    needed = run("node", "ok-to-stop", ONE)
    assert needed.exit_code == ExitCode.FAILED
    assert "2 ranges need node" in needed.stderr
