"""What a node of a cluster does when control decides: it takes ranges on and gives them up.

Every duty may be repeated, also after a crash half-way, and then changes nothing: whoever carries
out control's decisions simply does so again until they are true. A duty that contradicts what is
held is refused; what is held must go first, by a decision of its own, and never by a message that
was late.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dstore.base.threads import in_thread
from dstore.model.errors import NotMine, RefusalKind, Refused

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.model.ranges import RangeRef
    from dstore.model.tables import TableDefinition
    from dstore.security.keys import ControlShare
    from dstore.service.disk_space import DiskSpace
    from dstore.service.held_tenant import Tenant
    from dstore.service.holdings import Holdings
    from dstore.storage.orphans import Orphans


class RangeDuties:
    """Carries out control's decisions on one node. Used from one event loop."""

    def __init__(
        self, holdings: Holdings, *, orphans: Orphans, disk: DiskSpace, clock: Clock
    ) -> None:
        """Change what `holdings` holds; `disk` refuses what would not fit."""
        self._holdings = holdings
        self._orphans = orphans
        self._disk = disk
        self._clock = clock

    async def ensure_tenant(
        self, name: str, *, tenant_id: str, share: ControlShare | None = None
    ) -> None:
        """Hold a tenant, and control's share of its keys in memory.

        Raises: Refused (conflict): another tenant of that name is held; drop it first.
            Unavailable: the disk is nearly full.
        """
        await self._holdings.turn(name, self._ensure_tenant(name, tenant_id, share))

    async def drop_tenant(self, name: str, *, tenant_id: str) -> None:
        """Hold a tenant no longer; its keys are shredded. Another one of that name stays."""
        await self._holdings.turn(name, self._drop_tenant(name, tenant_id))

    async def ensure_range(self, definition: TableDefinition, ref: RangeRef) -> RangeRef:
        """Hold a range of a table, empty if it is new, in the epoch that `ref` says or a later one.

        The file is made first, then its record: after a crash in between the file is an orphan,
        and the next call makes another in its place.

        Args:
            definition: the table's; one that differs from what is held replaces it, as long as
                it is the same table.
            ref: which range; its tenant is held already.
        Returns: the range as it is held.
        Raises: Refused (conflict): a table of another id has that name here, or the range is held
            with other bounds, or overlaps another one: what is held goes first. Refused (not
            found): the tenant is not held. Unavailable: nothing was done; ask again.
        """
        tenant = definition.tenant
        return await self._holdings.turn(tenant, self._ensure_range(definition, ref))

    async def drop_range(self, range_id: str) -> None:
        """Hold a range no longer: its record and key go first, then its file."""
        try:
            tenant = self._holdings.table_of(range_id).definition.tenant
        except NotMine:
            return
        await self._holdings.turn(tenant, self._drop_range(range_id))

    async def _ensure_tenant(self, name: str, tenant_id: str, share: ControlShare | None) -> None:
        found = self._holdings.tenants.get(name)
        if found is None:
            self._disk.check_write()
            found = await self._holdings.add_tenant(
                name, created_at_us=self._clock.wall_us(), tenant_id=tenant_id
            )
        elif found.record.tenant_id != tenant_id:
            raise _conflict("Another tenant of that name is held here; it has to go first.")
        found.control = share

    async def _drop_tenant(self, name: str, tenant_id: str) -> None:
        found = self._holdings.tenants.get(name)
        if found is not None and found.record.tenant_id == tenant_id:
            await self._holdings.remove_tenant(name, then=_nothing)

    async def _ensure_range(self, definition: TableDefinition, ref: RangeRef) -> RangeRef:
        holdings = self._holdings
        tenant = holdings.tenant(definition.tenant)
        await self._ensure_definition(tenant, definition)
        held = holdings.ranges.get(ref.range_id)
        if held is None:
            self._check_room(tenant, definition, ref)
            self._disk.check_write()
            # What a crash has left of it, or what was here before it was given up.
            await in_thread(partial(self._orphans.disown, ref.range_id))
            await holdings.add_ranges(definition, [ref])
            return holdings.ranges[ref.range_id].ref
        if (held.tenant, held.table) != (definition.tenant, definition.name):
            raise _conflict("The range is held here as a part of another table.")
        if (held.hash_start, held.hash_end) != (ref.low, ref.high):
            raise _conflict("The range is held here with other bounds, and those never change.")
        if held.epoch < ref.epoch:
            await holdings.raise_epoch(ref.range_id, ref.epoch)
        return holdings.ranges[ref.range_id].ref

    async def _ensure_definition(self, tenant: Tenant, definition: TableDefinition) -> None:
        known = tenant.tables.get(definition.name)
        if known is None:
            return
        if known.definition.table_id != definition.table_id:
            raise _conflict("Another table of that name is held here; its ranges have to go first.")
        if known.definition != definition:
            await self._holdings.put_definition(definition)

    async def _drop_range(self, range_id: str) -> None:
        if range_id in self._holdings.ranges:
            await self._holdings.remove_range(range_id)

    def _check_room(self, tenant: Tenant, definition: TableDefinition, ref: RangeRef) -> None:
        """Refuse a range that overlaps another one (I8)."""
        known = tenant.tables.get(definition.name)
        for other in () if known is None else known.ranges.refs:
            if other.low <= ref.high and ref.low <= other.high:
                raise _conflict("Another range with some of these hashes is held here.")


def _nothing() -> None:
    """Tell nobody: a node's tenants have no credentials on it."""


def _conflict(message: str) -> Refused:
    return Refused(RefusalKind.CONFLICT, message)
