"""Join tokens: what an operator carries from control to a component that is to be admitted.

    dstore-join-v1.<base64url of JSON and its checksum>

The joiner reads everything it needs from the token: which control plane, where, what it is to
become, and the fingerprint by which it knows control's authority. Control keeps the id and a digest
of the secret; role, expiry and that it is used once are checked against its own record, never
against what a token says of itself.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.clock import US_PER_S
from dstore.base.limits import (
    ADDRESS_CHARS_MAX,
    JOIN_ADDRESSES_MAX,
    JOIN_TOKEN_CHARS_MAX,
    JOIN_TOKEN_LIFE_S,
    JOIN_TOKEN_LIFE_S_MAX,
)
from dstore.model.errors import RefusalKind, Refused, invalid
from dstore.security.envelope import framed
from dstore.security.identity import UUID_FORM, ComponentRole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.base.entropy import Entropy

PREFIX: Final = "dstore-join-v1."
SECRET_BYTES: Final = 32

_ID_ENTROPY_BYTES: Final = 8  # 13 base32 characters, of which 12 (60 bits) are kept
_ID_CHARS: Final = 12
_CHECKSUM_BYTES: Final = 4
_DIGEST_LABEL: Final = b"dStore/1/join-token"
# Stands in for the digest of a token that does not exist, so that both answers cost the same.
_NO_DIGEST: Final = bytes(32)
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ID: Final = re.compile(r"[a-z2-7]{12}", re.ASCII)
_PLANE: Final = re.compile(UUID_FORM, re.ASCII)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
# A host name, an IPv4 address or an IPv6 address in brackets, and a port.
_ADDRESS: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", re.ASCII
)
_PORT_MAX: Final = 65_535

_NOT_OURS: Final = (
    f"This is no join token; one begins with {PREFIX} and is printed by `dstore control token "
    "create`."
)
_DAMAGED: Final = (
    "The join token is incomplete or mistyped; copy it whole, or create another one with `dstore "
    "control token create`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """What a join token says.

    Attributes:
        control_plane: UUID.
        role: what whoever joins with it becomes.
        token_id: its public part, 12 characters; logs and lists may show it.
        secret: SECRET_BYTES bytes, sent to control and to nobody else.
        fingerprint: of control's authority, see `certificates.fingerprint_of`.
        addresses: `host:port` of controls' peer listeners, 1 to JOIN_ADDRESSES_MAX.
        expires_at_us: wall clock of control, microseconds since 1970 UTC.
    """

    control_plane: str
    role: ComponentRole
    token_id: str
    secret: bytes = field(repr=False)
    fingerprint: str
    addresses: tuple[str, ...]
    expires_at_us: int

    def text(self) -> str:
        """Spell the token, to be shown once."""
        body = msgspec.json.encode(
            _Body(
                control_plane=self.control_plane,
                role=self.role.value,
                token_id=self.token_id,
                secret=_unpadded(self.secret),
                fingerprint=self.fingerprint,
                addresses=self.addresses,
                expires_at_us=self.expires_at_us,
            )
        )
        return PREFIX + _unpadded(body + _checksum(body))

    def digest(self) -> bytes:
        """What control keeps of the secret, see `secret_digest`."""
        return secret_digest(self.token_id, self.secret)


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    control_plane: str
    role: str
    token_id: str
    secret: str
    fingerprint: str
    addresses: tuple[str, ...]
    expires_at_us: int


def new_join_token(
    *,
    control_plane: str,
    role: ComponentRole,
    fingerprint: str,
    addresses: Sequence[str],
    now_us: int,
    entropy: Entropy,
    life_s: int = JOIN_TOKEN_LIFE_S,
) -> JoinToken:
    """Draw a token. Control stores its `digest()`, and shows its `text()` once.

    Raises: Refused(INVALID): a life of not 1 to JOIN_TOKEN_LIFE_S_MAX seconds, or addresses that
        nobody could dial.
    """
    if not 1 <= life_s <= JOIN_TOKEN_LIFE_S_MAX:
        raise invalid(f"A join token lives 1 to {JOIN_TOKEN_LIFE_S_MAX} seconds.")
    if not 1 <= len(addresses) <= JOIN_ADDRESSES_MAX:
        raise invalid(f"A join token carries 1 to {JOIN_ADDRESSES_MAX} addresses of controls.")
    for address in addresses:
        if not _is_address(address):
            raise invalid("An address of control in a join token is `host:port`.")
    token = JoinToken(
        control_plane=control_plane,
        role=role,
        token_id=b32encode(entropy.token(_ID_ENTROPY_BYTES)).decode()[:_ID_CHARS].lower(),
        secret=entropy.token(SECRET_BYTES),
        fingerprint=fingerprint,
        addresses=tuple(addresses),
        expires_at_us=now_us + life_s * US_PER_S,
    )
    assert len(token.text()) <= JOIN_TOKEN_CHARS_MAX
    return token


def parse_join_token(text: str) -> JoinToken:
    """Read a token that an operator gave; white space around it does not count.

    Raises: Refused(INVALID): it is none, is damaged, or of a later dStore. Nothing of it is quoted.
    """
    stripped = text.strip()
    if not stripped.startswith(PREFIX):
        if stripped.startswith(PREFIX.partition("-v")[0]):
            raise invalid("The join token is of another version of dStore; use the same on both.")
        raise invalid(_NOT_OURS)
    encoded = stripped.removeprefix(PREFIX)
    if len(stripped) > JOIN_TOKEN_CHARS_MAX or not _TEXT.fullmatch(encoded):
        raise invalid(_DAMAGED)
    whole = _decoded(encoded)
    body, checksum = whole[:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
    if _checksum(body) != checksum:
        raise invalid(_DAMAGED)
    try:
        return _token(msgspec.json.decode(body, type=_Body))
    except msgspec.DecodeError:
        raise invalid(_DAMAGED) from None


def require_usable(token: JoinToken, *, role: ComponentRole, now_us: int) -> None:
    """Let a joiner notice before it dials what control would refuse.

    Its clock may be off, so only a token that ended long ago by it is given up here; control
    decides by its own clock.

    Raises: Refused(UNAUTHENTICATED): the token is for another role, or has ended.
    """
    if token.role is not role:
        raise Refused(
            RefusalKind.UNAUTHENTICATED,
            f"This join token admits a {token.role}, not a {role}; create one with --role {role}.",
        )
    if now_us - token.expires_at_us > JOIN_TOKEN_LIFE_S_MAX * US_PER_S:
        raise Refused(
            RefusalKind.UNAUTHENTICATED, "This join token has expired; create another one."
        )


def secret_digest(token_id: str, secret: bytes) -> bytes:
    """Compute what control stores: SHA-256 over the id and the secret, 32 bytes.

    The secret has 256 random bits, so a slow hash adds nothing.
    """
    return hashlib.sha256(framed((_DIGEST_LABEL, token_id.encode(), secret))).digest()


def secret_is_right(token_id: str, secret: bytes, digest: bytes | None) -> bool:
    """Compare a presented secret with the stored digest, in constant time.

    Args:
        token_id: as presented.
        secret: as presented, of any length.
        digest: None if there is no such token; the work is the same and the answer False.
    """
    expected = _NO_DIGEST if digest is None else digest
    return hmac.compare_digest(secret_digest(token_id, secret), expected) and digest is not None


def _token(body: _Body) -> JoinToken:
    """Check every field; the checksum keeps typing mistakes out, and nothing else."""
    secret = _decoded(body.secret) if _TEXT.fullmatch(body.secret) else b""
    is_whole = (
        _PLANE.fullmatch(body.control_plane)
        and body.role in set(ComponentRole)
        and _ID.fullmatch(body.token_id)
        and len(secret) == SECRET_BYTES
        and _FINGERPRINT.fullmatch(body.fingerprint)
        and 1 <= len(body.addresses) <= JOIN_ADDRESSES_MAX
        and all(_is_address(address) for address in body.addresses)
        and body.expires_at_us > 0
    )
    if not is_whole:
        raise invalid(_DAMAGED)
    return JoinToken(
        control_plane=body.control_plane,
        role=ComponentRole(body.role),
        token_id=body.token_id,
        secret=secret,
        fingerprint=body.fingerprint,
        addresses=body.addresses,
        expires_at_us=body.expires_at_us,
    )


def _is_address(text: str) -> bool:
    match = _ADDRESS.fullmatch(text) if len(text) <= ADDRESS_CHARS_MAX else None
    return match is not None and 1 <= int(match[1]) <= _PORT_MAX


def _decoded(text: str) -> bytes:
    """Decode base64url without its padding; `text` holds its alphabet only."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise invalid(_DAMAGED) from None


def _unpadded(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECKSUM_BYTES]
