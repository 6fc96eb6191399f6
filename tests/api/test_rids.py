"""RIDs: every answer that names a resource carries its RID, and each is one that parses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from dstore.model.rid import Rid
from tests.api.contract import entry

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient
    from tests.support.http_client import Answer

TENANT: Final = "/v1/tenant/named"
TABLE: Final = f"{TENANT}/table/Some.things_1"
ENTRY: Final = entry(TABLE, "a/b:c é")
TENANT_RID: Final = "rid:dStore:named:NA:tenant:named"
TABLE_RID: Final = "rid:dStore:named:NA:table:Some.things_1"
ENTRY_RID: Final = f"{TABLE_RID}/id/a%2Fb%3Ac%20%C3%A9"
STRING: Final = {"idType": "String"}
ASYNC: Final = {"Prefer": "respond-async"}
CREATED: Final = {"created": 1}

# In order: method, path, body, headers, status, the RID in DStore-RID, the RID in the body.
STEPS: Final[list[tuple[str, str, Any, dict[str, str], int, str, str | None]]] = [
    ("PUT", TENANT, None, {}, 201, TENANT_RID, TENANT_RID),
    ("PUT", TENANT, None, {}, 200, TENANT_RID, TENANT_RID),
    ("GET", TENANT, None, {}, 200, TENANT_RID, TENANT_RID),
    ("PUT", TABLE, STRING, {}, 201, TABLE_RID, TABLE_RID),
    ("PUT", TABLE, STRING, {}, 200, TABLE_RID, TABLE_RID),
    ("GET", TABLE, None, {}, 200, TABLE_RID, TABLE_RID),
    ("GET", f"{TENANT}/table", None, {}, 200, TENANT_RID, None),
    ("PUT", ENTRY, CREATED, {}, 201, ENTRY_RID, ENTRY_RID),
    ("GET", ENTRY, None, {}, 200, ENTRY_RID, None),
    ("HEAD", ENTRY, None, {}, 200, ENTRY_RID, None),
    ("GET", ENTRY, None, {"If-None-Match": "*"}, 304, ENTRY_RID, None),
    ("POST", ENTRY, {"n": 2}, {}, 200, ENTRY_RID, ENTRY_RID),
    ("POST", ENTRY, {"n": 3}, ASYNC, 202, ENTRY_RID, ENTRY_RID),
    ("GET", f"{TABLE}/id", None, {}, 200, TABLE_RID, None),
    ("DELETE", ENTRY, None, {}, 204, ENTRY_RID, None),
    ("DELETE", TABLE, None, {}, 204, TABLE_RID, None),
    ("DELETE", TENANT, None, {}, 204, TENANT_RID, None),
]


def test_every_answer_names_its_resource(client: CheckedClient) -> None:
    """One life of a tenant, a table and an entry: the RID stands in each header and each body."""
    for method, path, body, headers, status, header, member in STEPS:
        answer: Answer = client.request(method, path, body, headers=headers)
        step = (method, path, status)
        assert answer.status == status, (step, answer)
        assert answer.headers.get("dstore-rid") == header, step
        described = json.loads(answer.body) if answer.body else {}
        assert described.get("rid") == member, step


@pytest.mark.parametrize("rid", [TENANT_RID, TABLE_RID, ENTRY_RID])
def test_rids_parse(rid: str) -> None:
    """What is answered is what `Rid` reads, part by part."""
    parsed = Rid.parse(rid)
    assert str(parsed) == rid
    assert (parsed.tenant, parsed.location) == ("named", "NA")


def test_lists_name_their_members(client: CheckedClient, tenant: str, table: str) -> None:
    """Each tenant and table of a list has its RID; an entry's is its table's and its ID."""
    for listed in client.get("/v1/tenant?limit=1000").json()["tenants"]:
        assert listed["rid"] == f"rid:dStore:{listed['tenant']}:NA:tenant:{listed['tenant']}"
    name = tenant.rpartition("/")[2]
    for listed in client.get(f"{tenant}/table").json()["tables"]:
        assert listed["rid"] == f"rid:dStore:{name}:NA:table:{listed['table']}"
    assert client.get(f"{table}/id").headers["dstore-rid"] == f"rid:dStore:{name}:NA:table:shared"


def test_an_accepted_writes_outcome_is_asked_by_name(client: CheckedClient, table: str) -> None:
    """The request's answer names the request; its 202 has named the entry."""
    accepted = client.put(entry(table, "later"), {}, headers=ASYNC)
    answer = client.get(accepted.headers["location"])
    assert answer.json()["requestId"] == accepted.json()["requestId"]
