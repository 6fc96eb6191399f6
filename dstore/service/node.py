"""A stand-alone node, put together: storage below, use cases above, and the jobs that keep both."""

from __future__ import annotations

from asyncio import get_running_loop, sleep
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from dstore.base.clock import US_PER_S
from dstore.base.limits import REPLICA_COPY_BYTES_PER_S
from dstore.base.logging import get_logger
from dstore.base.metrics import ExpiryMetrics
from dstore.model.errors import Unavailable
from dstore.replication.pace import Pace
from dstore.service.access import Access
from dstore.service.catalog import Catalog
from dstore.service.deferred import Deferred
from dstore.service.deferred_store import DeferredStore
from dstore.service.disk_space import DiskSpace
from dstore.service.entry_audit import EntryAudit
from dstore.service.expiring.expiry import Expiry
from dstore.service.expiry_states import ExpiryStates
from dstore.service.holdings import Holdings
from dstore.service.items import Items
from dstore.service.range_duties import RangeDuties
from dstore.service.range_heat import RangeHeat
from dstore.service.range_walks import RangeWalks
from dstore.service.repeats import OnceRanges
from dstore.service.shredding import Shredder
from dstore.service.tables import Tables
from dstore.service.tenant_keys import TenantKeys
from dstore.storage import node_records, rewriting
from dstore.storage.enrolment import enrol
from dstore.storage.entry_cache import EntryCache
from dstore.storage.node_database import NodeDatabase
from dstore.storage.node_keys import load_or_create
from dstore.storage.orphans import Orphans
from dstore.storage.range_files import FOLDER, RangeFiles
from dstore.storage.surroundings import Surroundings
from dstore.storage.table_records import NODE_FILE
from dstore.storage.threads import StorageThreads
from dstore.storage.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.security.keys import ControlShare
    from dstore.service.deferred import Plan
    from dstore.service.directory import Directory, Registrar
    from dstore.storage.node_keys import NodeKeys
    from dstore.storage.replication_port import Replication
    from dstore.storage.surroundings import Listeners

_log = get_logger(__name__)

Result = TypeVar("Result")

# Writers, cold reads, scans and folding share these; most wait for the disk or for SQLite.
STORAGE_THREADS: Final = 8
DISK_LOOK_S: Final = 1.0
TIDY_S: Final = 5.0
QUANTITIES_S: Final = 30.0
ORPHANS_S: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What an operator decides about a node's storage; units are in the names."""

    directory: Path
    location: str
    page_cache_bytes: int
    entry_cache_bytes: int
    open_files_max: int
    free_disk_bytes_min: int
    wal_pages_checkpoint: int
    copy_bytes_per_s: int = REPLICA_COPY_BYTES_PER_S


