"""What a secondary index keeps of an item: under which bytes, which attributes, of what size.

    local index   partition prefix of the item's key + the index's sort attribute + the rest of the
                  item's key (`keys.encode_key` without the prefix)
    global index  hash of the partition attributes (4 bytes, big endian) + each of them + each sort
                  attribute + the item's whole key as the table stores it

Components are encoded as `model.keys` does, so that bytes compare as values do and parts can simply
be joined; entries of equal index keys come in the order of their table's keys. The hash is that of
a table's partition key where there is one partition attribute, and else that of their encodings.

An item is in an index if it has every key attribute of it in the declared type, not empty and short
enough; writes refuse other values, but an item may be older than the index (AWS's backfill leaves
such items out). Everything here is pure. The longest key is a global index's whose four partition
and four sort attributes are full of NULs: 4 + 4 * (2 * 2,048 + 2) + 4 * (2 * 1,024 + 2) bytes and
the table's own key.

Sources: DynamoDB developer guide, "Local secondary indexes" and "Global secondary indexes" (sparse
indexes, projections, item sizes), "Multi-attribute keys" (the order of the attributes).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from dstore.base.limits import KEY_BYTES_MIN, KIB, PARTITION_KEY_BYTES_MAX, SORT_KEY_BYTES_MAX
from dstore.model import numbers
from dstore.model.errors import Refused
from dstore.model.hashing import hash_bytes, string_bytes
from dstore.model.keys import (
    HASH_BYTES,
    KeyKind,
    KeyValue,
    decode_key,
    partition_prefix,
    read_component,
    text_component,
)
from dstore.model.table_settings import KeyAttribute, ProjectionType
from dstore.model.values import item_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dstore.model.table_settings import Index
    from dstore.model.tables import TableDefinition
    from dstore.model.values import Attribute, Item

_NUMBER: Final = KeyKind.NUMBER


class IndexSize(NamedTuple):
    """How many entries a local index has, and the bytes that their rows take."""

    entries: int = 0
    size_bytes: int = 0


IndexSizes = Mapping[str, IndexSize]
"""Of a table's local indexes, by name; one that is not there is not known to have any entries."""


def added(parts: Iterable[IndexSizes]) -> dict[str, IndexSize]:
    """Add up what the local indexes have in several ranges of a table."""
    sums: dict[str, IndexSize] = {}
    for part in parts:
        for name, size in part.items():
            was = sums.get(name, IndexSize())
            sums[name] = IndexSize(was.entries + size.entries, was.size_bytes + size.size_bytes)
    return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexShape:
    """What has to be known of an index to make its entries: enough without the table's definition.

    `hash_keys` and `range_keys` are in the order of the declaration; a local index has its table's
    partition key as the only one of `hash_keys`. `held` are the attributes that an entry has, keys
    of index and table among them; None: all.
    """

    name: str
    is_local: bool
    hash_keys: tuple[KeyAttribute, ...]
    range_keys: tuple[KeyAttribute, ...]
    table_keys: tuple[KeyAttribute, ...]
    held: frozenset[str] | None

    @property
    def keys(self) -> tuple[KeyAttribute, ...]:
        """The key attributes of the index, HASH before RANGE."""
        return self.hash_keys + self.range_keys

    @property
    def key_names(self) -> tuple[str, ...]:
        """The attributes that tell one entry from every other: the index's keys, then the table's.

        What stands in a LastEvaluatedKey; an attribute that is a key of both comes once.
        """
        both = self.keys + self.table_keys
        return tuple(dict.fromkeys(attribute.name for attribute in both))


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedKey:
    """An entry's key read back: values in the order of `IndexShape.keys`, numbers plainly spelled.

    `rid_id` is the key of the table's item.
    """

    values: tuple[KeyValue, ...]
    rid_id: bytes


def index_shapes(definition: TableDefinition) -> tuple[IndexShape, ...]:
    """Give the shapes of all indexes of a table, local before global, each as it is declared."""
    others = definition.settings.global_indexes
    return (
        *local_shapes(definition),
        *(_shape(definition, index, is_local=False) for index in others),
    )


