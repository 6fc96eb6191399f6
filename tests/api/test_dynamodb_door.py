"""The DynamoDB door of a real server, byte by byte: what an SDK never sends, and what it relies on.

The operations themselves have files of their own; here any one will do.
"""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Final
from urllib.parse import urlsplit
from zlib import crc32

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.dynamodb import Endpoint
from tests.support.server import Server

AMZ_JSON: Final = "application/x-amz-json-1.0"
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
NO_OPERATION: Final = b"<UnknownOperationException/>\n"
NO_TABLE: Final = b'{"TableName":"no-such-table"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The error's name without its namespace."""
        return str(json.loads(self.body)["__type"]).rpartition("#")[2]


class Line:
    """One connection to the server, on which requests follow each other."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connect."""
        self.endpoint = endpoint
        address = urlsplit(endpoint.url)
        assert address.hostname
        assert address.port
        self._socket = socket.create_connection((address.hostname, address.port), timeout=30)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def headers(self, body: bytes = NO_TABLE, *, target: str = "DescribeTable") -> dict[str, str]:
        """Return the headers of a signed request, but for its length."""
        request = AWSRequest(
            "POST",
            self.endpoint.url + "/",
            headers={"Content-Type": AMZ_JSON, "X-Amz-Target": f"DynamoDB_20120810.{target}"},
            data=body,
        )
        credentials = Credentials(self.endpoint.key_id, self.endpoint.secret)
        SigV4Auth(credentials, "dynamodb", self.endpoint.region).add_auth(request)
        return {"Host": urlsplit(self.endpoint.url).netloc, **dict(request.headers.items())}

    def ask(
        self,
        body: bytes = NO_TABLE,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        target: str = "/",
        chunk_bytes: int = 0,
    ) -> Answer:
        """Send one request and read its answer; `headers` None are those of a signed one."""
        sent = dict(self.headers(body) if headers is None else headers)
        if chunk_bytes:
            sent["Transfer-Encoding"] = "chunked"
        elif body or method == "POST":
            sent["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        self._socket.sendall(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
        if chunk_bytes:
            for start in range(0, len(body), chunk_bytes):
                piece = body[start : start + chunk_bytes]
                self._socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self._socket.sendall(b"0\r\n\r\n")
        elif body:
            self._socket.sendall(body)
        with HTTPResponse(self._socket, method=method) as response:
            response.begin()
            return Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=response.read(),
            )


@pytest.fixture
def line(server: Server, endpoint: Endpoint) -> Iterator[Line]:
    """Give a connection."""
    with closing(Line(endpoint)) as made:
        yield made


def _hold(answer: Answer) -> None:
    """What is true of every answer of the door."""
    assert int(answer.headers["x-amz-crc32"]) == crc32(answer.body)
    assert len(answer.headers["x-amzn-requestid"]) == 52
    assert answer.headers["date"]
    assert "content-encoding" not in answer.headers
    assert "x-request-id" not in answer.headers


def test_a_signed_request_reaches_its_operation(line: Line) -> None:
    """Every answer is checked by the client; each has an id of its own."""
    answers = [line.ask() for _ in range(3)]
    for answer in answers:
        _hold(answer)
        assert (answer.status, answer.error) == (400, "ResourceNotFoundException")
        assert answer.headers["content-type"] == AMZ_JSON
    assert len({answer.headers["x-amzn-requestid"] for answer in answers}) == 3


