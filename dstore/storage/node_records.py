"""What a node knows of itself: tenants, tables, ranges, credentials; rows in and out.

Functions take the node database's connection inside a transaction that somebody else owns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.model.errors import Corrupt
from dstore.model.hashing import HASH_MAX, KeyKind
from dstore.model.table_settings import TableSettings
from dstore.model.tables import Door, KeyAttribute, TableDefinition, TableId

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

DEFINITION_FORMAT: Final = 1
NODE_FILE: Final = "node.db"
_SHRED_DUE: Final = "shred.due"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecord:
    """A tenant on this node; `node_key` is its (tenant, node) share, wrapped."""

    name: str
    uuid: str
    node_key: bytes = field(repr=False)
    created_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRecord:
    """A range of a table, and the wrapped key of its file. The hash bounds are both inclusive."""

    range_id: str
    hash_start: int = 0
    hash_end: int = HASH_MAX
    quantity: int = 0
    tenant_uuid: str
    table_version: int
    file_uuid: bytes
    generation: int
    file_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """A table and the range that this node holds of it."""

    definition: TableDefinition
    range: RangeRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyRecord:
    """An access key of a tenant; `secret` is sealed."""

    id: str
    tenant: str
    secret: bytes = field(repr=False)
    created_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerRecord:
    """A bearer token's digest; `tenant` is None for the operator's."""

    id: str
    tenant: str | None
    digest: bytes = field(repr=False)
    created_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContents:
    """Everything of the node database that is kept in memory while the node runs."""

    tenants: tuple[TenantRecord, ...]
    tables: tuple[TableRecord, ...]
    access_keys: tuple[AccessKeyRecord, ...]
    tokens: tuple[BearerRecord, ...]


class _StoredKey(msgspec.Struct, frozen=True, array_like=True):
    name: str
    kind: str


class _StoredDefinition(msgspec.Struct, frozen=True):
    format: int
    partition: _StoredKey
    sort: _StoredKey | None
    door: str
    created_at_us: int
    settings: TableSettings


def load(connection: apsw.Connection) -> NodeContents:
    """Read all of it; about 5 µs a table."""
    tenants = connection.execute("SELECT NAME, UUID, NODE_KEY, CREATED_AT_US FROM tenant")
    tables = connection.execute(
        "SELECT t.TENANT, t.NAME, t.TABLE_ID, t.DEFINITION, r.RANGE_ID, r.HASH_START, r.HASH_END, "
        "r.QUANTITY, r.UUID, r.TABLE_VERSION, r.FILE_UUID, r.GENERATION, r.FILE_KEY "
        "FROM table_definition t JOIN range_of_table r "
        "ON r.RID_TENANT = t.TENANT AND r.RID_TABLE = t.NAME"
    )
    keys = connection.execute("SELECT ID, TENANT, SECRET, CREATED_AT_US FROM access_key")
    tokens = connection.execute("SELECT ID, TENANT, DIGEST, CREATED_AT_US FROM token")
    return NodeContents(
        tenants=tuple(_tenant(row) for row in tenants),
        tables=tuple(_table(row) for row in tables),
        access_keys=tuple(_access_key(row) for row in keys),
        tokens=tuple(_bearer(row) for row in tokens),
    )


def insert_tenant(connection: apsw.Connection, tenant: TenantRecord) -> None:
    """Add a tenant."""
    connection.execute(
        "INSERT INTO tenant (NAME, UUID, NODE_KEY, CREATED_AT_US) VALUES (?, ?, ?, ?)",
        (tenant.name, tenant.uuid, tenant.node_key, tenant.created_at_us),
    )


def delete_tenant(connection: apsw.Connection, name: str) -> None:
    """Remove a tenant with its key share, credentials, tables and what it had deferred."""
    note_shred_due(connection)
    for statement in (
        "DELETE FROM deferred WHERE TENANT = ?",
        "DELETE FROM access_key WHERE TENANT = ?",
        "DELETE FROM token WHERE TENANT = ?",
        "DELETE FROM range_of_table WHERE RID_TENANT = ?",
        "DELETE FROM table_definition WHERE TENANT = ?",
        "DELETE FROM tenant WHERE NAME = ?",
    ):
        connection.execute(statement, (name,))


def insert_table(connection: apsw.Connection, table: TableRecord) -> None:
    """Add a table and its range; the range's file exists already."""
    definition, held = table.definition, table.range
    connection.execute(
        "INSERT INTO table_definition (TENANT, NAME, TABLE_ID, DEFINITION) VALUES (?, ?, ?, ?)",
        (definition.tenant, definition.name, definition.table_id, _encode(definition)),
    )
    connection.execute(
        "INSERT INTO range_of_table (RID_TENANT, RID_TABLE, HASH_START, HASH_END, QUANTITY, UUID, "
        "TABLE_VERSION, RANGE_ID, FILE_UUID, GENERATION, FILE_KEY) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            definition.tenant,
            definition.name,
            held.hash_start,
            held.hash_end,
            held.quantity,
            held.tenant_uuid,
            held.table_version,
            held.range_id,
            held.file_uuid,
            held.generation,
            held.file_key,
        ),
    )


def update_table(connection: apsw.Connection, definition: TableDefinition) -> None:
    """Write a table's definition anew; its ranges stay as they are."""
    connection.execute(
        "UPDATE table_definition SET DEFINITION = ?3 WHERE TENANT = ?1 AND NAME = ?2",
        (definition.tenant, definition.name, _encode(definition)),
    )


