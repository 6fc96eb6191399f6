"""/v1/tenant: create, read, list, delete, as SPEC.md and DESIGN.md section 9 have it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.api.contract import entry

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_first_put_creates_and_the_next_finds(client: CheckedClient) -> None:
    """A tenant's PUT is idempotent: 201, then 200 with the same description."""
    first = client.put("/v1/tenant/made-twice")
    again = client.put("/v1/tenant/made-twice")
    assert (first.status, again.status) == (201, 200)
    assert first.json() == again.json()


def test_a_tenant_is_described(client: CheckedClient) -> None:
    """The description has the plan's members and no other (nothing internal is shown)."""
    client.put("/v1/tenant/described")
    answer = client.get("/v1/tenant/described")
    described = answer.json()
    assert described.keys() == {"tenant", "rid", "uuid", "createdAt", "tables"}
    assert described["tenant"] == "described"
    assert described["rid"] == "rid:dStore:described:NA:tenant:described"
    assert UUID.fullmatch(described["uuid"])
    assert datetime.fromisoformat(described["createdAt"]).utcoffset() is not None
    assert described["tables"] == 0
    client.put("/v1/tenant/described/table/one", {"idType": "String"})
    assert client.get("/v1/tenant/described").json()["tables"] == 1


@pytest.mark.parametrize("body", [None, b"", {}, b" {} "], ids=repr)
def test_a_tenant_needs_no_body(client: CheckedClient, body: object) -> None:
    """There is nothing to say about a tenant yet: no body and an empty object are the same."""
    assert client.put("/v1/tenant/no-body", body).status in {200, 201}


@pytest.mark.parametrize("body", [{"a": 1}, [], "x", b"null"], ids=repr)
def test_unknown_settings_of_a_tenant_are_refused(client: CheckedClient, body: object) -> None:
    """What the server would ignore, it refuses: nobody believes in a setting that is not there."""
    assert client.put("/v1/tenant/with-settings", body).status == 400
    assert client.get("/v1/tenant/with-settings").status == 404


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "9" * 64, "a" * 64])
def test_names_within_the_bounds(client: CheckedClient, name: str) -> None:
    """1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit."""
    assert client.put(f"/v1/tenant/{name}").status == 201
    assert client.get(f"/v1/tenant/{name}").json()["tenant"] == name
    assert client.delete(f"/v1/tenant/{name}").status == 204


@pytest.mark.parametrize(
    "name",
    ["A", "-a", "_a", "a.b", "a%20b", "a%2Fb", "%C3%A9", "a" * 65, "a" * 4000, "%00", ".", "..",
     "a:b", "%F0%9F%92%A9" * 50, "a%0A"],
)  # fmt: skip
def test_names_out_of_bounds(client: CheckedClient, name: str) -> None:
    """A name that a RID or a file could not carry is refused, and quoted shortly."""
    assert client.put(f"/v1/tenant/{name}").status == 400
    assert client.get(f"/v1/tenant/{name}").status == 404
    assert client.delete(f"/v1/tenant/{name}").status == 404


def test_a_deleted_tenant_is_gone(client: CheckedClient) -> None:
    """204, then 404 for everything below it; the name is free, and the new one is another."""
    before = client.put("/v1/tenant/deleted").json()
    assert client.delete("/v1/tenant/deleted").status == 204
    assert client.get("/v1/tenant/deleted").status == 404
    assert client.delete("/v1/tenant/deleted").status == 404
    assert client.get("/v1/tenant/deleted/table").status == 404
    after = client.put("/v1/tenant/deleted")
    assert after.status == 201
    assert after.json()["uuid"] != before["uuid"]


def test_a_tenant_with_tables_is_deleted_by_force_only(client: CheckedClient) -> None:
    """409 says how; what lies below is still there then, and gone after force."""
    tenant = "/v1/tenant/has-tables"
    client.put(tenant)
    client.put(f"{tenant}/table/abc", {"idType": "String"})
    client.put(entry(f"{tenant}/table/abc", "x"), {"a": 1})
    refused = client.delete(tenant)
    assert refused.status == 409
    assert "force" in refused.json()["detail"]
    assert client.delete(f"{tenant}?force=false").status == 409
    assert client.get(entry(f"{tenant}/table/abc", "x")).status == 200
    assert client.delete(f"{tenant}?force=true").status == 204
    assert client.get(entry(f"{tenant}/table/abc", "x")).status == 404
    client.put(tenant)
    assert client.get(f"{tenant}/table").json() == {"tables": [], "after": None}


@pytest.mark.parametrize("value", ["1", "yes", "TRUE", "truefalse", "%00"])
def test_force_is_true_or_false(client: CheckedClient, value: str) -> None:
    """A word that might mean either never deletes anything."""
    client.put("/v1/tenant/unclear")
    assert client.delete(f"/v1/tenant/unclear?force={value}").status == 400
    assert client.get("/v1/tenant/unclear").status == 200


def test_the_list_has_every_tenant_in_order(client: CheckedClient) -> None:
    """A list names its members by RID and is sorted, so that pages are stable."""
    for name in ("list-b", "list-a"):
        client.put(f"/v1/tenant/{name}")
    listed = client.get("/v1/tenant?limit=1000").json()
    names = [tenant["tenant"] for tenant in listed["tenants"]]
    assert names == sorted(names)
    assert {"default", "list-a", "list-b"} <= set(names)
    assert all(tenant.keys() == {"tenant", "rid", "createdAt"} for tenant in listed["tenants"])
