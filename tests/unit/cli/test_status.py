"""`dstore status`: for people, for programs, and for a script's exit status."""

import json

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer

STATUS = {
    "node": {
        "uuid": "u-1",
        "version": "0.1.0",
        "startedAt": "2026-01-02T03:04:05Z",
        "uptimeSeconds": 93_784,
        "roles": ["node"],
        "location": "NA",
    },
    "health": "HEALTH_WARN",
    "checks": [{"code": "DISK_FULL", "message": "The disk is nearly full."}],
    "tenants": 2,
    "tables": 3,
    "entries": 4,
    "filesOpen": 5,
    "queue": {"deferred": 0},
    "disk": {"freeBytes": 1_610_612_736},
}


def test_status_for_people(server: FakeServer, run: Run) -> None:
    """What is wrong comes first; sizes and times are readable; an unknown figure is left out."""
    server.on("GET", "/admin/v1/status", STATUS)
    result = run("status")
    assert result.exit_code == ExitCode.OK
    assert result.stdout == (
        "HEALTH_WARN\n"
        "  DISK_FULL: The disk is nearly full.\n"
        "node        u-1\n"
        "version     0.1.0\n"
        "up          1 d 2 h, since 2026-01-02T03:04:05Z\n"
        "roles       node\n"
        "location    NA\n"
        "tenants     2\n"
        "tables      3\n"
        "items       4\n"
        "files open  5\n"
        "queued      0\n"
        "disk free   1.5 GiB\n"
    )


def test_status_for_programs_is_the_servers_own(server: FakeServer, run: Run) -> None:
    """No figure is rounded or renamed."""
    server.on("GET", "/admin/v1/status", STATUS)
    document = json.loads(run("status", "-o", "json").stdout)
    assert document == {"apiVersion": "dstore/v1", "kind": "Status", **STATUS}


@pytest.mark.parametrize("output", ["table", "json"])
def test_bad_health_is_an_exit_status(server: FakeServer, run: Run, output: str) -> None:
    """A script needn't parse to find out."""
    server.on("GET", "/admin/v1/status", {**STATUS, "health": "HEALTH_ERR"})
    assert run("status", "-o", output).exit_code == ExitCode.FAILED


def test_sparse_status_is_shown_all_the_same(server: FakeServer, run: Run) -> None:
    """Another version's server may leave figures out."""
    server.on("GET", "/admin/v1/status", {"health": "HEALTH_OK"})
    result = run("status")
    assert result.exit_code == ExitCode.OK
    assert result.stdout.startswith("HEALTH_OK\n")


CLUSTER = {
    "health": "HEALTH_ERR",
    "checks": [{"code": "RANGES_UNAVAILABLE", "message": "1 of 4 ranges can't be read."}],
    "control": {"uuid": "c-1", "version": "0.1.0", "uptimeSeconds": 61, "startedAt": "then"},
    "cluster": {
        "controlPlane": "p-1",
        "location": "EU",
        "leader": "c-1",
        "components": [
            {"role": "proxy", "id": "x-1", "zone": "b", "state": "active", "health": "okay"},
            {
                "role": "node",
                "id": "n-1",
                "zone": "a",
                "state": "active",
                "health": "dead",
                "why": "Its lease is over.",
                "ranges": 1,
                "freeBytes": 1_024,
                "capacityBytes": 2_048,
                "loadPercent": 3,
            },
            {"role": "node", "id": "n-0", "state": "removed", "health": "removed"},
            {"role": "control", "id": "c-1", "state": "active", "health": "okay", "isLeader": True},
        ],
        "tenants": 2,
        "tables": {"active": 3, "creating": 1, "deleting": 0},
        "ranges": {
            "total": 4,
            "unavailable": 1,
            "readOnly": 2,
            "underReplicated": 3,
            "possibleLoss": 0,
        },
        "failuresSurvivable": -1,
        "sentence": "1 range has no node that can serve it.",
        "topology": {
            "state": "live",
            "sentence": "The topology is that of revision 7.",
            "waitingWrites": 2,
            "problemCount": 1,
            "problems": ["A value is malformed."],
        },
        "unfinishedTasks": 1,
        "recentNotices": 0,
        "oldestScrubS": 5 * 86_400 + 7,
    },
}


def test_status_of_a_cluster_is_one_page(server: FakeServer, run: Run) -> None:
    """Health, what it survives, the topology, and each component with what is wrong with it."""
    server.on("GET", "/admin/v1/status", CLUSTER)
    result = run("status")
    assert result.exit_code == ExitCode.FAILED
    assert result.stdout == (
        "HEALTH_ERR\n"
        "  RANGES_UNAVAILABLE: 1 of 4 ranges can't be read.\n"
        "cluster   p-1 in EU\n"
        "leader    c-1\n"
        "topology  The topology is that of revision 7. 2 changes wait to be published. "
        "1 values are kept out: A value is malformed.\n"
        "ranges    4, 1 unavailable, 2 read-only, 3 under-replicated\n"
        "survives  1 range has no node that can serve it.\n"
        "tenants   2\n"
        "tables    3 active, 1 creating\n"
        "tasks     1 unfinished, see dstore tasks list\n"
        "scrubs    the oldest of a range is 5 days old\n"
        "\n"
        "ROLE       ID   ZONE  STATE   HEALTH  RANGES  FREE     WHY\n"
        "control *  c-1        active  okay\n"
        "node       n-1  a     active  dead    1       1.0 KiB  Its lease is over.\n"
        "proxy      x-1  b     active  okay\n"
        "\n"
        "control  c-1\n"
        "version  0.1.0\n"
        "up       1 min 1 s, since then\n"
    )


def test_status_of_a_cluster_for_programs_is_controls_own(server: FakeServer, run: Run) -> None:
    """No figure is rounded or renamed."""
    server.on("GET", "/admin/v1/status", CLUSTER)
    document = json.loads(run("status", "-o", "json").stdout)
    assert document == {"apiVersion": "dstore/v1", "kind": "Status", **CLUSTER}


def test_cluster_without_figures_is_shown_all_the_same(server: FakeServer, run: Run) -> None:
    """Another version's control may leave figures out."""
    server.on("GET", "/admin/v1/status", {"health": "HEALTH_OK", "checks": [], "cluster": {}})
    assert run("status").exit_code == ExitCode.OK
