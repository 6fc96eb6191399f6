"""/v1/tenant/{tenant}/table: create, read, list, delete."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.api.contract import entry

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient

ID_TYPES = ["String", "Integer", "Bytes"]


@pytest.mark.parametrize("id_type", ID_TYPES)
def test_a_table_is_made_and_described(client: CheckedClient, tenant: str, id_type: str) -> None:
    """PUT is idempotent, and what it answers is what GET answers."""
    path = f"{tenant}/table/Made.{id_type}_-1"
    first = client.put(path, {"idType": id_type})
    again = client.put(path, {"idType": id_type})
    read = client.get(path)
    assert (first.status, again.status, read.status) == (201, 200, 200)
    assert first.json() == again.json() == read.json()
    described = read.json()
    assert described.keys() == {
        "table",
        "rid",
        "tableId",
        "idType",
        "entries",
        "copies",
        "ranges",
        "troubles",
        "troubledRanges",
        "oneNodeDown",
        "timeToLive",
        "createdAt",
        "settings",
        "globalIndexes",
    }
    name = tenant.rpartition("/")[2]
    assert described["rid"] == f"rid:dStore:{name}:NA:table:Made.{id_type}_-1"
    assert described["idType"] == id_type
    assert described["entries"] == 0
    assert described["settings"] == {}
    assert described["globalIndexes"] == described["troubledRanges"] == []
    assert set(described["troubles"].values()) == {0}
    shown = {name: described[name] for name in ("idType", "settings")}
    assert client.put(path, shown).status == 200, "what GET shows can be PUT again"


def test_how_many_copies_a_table_is_to_have(client: CheckedClient, tenant: str) -> None:
    """It is kept as it was put; where there is one node there is one copy, and that is said."""
    path = f"{tenant}/table/several-copies"
    wanted = {"idType": "String", "settings": {"replicationFactor": 3}}
    made = client.put(path, wanted)
    assert (made.status, made.json()["settings"]) == (201, {"replicationFactor": 3})
    assert (made.json()["copies"], made.json()["oneNodeDown"]) == (1, "unavailable")
    assert client.put(path, wanted).status == 200
    assert client.put(path, {"idType": "String"}).status == 200
    other = {"idType": "String", "settings": {"replicationFactor": 2}}
    assert client.put(path, other).status == 409
    assert client.get(path).json() == made.json()


@pytest.mark.parametrize(
    ("first", "second"), [(a, b) for a in ID_TYPES for b in ID_TYPES if a != b]
)
def test_another_table_of_the_name_conflicts(
    client: CheckedClient, tenant: str, first: str, second: str
) -> None:
    """409 when the type of the ID differs, and nothing changes."""
    path = f"{tenant}/table/conflict-{first}-{second}"
    made = client.put(path, {"idType": first}).json()
    assert client.put(path, {"idType": second}).status == 409
    assert client.get(path).json() == made


@pytest.mark.parametrize(
    "body",
    [{}, {"idType": "string"}, {"idType": None}, {"idType": 1}, {"idType": ["String"]},
     {"idType": {"a": 1}}, {"idType": "String", "x": 1},
     {"idType": "String", "settings": {"x": 1}}, {"idType": "String", "settings": None},
     {"idType": "String", "settings": []},
     {"idType": "String", "settings": {"replicationFactor": 0}},
     {"idType": "String", "settings": {"replicationFactor": 6}},
     {"idType": "String", "settings": {"replicationFactor": "3"}},
     {"idType": "String", "settings": {"replicationFactor": 2.5}},
     {"idType": "String", "settings": {"replicationFactor": None}},
     {"settings": {}}, {"id": "String"}, [], b"", b"null",
     {"idType": "S" * 10_000}],
    ids=lambda body: repr(body)[:30],
)  # fmt: skip
def test_bad_definitions(client: CheckedClient, tenant: str, body: object) -> None:
    """The definition is an explicit schema: unknown fields are refused (OWASP API3)."""
    refused = client.put(f"{tenant}/table/never-made", body)
    assert refused.status == 400
    assert client.get(f"{tenant}/table/never-made").status == 404


@pytest.mark.parametrize("name", ["abc", "...", "A" * 255, "x.y_z-1", "___"])
def test_names_within_the_bounds(client: CheckedClient, tenant: str, name: str) -> None:
    """3 to 255 of a-z, A-Z, 0-9, _, - and the full stop, as DynamoDB has it."""
    path = f"{tenant}/table/{name}"
    assert client.put(path, {"idType": "String"}).status == 201
    assert client.get(path).json()["table"] == name
    assert client.delete(path).status == 204


@pytest.mark.parametrize(
    "name",
    ["ab", "a", "..", ".", "A" * 256, "a%2Fb", "a%20b", "%C3%A9%C3%A9%C3%A9", "abc%00", "abc%0A",
     "a:bc", "%F0%9F%92%A9" * 60, "n" * 5000],
)  # fmt: skip
def test_names_out_of_bounds(client: CheckedClient, tenant: str, name: str) -> None:
    """The name goes into RIDs: what could not stand there is refused, and quoted shortly."""
    path = f"{tenant}/table/{name}"
    assert client.put(path, {"idType": "String"}).status == 400
    assert client.get(path).status == 404
    assert client.delete(path).status == 404
    assert client.get(f"{path}/id").status == 404
    assert client.get(f"{path}/id/x").status == 404


def test_names_differ_by_case(client: CheckedClient, tenant: str) -> None:
    """No file system or collation may fold two tables into one."""
    for name in ("CASE", "case"):
        assert client.put(f"{tenant}/table/{name}", {"idType": "String"}).status == 201
    client.put(entry(f"{tenant}/table/CASE", "x"), {"of": "upper"})
    assert client.get(entry(f"{tenant}/table/case", "x")).status == 404


def test_a_deleted_table_is_gone(client: CheckedClient, tenant: str) -> None:
    """204, then 404; a table made again under the name is empty and has another tableId."""
    path = f"{tenant}/table/deleted"
    before = client.put(path, {"idType": "String"}).json()
    client.put(entry(path, "x"), {"a": 1})
    assert client.delete(path).status == 204
    assert client.get(path).status == client.delete(path).status == 404
    assert client.get(entry(path, "x")).status == 404
    assert client.put(entry(path, "x"), {"a": 1}).status == 404
    after = client.put(path, {"idType": "Integer"})
    assert after.status == 201
    assert after.json()["tableId"] != before["tableId"]
    assert client.get(f"{path}/id").json()["entries"] == []


def test_entries_are_counted(client: CheckedClient, new_table: str) -> None:
    """`entries` follows creates and deletes, and a replacement counts once."""
    for number in range(5):
        client.put(entry(new_table, str(number)), {"n": number})
    client.post(entry(new_table, "1"), {"n": 10})
    client.delete(entry(new_table, "2"))
    assert client.get(new_table).json()["entries"] == 4


def test_tables_of_an_absent_tenant(client: CheckedClient) -> None:
    """A table never makes its tenant by the way."""
    path = "/v1/tenant/nobody/table/abc"
    assert client.put(path, {"idType": "String"}).status == 404
    assert client.get(path).status == client.delete(path).status == 404
    assert client.get("/v1/tenant/nobody/table").status == 404


def test_tenants_tables_are_strangers(client: CheckedClient, tenant: str) -> None:
    """The same name under two tenants is two tables."""
    client.put("/v1/tenant/stranger")
    ours, theirs = f"{tenant}/table/same", "/v1/tenant/stranger/table/same"
    for path in (ours, theirs):
        assert client.put(path, {"idType": "String"}).status == 201
    client.put(entry(ours, "x"), {"of": "ours"})
    assert client.get(entry(theirs, "x")).status == 404
    assert client.delete(theirs).status == 204
    assert client.get(entry(ours, "x")).json() == {"of": "ours"}


def test_the_list_has_every_table_in_order(client: CheckedClient) -> None:
    """A summary names its table by RID; the list is sorted by name."""
    tenant = "/v1/tenant/listing-tables"
    client.put(tenant)
    for name in ("zzz", "AAA", "mmm"):
        client.put(f"{tenant}/table/{name}", {"idType": "Bytes"})
    listed = client.get(f"{tenant}/table").json()
    assert [table["table"] for table in listed["tables"]] == ["AAA", "mmm", "zzz"]
    assert listed["after"] is None
    for table in listed["tables"]:
        assert table.keys() == {"table", "rid", "idType", "entries", "copies"}
        assert re.fullmatch(r"rid:dStore:listing-tables:NA:table:\w{3}", table["rid"])
