"""Who gets in: tokens, and the tenant matrix, which is made from the route table.

A tenant's credential at another tenant is answered the same, byte for byte, whether that tenant
exists, never did, or was deleted (invariant I11; OWASP API1 and API5).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from tests.api.contract import CheckedClient
from tests.api.raw import exchange, head
from tests.api.route_table import ADMIN, METHODS, V1
from tests.support.http_client import JSON, MERGE_PATCH, Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

OWN, OTHER, ABSENT, DELETED = "matrix-own", "matrix-other", "matrix-absent", "matrix-deleted"
ODD = ("UPPER", "x" * 200, "%00", "a%2Fb", "..", "%C3%A9")
TABLE, ENTRY = "abc", "x"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How one route is asked, and what its own tenant's token gets for a good request."""

    own: int
    body: object = None
    content_type: str = JSON


# One line a route with a tenant in its path: a new route fails `test_the_matrix_covers_every_route`
# until somebody has thought of it here.
MATRIX: Final[dict[tuple[str, str], Probe]] = {
    ("GET", "/v1/tenant/{tenant}"): Probe(own=200),
    ("PUT", "/v1/tenant/{tenant}"): Probe(own=403),
    ("DELETE", "/v1/tenant/{tenant}"): Probe(own=403),
    ("GET", "/v1/tenant/{tenant}/table"): Probe(own=200),
    ("GET", "/v1/tenant/{tenant}/table/{table}"): Probe(own=200),
    ("PUT", "/v1/tenant/{tenant}/table/{table}"): Probe(own=200, body={"idType": "String"}),
    ("DELETE", "/v1/tenant/{tenant}/table/{table}"): Probe(own=204),
    ("GET", "/v1/tenant/{tenant}/table/{table}/id"): Probe(own=200),
    ("GET", "/v1/tenant/{tenant}/table/{table}/id/{id}"): Probe(own=200),
    ("PUT", "/v1/tenant/{tenant}/table/{table}/id/{id}"): Probe(own=409, body={}),
    ("POST", "/v1/tenant/{tenant}/table/{table}/id/{id}"): Probe(own=200, body={}),
    ("DELETE", "/v1/tenant/{tenant}/table/{table}/id/{id}"): Probe(own=204),
    ("GET", "/v1/tenant/{tenant}/request/{request}"): Probe(own=200),
}
NO_TENANT: Final = {("GET", "/v1/tenant"), ("GET", "/openapi.json")}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Two tenants that look alike; `requests` are ids of accepted writes by tenant."""

    tenant: CheckedClient
    token_id: str
    requests: dict[str, str]

    def path(self, template: str, tenant: str) -> str:
        """Fill a route's path in with what exists at both tenants."""
        request = self.requests.get(tenant, self.requests[OTHER])
        return template.format(tenant=tenant, table=TABLE, id=ENTRY, request=request)


@pytest.fixture(scope="module")
def world(server: Server, client: CheckedClient, admin: CheckedClient) -> Iterator[World]:
    """Make the two tenants and a token of one of them."""
    requests = {}
    for tenant in (OWN, OTHER, DELETED):
        client.put(f"/v1/tenant/{tenant}")
        requests[tenant] = fill(client, tenant)
    client.delete(f"/v1/tenant/{DELETED}?force=true")
    made = admin.post(f"/admin/v1/tenant/{OWN}/token").json()
    tenant_client = CheckedClient(server.env()["DSTORE_URL"], token=made["token"])
    yield World(tenant=tenant_client, token_id=made["id"], requests=requests)
    tenant_client.close()


def fill(client: CheckedClient, tenant: str) -> str:
    """Make the table and the entry if they are gone. Returns: the id of an accepted write."""
    table = f"/v1/tenant/{tenant}/table/{TABLE}"
    client.put(table, {"idType": "String"})
    client.put(f"{table}/id/{ENTRY}", {})
    accepted = client.put(f"{table}/id/{ENTRY}-later", {}, headers={"Prefer": "respond-async"})
    request_id: str = accepted.json()["requestId"]
    return request_id


