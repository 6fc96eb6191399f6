"""Shares compose by XOR and HKDF; whatever would weaken the key is refused."""

import hashlib
import hmac

import pytest

from dstore.security.envelope import framed
from dstore.security.keys import SHARES_MAX, Purpose, derive, new_key
from tests.unit.security.builders import SeededEntropy

ENTROPY = SeededEntropy(3)
A, B, C, D = (new_key(ENTROPY) for _ in range(4))
TENANT_FILE = Purpose.TENANT_FILE


def xor(*keys: bytes) -> bytes:
    """XOR keys byte by byte."""
    total = bytes(32)
    for key in keys:
        total = bytes(x ^ y for x, y in zip(total, key, strict=True))
    return total


def hkdf(material: bytes, salt: bytes, info: bytes) -> bytes:
    """Write RFC 5869 out for one block, independently of the library."""
    pseudorandom = hmac.new(salt, material, hashlib.sha256).digest()
    return hmac.new(pseudorandom, info + b"\x01", hashlib.sha256).digest()


def test_the_derivation_is_the_documented_one() -> None:
    """Data outlives the code: XOR, then HKDF-SHA-256 over framed purpose and context."""
    info = framed((b"tenant-file", b"tenant", b"table"))
    expected = hkdf(xor(A, B, C), b"dStore/1/keys", info)
    assert expected == derive(A, B, C, purpose=TENANT_FILE, context=("tenant", "table"))


def test_the_oracle_agrees_with_rfc_5869() -> None:
    """The hand-written HKDF above is right (RFC 5869 A.1, its first 32 bytes)."""
    info = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    made = hkdf(b"\x0b" * 22, bytes(range(13)), info)
    assert made.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_the_order_of_shares_does_not_matter_and_each_is_needed() -> None:
    """XOR composes: any component may come first, none may be missing."""
    key = derive(A, B, C, purpose=TENANT_FILE, context=("t",))
    assert key == derive(C, A, B, purpose=TENANT_FILE, context=("t",))
    partial = {
        derive(*some, purpose=TENANT_FILE, context=("t",))
        for some in ((A,), (B,), (C,), (A, B), (B, C), (A, C), (A, B, D))
    }
    assert key not in partial
    assert len(partial) == 7


def test_purposes_and_contexts_give_unrelated_keys() -> None:
    """A key leaked from one place opens no other."""
    contexts = [("a", "b"), ("b", "a"), ("ab",), ("a", "b", ""), ()]
    keys = {derive(A, B, purpose=p, context=c) for p in Purpose for c in contexts}
    assert len(keys) == len(Purpose) * len(contexts)


def test_the_raw_xor_is_never_a_key() -> None:
    """Neither the XOR nor a lone share comes out as it went in."""
    assert derive(A, purpose=TENANT_FILE, context=()) != A
    assert derive(A, B, purpose=TENANT_FILE, context=()) != xor(A, B)


def test_three_leaked_keys_do_not_give_the_fourth() -> None:
    """K11 ^ K12 ^ K21 = K22 holds for raw XORs of shares; it must not hold for derived keys."""
    tenants, nodes = (A, B), (C, D)
    raw = [xor(t, n) for t in tenants for n in nodes]
    assert xor(raw[0], raw[1], raw[2]) == raw[3]
    same = [derive(t, n, purpose=TENANT_FILE, context=("x",)) for t in tenants for n in nodes]
    assert xor(same[0], same[1], same[2]) != same[3]


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((), "1 to 8 shares"),
        (tuple(new_key(ENTROPY) for _ in range(SHARES_MAX + 1)), "1 to 8 shares"),
        ((A[:31],), "32 bytes"),
        ((A, B + b"\0"), "32 bytes"),
        ((A, b""), "32 bytes"),
        ((A, A), "twice"),
        ((A, B, A), "twice"),
        ((bytes(32),), "zeros"),
        ((A, bytes(32)), "zeros"),
        ((A, B, xor(A, B)), "cancel"),
    ],
)
def test_weak_compositions_are_refused(shares: tuple[bytes, ...], said: str) -> None:
    """A key must hold as many secrets as it appears to; the refusal shows none of them."""
    with pytest.raises(ValueError, match=said) as caught:
        derive(*shares, purpose=TENANT_FILE, context=("t",))
    assert not any(share and share.hex() in str(caught.value) for share in shares)


def test_words_of_purpose_are_pinned() -> None:
    """Renaming one would make stored data unreadable."""
    assert {p.value for p in Purpose} == {
        "node-database",
        "control-file",
        "tenant-share",
        "tenant-file",
        "access-key",
        "deferred",
        "control-store",
        "topology-copy",
    }