def _changed(**changes: str | None) -> Any:
    """Return what makes a signed request's headers others."""

    def change(headers: dict[str, str]) -> dict[str, str]:
        changed = headers | {name.replace("_", "-"): text for name, text in changes.items() if text}
        gone = {name.replace("_", "-") for name, text in changes.items() if text is None}
        return {name: text for name, text in changed.items() if name not in gone}

    return change


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_changed(Authorization=None), "MissingAuthenticationTokenException"),
        (_changed(Authorization="Bearer dst_x"), "MissingAuthenticationTokenException"),
        (_changed(Authorization="AWS4-HMAC-SHA256"), "IncompleteSignatureException"),
        (_changed(X_Amz_Date="20200101T000000Z"), "InvalidSignatureException"),
        (_changed(X_Amz_Date="yesterday"), "IncompleteSignatureException"),
        (_changed(X_Amz_Extra="unsigned"), "InvalidSignatureException"),
        (_changed(X_Amz_Target="DynamoDB_20120810.ListTables"), "InvalidSignatureException"),
        (_changed(X_Amz_Target=None), "UnknownOperationException"),
        (_changed(X_Amz_Target="DynamoDB_20120810.DropTable"), "UnknownOperationException"),
    ],
)
def test_headers_that_were_changed(line: Line, change: Any, error: str) -> None:
    """A signature proves the headers that matter; and the connection goes on."""
    headers = change(line.headers())
    if error == "InvalidSignatureException" and "ListTables" in headers["X-Amz-Target"]:
        headers["X-Amz-Target"] = "DynamoDB_20120810.GetItem"  # one that is surely offered
    answer = line.ask(headers=headers)
    _hold(answer)
    assert (answer.status, answer.error) == (400, error)
    assert line.ask().error == "ResourceNotFoundException"


def test_two_authorizations(line: Line) -> None:
    """Two headers of one name are one that cannot be read."""
    headers = line.headers()
    headers["authorization"] = headers["Authorization"]
    answer = line.ask(headers=headers)
    assert answer.status == 400
    assert answer.error in {"IncompleteSignatureException", "InvalidSignatureException"}


def test_another_ones_key(line: Line, endpoint: Endpoint) -> None:
    """An unknown access key, and a known one with another secret."""
    for key, secret, error in (
        ("AKIDAKIDAKIDAKID", "secretsecret", "UnrecognizedClientException"),
        (endpoint.key_id, "secretsecret", "InvalidSignatureException"),
    ):
        stranger = Endpoint(url=endpoint.url, key_id=key, secret=secret)
        with closing(Line(stranger)) as other:
            assert other.ask().error == error


def test_hostile_bodies(line: Line) -> None:
    """Nothing that is sent as a body makes the server fail, or end the connection."""
    deep = 50_000
    for body in (
        b"", b"{", b"}", b"[]", b"null", b'"x"', b"7", b"NaN", b'{"TableName":NaN}', b"\xff\xfe",
        b'{"TableName":"a","TableName":"b"}', b'{"TableName":"\\ud800"}', b"\x00" * 64,
        b'{"a":' * deep + b"1" + b"}" * deep, b"[" * 1_000_000, b'{"a":1e999999999}',
        b'{"TableName":' + b"9" * 100_000 + b"}",
    ):  # fmt: skip
        answer = line.ask(body)
        _hold(answer)
        assert (answer.status, answer.error) == (400, "SerializationException"), body[:40]
    assert line.ask().error == "ResourceNotFoundException"


@pytest.mark.parametrize("content_type", [AMZ_JSON, "application/json"])
def test_content_types(line: Line, content_type: str) -> None:
    """The answer has the request's."""
    headers = line.headers() | {"Content-Type": content_type}
    answer = line.ask(headers=headers)
    # botocore signs the content type, hence only the one that it signed passes.
    expected = "ResourceNotFoundException" if content_type == AMZ_JSON else "InvalidSignature"
    assert answer.error.startswith(expected)
    assert answer.headers["content-type"] == content_type


def test_what_is_no_request_of_an_operation(line: Line) -> None:
    """404 and a few letters of XML; whoever comes by HEAD or GET finds the host healthy."""
    host = {"Host": "door.example:8000"}
    for method, body, kind in (
        ("POST", b"{}", "text/plain"),
        ("PUT", b"{}", AMZ_JSON),
        ("DELETE", b"", ""),
        ("OPTIONS", b"", ""),
    ):
        answer = line.ask(body, method=method, headers=host | {"Content-Type": kind})
        _hold(answer)
        assert (answer.status, answer.body) == (404, NO_OPERATION), method
    healthy = line.ask(b"", method="GET", headers=host)
    _hold(healthy)
    assert (healthy.status, healthy.body.strip()) == (200, b"healthy: door.example:8000")
    assert line.ask(b"", method="HEAD", headers=host).status == 200


