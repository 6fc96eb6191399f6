"""A tenant as a node holds it: its record, what is at hand of its keys, and its tables."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dstore.service.tenant_keys import Shares

if TYPE_CHECKING:
    from dstore.model.ranges import Table
    from dstore.security.keys import ControlShare, Key256
    from dstore.storage.node_records import TenantRecord


@dataclass(slots=True, kw_only=True)
class Tenant:
    """A tenant with its tables by name; `share` is its (tenant, node) key, in memory only."""

    record: TenantRecord
    share: Key256 = field(repr=False)
    control: ControlShare | None = None
    tables: dict[str, Table] = field(default_factory=dict)
    table_names: list[str] = field(default_factory=list)  # sorted

    @property
    def name(self) -> str:
        """What the tenant is called."""
        return self.record.name

    @property
    def uuid(self) -> str:
        """The tenant's UUID: control's, or this node's own where there is no control."""
        return self.record.tenant_id or self.record.uuid

    @property
    def created_at_us(self) -> int:
        """When it was made, wall time in microseconds since 1970."""
        return self.record.created_at_us

    @property
    def shares(self) -> Shares:
        """What is at hand of its keys."""
        return Shares(node=self.share, control=self.control)

    def put(self, table: Table) -> None:
        """Take a table in, or what it has become."""
        name = table.definition.name
        if name not in self.tables:
            insort(self.table_names, name)
        self.tables[name] = table

    def remove(self, name: str) -> None:
        """Drop a table."""
        del self.tables[name]
        del self.table_names[bisect_left(self.table_names, name)]
