"""Every complaint about a signature, in DynamoDB's words.

Sources: dynalite 4.0.0, `index.js`, which recorded them from the service; Alternator,
`test_authorization.py`, which runs against it; AWS, "Troubleshoot Signature Version 4 signing".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dstore.api.dynamodb.authentication import complaint
from dstore.security.credentials import AccessKey, AccessKeyId
from dstore.security.sigv4 import SignatureProblem, SignatureRefused
from dstore.service.access import SignedRequest
from tests.unit.api.dynamodb.doors import AMZ_JSON, TARGET, DoorClient, a_door, name_of

NOW = datetime(2013, 6, 9, 10, 0, 15, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
STAMP = "20130609T100000Z"
SCOPE = "20130609/us-east-1/dynamodb/aws4_request"
INVALID = "InvalidSignatureException"
INCOMPLETE = "IncompleteSignatureException"
MISSING = "MissingAuthenticationTokenException"


def header(
    algorithm: str = "AWS4-HMAC-SHA256",
    *,
    credential: str = f"AKID/{SCOPE}",
    names: str = "host;x-amz-date",
    signature: str = "ab",
) -> str:
    """Spell an Authorization header."""
    return f"{algorithm} Credential={credential}, SignedHeaders={names}, Signature={signature}"


def told(
    authorization: str | None,
    *,
    stamp: str | None = STAMP,
    query: str = "",
    problem: SignatureProblem = SignatureProblem.MALFORMED,
) -> tuple[str, str | None]:
    """Return name and message of what is said about a refused request."""
    headers = [(b"Host", b"x")]
    if authorization is not None:
        headers.append((b"Authorization", authorization.encode()))
    if stamp is not None:
        headers.append((b"X-Amz-Date", stamp.encode()))
    request = SignedRequest(
        method="POST", target="/" + query, headers=headers, body_sha256="0" * 64
    )
    refused = SignatureRefused(problem, "Ours.")
    error = complaint(request, refused, now_us=NOW_US)
    assert (error.status, error.namespace) == (400, "com.amazon.coral.service")
    return error.name, error.text


TOKEN_MISSING = (MISSING, "Request is missing Authentication Token")


@pytest.mark.parametrize(
    ("authorization", "query"),
    [
        (None, ""),
        ("", ""),
        ("Bearer dst_abc", ""),
        ("AWS AKID:signature", ""),
        ("aws4-hmac-sha256 Credential=a", ""),
        (None, "?X-Amz-Signature=ab&X-Amz-Credential=c"),
    ],
)
def test_no_signature(authorization: str | None, query: str) -> None:
    """What does not begin like a signature is none; a token of v1's is none either."""
    assert told(authorization, query=query) == TOKEN_MISSING


def test_two_signatures() -> None:
    """In the header and in the query."""
    assert told(header(), query="?X-Amz-Algorithm=x") == (
        INVALID,
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    )


@pytest.mark.parametrize(
    ("authorization", "stamp", "lacking"),
    [
        ("AWS4-", None, ("Credential", "Signature", "SignedHeaders", "")),
        ("AWS4-HMAC-SHA256 Signature=b,    Credential=a", STAMP, ("SignedHeaders",)),
        ("AWS4-HMAC-SHA256 Signature=b Credential,", STAMP, ("Credential", "SignedHeaders")),
        (header(), None, ("",)),
    ],
)
def test_missing_parts_of_the_header(
    authorization: str, stamp: str | None, lacking: tuple[str, ...]
) -> None:
    """All are listed, the date last, and the header itself behind them."""
    sentences = [
        f"Authorization header requires '{name}' parameter."
        if name
        else "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        for name in lacking
    ]
    assert told(authorization, stamp=stamp) == (
        INCOMPLETE,
        " ".join((*sentences, f"Authorization={authorization}")),
    )


def test_missing_parts_of_the_query() -> None:
    """All are listed."""
    assert told(None, query="?X-Amz-Algorithm=a&X-Amz-Date=&X-Amz-Signature=s") == (
        INCOMPLETE,
        (
            "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string "
            "parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must "
            "include 'X-Amz-Date'. Re-examine the query-string parameters."
        ),
    )


@pytest.mark.parametrize("stamp", ["201", "20131301T000000Z", "2013-06-09T10:00:00Z"])
def test_a_date_that_is_none(stamp: str) -> None:
    """ISO's basic form, in UTC."""
    assert told(header(), stamp=stamp) == (
        INCOMPLETE,
        (
            f"Date must be in ISO-8601 'basic format'. Got '{stamp}'. See "
            "http://en.wikipedia.org/wiki/ISO_8601"
        ),
    )