def local_shapes(definition: TableDefinition) -> tuple[IndexShape, ...]:
    """Give the shapes of a table's local indexes."""
    indexes = definition.settings.local_indexes
    return tuple(_shape(definition, index, is_local=True) for index in indexes)


def index_shape(definition: TableDefinition, name: str) -> IndexShape | None:
    """Give the shape of an index by its name, None if the table has no such index.

    It is worked out once for a definition, since each query of an index asks for it.
    """
    known = definition._shapes  # noqa: SLF001 - kept with the definition, for this alone
    shape = known.get(name)
    if shape is None:
        settings = definition.settings
        for index in settings.indexes:
            if index.name == name:
                is_local = index in settings.local_indexes
                shape = known[name] = _shape(definition, index, is_local=is_local)
    return shape


def local_key(shape: IndexShape, item: Item, rid_id: bytes, *, prefix_bytes: int) -> bytes | None:
    """Give the ordered key of an item's entry in a local index, None if it is not in the index.

    Args:
        shape: of a local index.
        item: in wire form; the table's own keys may be missing.
        rid_id: the item's key.
        prefix_bytes: the length of its `partition_prefix`.
    Returns: fewer bytes than RID_ID_BYTES_MAX.
    """
    [sort] = shape.range_keys
    if sort in shape.table_keys:  # an index by the table's own sort key
        return rid_id + rid_id[prefix_bytes:]
    component = _component(sort, item.get(sort.name), bytes_max=SORT_KEY_BYTES_MAX)
    if component is None:
        return None
    return rid_id[:prefix_bytes] + component + rid_id[prefix_bytes:]


def global_key(shape: IndexShape, item: Item, rid_id: bytes) -> bytes | None:
    """Give the ordered key of an item's entry in a global index, None if it is not in the index.

    Args:
        shape: of a global index.
        item: in wire form, whole: with the table's own keys.
        rid_id: the item's key.
    Returns: the RID_ID of the hidden table's entry, at most RID_ID_BYTES_MAX.
    """
    prefix = global_prefix(shape, item)
    if prefix is None:
        return None
    sort = _joined(shape.range_keys, item, bytes_max=SORT_KEY_BYTES_MAX)
    return None if sort is None else prefix + sort + rid_id


def global_prefix(shape: IndexShape, item: Item) -> bytes | None:
    """Give what the keys of all entries of an item's partition of a global index begin with."""
    keys = shape.hash_keys
    joined = _joined(keys, item, bytes_max=PARTITION_KEY_BYTES_MAX)
    if joined is None:
        return None
    hashed = hash_bytes(_canonical(keys[0], item) if len(keys) == 1 else joined)
    return hashed.to_bytes(HASH_BYTES, "big") + joined


def partition_of(values: Sequence[tuple[KeyKind, KeyValue]]) -> bytes:
    """Encode the partition key of a table or an index that a query asks for, as `global_prefix`.

    Raises: Refused: a value is empty, too long or no number.
    """
    if len(values) == 1:
        return partition_prefix(values[0])
    # Without the hash, what is left of each is its component.
    joined = b"".join([partition_prefix(value)[HASH_BYTES:] for value in values])
    return hash_bytes(joined).to_bytes(HASH_BYTES, "big") + joined


def parse_key(shape: IndexShape, key: bytes) -> IndexedKey:
    """Read the key of an entry back; the inverse of `local_key` and `global_key`.

    Raises: Corrupt: neither can have written these bytes for this shape.
    """
    values, offset = [], HASH_BYTES
    prefix_end = 0
    for place, attribute in enumerate(shape.keys, start=1):
        value, offset = read_component(key, attribute.kind, offset)
        values.append(value)
        if place == len(shape.hash_keys):
            prefix_end = offset
    rid_id = key[:prefix_end] + key[offset:] if shape.is_local else key[offset:]
    first, *others = shape.table_keys
    decode_key(rid_id, first.kind, others[0].kind if others else None)  # it has to be one
    return IndexedKey(values=tuple(values), rid_id=rid_id)


