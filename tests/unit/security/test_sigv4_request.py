"""A request is accepted as botocore signed it, and refused with the right word otherwise."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.model.errors import RefusalKind
from dstore.security.sigv4 import SignatureProblem as Problem
from dstore.security.sigv4 import SignatureRefused, signature_of
from dstore.security.sigv4_parts import is_signed_in_query
from dstore.security.sigv4_request import (
    _CLAIMS_MAX,
    _NO_KEY,
    BINDING_HEADERS,
    SERVICES,
    SKEW_US_MAX,
    _Claims,
    _Layout,
    _read_anew,
    read_claim,
    verify,
)
from tests.unit.security.builders import KEY, NOW_US, Wire, boto_signed, check, key_of

DYNAMO = {
    "X-Amz-Target": "DynamoDB_20120810.PutItem",
    "Content-Type": "application/x-amz-json-1.0",
    "User-Agent": "Boto3/1.40 md/Botocore#1.40",
}
BODY = b'{"TableName":"t"}'
LATER_US = 1


def dynamo() -> Wire:
    """Sign a typical DynamoDB request."""
    return boto_signed("POST", "/", headers=DYNAMO, body=BODY)


def problem(wire: Wire, now_us: int = NOW_US) -> Problem:
    """Return why the request is refused."""
    with pytest.raises(SignatureRefused) as caught:
        check(wire, now_us=now_us)
    assert caught.value.kind is RefusalKind.UNAUTHENTICATED
    assert KEY.secret not in str(caught.value)
    return caught.value.problem


def replaced(wire: Wire, name: bytes, value: bytes | None) -> Wire:
    """Replace a header's value, or drop the header."""
    kept = tuple((key, old) for key, old in wire.headers if key.lower() != name)
    return wire.with_headers(kept if value is None else (*kept, (name, value)))


def edited(wire: Wire, old: bytes, new: bytes) -> Wire:
    """Edit the Authorization header."""
    value = wire.header(b"authorization")
    assert old in value
    return replaced(wire, b"authorization", value.replace(old, new))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "/v1/tenant/acme/table/t/id/42"),
        ("PUT", "/v1/tenant/acme/table/t/id/a%2Fb%20c"),
        ("PUT", "/v1/tenant/acme/table/t/id/%C3%A9"),
        ("POST", "/v1/tenant/acme/table/t/id/a+b"),
        ("DELETE", "/v1/tenant/acme/table/t/id/a:b@c"),
        ("GET", "/v1/tenant/acme/table/t?limit=10&after=abc-_"),
        ("GET", "/v1/tenant?b=2&a=1&a=0"),
        ("GET", "/v1/tenant?flag="),
        ("GET", "/v1/tenant?x=%2F%20"),
        ("GET", "/v1/tenant/a/"),
    ],
)
@pytest.mark.parametrize("expires_s", [None, 60])
def test_what_botocore_signs_is_accepted(method: str, target: str, expires_s: int | None) -> None:
    """An independent signer agrees, in the headers and in the query."""
    if expires_s is not None and "a=1&a=0" in target:
        target = target.replace("&a=0", "")  # botocore drops duplicates when it presigns
    claim = check(boto_signed(method, target, expires_s=expires_s))
    assert (claim.scope.access_key_id, claim.scope.date) == (KEY.id, "20150830")
    assert (claim.scope.region, claim.scope.service) == ("us-east-1", "dynamodb")
    assert claim.signed_at_us == NOW_US
    assert claim.expires_us == (None if expires_s is None else expires_s * 1_000_000)


def test_odd_white_space_case_and_order_of_headers_are_accepted() -> None:
    """Proxies may fold, pad and reorder headers; that changes nothing that was signed."""
    wire = dynamo()
    exact = (b"authorization", b"x-amz-date")  # credentials have one spelling only
    odd = tuple(
        (name.upper(), value if name.lower() in exact else b" \t" + value + b"\r\n ")
        for name, value in reversed(wire.headers)
    )
    check(wire.with_headers(odd))
    check(boto_signed("POST", "/", headers={**DYNAMO, "X-Amz-Meta": "a   b\t c"}, body=BODY))


def test_a_declared_body_hash_must_be_the_bodys() -> None:
    """Some SDKs declare the hash; it binds only if it is true."""
    digest = hashlib.sha256(BODY).hexdigest()
    good = boto_signed("POST", "/", headers={**DYNAMO, "X-Amz-Content-SHA256": digest}, body=BODY)
    check(good)
    other = Wire(method="POST", target="/", headers=good.headers, body=b"{}")
    assert problem(other) is Problem.MISMATCH


