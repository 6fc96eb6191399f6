"""Where the door of dStore's DynamoDB API differs from AWS's; see docs/COMPATIBILITY.md."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit
from zlib import crc32

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.api.test_dynamodb_door import AMZ_JSON, NO_TABLE, Answer, Line
from tests.support.dynamodb import Endpoint
from tests.support.server import Server

TARGET: Final = "DynamoDB_20120810.DescribeTable"
PROBLEM: Final = "application/problem+json"


@pytest.fixture
def raw(server: Server, endpoint: Endpoint) -> Iterator[Line]:
    """Give a connection to a running server."""
    with closing(Line(endpoint)) as made:
        yield made


def _reaches(answer: Answer) -> bool:
    """Tell whether the request came through to its operation, which finds no such table."""
    return (answer.status, answer.error) == (400, "ResourceNotFoundException")


def test_a_session_token_is_ignored(raw: Line) -> None:
    """There are no temporary credentials; what was signed rightly passes with any token."""
    credentials = Credentials(raw.endpoint.key_id, raw.endpoint.secret, token="made up")
    request = AWSRequest(
        "POST",
        raw.endpoint.url + "/",
        headers={"Content-Type": AMZ_JSON, "X-Amz-Target": TARGET},
        data=NO_TABLE,
    )
    SigV4Auth(credentials, "dynamodb", "us-east-1").add_auth(request)
    headers = {"Host": urlsplit(raw.endpoint.url).netloc, **dict(request.headers.items())}
    assert headers["X-Amz-Security-Token"] == "made up"
    assert _reaches(raw.ask(headers=headers))


class _PresignedBody(SigV4QueryAuth):  # type: ignore[misc]  # botocore has no types
    """botocore's signer for queries, told the body's hash: a body it would move into the query."""

    def payload(self, _request: AWSRequest) -> str:
        return hashlib.sha256(NO_TABLE).hexdigest()


class _WithoutExpiry(_PresignedBody):
    """Signs a query that does not say how long it lives, which AWS takes for 15 minutes."""

    def canonical_request(self, request: AWSRequest) -> str:
        request.url = request.url.replace("&X-Amz-Expires=3600", "")
        return str(super().canonical_request(request))


@pytest.mark.parametrize(
    ("signer", "error"),
    [
        (_PresignedBody, "ResourceNotFoundException"),
        (_WithoutExpiry, "InvalidSignatureException"),
    ],
)
def test_a_presigned_request_says_how_long_it_lives(
    raw: Line, signer: type[_PresignedBody], error: str
) -> None:
    """X-Amz-Expires is wanted; a link for ever is nobody's intention."""
    sent = {"Content-Type": AMZ_JSON, "X-Amz-Target": TARGET}
    request = AWSRequest("POST", raw.endpoint.url + "/", headers=sent)
    credentials = Credentials(raw.endpoint.key_id, raw.endpoint.secret)
    signer(credentials, "dynamodb", "us-east-1", expires=3600).add_auth(request)
    address = urlsplit(request.url)
    headers = {"Host": address.netloc, **dict(request.headers.items())}
    answer = raw.ask(headers=headers, target=f"/?{address.query}")
    assert (answer.status, answer.error) == (400, error), answer.body


def test_the_date_stands_in_x_amz_date(raw: Line) -> None:
    """A Date header alone, which AWS takes too, is refused: every SDK sends X-Amz-Date."""
    headers = raw.headers()
    headers["Date"] = headers.pop("X-Amz-Date")
    headers["Authorization"] = headers["Authorization"].replace("x-amz-date", "date")
    answer = raw.ask(headers=headers)
    assert (answer.status, answer.error) == (400, "InvalidSignatureException")
    assert b"X-Amz-Date" in answer.body


def test_answers_are_never_compressed(raw: Line) -> None:
    """Whatever the client accepts; AWS compresses from 4 KB on."""
    long = b'{"TableName":"no-such-table","ExclusiveStartKey":{"%b":7}}' % (b"x" * 8_000)
    for body in (NO_TABLE, long):
        answer = raw.ask(body, headers=raw.headers(body) | {"Accept-Encoding": "gzip, deflate"})
        assert "content-encoding" not in answer.headers
        assert int(answer.headers["x-amz-crc32"]) == crc32(answer.body)


def test_a_body_that_does_not_inflate_is_the_clients_fault(raw: Line) -> None:
    """400, where AWS answers 500, which an SDK would send again."""
    for broken in (b"{}", gzip.compress(NO_TABLE)[:-4]):
        answer = raw.ask(broken, headers=raw.headers(broken) | {"Content-Encoding": "gzip"})
        assert answer.status == 400
        assert answer.error in {"ValidationException", "SerializationException"}


def test_large_bodies_are_decoded_for_whom_we_know(raw: Line) -> None:
    """Small ones are JSON first and signed second, as at AWS; others the other way round."""
    unsigned = {"Host": "x", "Content-Type": AMZ_JSON, "X-Amz-Target": TARGET}
    packed = unsigned | {"Content-Encoding": "gzip"}
    for body, headers, error in (
        (b"{" * 1_000, unsigned, "SerializationException"),
        (b"{" * 100_000, unsigned, "MissingAuthenticationTokenException"),
        (gzip.compress(b"{"), packed, "MissingAuthenticationTokenException"),
    ):
        answer = raw.ask(body, headers=headers)
        assert (answer.status, answer.error) == (400, error)


def test_a_key_that_comes_twice_is_refused(raw: Line) -> None:
    """Which value was meant, nobody can tell; at any depth, and spelled in any way."""
    for body in (
        b'{"TableName":"no-such-table","TableName":"no-such-table"}',
        b'{"TableName":"no-such-table","Key":{"a":{"S":"1"},"a":{"S":"2"}}}',
        b'{"TableName":"no-such-table","Table\\u004eame":"no-such-table"}',
    ):
        answer = raw.ask(body)
        assert (answer.status, answer.error) == (400, "SerializationException")


def test_a_header_line_beyond_8_kb_is_told_in_v1s_words(raw: Line) -> None:
    """The request cannot be read so far as to know its path; 16 KB in shorter lines are AWS's."""
    answer = raw.ask(headers=raw.headers() | {"X-Long": "v" * 9_000})
    assert (answer.status, answer.headers["content-type"]) == (400, PROBLEM)
    with closing(Line(raw.endpoint)) as other:
        lines = {f"X-Long-{number}": "v" * 4_000 for number in range(5)}
        answer = other.ask(headers=other.headers() | lines)
    assert (answer.status, answer.headers["content-type"]) == (400, AMZ_JSON)


def test_streams_have_no_operations(raw: Line) -> None:
    """Their targets have a prefix of their own, behind the same door."""
    for operation in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"):
        headers = raw.headers() | {"X-Amz-Target": f"DynamoDBStreams_20120810.{operation}"}
        answer = raw.ask(headers=headers)
        assert (answer.status, answer.error) == (400, "UnknownOperationException")
