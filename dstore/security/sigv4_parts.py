"""Where a SigV4 signature stands in a request, and how its parts are read.

Exactly one place: the Authorization header or the query (a presigned URL). Whatever could be read
in two ways is refused; `sigv4_request` builds the claim from what is read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from dstore.security.sigv4 import (
    ALGORITHM,
    TERMINATOR,
    SignatureProblem,
    SignatureRefused,
    malformed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# AWS's bound on the life of a signature in a query: 7 days.
EXPIRES_S_MAX: Final = 7 * 24 * 3600
# One entry per (access key, day, region, list of headers) in use; at most 2.5 KB each.
SCHEMES_CACHED_MAX: Final = 1024

SIGNATURE_CHARS: Final = 64
_CREDENTIAL: Final = re.compile(
    rb"([!-+.0-~-]{1,128})/([0-9]{8})/([!-+.0-~-]{1,64})/([!-+.0-~-]{1,32})/aws4_request"
)
_NAMES: Final = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~;-]{1,2048}")
_AUTHORIZATION: Final = re.compile(
    rb"AWS4-HMAC-SHA256 +Credential=([^, ]+), *SignedHeaders=([^, ]+), *"
)
_EXPIRES: Final = re.compile(rb"[1-9][0-9]{0,5}")
_SHA256: Final = re.compile(rb"[0-9a-f]{64}")

# The parameters of a signature in the query, as AWS spells them.
_QUERY_AUTH: Final = (
    b"X-Amz-Algorithm",
    b"X-Amz-Credential",
    b"X-Amz-Date",
    b"X-Amz-Expires",
    b"X-Amz-SignedHeaders",
    b"X-Amz-Signature",
)
_QUERY_AUTH_LOWER: Final = frozenset(name.lower() for name in _QUERY_AUTH)


class Scope(NamedTuple):
    """Which key signed: an access key's, for one day, region and service.

    A tuple, since every request looks something up by it.

    Attributes:
        access_key_id: 1 to 128 printable ASCII characters; may name nothing.
        date: UTC day, YYYYMMDD.
        region: free text, 1 to 64 printable ASCII characters.
        service: 1 to 32 printable ASCII characters.
    """

    access_key_id: str
    date: str
    region: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """What all requests that one client signs on one day have in common.

    Attributes:
        scope: whose key signed.
        scope_text: `day/region/service/aws4_request`, as it is signed.
        names: the signed headers, lower case, sorted.
        names_text: the same, joined by `;`.
        signed: the same, for look-ups.
    """

    scope: Scope
    scope_text: bytes
    names: tuple[bytes, ...]
    names_text: bytes
    signed: frozenset[bytes]


class Parts(NamedTuple):
    """A signature's parts; a tuple for speed, since every request makes one.

    Attributes:
        scheme: scope and list of headers.
        signature: 64 characters, compared as they came.
        stamp: X-Amz-Date, not yet checked.
        expires_us: life in microseconds; None if the signature stands in the headers.
        declared_body: X-Amz-Content-Sha256 as sent.
    """

    scheme: Scheme
    signature: bytes
    stamp: bytes
    expires_us: int | None
    declared_body: bytes | None


def is_signed_in_query(query: bytes) -> bool:
    """Tell whether a raw query carries any parameter of a signature, in any spelling of case.

    A door that takes another credential (a bearer token) refuses such a request: it has two.
    """
    if b"x-amz-" not in query.lower():
        return False
    names = {part.partition(b"=")[0].lower() for part in query.split(b"&")}
    return not names.isdisjoint(_QUERY_AUTH_LOWER)


def header_parts(authorization: bytes, received: Mapping[bytes, bytes]) -> Parts:
    """Read an Authorization header, whose signature covers X-Amz-Date beside it."""
    start, marker, signature = authorization.rpartition(b"Signature=")
    if not marker or len(signature) != SIGNATURE_CHARS:
        raise malformed(_AUTHORIZATION_FORM)
    stamp = received.get(b"x-amz-date")
    if stamp is None:
        raise malformed("A signed request needs an X-Amz-Date header.")
    scheme = header_scheme(start)
    return Parts(scheme, signature, stamp, None, received.get(b"x-amz-content-sha256"))


def query_parts(query: bytes, received: Mapping[bytes, bytes]) -> tuple[Parts, bytes]:
    """Read a presigned query; return its parts, and the query that was signed."""
    if b"x-amz-date" in received:
        raise malformed("A request that is signed in its query has no X-Amz-Date header.")
    values: dict[bytes, bytes] = {}
    signed: list[bytes] = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name.lower().startswith(b"x-amz-"):
            if name in values:
                raise malformed("A parameter of the signature in the query is given twice.")
            values[name] = unquote_to_bytes(value)
        if name != b"X-Amz-Signature":
            signed.append(part)
    missing = [name.decode() for name in _QUERY_AUTH if name not in values]
    if missing:
        raise malformed(f"The signature in the query lacks {', '.join(missing)}.")
    expires = _EXPIRES.fullmatch(values[b"X-Amz-Expires"])
    signature = values[b"X-Amz-Signature"]
    if values[b"X-Amz-Algorithm"] != ALGORITHM or len(signature) != SIGNATURE_CHARS:
        raise malformed("The signature in the query is not one of AWS4-HMAC-SHA256.")
    if expires is None or int(expires.group()) > EXPIRES_S_MAX:
        raise malformed(f"X-Amz-Expires is not a number of seconds from 1 to {EXPIRES_S_MAX}.")
    parts = Parts(
        scheme=_scheme(values[b"X-Amz-Credential"], values[b"X-Amz-SignedHeaders"]),
        signature=signature,
        stamp=values[b"X-Amz-Date"],
        expires_us=int(expires.group()) * 1_000_000,
        declared_body=received.get(b"x-amz-content-sha256", values.get(b"X-Amz-Content-Sha256")),
    )
    return parts, b"&".join(signed)


def refuse_streaming(received: Mapping[bytes, bytes], declared: bytes | None) -> None:
    """Refuse bodies that the signature does not cover as a whole (CVE-2025-31489 and its kin)."""
    if (
        (declared is not None and not _SHA256.fullmatch(declared))
        or b"x-amz-trailer" in received
        or b"x-amz-decoded-content-length" in received
        or b"aws-chunked" in received.get(b"content-encoding", b"").lower()
    ):
        raise SignatureRefused(
            SignatureProblem.UNSIGNED_PAYLOAD,
            "Sign the SHA-256 of the whole body; unsigned and streaming payloads are refused.",
        )


_AUTHORIZATION_FORM: Final = (
    "The Authorization header is not `AWS4-HMAC-SHA256 Credential=<key id>/<day>/<region>/"
    "<service>/aws4_request, SignedHeaders=<names>, Signature=<hexadecimal>`."
)


@lru_cache(maxsize=SCHEMES_CACHED_MAX)
def header_scheme(start: bytes) -> Scheme:
    """Read the header up to `Signature=`, which a client repeats all day long."""
    match = _AUTHORIZATION.fullmatch(start)
    if match is None:
        raise malformed(_AUTHORIZATION_FORM)
    return _scheme(match.group(1), match.group(2))


def _scheme(credential: bytes, names_text: bytes) -> Scheme:
    match = _CREDENTIAL.fullmatch(credential)
    if match is None:
        raise malformed("The credential is not <key id>/<day>/<region>/<service>/aws4_request.")
    key_id, date, region, service = match.groups()
    names = tuple(names_text.split(b";"))
    ordered = all(former < latter for former, latter in pairwise(names))
    if not _NAMES.fullmatch(names_text) or not all(names) or not ordered:
        raise malformed("SignedHeaders are lower-case names, sorted, joined by `;`, each once.")
    if b"host" not in names:
        raise SignatureRefused(
            SignatureProblem.UNSIGNED_HEADER, "The header host must be among the signed ones."
        )
    return Scheme(
        scope=Scope(
            access_key_id=key_id.decode(),
            date=date.decode(),
            region=region.decode(),
            service=service.decode(),
        ),
        scope_text=b"/".join((date, region, service, TERMINATOR)),
        names=names,
        names_text=names_text,
        signed=frozenset(names),
    )
