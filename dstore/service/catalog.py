"""Tenants and tables: what exists on this node, and how it comes and goes.

The catalog lives in memory and in the node database; memory changes only after the database has
committed, and in the same turn of the event loop. Changes to one tenant happen one after another,
and each goes on to its end even if the request that asked for it is cancelled.

Crash rules: a table's file exists before its record and goes after it, so a crash leaves at worst
a file that no record names; the next start sets it aside (`storage.orphans`). A tenant's key share
goes in one transaction, which also notes that the database's log has to be cut behind it
(`service.shredding`): without the share its files cannot be opened by anybody, wherever copies of
them lie.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError, RefusalKind, Refused, Unknown, excerpt
from dstore.model.rid import DEFAULT_LOCATION, validate_table_name, validate_tenant_name
from dstore.model.table_settings import NO_SETTINGS, KeyAttribute, TableSettings
from dstore.model.tables import Door, IdType, TableDefinition, TableId, v1_key
from dstore.service.changes import Changes
from dstore.storage import node_records
from dstore.storage.node_records import TableRecord, TenantRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.security.keys import Key256
    from dstore.service.disk_space import DiskSpace
    from dstore.service.shredding import Shredder
    from dstore.service.tenant_keys import TenantKeys
    from dstore.storage.node_database import NodeDatabase
    from dstore.storage.range_file import RangeFile
    from dstore.storage.range_files import RangeFiles
    from dstore.storage.vault.layout import FileKey

_log = get_logger(__name__)


PROTECTED: Final = (
    "Resource cannot be deleted as it is currently protected against deletion. "
    "Disable deletion protection first."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What somebody declares about a table that is to be made."""

    name: str
    partition: KeyAttribute
    sort: KeyAttribute | None = None
    settings: TableSettings = NO_SETTINGS


@dataclass(slots=True, kw_only=True)
class Tenant:
    """A tenant with its tables by name; `share` is its (tenant, node) key, in memory only."""

    record: TenantRecord
    share: Key256 = field(repr=False)
    tables: dict[str, TableRecord] = field(default_factory=dict)
    table_names: list[str] = field(default_factory=list)  # sorted

    def add(self, table: TableRecord) -> None:
        """Take a new table in."""
        self.tables[table.definition.name] = table
        insort(self.table_names, table.definition.name)

    def remove(self, name: str) -> None:
        """Drop a table."""
        del self.tables[name]
        del self.table_names[bisect_left(self.table_names, name)]


