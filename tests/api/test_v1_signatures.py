"""SigV4 at the door: by botocore and by curl, in the header and in the query, and damaged."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import botocore.auth
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.api.contract import CheckedClient, entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.http_client import Answer
    from tests.support.server import Server

TENANT: Final = "/v1/tenant/signed"
TABLE: Final = f"{TENANT}/table/things"
IDS: Final = ["plain", "a/b", "é", "a b", "a+b", "a%2Fb", "x&y=z?", "*'()!~", "日本", "\0", "."]


class QueryAuth(SigV4QueryAuth):  # type: ignore[misc]  # botocore has no types
    """botocore's signer for queries; it would move a body into the query."""

    def payload(self, request: AWSRequest) -> str:
        digest: str = hashlib.sha256(request.context["body"]).hexdigest()
        return digest


class Signer:
    """A client that signs instead of showing a token."""

    def __init__(self, url: str, key: Mapping[str, str], *, service: str = "dstore") -> None:
        """Keep the key; each request names how it is signed."""
        self.url = url
        self.service = service
        self._client = CheckedClient(url, token=None)
        self._credentials = Credentials(key["id"], key["secret"])

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def signed(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        in_query: bool = False,
        coding: str | None = None,
    ) -> AWSRequest:
        """Sign a request."""
        headers = {"Content-Type": "application/json"} if body else {}
        if coding is not None:
            headers["Content-Encoding"] = coding
        sent = b"" if in_query else body
        request = AWSRequest(method, self.url + path, headers=headers, data=sent)
        request.context["body"] = body
        kind = QueryAuth if in_query else SigV4Auth
        kind(self._credentials, self.service, "us-east-1").add_auth(request)
        request.data = body
        return request

    def send(self, request: AWSRequest, **changed: Any) -> Answer:
        """Send a signed request, perhaps with something changed behind the signer's back."""
        given = {
            "method": request.method,
            "path": request.url.removeprefix(self.url),
            "headers": dict(request.headers.items()),
            "body": request.data or None,
        } | changed
        return self._client.request(
            given["method"], given["path"], given["body"], headers=given["headers"]
        )

    def do(self, method: str, path: str, body: bytes = b"", *, in_query: bool = False) -> Answer:
        """Sign and send."""
        return self.send(self.signed(method, path, body, in_query=in_query))


@pytest.fixture(scope="module")
def key(client: CheckedClient, admin: CheckedClient) -> dict[str, str]:
    """Make a tenant with a table and an access key."""
    client.put(TENANT)
    client.put(TABLE, {"idType": "String"})
    made: dict[str, str] = admin.post("/admin/v1/tenant/signed/access-key").json()
    return made


@pytest.fixture(scope="module")
def signer(server: Server, key: dict[str, str]) -> Iterator[Signer]:
    """Give a signing client."""
    made = Signer(server.env()["DSTORE_URL"], key)
    yield made
    made.close()


@pytest.mark.parametrize("in_query", [False, True])
@pytest.mark.parametrize("entry_id", IDS, ids=ascii)
def test_a_signed_life(signer: Signer, entry_id: str, in_query: bool) -> None:
    """Every verb, and IDs whose path is encoded once in the URL and twice in what is signed."""
    path = entry(TABLE, entry_id).replace("/id/.", "/id/%2E")
    for method, body, status in (
        ("PUT", b'{"n":1}', 201),
        ("GET", b"", 200),
        ("POST", b'{"n":2}', 200),
        ("HEAD", b"", 200),
        ("DELETE", b"", 204),
    ):
        assert signer.do(method, path, body, in_query=in_query).status == status, method


def test_a_signed_body_that_is_compressed(signer: Signer) -> None:
    """The signature covers what travels, as every signer makes it, and not what comes out."""
    packed = gzip.compress(b'{"n":1}')
    request = signer.signed("PUT", entry(TABLE, "packed"), packed, coding="gzip")
    assert signer.send(request).status == 201
    assert json.loads(signer.do("GET", entry(TABLE, "packed")).body) == {"n": 1}


def test_a_created_entrys_location_has_no_signature(signer: Signer) -> None:
    """What proves a request in its query does not go into the answer's headers."""
    created = signer.do("PUT", entry(TABLE, "located"), b"{}", in_query=True)
    assert created.headers["location"] == entry(TABLE, "located")