class Node:
    """The use cases of one stand-alone node. Make it with `open_node`."""

    def __init__(
        self,
        options: NodeOptions,
        *,
        keys: NodeKeys,
        database: NodeDatabase,
        files: RangeFiles,
        executor: StorageThreads,
        replications: dict[str, Replication],
        listeners: Listeners,
        expired: ExpiryMetrics,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Wire the use cases; nothing is read yet."""
        self.replications = replications
        self.pace = Pace(
            bytes_per_s=options.copy_bytes_per_s, rests=True
        )  # of copies that are sent
        """Of ranges that are replicas, by id; noted before their files are opened."""
        self.uuid = keys.uuid
        self.control_planes = keys.control_planes  # that it is enrolled with
        self.files = files
        self.disk = DiskSpace(options.directory, free_bytes_min=options.free_disk_bytes_min)
        self.shredder = Shredder(database)
        self.holdings = Holdings(
            database=database,
            files=files,
            keys=TenantKeys(keys, entropy),
            shredder=self.shredder,
        )
        self.catalog = Catalog(
            self.holdings,
            disk=self.disk,
            clock=clock,
            entropy=entropy,
            location=options.location,
        )
        self.directory: Directory = self.catalog
        self.registrar: Registrar = self.catalog
        self.heat = RangeHeat(clock)
        self.ranges = OnceRanges(self.holdings, self.disk, note=self.heat.note)
        self.expiry = Expiry(
            self.holdings, heat=self.heat, disk=self.disk, clock=clock, counts=expired
        )
        self.holdings.on_set = self.expiry.set
        listeners.opened, listeners.expiring = self.expiry.opened, self.expiry.expiring
        self.walks = RangeWalks(self.catalog, self.ranges)
        self.access = Access(
            database=database, catalog=self.catalog, keys=keys, clock=clock, entropy=entropy
        )
        self.items = Items(self.catalog, self.ranges, self.walks)
        self.tables = Tables(self.catalog, clock, expiry=ExpiryStates(self.ranges))
        store = DeferredStore(
            database=database, catalog=self.catalog, keys=keys, clock=clock, entropy=entropy
        )
        self.deferred = Deferred(store, self.items, self.disk)
        self.entry_audit = EntryAudit()
        self.orphans_count = 0  # ranges set aside because no record names them
        self._orphans = Orphans(options.directory)
        self._ranges_folder = options.directory / FOLDER
        self.duties = RangeDuties(self.holdings, orphans=self._orphans, disk=self.disk, clock=clock)
        self._clock = clock
        self._database = database
        self._executor = executor

    async def load(self) -> None:
        """Read what the node knows, before anything is served."""
        contents = await self.holdings.load()
        await self.settings()  # if they are damaged, this start fails here, and not a job later
        await self.shredder.shred_if_due()
        self.access.load(contents)
        await self.deferred.load()
        known = {held.range_id: held.generation for held in contents.ranges}
        await self._in_thread(lambda: self._orphans.sort(known, now_s=self._now_s()))
        await self._in_thread(lambda: rewriting.settle_all(self._ranges_folder, known))
        await self._look_at_orphans()

    async def settings(self) -> dict[str, str]:
        """Read what the node remembers of itself beyond the catalog."""
        return await self._database.read(node_records.settings)

    async def set_setting(self, name: str, value: str) -> None:
        """Remember something across restarts."""
        await self._database.run(lambda db: node_records.set_setting(db, name, value))

    async def watch_disk(self) -> None:
        """Measure the free disk, until cancelled."""
        while True:
            had_space = self.disk.has_space
            self.disk.look()
            if self.disk.has_space != had_space:
                event = "disk_space_back" if self.disk.has_space else "disk_space_low"
                _log.warning(event, free_bytes=self.disk.free_bytes)
            await sleep(DISK_LOOK_S)

    async def tidy_files(self) -> None:
        """Close idle files, shred the keys of deleted ones, tell the audit, until cancelled."""
        while True:
            await sleep(TIDY_S)
            await self.files.tidy()
            await self.shredder.shred_if_due()
            self.entry_audit.flush()

    async def tidy_orphans(self) -> None:
        """Delete what was set aside long enough ago, until cancelled."""
        while True:
            await sleep(ORPHANS_S)
            await self._look_at_orphans()

    async def store_quantities(self) -> None:
        """Keep the table of tables' estimates fresh, until cancelled."""
        while True:
            await sleep(QUANTITIES_S)
            await self._note_quantities()

    async def do_deferred(self, plan: Plan) -> None:
        """Do the writes accepted with 202, until cancelled."""
        await self.deferred.run(plan)

    async def expire_items(self) -> None:
        """Remove items whose time is over, until cancelled."""
        await self.expiry.run()

    async def close(self) -> None:
        """Answer every queued write, note the counts, close all files. Nothing may come after."""
        self.entry_audit.flush()
        await self.catalog.settle()
        await self._note_quantities()
        await self.files.close()
        await self.shredder.shred_if_due()
        await self._database.drain()
        await self._in_thread(self._database.close)
        self._executor.shutdown()

    async def _look_at_orphans(self) -> None:
        await self._in_thread(lambda: self._orphans.delete_due(now_s=self._now_s()))
        self.orphans_count = await self._in_thread(self._orphans.count)

    def _now_s(self) -> int:
        return self._clock.wall_us() // US_PER_S

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await get_running_loop().run_in_executor(self._executor, work)

    async def _note_quantities(self) -> None:
        """Store the estimates; on a full disk they stay as they are, and nothing else stops."""
        with suppress(Unavailable):
            await self.holdings.store_quantities()


async def open_node(
    options: NodeOptions,
    *,
    clock: Clock,
    entropy: Entropy,
    on_fatal: Callable[[BaseException], None],
    on_batch: Callable[[int], None] = lambda _writes: None,
    expired: ExpiryMetrics | None = None,
    shares: Sequence[ControlShare] = (),
    vault: Vault | None = None,
) -> Node:
    """Open a data directory, making it on the first start, and load what it holds.

    The caller holds the directory's lock. `on_batch` is told of how many writes each batch was that
    a range committed; `expired` counts the items that expire. `shares` are the (node, control) keys
    of the planes that the node has joined, see `storage.node_keys.load_or_create`; its database is
    put under one that cannot unlock it yet (`storage.enrolment`), so what asks for the share again
    is on the disk.
    `vault` opens its files if they lie on a disk of its own kind, as in the simulator.

    Raises: Corrupt, WrongKey: it cannot be opened. Unavailable: it waits for control.
    """
    executor = StorageThreads(STORAGE_THREADS)

    def fail(error: BaseException) -> None:
        executor.halt()  # before the process can begin, let alone acknowledge, another batch
        on_fatal(error)

    vault = vault or Vault(entropy=entropy, page_cache_bytes=options.page_cache_bytes)
    replications: dict[str, Replication] = {}
    around = Surroundings(
        vault=vault,
        executor=executor,
        clock=clock,
        entropy=entropy,
        on_fatal=fail,
        wal_pages_checkpoint=options.wal_pages_checkpoint,
        is_halted=lambda: executor.is_halted,
        on_batch=on_batch,
        replication_of=replications.get,
        entries=EntryCache(bytes_max=options.entry_cache_bytes),
    )
    directory = options.directory.absolute()

    opening = partial(_open_storage, directory, around, entropy=entropy, shares=shares)
    keys, database = await get_running_loop().run_in_executor(executor, opening)
    node = Node(
        options,
        keys=keys,
        database=database,
        files=RangeFiles(directory, around, open_files_max=options.open_files_max),
        executor=executor,
        replications=replications,
        listeners=around.listeners,
        expired=expired or ExpiryMetrics(),
        clock=clock,
        entropy=entropy,
    )
    await node.load()
    return node


def _open_storage(
    directory: Path, around: Surroundings, *, entropy: Entropy, shares: Sequence[ControlShare]
) -> tuple[NodeKeys, NodeDatabase]:
    """Unlock the node's database, with its enrolments of by now."""
    database = directory / NODE_FILE
    keys = load_or_create(directory, database=database, entropy=entropy, shares=shares)
    for share in shares:
        if share.control_plane not in keys.control_planes:
            keys = enrol(
                directory, keys, share, database=database, vault=around.vault, entropy=entropy
            )
    return keys, NodeDatabase(directory, key=keys.database_key, around=around)
