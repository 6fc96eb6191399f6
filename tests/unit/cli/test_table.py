"""`dstore table`, request by request."""

import json

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, Reply

ORDERS = {"table": "orders", "rid": "rid:x", "idType": "Integer", "entries": 7}
PATH = "/v1/tenant/acme/table/orders"


@pytest.mark.parametrize("typed", ["Integer", "integer"])
def test_create_sends_the_id_type(server: FakeServer, run: Run, typed: str) -> None:
    """The API's words are capitalised; people who type them needn't be."""
    server.on("PUT", PATH, reply=Reply(status=201, body=json.dumps(ORDERS).encode()))
    result = run("table", "create", "orders", "--id-type", typed, "--tenant", "acme")
    assert result.stderr == "Table orders of tenant acme is made.\n"
    assert json.loads(server.seen[0].body) == {"idType": "Integer"}
    assert server.seen[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("copies", "outage", "words"),
    [
        (1, "unavailable", "1 copy instead of 2, for there are no more nodes: with one node down"),
        (2, "readOnly", "2 copies: with one node down it is read-only."),
        (3, "none", "3 copies: with one node down it is available."),
    ],
)
def test_create_says_what_a_failure_means(
    server: FakeServer, run: Run, copies: int, outage: str, words: str
) -> None:
    """Two copies are one that can be lost, and not one that can be done without."""
    made = {**ORDERS, "copies": copies, "oneNodeDown": outage}
    server.on("PUT", PATH, reply=Reply(status=201, body=json.dumps(made).encode()))
    result = run("table", "create", "orders", "--replication-factor", "2", "--tenant", "acme")
    assert words in result.stderr
    sent = json.loads(server.seen[0].body)
    assert sent == {"idType": "String", "settings": {"replicationFactor": 2}}
    refused = run("table", "create", "orders", "--replication-factor", "6")
    assert refused.exit_code == ExitCode.USAGE


def test_unknown_id_type_is_wrong_usage(server: FakeServer, run: Run) -> None:
    """The choice is closed; the answer lists it."""
    result = run("table", "create", "orders", "--id-type", "Float")
    assert result.exit_code == ExitCode.USAGE
    assert "'String', 'Integer', 'Bytes'" in result.stderr
    assert server.seen == []


def test_list_and_show(server: FakeServer, run: Run) -> None:
    """The two ways to see a table."""
    listed = {"tables": [ORDERS], "after": None}
    server.on("GET", "/v1/tenant/acme/table?limit=1000", listed)
    server.on("GET", PATH, {**ORDERS, "tableId": "t-1", "createdAt": "c", "settings": {"ttl": 3},
                              "copies": 2, "oneNodeDown": "readOnly"})  # fmt: skip
    assert run("table", "ls", "--tenant", "acme").stdout == (
        "TABLE   ID TYPE  ITEMS  COPIES  RID\norders  Integer  7              rid:x\n"
    )
    shown = run("table", "show", "orders", "--tenant", "acme").stdout
    assert "items          7\n" in shown
    assert "one node down  read-only\n" in shown
    assert "settings.ttl   3\n" in shown


def test_show_names_ranges_that_are_not_as_they_should_be(server: FakeServer, run: Run) -> None:
    """How many, which, and where it is said why; of an index how many, and what mends it."""
    ids = [f"5d1e000{number}-0000-4000-8000-000000000003" for number in range(6)]
    troubled = [
        {"rangeId": each, "lowHash": 0, "highHash": 2**30 - 1, "trouble": "readOnly"}
        for each in ids
    ]
    troubled[0]["trouble"] = "unavailable"
    index = {"index": "by-state", "status": "active", "entries": 3, "ranges": 2}
    found = {
        "ranges": 8,
        "oneNodeDown": "none",
        "settings": {},
        "troubles": {"unavailable": 1, "readOnly": 7, "possibleLoss": 0, "underReplicated": 0},
        "troubledRanges": troubled,
        "globalIndexes": [index | {"troubles": {"unavailable": 2}, "mayBeWrong": True}],
    }
    server.on("GET", PATH, {**ORDERS, **found})
    rows = run("table", "show", "orders", "--tenant", "acme").stdout.splitlines()
    lines = {name: text.strip() for name, _, text in (each.partition("  ") for each in rows)}
    assert lines["unusable"] == "1 of 8 ranges: 00000000-3fffffff (5d1e0000)"
    assert lines["read-only"].startswith("7 of 8 ranges: 00000000-3fffffff (5d1e0001), ")
    assert lines["read-only"].endswith(", ...")
    assert "short of copies" not in lines
    assert "dstore placement show orders --tenant acme" in lines["why"]
    assert lines["one node down"] == "available, once it has all its copies"
    assert "2 ranges, 2 unusable, may be wrong" in lines["index by-state"]
    assert "dstore table rebuild-index" in lines["index by-state"]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"attribute": "expires", "status": "enabling"}, "expires (enabling)"),
        ({"attribute": "expires", "status": "enabled"}, "expires (enabled)"),
        (None, None),
    ],
)
def test_show_says_by_what_items_expire(
    server: FakeServer, run: Run, told: dict[str, str] | None, shown: str | None
) -> None:
    """The attribute, and whether all ranges have followed; nothing where none expires."""
    server.on("GET", PATH, {**ORDERS, "settings": {}, "timeToLive": told})
    stdout = run("table", "show", "orders", "--tenant", "acme").stdout
    assert ("time to live" in stdout) is (shown is not None)
    assert shown is None or shown in stdout


def test_delete_asks_or_is_told(server: FakeServer, run: Run) -> None:
    """All items go with the table."""
    server.on("DELETE", PATH, reply=Reply(status=204))
    assert run("table", "rm", "orders", "--tenant", "acme").exit_code == ExitCode.UNSAFE
    assert server.seen == []
    result = run("table", "rm", "orders", "--tenant", "acme", "--yes", "-o", "json")
    assert json.loads(result.stdout)["deleted"] is True


def test_dry_run_counts(server: FakeServer, run: Run) -> None:
    """The count is what makes one think again."""
    server.on("GET", PATH, {**ORDERS, "entries": 1})
    server.on("GET", PATH, ORDERS)
    one = run("table", "delete", "orders", "--tenant", "acme", "--dry-run")
    assert "with 1 item would be deleted" in one.stderr
    result = run("table", "delete", "orders", "--tenant", "acme", "--dry-run")
    assert "with 7 items would be deleted" in result.stderr
    assert {seen.method for seen in server.seen} == {"GET"}