@pytest.mark.parametrize("in_query", [False, True])
def test_a_signed_query(signer: Signer, in_query: bool) -> None:
    """Parameters are signed, and the signature's own are not unknown parameters."""
    assert signer.do("GET", f"{TABLE}/id?limit=1", in_query=in_query).status == 200
    assert signer.do("GET", f"{TABLE}/id?limit=1&x=y", in_query=in_query).status == 400


@pytest.mark.parametrize("service", ["dstore", "dynamodb"])
def test_the_services_that_are_served(server: Server, key: dict[str, str], service: str) -> None:
    """A client made for DynamoDB signs for dynamodb."""
    signer = Signer(server.env()["DSTORE_URL"], key, service=service)
    assert signer.do("GET", TABLE).status == 200
    signer.close()


def test_a_signature_for_another_service(server: Server, key: dict[str, str]) -> None:
    """What was signed for S3 does not pass here."""
    signer = Signer(server.env()["DSTORE_URL"], key, service="s3x")
    for in_query in (False, True):
        assert signer.do("GET", TABLE, in_query=in_query).status == 401
    signer.close()


def test_a_tenants_key_reaches_its_tenant_only(signer: Signer) -> None:
    """As with a token: the same 403 for another tenant and for none."""
    for in_query in (False, True):
        answers = [
            signer.do("GET", f"/v1/tenant/{name}/table/abc", in_query=in_query)
            for name in ("default", "nobody")
        ]
        bodies = [json.loads(answer.body) | {"instance": ""} for answer in answers]
        assert [answer.status for answer in answers] == [403, 403]
        assert bodies[0] == bodies[1]
    assert signer.do("PUT", TENANT).status == 403
    listed = signer.do("GET", "/v1/tenant").json()["tenants"]
    assert [one["tenant"] for one in listed] == ["signed"]


@pytest.mark.parametrize("in_query", [False, True])
def test_a_tampered_request(client: CheckedClient, signer: Signer, in_query: bool) -> None:
    """Method, path, query, host, body: what was signed is what counts."""
    path, body = entry(TABLE, "tampered"), b'{"n":1}'
    request = signer.signed("PUT", path, body, in_query=in_query)
    target = request.url.removeprefix(signer.url)
    headers = dict(request.headers.items())
    separator = "&" if "?" in target else "?"
    changes: list[dict[str, Any]] = [
        {"method": "POST"},
        {"path": target.replace("tampered", "Tampered")},
        {"path": target.replace("tampered", "%74ampered")},
        {"path": f"{target}{separator}force=true"},
        {"headers": headers | {"Host": "elsewhere"}},
        {"body": b'{"n":2}'},
        {"body": body + b" "},
        {"body": None},
    ]
    for changed in changes:
        assert signer.send(request, **changed).status == 401, changed
    assert client.get(path).status == 404
    assert signer.send(request).status == 201
    client.delete(path)


def test_a_tampered_signature(signer: Signer) -> None:
    """A changed digit, and a signature cut short, are 401 in both places."""
    for in_query in (False, True):
        request = signer.signed("GET", TABLE, in_query=in_query)
        target = request.url.removeprefix(signer.url)
        given = request.headers.get("Authorization") or target
        last = "1" if given.endswith("0") else "0"
        for changed in (given[:-1] + last, given[:-1], given + "0", given.replace("aws4", "aws3")):
            headers = dict(request.headers.items())
            if in_query:
                answer = signer.send(request, path=changed)
            else:
                answer = signer.send(request, headers=headers | {"Authorization": changed})
            assert answer.status == 401


def test_an_unknown_key_looks_like_a_wrong_secret(server: Server, key: dict[str, str]) -> None:
    """Nobody learns which access keys exist."""
    answers = []
    for credentials in (
        key | {"secret": "x" * 40},
        {"id": "DSAKAAAAAAAAAAAAAAAA", "secret": key["secret"]},
    ):
        signer = Signer(server.env()["DSTORE_URL"], credentials)
        answers.append(signer.do("GET", TABLE))
        signer.close()
    assert [answer.status for answer in answers] == [401, 401]
    bodies = [answer.json() | {"instance": ""} for answer in answers]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("in_query", [False, True])
