"""The hash that places an entry: murmur3, x86, 32 bits, seed 0, of a key's canonical bytes.

It is the same on every platform and in every language; `docs/hash-vectors.md` has the vectors.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import mmh3

from dstore.model.errors import invalid
from dstore.model.numbers import canonical

HASH_MAX = 0xFFFF_FFFF


class KeyKind(StrEnum):
    """The types that a key can have, as DynamoDB abbreviates them."""

    STRING = "S"
    NUMBER = "N"
    BINARY = "B"


KeyValue = str | bytes
"""A key's value: text for a string, decimal text for a number, raw bytes for a binary."""


def hash_bytes(canonical_bytes: bytes) -> int:
    """Hash bytes that are canonical already; 0 <= result <= HASH_MAX."""
    return mmh3.hash(canonical_bytes, 0, False)  # noqa: FBT003 - mmh3 takes no keywords faster


def key_hash(kind: KeyKind, value: KeyValue) -> int:
    """Hash a partition key: equal keys have equal hashes, however a number is spelled.

    The canonical bytes are the UTF-8 of a string, the canonical decimal text of a number
    (`model.numbers.canonical`), and the raw bytes of a binary.

    Returns: an unsigned 32-bit hash.
    Raises: Refused: a number out of bounds, or a string that is no valid Unicode.
    """
    return hash_bytes(canonical_bytes(kind, value))


def canonical_bytes(kind: KeyKind, value: KeyValue) -> bytes:
    """Give the bytes that are hashed for a key."""
    match kind:
        case KeyKind.STRING:
            return string_bytes(value)
        case KeyKind.NUMBER:
            assert isinstance(value, str)
            return canonical(value).encode()
        case KeyKind.BINARY:
            assert isinstance(value, bytes)
            return value
    assert_never(kind)


def string_bytes(value: KeyValue) -> bytes:
    """Encode a string key as UTF-8; refuse half of a surrogate pair, which has no encoding."""
    assert isinstance(value, str)
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise invalid(
            f"A key holds half of a surrogate pair at character {error.start}; send valid Unicode."
        ) from None
