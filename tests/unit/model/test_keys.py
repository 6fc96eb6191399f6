"""RID_ID by example: bytes that stored files and other readers depend on."""

from __future__ import annotations

import pytest

from dstore.model.errors import Corrupt, Refused
from dstore.model.keys import (
    HASH_MAX,
    KeyKind,
    KeyValue,
    decode_key,
    encode_key,
    hash_bounds,
    partition_prefix,
    prefix_end,
    sort_component,
    sort_prefix,
)

S, N, B = KeyKind.STRING, KeyKind.NUMBER, KeyKind.BINARY


@pytest.mark.parametrize(
    ("partition", "sort", "encoded"),
    [
        ((S, "abc"), None, "b3dd93fa 616263 0001"),
        ((S, "abc"), (S, "d"), "b3dd93fa 616263 0001 64 0001"),
        ((B, b"\x00"), (B, b"\xff"), "514e28b7 00ff 0001 ff 0001"),
        ((B, b"abc"), (N, "0"), "b3dd93fa 616263 0001 02"),
        ((B, b"abc"), (N, "12.5"), "b3dd93fa 616263 0001 03 8001 0d 33 00"),
        ((B, b"abc"), (N, "-12.5"), "b3dd93fa 616263 0001 01 7ffe f2 cc ff"),
    ],
)
def test_stored_form(
    partition: tuple[KeyKind, KeyValue], sort: tuple[KeyKind, KeyValue] | None, encoded: str
) -> None:
    """The bytes are a file format: a change here orphans every stored entry."""
    rid_id = encode_key(partition, sort)
    assert encoded.replace(" ", "") == rid_id.hex()
    hashed, first, second = decode_key(rid_id, partition[0], sort[0] if sort else None)
    assert hashed == int(encoded[:8], 16)
    assert (first, second) == (partition[1], sort[1] if sort else None)


def test_an_escape_is_not_taken_for_the_next_component() -> None:
    """A sort key that begins with FF must not read as an escaped NUL of the partition key."""
    joined = encode_key((B, b"a"), (B, b"\xffb"))
    assert decode_key(joined, B, B)[1:] == (b"a", b"\xffb")
    alone = encode_key((B, b"a\x00b"))[4:]
    assert not alone.startswith(partition_prefix((B, b"a"))[4:])


@pytest.mark.parametrize("kind", [S, B])
@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (2_048, True), (2_049, False)])
def test_partition_length(*, kind: KeyKind, length: int, fits: bool) -> None:
    """The partition key's bounds are DynamoDB's, in bytes before escaping."""
    value: KeyValue = "\0" * length if kind is S else b"\0" * length
    if fits:
        assert decode_key(encode_key((kind, value)), kind)[1] == value
    else:
        with pytest.raises(Refused, match="partition key"):
            encode_key((kind, value))


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (1_024, True), (1_025, False)])
def test_sort_length(*, length: int, fits: bool) -> None:
    """The sort key's bounds are DynamoDB's."""
    if fits:
        sort_component((S, "x" * length))
    else:
        with pytest.raises(Refused, match="sort key"):
            encode_key((S, "a"), (S, "x" * length))


def test_length_counts_utf8() -> None:
    """A bound in bytes is not fooled by characters of three bytes."""
    encode_key((S, "東" * 682))
    with pytest.raises(Refused, match="2049 bytes"):
        encode_key((S, "東" * 683))


@pytest.mark.parametrize("bad", [(S, "a\udc00"), (N, "NaN"), (N, ""), (N, "1" * 39)])
def test_refused_values(bad: tuple[KeyKind, KeyValue]) -> None:
    """A key without an encoding is refused in either place."""
    with pytest.raises(Refused):
        encode_key(bad)
    with pytest.raises(Refused):
        encode_key((S, "a"), bad)


def test_hash_bounds() -> None:
    """A range's rows lie between its bounds, and the last range has no upper one."""
    assert hash_bounds(0, HASH_MAX) == (b"\0\0\0\0", None)
    low, high = hash_bounds(0xB3DD93FA, 0xB3DD93FA)
    assert high is not None
    assert low <= encode_key((S, "abc")) < high
    assert hash_bounds(0, 0x7FFF) == (b"\0\0\0\0", b"\0\0\x80\0")


def test_prefix_end() -> None:
    """The end of a prefix is the first key that does not begin with it."""
    assert prefix_end(b"ab") == b"ac"
    assert prefix_end(b"a\xff\xff") == b"b"
    assert prefix_end(b"\xff\xff") is None
    assert prefix_end(b"") is None


def test_sort_prefix() -> None:
    """`begins_with` becomes a prefix of the stored bytes, NUL included."""
    whole = encode_key((S, "p"), (S, "a\0b"))
    assert whole.startswith(partition_prefix((S, "p")) + sort_prefix(b"a\0"))


@pytest.mark.parametrize(
    ("rid_id", "partition", "sort"),
    [
        (b"", S, None),
        (b"abc", S, None),
        (b"hashabc", S, None),
        (b"hashabc\x00\x01more", S, None),
        (b"hashabc\x00\x01", S, S),
        (b"hasha\x00bc\x00\x01", B, None),
        (b"hash\xff\x00\x01", S, None),
        (b"hashabc\x00\x01", N, None),
        (b"hash\x02\x02", N, None),
    ],
)
def test_damaged_keys(rid_id: bytes, partition: KeyKind, sort: KeyKind | None) -> None:
    """Bytes that are no key of these kinds are reported, never read as some key."""
    with pytest.raises(Corrupt):
        decode_key(rid_id, partition, sort)
