"""The store in one SQLite file: for development, tests, and a single control machine.

One connection writes, a few read beside it (WAL); aiosqlite gives each a thread. Two tasks on one
connection would interleave, so whoever has a turn owns the connection until its transaction ends.
Several processes on one machine may share the file; `BEGIN IMMEDIATE` is the store's lock.
"""

from __future__ import annotations

import os
import sqlite3
from asyncio import shield, sleep
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiosqlite

from dstore.base.limits import (
    CONTROL_BUSY_TIMEOUT_MS,
    CONTROL_READERS_MAX,
    CONTROL_WAITING_MAX,
)
from dstore.base.tasks import Tasks
from dstore.model.errors import (
    Corrupt,
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
)
from dstore.storage.control.session import (
    Session,
    broken_rule,
    busy,
    no_space,
    transacted,
    unknown,
    unreachable,
)
from dstore.storage.control.sqlite_dialect import dialect
from dstore.storage.control.store import Row, Transaction, Value
from dstore.storage.control.turns import Turns
from dstore.storage.control.upgrade import bring_up_to_date

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


class SqliteStore:
    """A `store.ControlStore`; made by `open_sqlite`."""

    def __init__(self, path: Path, *, on_fatal: Callable[[BaseException], None]) -> None:
        """Open nothing yet."""
        self._path = path
        self._on_fatal = on_fatal
        self._writing = Turns(1, waiting_max=CONTROL_WAITING_MAX)
        self._reading = Turns(CONTROL_READERS_MAX, waiting_max=CONTROL_WAITING_MAX)
        self._writer: aiosqlite.Connection | None = None
        self._readers: list[aiosqlite.Connection] = []  # those that are free
        self._opened = AsyncExitStack()
        self._tasks = Tasks(on_fatal)  # commits, which outlive a caller that is cancelled
        self._is_halted = False

    async def start(self) -> None:
        """Connect and upgrade; see `open_sqlite`."""
        try:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._writer = await self._connect(busy_timeout_ms=0)
        except OSError as error:
            raise unreachable(f"Control's store can't be opened: {error.strerror}.") from error
        except sqlite3.Error as error:
            raise _translated(error) from error
        async with self.transaction() as tx:
            await bring_up_to_date(tx)
        for _ in range(CONTROL_READERS_MAX):
            self._readers.append(await self._connect(busy_timeout_ms=CONTROL_BUSY_TIMEOUT_MS))

    def transaction(
        self, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Read and write; see `store.ControlStore`."""
        return transacted(self._writing_session(), writes=True, timeout_s=timeout_s)

    def snapshot(
        self, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Read; see `store.ControlStore`."""
        return transacted(self._reading_session(), writes=False, timeout_s=timeout_s)

    async def close(self) -> None:
        """Close every connection, each after what it is doing."""
        self._writer = None
        self._readers.clear()
        await self._tasks.drain()
        await self._opened.aclose()

    async def _connect(self, *, busy_timeout_ms: int) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(
            self._path, isolation_level=None, timeout=CONTROL_BUSY_TIMEOUT_MS / _MS_PER_S
        )
        self._opened.push_async_callback(connection.close)
        for pragma in (*_PRAGMAS, f"PRAGMA busy_timeout = {busy_timeout_ms}"):
            await connection.execute_fetchall(pragma)
        return connection

    @asynccontextmanager
    async def _writing_session(self) -> AsyncIterator[Session]:
        async with self._writing.turn():
            if self._writer is None or self._is_halted:
                raise _closed()
            yield self._session(self._writer)

    @asynccontextmanager
    async def _reading_session(self) -> AsyncIterator[Session]:
        async with self._reading.turn():
            if not self._readers or self._is_halted:
                raise _closed()
            connection = self._readers.pop()
            try:
                yield self._session(connection)
            finally:
                if self._writer is not None:  # not closed meanwhile
                    self._readers.append(connection)

    def _session(self, connection: aiosqlite.Connection) -> Session:
        return _SqliteSession(connection, tasks=self._tasks, on_failed_commit=self._halt)

    def _halt(self, error: BaseException) -> None:
        self._is_halted = True
        self._on_fatal(error)


class _SqliteSession:
    """A connection while a transaction has it.

    A cancelled call goes on in the connection's thread. Whatever follows queues behind it there,
    from its first step on, even if it is cancelled too: so every failure is followed by a rollback.
    """

    __slots__ = ("_connection", "_on_failed_commit", "_tasks")

    def __init__(
        self,
        connection: aiosqlite.Connection,
        *,
        tasks: Tasks,
        on_failed_commit: Callable[[BaseException], None],
    ) -> None:
        self._connection = connection
        self._tasks = tasks
        self._on_failed_commit = on_failed_commit

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
        """Commit; a full disk is a definite refusal, any other failure leaves it open.

        Whether the disk failed must be known even if the caller is cancelled meanwhile.
        """
        failure = await shield(self._tasks.spawn(self._commit(), name="control_store_commit"))
        if failure is not None:
            raise failure

    async def _commit(self) -> DStoreError | None:
        try:
            await self._connection.execute_fetchall("COMMIT")
        except _FAILURES as error:
            failure = _translated(error)
            await self.rollback()
            if isinstance(failure, Unavailable | Refused):
                return failure
            self._on_failed_commit(error)
            return unknown()
        return None

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
        return _closed()
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


def _closed() -> Unavailable:
    return Unavailable(
        UnavailableKind.DRAINING,
        "Control's store is closed; nothing was written.",
        retry_after_ms=1_000,
    )
