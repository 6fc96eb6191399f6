"""Tenants and tables: what exists on this node, and how it comes and goes.

The catalog lives in memory and in the node database; memory changes only after the database has
committed. Changes to one tenant happen one after another.

Crash rules: a table's file exists before its record and goes after it, so a crash leaves at worst
a file that no record names; the next start sets it aside (`storage.orphans`). A tenant's key share
goes in one transaction, and the database's log is cut behind it: without the share its files cannot
be opened by anybody, wherever copies of them lie.
"""

from __future__ import annotations

from asyncio import Lock
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind, excerpt
from dstore.model.rid import DEFAULT_LOCATION, validate_table_name, validate_tenant_name
from dstore.model.tables import Door, IdType, TableDefinition, TableId, v1_key
from dstore.security.envelope import WrappedKey, WrongKey, framed
from dstore.security.keys import Key256, new_key
from dstore.storage import node_records
from dstore.storage.node_keys import new_file_key
from dstore.storage.node_records import NODE_FILE, RangeRecord, TableRecord, TenantRecord
from dstore.storage.schema import Schema, newest
from dstore.storage.vault.layout import FileKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.storage.node_database import NodeDatabase
    from dstore.storage.node_keys import NodeKeys
    from dstore.storage.range_file import RangeFile
    from dstore.storage.range_files import RangeFiles


@dataclass(slots=True, kw_only=True)
class Tenant:
    """A tenant with its tables by name; `share` is its (tenant, node) key, in memory only."""

    record: TenantRecord
    share: Key256 = field(repr=False)
    tables: dict[str, TableRecord] = field(default_factory=dict)


