"""The credentials that clients hold: bearer tokens, and access keys as AWS shapes them.

A token is stored only as its SHA-256: it has 256 bits of randomness, so a slow hash adds nothing.
An access key's secret must be recoverable (SigV4 is symmetric), so it is stored sealed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode, b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NewType

from dstore.base.limits import (
    ACCESS_KEY_ID_CHARS_MAX,
    ACCESS_KEY_ID_CHARS_MIN,
    ACCESS_KEY_SECRET_CHARS_MAX,
    ACCESS_KEY_SECRET_CHARS_MIN,
)
from dstore.model.errors import invalid

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy

TokenId = NewType("TokenId", str)
AccessKeyId = NewType("AccessKeyId", str)

TOKEN_PREFIX: Final = "dst_"  # noqa: S105 - a public prefix, by which leaked tokens are found
# Longer input is refused before it is hashed; our own tokens have 4 + 12 + 1 + 43 = 60 characters.
TOKEN_CHARS_MAX: Final = 160
ACCESS_KEY_PREFIX: Final = "DSAK"

_TOKEN_ID_ENTROPY_BYTES: Final = 8  # 13 base32 characters, of which 12 (60 bits) are kept
_TOKEN_ID_CHARS: Final = 12
_TOKEN_SECRET_BYTES: Final = 32  # 43 base64url characters
_ACCESS_KEY_ID_BYTES: Final = 10  # 16 base32 characters
_ACCESS_KEY_SECRET_BYTES: Final = 30  # 40 base64 characters

_TOKEN: Final = re.compile(r"dst_([a-z2-7]{12})_[A-Za-z0-9_-]{32,143}", re.ASCII)
_ACCESS_KEY_ID: Final = re.compile(
    rf"[A-Za-z0-9_]{{{ACCESS_KEY_ID_CHARS_MIN},{ACCESS_KEY_ID_CHARS_MAX}}}", re.ASCII
)
_ACCESS_KEY_SECRET: Final = re.compile(
    rf"[!-~]{{{ACCESS_KEY_SECRET_CHARS_MIN},{ACCESS_KEY_SECRET_CHARS_MAX}}}", re.ASCII
)
# Stands in for the digest of a token that does not exist, so that both answers cost the same.
_NO_DIGEST: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What is stored of a bearer token.

    Attributes:
        id: the public part, by which it is found, listed and revoked.
        digest: SHA-256 of the whole token text, 32 bytes.
    """

    id: TokenId
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """An access key: the public id, and the secret that signs."""

    id: AccessKeyId
    secret: str = field(repr=False)


def new_token(entropy: Entropy) -> tuple[str, TokenRecord]:
    """Make a bearer token: `dst_<12 lower-case base32>_<43 base64url>`.

    Returns: the text, to be shown once, and the record to keep.
    """
    public = b32encode(entropy.token(_TOKEN_ID_ENTROPY_BYTES)).decode()
    secret = urlsafe_b64encode(entropy.token(_TOKEN_SECRET_BYTES)).decode().rstrip("=")
    token_id = TokenId(public[:_TOKEN_ID_CHARS].lower())
    text = f"{TOKEN_PREFIX}{token_id}_{secret}"
    return text, TokenRecord(id=token_id, digest=_digest(text))


def token_id(text: str) -> TokenId | None:
    """Read a token's public id, by which its record is found; None if the text is no token."""
    if len(text) > TOKEN_CHARS_MAX:
        return None
    match = _TOKEN.fullmatch(text)
    return TokenId(match.group(1)) if match else None


def token_is_valid(text: str, record: TokenRecord | None) -> bool:
    """Compare a presented token with the record found under its id, in constant time.

    Args:
        text: as presented, any text.
        record: None if there is no such token; the work is the same and the answer False.
    """
    if len(text) > TOKEN_CHARS_MAX:
        return False
    expected = _NO_DIGEST if record is None else record.digest
    matches = hmac.compare_digest(_digest(text), expected)
    return matches and record is not None


def new_access_key(entropy: Entropy) -> AccessKey:
    """Make an access key: id `DSAK` + 16 upper-case base32 (20 as AWS has), secret 40 base64."""
    tail = b32encode(entropy.token(_ACCESS_KEY_ID_BYTES)).decode()
    secret = b64encode(entropy.token(_ACCESS_KEY_SECRET_BYTES)).decode()
    return AccessKey(id=AccessKeyId(ACCESS_KEY_PREFIX + tail), secret=secret)


def imported_access_key(key_id: str, secret: str) -> AccessKey:
    """Accept a given id and secret, from a migration or a test.

    Raises: Refused(INVALID): the id is not 16 to 128 of A-Z a-z 0-9 _ (AWS's own rule for ids), or
        the secret is not 8 to 128 printable ASCII characters without a space.
    """
    if not _ACCESS_KEY_ID.fullmatch(key_id):
        raise invalid(
            f"An access key id has {ACCESS_KEY_ID_CHARS_MIN} to {ACCESS_KEY_ID_CHARS_MAX} "
            "characters, letters, digits or underscores."
        )
    if not _ACCESS_KEY_SECRET.fullmatch(secret):
        raise invalid(
            f"An access key's secret has {ACCESS_KEY_SECRET_CHARS_MIN} to "
            f"{ACCESS_KEY_SECRET_CHARS_MAX} printable ASCII characters without spaces."
        )
    return AccessKey(id=AccessKeyId(key_id), secret=secret)


def _digest(text: str) -> bytes:
    # A lone surrogate from a header must not raise here: it simply matches nothing.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
