"""What this node holds: tenants with their key shares, tables, and the files of their ranges.

It lives in memory and in the node database; memory changes only after the database has committed,
and in the same turn of the event loop. Who decides what is held stands above: `catalog.Catalog` on
a stand-alone node, control, through `range_duties.RangeDuties`, in a cluster. Changes to one tenant
happen one after another (`turn`), and each goes on to its end even if whoever asked is cancelled.

Crash rules: a range's file exists before its record and goes after it, so a crash leaves at worst
a file that no record names; the next start sets it aside (`storage.orphans`). A tenant's key share
goes in one transaction, which also notes that the database's log has to be cut behind it
(`service.shredding`): without the share nobody can open its files, wherever copies of them lie.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dstore.base.limits import RETRY_AFTER_MS
from dstore.base.logging import get_logger
from dstore.model.errors import (
    Corrupt,
    DStoreError,
    NotMine,
    Unavailable,
    UnavailableKind,
    Unknown,
)
from dstore.model.index_rows import local_shapes
from dstore.model.ranges import RangeCount, RangeMap, Table
from dstore.service.changes import Changes
from dstore.service.held_seeds import HeldSeeds, Shared
from dstore.service.held_tenant import Tenant
from dstore.service.range_counts import RangeCounts
from dstore.service.refusals import no_such
from dstore.service.tenant_keys import Shares
from dstore.storage import node_records, placement_records, replica_log, table_records
from dstore.storage.node_keys import STANDALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Coroutine, Mapping, Sequence

    from dstore.model.ranges import RangeRef
    from dstore.model.tables import TableDefinition
    from dstore.security.keys import ControlShare
    from dstore.service.shredding import Shredder
    from dstore.service.tenant_keys import TenantKeys
    from dstore.storage.log_records import Standing
    from dstore.storage.node_database import NodeDatabase
    from dstore.storage.node_records import NodeContents
    from dstore.storage.placement_records import NotedPlacement
    from dstore.storage.range_file import RangeFile
    from dstore.storage.range_files import RangeFiles
    from dstore.storage.table_records import RangeRecord
    from dstore.storage.vault.layout import FileKey

_log = get_logger(__name__)

Result = TypeVar("Result")


def _nobody_waits(_range_id: str) -> None:
    """Take note of a range that was asked for where there is nothing to hurry."""


class Holdings:
    """The node's tenants, tables and ranges. Used from one event loop."""

    def __init__(
        self, *, database: NodeDatabase, files: RangeFiles, keys: TenantKeys, shredder: Shredder
    ) -> None:
        """Start empty; `load` fills it."""
        self._database = database
        self._files = files
        self._keys = keys
        self._shredder = shredder
        self._tenants: dict[str, Tenant] = {}
        self._tenant_names: list[str] = []  # sorted
        self._ranges: dict[str, RangeRecord] = {}
        self._epochs: dict[str, int] = {}  # in which ranges are served; every request looks here
        self._faults: dict[str, Corrupt] = {}  # of ranges that nobody can serve
        self._replicas: Container[str] | None = None  # of a node of a cluster: by their ranges' ids
        self._on_wanted: Callable[[str], None] = _nobody_waits
        self.on_set: Callable[[Table], None] = lambda _table: None  # of new settings
        self._peek = files.peek
        files.indexes_of = lambda range_id: local_shapes(self.table_of(range_id).definition)
        self.changes = Changes()
        self.counts = RangeCounts(files)
        own = Shared(self._tenants, self._ranges, take=self._take, drop=self._drop)
        self.seeds = HeldSeeds(own, database=database, files=files, keys=keys)

    def tenant_names(self) -> Sequence[str]:
        """The names of all tenants, sorted; not to be changed."""
        return self._tenant_names

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        """All tenants by name; not to be changed."""
        return self._tenants

    @property
    def ranges(self) -> Mapping[str, RangeRecord]:
        """All ranges by their ids; not to be changed."""
        return self._ranges

    def tenant(self, name: str) -> Tenant:
        """Find a tenant. Raises: Refused: there is none."""
        found = self._tenants.get(name)
        if found is None:
            raise no_such("tenant", name)
        return found

    def table(self, tenant: str, name: str) -> Table:
        """Find a table. Raises: Refused: there is no such tenant or table."""
        found = self.tenant(tenant).tables.get(name)
        if found is None:
            raise no_such("table", name)
        return found

    def table_of(self, range_id: str) -> Table:
        """Find the table of a range that is held here. Raises: NotMine: it is not."""
        held = self._ranges.get(range_id)
        if held is None:
            raise NotMine(range_id)
        return self._tenants[held.tenant].tables[held.table]

    def peek(self, ref: RangeRef) -> RangeFile | None:
        """Return the range's file if it is open.

        Raises: NotMine: the range is not held here, or not in the epoch that the caller knows.
            Corrupt: nobody can serve it.
        """
        range_id = ref.range_id
        epoch = self._epochs.get(range_id)  # None is no epoch that anybody asks for
        if epoch != ref.epoch:
            self._check_fault(range_id)
            if epoch is None:
                self._on_wanted(range_id)
            raise NotMine(range_id, epoch or 0)
        return self._peek(range_id)

    def peek_held(self, range_id: str) -> RangeFile | None:
        """Return the file of a range if it is held here and open, whether it is served or not."""
        return self._peek(range_id)

    async def open(self, ref: RangeRef) -> RangeFile:
        """Open the range's file, or return it open.

        Raises: NotMine: as `peek`. Unavailable: control's share of its key is not at hand, or too
            many files are in use. Corrupt: the file cannot be opened.
        """
        file = self.peek(ref)
        if file is None:
            self._check_replica(ref.range_id)
            file = await self._files.open(ref.range_id, self.file_key(ref.range_id))
            self.peek(ref)  # it may have been dropped meanwhile
        return file

    async def open_held(self, range_id: str) -> RangeFile:
        """Open the file of a range that is held here, served or not. Raises: as `open`.

        For its replica, and for eventual reads: what else a client is told goes through `open`.
        """
        file = self._peek(range_id)
        if file is None:
            self.table_of(range_id)
            self._check_replica(range_id)
            file = await self._files.open(range_id, self.file_key(range_id))
        return file

    def _check_replica(self, range_id: str) -> None:
        """Refuse to open the file of a range that is no replica yet, where every range is one.

        A file asks its replica from when it is opened, or nobody for as long as it is open: then
        what is written would be acknowledged by nobody else (I5).
        """
        is_taken_up = self._replicas is None or range_id in self._replicas
        if not is_taken_up and not self.seeds.is_seed(range_id):
            raise Unavailable(
                UnavailableKind.LOCKED,
                "The range is not taken up here yet; retry.",
                retry_after_ms=RETRY_AFTER_MS,
            )

    async def close_file(self, range_id: str) -> None:
        """Have the file of a range closed: it asks the replica that it was opened with."""
        await self._files.shut(range_id)

    async def standing(self, range_id: str) -> Standing:
        """Say where the replica in a range's file stands. Raises: as `open_held`."""
        file = await self.open_held(range_id)
        return await file.look(replica_log.standing)

    async def note_scrubs(self, times: Sequence[tuple[str, int]]) -> None:
        """Remember when ranges were scrubbed: (range id, wall time in microseconds)."""
        await self._database.run(partial(table_records.note_scrubs, times=times))
        for held, at_us in ((self._ranges.get(range_id), at_us) for range_id, at_us in times):
            if held is not None:
                self._ranges[held.range_id] = replace(held, scrubbed_at_us=at_us)

    async def noted_placements(self, range_ids: Sequence[str]) -> Mapping[str, NotedPlacement]:
        """Read what was noted of ranges' values; who is not in it is not held here."""
        return await self._database.read(partial(placement_records.read, range_ids=range_ids))

    async def note_placements(self, noted: Sequence[NotedPlacement]) -> None:
        """Remember ranges' values durably, should the coordinator lose them."""
        await self._database.run(partial(placement_records.note, noted=noted))

    # -------------------------------------------------------------------------------- serving

    def replicate(
        self, replicas: Container[str], *, on_wanted: Callable[[str], None] = _nobody_waits
    ) -> None:
        """Serve a range from now on only while its replica is the primary, as `serve` tells (I6).

        Call it before anything is served. Otherwise every range is, in the epoch of its record.
        `replicas` has the ids of the ranges whose files may be opened, as they are. `on_wanted` is
        told of a range, by its id, that was asked for and is not served.
        """
        self._replicas, self._on_wanted = replicas, on_wanted
        self._epochs.clear()

    def serve(self, range_id: str, epoch: int | None) -> None:
        """Answer for a range in an epoch, or, if that is None, no longer."""
        held = self._ranges.get(range_id)
        if held is None or epoch is None:
            self._epochs.pop(range_id, None)
            return
        self._faults.pop(range_id, None)
        self._epochs[range_id] = epoch
        self._show(held, epoch)

    def fail(self, range_id: str, error: Corrupt) -> None:
        """Answer for a range that it is damaged, until it is served: no other replica can."""
        self._faults[range_id] = error

    def _check_fault(self, range_id: str) -> None:
        fault = self._faults.get(range_id)
        if fault is not None:
            raise Corrupt(fault.message, file=fault.file, where=fault.where)

    def _show(self, held: RangeRecord, epoch: int) -> None:
        """Have the table of a range name the epoch in which it is served."""
        tenant, table = self._tenants[held.tenant], self.table_of(held.range_id)
        served = replace(held.ref, epoch=epoch)
        refs = (served if ref.range_id == held.range_id else ref for ref in table.ranges.refs)
        tenant.put(replace(table, ranges=RangeMap.of(refs)))

    # -------------------------------------------------------------------------------- loading

    async def load(self) -> NodeContents:
        """Read what is held, and unwrap the tenants' shares."""
        contents = await self._database.read(node_records.load)
        for record in contents.tenants:
            self._tenants[record.name] = Tenant(record=record, share=self._keys.share(record))
        for table in contents.tables:
            self._tenants[table.definition.tenant].tables[table.definition.name] = table
        for tenant in self._tenants.values():
            tenant.table_names.extend(sorted(tenant.tables))
        self._tenant_names.extend(sorted(self._tenants))
        for held in contents.ranges:
            self._take(held)
        return contents

    async def store_quantities(self) -> None:
        """Write the counts that changed into the table of tables."""
        counts = self.counts.untold()
        if not counts:
            return
        try:
            await self._database.run(lambda db: table_records.set_counts(db, counts))
        except BaseException:
            self.counts.tell_again(counts)
            raise

    # ------------------------------------------------------------------------------- changing
    # What follows runs inside `turn`, but for `turn` itself and `set_control_share`.

    async def turn(self, tenant: str, change: Coroutine[Any, Any, Result]) -> Result:
        """Run a change of a tenant when those before it are done, whole; see `Changes.run`."""
        return await self.changes.run(tenant, change)

    def set_control_share(self, tenant: str, share: ControlShare | None) -> None:
        """Keep control's share of a tenant's keys, or forget it. Raises: Refused: no tenant."""
        self.tenant(tenant).control = share

    async def add_tenant(
        self, name: str, *, created_at_us: int, tenant_id: str | None = None
    ) -> Tenant:
        """Make a tenant that is not there, with its key share."""
        record, share = self._keys.new_tenant(
            name, created_at_us=created_at_us, tenant_id=tenant_id
        )
        await self._database.run(lambda db: node_records.insert_tenant(db, record))
        tenant = self._tenants[name] = Tenant(record=record, share=share)
        insort(self._tenant_names, name)
        return tenant

    async def remove_tenant(self, name: str, *, then: Callable[[], None]) -> None:
        """Remove a tenant and all that is its; its keys are shredded, then its files deleted.

        `then` is called as soon as it is gone from the records, before anything else can happen.
        """
        await self._database.run(lambda db: node_records.delete_tenant(db, name))
        tenant = self._tenants.pop(name)
        del self._tenant_names[bisect_left(self._tenant_names, name)]
        refs = [ref for table in tenant.tables.values() for ref in self.seeds.all_of(table)]
        self._drop(refs)
        then()
        await self._shredder.shred_if_due()
        await self._delete_files(refs)

    async def hand_over(self, control_plane: str) -> None:
        """Note that a control plane keeps tenants, tables and credentials from now on.

        Nothing else changes meanwhile. Credentials that are in memory are of no use any more.
        """
        await self._database.run(lambda db: node_records.hand_over(db, control_plane))
        for tenant in self._tenants.values():
            tenant.record = replace(tenant.record, tenant_id=tenant.uuid)

    async def add_ranges(self, definition: TableDefinition, refs: Sequence[RangeRef]) -> Table:
        """Make ranges with their empty files; the table too, if nothing of it is here yet.

        All of them come into being or none; they do not overlap each other nor what is held.
        """
        tenant = self.tenant(definition.tenant)
        known = tenant.tables.get(definition.name)
        made: list[RangeRecord] = []
        try:
            for ref in refs:
                held, key = self._keys.new_range(tenant.record, tenant.shares, definition, ref=ref)
                await self._files.create(ref.range_id, key, epoch=ref.epoch)
                made.append(held)
            await self._database.run(
                lambda db: (
                    table_records.insert_table(db, definition, made)
                    if known is None
                    else table_records.insert_ranges(db, made)
                )
            )
        except DStoreError as error:
            if not isinstance(error, Unknown):  # then the records may be there
                await self._delete_files([held.ref for held in made])
            raise
        # Its definition may have been replaced on the way only by a change in this same turn, but
        # the epochs of its ranges by themselves (`serve`).
        now = tenant.tables.get(definition.name)
        held_refs = () if now is None else now.ranges.refs
        table = Table(definition=definition, ranges=RangeMap.of((*held_refs, *refs)))
        tenant.put(table)
        for held in made:
            self._take(held)
        return table

    async def put_definition(self, definition: TableDefinition) -> Table:
        """Replace the definition of a table that is there; its ranges stay as they are."""
        await self._database.run(lambda db: table_records.update_table(db, definition))
        tenant = self.tenant(definition.tenant)
        table = replace(tenant.tables[definition.name], definition=definition)
        tenant.put(table)
        self.on_set(table)
        return table

    async def raise_epoch(self, range_id: str, epoch: int) -> None:
        """Note that a range is in a higher epoch; where it has one replica, serve it in that."""
        await self._database.run(lambda db: table_records.set_epoch(db, range_id, epoch))
        held = self._ranges[range_id] = replace(self._ranges[range_id], epoch=epoch)
        if self._replicas is None:
            self._epochs[range_id] = epoch
            self._show(held, epoch)

    async def rewrap(self, range_id: str, control: ControlShare | None) -> None:
        """Wrap the key of a range's file anew, with another share of control's, or with none.

        Joining a control plane does so with every range, one by one, and may do so again; the share
        is the tenant's from the first one on, which opens the ranges that are still without.

        Raises: Unavailable: the key can't be opened with the shares at hand.
        """
        held, table = self._ranges[range_id], self.table_of(range_id)
        tenant = self._tenants[held.tenant]
        after = Shares(node=tenant.share, control=control)
        wrapped = self._keys.rewrapped(
            held, tenant.shares, after, table_id=table.definition.table_id
        )

        def store(connection: Any) -> None:
            node_records.note_shred_due(connection)  # the former wrap is in the log
            table_records.set_file_key(connection, wrapped)

        await self._database.run(store)
        self._ranges[range_id] = replace(
            self._ranges[range_id], file_key=wrapped.file_key, enrolment=wrapped.enrolment
        )
        if control is not None:
            tenant.control = control

    async def rewrite(self, range_id: str, *, promised_epoch: int | None = None) -> None:
        """Write a range's file anew under a fresh key, wrapped with the shares at hand.

        Requests wait meanwhile: some seconds a gigabyte. `promised_epoch`: see `RangeFiles`.

        Raises: Unavailable: a share is not at hand, or there is no room for a second copy; the file
            is as it was. Corrupt: a page of it is damaged; the same.
        """
        held, table = self._ranges[range_id], self.table_of(range_id)
        shares = self._tenants[held.tenant].shares
        coming, before, after = self._keys.renewed(held, shares, table_id=table.definition.table_id)

        def store(connection: Any) -> None:
            node_records.note_shred_due(connection)  # the former wrap is in the log
            table_records.set_file_key(connection, coming)

        async def record() -> None:
            await self._database.run(store)
            self._ranges[range_id] = replace(
                coming, epoch=self._ranges[range_id].epoch, quantity=held.quantity
            )

        await self._files.rewrite(
            range_id, before=before, after=after, record=record, promised_epoch=promised_epoch
        )

    def to_be_rewritten(self) -> Sequence[str]:
        """The ranges whose files have a key drawn without control's share: I4 is pending there."""
        return [held.range_id for held in self._ranges.values() if held.drawn_under == STANDALONE]

    async def remove_table(self, tenant_name: str, name: str) -> Table:
        """Remove a table with its ranges and their files. Returns: what it was."""

        def remove(connection: Any) -> None:
            node_records.note_shred_due(connection)
            table_records.delete_table(connection, tenant_name, name)

        await self._database.run(remove)
        tenant = self.tenant(tenant_name)
        table = tenant.tables[name]
        tenant.remove(name)
        self._drop(refs := self.seeds.all_of(table))
        await self._delete_files(refs)
        return table

    async def remove_range(self, range_id: str) -> None:
        """Remove a range with its file; with the last one of a table, the table's record too."""
        table = self.table_of(range_id)
        definition = table.definition
        if len(self.seeds.all_of(table)) == 1:
            await self.remove_table(definition.tenant, definition.name)
            return

        def remove(connection: Any) -> None:
            node_records.note_shred_due(connection)
            table_records.delete_range(connection, range_id)

        ref = self._ranges[range_id].ref
        await self._database.run(remove)
        now = self.table_of(range_id)  # the epochs of the others may have changed (`serve`)
        left = [each for each in now.ranges.refs if each.range_id != range_id]
        self.tenant(definition.tenant).put(replace(now, ranges=RangeMap.of(left)))
        self._drop([ref])
        await self._delete_files([ref])

    def _take(self, held: RangeRecord) -> None:
        self._ranges[held.range_id] = held
        self.seeds.note(held)
        if self._replicas is None and held.is_shown:
            self._epochs[held.range_id] = held.epoch
        self.counts.count_in(held.range_id, RangeCount(held.quantity, held.indexes))

    def _drop(self, refs: Sequence[RangeRef]) -> None:
        for ref in refs:
            del self._ranges[ref.range_id]
            self._epochs.pop(ref.range_id, None)
            self._faults.pop(ref.range_id, None)
            self.seeds.forget(ref.range_id)
            self.counts.count_out(ref.range_id)

    async def _delete_files(self, refs: Sequence[RangeRef]) -> None:
        """Delete files of ranges that are gone; what stays, for the next start, is without keys."""
        for ref in refs:
            try:
                await self._files.delete(ref.range_id)
            except (DStoreError, OSError) as error:
                _log.warning("file_left", range=ref.range_id, error=type(error).__name__)

    def file_key(self, range_id: str) -> Callable[[], FileKey]:
        """Make what opens a range's key, in a thread; it may be a renewed one by then."""

        def key() -> FileKey:
            held, definition = self._ranges.get(range_id), self.table_of(range_id).definition
            if held is None:
                raise NotMine(range_id)
            shares = self._tenants[held.tenant].shares
            return self._keys.file_key(held, shares, table_id=definition.table_id)

        return key
