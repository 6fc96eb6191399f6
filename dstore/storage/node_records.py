"""What a node knows of itself: tenants, credentials, settings; rows in and out.

Tables and ranges are in `table_records`.

Functions take the node database's connection inside a transaction that somebody else owns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dstore.storage.table_records import load_tables

if TYPE_CHECKING:
    import apsw

    from dstore.model.ranges import Table
    from dstore.storage.table_records import RangeRecord

_SHRED_DUE: Final = "shred.due"
KEEPER: Final = "keeper.control_plane"
"""The setting that says which control plane keeps tenants, tables and credentials instead."""
ADOPTER: Final = "adopter.control_plane"
"""The setting that says which control plane has begun to copy them into its store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecord:
    """A tenant on this node; `node_key` is its (tenant, node) share, wrapped.

    `uuid` is of this tenant on this node, `tenant_id` the one that control knows it by; None on a
    stand-alone node. A tenant that was deleted and made again under its name is another one.
    """

    name: str
    uuid: str
    node_key: bytes = field(repr=False)
    created_at_us: int
    tenant_id: str | None = None


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
    tables: tuple[Table, ...]
    ranges: tuple[RangeRecord, ...]
    access_keys: tuple[AccessKeyRecord, ...]
    tokens: tuple[BearerRecord, ...]


def load(connection: apsw.Connection) -> NodeContents:
    """Read all of it; about 10 µs a table."""
    tenants = connection.execute(
        "SELECT NAME, UUID, NODE_KEY, CREATED_AT_US, TENANT_ID FROM tenant"
    )
    tables, ranges = load_tables(connection)
    keys = connection.execute("SELECT ID, TENANT, SECRET, CREATED_AT_US FROM access_key")
    tokens = connection.execute("SELECT ID, TENANT, DIGEST, CREATED_AT_US FROM token")
    return NodeContents(
        tenants=tuple(_tenant(row) for row in tenants),
        tables=tables,
        ranges=ranges,
        access_keys=tuple(_access_key(row) for row in keys),
        tokens=tuple(_bearer(row) for row in tokens),
    )


def insert_tenant(connection: apsw.Connection, tenant: TenantRecord) -> None:
    """Add a tenant."""
    connection.execute(
        "INSERT INTO tenant (NAME, UUID, NODE_KEY, CREATED_AT_US, TENANT_ID) "
        "VALUES (?, ?, ?, ?, ?)",
        (tenant.name, tenant.uuid, tenant.node_key, tenant.created_at_us, tenant.tenant_id),
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


def hand_over(connection: apsw.Connection, control_plane: str) -> None:
    """Note that a control plane keeps what there is: tenants by their UUIDs, credentials alone."""
    note_shred_due(connection)
    connection.execute("UPDATE tenant SET TENANT_ID = UUID WHERE TENANT_ID IS NULL")
    connection.execute("DELETE FROM access_key")
    connection.execute("DELETE FROM token")
    set_setting(connection, KEEPER, control_plane)


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
    name, uuid, node_key, created_at_us, tenant_id = row
    return TenantRecord(
        name=name,
        uuid=uuid,
        node_key=node_key,
        created_at_us=created_at_us,
        tenant_id=tenant_id,
    )


def _access_key(row: tuple[Any, ...]) -> AccessKeyRecord:
    key_id, tenant, secret, created_at_us = row
    return AccessKeyRecord(id=key_id, tenant=tenant, secret=secret, created_at_us=created_at_us)


def _bearer(row: tuple[Any, ...]) -> BearerRecord:
    token_id, tenant, digest, created_at_us = row
    return BearerRecord(id=token_id, tenant=tenant, digest=digest, created_at_us=created_at_us)
