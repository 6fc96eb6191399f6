"""Seal many values under one key, each bound to its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dstore.security.envelope import open_sealed, seal

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy
    from dstore.security.keys import Key256


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySealer:
    """What hides the embedded coordinator's file, for one; see `envelope`."""

    key: Key256 = field(repr=False)
    entropy: Entropy

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt and authenticate at most PLAINTEXT_BYTES_MAX bytes."""
        return seal(self.key, plaintext, context=context, entropy=self.entropy)

    def open_sealed(self, sealed: bytes, *, context: bytes) -> bytes:
        """Return what was sealed in this place. Raises: WrongKey."""
        return open_sealed(self.key, sealed, context=context)
