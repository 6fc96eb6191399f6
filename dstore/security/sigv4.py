"""AWS Signature Version 4: the arithmetic that signing and verifying share.

Everything works on the bytes that travel: no URL is decoded and encoded again, since what two
libraries make of `%2F`, `+` or `..` is where forgeries come from. `sigv4_request` verifies a
request with this; `sign` makes one for dStore's own command line.

Source: AWS "Create a signed AWS API request"; every service but S3 encodes the path twice.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType
from urllib.parse import quote_from_bytes

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from dstore.model.errors import RefusalKind, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.security.credentials import AccessKey

DateKey = NewType("DateKey", bytes)

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
TERMINATOR: Final = b"aws4_request"
EMPTY_BODY_SHA256: Final = hashlib.sha256(b"").hexdigest()

# What intermediaries may change, or what cannot be signed: never signed by `sign`.
_UNSIGNED: Final = frozenset(
    {b"authorization", b"connection", b"expect", b"transfer-encoding", b"user-agent"}
)
_PLAIN_PATH: Final = re.compile(rb"[A-Za-z0-9/_.~-]*")
_AMBIGUOUS_PATH: Final = re.compile(rb"//|/\.{1,2}(?:/|\Z)")
# Percent signs stand as they came; so does "+", see `canonical_query`.
_QUERY_ENCODED: Final = re.compile(rb"[^A-Za-z0-9_.~%+-]")


class SignatureProblem(StrEnum):
    """Why a signed request is not believed; each surface has its own words for these."""

    MISSING = "missing"  # no signature in the request
    MALFORMED = "malformed"  # a signature that cannot be read, or more than one
    UNSIGNED_PAYLOAD = "unsigned_payload"  # the body is not part of what was signed
    UNSIGNED_HEADER = "unsigned_header"  # a header that matters is not part of what was signed
    UNKNOWN_KEY = "unknown_key"  # no such access key, or a revoked one
    MISMATCH = "mismatch"  # another secret, or another request than the one that was signed
    SKEW = "skew"  # rightly signed, at another time


class SignatureRefused(Refused):
    """The request's signature does not prove who sent it."""

    def __init__(self, problem: SignatureProblem, message: str) -> None:
        """Refuse as unauthenticated, with the problem for surfaces that name it."""
        super().__init__(RefusalKind.UNAUTHENTICATED, message)
        self.problem = problem


class SigningKey:
    """One access key's key for one day, region and service, ready to sign many requests.

    It keeps the hash's state after the key, which is most of the cost of a short HMAC; keep the
    object as long as the access key is valid, bounded, in memory only.
    """

    __slots__ = ("_state",)

    def __init__(self, key: bytes) -> None:
        """Take the 32 bytes that `signing_key` derives."""
        self._state = HMAC(key, SHA256())

    def authenticate(self, message: bytes) -> bytes:
        """Return HMAC-SHA-256 of the message, 32 bytes."""
        state = self._state.copy()
        state.update(message)
        return state.finalize()


def malformed(message: str) -> SignatureRefused:
    """Make the refusal of a signature that cannot be read in exactly one way."""
    return SignatureRefused(SignatureProblem.MALFORMED, message)


def date_key(secret: str, date: str) -> DateKey:
    """Derive the key of one access key for one day (AWS's kDate).

    Args:
        secret: the access key's secret.
        date: UTC day, YYYYMMDD.
    """
    return DateKey(hmac.digest(b"AWS4" + secret.encode(), date.encode(), "sha256"))


def signing_key(day: DateKey, *, region: str, service: str) -> SigningKey:
    """Derive the key that signs one day's requests of one region and service."""
    region_key = hmac.digest(day, region.encode(), "sha256")
    service_key = hmac.digest(region_key, service.encode(), "sha256")
    return SigningKey(hmac.digest(service_key, TERMINATOR, "sha256"))


def canonical_path(raw: bytes) -> bytes:
    """Encode the raw path once more, as it was signed.

    Args:
        raw: the path as received, before the `?`; empty counts as `/`.

    Raises: SignatureRefused: the path is not absolute, or holds `//`, `/./` or `/../`. AWS drops
        these before it signs, so one signature would cover several paths, and the router that
        runs next does not drop them. An ID that is a dot travels as `%2E`.
    """
    if not raw or raw == b"/":
        return b"/"
    if not raw.startswith(b"/") or _AMBIGUOUS_PATH.search(raw):
        raise malformed("Sign and send an absolute path without empty, `.` or `..` segments.")
    if _PLAIN_PATH.fullmatch(raw):
        return raw
    return quote_from_bytes(raw, safe="/~").encode()


