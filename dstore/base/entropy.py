"""Randomness, behind a port, so that a test or a simulation owns it (invariant I13).

Only this file asks the machine for randomness. Take an `Entropy` as a parameter elsewhere.
"""

import os
from typing import Protocol
from uuid import UUID

from dstore.base.limits import ENTROPY_BYTES_MAX


class Entropy(Protocol):
    """Give unpredictable bytes."""

    def token(self, bytes_count: int) -> bytes:
        """Return `bytes_count` random bytes, 1 <= bytes_count <= ENTROPY_BYTES_MAX."""

    def uuid(self) -> str:
        """Return a random version 4 UUID, lower case and hyphenated (36 characters)."""


class SystemEntropy:
    """Take bytes from the kernel's generator."""

    __slots__ = ()

    def token(self, bytes_count: int) -> bytes:
        """Return `bytes_count` random bytes, 1 <= bytes_count <= ENTROPY_BYTES_MAX."""
        assert 1 <= bytes_count <= ENTROPY_BYTES_MAX, bytes_count
        return os.urandom(bytes_count)

    def uuid(self) -> str:
        """Return a random version 4 UUID, lower case and hyphenated (36 characters)."""
        return uuid_from(self.token(16))


def uuid_from(token: bytes) -> str:
    """Spell 16 random bytes as a version 4 UUID; for every implementation of `Entropy`."""
    return str(UUID(bytes=token, version=4))
