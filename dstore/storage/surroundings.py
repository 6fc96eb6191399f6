"""What every range file of a node shares."""

from __future__ import annotations

from asyncio import Lock
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dstore.base.clock import thread_ns
from dstore.base.limits import ENTRY_CACHE_BYTES, WAL_PAGES_CHECKPOINT
from dstore.storage.entry_cache import EntryCache
from dstore.storage.name_index import HeldNames

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.storage.replication_port import Replication
    from dstore.storage.vault.vault import Vault


@dataclass(slots=True, kw_only=True)
class Listeners:
    """Who hears what happens to range files, named by their ranges' ids; on the event loop.

    Attributes:
        opened: told of each range whose file was opened.
        expiring: told when the first expires of what was written to a range, in wall seconds.
    """

    opened: Callable[[str], None] = lambda _range_id: None
    expiring: Callable[[str, int], None] = lambda _range_id, _at_s: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every range file of a node shares.

    `walking` is held while a thread walks over entries. SQLite lets go of the interpreter at every
    row, and threads that take turns so often mostly switch: four walks at once took five times as
    long as the same four one after another.
    """

    vault: Vault
    executor: Executor
    clock: Clock
    entropy: Entropy
    on_fatal: Callable[[BaseException], None]
    wal_pages_checkpoint: int = WAL_PAGES_CHECKPOINT
    thread_ns: Callable[[], int] = thread_ns  # how long the calling thread has been at work
    is_halted: Callable[[], bool] = lambda: False  # after a failure that ends the process
    on_batch: Callable[[int], None] = lambda _writes: None  # told of each batch of a range's writes
    # Of a range, by its id; None if this is its only replica.
    replication_of: Callable[[str], Replication | None] = lambda _range_id: None
    walking: Lock = field(default_factory=Lock)
    listeners: Listeners = field(default_factory=Listeners)
    names: HeldNames = field(default_factory=HeldNames)
    entries: EntryCache = field(default_factory=lambda: EntryCache(bytes_max=ENTRY_CACHE_BYTES))
