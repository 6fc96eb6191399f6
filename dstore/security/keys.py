"""Compose 256-bit keys out of the shares that several components hold.

The composition is XOR, so every share is needed; the XOR itself is never a key. It passes through
HKDF-SHA-256 together with the key's purpose and context. Without that step keys would be linearly
related: with tenant shares t1, t2 and node shares n1, n2 the plain XORs satisfy
K11 ^ K12 ^ K21 = K22, and three leaked keys would give the fourth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dstore.security.envelope import KEY_BYTES, framed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.base.entropy import Entropy

Key256 = NewType("Key256", bytes)

# A share per component on the way: node, control, tenant on each; 8 leaves room to grow.
SHARES_MAX: Final = 8

_SALT: Final = b"dStore/1/keys"


class Purpose(StrEnum):
    """What a derived key may be used for; the word is part of the derivation, never rename one."""

    NODE_DATABASE = "node-database"  # wraps the data key of a node's own database
    TENANT_SHARE = "tenant-share"  # wraps a tenant's (tenant, node) share in the node database
    TENANT_FILE = "tenant-file"  # wraps the data key of one range file
    DEFERRED = "deferred"  # seals writes that were accepted with 202, until they are done
    ACCESS_KEY = "access-key"  # seals the secrets of access keys
    CONTROL_STORE = "control-store"  # seals one kind of key or secret in control's store
    CONTROL_FILE = "control-file"  # encrypts a file of control's that lies beside a node's
    TOPOLOGY_COPY = "topology-copy"  # seals a process's last known good topology


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlShare:
    """A share that a control plane holds: of a node's database, or of a tenant's files.

    It is in memory only, and gone with the process (DESIGN section 5).

    Attributes:
        control_plane: the UUID of whom it came from.
        key: the (node, control) or the (tenant, control) key.
    """

    control_plane: str
    key: Key256 = field(repr=False)


def new_key(entropy: Entropy) -> Key256:
    """Draw a fresh key or share."""
    return Key256(entropy.token(KEY_BYTES))


def derive(*shares: bytes, purpose: Purpose, context: Sequence[str]) -> Key256:
    """Compose shares into the key for one purpose in one place.

    Args:
        shares: 1 to SHARES_MAX independent uniform keys of 32 bytes; their order does not matter.
        purpose: keys of different purposes say nothing of each other.
        context: names of the place (tenant UUID, table id, generation …), in a fixed order;
            ("a", "b"), ("ab",) and ("b", "a") give unrelated keys.

    Raises: ValueError: no share, too many, one that is not 32 bytes, an all-zero share or XOR, or
        a share given twice. Each would leave fewer secrets in the key than it appears to have.
    Cost: about 20 µs; keep the result, in memory only.
    """
    material = _combined(shares)
    info = framed((purpose.value.encode(), *(name.encode() for name in context)))
    hkdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=_SALT, info=info)
    return Key256(hkdf.derive(material))


def _combined(shares: Sequence[bytes]) -> bytes:
    """XOR the shares, refusing whatever cancels; no message ever holds key material."""
    if not 1 <= len(shares) <= SHARES_MAX:
        raise ValueError(f"A key is composed of 1 to {SHARES_MAX} shares, not {len(shares)}.")
    if any(len(share) != KEY_BYTES for share in shares):
        raise ValueError(f"Every share of a key has exactly {KEY_BYTES} bytes.")
    if len(set(shares)) != len(shares):
        raise ValueError("A share was given twice; equal shares cancel each other.")
    if any(not any(share) for share in shares):
        raise ValueError("A share is all zeros; the file or answer that it came from is damaged.")
    total = 0
    for share in shares:
        total ^= int.from_bytes(share, "big")
    if total == 0:
        raise ValueError("The shares cancel each other to zero; at least one must be replaced.")
    return total.to_bytes(KEY_BYTES, "big")
