"""RID_ID order is value order: range scans, sort keys and hash ranges all stand on it."""

from __future__ import annotations

from decimal import Context, Decimal
from itertools import pairwise

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dstore.model import numbers
from dstore.model.hashing import key_hash
from dstore.model.keys import (
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
EXACT = Context(prec=60, Emin=-999, Emax=999)  # 38 digits and their exponents, with room
Key = tuple[KeyKind, KeyValue]


@st.composite
def number_texts(draw: st.DrawFn) -> str:
    """Draw a number of up to 38 digits and any allowed magnitude, spelled in any way."""
    digits = draw(st.integers(1, 10 ** draw(st.integers(1, 38)) - 1).map(str))
    leading = draw(st.integers(-130, 125) | st.integers(-3, 3))
    sign = draw(st.sampled_from(["", "-"]))
    if draw(st.integers(0, 20)) == 0:
        return f"{sign}0"
    exponent = leading - len(digits) + 1
    if draw(st.booleans()):
        return numbers.plain(f"{sign}{digits}E{exponent}")
    zeros = draw(st.integers(0, 5))
    return f"{sign}{'0' * zeros}{digits}{'0' * zeros}e{exponent - zeros}"


# Few different characters, so that prefixes, NULs and bytes of FF meet often.
texts = st.text(alphabet="\0\x01ab\x7f\x80\xff\ud7ff\ue000\uffff\U00010000", min_size=1, max_size=6)
binaries = st.binary(min_size=1, max_size=6).map(
    lambda raw: bytes(b"\x00\x01\x02a\xfe\xff"[byte % 6] for byte in raw)
)
strings: st.SearchStrategy[Key] = (texts | st.text(min_size=1, max_size=20)).map(
    lambda value: (S, value)
)
decimals: st.SearchStrategy[Key] = number_texts().map(lambda value: (N, value))
raws: st.SearchStrategy[Key] = (binaries | st.binary(min_size=1, max_size=20)).map(
    lambda value: (B, value)
)
keys = strings | decimals | raws
# Two keys of one kind, as two entries of one table have them.
pairs = st.tuples(strings, strings) | st.tuples(decimals, decimals) | st.tuples(raws, raws)


def rank(key: Key) -> Decimal | bytes:
    """Give what DynamoDB compares: a number's value, a string's UTF-8, a binary's bytes."""
    kind, value = key
    if kind is N:
        assert isinstance(value, str)
        return EXACT.create_decimal(value)
    return value.encode() if isinstance(value, str) else value


@given(number_texts(), number_texts())
@example("-9.9999999999999999999999999999999999999E125", "-1E125")
@example("-1E-130", "0")
@example("0", "1E-130")
@example("1", "1.0000000000000000000000000000000000001")
@example("-1", "-1.0000000000000000000000000000000000001")
@example("9", "10")
@example("12", "120")
@settings(max_examples=500)
def test_numbers_by_value(first: str, second: str) -> None:
    """Encoded numbers compare as exact decimals do, to 38 digits and over all exponents."""
    one, two = numbers.sortable(first), numbers.sortable(second)
    order = EXACT.compare(Decimal(first), Decimal(second))
    assert (order < 0, order == 0) == (one < two, one == two)


@given(number_texts())
@settings(max_examples=500)
def test_number_round_trip(text: str) -> None:
    """A number comes back with its value, in DynamoDB's spelling, and the offset behind it."""
    encoded = numbers.sortable(text)
    plain, end = numbers.from_sortable(b"before" + encoded + b"behind", 6)
    assert numbers.plain(text) == plain
    assert Decimal(text) == Decimal(plain)
    assert end == 6 + len(encoded)


@given(st.lists(number_texts(), min_size=2, max_size=30))
def test_sorting_numbers(drawn: list[str]) -> None:
    """A whole page sorted by bytes is sorted by value."""
    values = [Decimal(text) for text in sorted(drawn, key=numbers.sortable)]
    assert all(EXACT.compare(low, high) <= 0 for low, high in pairwise(values))


@given(number_texts())
def test_equal_numbers_share_a_place(text: str) -> None:
    """However a number key is spelled, it is one key: same hash, same RID_ID."""
    plain = numbers.plain(text)
    assert key_hash(N, text) == key_hash(N, plain)
    assert encode_key((N, text)) == encode_key((N, plain))


@given(keys, pairs)
@settings(max_examples=500)
def test_sort_keys_by_value(partition: Key, sorts: tuple[Key, Key]) -> None:
    """Under one partition key, RID_ID order is the order of the sort keys."""
    first, second = sorts
    one, two = encode_key(partition, first), encode_key(partition, second)
    low, high = rank(first), rank(second)
    assert (one == two) == (low == high)
    assert (one < two) == (low < high)  # type: ignore[operator] # both are of one kind


@given(pairs, pairs)
@settings(max_examples=500)
def test_joined_components_by_value(partitions: tuple[Key, Key], sorts: tuple[Key, Key]) -> None:
    """Joining does not break order: (hash, partition, sort) compares part by part."""
    entries = tuple(zip(partitions, sorts, strict=True))
    one, two = (encode_key(partition, sort) for partition, sort in entries)
    low, high = ((rank(partition), rank(sort)) for partition, sort in entries)
    low_hash, high_hash = (key_hash(*partition) for partition in partitions)
    assert (one < two) == ((low_hash, low) < (high_hash, high))
    # The hash hides most of it: without it, the partition keys alone must do.
    assert (one[4:] < two[4:]) == (low < high)


@given(keys, keys | st.none())
@settings(max_examples=500)
def test_round_trip(partition: Key, sort: Key | None) -> None:
    """A RID_ID holds everything needed to read the key back."""
    rid_id = encode_key(partition, sort)
    hashed, first, second = decode_key(rid_id, partition[0], sort[0] if sort else None)
    assert hashed == key_hash(*partition)
    for key, value in ((partition, first), (sort, second)):
        if key is not None:
            assert value is not None
            assert rank(key) == rank((key[0], value))


@given(pairs)
def test_no_component_begins_another(two: tuple[Key, Key]) -> None:
    """A partition's prefix covers its own entries only; numbers, strings and binaries alike."""
    first, second = two
    assume(rank(first) != rank(second))
    assert not sort_component(first).startswith(sort_component(second))
    assert not partition_prefix(first)[4:].startswith(partition_prefix(second)[4:])


@given(keys, keys)
def test_a_partition_is_one_scan(partition: Key, sort: Key) -> None:
    """Every entry of a partition lies in [prefix, prefix_end), inside its hash's bounds."""
    prefix = partition_prefix(partition)
    rid_id = encode_key(partition, sort)
    end = prefix_end(prefix)
    assert prefix <= rid_id
    assert end is None or rid_id < end
    low, high = hash_bounds(key_hash(*partition), key_hash(*partition))
    assert low <= rid_id
    assert high is None or rid_id < high


@given(binaries, binaries)
def test_begins_with(value: bytes, beginning: bytes) -> None:
    """A sort key begins with some bytes exactly when its encoding begins with their encoding."""
    found = sort_component((B, value)).startswith(sort_prefix(beginning))
    assert found == value.startswith(beginning)
