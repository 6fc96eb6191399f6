"""The store in one file of the vault: for a process that is control, node and proxy in one.

There no name may lie readable on the disk either (I2), and nobody else opens the file: it belongs
to the process that has the data directory. Statements, schema and the life of a transaction are
those of the other engines; a connection has a thread of its own, as with aiosqlite.
"""

from __future__ import annotations

from asyncio import get_running_loop
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import apsw

from dstore.base.logging import get_logger
from dstore.base.private_files import sync_directory
from dstore.model.errors import Corrupt, DStoreError, RefusalKind, Refused
from dstore.storage.control.one_file import OneFileStore
from dstore.storage.control.opening import SQLITE_FILE
from dstore.storage.control.session import Session, broken_rule, busy, closed, no_space
from dstore.storage.control.sqlite_dialect import dialect
from dstore.storage.failures import stored_error
from dstore.storage.vault.layout import FileKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dstore.security.control_key import ControlKey
    from dstore.storage.control.store import Row, Value
    from dstore.storage.vault.vault import Vault

READERS_MAX: Final = 2  # one process asks; each has a thread
CHECKPOINT_PAGES: Final = 2_000  # 8 MiB of log, folded in some 50 ms beside whoever reads
_FILE_UUID: Final = "control.db file uuid"
_FILE_UUID_BYTES: Final = 16
_FORMAT: Final = 1  # SQLite's user_version; the schema's steps count themselves

_log: Final = get_logger(__name__)

Result = TypeVar("Result")


async def open_own_store(
    directory: Path,
    control_key: ControlKey,
    *,
    vault: Vault,
    on_fatal: Callable[[BaseException], None],
) -> VaultedStore:
    """Open the store in a data directory, by control's key. Raises: as `open_vaulted`."""
    key = FileKey(
        file_uuid=control_key.file_key(_FILE_UUID)[:_FILE_UUID_BYTES],
        generation=0,
        secret=control_key.file_key(SQLITE_FILE),
    )
    path = directory.absolute() / SQLITE_FILE  # noqa: ASYNC240 - it asks no disk
    return await open_vaulted(path, key=key, vault=vault, on_fatal=on_fatal)


async def open_vaulted(
    path: Path, *, key: FileKey, vault: Vault, on_fatal: Callable[[BaseException], None]
) -> VaultedStore:
    """Open the file, making it if absent, and bring its schema up to date.

    Args:
        path: of the file, absolute; its directory exists.
        key: opens it, the same for its whole life.
        vault: registers it.
        on_fatal: is called when the disk failed under a commit; the process must then end (B16).
    Raises: Corrupt: it is damaged, of another key, or a later dStore's.
    """
    store = VaultedStore(path, key=key, vault=vault, on_fatal=on_fatal)
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


class VaultedStore(OneFileStore["_Connection"]):
    """A `store.ControlStore`; made by `open_vaulted`."""

    def __init__(
        self, path: Path, *, key: FileKey, vault: Vault, on_fatal: Callable[[BaseException], None]
    ) -> None:
        """Open nothing yet."""
        super().__init__(readers_max=READERS_MAX, on_fatal=on_fatal)
        self._path = path
        self._key = key
        self._vault = vault
        self._opened: list[_Connection] = []

    async def _connect(self, *, writes: bool) -> _Connection:
        connection = _Connection(file=self._path.name)
        self._opened.append(connection)
        await connection.open(self._make if writes else self._look, writes=writes)
        return connection

    def _make(self) -> apsw.Connection:
        """Open the file for writing. A new one gets its name only when it is whole."""
        if not self._path.exists():
            scratch = self._path.with_name(f"{self._path.name}.new")
            for leftover in scratch.parent.glob(f"{scratch.name}*"):
                leftover.unlink()
            self._vault.register(scratch, self._key)
            with closing(self._vault.create(scratch)) as connection:
                connection.pragma("user_version", _FORMAT)
            self._vault.forget(scratch)
            scratch.rename(self._path)
            sync_directory(self._path.parent)
        self._vault.register(self._path, self._key)
        return self._vault.connect(self._path)

    def _look(self) -> apsw.Connection:
        return self._vault.connect(self._path, readonly=True)

    async def _disconnect(self) -> None:
        opened, self._opened = self._opened, []
        for connection in reversed(opened):
            await connection.close()
        self._vault.forget(self._path)

    def _over(self, connection: _Connection) -> Session:
        return _VaultedSession(connection, self)

    async def _committed(self, connection: _Connection) -> None:
        """Fold the log if it is long; the transaction is committed, whatever comes of that."""
        if self._vault.log_pages(self._path) <= CHECKPOINT_PAGES:
            return
        try:
            await connection.fold()
        except (apsw.IOError, OSError) as error:
            self._halt(error)  # a page may or may not be on the disk (B16)
        except apsw.Error as error:
            _log.warning("fold_failed", file=self._path.name, error=type(error).__name__)


