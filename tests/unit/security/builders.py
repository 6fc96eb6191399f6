"""What the tests of this folder share: seeded entropy, and botocore as an independent signer."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import patch
from uuid import UUID

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dstore.security.credentials import AccessKey, AccessKeyId
from dstore.security.sigv4 import SigningKey, date_key, signing_key
from dstore.security.sigv4_request import Claim, read_claim, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = AccessKey(id=AccessKeyId("AKIDEXAMPLE"), secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
NOW_US = 1_440_938_160_000_000
HOST = "db.example.net:8000"
SERVICES = frozenset({"dynamodb", "dstore", "iam", "service"})


class SeededEntropy:
    """Entropy that replays."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def token(self, bytes_count: int) -> bytes:
        """Return the next pseudo-random bytes."""
        return self._random.randbytes(bytes_count)

    def uuid(self) -> str:
        """Return the next pseudo-random UUID."""
        return str(UUID(bytes=self.token(16), version=4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A request as a server receives it."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes:
        """Return the value of a header that is there once."""
        (value,) = [value for key, value in self.headers if key.lower() == name]
        return value

    def with_header(self, name: bytes, value: bytes) -> Wire:
        """Return the request with one more header line."""
        return self.with_headers((*self.headers, (name, value)))

    def with_headers(self, headers: tuple[tuple[bytes, bytes], ...]) -> Wire:
        """Return the request with other headers."""
        return Wire(method=self.method, target=self.target, headers=headers, body=self.body)

    def with_target(self, target: str) -> Wire:
        """Return the request with another target."""
        return Wire(method=self.method, target=target, headers=self.headers, body=self.body)


def key_of(claim: Claim, secret: str = KEY.secret) -> SigningKey:
    """Derive the signing key of a claim."""
    day = date_key(secret, claim.scope.date)
    return signing_key(day, region=claim.scope.region, service=claim.scope.service)


def check(wire: Wire, *, now_us: int = NOW_US) -> Claim:
    """Read and verify a request; KEY is the only access key there is."""
    claim = read_claim(wire.method, wire.target, wire.headers, services=SERVICES)
    digest = hashlib.sha256(wire.body).hexdigest()
    key = key_of(claim) if claim.scope.access_key_id == KEY.id else None
    verify(claim, body_sha256=digest, key=key, now_us=now_us)
    return claim


def boto_signed(
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    expires_s: int | None = None,
    service: str = "dynamodb",
) -> Wire:
    """Sign with botocore, in the headers, or in the query if `expires_s` is given."""
    request = AWSRequest(
        method=method,
        url=f"http://{HOST}{target}",
        data=body,
        headers={"Host": HOST, **(headers or {})},
    )
    credentials = Credentials(KEY.id, KEY.secret)
    if expires_s is None:
        signer = botocore.auth.SigV4Auth(credentials, service, "us-east-1")
    else:
        signer = botocore.auth.SigV4QueryAuth(credentials, service, "us-east-1", expires=expires_s)
    with patch("botocore.auth.get_current_datetime", return_value=NOW):
        signer.add_auth(request)
    raw = tuple((name.encode(), value.encode()) for name, value in request.headers.items())
    sent = request.url.removeprefix(f"http://{HOST}")
    return Wire(method=method, target=sent, headers=raw, body=body)
