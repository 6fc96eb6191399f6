"""Sealed values open with the right key in the right place; damage is no wrong key."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from dstore.model.errors import Corrupt
from dstore.security.envelope import (
    KEY_CHECK_BYTES,
    SEALED_OVERHEAD_BYTES,
    WrappedKey,
    WrongKey,
    framed,
    key_check_value,
    open_sealed,
    seal,
)
from tests.unit.security.builders import SeededEntropy

KEK = bytes(range(32))
OTHER = bytes(range(1, 33))
DATA_KEY = bytes(range(100, 132))
FILE = "node/keys"


def wrapped() -> WrappedKey:
    """Wrap DATA_KEY under KEK, the same each time."""
    return WrappedKey.wrap(
        KEK, DATA_KEY, key_id="enrolment-1", context=b"node db", entropy=SeededEntropy()
    )


def test_the_layout_is_the_documented_one() -> None:
    """Stored bytes outlive the code: format byte, nonce, then RFC 8452's output."""
    sealed = seal(KEK, b"secret", context=b"place", entropy=SeededEntropy(7))
    nonce = SeededEntropy(7).token(12)
    expected = b"\x01" + nonce + AESGCMSIV(KEK).encrypt(nonce, b"secret", b"\x01place")
    assert expected == sealed
    assert len(sealed) == len(b"secret") + SEALED_OVERHEAD_BYTES


@pytest.mark.parametrize("plaintext", [b"", b"x", bytes(1000)])
def test_what_is_sealed_opens(plaintext: bytes) -> None:
    """The round trip holds for empty and long values too."""
    sealed = seal(KEK, plaintext, context=b"c", entropy=SeededEntropy())
    assert plaintext == open_sealed(KEK, sealed, context=b"c")


def test_equal_values_seal_differently() -> None:
    """A fixed nonce would show which values are equal."""
    entropy = SeededEntropy()
    first = seal(KEK, b"same", context=b"c", entropy=entropy)
    assert first != seal(KEK, b"same", context=b"c", entropy=entropy)


def test_another_key_place_or_any_flipped_bit_is_refused() -> None:
    """No value may open under another key, in another place, or changed in any bit."""
    sealed = seal(KEK, b"secret", context=b"place", entropy=SeededEntropy())
    with pytest.raises(WrongKey):
        open_sealed(OTHER, sealed, context=b"place")
    with pytest.raises(WrongKey):
        open_sealed(KEK, sealed, context=b"other place")
    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WrongKey):
            open_sealed(KEK, bytes(damaged), context=b"place")
    for length in range(len(sealed)):
        with pytest.raises(WrongKey):
            open_sealed(KEK, sealed[:length], context=b"place")


def test_framing_is_unambiguous() -> None:
    """Two different lists of names must never make the same context."""
    lists = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"abc", b""), (), (b"",)]
    assert len({framed(parts) for parts in lists}) == len(lists)


def test_the_check_value_tells_keys_and_ids_apart() -> None:
    """AES-GCM-SIV does not commit to its key; the check value does."""
    values = {key_check_value(key, name) for key in (KEK, OTHER) for name in ("a", "b")}
    assert len(values) == 4
    assert {KEY_CHECK_BYTES} == {len(value) for value in values}


def test_a_wrapped_key_unwraps() -> None:
    """The wrap survives its encoding."""
    stored = WrappedKey.from_bytes(wrapped().to_bytes(), file=FILE)
    assert wrapped() == stored
    assert stored.unwrap(KEK, context=b"node db", file=FILE) == DATA_KEY


def test_a_wrong_key_is_locked_not_corrupt() -> None:
    """An operator with a wrong key file must not be told that the disk is bad."""
    with pytest.raises(WrongKey, match="enrolment-1"):
        wrapped().unwrap(OTHER, context=b"node db", file=FILE)


@pytest.mark.parametrize("part", ["sealed", "check"])
def test_the_right_key_on_damaged_bytes_is_corrupt(part: str) -> None:
    """Damage with the right key at hand is the disk's business, and names the file."""
    good = wrapped()
    for index in range(len(getattr(good, part))):
        damaged = bytearray(getattr(good, part))
        damaged[index] ^= 0x10
        bad = (
            replace(good, sealed=bytes(damaged))
            if part == "sealed"
            else replace(good, check=bytes(damaged))
        )
        with pytest.raises(Corrupt) as caught:
            bad.unwrap(KEK, context=b"node db", file=FILE, where="slot 3")
        assert (caught.value.file, caught.value.where) == (FILE, "slot 3")


def test_a_wrap_moved_to_another_place_is_corrupt() -> None:
    """A wrap copied from another file or tenant must not open there."""
    with pytest.raises(Corrupt):
        wrapped().unwrap(KEK, context=b"other db", file=FILE)


def test_every_flipped_bit_and_truncation_of_an_encoded_wrap_is_corrupt() -> None:
    """Damage is found before any key is tried, in the key id as well."""
    encoded = wrapped().to_bytes()
    for bit in range(len(encoded) * 8):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Corrupt):
            WrappedKey.from_bytes(bytes(damaged), file=FILE)
    for length in range(len(encoded)):
        with pytest.raises(Corrupt):
            WrappedKey.from_bytes(encoded[:length], file=FILE)


def test_no_key_material_is_printed() -> None:
    """A wrapped key in a log or a traceback shows its id only."""
    assert repr(wrapped()) == "WrappedKey(key_id='enrolment-1')"