class _Connection:
    """A connection and its thread: what is asked of it is done one by one, in order."""

    __slots__ = ("_connection", "_thread", "file")

    def __init__(self, *, file: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="control-store")
        self._connection: apsw.Connection | None = None
        self.file = file

    async def open(self, connect: Callable[[], apsw.Connection], *, writes: bool) -> None:
        def opened() -> None:
            connection = self._connection = connect()
            if writes:
                connection.pragma("foreign_keys", True)  # noqa: FBT003 - a pragma's value
                # What is deleted here is often a key, sealed as it is.
                connection.pragma("secure_delete", True)  # noqa: FBT003 - a pragma's value

        try:
            await self._in_thread(opened)
        except (apsw.Error, OSError) as error:
            raise _translated(error, file=self.file) from error

    async def run(self, statement: str, values: Sequence[Value] = ()) -> tuple[list[Row], int]:
        """Run a statement. Returns: its rows, and how many it wrote."""

        def run() -> tuple[list[Row], int]:
            connection = self._at_hand()
            rows: list[Row] = [*connection.execute(dialect(statement), tuple(values))]
            return rows, connection.changes()

        return await self._in_thread(run)

    async def undo(self) -> None:
        """Roll back whatever is open."""

        def undo() -> None:
            connection = self._at_hand()
            if connection.in_transaction:
                connection.execute("ROLLBACK")

        await self._in_thread(undo)

    async def fold(self) -> None:
        """Copy the log into the file, as far as nobody reads it."""
        await self._in_thread(
            lambda: self._at_hand().wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        )

    async def close(self) -> None:
        """Close it. If the log can't be folded meanwhile it stays, with all that is committed."""

        def close() -> None:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                connection.close()
            except (apsw.Error, OSError) as error:
                _log.warning("fold_failed", file=self.file, error=type(error).__name__)

        await self._in_thread(close)
        self._thread.shutdown()

    def _at_hand(self) -> apsw.Connection:
        if self._connection is None:
            raise apsw.ConnectionClosedError
        return self._connection

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        try:
            return await get_running_loop().run_in_executor(self._thread, work)
        except RuntimeError:  # the thread was shut down
            raise closed() from None


class _VaultedSession:
    """A connection while a transaction has it.

    A cancelled call goes on in the connection's thread. Whatever follows queues behind it there: so
    every failure is followed by a rollback.
    """

    __slots__ = ("_connection", "_store")

    def __init__(self, connection: _Connection, store: VaultedStore) -> None:
        self._connection = connection
        self._store = store

    async def begin(self, *, writes: bool) -> None:
        """Begin; nobody else has the file."""
        try:
            await self._connection.undo()  # a rollback may have failed
            await self._run("BEGIN IMMEDIATE" if writes else "BEGIN")
        except BaseException:
            await self.rollback()
            raise

    async def rows(self, statement: str, values: Sequence[Value]) -> Sequence[Row]:
        """Run a statement and read all of its rows."""
        return (await self._run(statement, values))[0]

    async def change(self, statement: str, values: Sequence[Value]) -> int:
        """Run a statement. Returns: the rows that it wrote."""
        return (await self._run(statement, values))[1]

    async def commit(self) -> None:
        """Commit; see `OneFileStore.commit`."""
        await self._store.commit(self, self._connection)

    async def rollback(self) -> None:
        """Undo; if that fails too, the next `begin` tries again."""
        with suppress(apsw.Error, OSError, DStoreError):
            await self._connection.undo()

    async def _run(self, statement: str, values: Sequence[Value] = ()) -> tuple[list[Row], int]:
        try:
            return await self._connection.run(statement, values)
        except (apsw.Error, OSError, UnicodeError, OverflowError) as error:
            raise _translated(error, file=self._connection.file) from error


def _translated(error: Exception, *, file: str) -> DStoreError:
    """Say in dStore's words what SQLite, or a connection that was closed, raised."""
    match error:
        case UnicodeError() | OverflowError():
            return Refused(RefusalKind.INVALID, "Control's store does not take a value like that.")
        case apsw.ConstraintError():
            return broken_rule()
        case apsw.FullError():
            return no_space()
        case apsw.BusyError() | apsw.LockedError():
            return busy()
        case apsw.ConnectionClosedError():
            return closed()
        case _:
            stored = stored_error(error, file=file)
            if isinstance(stored, DStoreError):
                return stored
            return Corrupt("Control's store is damaged.", file=file, where="structure")
