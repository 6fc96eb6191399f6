"""The ports through which use cases and surfaces see tenants and tables.

On a stand-alone node `catalog.Catalog` is both; a proxy has a directory made of the topology, and
has control change what there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from dstore.model.status import ResourceStatus
from dstore.model.table_settings import NO_SETTINGS, KeyAttribute, TableSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dstore.model.errors import NotMine
    from dstore.model.index_rows import IndexSizes
    from dstore.model.ranges import Table
    from dstore.model.tables import IdType, TableDefinition
    from dstore.service.access import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What somebody declares about a table that is to be made."""

    name: str
    partition: KeyAttribute
    sort: KeyAttribute | None = None
    settings: TableSettings = NO_SETTINGS


class RangeTrouble(StrEnum):
    """What is the matter with a range, the worst first; the words are the v1 API's."""

    UNAVAILABLE = "unavailable"  # its primary does not serve it now
    READ_ONLY = "readOnly"  # it does, and too few replicas are in sync and alive to write
    POSSIBLE_LOSS = "possibleLoss"  # it may have lost acknowledged writes
    UNDER_REPLICATED = "underReplicated"  # fewer replicas are in sync and alive than should be


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubledRange:
    """A range of a table that is not as it should be; both hashes are inclusive."""

    range_id: str
    low_hash: int
    high_hash: int
    trouble: RangeTrouble


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIndex:
    """A global index as it is by now; `table` is the hidden one that holds it.

    `status` is the hidden table's: CREATING until nodes hold it, UPDATING while it is filled from
    its base table, ACTIVE once it is whole, DELETING when it is given up. `is_doubtful`: since an
    accepted loss it may have other rows than its table, until it is made anew.
    """

    name: str
    status: ResourceStatus
    table: Table
    is_doubtful: bool = False

    @property
    def is_backfilling(self) -> bool:
        """Whether it is being filled."""
        return self.status is ResourceStatus.UPDATING


class KnownTenant(Protocol):
    """A tenant with its tables. `created_at_us` is wall time in microseconds since 1970."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def uuid(self) -> str:
        """Its UUID: one that is deleted and made again under its name has another."""

    @property
    def created_at_us(self) -> int:
        """When it was made."""

    @property
    def tables(self) -> Mapping[str, Table]:
        """Its tables by name; not to be changed."""

    @property
    def table_names(self) -> Sequence[str]:
        """The names of its tables, sorted; not to be changed."""


class Directory(Protocol):
    """What tenants and tables there are, and where. Look-ups only, all of them in memory."""

    @property
    def location(self) -> str:
        """The location that stands in RIDs."""

    def tenant_names(self) -> Sequence[str]:
        """The names of all tenants, sorted; not to be changed."""

    def tenant(self, name: str) -> KnownTenant:
        """Find a tenant. Raises: Refused: there is none."""

    def is_another(self, tenant: str, tenant_id: str) -> bool:
        """Tell whether there is a tenant of that name, and it is not the one of that UUID.

        Raises: Unavailable: it looks so, and what is known here is too old to say so.
        """

    def table(self, tenant: str, name: str) -> Table:
        """Find a table. Raises: Refused: there is no such tenant or table."""

    def status(self, table: Table) -> ResourceStatus:
        """Say how a table is, as last known: CREATING until all of it is there, then ACTIVE."""

    def indexes(self, table: Table) -> Sequence[KnownIndex]:
        """List a table's global indexes by name, those that are being deleted included.

        One that is declared and not among them is not made yet.
        """

    def index_table(self, table: Table, name: str) -> Table:
        """Find the hidden table of a global index, which no other look-up gives: 2 µs.

        Raises: Refused: there is no such index. Unavailable: it is not whole yet.
        """

    async def moved(self, table: Table, at: NotMine, *, wait_s: float) -> Table:
        """Find a table anew, after one of its ranges was not where `table` says.

        It may wait up to `wait_s` until it knows more than `table` does.

        Raises: Refused: the table was deleted. `at`: waiting will not help.
        """

    def quantity(self, table: Table) -> int:
        """Estimate a table's entries, as last known."""

    def size_bytes(self, table: Table) -> int:
        """Measure a table's databases, as last known."""

    def index_sizes(self, table: Table) -> IndexSizes:
        """Tell what a table's local indexes have, as last known; its databases have their rows."""

    def troubles(self, table: Table) -> Sequence[TroubledRange]:
        """Name the ranges of a table, or of an index's hidden one, that are not as they should be.

        A node that stands alone knows of none.
        """

    def copies(self, table: Table) -> int:
        """Say how many replicas a table's ranges are to have: the fewest that one of them is."""


class Registrar(Protocol):
    """Changes what tenants and tables there are; each change is durable when it returns.

    `by` is who wants it, None for this process itself. A tenant's client changes nothing of a later
    tenant of that name, however long its request waits for its turn.
    """

    async def create_tenant(
        self, name: str, *, by: Principal | None = None
    ) -> tuple[KnownTenant, bool]:
        """Create a tenant. Returns: it, and whether it is new. Raises: Refused: a bad name."""

    async def delete_tenant(self, name: str, *, force: bool, by: Principal | None = None) -> None:
        """Delete a tenant with all that is its.

        Raises: Refused: there is no such tenant, or it still has tables and `force` is false.
        """

    async def create_table(
        self,
        tenant_name: str,
        name: str,
        *,
        id_type: IdType,
        factor: int | None = None,
        by: Principal | None = None,
    ) -> tuple[Table, bool]:
        """Create a v1 table. Returns: it, and whether it is new.

        `factor` is `TableSettings.replication_factor`.

        Raises: Refused: a bad name or factor, no such tenant, a different table of that name.
        """

    async def declare_table(
        self, tenant_name: str, declared: Declared, *, by: Principal | None = None
    ) -> Table:
        """Create a DynamoDB table.

        Raises: Refused: a bad name, no such tenant, or there is a table of that name.
        """

    async def set_table(
        self,
        tenant_name: str,
        name: str,
        change: Callable[[TableDefinition], TableSettings],
        *,
        by: Principal | None = None,
    ) -> Table:
        """Set a table's settings to what `change`, which is pure, makes of its definition.

        Raises: Refused: there is no such table; what `change` raises, and then nothing changed.
        """

    async def delete_table(
        self, tenant_name: str, name: str, *, by: Principal | None = None
    ) -> Table:
        """Delete a table. Returns: what it was. Raises: Refused: there is none, or protected."""
