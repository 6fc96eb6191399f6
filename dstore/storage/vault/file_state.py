"""What all handles of one vault file share while it is open: its key and the state of its log."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from dstore.storage.vault.layout import FileKey, PageSealer
from dstore.storage.vault.page_cache import PageCache


class LogWriter(Protocol):
    """A handle that has written to a log."""

    def sync(self) -> None:
        """Make the frames committed by now durable. Raises: OSError: nobody knows what is."""


@dataclass(slots=True)
class LogState:
    """The write-ahead log as far as this process knows it.

    Invariant: 0 ≤ `synced_frames` ≤ `committed_frames` ≤ `frames`, and frames below
    `synced_frames` are on disk, whatever happens. Only committed frames are counted as synced,
    because the others are written anew after a rollback. `stamp` is what the frames of this log
    carry (None: not known yet). `is_judged`: what recovery found has been through
    `recovery.judge_recovery`. `writer`: the handle that wrote last; only it holds frames back.
    `unsynced_by`: the handle whose commit still waits for its sync, if one does.
    `cached` maps the clear page number of a frame (4 bytes) to the cache key of its newest frame,
    so that older ones, and the database file's own page, make room.
    """

    stamp: bytes | None = None
    number: int = 0
    number_bytes: bytes = b""
    frames: int = 0
    committed_frames: int = 0
    synced_frames: int = 0
    is_judged: bool = True
    writer: object = None
    unsynced_by: LogWriter | None = None
    cache_space: int = 0
    cached: dict[bytes, int] = field(default_factory=dict)

    def sync(self) -> None:
        """Sync what a commit has left to its caller, see `residency`; runs in a thread.

        Raises: OSError: nobody knows what is on the disk.
        """
        if self.unsynced_by is not None:
            self.unsynced_by.sync()
            self.unsynced_by = None


@dataclass(slots=True)
class FileState:
    """One registered file: how to open its pages and where they are cached."""

    path: str
    sealer: PageSealer
    cache: PageCache
    main_space: int
    fdatasync: Callable[[int], None]
    sync_descriptor: int | None = None
    log: LogState = field(default_factory=LogState)
    opening: Lock = field(default_factory=Lock)  # recovery and the judgement of it are one step
    first_page: Lock = field(default_factory=Lock)  # page 1 and its copy in the cache agree

    @classmethod
    def of(
        cls, path: str, key: FileKey, *, cache: PageCache, fdatasync: Callable[[int], None]
    ) -> "FileState":
        """Start with an unknown log; SQLite's recovery makes it known at the first open."""
        state = cls(
            path=path,
            sealer=PageSealer(key),
            cache=cache,
            main_space=cache.new_space(),
            fdatasync=fdatasync,
        )
        state.log.cache_space = cache.new_space()
        return state

    def sync_main(self) -> None:
        """Sync the database file while other threads run (APSW would hold the interpreter).

        The descriptor stays open until `close`: closing any descriptor of a file drops all POSIX
        locks that the process holds on it, SQLite's among them.
        """
        if self.sync_descriptor is None:
            self.sync_descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self.fdatasync(self.sync_descriptor)

    def close(self) -> None:
        """Let go of the file; every connection to it must be closed."""
        if self.sync_descriptor is not None:
            os.close(self.sync_descriptor)
            self.sync_descriptor = None
