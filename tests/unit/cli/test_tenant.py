"""`dstore tenant`, request by request."""

import json

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer, Reply, problem

ACME = {"tenant": "acme", "rid": "rid:dStore:acme:NA:tenant:acme", "createdAt": "2026-01-02T03:04Z"}


def test_create_tells_new_from_old(server: FakeServer, run: Run) -> None:
    """Making it twice is no error, and yet no secret."""
    body = json.dumps(ACME).encode()
    server.on("PUT", "/v1/tenant/acme", reply=Reply(status=201, body=body))
    server.on("PUT", "/v1/tenant/acme", reply=Reply(status=200, body=body))
    first, second = run("tenant", "create", "acme"), run("tenant", "create", "acme")
    assert (first.stdout, first.stderr) == ("", "Tenant acme is made.\n")
    assert (second.exit_code, second.stderr) == (0, "Tenant acme was there already.\n")


def test_result_for_programs_has_a_version_and_a_kind(server: FakeServer, run: Run) -> None:
    """A program must be able to tell what it reads, and that it knows this version."""
    server.on("PUT", "/v1/tenant/acme", ACME)
    result = run("tenant", "create", "acme", "-o", "json")
    assert json.loads(result.stdout) == {"apiVersion": "dstore/v1", "kind": "Tenant", **ACME}


def test_list_walks_all_pages(server: FakeServer, run: Run) -> None:
    """A list that ends at a page's end would hide tenants."""
    server.on("GET", "/v1/tenant?limit=1000", {"tenants": [ACME], "after": "x/y"})
    second = {**ACME, "tenant": "zulu"}
    server.on("GET", "/v1/tenant?limit=1000&after=x%2Fy", {"tenants": [second], "after": None})
    result = run("tenant", "list")
    assert result.stdout == (
        "TENANT  CREATED            RID\n"
        "acme    2026-01-02T03:04Z  rid:dStore:acme:NA:tenant:acme\n"
        "zulu    2026-01-02T03:04Z  rid:dStore:acme:NA:tenant:acme\n"
    )


def test_list_for_programs_is_one_document_of_all_pages(server: FakeServer, run: Run) -> None:
    """It is written page by page, and must still parse as one."""
    server.on("GET", "/v1/tenant?limit=1000", {"tenants": [ACME], "after": "x"})
    server.on("GET", "/v1/tenant?limit=1000&after=x", {"tenants": [ACME, ACME], "after": None})
    assert json.loads(run("tenant", "list", "-o", "json").stdout) == {
        "apiVersion": "dstore/v1",
        "kind": "TenantList",
        "items": [ACME, ACME, ACME],
        "after": None,
    }


def test_empty_list(server: FakeServer, run: Run) -> None:
    """Nothing on stdout for people, an empty array for programs."""
    server.on("GET", "/v1/tenant?limit=1000", {"tenants": [], "after": None})
    result = run("tenant", "list")
    assert (result.stdout, result.stderr) == ("", "There are none.\n")
    assert json.loads(run("tenant", "list", "-o", "json").stdout)["items"] == []


def test_list_that_would_never_end_is_broken_off(server: FakeServer, run: Run) -> None:
    """A cursor that stands still is a fault, not a reason to run until the disk is full."""
    server.on("GET", "/v1/tenant?limit=1000", {"tenants": [ACME], "after": "x"})
    server.on("GET", "/v1/tenant?limit=1000&after=x", {"tenants": [ACME], "after": "x"})
    assert run("tenant", "list").exit_code == ExitCode.FAILED


def test_show_prints_names_and_values(server: FakeServer, run: Run) -> None:
    """One line each, so that grep finds it."""
    server.on("GET", "/v1/tenant/acme", {**ACME, "uuid": "u-1", "tables": 3})
    assert run("tenant", "info", "acme").stdout == (
        "tenant   acme\n"
        "tables   3\n"
        "created  2026-01-02T03:04Z\n"
        "uuid     u-1\n"
        "rid      rid:dStore:acme:NA:tenant:acme\n"
    )


def test_delete_is_refused_without_yes(server: FakeServer, run: Run) -> None:
    """A script that forgot --yes must neither hang at a question nor destroy."""
    result = run("tenant", "delete", "acme")
    assert result.exit_code == ExitCode.UNSAFE
    assert "--yes" in result.stderr
    assert server.seen == []


def test_delete_with_force(server: FakeServer, run: Run) -> None:
    """--force is the server's parameter, --yes the question's answer."""
    server.on("DELETE", "/v1/tenant/acme?force=true", reply=Reply(status=204))
    result = run("tenant", "rm", "acme", "--force", "--yes")
    assert (result.exit_code, result.stderr) == (0, "Tenant acme is deleted.\n")


def test_tenant_with_tables_names_the_option(server: FakeServer, run: Run) -> None:
    """The server speaks of ?force=true, which nobody can type here."""
    server.on("DELETE", "/v1/tenant/acme", reply=problem(409, "It has tables."))
    assert (
        run("tenant", "rm", "acme", "--yes").stderr == "dstore: It has tables. (Here: --force.)\n"
    )


@pytest.mark.parametrize(("force", "says"), [([], "without --force"), (["--force"], "would be")])
def test_dry_run_only_looks(server: FakeServer, run: Run, force: list[str], says: str) -> None:
    """It needs no --yes, since it does nothing."""
    server.on("GET", "/v1/tenant/acme", {**ACME, "tables": 3})
    result = run("tenant", "delete", "acme", "--dry-run", *force)
    assert result.exit_code == ExitCode.OK
    assert says in result.stderr
    assert [seen.method for seen in server.seen] == ["GET"]


def test_name_is_percent_encoded(server: FakeServer, run: Run) -> None:
    """What is typed is one part of the path, whatever it contains."""
    run("tenant", "show", "a/../b?c#d é")
    assert server.seen[0].target == "/v1/tenant/a%2F..%2Fb%3Fc%23d%20%C3%A9"