@pytest.mark.parametrize(
    "declared",
    [
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    ],
)
def test_bodies_outside_the_signature_are_refused(declared: str) -> None:
    """Anyone could put any body under such a signature (CVE-2025-31489, CVE-2026-41145)."""
    headers = {**DYNAMO, "X-Amz-Content-SHA256": declared}
    assert problem(boto_signed("POST", "/", headers=headers, body=BODY)) is Problem.UNSIGNED_PAYLOAD


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Amz-Trailer", "x-amz-checksum-crc32"),
        ("X-Amz-Decoded-Content-Length", "17"),
        ("Content-Encoding", "gzip, AWS-Chunked"),
    ],
)
def test_streaming_headers_are_refused_however_they_are_signed(name: str, value: str) -> None:
    """A chunked or trailing signature is another protocol, which is not spoken here."""
    wire = boto_signed("POST", "/", headers={**DYNAMO, name: value}, body=BODY)
    assert problem(wire) is Problem.UNSIGNED_PAYLOAD


def test_an_unsigned_payload_declared_in_the_query_is_refused() -> None:
    """SDKs may hoist the declaration into the query of a presigned URL."""
    wire = boto_signed("GET", "/x?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", expires_s=60)
    assert problem(wire) is Problem.UNSIGNED_PAYLOAD


@pytest.mark.parametrize(
    "name",
    [
        b"x-amz-target",
        b"X-Amz-Security-Token",
        b"x-amz-anything",
        b"Content-Type",
        b"If-Match",
        b"If-None-Match",
        b"Idempotency-Key",
        b"Content-Encoding",
    ],
)
def test_a_header_that_matters_must_be_signed(name: bytes) -> None:
    """Whoever sits between could add it, and change what the request does."""
    for expires_s in (None, 60):
        wire = boto_signed("GET", "/", expires_s=expires_s)
        assert problem(wire.with_header(name, b"v")) is Problem.UNSIGNED_HEADER
        check(wire.with_header(b"User-Agent", b"v"))


def test_host_must_be_signed() -> None:
    """A signature without its host could be replayed at another server."""
    wire = edited(dynamo(), b";host;", b";")
    assert problem(wire) is Problem.UNSIGNED_HEADER


def test_a_request_without_any_signature_is_missing_one() -> None:
    """Surfaces answer a missing token otherwise than a bad one."""
    assert problem(replaced(dynamo(), b"authorization", None)) is Problem.MISSING
    assert problem(replaced(dynamo(), b"authorization", None).with_target("/?a=b")) is (
        Problem.MISSING
    )


@pytest.mark.parametrize(
    "query", ["X-Amz-Signature=0", "x-amz-credential=a", "a=1&X-AMZ-Algorithm=x", "X-Amz-Expires"]
)
def test_two_places_of_authentication_are_refused(query: str) -> None:
    """Two verifiers on the way might each believe another one."""
    assert problem(boto_signed("GET", f"/?{query}")) is Problem.MALFORMED
    assert is_signed_in_query(query.encode())
    presigned = boto_signed("GET", "/", expires_s=60)
    assert problem(presigned.with_header(b"Authorization", b"Bearer dst_x")) is Problem.MALFORMED
    stamped = presigned.with_header(b"X-Amz-Date", b"20150830T123600Z")
    assert problem(stamped) is Problem.MALFORMED


def test_ordinary_queries_are_no_signature() -> None:
    """A bearer request with `x-amz-` somewhere in a value must not be refused for it."""
    assert not is_signed_in_query(b"after=x-amz-signature&limit=1")
    assert not is_signed_in_query(b"")


def test_repeated_credentials_are_refused() -> None:
    """A repeated Authorization, date or parameter has two readings."""
    wire = dynamo()
    for name in (b"authorization", b"x-amz-date"):
        assert problem(wire.with_header(name, wire.header(name))) is Problem.MALFORMED
    presigned = boto_signed("GET", "/", expires_s=60)
    for pair in presigned.target.partition("?")[2].split("&"):
        assert problem(presigned.with_target(f"{presigned.target}&{pair}")) is Problem.MALFORMED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA512"),
        (b"AWS4-HMAC-SHA256", b"Bearer"),
        (b"Credential=", b"credential="),
        (b"AKIDEXAMPLE/", b"/"),
        (b"/20150830/", b"/20150831/"),
        (b"/20150830/", b"/2015083/"),
        (b"/us-east-1/", b"//"),
        (b"/us-east-1/", b"/a/b/"),
        (b"/dynamodb/", b"/s3/"),
        (b"/aws4_request", b"/aws4_request2"),
        (b"content-type;host", b"host;content-type"),
        (b"content-type;host", b"content-type;host;host"),
        (b"content-type;host", b"Content-Type;host"),
        (b"content-type;host", b"absent;content-type;host"),
        (b"content-type;host", b"content-type;;host"),
        (b", SignedHeaders", b"; SignedHeaders"),
        (b"Signature=", b"Signature=0"),
        (b", Signature=", b""),
    ],
)
def test_a_header_that_cannot_be_read_is_malformed(old: bytes, new: bytes) -> None:
    """Each part has one spelling; anything else is refused before a key is looked up."""
    assert problem(edited(dynamo(), old, new)) is Problem.MALFORMED


