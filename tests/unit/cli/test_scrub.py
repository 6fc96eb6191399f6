"""`dstore table scrub`, request by request: what is said while it runs, and how it ends."""

import json
from typing import Any

import pytest

from dstore.cli import scrub
from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, problem

PATH = "/admin/v1/scrub/acme/orders"
NODE = "a0000000-0000-4000-8000-000000000001"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "_POLL_S", 0.0)


def scrubbed(state: str = "done", **more: Any) -> dict[str, Any]:
    """Say how far the scrub of the only range is."""
    row = {
        "rangeId": "r-1",
        "lowHash": 0,
        "highHash": 0xFFFFFFFF,
        "node": NODE,
        "state": state,
        "doneBytes": 2_048,
        "damaged": 0,
        "different": 0,
        "isOpen": False,
        "why": None,
        **more,
    }
    return {"ranges": [row]}


def test_it_is_followed_to_its_end(server: FakeServer, run: Run) -> None:
    """Progress is told once each, and a single calm answer is not taken for the end."""
    server.on("POST", PATH, scrubbed("waiting"))
    for state in ("running", "running", "done", "repairing", "done"):
        server.on("GET", PATH, scrubbed(state))
    result = run("table", "scrub", "orders", "--tenant", "acme")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr == (
        "2.0 KiB read; ranges: 1 running\n"
        "2.0 KiB read; ranges: all done\n"
        "2.0 KiB read; ranges: 1 repairing\n"
        "2.0 KiB read; ranges: all done\n"
        "Scrubbed: table orders of tenant acme: all copies are the same.\n"
    )
    assert [seen.method for seen in server.seen] == ["POST", *["GET"] * 6]


@pytest.mark.parametrize("is_open", [True, False])
def test_what_was_found_is_told(server: FakeServer, run: Run, *, is_open: bool) -> None:
    """The exit status says whether something is left that is not repaired."""
    server.on("POST", PATH, scrubbed("waiting"))
    found = scrubbed(damaged=1, different=3, isOpen=is_open, why="A page is damaged.")
    server.on("GET", PATH, found)
    result = run("table", "scrub", "orders", "--tenant", "acme")
    assert result.exit_code == (ExitCode.FAILED if is_open else 0)
    mended = "which is not all repaired" if is_open else "all of which is repaired"
    assert f"1 damaged copies and 3 different items were found, {mended}." in result.stderr
    header, row = result.stdout.strip().splitlines()
    assert header.split() == [
        "HASHES", "PRIMARY", "STATE", "READ", "DAMAGED", "DIFFERENT", "WHY"
    ]  # fmt: skip
    assert row.startswith("00000000-ffffffff")
    assert row.endswith("A page is damaged.")


def test_what_could_not_be_read_is_no_success(server: FakeServer, run: Run) -> None:
    """Nothing found is not the same as nothing looked at."""
    server.on("POST", PATH, scrubbed("waiting"))
    server.on("GET", PATH, scrubbed("failed", isOpen=True))
    result = run("table", "scrub", "orders", "--tenant", "acme")
    assert result.exit_code == ExitCode.FAILED
    assert result.stderr.endswith("not all copies could be read.\n")


def test_nobody_has_to_wait(server: FakeServer, run: Run) -> None:
    """It goes on by itself."""
    server.on("POST", PATH, scrubbed("waiting"))
    result = run("table", "scrub", "orders", "--tenant", "acme", "--no-wait")
    assert result.stderr == "The scrub of table orders of tenant acme has begun.\n"
    assert [seen.method for seen in server.seen] == ["POST"]


def test_programs_get_the_last_answer(server: FakeServer, run: Run) -> None:
    """As control has said it."""
    server.on("POST", PATH, scrubbed("waiting"))
    server.on("GET", PATH, scrubbed())
    result = run("table", "scrub", "orders", "--tenant", "acme", "-o", "json")
    assert json.loads(result.stdout)["ranges"] == scrubbed()["ranges"]


def test_a_table_that_is_not_there(server: FakeServer, run: Run) -> None:
    """Nothing is begun."""
    server.on("POST", PATH, reply=problem(404, "There is no table orders."))
    result = run("table", "scrub", "orders", "--tenant", "acme")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "There is no table orders." in result.stderr