def delete_table(connection: apsw.Connection, tenant: str, name: str) -> None:
    """Remove a table and its ranges, keys included."""
    note_shred_due(connection)
    connection.execute(
        "DELETE FROM range_of_table WHERE RID_TENANT = ? AND RID_TABLE = ?", (tenant, name)
    )
    connection.execute("DELETE FROM table_definition WHERE TENANT = ? AND NAME = ?", (tenant, name))


def set_quantities(connection: apsw.Connection, counts: Sequence[tuple[str, int]]) -> None:
    """Bring the estimates of ranges' entries up to date; `counts` are (range id, entries)."""
    connection.executemany("UPDATE range_of_table SET QUANTITY = ?2 WHERE RANGE_ID = ?1", counts)


def insert_access_key(connection: apsw.Connection, key: AccessKeyRecord) -> None:
    """Add an access key."""
    connection.execute(
        "INSERT INTO access_key (ID, TENANT, SECRET, CREATED_AT_US) VALUES (?, ?, ?, ?)",
        (key.id, key.tenant, key.secret, key.created_at_us),
    )


def delete_access_key(connection: apsw.Connection, key_id: str) -> None:
    """Revoke an access key."""
    note_shred_due(connection)
    connection.execute("DELETE FROM access_key WHERE ID = ?", (key_id,))


def insert_token(connection: apsw.Connection, token: BearerRecord) -> None:
    """Add a bearer token."""
    connection.execute(
        "INSERT INTO token (ID, TENANT, DIGEST, CREATED_AT_US) VALUES (?, ?, ?, ?)",
        (token.id, token.tenant, token.digest, token.created_at_us),
    )


def delete_token(connection: apsw.Connection, token_id: str) -> None:
    """Revoke a bearer token."""
    connection.execute("DELETE FROM token WHERE ID = ?", (token_id,))


def settings(connection: apsw.Connection) -> dict[str, str]:
    """Read the node's local settings."""
    rows: list[tuple[Any, ...]] = connection.execute("SELECT NAME, VALUE FROM setting").fetchall()
    return dict(rows)


def set_setting(connection: apsw.Connection, name: str, value: str) -> None:
    """Write one of the node's local settings."""
    connection.execute(
        "INSERT INTO setting (NAME, VALUE) VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET VALUE = excluded.VALUE",
        (name, value),
    )


def note_shred_due(connection: apsw.Connection) -> None:
    """Remember, in the transaction that deletes a key, that the log still has it."""
    connection.execute(
        "INSERT INTO setting (NAME, VALUE) VALUES (?, '1') "
        "ON CONFLICT DO UPDATE SET VALUE = CAST(VALUE AS INTEGER) + 1",
        (_SHRED_DUE,),
    )


def shred_due(connection: apsw.Connection) -> int:
    """Count the deletions of keys since the log was cut; 0 if nothing is due."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT CAST(VALUE AS INTEGER) FROM setting WHERE NAME = ?", (_SHRED_DUE,)
    ).fetchall()
    return rows[0][0] if rows else 0


def clear_shred_due(connection: apsw.Connection, count: int) -> None:
    """Note that the log was cut behind `count` deletions; a later one stays due."""
    connection.execute(
        "DELETE FROM setting WHERE NAME = ? AND CAST(VALUE AS INTEGER) <= ?", (_SHRED_DUE, count)
    )


def _tenant(row: tuple[Any, ...]) -> TenantRecord:
    name, uuid, node_key, created_at_us = row
    return TenantRecord(name=name, uuid=uuid, node_key=node_key, created_at_us=created_at_us)


def _access_key(row: tuple[Any, ...]) -> AccessKeyRecord:
    key_id, tenant, secret, created_at_us = row
    return AccessKeyRecord(id=key_id, tenant=tenant, secret=secret, created_at_us=created_at_us)


def _bearer(row: tuple[Any, ...]) -> BearerRecord:
    token_id, tenant, digest, created_at_us = row
    return BearerRecord(id=token_id, tenant=tenant, digest=digest, created_at_us=created_at_us)


def _table(row: tuple[Any, ...]) -> TableRecord:
    tenant, name, table_id, encoded, range_id, start, end, quantity, uuid, version = row[:10]
    file_uuid, generation, file_key = row[10:]
    return TableRecord(
        definition=_decode(tenant, name, table_id, encoded=encoded),
        range=RangeRecord(
            range_id=range_id,
            hash_start=start,
            hash_end=end,
            quantity=quantity,
            tenant_uuid=uuid,
            table_version=version,
            file_uuid=file_uuid,
            generation=generation,
            file_key=file_key,
        ),
    )


def _encode(definition: TableDefinition) -> str:
    sort = definition.sort
    stored = _StoredDefinition(
        format=DEFINITION_FORMAT,
        partition=_StoredKey(definition.partition.name, definition.partition.kind),
        sort=None if sort is None else _StoredKey(sort.name, sort.kind),
        door=definition.door,
        created_at_us=definition.created_at_us,
        settings=definition.settings,
    )
    return msgspec.json.encode(stored).decode()


def _decode(tenant: str, name: str, table_id: str, *, encoded: str) -> TableDefinition:
    stored = msgspec.json.decode(encoded, type=_StoredDefinition)
    if stored.format != DEFINITION_FORMAT:
        raise Corrupt("A table definition has an unknown format.", file=NODE_FILE, where="tables")
    return TableDefinition(
        tenant=tenant,
        name=name,
        table_id=TableId(table_id),
        partition=_key(stored.partition),
        sort=None if stored.sort is None else _key(stored.sort),
        door=Door(stored.door),
        created_at_us=stored.created_at_us,
        settings=stored.settings,
    )


def _key(stored: _StoredKey) -> KeyAttribute:
    return KeyAttribute(name=stored.name, kind=KeyKind(stored.kind))