@pytest.mark.parametrize(
    "stamp",
    [b"", b"20150830", b"20150830T123600", b"20150830t123600Z", b"20150830T126000Z",
     b"20150830T240000Z", b"20150830T123660Z", b"20150830T123600Z0", b"2015083\xb2T123600Z"],
)  # fmt: skip
def test_a_date_that_is_none_is_malformed(stamp: bytes) -> None:
    """Lenient dates would let one signature count for several days."""
    assert problem(replaced(dynamo(), b"x-amz-date", stamp)) is Problem.MALFORMED
    assert problem(replaced(dynamo(), b"x-amz-date", None)) is Problem.MALFORMED


def test_a_day_outside_the_calendar_is_malformed() -> None:
    """The day of the scope may agree with the stamp and still not exist."""
    wire = edited(dynamo(), b"/20150830/", b"/20150231/")
    assert problem(replaced(wire, b"x-amz-date", b"20150231T123600Z")) is Problem.MALFORMED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
        ("X-Amz-Expires=60", "X-Amz-Expires=0"),
        ("X-Amz-Expires=60", "X-Amz-Expires=-1"),
        ("X-Amz-Expires=60", "X-Amz-Expires=604801"),
        ("X-Amz-Expires=60&", ""),
        ("X-Amz-Date=", "x-amz-date="),
        ("%2Faws4_request", ""),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="),
        ("X-Amz-Signature=", "X-Amz-Signature=00"),
    ],
)
def test_a_query_that_cannot_be_read_is_malformed(old: str, new: str) -> None:
    """The query form is as strict as the header form."""
    wire = boto_signed("GET", "/x", expires_s=60)
    assert old in wire.target
    assert problem(wire.with_target(wire.target.replace(old, new))) is Problem.MALFORMED


def test_the_skew_is_fifteen_minutes_inclusive() -> None:
    """DynamoDB's contract; the edges are exact."""
    wire = dynamo()
    for edge_us in (-SKEW_US_MAX, SKEW_US_MAX):
        check(wire, now_us=NOW_US + edge_us)
        beyond_us = edge_us + (LATER_US if edge_us > 0 else -LATER_US)
        assert problem(wire, NOW_US + beyond_us) is Problem.SKEW


def test_a_presigned_query_lives_as_long_as_it_says() -> None:
    """From 15 minutes before its date (skew) to its expiry, both inclusive."""
    wire = boto_signed("GET", "/x", expires_s=3600)
    for edge_us, step_us in ((-SKEW_US_MAX, -1), (3_600_000_000, 1)):
        check(wire, now_us=NOW_US + edge_us)
        assert problem(wire, NOW_US + edge_us + step_us) is Problem.SKEW


def test_the_tolerance_can_be_narrowed() -> None:
    """Operators may ask for five minutes."""
    wire = dynamo()
    claim = read_claim(wire.method, wire.target, wire.headers)
    digest = hashlib.sha256(BODY).hexdigest()
    with pytest.raises(SignatureRefused) as caught:
        verify(
            claim,
            body_sha256=digest,
            key=key_of(claim),
            now_us=NOW_US + 300_000_001,
            skew_us_max=300_000_000,
        )
    assert caught.value.problem is Problem.SKEW


def test_only_who_signed_rightly_hears_of_the_clock() -> None:
    """Unknown key and wrong secret look alike at any time; else a stranger could list key ids."""
    wire = dynamo()
    claim = read_claim(wire.method, wire.target, wire.headers)
    digest = hashlib.sha256(BODY).hexdigest()
    for now_us in (NOW_US, NOW_US + 10 * SKEW_US_MAX):
        for key, said in ((None, Problem.UNKNOWN_KEY), (key_of(claim, "x"), Problem.MISMATCH)):
            with pytest.raises(SignatureRefused) as caught:
                verify(claim, body_sha256=digest, key=key, now_us=now_us)
            assert caught.value.problem is said


