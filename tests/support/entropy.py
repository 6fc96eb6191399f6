"""Randomness that a seed replays."""

from random import Random

from dstore.base.entropy import uuid_from


class SeededEntropy:
    """An `Entropy` that draws from a given generator."""

    def __init__(self, random: Random) -> None:
        """Draw from `random`, which others may draw from as well."""
        self._random = random

    def token(self, bytes_count: int) -> bytes:
        """Return `bytes_count` bytes."""
        return self._random.randbytes(bytes_count)

    def uuid(self) -> str:
        """Return a version 4 UUID."""
        return uuid_from(self.token(16))
