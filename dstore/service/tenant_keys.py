"""The keys below a tenant's share: wrapped for the node database, opened from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.errors import Unavailable, UnavailableKind
from dstore.security.envelope import WrappedKey, WrongKey, framed
from dstore.security.keys import Key256, new_key
from dstore.storage.node_keys import new_file_key
from dstore.storage.node_records import NODE_FILE, RangeRecord, TableRecord, TenantRecord
from dstore.storage.schema import Schema, newest
from dstore.storage.vault.layout import FileKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.base.entropy import Entropy
    from dstore.model.tables import TableDefinition, TableId
    from dstore.storage.node_keys import NodeKeys


class TenantKeys:
    """Draws, wraps and opens the shares of tenants and the keys of their files."""

    def __init__(self, keys: NodeKeys, entropy: Entropy) -> None:
        """Work below the node's own keys."""
        self._keys = keys
        self._entropy = entropy

    def new_tenant(self, name: str, *, created_at_us: int) -> tuple[TenantRecord, Key256]:
        """Draw a tenant's UUID and key share. Returns: its record, and the share in clear."""
        uuid, share = self._entropy.uuid(), new_key(self._entropy)
        wrapped = WrappedKey.wrap(
            self._keys.tenant_share_key(uuid),
            share,
            key_id=uuid,
            context=_share_context(uuid),
            entropy=self._entropy,
        )
        record = TenantRecord(
            name=name, uuid=uuid, node_key=wrapped.to_bytes(), created_at_us=created_at_us
        )
        return record, share

    def share(self, record: TenantRecord) -> Key256:
        """Open a tenant's share. Raises: Unavailable: the node's key does not open it."""
        where = "key share of a tenant"
        wrapped = WrappedKey.from_bytes(record.node_key, file=NODE_FILE, where=where)
        share = _unlocked(
            lambda: wrapped.unwrap(
                self._keys.tenant_share_key(record.uuid),
                context=_share_context(record.uuid),
                file=NODE_FILE,
                where=where,
            )
        )
        return Key256(share)

    def new_range(
        self, tenant: TenantRecord, share: Key256, definition: TableDefinition
    ) -> tuple[TableRecord, FileKey]:
        """Draw a range of the whole hash space and its file's key, wrapped for the record."""
        range_id, key = self._entropy.uuid(), new_file_key(self._entropy)
        wrapped = WrappedKey.wrap(
            self._wrapping_key(tenant, share, definition.table_id),
            key.secret,
            key_id=range_id,
            context=_file_context(range_id, key.generation),
            entropy=self._entropy,
        )
        held = RangeRecord(
            range_id=range_id,
            tenant_uuid=tenant.uuid,
            table_version=newest(Schema.RANGE),
            file_uuid=key.file_uuid,
            generation=key.generation,
            file_key=wrapped.to_bytes(),
        )
        return TableRecord(definition=definition, range=held), key

    def file_key(self, tenant: TenantRecord, share: Key256, table: TableRecord) -> FileKey:
        """Open the key of a table's file. Raises: Unavailable: the node's key does not."""
        held = table.range
        where = f"file key of range {held.range_id}"
        wrapped = WrappedKey.from_bytes(held.file_key, file=NODE_FILE, where=where)
        secret = _unlocked(
            lambda: wrapped.unwrap(
                self._wrapping_key(tenant, share, table.definition.table_id),
                context=_file_context(held.range_id, held.generation),
                file=NODE_FILE,
                where=where,
            )
        )
        return FileKey(file_uuid=held.file_uuid, generation=held.generation, secret=secret)

    def _wrapping_key(self, tenant: TenantRecord, share: Key256, table_id: TableId) -> Key256:
        return self._keys.file_wrapping_key(tenant.uuid, tenant_share=share, table_id=table_id)


def _unlocked(unwrap: Callable[[], bytes]) -> bytes:
    try:
        return unwrap()
    except WrongKey as error:
        raise Unavailable(
            UnavailableKind.LOCKED, "The node's key does not open this; restore node.key."
        ) from error


def _share_context(tenant_uuid: str) -> bytes:
    return framed([b"tenant-share", tenant_uuid.encode()])


def _file_context(range_id: str, generation: int) -> bytes:
    return framed([b"range-file", range_id.encode(), str(generation).encode()])
