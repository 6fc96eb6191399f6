"""/admin/v1: credentials, status, metrics, on a listener of their own."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.contract import CheckedClient, entry

if TYPE_CHECKING:
    from tests.support.server import Server

TOKEN = re.compile(r"dst_[a-z2-7]{12}_[A-Za-z0-9_-]{43}")
ACCESS_KEY = re.compile(r"DSAK[A-Z2-7]{16}")
SECRET = "made-up-secret"


@pytest.fixture
def home(fresh_tenant: str) -> str:
    """Make a tenant. Returns: its path on the admin surface."""
    return f"/admin/v1/tenant/{fresh_tenant}"


def is_instant(text: str) -> bool:
    """Tell whether a text is an instant with its zone."""
    return datetime.fromisoformat(text).utcoffset() is not None


def test_access_keys(admin: CheckedClient, home: str) -> None:
    """Made with the secret shown once, listed without it, deleted once."""
    path = f"{home}/access-key"
    assert admin.get(path).json() == {"accessKeys": []}
    made = admin.post(path)
    assert made.status == 201
    key = made.json()
    assert key.keys() == {"id", "secret", "createdAt"}
    assert ACCESS_KEY.fullmatch(key["id"])
    assert len(key["secret"]) == 40
    assert is_instant(key["createdAt"])
    listed = admin.get(path)
    assert listed.json() == {"accessKeys": [{"id": key["id"], "createdAt": key["createdAt"]}]}
    assert key["secret"].encode() not in listed.body
    assert admin.delete(f"{path}/{key['id']}").status == 204
    assert admin.delete(f"{path}/{key['id']}").status == 404
    assert admin.get(path).json() == {"accessKeys": []}


def test_an_imported_access_key(admin: CheckedClient, home: str) -> None:
    """A given id and secret, for migrations: 201 without the secret, 409 if the id exists."""
    path = f"{home}/access-key/IMPORTED{abs(hash(home)):016d}"
    made = admin.put(path, {"secret": SECRET})
    assert made.status == 201
    assert made.json().keys() == {"id", "createdAt"}
    assert SECRET.encode() not in made.body
    assert admin.put(path, {"secret": SECRET}).status == 409
    assert admin.delete(path).status == 204
    assert admin.put(path, {"secret": SECRET}).status == 201


@pytest.mark.parametrize(
    "key_id", ["SHORT", "x" * 15, "x" * 129, "A" * 15 + "-", "A" * 16 + "%20", "%C3%A9" * 16,
               "A" * 16 + "%0A", "A" * 16 + "/", "x" * 4_000],
    ids=lambda value: value[:20],
)  # fmt: skip
def test_bad_access_key_ids(admin: CheckedClient, home: str, key_id: str) -> None:
    """16 to 128 letters, digits or underscores."""
    answer = admin.put(f"{home}/access-key/{key_id}", {"secret": SECRET})
    assert answer.status == (404 if key_id.endswith("/") else 400)
    assert admin.get(f"{home}/access-key").json() == {"accessKeys": []}


@pytest.mark.parametrize(
    "body",
    [{}, {"secret": ""}, {"secret": "short"}, {"secret": "x" * 129}, {"secret": "with space"},
     {"secret": "é" * 20}, {"secret": None}, {"secret": 12345678}, {"secret": ["x" * 20]}, [],
     {"secret": "x" * 20, "x": 1}, b"", b"{", b"null",
     b'{"secret":"aaaaaaaa","secret":"aaaaaaaa"}'],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_bad_secrets(admin: CheckedClient, home: str, body: object) -> None:
    """8 to 128 printable characters without spaces; the refusal does not repeat them."""
    answer = admin.put(f"{home}/access-key/AAAAAAAAAAAAAAAA", body)
    assert answer.status == 400
    assert b"with space" not in answer.body
    assert admin.get(f"{home}/access-key").json() == {"accessKeys": []}


def test_tokens(server: Server, admin: CheckedClient, home: str) -> None:
    """Made with the text shown once, listed without it, deleted once."""
    path = f"{home}/token"
    made = admin.post(path)
    assert made.status == 201
    token = made.json()
    assert token.keys() == {"id", "token", "createdAt"}
    assert TOKEN.fullmatch(token["token"])
    assert token["id"] in token["token"]
    listed = admin.get(path)
    assert listed.json() == {"tokens": [{"id": token["id"], "createdAt": token["createdAt"]}]}
    assert admin.delete(f"/admin/v1/token/{token['id']}").status == 404
    assert admin.delete(f"{path}/{token['id']}").status == 204
    assert admin.delete(f"{path}/{token['id']}").status == 404
    assert admin.get(path).json() == {"tokens": []}


def test_operator_tokens(server: Server, admin: CheckedClient) -> None:
    """A second operator's token does everything, and is revoked at once; the first is listed."""
    made = admin.post("/admin/v1/token").json()
    ids = [token["id"] for token in admin.get("/admin/v1/token").json()["tokens"]]
    assert made["id"] in ids
    assert len(ids) >= 2
    with CheckedClient(server.env()["DSTORE_URL"], token=made["token"]) as second:
        assert second.put("/v1/tenant/of-second").status == 201
        assert second.delete("/v1/tenant/of-second").status == 204
        assert admin.delete(f"/admin/v1/tenant/default/token/{made['id']}").status == 404
        assert admin.delete(f"/admin/v1/token/{made['id']}").status == 204
        assert second.get("/v1/tenant").status == 401