def seen(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    """Reduce an answer to what must not differ: everything but the clock."""
    return answer.status, answer.body, {**answer.headers, "date": ""}


def test_the_matrix_covers_every_route() -> None:
    """API5: a route that nobody has thought of is a hole; it fails here."""
    assert MATRIX.keys() | NO_TENANT == {(route.method, route.path) for route in V1}


@pytest.mark.parametrize(("method", "template"), list(MATRIX))
def test_a_tenant_reaches_its_own(
    client: CheckedClient, world: World, method: str, template: str
) -> None:
    """A tenant's token does what the operator's does, but for making and deleting tenants."""
    probe = MATRIX[method, template]
    answer = world.tenant.request(method, world.path(template, OWN), probe.body)
    assert answer.status == probe.own
    fill(client, OWN)


@pytest.mark.parametrize("template", sorted({path for _, path in MATRIX}))
@pytest.mark.parametrize("method", METHODS)
def test_another_tenant_and_none_look_alike(world: World, method: str, template: str) -> None:
    """Every method at every route, with good and with bad input: the same bytes for all of them."""
    probe = MATRIX.get((method, template), Probe(own=0))
    is_route = (method.replace("HEAD", "GET"), template) in MATRIX
    variants: list[dict[str, Any]] = [
        {"body": probe.body},
        {"body": b"{", "content_type": JSON},
        {"body": b"{}", "content_type": "text/plain"},
        {"body": {"a": 1}, "content_type": MERGE_PATCH},
        {"body": probe.body, "headers": {"If-Match": "broken", "Prefer": "respond-async"}},
        {"body": probe.body, "headers": {"Idempotency-Key": "k"}},
    ]
    for query in ("", "?unknown=1", "?limit=x&after=y", "?force=true"):
        for variant in variants if not query else variants[:1]:
            options = {**variant, "headers": {"X-Request-Id": "same", **variant.get("headers", {})}}
            answers = {
                tenant: world.tenant.request(
                    method, world.path(template, tenant) + query, **options
                )
                for tenant in (OTHER, ABSENT, DELETED, *ODD)
            }
            for tenant, answer in answers.items():
                assert seen(answer) == seen(answers[OTHER]), (tenant, query, variant)
                assert answer.status == (403 if is_route else 405)


def test_a_large_body_for_another_tenant_is_not_read(world: World) -> None:
    """403 comes before the body, the same for a tenant that exists and one that does not."""
    headers = {
        "Authorization": f"Bearer {world.tenant.token}",
        "Content-Type": JSON,
        "Content-Length": str(2 * 1024**3),
        "X-Request-Id": "same",
    }
    answers = [
        exchange(world.tenant.url, head("PUT", f"/v1/tenant/{tenant}/table/abc/id/x", headers))
        for tenant in (OTHER, ABSENT)
    ]
    assert answers[0].status == 403
    assert seen(answers[0]) == seen(answers[1])


def test_nothing_of_another_tenant_was_changed(client: CheckedClient, world: World) -> None:
    """After all those requests the other tenant is as it was, and the absent one is absent."""
    assert client.get(f"/v1/tenant/{OTHER}/table/{TABLE}/id/{ENTRY}").json() == {}
    assert client.get(f"/v1/tenant/{ABSENT}").status == 404
    assert client.get(f"/v1/tenant/{DELETED}").status == 404


def test_a_tenant_lists_itself_only(world: World) -> None:
    """The list of tenants shows a tenant's token what it may see: itself, on every page."""
    listed = world.tenant.get("/v1/tenant").json()
    assert [one["tenant"] for one in listed["tenants"]] == [OWN]
    assert listed["after"] is None
    assert world.tenant.get("/v1/tenant?limit=1").json() == listed


def test_another_tenants_request_is_not_known(world: World) -> None:
    """An id of an accepted write is no key to another tenant's outcome."""
    path = f"/v1/tenant/{OWN}/request/{world.requests[OTHER]}"
    assert world.tenant.get(path).status == 404


def test_idempotency_keys_are_a_credentials_own(client: CheckedClient, world: World) -> None:
    """The same key of two credentials is two requests: nobody is answered another's outcome."""
    path, key = f"/v1/tenant/{OWN}/table/{TABLE}/id/keyed", {"Idempotency-Key": "shared"}
    assert client.put(path, {}, headers=key).status == 201
    assert world.tenant.put(path, {}, headers=key).status == 409


@pytest.mark.parametrize("route", ADMIN, ids=lambda route: f"{route.method} {route.path}")
def test_a_tenant_is_no_operator(
    server: Server, client: CheckedClient, world: World, route: Any
) -> None:
    """Every admin route refuses a tenant's token alike, whatever tenant stands in its path."""
    if route.path == "/metrics":
        return  # says nothing of any tenant, see test_admin.py
    url, answers = server.env()["DSTORE_ADMIN_URL"], []
    with CheckedClient(url, token=world.tenant.token) as asking:
        for tenant in (OWN, OTHER, ABSENT):
            for body in (None, b"{", {"secret": "x" * 20}):
                path = route.path.format(tenant=tenant, id=world.token_id)
                headers = {"X-Request-Id": "same"}
                answers.append(asking.request(route.method, path, body, headers=headers))
    assert {answer.status for answer in answers} == {403}
    assert all(seen(answer) == seen(answers[0]) for answer in answers)
    assert world.tenant.get(f"/v1/tenant/{OWN}").status == 200


BAD_CREDENTIALS: Final[dict[str, str | None]] = {
    "none": None,
    "empty": "",
    "bare bearer": "Bearer",
    "blank bearer": "Bearer  ",
    "basic": "Basic ZGVmYXVsdDpkZWZhdWx0",
    "unknown scheme": "Token abc",
    "no token": "Bearer x",
    "half a token": "Bearer dst_",
    "unknown token": f"Bearer dst_aaaaaaaaaaaa_{'A' * 43}",
    "long": "Bearer " + "x" * 5_000,
    "empty signature": "AWS4-HMAC-SHA256",
    "broken signature": "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=c",
    "unknown key": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLEEXAMPLE00/20200101/us-east-1/dstore/"
    f"aws4_request, SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
}


@pytest.mark.parametrize("kind", list(BAD_CREDENTIALS))
def test_bad_credentials(server: Server, world: World, kind: str) -> None:
    """401 everywhere with WWW-Authenticate, the same for what exists and what does not."""
    given = BAD_CREDENTIALS[kind]
    headers = {"X-Request-Id": "same"} | ({} if given is None else {"Authorization": given})
    env = server.env()
    for url, routes in ((env["DSTORE_URL"], V1), (env["DSTORE_ADMIN_URL"], ADMIN)):
        with CheckedClient(url, token=None) as asking:
            for route in routes:
                if route.path in {"/openapi.json", "/metrics"}:
                    continue
                answers = []
                for tenant in (OTHER, ABSENT, "UPPER"):
                    path = route.path.format(tenant=tenant, table=TABLE, id=ENTRY, request="x")
                    answers.append(asking.request(route.method, path, headers=headers))
                assert {answer.status for answer in answers} == {401}, route.path
                assert answers[0].headers["www-authenticate"] == "Bearer"
                assert all(seen(answer) == seen(answers[0]) for answer in answers)


def test_a_damaged_token(client: CheckedClient, world: World) -> None:
    """Each character of a token counts, and so does what stands around it."""
    token = world.tenant.token or ""
    damaged = [token[:n] + ("B" if token[n] != "B" else "C") + token[n + 1 :] for n in range(60)]
    damaged += [token[:-1], token + "A", token.upper(), token + "=", token.replace("_", "-")]
    for text in damaged:
        headers = {"Authorization": f"Bearer {text}"}
        assert client.get(f"/v1/tenant/{OWN}", headers=headers).status == 401
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {token}"}
        assert client.get(f"/v1/tenant/{OWN}", headers=headers).status == 200


def test_a_revoked_token(server: Server, client: CheckedClient, admin: CheckedClient) -> None:
    """Revoked at once, on connections that are open, too; and with its tenant."""
    tokens = [admin.post(f"/admin/v1/tenant/{OWN}/token").json() for _ in range(2)]
    client.put("/v1/tenant/goes-with-token")
    tokens.append(admin.post("/admin/v1/tenant/goes-with-token/token").json())
    with CheckedClient(server.env()["DSTORE_URL"], token=tokens[0]["token"]) as asking:
        assert asking.get(f"/v1/tenant/{OWN}").status == 200
        assert admin.delete(f"/admin/v1/tenant/{OWN}/token/{tokens[0]['id']}").status == 204
        assert asking.get(f"/v1/tenant/{OWN}").status == 401
        assert asking.get("/v1/tenant/nobody").status == 401
    with CheckedClient(server.env()["DSTORE_URL"], token=tokens[1]["token"]) as asking:
        assert asking.get(f"/v1/tenant/{OWN}").status == 200
    with CheckedClient(server.env()["DSTORE_URL"], token=tokens[2]["token"]) as asking:
        assert asking.get("/v1/tenant/goes-with-token").status == 200
        client.delete("/v1/tenant/goes-with-token")
        assert asking.get("/v1/tenant/goes-with-token").status == 401
        client.put("/v1/tenant/goes-with-token")
        assert asking.get("/v1/tenant/goes-with-token").status == 401


def test_two_authorization_headers(client: CheckedClient) -> None:
    """Which of the two counts, nobody should have to guess: 400."""
    headers = {"Authorization": f"Bearer {client.token}", "authorization": "Bearer x"}
    for one in (headers, dict(reversed(headers.items()))):
        assert exchange(client.url, head("GET", "/v1/tenant", one)).status == 400


def test_a_slow_request_does_not_come_to_the_next_tenant_of_its_name(
    server: Server, client: CheckedClient, admin: CheckedClient
) -> None:
    """A token is checked before the body comes; behind it, its tenant may be another's name."""
    tenant = "made-anew"
    client.put(f"/v1/tenant/{tenant}")
    token = admin.post(f"/admin/v1/tenant/{tenant}/token").json()["token"]
    body = b'{"idType": "String"}'
    request = head(
        "PUT",
        f"/v1/tenant/{tenant}/table/{TABLE}",
        {
            "Authorization": f"Bearer {token}",
            "Content-Type": JSON,
            "Content-Length": str(len(body)),
            "Expect": "100-continue",
        },
    )
    address = urlsplit(client.url)
    assert address.hostname
    with socket.create_connection((address.hostname, address.port or 0), timeout=20) as line:
        line.sendall(request)
        assert line.recv(1_024).startswith(b"HTTP/1.1 100 ")  # the token was good
        client.delete(f"/v1/tenant/{tenant}?force=true")
        client.put(f"/v1/tenant/{tenant}")
        line.sendall(body)
        assert line.recv(1_024).startswith(b"HTTP/1.1 401 ")
    assert client.get(f"/v1/tenant/{tenant}/table").json()["tables"] == []
    client.delete(f"/v1/tenant/{tenant}")
