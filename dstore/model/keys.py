"""RID_ID: the order-preserving bytes under which an entry is stored.

    RID_ID = hash of the partition key (4 bytes, big endian) + partition key + sort key, if any

Equal partition keys lie together, sort keys compare as values do, and a hash range is one
contiguous run of rows. A string or binary component is its bytes, each NUL written 00 FF, and ends
with 00 01; a number is `model.numbers.sortable`. No component's encoding is a prefix of another's,
which is why components can simply be joined. (A terminator of a single 00 would not do: the
binary sort key FF… behind it reads like an escaped NUL.)
"""

from __future__ import annotations

from dstore.base.limits import KEY_BYTES_MIN, PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX
from dstore.model import numbers
from dstore.model.errors import Corrupt, Refused, invalid
from dstore.model.hashing import HASH_MAX, KeyKind, KeyValue, hash_bytes, string_bytes

__all__ = [
    "HASH_BYTES",
    "HASH_MAX",
    "KeyKind",
    "KeyValue",
    "decode_key",
    "decode_partition",
    "decode_sort",
    "encode_key",
    "hash_bounds",
    "partition_prefix",
    "prefix_end",
    "read_component",
    "sort_component",
    "sort_prefix",
    "text_component",
]

HASH_BYTES = 4

_STRING = KeyKind.STRING  # an enum member costs a look-up of its own; this path is hot
_NUMBER = KeyKind.NUMBER
_NUL = b"\x00"
_NUL_ESCAPED = b"\x00\xff"
_END = b"\x00\x01"


def encode_key(
    partition: tuple[KeyKind, KeyValue], sort: tuple[KeyKind, KeyValue] | None = None
) -> bytes:
    """Encode an entry's key as its RID_ID.

    Returns: bytes that compare as (hash, partition key, sort key) do; at most 6,152 of them
        (4 of hash; each byte of the keys may be doubled, and each key has 2 of terminator).
    Raises: Refused: a key is empty, too long (2,048 bytes partition, 1,024 sort), or no valid
        number or Unicode.
    Cost: about a microsecond for a short string.
    """
    if sort is None:
        return partition_prefix(partition)
    return partition_prefix(partition) + sort_component(sort)


def partition_prefix(partition: tuple[KeyKind, KeyValue]) -> bytes:
    """Encode what all entries of one partition key begin with, and no other entry does.

    Raises: Refused: as `encode_key`.
    """
    kind, value = partition
    if kind is _NUMBER:
        assert isinstance(value, str)
        number = numbers.parse(value)
        hashed = hash_bytes(numbers.canonical_of(number).encode())
        return hashed.to_bytes(HASH_BYTES, "big") + numbers.sortable_of(number)
    raw = string_bytes(value) if kind is _STRING else _binary(value)
    if not KEY_BYTES_MIN <= len(raw) <= PARTITION_KEY_BYTES_MAX:
        raise _wrong_length(len(raw), what="partition key", bytes_max=PARTITION_KEY_BYTES_MAX)
    escaped = raw.replace(_NUL, _NUL_ESCAPED) if _NUL in raw else raw
    return hash_bytes(raw).to_bytes(HASH_BYTES, "big") + escaped + _END


def sort_component(sort: tuple[KeyKind, KeyValue]) -> bytes:
    """Encode a whole sort key; it follows the `partition_prefix`.

    Raises: Refused: as `encode_key`.
    """
    kind, value = sort
    if kind is _NUMBER:
        assert isinstance(value, str)
        return numbers.sortable(value)
    raw = string_bytes(value) if kind is _STRING else _binary(value)
    if not KEY_BYTES_MIN <= len(raw) <= SORT_KEY_BYTES_MAX:
        raise _wrong_length(len(raw), what="sort key", bytes_max=SORT_KEY_BYTES_MAX)
    return text_component(raw)


def text_component(raw: bytes) -> bytes:
    """Encode the bytes of a string or a binary as one component of a key, of whatever length."""
    return raw.replace(_NUL, _NUL_ESCAPED) + _END