def canonical_query(raw: bytes) -> bytes:
    """Order the raw query's pairs by name, then value, and encode what AWS encodes.

    Existing percent escapes stay byte for byte. A raw `+` stays `+`: servers read it as a space,
    AWS encodes it as a plus, and a signature that covered both would let one pass for the other.
    """
    if not raw:
        return b""
    pairs: list[tuple[bytes, bytes]] = []
    for part in raw.split(b"&"):
        name, _, value = part.partition(b"=")
        pairs.append((_encoded(name), _encoded(value)))
    pairs.sort()
    return b"&".join([name + b"=" + value for name, value in pairs])


def trimmed(value: bytes) -> bytes:
    """Trim a header's value and make every run of white space in it (folds too) one space."""
    return b" ".join(value.split())


def sign(
    *,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    body_sha256: str,
    access_key: AccessKey,
    region: str,
    service: str,
    now_us: int,
) -> tuple[tuple[str, str], ...]:
    """Sign a request in its headers.

    Args:
        method: upper case.
        target: raw path and query, percent-encoded, as they will be sent.
        headers: everything that will be sent, `Host` included; names in any case.
        body_sha256: lower-case hexadecimal SHA-256 of the body as sent (EMPTY_BODY_SHA256 if none).
        access_key: who signs.
        region: free text without `/` or `,`.
        service: "dstore" or "dynamodb".
        now_us: wall clock, microseconds since 1970 UTC.

    Returns: the two headers to add, `X-Amz-Date` and `Authorization`.
    """
    stamp = datetime.fromtimestamp(now_us // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    signed = _signed_headers([*headers, ("X-Amz-Date", stamp)])
    assert b"host" in signed, "a request is signed together with its Host header"
    names = b";".join(sorted(signed))
    path, _, query = target.encode().partition(b"?")
    lines = [name + b":" + signed[name] for name in sorted(signed)]
    first = (method.encode(), canonical_path(path), canonical_query(query))
    head = b"\n".join((*first, *lines, b"", names, b""))
    scope = "/".join((stamp[:8], region, service, TERMINATOR.decode()))
    key = signing_key(date_key(access_key.secret, stamp[:8]), region=region, service=service)
    signature = signature_of(
        key,
        string_head=string_head(stamp.encode(), scope.encode()),
        head=head,
        body_sha256=body_sha256,
    )
    authorization = (
        f"{ALGORITHM.decode()} Credential={access_key.id}/{scope}, "
        f"SignedHeaders={names.decode()}, Signature={signature.decode()}"
    )
    return (("X-Amz-Date", stamp), ("Authorization", authorization))


def string_head(stamp: bytes, scope: bytes) -> bytes:
    """Write the string to sign up to, and without, the hash of the canonical request."""
    return b"\n".join((ALGORITHM, stamp, scope, b""))


def signature_of(key: SigningKey, *, string_head: bytes, head: bytes, body_sha256: str) -> bytes:
    """Compute a signature, 64 lower-case hexadecimal characters.

    Args:
        key: of the day, region and service.
        string_head: from `string_head`.
        head: the canonical request up to, and without, the hash of the body.
        body_sha256: lower-case hexadecimal SHA-256 of the body.
    """
    hashed = hashlib.sha256(head + body_sha256.encode()).hexdigest()
    return key.authenticate(string_head + hashed.encode()).hex().encode()


def _signed_headers(headers: Sequence[tuple[str, str]]) -> dict[bytes, bytes]:
    """Gather what `sign` signs; a repeated header becomes one, its values joined by commas."""
    gathered: dict[bytes, bytes] = {}
    for name, value in headers:
        key, text = name.lower().encode(), trimmed(value.encode())
        if key not in _UNSIGNED:
            gathered[key] = gathered[key] + b"," + text if key in gathered else text
    return gathered


def _encoded(text: bytes) -> bytes:
    return _QUERY_ENCODED.sub(lambda match: b"%%%02X" % match.group()[0], text)