def test_no_key_is_not_a_key_of_zeros() -> None:
    """What stands in for absent keys must never let a request in, even one signed with it."""
    wire = dynamo()
    claim = read_claim(wire.method, wire.target, wire.headers)
    digest = hashlib.sha256(BODY).hexdigest()
    forged = signature_of(
        _NO_KEY, string_head=claim.string_head, head=claim.head, body_sha256=digest
    )
    claim = claim._replace(signature=forged)
    with pytest.raises(SignatureRefused) as caught:
        verify(claim, body_sha256=digest, key=None, now_us=NOW_US)
    assert caught.value.problem is Problem.UNKNOWN_KEY


def test_services_other_than_ours_are_refused() -> None:
    """A signature made for another service of the same secret is not for us."""
    wire = boto_signed("GET", "/", service="iam")
    check(wire)
    with pytest.raises(SignatureRefused) as caught:
        read_claim(wire.method, wire.target, wire.headers)
    assert caught.value.problem is Problem.MALFORMED


@pytest.mark.parametrize("target", ["", "?", "*", "?a=1", "http://db.example.net:8000/"])
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    """An empty path is signed as `/`; on the wire it would be a second spelling of it."""
    assert problem(boto_signed("GET", "/").with_target(target)) is Problem.MALFORMED


def test_a_repeated_signed_header_is_joined_in_order() -> None:
    """Duplicates are signed as one value; exchanging them is another request."""
    wire = boto_signed("GET", "/", headers={"X-Amz-Meta": "a,b"})
    rest = tuple(pair for pair in wire.headers if pair[0] != b"X-Amz-Meta")
    check(wire.with_headers((*rest, (b"X-Amz-Meta", b"a "), (b"x-amz-meta", b" b"))))
    exchanged = wire.with_headers((*rest, (b"X-Amz-Meta", b"b"), (b"x-amz-meta", b"a")))
    assert problem(exchanged) is Problem.MISMATCH


def read(wire: Wire, services: frozenset[str], *, anew: bool) -> object:
    """Read a claim, or the problem with it."""
    reader = _read_anew if anew else read_claim
    try:
        return reader(
            wire.method, wire.target, wire.headers, services=services, binding=BINDING_HEADERS
        )
    except SignatureRefused as refused:
        return refused.problem, str(refused)


VALUES = st.sampled_from([b"gzip", b"aws-chunked", b"x", b" x  y ", b"", b"20260601T000000Z"])
NAMES = st.sampled_from(
    [b"Content-Encoding", b"X-Amz-Date", b"Host", b"X-Amz-Trailer", b"User-Agent", b"X-Amz-Target"]
)


@given(
    name=NAMES,
    value=VALUES,
    change=st.sampled_from(["replace", "add", "drop", "upper", "move"]),
    target=st.sampled_from(["/", "/a", "//", "*", "/?X-Amz-Signature=1", "/?a=1"]),
    method=st.sampled_from(["POST", "PUT"]),
    services=st.sampled_from([SERVICES, frozenset({"other"})]),
)
def test_what_was_read_before_changes_nothing(
    *, name: bytes, value: bytes, change: str, target: str, method: str, services: frozenset[str]
) -> None:
    """Claims are remembered: one that differs in anything that matters is read anew."""
    wire = dynamo()
    read(wire, SERVICES, anew=False)
    headers = list(wire.headers)
    if change in {"replace", "drop"}:
        headers = [pair for pair in headers if pair[0].lower() != name.lower()]
    if change in {"replace", "add"}:
        headers.append((name, value))
    if change == "upper":
        headers = [(key.upper(), old) for key, old in headers]
    if change == "move":
        headers.reverse()
    other = replace(wire, method=method, target=target, headers=tuple(headers))
    for _ in range(2):
        assert read(other, services, anew=False) == read(other, services, anew=True)
    unsigned = replaced(other, b"authorization", b"AWS4-HMAC-SHA256 Signature=" + b"0" * 64)
    assert read(unsigned, services, anew=False) == read(unsigned, services, anew=True)


def test_claims_are_not_remembered_without_a_bound() -> None:
    """Strangers choose what is read; it may not fill the memory."""
    claims = _Claims()
    claim = read_claim("POST", "/", dynamo().headers)
    layout = _Layout((b"host",), [b"host"])
    for at in range(5_000):
        claims.put((layout, "POST", "/", (b"%d" % at,)), claim)
    assert len(claims._young) + len(claims._old) <= 2 * _CLAIMS_MAX
    claims.put((layout, "POST", "/" + "a" * 5_000, (b"large",)), claim)
    assert claims.get((layout, "POST", "/" + "a" * 5_000, (b"large",))) is None