def sort_prefix(beginning: bytes) -> bytes:
    """Encode what all string or binary sort keys that begin with `beginning` begin with."""
    return beginning.replace(_NUL, _NUL_ESCAPED)


def decode_key(
    rid_id: bytes, partition_kind: KeyKind, sort_kind: KeyKind | None = None
) -> tuple[int, KeyValue, KeyValue | None]:
    """Read a RID_ID back; a number comes back in its plain spelling.

    Returns: the hash, the partition key, the sort key or None.
    Raises: Corrupt: `encode_key` cannot have written these bytes for these kinds. Who took them
        from a client's cursor refuses instead.
    """
    partition, end = decode_partition(rid_id, partition_kind)
    sort: KeyValue | None = None
    if sort_kind is not None:
        sort = decode_sort(rid_id, sort_kind, offset=end)
    elif end != len(rid_id):
        raise _not_a_key()
    return int.from_bytes(rid_id[:HASH_BYTES], "big"), partition, sort


def decode_partition(rid_id: bytes, kind: KeyKind) -> tuple[KeyValue, int]:
    """Read the partition key of a RID_ID, and where its `partition_prefix` ends.

    Raises: Corrupt: as `decode_key`.
    """
    if len(rid_id) < HASH_BYTES:
        raise _not_a_key()
    return read_component(rid_id, kind, HASH_BYTES)


def decode_sort(rid_id: bytes, kind: KeyKind, *, offset: int) -> KeyValue:
    """Read the sort key of a RID_ID whose `partition_prefix` ends at `offset`.

    Raises: Corrupt: as `decode_key`.
    """
    sort, end = read_component(rid_id, kind, offset)
    if end != len(rid_id):
        raise _not_a_key()
    return sort


def hash_bounds(low: int, high: int) -> tuple[bytes, bytes | None]:
    """Give the RID_IDs [from, to) that a closed range of hashes covers.

    Args:
        low: the lowest hash, 0 <= low <= high.
        high: the highest hash, inclusive, <= HASH_MAX.
    Returns: the first bound, and the bound behind the last; None where there is no upper end.
    """
    assert 0 <= low <= high <= HASH_MAX
    end = None if high == HASH_MAX else (high + 1).to_bytes(HASH_BYTES, "big")
    return low.to_bytes(HASH_BYTES, "big"), end


def prefix_end(prefix: bytes) -> bytes | None:
    """Give the smallest bytes above everything that begins with `prefix`; None if nothing is."""
    kept = prefix.rstrip(b"\xff")
    if not kept:
        return None
    return kept[:-1] + bytes((kept[-1] + 1,))


def _binary(value: KeyValue) -> bytes:
    assert isinstance(value, bytes)
    return value


def read_component(rid_id: bytes, kind: KeyKind, offset: int) -> tuple[KeyValue, int]:
    """Read one component at `offset`; give its value and the offset behind it.

    Raises: Corrupt: there is none of that kind.
    """
    if kind is _NUMBER:
        return numbers.from_sortable(rid_id, offset)
    end = rid_id.find(_END, offset)
    # An escaped NUL can never show the terminator's 00 01: the byte behind its 00 is FF.
    if end < 0:
        raise _not_a_key()
    raw = rid_id[offset:end]
    if _NUL in raw:
        escaped, raw = raw, raw.replace(_NUL_ESCAPED, _NUL)
        if raw.replace(_NUL, _NUL_ESCAPED) != escaped:
            raise _not_a_key()
    if kind is not _STRING:
        return raw, end + len(_END)
    try:
        return raw.decode(), end + len(_END)
    except UnicodeDecodeError:
        raise _not_a_key() from None


def _wrong_length(length: int, *, what: str, bytes_max: int) -> Refused:
    if length < KEY_BYTES_MIN:
        return invalid(f"The {what} is empty; give it at least {KEY_BYTES_MIN} byte.")
    return invalid(f"The {what} has {length} bytes; use at most {bytes_max}.")


def _not_a_key() -> Corrupt:
    return Corrupt("A stored key is not of its table's key types.", file="", where="RID_ID")
