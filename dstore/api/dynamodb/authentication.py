"""Who sent a request: an access key names its tenant, and its signature proves it.

A right signature is verified by `service.access` and `security` alone. What is wrong with another
one is told here in DynamoDB's words and order, from the request as it came; nothing that is told
depends on a secret, or on which access keys there are, but for one bit: whether the key is known.

Source of words and order: what dynalite recorded of the service; AWS, "Signature Version 4 errors".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from dstore.api.dynamodb.errors import AwsError, Namespace, aws_error_of
from dstore.base.clock import US_PER_S
from dstore.base.limits import SIGV4_SKEW_S
from dstore.security.sigv4 import SignatureRefused
from dstore.service.access import SignedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from dstore.base.clock import Clock
    from dstore.service.access import Principal
    from dstore.service.use_cases import Gatekeeper

SERVICE: Final = "dynamodb"
_SERVICES: Final = frozenset({SERVICE})
# A content type or a coding changes nothing that DynamoDB would not refuse; the SDK for JavaScript,
# version 2, signs neither. All X-Amz headers must be signed, the target among them.
_BINDING: Final[frozenset[bytes]] = frozenset()
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_TERMINATOR: Final = "aws4_request"
_STAMP: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_STAMP_FORM: Final = "%Y%m%dT%H%M%SZ"
_IN_HEADER: Final = ("Credential", "Signature", "SignedHeaders")
_IN_QUERY: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
)
_CREDENTIAL_PARTS: Final = 5


class Authentication:
    """Name the tenant of a signed request; no other credential opens this door."""

    __slots__ = ("_access", "_clock")

    def __init__(self, access: Gatekeeper, clock: Clock) -> None:
        """Keep who knows the access keys, and what time it is."""
        self._access = access
        self._clock = clock

    def principal_of(self, request: web.Request, *, body_sha256: str) -> Principal:
        """Return whose request it is; a tenant's.

        Args:
            request: as it came.
            body_sha256: of the body as it was sent, lower-case hexadecimal.
        Raises: AwsError: what is wrong with the signature.
        """
        signed = _signed(request, body_sha256)
        try:
            return self._access.signature(signed)
        except SignatureRefused as refused:
            raise complaint(signed, refused, now_us=self._clock.wall_us()) from None

    def check_sender(self, request: web.Request) -> None:
        """Refuse a request that `principal_of` is going to refuse whatever its body.

        Raises: AwsError: as `principal_of` would.
        """
        signed = _signed(request, "")
        try:
            self._access.check_known(signed)
        except SignatureRefused as refused:
            raise complaint(signed, refused, now_us=self._clock.wall_us()) from None


def _signed(request: web.Request, body_sha256: str) -> SignedRequest:
    return SignedRequest(
        method=request.method,
        target=request.raw_path,
        headers=request.raw_headers,
        body_sha256=body_sha256,
        services=_SERVICES,
        binding=_BINDING,
    )


def complaint(request: SignedRequest, refused: SignatureRefused, *, now_us: int) -> AwsError:
    """Say what is wrong with a refused request's signature, the first thing that DynamoDB sees.

    Args:
        request: as it was verified.
        refused: why it was refused.
        now_us: the time of the refusal, microseconds since 1970 UTC.
    """
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace").strip()
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    query = _query_of(request.target)
    authorization = headers.get("authorization")
    if authorization is not None and "X-Amz-Algorithm" in query:
        return _invalid(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP "
            "header."
        )
    if authorization is not None and authorization.startswith("AWS4-"):
        claimed = _claimed_in_header(authorization, headers)
    elif authorization is None and "X-Amz-Algorithm" in query:
        claimed = _claimed_in_query(query)
    else:
        return _of_service(
            "MissingAuthenticationTokenException", "Request is missing Authentication Token"
        )
    if isinstance(claimed, AwsError):
        return claimed
    return _first_fault(claimed, now_us=now_us) or aws_error_of(refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claimed:
    """The parts of a signature as text, whatever they are."""

    algorithm: str
    credential: str
    signed_headers: str
    stamp: str
    life_s: int


def _claimed_in_header(authorization: str, headers: Mapping[str, str]) -> _Claimed | AwsError:
    algorithm, _, rest = authorization.partition(" ")
    parts = dict(part.partition("=")[::2] for part in re.split("[, ]+", rest) if part)
    stamp = headers.get("x-amz-date") or headers.get("date") or ""
    faults = [
        f"Authorization header requires '{name}' parameter."
        for name in _IN_HEADER
        if not parts.get(name)
    ]
    if not stamp:
        faults.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    if faults:
        return _incomplete(" ".join((*faults, f"Authorization={authorization}")))
    return _Claimed(
        algorithm=algorithm,
        credential=parts["Credential"],
        signed_headers=parts["SignedHeaders"],
        stamp=stamp,
        life_s=SIGV4_SKEW_S,
    )


def _claimed_in_query(query: Mapping[str, str]) -> _Claimed | AwsError:
    faults = [
        f"AWS query-string parameters must include '{name}'."
        for name in _IN_QUERY
        if not query.get(name)
    ]
    if faults:
        return _incomplete(" ".join((*faults, "Re-examine the query-string parameters.")))
    expires = query.get("X-Amz-Expires", "")
    return _Claimed(
        algorithm=query["X-Amz-Algorithm"],
        credential=query["X-Amz-Credential"],
        signed_headers=query["X-Amz-SignedHeaders"],
        stamp=query["X-Amz-Date"],
        life_s=int(expires) if re.fullmatch("[0-9]{1,6}", expires) else SIGV4_SKEW_S,
    )


def _first_fault(claimed: _Claimed, *, now_us: int) -> AwsError | None:
    """Find what DynamoDB would complain of before it looks for the access key."""
    signed_at_s = _seconds(claimed.stamp)
    if signed_at_s is None:
        return _incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{claimed.stamp}'. See "
            "http://en.wikipedia.org/wiki/ISO_8601"
        )
    now_s = now_us // US_PER_S
    if now_s - signed_at_s > claimed.life_s:
        return _invalid(
            f"Signature expired: {claimed.stamp} is now earlier than "
            f"{_stamp(now_s - claimed.life_s)} ({_stamp(now_s)} - {_minutes(claimed.life_s)})"
        )
    if signed_at_s - now_s > SIGV4_SKEW_S:
        return _invalid(
            f"Signature not yet current: {claimed.stamp} is still later than "
            f"{_stamp(now_s + SIGV4_SKEW_S)} ({_stamp(now_s)} + {_minutes(SIGV4_SKEW_S)})"
        )
    if "host" not in claimed.signed_headers.lower().split(";"):
        return _invalid("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if claimed.algorithm != _ALGORITHM:
        # The service's own words, with its space at the end.
        only = f"(only {_ALGORITHM} for " + "now). "
        return _incomplete(f"Unsupported AWS 'algorithm': '{claimed.algorithm}' {only}")
    return _credential_fault(claimed)


def _credential_fault(claimed: _Claimed) -> AwsError | None:
    parts = claimed.credential.rstrip("/").split("/")
    if len(parts) != _CREDENTIAL_PARTS:
        return _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. "
            f"keyid/date/region/service/term, got '{claimed.credential}'"
        )
    _, day, region, service, terminator = parts
    faults = []
    if not region:
        faults.append("Credential should be scoped to a valid region, not ''.")
    if service != SERVICE:
        faults.append(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if terminator != _TERMINATOR:
        faults.append(
            f"Credential should be scoped with a valid terminator: '{_TERMINATOR}', "
            f"not '{terminator}'."
        )
    if day != claimed.stamp[:8]:
        faults.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{day}' != '{claimed.stamp[:8]}', from '{claimed.stamp}'."
        )
    return _invalid(" ".join(faults)) if faults else None


def _query_of(target: str) -> dict[str, str]:
    """Read the query's parameters; of one that comes twice, the first."""
    query: dict[str, str] = {}
    for part in target.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        query.setdefault(name, unquote(value, errors="replace"))
    return query


def _seconds(stamp: str) -> int | None:
    if not _STAMP.fullmatch(stamp):
        return None
    try:
        return int(datetime.strptime(stamp, _STAMP_FORM).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime(_STAMP_FORM)


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} min." if seconds % 60 == 0 else f"{seconds} s."


def _invalid(message: str) -> AwsError:
    return _of_service("InvalidSignatureException", message)


def _incomplete(message: str) -> AwsError:
    return _of_service("IncompleteSignatureException", message)


def _of_service(name: str, message: str) -> AwsError:
    return AwsError(name, message, namespace=Namespace.SERVICE)
