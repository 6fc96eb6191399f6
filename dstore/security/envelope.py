"""Seal small values under AES-256-GCM-SIV, and wrap one key under another.

`seal` and `open_sealed` are for whole values in one piece: wrapped keys, access-key secrets, rows
of the node database. Pages of a database file have their own layout (`storage.vault`).

The cipher is not key-committing: a crafted message may open under two keys. A wrapped key therefore
carries a key check value, which also tells a wrong key (the operator's or control's business: the
store is locked) from damaged bytes (the disk's business: `Corrupt`).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from dstore.model.errors import Corrupt, DStoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstore.base.entropy import Entropy

KEY_BYTES: Final = 32
FORMAT: Final = 1
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
# Format byte + nonce + tag: what a sealed value costs beyond its plaintext.
SEALED_OVERHEAD_BYTES: Final = 1 + NONCE_BYTES + TAG_BYTES
KEY_CHECK_BYTES: Final = 16
# One-shot sealing holds plaintext and ciphertext in memory; the largest value is a waiting
# write: a body of 1 MiB, an ID, and the headers that come with it.
PLAINTEXT_BYTES_MAX: Final = 2 << 20
# A key id is a UUID (36 characters) or a short name in front of one.
KEY_ID_BYTES_MAX: Final = 255

_FORMAT_BYTE: Final = bytes((FORMAT,))
_COMMITMENT_LABEL: Final = b"dStore/1/key-commitment"
_CHECKSUM_BYTES: Final = 8


class WrongKey(DStoreError):
    """The key does not open these bytes; whoever holds the right key may."""


def framed(parts: Iterable[bytes]) -> bytes:
    """Join parts so that no two different sequences give the same bytes.

    Each part stands behind its length (4 bytes, big endian), so ("ab", "c") and ("a", "bc") differ.
    Use it to build a `context` out of several names.
    """
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def seal(key: bytes, plaintext: bytes, *, context: bytes, entropy: Entropy) -> bytes:
    """Encrypt a value and bind it to its place.

    Args:
        key: 32 bytes.
        plaintext: at most PLAINTEXT_BYTES_MAX bytes.
        context: what the value is and where it stands (`framed` names); needed again to open it.
        entropy: source of the 96-bit nonce. A repeated nonce shows only that two equal values
            with equal contexts are equal (RFC 8452 section 9); up to 2**48 values per key are fine.

    Returns: format byte 1, nonce (12), ciphertext, tag (16).
    Cost: about 10 µs for 64 bytes, most of it the key schedule.
    """
    assert len(key) == KEY_BYTES
    assert len(plaintext) <= PLAINTEXT_BYTES_MAX
    nonce = entropy.token(NONCE_BYTES)
    return _FORMAT_BYTE + nonce + AESGCMSIV(key).encrypt(nonce, plaintext, _aad(context))


def open_sealed(key: bytes, sealed: bytes, *, context: bytes) -> bytes:
    """Decrypt what `seal` made with the same key and context.

    Raises: WrongKey: the bytes do not authenticate. That is a wrong key, another context or damage;
        the cipher cannot say which (`WrappedKey.unwrap` can).
    """
    assert len(key) == KEY_BYTES
    if len(sealed) < SEALED_OVERHEAD_BYTES or sealed[0] != FORMAT:
        raise WrongKey("The sealed value is not in a format that this version reads.")
    nonce = sealed[1 : 1 + NONCE_BYTES]
    try:
        return AESGCMSIV(key).decrypt(nonce, sealed[1 + NONCE_BYTES :], _aad(context))
    except InvalidTag:
        raise WrongKey("The sealed value does not open with this key in this place.") from None


def key_check_value(key: bytes, key_id: str) -> bytes:
    """Compute the 16 bytes that tell whether a key is the one with this id.

    HMAC-SHA-256 under a key derived from `key` for this alone, so the value may stand in clear.
    """
    assert len(key) == KEY_BYTES
    commitment_key = hmac.digest(key, _COMMITMENT_LABEL, "sha256")
    return hmac.digest(commitment_key, key_id.encode(), "sha256")[:KEY_CHECK_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key sealed under a key-encryption key; safe to store anywhere.

    Attributes:
        key_id: which key opens it (an enrolment's or a key's UUID); 1 to 255 bytes, in the seal.
        sealed: the data key, as `seal` made it.
        check: key check value of the key that opens it.
    """

    key_id: str
    sealed: bytes = field(repr=False)
    check: bytes = field(repr=False)

    @classmethod
    def wrap(
        cls, wrapping_key: bytes, data_key: bytes, *, key_id: str, context: bytes, entropy: Entropy
    ) -> Self:
        """Seal `data_key` under `wrapping_key`.

        Args:
            wrapping_key: 32 bytes, from `keys.derive`.
            data_key: 32 bytes.
            key_id: names `wrapping_key`.
            context: names what the data key is for; needed again to unwrap.
            entropy: source of the nonce.
        """
        assert len(data_key) == KEY_BYTES
        assert 1 <= len(key_id.encode()) <= KEY_ID_BYTES_MAX
        place = _wrap_context(key_id, context)
        sealed = seal(wrapping_key, data_key, context=place, entropy=entropy)
        check = key_check_value(wrapping_key, key_id)
        return cls(key_id=key_id, sealed=sealed, check=check)

    def unwrap(
        self, wrapping_key: bytes, *, context: bytes, file: str, where: str = "wrapped key"
    ) -> bytes:
        """Open the data key.

        Args:
            wrapping_key: 32 bytes.
            context: as given to `wrap`.
            file: where this was read from, relative to the data directory, to report damage.
            where: the place in that file.

        Returns: the 32-byte data key.

        Raises:
            WrongKey: `wrapping_key` did not seal it; the caller is locked, nothing is damaged.
            Corrupt: the key is right and the stored bytes, or their context, are not.
        """
        fits = hmac.compare_digest(key_check_value(wrapping_key, self.key_id), self.check)
        try:
            data_key = open_sealed(
                wrapping_key, self.sealed, context=_wrap_context(self.key_id, context)
            )
        except WrongKey:
            if fits:
                raise Corrupt(_DAMAGED, file=file, where=where) from None
            raise WrongKey(
                f"The key given is not key {self.key_id}, which opens this store."
            ) from None
        # It opened, so the key is right: then the check value is what was damaged or replaced.
        if not fits or len(data_key) != KEY_BYTES:
            raise Corrupt(_DAMAGED, file=file, where=where)
        return data_key

    def to_bytes(self) -> bytes:
        """Encode for a file: format byte, three framed fields, checksum (8)."""
        body = _FORMAT_BYTE + framed((self.key_id.encode(), self.sealed, self.check))
        return body + _checksum(body)

    @classmethod
    def from_bytes(cls, encoded: bytes, *, file: str, where: str = "wrapped key") -> Self:
        """Decode what `to_bytes` made.

        The checksum holds no secret: it finds damage before any key is tried, so that a damaged
        key id is not reported as a wrong key.

        Raises: Corrupt: the bytes are not what was written.
        """
        body, checksum = encoded[:-_CHECKSUM_BYTES], encoded[-_CHECKSUM_BYTES:]
        if body[:1] != _FORMAT_BYTE or _checksum(body) != checksum:
            raise Corrupt(_DAMAGED, file=file, where=where)
        key_id, sealed, check = _unframed(body[1:])
        return cls(key_id=key_id.decode(), sealed=sealed, check=check)


_DAMAGED: Final = "A wrapped key is damaged; restore it from a backup or from another replica."


def _aad(context: bytes) -> bytes:
    """Bind the format along with the place, so that no later format reads this one's bytes."""
    return _FORMAT_BYTE + context


def _wrap_context(key_id: str, context: bytes) -> bytes:
    """Bind a wrap to its kind, the id of the key that opens it, and the caller's place."""
    return framed((b"wrapped-key", key_id.encode(), context))


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECKSUM_BYTES]


def _unframed(encoded: bytes) -> tuple[bytes, ...]:
    """Split what `framed` joined; the caller has verified a checksum over it."""
    parts: list[bytes] = []
    at = 0
    while at < len(encoded):
        end = at + 4 + int.from_bytes(encoded[at : at + 4], "big")
        parts.append(encoded[at + 4 : end])
        at = end
    return tuple(parts)