@pytest.mark.parametrize(
    ("stamp", "message"),
    [
        (
            "20130301T000000Z",
            (
                "Signature expired: 20130301T000000Z is now earlier than 20130609T094515Z "
                "(20130609T100015Z - 15 min.)"
            ),
        ),
        (
            "20130609T101516Z",
            (
                "Signature not yet current: 20130609T101516Z is still later than 20130609T101515Z "
                "(20130609T100015Z + 15 min.)"
            ),
        ),
    ],
)
def test_another_time(stamp: str, message: str) -> None:
    """Told before anything else of the signature is looked at."""
    assert told("AWS4-x Credential=a SignedHeaders=b Signature=123", stamp=stamp) == (
        INVALID,
        message,
    )


def test_a_presigned_request_lives_as_long_as_it_says() -> None:
    """`X-Amz-Expires` takes the place of the 15 minutes."""
    query = (
        f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F{SCOPE}&X-Amz-Signature=s"
        "&X-Amz-SignedHeaders=host&X-Amz-Date=20130609T095800Z&X-Amz-Expires="
    )
    assert told(None, stamp=None, query=query + "120") == (
        INVALID,
        (
            "Signature expired: 20130609T095800Z is now earlier than 20130609T095815Z "
            "(20130609T100015Z - 2 min.)"
        ),
    )
    assert told(None, stamp=None, query=query + "140") == (INVALID, "Ours.")


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (
            header(names="x-amz-date"),
            (INVALID, "'Host' must be a 'SignedHeader' in the AWS Authorization."),
        ),
        (
            header("AWS4-HMAC-SHA25"),
            (
                INCOMPLETE,
                "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256 for now). ",
            ),
        ),
        (
            header(credential="a/b/c/d"),
            (
                INCOMPLETE,
                (
                    "Credential must have exactly 5 slash-delimited elements, e.g. "
                    "keyid/date/region/service/term, got 'a/b/c/d'"
                ),
            ),
        ),
        (
            header(credential="a/b/c/d/e"),
            (
                INVALID,
                (
                    "Credential should be scoped to correct service: 'dynamodb'. Credential "
                    "should be scoped with a valid terminator: 'aws4_request', not 'e'. Date in "
                    "Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
                    "HTTP: 'b' != "
                    f"'20130609', from '{STAMP}'."
                ),
            ),
        ),
        (
            header(credential="a/20130609//dynamodb/aws4_request"),
            (INVALID, "Credential should be scoped to a valid region, not ''."),
        ),
    ],
)
def test_parts_that_are_wrong(authorization: str, expected: tuple[str, str]) -> None:
    """In the order: host, algorithm, the credential's form, its parts."""
    assert told(authorization) == expected


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        (SignatureProblem.UNKNOWN_KEY, "UnrecognizedClientException"),
        (SignatureProblem.MISMATCH, INVALID),
        (SignatureProblem.SKEW, INVALID),
        (SignatureProblem.UNSIGNED_PAYLOAD, INVALID),
        (SignatureProblem.UNSIGNED_HEADER, INVALID),
        (SignatureProblem.MALFORMED, INVALID),
    ],
)
def test_what_only_the_verification_knows(problem: SignatureProblem, name: str) -> None:
    """A request without a visible fault gets the name that belongs to the refusal."""
    assert told(header(), problem=problem)[0] == name


# ------------------------------------------------------------------------- through the whole door


def _signature(change: Callable[[str], str]) -> Callable[[DoorClient], dict[str, str]]:
    """Change a right Authorization header."""

    def headers(door: DoorClient) -> dict[str, str]:
        sent = {"Content-Type": AMZ_JSON, "X-Amz-Target": TARGET + "EchoTheCall"}
        made = door.signature(sent, b"{}")
        return made | {"Authorization": change(made["Authorization"])}

    return headers


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), INVALID),
        (lambda text: text[:-1], INVALID),
        (lambda text: re.sub("DSAK.", "DSAK_", text), "UnrecognizedClientException"),
        (lambda text: text.replace("/dynamodb/", "/dstore/"), INVALID),
        (lambda text: text.replace("x-amz-target", "x-amz-tarheel"), INVALID),
        (lambda text: text.replace(";x-amz-target", ""), INVALID),
        (lambda text: text.replace("host;", ""), INVALID),
        (lambda text: text.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), INCOMPLETE),
        (lambda _: "Bearer dst_aaaaaaaaaaaa_" + "a" * 43, MISSING),
    ],
)
async def test_damaged_signatures(tmp_path: Path, change: Callable[[str], str], name: str) -> None:
    """Nothing but the whole signature opens the door."""
    async with a_door(tmp_path) as door:
        headers = _signature(change)(door)
        reply = await door.do("EchoTheCall", signed=False, headers=headers)
    assert (reply.status, name_of(reply)) == (400, name)


