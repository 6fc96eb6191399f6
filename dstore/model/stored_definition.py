"""A table's definition as it is stored and sent: in the node database, in etcd, in control's store.

The tenant, the name and the table's id stand beside it, in a row's columns or in a key. Field names
are stored: one that is renamed or re-typed breaks old directories.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dstore.model.index_of import IndexOf
from dstore.model.keys import KeyKind
from dstore.model.table_settings import NO_SETTINGS, KeyAttribute, TableSettings
from dstore.model.tables import Door, TableDefinition, TableId

DEFINITION_FORMAT: Final = 1


class StoredKey(msgspec.Struct, frozen=True, array_like=True):
    """A key attribute: its name and its type, `S`, `N` or `B`."""

    name: str
    kind: KeyKind


class StoredSchema(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a table never changes; `created_at_us` is wall time in microseconds since 1970."""

    format: int
    partition: StoredKey
    sort: StoredKey | None = None
    door: Door
    created_at_us: int
    index_of: IndexOf | None = None


class StoredDefinition(StoredSchema, frozen=True, kw_only=True):
    """The schema and, beside its fields, the settings: one JSON document in a table's row."""

    settings: TableSettings


def schema_of(definition: TableDefinition) -> StoredSchema:
    """Take the part of a definition that never changes."""
    return StoredSchema(
        format=DEFINITION_FORMAT,
        partition=_stored_key(definition.partition),
        sort=None if definition.sort is None else _stored_key(definition.sort),
        door=definition.door,
        created_at_us=definition.created_at_us,
        index_of=definition.index_of,
    )


def definition_from(
    schema: StoredSchema, settings: TableSettings, *, tenant: str, name: str, table_id: TableId
) -> TableDefinition:
    """Put a definition together again; the inverse of `schema_of`.

    Raises: ValueError: the format is of a later version; the sentence says so.
    Cost: about 3 µs.
    """
    if schema.format != DEFINITION_FORMAT:
        raise ValueError(f"The definition's format is {schema.format}, which is unknown here.")
    return TableDefinition(
        tenant=tenant,
        name=name,
        table_id=table_id,
        partition=_key_attribute(schema.partition),
        sort=None if schema.sort is None else _key_attribute(schema.sort),
        door=schema.door,
        created_at_us=schema.created_at_us,
        settings=shared_settings(settings),
        index_of=schema.index_of,
    )


def shared_settings(settings: TableSettings) -> TableSettings:
    """Return settings as given, but one object for all tables that have none, which are most."""
    return NO_SETTINGS if settings is NO_SETTINGS or settings == NO_SETTINGS else settings


def encode_definition(definition: TableDefinition) -> str:
    """Write schema and settings as one JSON document."""
    schema = schema_of(definition)
    stored = StoredDefinition(
        format=schema.format,
        partition=schema.partition,
        sort=schema.sort,
        door=schema.door,
        created_at_us=schema.created_at_us,
        index_of=schema.index_of,
        settings=definition.settings,
    )
    return msgspec.json.encode(stored).decode()


def decode_definition(
    encoded: str | bytes, *, tenant: str, name: str, table_id: TableId
) -> TableDefinition:
    """Read what `encode_definition` wrote.

    Raises: ValueError: it is no such document, or of a later format.
    """
    try:
        stored = _decoder.decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    return definition_from(stored, stored.settings, tenant=tenant, name=name, table_id=table_id)


_decoder: Final = msgspec.json.Decoder(StoredDefinition)


def _stored_key(attribute: KeyAttribute) -> StoredKey:
    return StoredKey(attribute.name, attribute.kind)


def _key_attribute(stored: StoredKey) -> KeyAttribute:
    return KeyAttribute(name=stored.name, kind=stored.kind)
