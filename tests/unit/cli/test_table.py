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
    server.on("GET", PATH, {**ORDERS, "tableId": "t-1", "createdAt": "c", "settings": {"ttl": 3}})
    assert run("table", "ls", "--tenant", "acme").stdout == (
        "TABLE   ID TYPE  ITEMS  RID\norders  Integer  7      rid:x\n"
    )
    shown = run("table", "show", "orders", "--tenant", "acme").stdout
    assert "items         7\n" in shown
    assert "settings.ttl  3\n" in shown


def test_delete_asks_or_is_told(server: FakeServer, run: Run) -> None:
    """All items go with the table."""
    server.on("DELETE", PATH, reply=Reply(status=204))
    assert run("table", "rm", "orders", "--tenant", "acme").exit_code == ExitCode.UNSAFE
    assert server.seen == []
    result = run("table", "rm", "orders", "--tenant", "acme", "--yes", "-o", "json")
    assert json.loads(result.stdout)["deleted"] is True


def test_dry_run_counts(server: FakeServer, run: Run) -> None:
    """The count is what makes one think again."""
    server.on("GET", PATH, ORDERS)
    result = run("table", "delete", "orders", "--tenant", "acme", "--dry-run")
    assert "with 7 items would be deleted" in result.stderr
    assert [seen.method for seen in server.seen] == ["GET"]