async def test_signature_without_spaces(tmp_path: Path) -> None:
    """Commas alone may part the header (scylladb/scylladb#9568)."""
    async with a_door(tmp_path) as door:
        headers = _signature(lambda text: text.replace(", ", ","))(door)
        reply = await door.do("EchoTheCall", signed=False, headers=headers)
    assert reply.status == 200


async def test_a_body_or_target_that_was_not_signed(tmp_path: Path) -> None:
    """What a signature covers cannot be exchanged, and nothing may stay outside of it."""
    async with a_door(tmp_path) as door:
        signed = _signature(str)(door)
        for headers, body, name in (
            ({}, b'{"TableName":"other"}', INVALID),
            ({"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}, b"{}", INVALID),
            ({"X-Amz-Security-Token": "unsigned"}, b"{}", INVALID),
        ):
            reply = await door.do("EchoTheCall", body, signed=False, headers=signed | headers)
            assert (reply.status, name_of(reply)) == (400, name), headers


async def test_another_time_through_the_door(tmp_path: Path) -> None:
    """Signed rightly, an hour ago and an hour from now."""
    async with a_door(tmp_path) as door:
        now_us = int(datetime.now(UTC).timestamp()) * 1_000_000
        old = await door.do("EchoTheCall", now_us=now_us - 3_600_000_000)
        early = await door.do("EchoTheCall", now_us=now_us + 3_600_000_000)
    assert name_of(old) == name_of(early) == INVALID
    assert json.loads(old.body)["message"].startswith("Signature expired: ")
    assert json.loads(early.body)["message"].startswith("Signature not yet current: ")


async def test_another_secret(tmp_path: Path) -> None:
    """A known key and a wrong secret: told as AWS tells it."""
    async with a_door(tmp_path) as door:
        wrong = AccessKey(id=AccessKeyId(door.key.id), secret="wrong-secret")
        stranger = DoorClient(server=door.server, node=door.node, key=wrong)
        reply = await stranger.do("EchoTheCall")
    assert name_of(reply) == INVALID
    assert json.loads(reply.body)["message"] == (
        "The request signature we calculated does not match the signature you provided. Check "
        "your AWS Secret Access Key and signing method. Consult the service documentation for "
        "details."
    )


class _QueryAuth(SigV4QueryAuth):  # type: ignore[misc]  # botocore has no types
    """botocore's signer for queries; it would move a body into the query."""

    def payload(self, _request: AWSRequest) -> str:
        return hashlib.sha256(b"{}").hexdigest()


async def test_a_presigned_request(tmp_path: Path) -> None:
    """The signature may stand in the query, where it covers the target header too."""
    async with a_door(tmp_path) as door:
        url = "http://test/"
        headers = {"X-Amz-Target": TARGET + "EchoTheCall", "Content-Type": AMZ_JSON}
        request = AWSRequest("POST", url, headers=headers)
        credentials = Credentials(door.key.id, door.key.secret)
        _QueryAuth(credentials, "dynamodb", "eu-west-9").add_auth(request)
        target = "/" + request.url.removeprefix(url)
        reply = await door.do("EchoTheCall", signed=False, target=target)
        both = await door.do("EchoTheCall", target=target)
        other = await door.do("EchoTheCall", b"{ }", signed=False, target=target)
    assert json.loads(reply.body)["Region"] == "eu-west-9"
    assert (name_of(both), name_of(other)) == (INVALID, INVALID)
    assert json.loads(both.body)["message"].startswith("Found both ")


async def test_content_type_need_not_be_signed(tmp_path: Path) -> None:
    """The SDK for JavaScript, version 2, does not sign it."""
    async with a_door(tmp_path) as door:
        sent = {"X-Amz-Target": TARGET + "EchoTheCall"}
        headers = door.signature(sent, b"{}")
        reply = await door.do("EchoTheCall", signed=False, headers=headers)
    assert reply.status == 200
