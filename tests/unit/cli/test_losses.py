"""Ranges whose replicas are gone for good, as an operator types it."""

from __future__ import annotations

import json
from typing import Any

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer

ONE = "3f2a0000-0000-4000-8000-000000000001"
TWO = "3f2b0000-0000-4000-8000-000000000002"
RANGE = "5d1e0000-0000-4000-8000-000000000003"
PATH = f"/admin/v1/placement/range/{RANGE}"
ACCEPT = ("placement", "accept-loss", RANGE)
REPORT: dict[str, Any] = {
    "tenant": "acme",
    "table": "orders",
    "rangeId": RANGE,
    "lowHash": 0,
    "highHash": 2_147_483_647,
    "epoch": 4,
    "possibleLoss": False,
    "replicas": [
        {
            "node": ONE,
            "state": "learner",
            "isAlive": True,
            "isHeard": True,
            "isSameDisk": True,
            "isWhole": True,
            "epoch": 3,
            "sequence": 70,
            "newestAt": "2026-01-01T00:00:00Z",
            "entries": 12,
        },
        {"node": TWO, "state": "in_sync", "isAlive": False, "isHeard": False, "entries": 13},
    ],
    "best": ONE,
    "missing": [TWO],
    "isLossless": False,
    "whyNot": None,
}


def _accepts(server: FakeServer, **other: object) -> None:
    server.on("GET", f"{PATH}/loss", {**REPORT, **other})
    server.on("POST", f"{PATH}/accept-loss", {"rangeId": RANGE, "task": "accept_loss-1"})


def _posted(server: FakeServer) -> list[object]:
    return [json.loads(each.body) for each in server.seen if each.method == "POST"]


def test_what_is_left_is_shown(server: FakeServer, run: Run) -> None:
    """Nothing is asked, and nothing changed."""
    _accepts(server)
    shown = run(*ACCEPT, "--dry-run")
    assert shown.exit_code == 0
    for word in ("acme/orders", ONE, TWO, "3/70", "since 2026-01-01T00:00:00Z"):
        assert word in shown.stdout
    assert json.loads(run(*ACCEPT, "--dry-run", "--output", "json").stdout)["best"] == ONE
    assert _posted(server) == []


def test_a_damaged_one_that_would_serve_is_named_so(server: FakeServer, run: Run) -> None:
    """Whoever accepts it knows that some items can't be read then, before and when it is asked."""
    first, second = REPORT["replicas"]
    _accepts(server, replicas=[{**first, "isDamaged": True}, second])
    shown = run(*ACCEPT, "--dry-run").stdout
    assert f"{ONE}, which is damaged" in shown
    assert "yes, damaged" in shown


def test_all_that_it_takes(server: FakeServer, run: Run) -> None:
    """The nodes that are gone, the range's id once more, and a reason; each is asked for."""
    _accepts(server)
    unnamed = run(*ACCEPT)
    assert unnamed.exit_code == ExitCode.UNSAFE
    assert f"--gone {TWO}" in unnamed.stderr
    untyped = run(*ACCEPT, "--gone", TWO, "--reason", "burnt")
    assert untyped.exit_code == ExitCode.UNSAFE
    assert f"--confirm {RANGE}" in untyped.stderr
    assert run(*ACCEPT, "--gone", TWO, "--confirm", ONE).exit_code == ExitCode.UNSAFE
    assert run(*ACCEPT, "--gone", TWO, "--confirm", RANGE).exit_code == ExitCode.USAGE
    assert _posted(server) == []
    done = run(*ACCEPT, "--gone", TWO, "--confirm", RANGE, "--reason", "burnt")
    assert done.exit_code == 0
    assert "accept_loss-1" in done.stderr
    assert _posted(server) == [{"gone": [TWO], "reason": "burnt"}]


def test_a_range_is_named_by_how_its_id_begins(server: FakeServer, run: Run) -> None:
    """As nodes are; what is typed once more is the whole id all the same."""
    ranges = [{"rangeId": RANGE}, {"rangeId": "5d1f0000-0000-4000-8000-000000000004"}]
    server.on("GET", "/admin/v1/placement", {"ranges": ranges, "after": None})
    _accepts(server)
    assert "acme/orders" in run("placement", "accept-loss", "5D1E", "--dry-run").stdout
    several = run("placement", "accept-loss", "5d1", "--dry-run")
    assert (several.exit_code, "2 ranges begin" in several.stderr) == (ExitCode.USAGE, True)
    absent = run("placement", "clear-loss", "77", "--reason", "compared")
    assert (absent.exit_code, "no range 77" in absent.stderr) == (ExitCode.NOT_FOUND, True)
    short = run("placement", "accept-loss", "5d1e", "--gone", TWO, "--confirm", "5d1e")
    assert short.exit_code == ExitCode.UNSAFE
    assert _posted(server) == []


def test_nothing_is_to_be_accepted(server: FakeServer, run: Run) -> None:
    """Control says why."""
    _accepts(server, whyNot="Enough replicas hold every acknowledged write.", best=ONE)
    said = run(*ACCEPT, "--gone", TWO, "--confirm", RANGE, "--reason", "burnt")
    assert said.exit_code == ExitCode.UNSAFE
    assert "Enough replicas" in said.stderr
    assert _posted(server) == []


def test_a_loss_is_cleared(server: FakeServer, run: Run) -> None:
    """With a reason."""
    server.on("POST", f"{PATH}/clear-loss", {"rangeId": RANGE, "task": "clear_loss-1"})
    assert run("placement", "clear-loss", RANGE).exit_code == ExitCode.USAGE
    done = run("placement", "clear-loss", RANGE, "--reason", "compared")
    assert done.exit_code == 0
    assert _posted(server) == [{"reason": "compared"}]