class Catalog:
    """The tenants and tables of a stand-alone node. Used from one event loop."""

    def __init__(
        self,
        *,
        database: NodeDatabase,
        files: RangeFiles,
        keys: NodeKeys,
        clock: Clock,
        entropy: Entropy,
        location: str = DEFAULT_LOCATION,
    ) -> None:
        """Start empty; `load` fills it."""
        self.location = location
        self._database = database
        self._files = files
        self._keys = keys
        self._clock = clock
        self._entropy = entropy
        self._tenants: dict[str, Tenant] = {}
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)

    # ------------------------------------------------------------------------------- looking

    def tenants(self) -> Sequence[Tenant]:
        """All tenants, by name."""
        return sorted(self._tenants.values(), key=lambda tenant: tenant.record.name)

    def tenant(self, name: str) -> Tenant:
        """Find a tenant. Raises: Refused: there is none."""
        found = self._tenants.get(name)
        if found is None:
            raise _no_such("tenant", name)
        return found

    def table(self, tenant: str, name: str) -> TableRecord:
        """Find a table. Raises: Refused: there is no such tenant or table."""
        found = self.tenant(tenant).tables.get(name)
        if found is None:
            raise _no_such("table", name)
        return found

    async def file(self, table: TableRecord) -> RangeFile:
        """Open the table's range file, or return it open."""
        held = table.range
        file = self._files.peek(held.range_id)
        if file is not None:
            return file
        return await self._files.open(held.range_id, partial(self._file_key, table))

    def quantity(self, table: TableRecord) -> int:
        """Count a table's entries: exactly if its file is open, else as of its last closing."""
        file = self._files.peek(table.range.range_id)
        return table.range.quantity if file is None else file.quantity

    # -------------------------------------------------------------------------------- loading

    async def load(self) -> node_records.NodeContents:
        """Read the catalog and unwrap the tenants' shares."""
        contents = await self._database.run(node_records.load)
        for record in contents.tenants:
            share = self._unwrap_share(record)
            self._tenants[record.name] = Tenant(record=record, share=share)
        for table in contents.tables:
            self._tenants[table.definition.tenant].tables[table.definition.name] = table
        return contents

    async def store_quantities(self) -> None:
        """Write the counts of open files that changed into the table of tables."""
        by_range = {
            table.range.range_id: table
            for tenant in self._tenants.values()
            for table in tenant.tables.values()
        }
        changed = [
            (range_id, file.quantity)
            for range_id, file in self._files.open_files()
            if range_id in by_range and by_range[range_id].range.quantity != file.quantity
        ]
        if not changed:
            return
        await self._database.run(lambda db: node_records.set_quantities(db, changed))
        for range_id, quantity in changed:
            self._remember_quantity(by_range[range_id], quantity)

    # ------------------------------------------------------------------------------- changing

    async def create_tenant(self, name: str) -> tuple[Tenant, bool]:
        """Create a tenant with its key share. Returns: the tenant, and whether it is new."""
        validate_tenant_name(name)
        async with self._locks[name]:
            found = self._tenants.get(name)
            if found is not None:
                return found, False
            uuid, share = self._entropy.uuid(), new_key(self._entropy)
            wrapped = WrappedKey.wrap(
                self._keys.tenant_share_key(uuid),
                share,
                key_id=uuid,
                context=_share_context(uuid),
                entropy=self._entropy,
            )
            record = TenantRecord(
                name=name,
                uuid=uuid,
                node_key=wrapped.to_bytes(),
                created_at_us=self._clock.wall_us(),
            )
            await self._database.run(lambda db: node_records.insert_tenant(db, record))
            tenant = self._tenants[name] = Tenant(record=record, share=share)
            return tenant, True

    async def delete_tenant(self, name: str, *, force: bool) -> None:
        """Delete a tenant and shred its keys.

        Raises: Refused: there is no such tenant, or it still has tables and `force` is false.
        """
        async with self._locks[name]:
            tenant = self.tenant(name)
            if tenant.tables and not force:
                raise Refused(
                    RefusalKind.CONFLICT,
                    f"The tenant still has {len(tenant.tables)} table(s); delete them first, "
                    "or repeat with ?force=true.",
                )
            await self._database.run(lambda db: node_records.delete_tenant(db, name))
            del self._tenants[name]
            for table in tenant.tables.values():
                await self._files.delete(table.range.range_id)
            await self._database.shred()

    async def create_table(
        self, tenant_name: str, name: str, *, id_type: IdType
    ) -> tuple[TableRecord, bool]:
        """Create a v1 table. Returns: the table, and whether it is new.

        Raises: Refused: a bad name, no such tenant, or a different table of that name.
        """
        validate_table_name(name)
        async with self._locks[tenant_name]:
            tenant = self.tenant(tenant_name)
            found = tenant.tables.get(name)
            if found is not None:
                if found.definition.id_type is id_type and found.definition.sort is None:
                    return found, False
                raise Refused(
                    RefusalKind.CONFLICT,
                    f"The table exists with idType {found.definition.id_type}; "
                    "delete it first, or choose another name.",
                )
            definition = TableDefinition(
                tenant=tenant_name,
                name=name,
                table_id=TableId(self._entropy.uuid()),
                partition=v1_key(id_type),
                door=Door.V1,
                created_at_us=self._clock.wall_us(),
            )
            table, key = self._new_range(tenant, definition)
            await self._files.create(table.range.range_id, key)
            await self._database.run(lambda db: node_records.insert_table(db, table))
            tenant.tables[name] = table
            return table, True

    async def delete_table(self, tenant_name: str, name: str) -> None:
        """Delete a table, its key and its files. Raises: Refused: there is no such table."""
        async with self._locks[tenant_name]:
            table = self.table(tenant_name, name)
            await self._database.run(lambda db: node_records.delete_table(db, tenant_name, name))
            del self.tenant(tenant_name).tables[name]
            await self._files.delete(table.range.range_id)

    # ----------------------------------------------------------------------------------- keys

    def _new_range(
        self, tenant: Tenant, definition: TableDefinition
    ) -> tuple[TableRecord, FileKey]:
        """Draw a range of the whole hash space and its file's key, wrapped for the record."""
        range_id, key = self._entropy.uuid(), new_file_key(self._entropy)
        wrapped = WrappedKey.wrap(
            self._wrapping_key(tenant, definition.table_id),
            key.secret,
            key_id=range_id,
            context=_file_context(range_id, key.generation),
            entropy=self._entropy,
        )
        held = RangeRecord(
            range_id=range_id,
            tenant_uuid=tenant.record.uuid,
            table_version=newest(Schema.RANGE),
            file_uuid=key.file_uuid,
            generation=key.generation,
            file_key=wrapped.to_bytes(),
        )
        return TableRecord(definition=definition, range=held), key

    def _file_key(self, table: TableRecord) -> FileKey:
        held = table.range
        tenant = self.tenant(table.definition.tenant)
        where = f"file key of range {held.range_id}"
        wrapped = WrappedKey.from_bytes(held.file_key, file=NODE_FILE, where=where)
        secret = _unlocked(
            lambda: wrapped.unwrap(
                self._wrapping_key(tenant, table.definition.table_id),
                context=_file_context(held.range_id, held.generation),
                file=NODE_FILE,
                where=where,
            )
        )
        return FileKey(file_uuid=held.file_uuid, generation=held.generation, secret=secret)

    def _wrapping_key(self, tenant: Tenant, table_id: TableId) -> Key256:
        return self._keys.file_wrapping_key(
            tenant.record.uuid, tenant_share=tenant.share, table_id=table_id
        )

    def _unwrap_share(self, record: TenantRecord) -> Key256:
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

    def _remember_quantity(self, table: TableRecord, quantity: int) -> None:
        tenant = self._tenants.get(table.definition.tenant)
        name = table.definition.name
        if tenant is not None and tenant.tables.get(name) is table:
            held = replace(table.range, quantity=quantity)
            tenant.tables[name] = TableRecord(definition=table.definition, range=held)


def _no_such(what: str, name: str) -> Refused:
    message = f"There is no {what} {excerpt(name)}; create it first."
    return Refused(RefusalKind.NOT_FOUND, message)


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