def test_one_tenants_credentials_are_not_anothers(
    admin: CheckedClient, client: CheckedClient, home: str
) -> None:
    """Under another tenant's path an id is not known, so nothing is revoked by a slip."""
    client.put("/v1/tenant/neighbour")
    key, token = admin.post(f"{home}/access-key").json(), admin.post(f"{home}/token").json()
    neighbour = "/admin/v1/tenant/neighbour"
    assert admin.delete(f"{neighbour}/access-key/{key['id']}").status == 404
    assert admin.delete(f"{neighbour}/token/{token['id']}").status == 404
    assert admin.get(f"{neighbour}/access-key").json() == {"accessKeys": []}
    assert len(admin.get(f"{home}/access-key").json()["accessKeys"]) == 1


@pytest.mark.parametrize("name", ["nobody", "UPPER", "%00", "x" * 3_000, ".."])
def test_credentials_of_an_absent_tenant(admin: CheckedClient, name: str) -> None:
    """404 for the operator, who may know; nothing is made for nobody."""
    home = f"/admin/v1/tenant/{name}"
    assert admin.get(f"{home}/access-key").status == admin.get(f"{home}/token").status == 404
    assert admin.post(f"{home}/access-key").status == admin.post(f"{home}/token").status == 404
    path = f"{home}/access-key/AAAAAAAAAAAAAAAA"
    assert admin.put(path, {"secret": SECRET}).status == admin.delete(path).status == 404


def test_status(server: Server, admin: CheckedClient, client: CheckedClient) -> None:
    """The plan's members, all of them and no more, and counts that follow what happens."""
    before = admin.get("/admin/v1/status").json()
    client.put("/v1/tenant/counted")
    client.put("/v1/tenant/counted/table/abc", {"idType": "String"})
    client.put(entry("/v1/tenant/counted/table/abc", "x"), {})
    status: dict[str, Any] = admin.get("/admin/v1/status").json()
    for name in ("tenants", "tables", "entries"):
        assert status[name] == before[name] + 1
    assert status.keys() == {
        "node", "control", "cluster", "health", "checks", "tenants", "tables", "entries",
        "filesOpen", "orphans", "queue", "disk",
    }  # fmt: skip
    node = status["node"]
    assert node.keys() == {"uuid", "version", "startedAt", "uptimeSeconds", "roles", "location"}
    assert node["location"] == "NA"
    assert "node" in node["roles"]
    assert is_instant(node["startedAt"])
    assert 0 <= node["uptimeSeconds"] < 3_600
    assert status["health"] == "HEALTH_OK"
    assert status["checks"] == []
    assert status["queue"] == {"deferred": 0}
    assert status["filesOpen"] >= 1
    assert status["disk"].keys() == {"freeBytes", "usedBytes"}
    assert status["disk"]["freeBytes"] > 0
    assert status["disk"]["usedBytes"] > 0


def test_metrics(server: Server, admin: CheckedClient, client: CheckedClient) -> None:
    """A scraper needs no credential, and reads no tenant's name, no entry and no secret."""
    client.put("/v1/tenant/unmeasured-name")
    with CheckedClient(server.env()["DSTORE_ADMIN_URL"], token=None) as scraper:
        answer = scraper.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    assert "# TYPE dstore_" in text
    assert "create_tenant" in text
    for secret in ("unmeasured-name", "default", admin.token or "", "rid:"):
        assert secret not in text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_each_surface_has_its_own_routes(
    admin: CheckedClient, client: CheckedClient, method: str
) -> None:
    """Two networks, two APIs: neither answers the other's paths."""
    for path in ("/v1/tenant", "/v1/tenant/default", "/openapi.json"):
        assert admin.request(method, path).status == 404
    for path in ("/admin/v1/status", "/admin/v1/token", "/metrics"):
        assert client.request(method, path).status == 404


def test_unknown_parameters(admin: CheckedClient, home: str) -> None:
    """As in v1: what is not known is told, not ignored."""
    for path in ("/admin/v1/status", f"{home}/access-key", f"{home}/token", "/admin/v1/token"):
        assert admin.get(f"{path}?limit=1").status == 400
    assert admin.post(f"{home}/token?days=1").status == 400
    assert admin.get(f"{home}/token").json() == {"tokens": []}


def test_large_bodies(admin: CheckedClient, home: str) -> None:
    """16 KiB are plenty for a secret: 413."""
    answer = admin.put(f"{home}/access-key/AAAAAAAAAAAAAAAA", b'{"secret":"' + b"x" * 20_000)
    assert answer.status == 413


def test_content_types(admin: CheckedClient, home: str) -> None:
    """415 as in v1."""
    path = f"{home}/access-key/BBBBBBBBBBBBBBBB"
    assert admin.put(path, {"secret": SECRET}, content_type="text/plain").status == 415
