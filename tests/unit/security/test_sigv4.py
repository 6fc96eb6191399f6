"""The arithmetic of SigV4: published signatures, canonical forms, and our own signer."""

import hashlib

import pytest

from dstore.security.credentials import AccessKey, AccessKeyId
from dstore.security.sigv4 import (
    EMPTY_BODY_SHA256,
    SignatureProblem,
    SignatureRefused,
    canonical_path,
    canonical_query,
    date_key,
    sign,
    signing_key,
    string_head,
    trimmed,
)
from tests.unit.security.builders import KEY, NOW_US, Wire, check

SUITE_HOST = ("Host", "example.amazonaws.com")
FORM = "application/x-www-form-urlencoded; charset=utf-8"

# AWS: the worked example of the signing guide (IAM ListUsers), then the SigV4 test suite.
PUBLISHED = [
    (
        "iam",
        "GET",
        "/?Action=ListUsers&Version=2010-05-08",
        (("Host", "iam.amazonaws.com"), ("Content-Type", FORM)),
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    ),
    (
        "service",
        "GET",
        "/",
        (SUITE_HOST,),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "service",
        "GET",
        "/?Param2=value2&Param1=value1",
        (SUITE_HOST,),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "service",
        "POST",
        "/",
        (SUITE_HOST,),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
]


@pytest.mark.parametrize(("service", "method", "target", "headers", "signature"), PUBLISHED)
def test_published_signatures_are_made_and_accepted(
    service: str,
    method: str,
    target: str,
    headers: tuple[tuple[str, str], ...],
    signature: str,
) -> None:
    """Signer and verifier agree with AWS itself, not only with each other."""
    added = sign(
        method=method,
        target=target,
        headers=headers,
        body_sha256=EMPTY_BODY_SHA256,
        access_key=KEY,
        region="us-east-1",
        service=service,
        now_us=NOW_US,
    )
    assert dict(added)["X-Amz-Date"] == "20150830T123600Z"
    assert dict(added)["Authorization"].endswith(f"Signature={signature}")
    raw = tuple((name.encode(), value.encode()) for name, value in (*headers, *added))
    claim = check(Wire(method=method, target=target, headers=raw, body=b""))
    assert claim.scope.service == service


def test_the_worked_example_gives_the_published_string_and_key() -> None:
    """Key derivation and string to sign are AWS's, step by step."""
    head = string_head(b"20150830T123600Z", b"20150830/us-east-1/iam/aws4_request")
    hashed = b"f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
    key = signing_key(date_key(KEY.secret, "20150830"), region="us-east-1", service="iam")
    expected = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    assert key.authenticate(head + hashed).hex() == expected


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"", b"/"),
        (b"/", b"/"),
        (b"/v1/tenant/a-b_c.d~e", b"/v1/tenant/a-b_c.d~e"),
        (b"/a/", b"/a/"),
        (b"/a%2Fb", b"/a%252Fb"),
        (b"/a%2fb", b"/a%252fb"),
        (b"/a+b", b"/a%2Bb"),
        (b"/a b", b"/a%20b"),
        (b"/%2E%2E/x", b"/%252E%252E/x"),
        (b"/...", b"/..."),
        (b"/.a/b.", b"/.a/b."),
        (b"/\xc3\xa9", b"/%C3%A9"),
        (b"/a:b@c$d", b"/a%3Ab%40c%24d"),
    ],
)
def test_the_raw_path_is_encoded_once_more(raw: bytes, canonical: bytes) -> None:
    """Escapes are signed as they travel; a library that decodes first would confuse %2F with /."""
    assert canonical_path(raw) == canonical


@pytest.mark.parametrize(
    "raw", [b"//", b"/a//b", b"/.", b"/..", b"/./a", b"/a/../b", b"/a/..", b"/a/.", b"a", b"*"]
)
def test_paths_with_two_readings_are_refused(raw: bytes) -> None:
    """AWS drops empty and dot segments before signing, our router does not: no such paths."""
    with pytest.raises(SignatureRefused) as caught:
        canonical_path(raw)
    assert caught.value.problem is SignatureProblem.MALFORMED


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"", b""),
        (b"b=2&a=1", b"a=1&b=2"),
        (b"a=2&a=1&a=10", b"a=1&a=10&a=2"),
        (b"b&a", b"a=&b="),
        (b"a=b=c", b"a=b%3Dc"),
        (b"A=1&a=2&B=3", b"A=1&B=3&a=2"),
        (b"a-=1&a=2", b"a=2&a-=1"),
        (b"a=%2F&b=%2f", b"a=%2F&b=%2f"),
        (b"a=x+y", b"a=x+y"),
        (b"a=x y/z:", b"a=x%20y%2Fz%3A"),
        (b"\xe1\x88\xb4=bar", b"%E1%88%B4=bar"),
        (b"a=1&", b"=&a=1"),
    ],
)
def test_the_raw_query_is_ordered_not_decoded(raw: bytes, canonical: bytes) -> None:
    """Pairs sort by name, then value; escapes and `+` stand as they came."""
    assert canonical_query(raw) == canonical


def test_header_values_are_trimmed_and_folds_become_one_space() -> None:
    """AWS trims all: proxies may change white space, never words."""
    assert trimmed(b"  a \t b\r\n  c  ") == b"a b c"
    assert trimmed(b"\xa0a") == b"\xa0a"


def test_our_signature_covers_what_we_send() -> None:
    """Our signer signs every header but those that intermediaries own."""
    headers = (
        ("Host", "h"),
        ("Content-Type", "application/json"),
        ("If-Match", '"3"'),
        ("User-Agent", "dstore"),
        ("X-Two", "a"),
        ("x-two", "b  c"),
    )
    body = b"{}"
    added = sign(
        method="PUT",
        target="/v1/tenant/t%C3%A9?b=2&a=1",
        headers=headers,
        body_sha256=hashlib.sha256(body).hexdigest(),
        access_key=KEY,
        region="eu-1",
        service="dstore",
        now_us=NOW_US + 999_999,
    )
    names = "SignedHeaders=content-type;host;if-match;x-amz-date;x-two,"
    assert names in dict(added)["Authorization"]
    raw = tuple((name.encode(), value.encode()) for name, value in (*headers, *added))
    wire = Wire(method="PUT", target="/v1/tenant/t%C3%A9?b=2&a=1", headers=raw, body=body)
    assert check(wire).scope.region == "eu-1"


def test_a_signing_key_is_not_printed() -> None:
    """A key in a log or traceback shows no bytes."""
    key = AccessKey(id=AccessKeyId("A"), secret="canary-secret")
    made = signing_key(date_key(key.secret, "20150830"), region="r", service="s")
    assert "canary" not in repr(key)
    assert repr(made).startswith("<dstore.security.sigv4.SigningKey object")
