"""The key of an item, out of the item itself or out of a `Key` map, with AWS's complaints.

A put says what is wrong with which key; all that only name an item say that the key does not match
the schema. Sources: dynalite's suite, which was run against AWS; for empty values
paritysuite/dynamodb-conformance, tests/tier3/error-messages.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.errors import AwsError, validation
from dstore.base.limits import (
    INTEGER_ID_DIGITS_MAX,
    PARTITION_KEY_BYTES_MAX,
    SORT_KEY_BYTES_MAX,
)
from dstore.model.keys import KeyKind, KeyValue, encode_key
from dstore.model.tables import Door, is_integer_id
from dstore.service.items import ItemKey

if TYPE_CHECKING:
    from dstore.model.ranges import Table
    from dstore.model.tables import KeyAttribute, TableDefinition
    from dstore.model.values import Attribute, Item

NO_MATCH: Final = "The provided key element does not match the schema"
DUPLICATES: Final = "Provided list of item keys contains duplicates"
INVALID: Final = "One or more parameter values were invalid: "
EMPTY: Final = "The AttributeValue for a key attribute cannot contain an empty {kind} value."
NOT_VALID: Final = "One or more parameter values are not valid. "
_PARTITION_TOO_LONG: Final = (
    f"{INVALID}Size of hashkey has exceeded the maximum size limit of2048 bytes"  # without a blank
)
_SORT_TOO_LONG: Final = (
    f"{INVALID}Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
)
_STRING: Final = KeyKind.STRING
_NUMBER: Final = KeyKind.NUMBER
_UTF8_BYTES_PER_CHAR_MAX: Final = 4


def key_of_map(given: Item, table: Table) -> ItemKey:
    """Read a `Key`, or another map that holds the key attributes and nothing else.

    Args:
        given: checked and normalised by `attributes.check_item`.
        table: whose key it shall be.
    Raises: AwsError: ValidationException; it is not of the table's schema, empty or too long.
    """
    definition = table.definition
    partition, sort = definition.partition, definition.sort
    if len(given) != (1 if sort is None else 2):
        raise validation(NO_MATCH)
    first = _matching(given, partition, bytes_max=PARTITION_KEY_BYTES_MAX)
    if sort is None:
        rid_id = encode_key((partition.kind, first))
    else:
        second = _matching(given, sort, bytes_max=SORT_KEY_BYTES_MAX)
        rid_id = encode_key((partition.kind, first), (sort.kind, second))
    return ItemKey(table=table, rid_id=rid_id, attributes=given)


def key_of_item(item: Item, table: Table) -> ItemKey:
    """Read the key that an item to be put holds among its attributes.

    Args:
        item: checked and normalised by `attributes.check_item`.
        table: whose key it shall be.
    Raises: AwsError: ValidationException; a key is missing, of another type, empty or too long,
        or as `check_new_key`.
    """
    definition = table.definition
    partition, sort = definition.partition, definition.sort
    first = _present(item, partition, bytes_max=PARTITION_KEY_BYTES_MAX)
    attributes = {partition.name: item[partition.name]}
    check_new_key(attributes, definition)
    if sort is None:
        rid_id = encode_key((partition.kind, first))
    else:
        second = _present(item, sort, bytes_max=SORT_KEY_BYTES_MAX)
        rid_id = encode_key((partition.kind, first), (sort.kind, second))
        attributes[sort.name] = item[sort.name]
    return ItemKey(table=table, rid_id=rid_id, attributes=attributes)


def key_of_batched_item(item: Item, table: Table) -> ItemKey:
    """Read the key of an item of a batch; as `key_of_item`, but AWS says less there."""
    partition, sort = table.definition.partition, table.definition.sort
    if partition.kind not in item.get(partition.name, ()):
        raise validation(NO_MATCH)
    if sort is not None and sort.kind not in item.get(sort.name, ()):
        raise validation(NO_MATCH)
    return key_of_item(item, table)


def check_new_key(attributes: Item, definition: TableDefinition) -> None:
    """Refuse to make an item that v1 could not name, in a table that it made with Integer IDs.

    Only writes that may make an item ask for it: reads and deletes of such a key find nothing.

    Args:
        attributes: of the key, of the right type and plainly spelled.
        definition: the table's.
    Raises: AwsError: ValidationException.
    """
    key = definition.partition
    if key.kind is not _NUMBER or definition.door is not Door.V1:
        return
    if not is_integer_id(attributes[key.name]["N"]):
        raise validation(
            f"{INVALID}dStore's table {definition.name} was made through v1 with Integer IDs: "
            f"{key.name} must be an integer of at most {INTEGER_ID_DIGITS_MAX} digits"
        )


def type_of(attribute: Attribute) -> str:
    """Name an attribute's type as the wire does."""
    return next(iter(attribute))


def empty_kind(attribute: Attribute) -> str | None:
    """Say which kind of empty value an attribute is, "string" or "binary"; None if it is not."""
    if attribute.get("S") == "":
        return "string"
    if attribute.get("B") == "":
        return "binary"
    return None


def too_long(*, is_partition: bool) -> AwsError:
    """Say that a partition key or a sort key is too long."""
    return validation(_PARTITION_TOO_LONG if is_partition else _SORT_TOO_LONG)


def check_index_attribute(given: Item, key: KeyAttribute, *, is_partition: bool) -> None:
    """Refuse a map whose attribute cannot be that key of an index.

    Raises: AwsError: ValidationException; it is of another type, empty or too long.
    """
    _matching(given, key, bytes_max=PARTITION_KEY_BYTES_MAX if is_partition else SORT_KEY_BYTES_MAX)


def _matching(given: Item, key: KeyAttribute, *, bytes_max: int) -> KeyValue:
    attribute = given.get(key.name)
    if attribute is None or key.kind not in attribute:
        raise validation(NO_MATCH)
    return _value(attribute, key, bytes_max=bytes_max)


def _present(item: Item, key: KeyAttribute, *, bytes_max: int) -> KeyValue:
    attribute = item.get(key.name)
    if attribute is None:
        raise validation(f"{INVALID}Missing the key {key.name} in the item")
    if key.kind not in attribute:
        raise validation(
            f"{INVALID}Type mismatch for key {key.name} expected: {key.kind} "
            f"actual: {type_of(attribute)}"
        )
    return _value(attribute, key, bytes_max=bytes_max)


def _value(attribute: Attribute, key: KeyAttribute, *, bytes_max: int) -> KeyValue:
    """Give a key's value as `encode_key` takes it."""
    text: str = attribute[key.kind]
    if key.kind is _NUMBER:
        return text
    if not text:
        raise validation(f"{NOT_VALID}{EMPTY.format(kind=empty_kind(attribute))} Key: {key.name}")
    if key.kind is _STRING:
        if len(text) * _UTF8_BYTES_PER_CHAR_MAX > bytes_max and len(text.encode()) > bytes_max:
            raise too_long(is_partition=bytes_max == PARTITION_KEY_BYTES_MAX)
        return text
    raw = b64decode(text)
    if len(raw) > bytes_max:
        raise too_long(is_partition=bytes_max == PARTITION_KEY_BYTES_MAX)
    return raw
