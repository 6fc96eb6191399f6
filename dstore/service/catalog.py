"""Tenants and tables of a stand-alone node: what may come into being and go, and under what name.

It is the `Directory` and the `Registrar` of such a node. What the node holds, on the disk and in
memory, is in `holdings`, which keeps the crash rules; here is decided what that should be. A table
gets one range of all hashes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from dstore.base.limits import NEW_TABLE_RANGES_MAX
from dstore.base.threads import in_thread
from dstore.model.errors import NotMine
from dstore.model.ranges import RangeRef, Table, even_ranges
from dstore.model.rid import DEFAULT_LOCATION, validate_table_name, validate_tenant_name
from dstore.model.status import ResourceStatus
from dstore.model.table_settings import v1_settings
from dstore.model.tables import Door, IdType, TableDefinition, TableId, id_type_of, v1_key
from dstore.service.directory import Declared
from dstore.service.refusals import (
    check_deletable,
    check_factor,
    check_same,
    index_not_whole,
    no_such,
    table_exists,
    tenant_has_tables,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.model.index_rows import IndexSizes
    from dstore.model.table_settings import TableSettings
    from dstore.service.access import Principal
    from dstore.service.directory import KnownIndex, TroubledRange
    from dstore.service.disk_space import DiskSpace
    from dstore.service.held_tenant import Tenant
    from dstore.service.holdings import Holdings


class Catalog:
    """The tenants and tables of a stand-alone node. Used from one event loop."""

    def __init__(
        self,
        holdings: Holdings,
        *,
        disk: DiskSpace,
        clock: Clock,
        entropy: Entropy,
        location: str = DEFAULT_LOCATION,
    ) -> None:
        """Decide what `holdings` holds."""
        self.location = location
        self._holdings = holdings
        self._disk = disk
        self._clock = clock
        self._entropy = entropy
        self._mourners: list[Callable[[str], None]] = []

    # ------------------------------------------------------------------------------- looking

    def tenant_names(self) -> Sequence[str]:
        """The names of all tenants, sorted; not to be changed."""
        return self._holdings.tenant_names()

    def tenants(self) -> Sequence[Tenant]:
        """All tenants, by name."""
        return [self._holdings.tenant(name) for name in self._holdings.tenant_names()]

    def tenant(self, name: str) -> Tenant:
        """Find a tenant. Raises: Refused: there is none."""
        return self._holdings.tenant(name)

    def is_another(self, tenant: str, tenant_id: str) -> bool:
        """Tell whether there is a tenant of that name, and it is not the one of that UUID."""
        found = self._holdings.tenants.get(tenant)
        return found is not None and found.uuid != tenant_id

    def table(self, tenant: str, name: str) -> Table:
        """Find a table. Raises: Refused: there is no such tenant or table."""
        return self._holdings.table(tenant, name)

    def status(self, table: Table) -> ResourceStatus:
        """Say how a table is: there is no moment in which a part of it is missing."""
        del table
        return ResourceStatus.ACTIVE

    def indexes(self, table: Table) -> Sequence[KnownIndex]:
        """List the global indexes that are made: alone a node keeps what is declared, and no more.

        They are made once a control plane takes the node's tables over.
        """
        del table
        return ()

    def index_table(self, table: Table, name: str) -> Table:
        """Refuse: see `indexes`. Raises: Refused: there is no such index. Unavailable: there is."""
        if any(index.name == name for index in table.definition.settings.global_indexes):
            raise index_not_whole(name)
        raise no_such("index", name)

    async def moved(self, table: Table, at: NotMine, *, wait_s: float) -> Table:
        """Find a table anew: where there is one node, a range that is not here was deleted.

        Raises: Refused: the table was deleted. `at`: the table is there, and its range is not.
        """
        del wait_s
        definition = table.definition
        found = self._holdings.table(definition.tenant, definition.name)
        if found.definition.table_id != definition.table_id:
            raise no_such("table", definition.name)  # this one was made later, under its name
        if found.ranges == table.ranges:
            raise at
        return found

    def quantity(self, table: Table) -> int:
        """Count a table's entries: exactly if its files were opened by now, else as last noted."""
        return self._holdings.counts.quantity(table.ranges.refs)

    def size_bytes(self, table: Table) -> int:
        """Measure the databases of a table: their pages, or two look-ups in a folder each."""
        return self._holdings.counts.size_bytes(table.ranges.refs)

    def index_sizes(self, table: Table) -> IndexSizes:
        """Count what a table's local indexes have, as exactly as its entries."""
        return self._holdings.counts.index_sizes(table.ranges.refs)

    def troubles(self, table: Table) -> Sequence[TroubledRange]:
        """Name no ranges: each is here, and has the one replica that it should have."""
        del table
        return ()

    def copies(self, table: Table) -> int:
        """Say how many replicas a table has: alone a node has one of everything."""
        del table
        return 1

    @property
    def table_count(self) -> int:
        """Tables of all tenants."""
        return sum(len(tenant.tables) for tenant in self._holdings.tenants.values())

    def entry_count(self) -> int:
        """Count the entries of all tables; costs what changed since the last time."""
        return self._holdings.counts.sum()

    async def settle(self) -> None:
        """Return when no change is under way."""
        await self._holdings.changes.settle()

    # ------------------------------------------------------------------------------- changing

    def on_deleted(self, mourner: Callable[[str], None]) -> None:
        """Have `mourner` told a tenant's name as soon as it is deleted, before anything else."""
        self._mourners.append(mourner)

    async def create_tenant(
        self,
        name: str,
        *,
        by: Principal | None = None,  # noqa: ARG002 - surfaces audit what is changed here
    ) -> tuple[Tenant, bool]:
        """Create a tenant with its key share. Returns: the tenant, and whether it is new.

        Raises: Refused: a bad name. Unavailable: the disk is nearly full.
        """
        validate_tenant_name(name)
        return await self._holdings.turn(name, self._create_tenant(name))

    async def delete_tenant(
        self,
        name: str,
        *,
        force: bool,
        by: Principal | None = None,  # noqa: ARG002 - surfaces audit what is changed here
    ) -> None:
        """Delete a tenant, its credentials, its files, and shred its keys.

        Raises: Refused: there is no such tenant, or it still has tables and `force` is false.
        """
        self.tenant(name)
        await self._holdings.turn(name, self._delete_tenant(name, force=force))

    async def create_table(
        self,
        tenant_name: str,
        name: str,
        *,
        id_type: IdType,
        factor: int | None = None,
        ranges: int = 1,
        by: Principal | None = None,
    ) -> tuple[Table, bool]:
        """Create a v1 table. Returns: the table, and whether it is new.

        `factor` is kept for the cluster that the node may join: alone it has one copy of all.
        `ranges` is as `declare_table` has it.

        Raises: Refused: a bad name or factor, no such tenant, a different table of that name.
            Unavailable: the disk is nearly full.
        """
        validate_table_name(name)
        check_factor(factor)
        self.tenant(tenant_name)
        return await self._holdings.turn(
            tenant_name,
            self._create_table(
                _Asked(tenant_name, by),
                Declared(
                    name=name,
                    partition=v1_key(id_type),
                    settings=v1_settings(factor),
                ),
                ranges=ranges,
            ),
        )

    async def declare_table(
        self,
        tenant_name: str,
        declared: Declared,
        *,
        ranges: int = 1,
        by: Principal | None = None,
    ) -> Table:
        """Create a DynamoDB table.

        Args:
            tenant_name: the tenant's.
            declared: what it is to be.
            ranges: how many equal parts its hashes are in, 1 to NEW_TABLE_RANGES_MAX. It is for
                what tries several ranges on one node; no surface offers it.
            by: who wants it.
        Raises: Refused: a bad name, no such tenant, or there is a table of that name.
            Unavailable: the disk is nearly full.
        """
        validate_table_name(declared.name)
        self.tenant(tenant_name)
        return await self._holdings.turn(
            tenant_name, self._declare_table(_Asked(tenant_name, by), declared, ranges=ranges)
        )

    async def set_table(
        self,
        tenant_name: str,
        name: str,
        change: Callable[[TableDefinition], TableSettings],
        *,
        by: Principal | None = None,
    ) -> Table:
        """Set a table's settings to what `change` makes of the definition, in the tenant's turn.

        Args:
            tenant_name: the tenant's.
            name: the table's.
            change: pure; runs in a thread.
            by: who wants it.
        Raises: Refused: there is no such table; what `change` raises, and then nothing changed.
        """
        _Asked(tenant_name, by).found_in(self)
        found = self.table(tenant_name, name)
        return await self._holdings.turn(tenant_name, self._set_table(found, change))

    async def delete_table(
        self, tenant_name: str, name: str, *, by: Principal | None = None
    ) -> Table:
        """Delete a table, its key and its files. Returns: what it was.

        Raises: Refused: there is no such table, or it is protected.
        """
        _Asked(tenant_name, by).found_in(self)
        found = self.table(tenant_name, name)
        return await self._holdings.turn(tenant_name, self._delete_table(found))

    async def _create_tenant(self, name: str) -> tuple[Tenant, bool]:
        found = self._holdings.tenants.get(name)
        if found is not None:
            return found, False
        self._disk.check_write()
        return await self._holdings.add_tenant(name, created_at_us=self._clock.wall_us()), True

    async def _delete_tenant(self, name: str, *, force: bool) -> None:
        tenant = self.tenant(name)
        if tenant.tables and not force:
            raise tenant_has_tables(len(tenant.tables))
        await self._holdings.remove_tenant(name, then=partial(self._mourn, name))

    def _mourn(self, name: str) -> None:
        for mourner in self._mourners:
            mourner(name)

    async def _create_table(
        self, asked: _Asked, declared: Declared, *, ranges: int
    ) -> tuple[Table, bool]:
        tenant = asked.found_in(self)
        found = tenant.tables.get(declared.name)
        if found is not None:
            factor = declared.settings.replication_factor
            check_same(found.definition, id_type_of(declared.partition.kind), factor)
            return found, False
        return await self._add_table(tenant, declared, door=Door.V1, ranges=ranges), True

    async def _declare_table(self, asked: _Asked, declared: Declared, *, ranges: int) -> Table:
        tenant = asked.found_in(self)
        if declared.name in tenant.tables:
            raise table_exists(declared.name)
        return await self._add_table(tenant, declared, door=Door.DYNAMODB, ranges=ranges)

    async def _add_table(
        self, tenant: Tenant, declared: Declared, *, door: Door, ranges: int
    ) -> Table:
        assert 1 <= ranges <= NEW_TABLE_RANGES_MAX, ranges
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
        refs = [
            RangeRef(range_id=self._entropy.uuid(), low=low, high=high)
            for low, high in even_ranges(ranges)
        ]
        return await self._holdings.add_ranges(definition, refs)

    async def _set_table(
        self, found: Table, change: Callable[[TableDefinition], TableSettings]
    ) -> Table:
        before = self._same(found).definition
        # No look at the free disk: lifting a protection may be what makes room.
        settings = await in_thread(partial(change, before))  # a request may state very much
        return await self._holdings.put_definition(replace(before, settings=settings))

    async def _delete_table(self, found: Table) -> Table:
        definition = self._same(found).definition
        check_deletable(definition)
        return await self._holdings.remove_table(definition.tenant, definition.name)

    def _same(self, found: Table) -> Table:
        """Find a table as it is by now. Raises: Refused: it is gone, or a later one of its name."""
        before = found.definition
        table = self.table(before.tenant, before.name)
        if table.definition.table_id != before.table_id:
            raise no_such("table", before.name)
        return table


class _Asked(NamedTuple):
    """In which tenant a table is to be made, and by whom."""

    tenant: str
    by: Principal | None

    def found_in(self, catalog: Catalog) -> Tenant:
        """Find the tenant. Raises: Refused: there is none, or it is not the client's own."""
        found = catalog.tenant(self.tenant)
        if self.by is not None and self.by.tenant_id not in {"", found.uuid}:
            raise no_such("tenant", self.tenant)
        return found
