"""The placing hash, held to the published vectors of docs/hash-vectors.md and to a second reading.

`mmh3` could change under us, and other languages have to agree: so the page is the contract.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.model.errors import Refused
from dstore.model.hashing import HASH_MAX, KeyKind, hash_bytes, key_hash
from dstore.model.numbers import canonical

PAGE = Path(__file__).parents[3] / "docs" / "hash-vectors.md"
WORD = 0xFFFF_FFFF


def vectors(heading: str) -> list[list[str]]:
    """Read the rows of the table under a heading of the page, back-quotes taken off."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def murmur3(data: bytes) -> int:
    """Compute murmur3 x86_32 with seed 0 slowly, from its published description."""

    def scrambled(block: int) -> int:
        block = block * 0xCC9E2D51 & WORD
        block = (block << 15 | block >> 17) & WORD
        return block * 0x1B873593 & WORD

    whole = len(data) // 4 * 4
    state = 0
    for at in range(0, whole, 4):
        state ^= scrambled(int.from_bytes(data[at : at + 4], "little"))
        state = (state << 13 | state >> 19) & WORD
        state = (state * 5 + 0xE6546B64) & WORD
    state ^= scrambled(int.from_bytes(data[whole:], "little")) ^ len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & WORD
    state = (state ^ state >> 13) * 0xC2B2AE35 & WORD
    return state ^ state >> 16


@pytest.mark.parametrize("row", vectors("Published vectors"), ids=lambda row: str(row[0]))
def test_published_vectors(row: list[str]) -> None:
    """The hash is the murmur3 that the rest of the world computes."""
    data = b"" if row[0] == "-" else bytes.fromhex(row[0])
    assert int(row[2], 16) == hash_bytes(data) == murmur3(data)


@pytest.mark.parametrize("row", vectors("Strings"), ids=lambda row: str(row[0]))
def test_string_vectors(row: list[str]) -> None:
    """A string is hashed as its UTF-8, as the page promises to other languages."""
    assert int(row[1], 16) == key_hash(KeyKind.STRING, json.loads(row[0]))


@pytest.mark.parametrize("row", vectors("Numbers"), ids=lambda row: str(row[0]))
def test_number_vectors(row: list[str]) -> None:
    """A number is hashed as its canonical text, however it is spelled."""
    number, text, hashed = row
    assert text == canonical(number)
    assert int(hashed, 16) == key_hash(KeyKind.NUMBER, number) == murmur3(text.encode())


@pytest.mark.parametrize("row", vectors("Binaries"), ids=lambda row: str(row[0]))
def test_binary_vectors(row: list[str]) -> None:
    """A binary is hashed raw, not as its base64."""
    assert int(row[1], 16) == key_hash(KeyKind.BINARY, bytes.fromhex(row[0]))


def test_the_page_has_vectors() -> None:
    """A renamed heading must not silently turn the page's tests into nothing."""
    counts = [len(vectors(h)) for h in ("Published vectors", "Strings", "Numbers", "Binaries")]
    assert counts == [15, 8, 28, 6]


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    """The library agrees with the description on every length of tail, unsigned."""
    assert 0 <= hash_bytes(data) <= HASH_MAX
    assert hash_bytes(data) == murmur3(data)


def test_a_lone_surrogate_has_no_hash() -> None:
    """A string without an encoding is refused instead of failing inside the library."""
    with pytest.raises(Refused, match="surrogate"):
        key_hash(KeyKind.STRING, "a\ud800")