@pytest.mark.parametrize(
    ("minutes", "status"), [(-14, 200), (14, 200), (16, 401), (-75, 401), (-1500, 401)]
)
def test_skewed_clocks(
    signer: Signer, monkeypatch: pytest.MonkeyPatch, minutes: int, status: int, in_query: bool
) -> None:
    """15 minutes either way in a header; a query lives for its own time, an hour here."""
    signed_at = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: signed_at)
    answer = signer.do("GET", TABLE, in_query=in_query)
    assert answer.status == status


def test_two_credentials(client: CheckedClient, signer: Signer) -> None:
    """A token and a signature, or two signatures: refused, whichever would be good."""
    request = signer.signed("GET", TABLE, in_query=True)
    target = request.url.removeprefix(signer.url)
    assert client.get(target).status == 400
    both = signer.signed("GET", target)
    assert signer.send(both).status == 401
    headers = {"Authorization": "Basic eDp5"}
    assert signer.send(request, headers=headers).status == 401


def test_a_revoked_key(
    client: CheckedClient, admin: CheckedClient, server: Server, signer: Signer
) -> None:
    """At once, though its signing key was in use; and with its tenant."""
    path = "/admin/v1/tenant/signed/access-key"
    made = admin.post(path).json()
    other = Signer(server.env()["DSTORE_URL"], made)
    assert other.do("GET", TABLE).status == 200
    assert admin.delete(f"{path}/{made['id']}").status == 204
    assert other.do("GET", TABLE).status == 401
    other.close()
    assert signer.do("GET", TABLE).status == 200
    client.put("/v1/tenant/goes-with-key")
    made = admin.post("/admin/v1/tenant/goes-with-key/access-key").json()
    gone = Signer(server.env()["DSTORE_URL"], made)
    assert gone.do("GET", "/v1/tenant/goes-with-key").status == 200
    client.delete("/v1/tenant/goes-with-key")
    assert gone.do("GET", "/v1/tenant/goes-with-key").status == 401
    gone.close()


def test_an_imported_key_has_its_newest_secret(admin: CheckedClient, server: Server) -> None:
    """An id that is deleted and imported again: the old secret signs nothing any more."""
    path = "/admin/v1/tenant/signed/access-key/IMPORTEDTWICE0001"
    statuses = []
    for secret in ("first-secret", "second-secret"):
        assert admin.put(path, {"secret": secret}).status == 201
        for used in ("first-secret", "second-secret"):
            signer = Signer(server.env()["DSTORE_URL"], {"id": path[-17:], "secret": used})
            statuses.append(signer.do("GET", TABLE).status)
            signer.close()
        assert admin.delete(path).status == 204
    assert statuses == [200, 401, 401, 200]


def test_the_key_of_client_env_works(server: Server) -> None:
    """The newcomer's first signed request, with what the first start wrote."""
    env = server.env()
    key = {"id": env["AWS_ACCESS_KEY_ID"], "secret": env["AWS_SECRET_ACCESS_KEY"]}
    signer = Signer(env["DSTORE_URL"], key)
    assert signer.do("GET", "/v1/tenant/default").status == 200
    signer.close()


@pytest.mark.parametrize("service", ["dstore", "dynamodb"])
def test_curl_signs_too(
    server: Server, client: CheckedClient, key: dict[str, str], service: str
) -> None:
    """`curl --aws-sigv4` is on every machine: an implementation that is neither ours nor AWS's."""
    path = entry(TABLE, f"curled-{service}")

    def curl(*arguments: str, secret: str = key["secret"]) -> int:
        done = subprocess.run(
            ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-K", "-", *arguments],
            input=f'user = "{key["id"]}:{secret}"\naws-sigv4 = "aws:amz:us-east-1:{service}"\n',
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        return int(done.stdout)

    url = server.env()["DSTORE_URL"] + path
    put = ("-X", "PUT", "-H", "Content-Type: application/json", "-d", '{"by":"curl"}')
    assert curl(*put, url) == 201
    assert curl(url) == 200
    assert curl(url, secret="x" * 40) == 401
    assert client.get(path).json() == {"by": "curl"}