class Catalog:
    """The tenants and tables of a stand-alone node. Used from one event loop."""

    def __init__(
        self,
        *,
        database: NodeDatabase,
        files: RangeFiles,
        keys: TenantKeys,
        disk: DiskSpace,
        shredder: Shredder,
        clock: Clock,
        entropy: Entropy,
        location: str = DEFAULT_LOCATION,
    ) -> None:
        """Start empty; `load` fills it."""
        self.location = location
        self._database = database
        self._files = files
        self._keys = keys
        self._disk = disk
        self._shredder = shredder
        self._clock = clock
        self._entropy = entropy
        self._tenants: dict[str, Tenant] = {}
        self._tenant_names: list[str] = []  # sorted
        self._changes = Changes()
        self._mourners: list[Callable[[str], None]] = []
        # Where a range's count belongs, and the counts that the database has not been told.
        self._places: dict[str, tuple[str, str]] = {}
        self._untold: dict[str, int] = {}
        self._entries = 0

    # ------------------------------------------------------------------------------- looking

    def tenant_names(self) -> Sequence[str]:
        """The names of all tenants, sorted; not to be changed."""
        return self._tenant_names

    def tenants(self) -> Sequence[Tenant]:
        """All tenants, by name."""
        return [self._tenants[name] for name in self._tenant_names]

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
        """Open the table's range file, or return it open.

        Raises: Refused: the table was deleted since it was found.
        """
        range_id = table.range.range_id
        file = self._files.peek(range_id)
        if file is None:
            key = self._file_key(table)
            file = await self._files.open(range_id, key)
            self._file_key(table)  # it may have been deleted meanwhile
        return file

    def quantity(self, table: TableRecord) -> int:
        """Count a table's entries: exactly if its file was opened by now, else as last noted."""
        found = self._files.quantity(table.range.range_id)
        return table.range.quantity if found is None else found

    def size_bytes(self, table: TableRecord) -> int:
        """Measure the database of a table: its pages, or two look-ups in a folder."""
        return self._files.size_bytes(table.range.range_id)

    @property
    def table_count(self) -> int:
        """Tables of all tenants."""
        return len(self._places)

    def entry_count(self) -> int:
        """Count the entries of all tables; costs what changed since the last time."""
        self._take_quantities()
        return self._entries

    # -------------------------------------------------------------------------------- loading

    async def load(self) -> node_records.NodeContents:
        """Read the catalog and unwrap the tenants' shares."""
        contents = await self._database.read(node_records.load)
        for record in contents.tenants:
            self._tenants[record.name] = Tenant(record=record, share=self._keys.share(record))
        for table in contents.tables:
            self._tenants[table.definition.tenant].tables[table.definition.name] = table
            self._count_in(table)
        for tenant in self._tenants.values():
            tenant.table_names.extend(sorted(tenant.tables))
        self._tenant_names.extend(sorted(self._tenants))
        return contents

    async def store_quantities(self) -> None:
        """Write the counts that changed into the table of tables."""
        self._take_quantities()
        changed, self._untold = self._untold, {}
        if not changed:
            return
        counts = list(changed.items())
        try:
            await self._database.run(lambda db: node_records.set_quantities(db, counts))
        except BaseException:
            self._untold = changed | self._untold
            raise

    async def settle(self) -> None:
        """Return when no change is under way."""
        await self._changes.settle()

    # ------------------------------------------------------------------------------- changing

    def on_deleted(self, mourner: Callable[[str], None]) -> None:
        """Have `mourner` told a tenant's name as soon as it is deleted, before anything else."""
        self._mourners.append(mourner)

    async def create_tenant(self, name: str) -> tuple[Tenant, bool]:
        """Create a tenant with its key share. Returns: the tenant, and whether it is new.

        Raises: Refused: a bad name. Unavailable: the disk is nearly full.
        """
        validate_tenant_name(name)
        return await self._changes.run(name, self._create_tenant(name))

    async def delete_tenant(self, name: str, *, force: bool) -> None:
        """Delete a tenant, its credentials, its files, and shred its keys.

        Raises: Refused: there is no such tenant, or it still has tables and `force` is false.
        """
        self.tenant(name)
        await self._changes.run(name, self._delete_tenant(name, force=force))

    async def create_table(
        self, tenant_name: str, name: str, *, id_type: IdType
    ) -> tuple[TableRecord, bool]:
        """Create a v1 table. Returns: the table, and whether it is new.

        Raises: Refused: a bad name, no such tenant, or a different table of that name.
            Unavailable: the disk is nearly full.
        """
        validate_table_name(name)
        self.tenant(tenant_name)
        return await self._changes.run(
            tenant_name, self._create_table(tenant_name, name, id_type=id_type)
        )

    async def declare_table(self, tenant_name: str, declared: Declared) -> TableRecord:
        """Create a DynamoDB table.

        Raises: Refused: a bad name, no such tenant, or there is a table of that name.
            Unavailable: the disk is nearly full.
        """
        validate_table_name(declared.name)
        self.tenant(tenant_name)
        return await self._changes.run(tenant_name, self._declare_table(tenant_name, declared))

    async def set_table(
        self, tenant_name: str, name: str, change: Callable[[TableDefinition], TableSettings]
    ) -> TableRecord:
        """Set a table's settings to what `change` makes of the definition, in the tenant's turn.

        Args:
            tenant_name: the tenant's.
            name: the table's.
            change: pure; runs in a thread.
        Raises: Refused: there is no such table; what `change` raises, and then nothing changed.
        """
        self.table(tenant_name, name)
        return await self._changes.run(tenant_name, self._set_table(tenant_name, name, change))

    async def delete_table(self, tenant_name: str, name: str) -> TableRecord:
        """Delete a table, its key and its files. Returns: what it was.

        Raises: Refused: there is no such table, or it is protected.
        """
        self.table(tenant_name, name)
        return await self._changes.run(tenant_name, self._delete_table(tenant_name, name))

    async def _create_tenant(self, name: str) -> tuple[Tenant, bool]:
        found = self._tenants.get(name)
        if found is not None:
            return found, False
        self._disk.check_write()
        record, share = self._keys.new_tenant(name, created_at_us=self._clock.wall_us())
        await self._database.run(lambda db: node_records.insert_tenant(db, record))
        tenant = self._tenants[name] = Tenant(record=record, share=share)
        insort(self._tenant_names, name)
        return tenant, True

    async def _delete_tenant(self, name: str, *, force: bool) -> None:
        tenant = self.tenant(name)
        if tenant.tables and not force:
            raise Refused(
                RefusalKind.CONFLICT,
                f"The tenant still has {len(tenant.tables)} table(s); delete them first, "
                "or repeat with ?force=true.",
            )
        await self._database.run(lambda db: node_records.delete_tenant(db, name))
        del self._tenants[name]
        del self._tenant_names[bisect_left(self._tenant_names, name)]
        for table in tenant.tables.values():
            self._count_out(table)
        for mourner in self._mourners:
            mourner(name)
        await self._shredder.shred_if_due()
        for table in tenant.tables.values():
            await self._delete_file(table)

    async def _create_table(
        self, tenant_name: str, name: str, *, id_type: IdType
    ) -> tuple[TableRecord, bool]:
        tenant = self.tenant(tenant_name)
        found = tenant.tables.get(name)
        if found is not None:
            return _the_same(found, id_type), False
        declared = Declared(name=name, partition=v1_key(id_type))
        return await self._add_table(tenant, declared, door=Door.V1), True

    async def _declare_table(self, tenant_name: str, declared: Declared) -> TableRecord:
        tenant = self.tenant(tenant_name)
        if declared.name in tenant.tables:
            raise Refused(RefusalKind.CONFLICT, f"Table already exists: {declared.name}")
        return await self._add_table(tenant, declared, door=Door.DYNAMODB)

    async def _add_table(self, tenant: Tenant, declared: Declared, *, door: Door) -> TableRecord:
        self._disk.check_write()
        definition = TableDefinition(
            tenant=tenant.record.name,
            name=declared.name,
            table_id=TableId(self._entropy.uuid()),
            partition=declared.partition,
            sort=declared.sort,
            door=door,
            created_at_us=self._clock.wall_us(),
            settings=declared.settings,
        )
        table, key = self._keys.new_range(tenant.record, tenant.share, definition)
        await self._files.create(table.range.range_id, key)
        try:
            await self._database.run(lambda db: node_records.insert_table(db, table))
        except DStoreError as error:
            if not isinstance(error, Unknown):  # then the record may be there
                await self._delete_file(table)
            raise
        tenant.add(table)
        self._count_in(table)
        return table

    async def _set_table(
        self, tenant_name: str, name: str, change: Callable[[TableDefinition], TableSettings]
    ) -> TableRecord:
        before = self.table(tenant_name, name).definition
        # No look at the free disk: lifting a protection may be what makes room.
        settings = await in_thread(partial(change, before))  # a request may state very much
        definition = replace(before, settings=settings)
        await self._database.run(lambda db: node_records.update_table(db, definition))
        tables = self.tenant(tenant_name).tables
        # Its range may have been counted anew meanwhile: only the definition is replaced.
        tables[name] = replace(tables[name], definition=definition)
        return tables[name]

    async def _delete_table(self, tenant_name: str, name: str) -> TableRecord:
        table = self.table(tenant_name, name)
        if table.definition.settings.is_protected:
            raise Refused(RefusalKind.CONFLICT, PROTECTED)
        await self._database.run(lambda db: node_records.delete_table(db, tenant_name, name))
        table = self.table(tenant_name, name)  # it may have been counted anew meanwhile
        self.tenant(tenant_name).remove(name)
        self._count_out(table)
        await self._delete_file(table)
        return table

    async def _delete_file(self, table: TableRecord) -> None:
        """Delete the file of a table that is gone; what can't be deleted waits for the next start.

        Its key is gone by then, so nobody can open it.
        """
        try:
            await self._files.delete(table.range.range_id)
        except (DStoreError, OSError) as error:
            _log.warning("file_left", range=table.range.range_id, error=type(error).__name__)

    # ------------------------------------------------------------------------------- the rest

    def _file_key(self, table: TableRecord) -> Callable[[], FileKey]:
        """Make what opens a table's key. Raises: Refused: the catalog does not name it any more."""
        definition = table.definition
        if table.range.range_id not in self._places:
            raise _no_such("table", definition.name)
        tenant = self.tenant(definition.tenant)
        return partial(self._keys.file_key, tenant.record, tenant.share, table)

    def _count_in(self, table: TableRecord) -> None:
        definition, held = table.definition, table.range
        self._places[held.range_id] = (definition.tenant, definition.name)
        self._entries += held.quantity

    def _count_out(self, table: TableRecord) -> None:
        del self._places[table.range.range_id]
        self._untold.pop(table.range.range_id, None)
        self._entries -= table.range.quantity

    def _take_quantities(self) -> None:
        """Take over the counts that changed since the last time."""
        for range_id, quantity in self._files.take_changed_quantities().items():
            place = self._places.get(range_id)
            if place is None:
                continue
            tables = self._tenants[place[0]].tables
            table = tables[place[1]]
            if quantity == table.range.quantity:
                continue
            self._entries += quantity - table.range.quantity
            self._untold[range_id] = quantity
            tables[place[1]] = replace(table, range=replace(table.range, quantity=quantity))


def _the_same(found: TableRecord, id_type: IdType) -> TableRecord:
    """Give back the table that a v1 PUT asks for. Raises: Refused: it is another one."""
    definition = found.definition
    if definition.door is not Door.V1:
        raise Refused(
            RefusalKind.CONFLICT,
            "The table exists and was made through the DynamoDB API; choose another name.",
        )
    if definition.id_type is not id_type:
        raise Refused(
            RefusalKind.CONFLICT,
            f"The table exists with idType {definition.id_type}; "
            "delete it first, or choose another name.",
        )
    return found


def _no_such(what: str, name: str) -> Refused:
    message = f"There is no {what} {excerpt(name)}; create it first."
    return Refused(RefusalKind.NOT_FOUND, message)
