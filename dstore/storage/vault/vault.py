"""Open encrypted SQLite files: the VFS, the registry of keys, and connections as they should be."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock, local
from typing import TYPE_CHECKING, Final

import apsw

from dstore.storage.vault import recovery
from dstore.storage.vault.file_state import FileState, LogState
from dstore.storage.vault.layout import RESERVED_BYTES, WAL_SUFFIX, FileKey
from dstore.storage.vault.main_file import MainFile
from dstore.storage.vault.page_cache import PageCache
from dstore.storage.vault.residency import Residency
from dstore.storage.vault.wal_file import WalFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dstore.base.entropy import Entropy

BUSY_TIMEOUT_MS: Final = 10_000  # threads wait out a recovery or the end of a checkpoint
RESIDENT_CACHE_KIB: Final = 64 * 1_024  # at the most, of one file; memory is taken as it fills
# All of SQLite's caches together; beyond it SQLite reuses pages instead of taking more.
SQLITE_HEAP_BYTES: Final = 256 << 20
_MAIN_FLAG: Final = apsw.SQLITE_OPEN_MAIN_DB
_WAL_FLAG: Final = apsw.SQLITE_OPEN_WAL


class Vault:
    """Encrypted SQLite files under one VFS.

    A file must be registered with its key before it is opened; SQLite may then open that file and
    its log and nothing else (invariant I2: no journal, no temporary file ever holds clear text).
    One process owns a data directory, so the state of a log can live in memory.
    """

    def __init__(
        self,
        *,
        entropy: Entropy,
        page_cache_bytes: int,
        base_vfs: str = "",
        fdatasync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        """Register the VFS with SQLite under a name of its own.

        Args:
            entropy: source of the VFS's name.
            page_cache_bytes: bound of the opened pages kept for all files together.
            base_vfs: the VFS that really stores; empty for SQLite's default (tests pass theirs).
            fdatasync: makes a descriptor's file durable.
        """
        self.cache = PageCache(bytes_max=page_cache_bytes)
        apsw.soft_heap_limit(SQLITE_HEAP_BYTES)
        self._fdatasync = fdatasync
        self._files: dict[str, FileState] = {}
        self._lock = Lock()
        self._vfs = _VaultVfs(f"dstore-vault-{entropy.token(8).hex()}", base_vfs, files=self._files)

    def register(self, path: Path, key: FileKey) -> None:
        """Make a file known by its absolute path, once; the same file again is an error of ours."""
        assert path.is_absolute(), path
        name = _real(path)
        with self._lock:
            assert name not in self._files, "a vault file is registered once"
            self._files[name] = FileState.of(name, key, cache=self.cache, fdatasync=self._fdatasync)

    def forget(self, path: Path) -> None:
        """Drop a file's key; its connections must be closed."""
        with self._lock:
            state = self._files.pop(_real(path), None)
        if state is not None:
            state.close()

    def log_of(self, path: Path) -> LogState:
        """Return what is known of a registered file's write-ahead log; `frames` are its pages."""
        return self._files[_real(path)].log

    def log_pages(self, path: Path) -> int:
        """Count the pages in a registered file's write-ahead log."""
        return self.log_of(path).frames

    def create(self, path: Path) -> apsw.Connection:
        """Make a new, empty database in WAL mode and return its writer connection.

        A crash before the caller's first commit leaves a file that nothing refers to.
        """
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        connection = self._open(path, flags)
        connection.reserve_bytes("main", RESERVED_BYTES)
        # In memory, because the one rollback journal of a database's life would be a file.
        connection.pragma("journal_mode", "memory")
        return self._settle(connection, synchronous="full", cache_kib=8_192)

    def connect(
        self,
        path: Path,
        *,
        readonly: bool = False,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        residency: Residency | None = None,
    ) -> apsw.Connection:
        """Open an existing file; the first open after a crash recovers its log.

        Args:
            path: as it was registered.
            readonly: refuse statements that write.
            busy_timeout_ms: how long to wait for a recovery or a checkpoint's last step; 0 for
                a connection that must not wait.
            residency: the switch of a connection that must not wait for a disk either; set
                `required` once it is warm.

        Raises:
            Corrupt: a page or a frame that cannot be the normal end of the log fails.
            apsw.CantOpenError: the file is absent or was not registered.
        """
        state = self._files.get(_real(path))
        if state is None:
            raise apsw.CantOpenError("the file was not registered")
        connection = self._recover(
            path, state, busy_timeout_ms=busy_timeout_ms, residency=residency
        )
        if readonly:
            connection.pragma("query_only", True)  # noqa: FBT003 - a pragma's value
        # Readers in threads refill from the vault's own cache, so theirs is small. The loop's two
        # connections do most of the work: a page in their own caches spares a call into the VFS.
        cache_kib = RESIDENT_CACHE_KIB if residency else (1_024 if readonly else 8_192)
        return self._settle(connection, synchronous="full", cache_kib=cache_kib)

    def _recover(
        self, path: Path, state: FileState, *, busy_timeout_ms: int, residency: Residency | None
    ) -> apsw.Connection:
        self._vfs.opening.residency = residency
        try:
            with state.opening, recovery.damage_reported(state.path):
                recovery.refuse_empty(state.path)
                connection = self._open(path, apsw.SQLITE_OPEN_READWRITE)
                try:
                    connection.set_busy_timeout(busy_timeout_ms)
                    connection.pragma("schema_version")  # SQLite opens the log at the first read
                    recovery.judge_recovery(connection, state)
                except BaseException:
                    with suppress(Exception):  # closing meets the same damage; the first one counts
                        connection.close()
                    raise
        finally:
            self._vfs.opening.residency = None
        return connection

    def _open(self, path: Path, flags: int) -> apsw.Connection:
        return apsw.Connection(_real(path), flags=flags, vfs=self._vfs.name, statementcachesize=64)

    def _settle(
        self, connection: apsw.Connection, *, synchronous: str, cache_kib: int
    ) -> apsw.Connection:
        # FULL: with NORMAL an acknowledged write is lost in nearly every power cut (I1).
        connection.pragma("synchronous", synchronous)
        connection.pragma("temp_store", "memory")
        connection.pragma("cache_size", -cache_kib)
        connection.pragma("mmap_size", 0)
        connection.pragma("trusted_schema", False)  # noqa: FBT003 - a pragma's value
        connection.pragma("cell_size_check", True)  # noqa: FBT003 - a pragma's value
        connection.wal_autocheckpoint(0)
        mode = connection.pragma("journal_mode", "wal")
        assert mode == "wal", f"SQLite fell back to journal_mode {mode}"
        return connection


def _real(path: Path) -> str:
    return os.path.realpath(path)  # as SQLite names the file when it opens it


class _Opening(local):
    """What the connection that this thread opens right now hands to its file handles."""

    residency: Residency | None = None


class _VaultVfs(apsw.VFS):
    """The VFS itself: hands out sealed files for registered names and refuses all others."""

    def __init__(self, name: str, base: str, *, files: dict[str, FileState]) -> None:
        super().__init__(name, base)
        self.name = name
        self._base = base
        self._files = files
        self.opening = _Opening()

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        state = None
        kind: type[MainFile | WalFile] = MainFile
        if path is not None and flags[0] & _MAIN_FLAG:
            state = self._files.get(path)
        elif path is not None and flags[0] & _WAL_FLAG:
            state, kind = self._files.get(path.removesuffix(WAL_SUFFIX)), WalFile
        if state is None:
            msg = "the vault opens registered databases and their logs only"
            raise apsw.CantOpenError(msg)
        return kind(
            self._base,
            name,
            flags,
            state=state,
            residency=self.opening.residency or Residency(),
        )