def test_scripts_of_other_origins(line: Line) -> None:
    """A browser is told that it may, and may read the request id."""
    asked = {"Origin": "http://a.example", "Access-Control-Request-Headers": "x-amz-target"}
    preflight = line.ask(b"", method="OPTIONS", headers={"Host": "x", **asked})
    assert (preflight.status, preflight.body) == (200, b"")
    assert preflight.headers["access-control-allow-headers"] == "x-amz-target"
    assert preflight.headers["access-control-max-age"] == "172800"
    answer = line.ask(headers=line.headers() | asked)
    assert answer.error == "ResourceNotFoundException"
    for one in (preflight, answer):
        assert one.headers["access-control-allow-origin"] == "*"
        assert "x-amzn-RequestId" in one.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in line.ask().headers


def test_compressed_requests(line: Line) -> None:
    """Signed as they are sent."""
    packed = gzip.compress(NO_TABLE)
    headers = line.headers(packed) | {"Content-Encoding": "gzip"}
    assert line.ask(packed, headers=headers).error == "ResourceNotFoundException"
    bomb = gzip.compress(b" " * (BODY_BYTES_MAX + 1))
    headers = line.headers(bomb) | {"Content-Encoding": "gzip"}
    assert line.ask(bomb, headers=headers).status == 413


@pytest.mark.parametrize("chunk_bytes", [0, CHUNK_BYTES])
def test_bodies_at_their_bound(endpoint: Endpoint, server: Server, chunk_bytes: int) -> None:
    """16 MB are read, one byte more is refused, and its sender gets to read why."""
    for extra, status in ((0, 400), (1, 413), (BODY_BYTES_MAX, 413)):
        body = NO_TABLE + b" " * (BODY_BYTES_MAX - len(NO_TABLE) + extra)
        with closing(Line(endpoint)) as line:
            answer = line.ask(body, chunk_bytes=chunk_bytes)
            _hold(answer)
            assert answer.status == status
            if status == 400:
                assert answer.error == "ResourceNotFoundException"
                assert line.ask().status == 400


def test_many_small_chunks(line: Line) -> None:
    """A body that comes in small chunks is read up to 65,536 of them."""
    body = NO_TABLE + b" " * 200_000
    assert line.ask(body, chunk_bytes=16).error == "ResourceNotFoundException"


def test_headers_too_large(line: Line) -> None:
    """16 KB of headers are refused in the door's language."""
    large = {f"X-Large-{number}": "v" * 4_000 for number in range(5)}
    answer = line.ask(headers=line.headers() | large)
    _hold(answer)
    assert answer.status == 400


def test_other_paths_are_v1s(line: Line, server: Server) -> None:
    """The door is at `/` alone; v1 answers as before, in its own words."""
    for method, target in (("GET", "/index.html"), ("POST", "/abc"), ("GET", "//")):
        answer = line.ask(b"", method=method, target=target, headers={"Host": "x"})
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert "x-request-id" in answer.headers
    with server.client() as client:
        assert client.get("/v1/tenant").status == 200


def test_the_log_names_the_operation(line: Line, server: Server) -> None:
    """A line has the operation and the id that the client got, and nothing of the request."""
    answer = line.ask()
    request_id = answer.headers["x-amzn-requestid"]
    (logged,) = [one for one in server.events("request") if one["request_id"] == request_id]
    assert (logged["surface"], logged["operation"]) == ("dynamodb", "describe_table")
    assert (logged["route"], logged["status"]) == ("/", 400)
    with server.admin() as admin:
        page = admin.get("/metrics").body.decode()
    assert 'operation="describe_table",status="400",surface="dynamodb"' in page
