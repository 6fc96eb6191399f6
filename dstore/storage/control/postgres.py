"""The store in a PostgreSQL database: what several control machines share in production.

Every writing transaction takes one advisory lock before anything else, so that writers are serial
over all processes; being READ COMMITTED, each statement after the lock sees what the holder before
it committed. (A SERIALIZABLE snapshot would be taken by the wait for the lock, and be stale after
it.) Snapshots are REPEATABLE READ and wait for nobody. There are no serialization failures to
retry, and no deadlocks, since there is one lock.

A process that stops with the lock held holds up the others no longer than the server lets it:
every connection sets `idle_in_transaction_session_timeout`, `statement_timeout` and `lock_timeout`.

Only `opening` imports this file, and only if PostgreSQL was chosen.
"""

from __future__ import annotations

from asyncio import timeout
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from dstore.base.limits import (
    CONTROL_CONNECT_TIMEOUT_S,
    CONTROL_READERS_MAX,
    CONTROL_TRANSACTION_TIMEOUT_S,
)
from dstore.model.errors import Corrupt
from dstore.storage.control.postgres_failures import (
    FAILURES,
    is_disconnected,
    of_commit,
    translated,
)
from dstore.storage.control.session import Session, SessionStore, closed, unreachable
from dstore.storage.control.store import Row, Value
from dstore.storage.control.upgrade import bring_up_to_date

_LOCK: Final = int.from_bytes(b"dstoreCP")  # of the whole database, a signed 64-bit number
_BEGIN_WRITING: Final = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({_LOCK})"
)
_BEGIN_READING: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ROLLBACK_TIMEOUT_S: Final = 1.0
_CLOSE_TIMEOUT_S: Final = 1.0
_MS_PER_S: Final = 1_000
_SERVER_SETTINGS: Final = {
    "application_name": "dstore-control",
    "client_encoding": "UTF8",
    # The client's timeout ends a transaction first; these are for a client that is gone or stopped.
    "statement_timeout": str(int(CONTROL_TRANSACTION_TIMEOUT_S * _MS_PER_S)),
    "lock_timeout": str(int(CONTROL_TRANSACTION_TIMEOUT_S * _MS_PER_S)),
    "idle_in_transaction_session_timeout": str(int(CONTROL_TRANSACTION_TIMEOUT_S * _MS_PER_S)),
}

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]

Password = Callable[[], str]


async def open_postgres(address: str, *, password: Password | None = None) -> PostgresStore:
    """Connect, and bring the schema up to date.

    Args:
        address: `postgresql://user@host/database`, without a password.
        password: is asked at every connection, so that a changed password needs no restart; None
            leaves it to libpq's own ways (`PGPASSFILE`, `~/.pgpass`, `PGPASSWORD`).
    Raises: Unavailable: not reachable now, or it does not let us in; try again later. Corrupt: the
        database is not in UTF-8, or a later dStore's.
    """
    try:
        pool = await asyncpg.create_pool(
            address,
            password=password,
            min_size=0,  # none is made before it is needed, nor behind our back
            max_size=CONTROL_READERS_MAX + 1,
            timeout=CONTROL_CONNECT_TIMEOUT_S,
            command_timeout=CONTROL_TRANSACTION_TIMEOUT_S,
            server_settings=_SERVER_SETTINGS,
            reset=_nothing_to_reset,
        )
    except FAILURES as error:
        raise translated(error) from None  # the cause may hold the address
    store = PostgresStore(pool)
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


class PostgresStore(SessionStore):
    """A `store.ControlStore`; made by `open_postgres`."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        """Own the pool."""
        super().__init__(readers_max=CONTROL_READERS_MAX)
        self._pool = pool
        self._is_closed = False

    async def start(self) -> None:
        """Check and upgrade; see `open_postgres`."""
        async with self.transaction() as tx:
            encoding = await tx.rows("SELECT current_setting('server_encoding')")
            if encoding[0][0] != "UTF8":
                raise Corrupt(
                    "Control's database is not in UTF-8; make one with ENCODING 'UTF8'.",
                    file="control",
                    where="encoding",
                )
            await bring_up_to_date(tx)

    async def close(self) -> None:
        """Close the connections; one that is in use is cut, and the server rolls it back."""
        self._is_closed = True
        try:
            async with timeout(_CLOSE_TIMEOUT_S):
                await self._pool.close()
        except (TimeoutError, *FAILURES):
            self._pool.terminate()

    @asynccontextmanager
    async def _session(self, *, writes: bool) -> AsyncIterator[Session]:
        async with self._turns(writes=writes).turn():
            if self._is_closed:
                raise closed()
            session = _PostgresSession(self._pool)
            try:
                yield session
            finally:
                await session.leave()


class _PostgresSession:
    """A connection of the pool while a transaction has it."""

    __slots__ = ("_connection", "_is_clean", "_pool")

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._is_clean = True  # whether the connection is known to be in no transaction
        self._connection: Connection | None = None

    async def begin(self, *, writes: bool) -> None:
        """Start; a connection that turns out to be dead (the server restarted) is exchanged."""
        statement = _BEGIN_WRITING if writes else _BEGIN_READING
        for is_last in (False, True):
            try:
                self._connection = await self._pool.acquire(timeout=CONTROL_CONNECT_TIMEOUT_S)
                self._is_clean = False
                await self._connection.execute(statement)
            except FAILURES as error:
                if is_last or self._connection is None or not is_disconnected(error):
                    raise translated(error) from None
                await self.leave()
                # Those that wait in the pool are as old; each is made anew when it is acquired.
                await self._pool.expire_connections()
            else:
                return

    async def rows(self, statement: str, values: Sequence[Value]) -> Sequence[Row]:
        """Run a statement and read all of its rows."""
        try:
            found = await self._open.fetch(statement, *values)
        except FAILURES as error:
            raise translated(error) from error
        return [tuple(record) for record in found]

    async def change(self, statement: str, values: Sequence[Value]) -> int:
        """Run a statement. Returns: the rows that it wrote, which its status ends with."""
        try:
            status = await self._open.execute(statement, *values)
        except FAILURES as error:
            raise translated(error) from error
        last = status.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    async def commit(self) -> None:
        """Commit. Raises: Unknown, unless the server itself said no, or was gone before."""
        connection = self._open
        if _is_gone(connection):
            raise unreachable("The connection to PostgreSQL broke; nothing was written. Retry.")
        try:
            status = await connection.execute("COMMIT")
        except FAILURES as error:
            raise of_commit(error) from error
        self._is_clean = True
        if status != "COMMIT":
            raise unreachable("PostgreSQL rolled the transaction back; nothing was written.")

    async def rollback(self) -> None:
        """Undo; if that fails, `leave` cuts the connection, and the server undoes it."""
        connection = self._open
        with suppress(*FAILURES):
            await connection.execute("ROLLBACK", timeout=_ROLLBACK_TIMEOUT_S)
            self._is_clean = True

    async def leave(self) -> None:
        """Give the connection back; one that may be in a transaction is cut, never used again."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not self._is_clean and not _is_gone(connection):
            connection.terminate()
        await self._pool.release(connection)

    @property
    def _open(self) -> Connection:
        assert self._connection is not None, "not begun"
        return self._connection


def _is_gone(connection: Connection) -> bool:
    """Tell whether a connection broke; the pool then takes it back by itself."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


async def _nothing_to_reset(_connection: Any) -> None:
    """Save a round trip: no transaction here leaves anything in its connection."""
