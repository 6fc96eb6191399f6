"""What a node holds beside its ranges: seeds of ranges that are split, and what was split.

A seed's file is made before its record, and is a range's only when its record says so, in the
transaction that also says that its parent is none any more (ADR 0018). What is here changes inside
the turn of the tenant, as all of `holdings.Holdings` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dstore.model.errors import NotMine
from dstore.model.ranges import RangeMap
from dstore.storage import node_records, table_records
from dstore.storage.table_records import Cut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from dstore.model.ranges import RangeRef, Table
    from dstore.model.tables import TableDefinition
    from dstore.service.held_tenant import Tenant
    from dstore.service.tenant_keys import TenantKeys
    from dstore.storage.node_database import NodeDatabase
    from dstore.storage.range_files import RangeFiles
    from dstore.storage.table_records import RangeRecord


@dataclass(frozen=True, slots=True)
class Shared:
    """What the holdings have too: tenants by name, records by range id, and what changes both."""

    tenants: Mapping[str, Tenant]
    ranges: dict[str, RangeRecord]
    take: Callable[[RangeRecord], None]
    drop: Callable[[Sequence[RangeRef]], None]


class HeldSeeds:
    """The seeds and the split ranges of an open node. Used from one event loop."""

    def __init__(
        self, shared: Shared, *, database: NodeDatabase, files: RangeFiles, keys: TenantKeys
    ) -> None:
        """Begin with what the holdings load."""
        self._database = database
        self._files = files
        self._keys = keys
        self._tenants = shared.tenants
        self._ranges = shared.ranges
        self._take = shared.take
        self._drop = shared.drop
        self._aside: dict[str, None] = {}  # ids of what is no range of its table

    def note(self, held: RangeRecord) -> None:
        """Hear what a record says by now."""
        if held.is_shown:
            self._aside.pop(held.range_id, None)
        else:
            self._aside[held.range_id] = None

    def forget(self, range_id: str) -> None:
        """Hear that it is gone."""
        self._aside.pop(range_id, None)

    def is_seed(self, range_id: str) -> bool:
        """Tell whether there is a seed of that id."""
        return range_id in self._aside and self._ranges[range_id].parent is not None

    def is_cut(self, range_id: str) -> bool:
        """Tell whether it is a range that was split: only its file is left."""
        return range_id in self._aside and self._ranges[range_id].is_cut

    def every(self) -> Sequence[RangeRecord]:
        """List all seeds."""
        return [self._ranges[each] for each in self._aside if self.is_seed(each)]

    def aside(self, definition: TableDefinition) -> Sequence[RangeRef]:
        """List what is held of a table that is no range of it."""
        records = [self._ranges[each] for each in self._aside]
        name = (definition.tenant, definition.name)
        return [held.ref for held in records if (held.tenant, held.table) == name]

    def all_of(self, table: Table) -> Sequence[RangeRef]:
        """List all that is held of a table: its ranges, seeds, and what was split."""
        return (*table.ranges.refs, *self.aside(table.definition))

    def split(self, definition: TableDefinition) -> Sequence[RangeRef]:
        """List the ranges of a table that were split, and whose files are left."""
        return [ref for ref in self.aside(definition) if self.is_cut(ref.range_id)]

    async def plant(self, parent_id: str, refs: Sequence[RangeRef], *, epoch: int) -> None:
        """Make files for both children of a range, the lower one first, unless they are there.

        Seeds of the range in older epochs go: nothing can become of them.

        Raises: NotMine: the range is not here. Unavailable, Unknown: not all may be there.
        """
        parent = self._ranges.get(parent_id)
        if parent is None or not parent.is_shown:
            raise NotMine(parent_id)
        tenant = self._tenants[parent.tenant]
        definition = tenant.tables[parent.table].definition
        for held in self.every():
            if held.parent == parent_id and held.parent_epoch < epoch:
                await self.uproot(held.range_id)
        low, high = refs
        cut = Cut(low_id=low.range_id, high_id=high.range_id, at_hash=high.low)
        for ref in refs:
            if ref.range_id in self._ranges:
                continue
            made, key = self._keys.new_range(tenant.record, tenant.shares, definition, ref=ref)
            seed = replace(made, parent=parent_id, parent_epoch=epoch, cut=cut)
            # What a crash has left of it goes; no record names it.
            await self._files.create(ref.range_id, key, epoch=ref.epoch)
            await self._insert(seed)
            self._take(seed)

    async def begin(self, child_id: str) -> None:
        """Make a range of a ripe seed, in the place of its parent, whose file stays.

        Its file is closed, so that it finds its replica when it is opened next.
        """
        child = self._ranges[child_id]
        assert child.parent is not None, child_id
        await self._database.run(lambda db: table_records.begin_child(db, child))
        parent = self._ranges.get(child.parent)
        if parent is not None:
            self._put(replace(parent, cut=child.cut))
        tenant = self._tenants[child.tenant]
        table = tenant.tables[child.table]
        left = [ref for ref in table.ranges.refs if ref.range_id != child.parent]
        self._put(replace(self._ranges[child_id], parent=None, cut=None))
        tenant.put(replace(table, ranges=RangeMap.of((*left, child.ref))))
        await self._files.shut(child_id)

    async def uproot(self, range_id: str) -> None:
        """Delete a seed."""

        def remove(connection: Any) -> None:
            node_records.note_shred_due(connection)
            table_records.delete_range(connection, range_id)

        await self._database.run(remove)
        self._drop([self._ranges[range_id].ref])
        await self._files.delete(range_id)

    def _put(self, held: RangeRecord) -> None:
        self._ranges[held.range_id] = held
        self.note(held)

    async def _insert(self, seed: RangeRecord) -> None:
        await self._database.run(lambda db: table_records.insert_ranges(db, [seed]))
