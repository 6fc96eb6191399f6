"""The store in one SQLite file: for development, tests, and a single control machine.

aiosqlite gives each connection a thread. Several processes on one machine may share the file;
`BEGIN IMMEDIATE` is the store's lock.
"""

from __future__ import annotations

import os
import sqlite3
from asyncio import sleep
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import aiosqlite

from dstore.base.limits import CONTROL_BUSY_TIMEOUT_MS, CONTROL_READERS_MAX
from dstore.model.errors import Corrupt, DStoreError, RefusalKind, Refused
from dstore.storage.control.one_file import OneFileStore
from dstore.storage.control.session import (
    Session,
    broken_rule,
    busy,
    closed,
    no_space,
    unreachable,
)
from dstore.storage.control.sqlite_dialect import dialect
from dstore.storage.control.store import Row, Value

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # NORMAL loses acknowledged commits in a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what is deleted here is often a key, sealed as it is
    "PRAGMA temp_store = MEMORY",
)
# A closed connection is a ValueError; an integer beyond 64 bits is an OverflowError.
_FAILURES: Final = (sqlite3.Error, ValueError, OverflowError)
_POLL_S: Final = 0.01
_MS_PER_S: Final = 1_000
_PRIMARY_CODE: Final = 0xFF  # an extended result code's low byte


async def open_sqlite(path: Path, *, on_fatal: Callable[[BaseException], None]) -> SqliteStore:
    """Open the file, making it if absent, and bring its schema up to date.

    Args:
        path: of the file, readable by this user only; its directory exists.
        on_fatal: is called when the disk failed under a commit; the process must then end, since a
            later sync may succeed although what this one should have written is gone (B16).
    Raises: Corrupt: it is no database, or a later dStore's. Unavailable: locked by another process.
    """
    store = SqliteStore(path, on_fatal=on_fatal)
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


class SqliteStore(OneFileStore[aiosqlite.Connection]):
    """A `store.ControlStore`; made by `open_sqlite`."""

    def __init__(self, path: Path, *, on_fatal: Callable[[BaseException], None]) -> None:
        """Open nothing yet."""
        super().__init__(readers_max=CONTROL_READERS_MAX, on_fatal=on_fatal)
        self._path = path
        self._opened = AsyncExitStack()

    async def _connect(self, *, writes: bool) -> aiosqlite.Connection:
        # Whoever writes waits for other processes in `begin`, not inside SQLite.
        busy_timeout_ms = 0 if writes else CONTROL_BUSY_TIMEOUT_MS
        try:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            connection = await aiosqlite.connect(
                self._path, isolation_level=None, timeout=CONTROL_BUSY_TIMEOUT_MS / _MS_PER_S
            )
            self._opened.push_async_callback(connection.close)
            for pragma in (*_PRAGMAS, f"PRAGMA busy_timeout = {busy_timeout_ms}"):
                await connection.execute_fetchall(pragma)
        except OSError as error:
            raise unreachable(f"Control's store can't be opened: {error.strerror}.") from error
        except sqlite3.Error as error:
            raise _translated(error) from error
        return connection

    async def _disconnect(self) -> None:
        await self._opened.aclose()

    def _over(self, connection: aiosqlite.Connection) -> Session:
        return _SqliteSession(connection, self)


class _SqliteSession:
    """A connection while a transaction has it.

    A cancelled call goes on in the connection's thread. Whatever follows queues behind it there,
    from its first step on, even if it is cancelled too: so every failure is followed by a rollback.
    """

    __slots__ = ("_connection", "_store")

    def __init__(self, connection: aiosqlite.Connection, store: SqliteStore) -> None:
        self._connection = connection
        self._store = store

    async def begin(self, *, writes: bool) -> None:
        """Take the file's lock, or begin a snapshot, which its first SELECT then fixes."""
        try:
            while not await self._has_begun("BEGIN IMMEDIATE" if writes else "BEGIN"):  # noqa: ASYNC110 - no event tells
                # Another process writes. Waiting inside SQLite would block the thread, and go on
                # there, and take the lock for nobody, after the caller has given up.
                await sleep(_POLL_S)
        except BaseException as error:
            await self.rollback()
            if isinstance(error, _FAILURES):
                raise _translated(error) from error
            raise

    async def _has_begun(self, statement: str) -> bool:
        try:
            if self._connection.in_transaction:  # a rollback failed
                await self._connection.rollback()
            await self._connection.execute_fetchall(statement)
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    async def rows(self, statement: str, values: Sequence[Value]) -> Sequence[Row]:
        """Run a statement and read all of its rows."""
        try:
            return list(await self._connection.execute_fetchall(dialect(statement), values))
        except _FAILURES as error:
            raise _translated(error) from error

    async def change(self, statement: str, values: Sequence[Value]) -> int:
        """Run a statement. Returns: the rows that it wrote."""
        try:
            async with self._connection.execute(dialect(statement), values) as cursor:
                return cursor.rowcount
        except _FAILURES as error:
            raise _translated(error) from error

    async def commit(self) -> None:
        """Commit; see `OneFileStore.commit`."""
        await self._store.commit(self, self._connection)

    async def rollback(self) -> None:
        """Undo; if that fails too, the next `begin` tries again."""
        with suppress(*_FAILURES):
            await self._connection.rollback()


def _translated(error: Exception) -> DStoreError:
    """Say in dStore's words what SQLite, or a connection that was closed, raised."""
    if isinstance(error, UnicodeError | OverflowError):
        return Refused(RefusalKind.INVALID, "Control's store does not take a value like that.")
    if isinstance(error, ValueError | sqlite3.ProgrammingError):
        assert "closed" in str(error) or "no active" in str(error), error
        return closed()
    code = _code(error)
    match code:
        case sqlite3.SQLITE_CONSTRAINT:
            return broken_rule()
        case sqlite3.SQLITE_FULL:
            return no_space()
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return busy()
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return unreachable("Control's store can't be opened for writing; see its permissions.")
        case _:
            return Corrupt(
                "Control's store is damaged, or cannot be read from the disk.",
                file="control",
                where="disk" if code == sqlite3.SQLITE_IOERR else "structure",
            )


def _code(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY_CODE
