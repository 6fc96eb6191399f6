"""/openapi.json is served, true, and whole: it and the routes agree both ways.

That the status, content type and body of every answer are described is asserted by
`tests.api.contract` at each request of this folder, whichever test made it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from dstore.api.http.problems import _REFUSALS, _SHORTAGES
from dstore.api.v1.openapi import openapi
from dstore.base import limits
from tests.api.contract import CheckedClient
from tests.api.route_table import V1

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

DOCUMENT: Final[dict[str, Any]] = openapi()
VERBS: Final = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
UNDESCRIBED: Final = {("GET", "/openapi.json")}


def operations() -> Iterator[tuple[str, str, dict[str, Any], list[dict[str, Any]]]]:
    """Walk the description: method, path, operation, all its parameters."""
    for path, described in DOCUMENT["paths"].items():
        for verb in described.keys() & VERBS:
            operation = described[verb]
            parameters = described.get("parameters", []) + operation.get("parameters", [])
            yield verb.upper(), path, operation, parameters


def test_it_is_served_to_whoever_asks(server: Server) -> None:
    """Without a credential, since it says nothing of any tenant, and exactly what was tested."""
    with CheckedClient(server.env()["DSTORE_URL"], token=None) as asking:
        answer = asking.get("/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_routes_and_description_agree() -> None:
    """Every route is described, and every description is a route, under the same name."""
    described = {(method, path): one["operationId"] for method, path, one, _ in operations()}
    routed = {(route.method, route.path): route.operation for route in V1}
    assert described == {key: name for key, name in routed.items() if key not in UNDESCRIBED}


def test_path_parameters_agree() -> None:
    """Each {name} of a path is a required parameter of it, and there is no other."""
    for _, path, operation, parameters in operations():
        in_path = {one["name"] for one in parameters if one["in"] == "path" and one["required"]}
        assert in_path == set(re.findall(r"\{(\w+)\}", path)), operation["operationId"]


def test_query_parameters_agree(client: CheckedClient, tenant: str, table: str) -> None:
    """A described parameter is known to the server, and every other is refused with their names."""
    client.put(f"{table}/id/x", {})
    for method, path, operation, parameters in operations():
        described = {one["name"] for one in parameters if one["in"] == "query"}
        filled = path.format(
            tenant=tenant.rpartition("/")[2], table="shared", id="x", request="absent"
        )
        body = {"idType": "String"} if operation["operationId"] == "create_table" else None
        if operation["operationId"] in {"create_entry", "update_entry"}:
            body = {}
        refused = client.request(method, f"{filled}?no_such_parameter=1", body)
        assert refused.status == 400
        known = refused.json()["detail"].partition("known here: ")[2].removesuffix(".")
        assert set(known.split(", ")) == (described or {"none"}), operation["operationId"]


def test_bounds_agree() -> None:
    """The description's bounds are the ones of `base.limits`, not copies of them."""
    by_name = {one["name"]: one["schema"] for *_, parameters in operations() for one in parameters}
    assert by_name["limit"]["maximum"] == limits.LIST_LIMIT_MAX
    assert by_name["limit"]["default"] == limits.LIST_LIMIT_DEFAULT
    assert by_name["tenant"]["maxLength"] == limits.TENANT_NAME_CHARS_MAX
    assert by_name["table"]["maxLength"] == limits.TABLE_NAME_CHARS_MAX
    assert by_name["id"]["maxLength"] == limits.PARTITION_KEY_BYTES_MAX


def test_every_refusal_is_described_somewhere() -> None:
    """A kind of refusal that v1 can give and no operation describes would surprise a client."""
    described = {int(status) for *_, one, _ in operations() for status in one["responses"]}
    kinds = {status for status, _ in (*_REFUSALS.values(), *_SHORTAGES.values())}
    assert kinds - described <= {406}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 415, 431, 500, 503])
def test_what_may_always_happen_is_always_described(status: int) -> None:
    """Generated clients handle what they are told of."""
    for *_, operation, _ in operations():
        response = operation["responses"][str(status)]
        assert list(response["content"]) == ["application/problem+json"]
        assert response["description"].endswith(".")


def test_references_lead_somewhere() -> None:
    """No schema is missing, and none is left over."""
    text = repr(DOCUMENT)
    used = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert used == DOCUMENT["components"]["schemas"].keys()


def test_headers_of_answers_are_described() -> None:
    """ETag, Location and DStore-RID are part of the API: a generated client finds them."""
    by_name = {one["operationId"]: one["responses"] for *_, one, _ in operations()}
    for operation, status, names in (
        ("read_entry", "200", {"ETag", "DStore-RID"}),
        ("create_entry", "201", {"ETag", "DStore-RID", "Location"}),
        ("create_entry", "202", {"Preference-Applied", "DStore-RID", "Location"}),
        ("update_entry", "200", {"ETag", "DStore-RID"}),
        ("delete_entry", "204", {"DStore-RID"}),
        ("read_table", "200", {"DStore-RID"}),
        ("create_tenant", "201", {"DStore-RID"}),
        ("list_entries", "200", {"DStore-RID"}),
    ):
        assert set(by_name[operation][status].get("headers", {})) == names, (operation, status)