def projected(shape: IndexShape, item: Item) -> Item:
    """Give what an index holds of an item that is in it; `item` itself if that is all of it.

    Args:
        shape: of the index.
        item: in wire form, whole: with the table's own keys.
    """
    held = shape.held
    if held is None:
        return item
    return {name: attribute for name, attribute in item.items() if name in held}


def entry_bytes(shape: IndexShape, item: Item) -> int:
    """Count what an item's entry in an index counts for capacity: its projected attributes.

    Args: as `projected`.
    """
    return item_bytes(projected(shape, item))


def write_units(shape: IndexShape, before: Item | None, after: Item | None) -> int:
    """Count what changing an item costs in an index, in AWS's write units of 1 KB.

    An entry that comes, goes or changes in what the index holds is written once; one whose key
    changes is deleted and written. Source: DynamoDB developer guide, "Local secondary indexes",
    "Write capacity units".

    Args:
        shape: of the index.
        before: in wire form, whole: with the table's own keys; None if there was none.
        after: the same, of what there is now.
    """
    old = None if before is None else _components(shape, before)
    new = None if after is None else _components(shape, after)
    old_units = 0 if old is None or before is None else _units(entry_bytes(shape, before))
    new_units = 0 if new is None or after is None else _units(entry_bytes(shape, after))
    if before is None or after is None or old != new:
        return old_units + new_units
    if old is None or projected(shape, before) == projected(shape, after):
        return 0
    return max(old_units, new_units)


def is_held(shape: IndexShape, names: frozenset[str]) -> bool:
    """Tell whether an index holds all the attributes of these names."""
    return shape.held is None or names <= shape.held


def _shape(definition: TableDefinition, index: Index, *, is_local: bool) -> IndexShape:
    kinds = definition.attributes
    table_keys = definition.keys
    held: frozenset[str] | None = None
    if index.projection is not ProjectionType.ALL:
        own = (*index.keys, *(attribute.name for attribute in table_keys))
        included = index.included if index.projection is ProjectionType.INCLUDE else ()
        held = frozenset((*own, *included))
    return IndexShape(
        name=index.name,
        is_local=is_local,
        hash_keys=tuple(KeyAttribute(name=name, kind=kinds[name]) for name in index.hash_keys),
        range_keys=tuple(KeyAttribute(name=name, kind=kinds[name]) for name in index.range_keys),
        table_keys=table_keys,
        held=held,
    )


def _units(size_bytes: int) -> int:
    return max(1, -(-size_bytes // KIB))


def _components(shape: IndexShape, item: Item) -> tuple[bytes, bytes] | None:
    """Encode the keys under which an item is in an index; None if it is not in it."""
    partition = _joined(shape.hash_keys, item, bytes_max=PARTITION_KEY_BYTES_MAX)
    sort = _joined(shape.range_keys, item, bytes_max=SORT_KEY_BYTES_MAX)
    return None if partition is None or sort is None else (partition, sort)


def _joined(keys: tuple[KeyAttribute, ...], item: Item, *, bytes_max: int) -> bytes | None:
    """Join the components of an item's attributes; None if one is missing or does not fit."""
    joined = []
    for key in keys:
        component = _component(key, item.get(key.name), bytes_max=bytes_max)
        if component is None:
            return None
        joined.append(component)
    return b"".join(joined)


def _component(key: KeyAttribute, attribute: Attribute | None, *, bytes_max: int) -> bytes | None:
    """Encode an attribute as one component of a key; None if it can't be one."""
    if attribute is None:
        return None
    text = attribute.get(key.kind.value)
    if text is None:
        return None
    if key.kind is _NUMBER:
        return numbers.sortable(text)
    try:
        raw = string_bytes(text) if key.kind is KeyKind.STRING else b64decode(text)
    except Refused:  # no valid Unicode
        return None
    return text_component(raw) if KEY_BYTES_MIN <= len(raw) <= bytes_max else None


def _canonical(key: KeyAttribute, item: Item) -> bytes:
    """Give the bytes that are hashed for a partition attribute, as a table's key is."""
    text = item[key.name][key.kind.value]
    if key.kind is _NUMBER:
        return numbers.canonical(text).encode()
    return string_bytes(text) if key.kind is KeyKind.STRING else b64decode(text)
