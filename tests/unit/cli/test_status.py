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
