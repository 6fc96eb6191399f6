"""What the engines that keep the store in one file share: who has a connection, and commits.

One connection writes, a few read beside it (WAL). Two tasks on one connection would interleave, so
whoever has a turn owns the connection until its transaction ends.
"""

from __future__ import annotations

from abc import abstractmethod
from asyncio import shield
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from dstore.base.tasks import Tasks
from dstore.model.errors import DStoreError, Refused, Unavailable
from dstore.storage.control.session import Session, SessionStore, closed, unknown
from dstore.storage.control.upgrade import bring_up_to_date

Connection = TypeVar("Connection")


class OneFileStore(SessionStore, Generic[Connection]):
    """A `store.ControlStore` over one file; an engine says how to connect and what a session is."""

    def __init__(self, *, readers_max: int, on_fatal: Callable[[BaseException], None]) -> None:
        """Open nothing yet.

        Args:
            readers_max: connections that only read, >= 1.
            on_fatal: is called when the disk failed under a commit; the process must then end,
                since a later sync may succeed although what this one should have written is gone
                (B16).
        """
        super().__init__(readers_max=readers_max)
        self._readers_max = readers_max
        self._on_fatal = on_fatal
        self._writer: Connection | None = None
        self._readers: list[Connection] = []  # those that are free
        self._tasks = Tasks(on_fatal)  # commits, which outlive a caller that is cancelled
        self._is_halted = False

    async def start(self) -> None:
        """Connect and upgrade. Raises: Corrupt, Unavailable: see the engine's `open_…`."""
        self._writer = await self._connect(writes=True)
        async with self.transaction() as tx:
            await bring_up_to_date(tx)
        for _ in range(self._readers_max):
            self._readers.append(await self._connect(writes=False))

    async def close(self) -> None:
        """Close every connection, each after what it is doing."""
        self._writer = None
        self._readers.clear()
        await self._tasks.drain()
        await self._disconnect()

    @abstractmethod
    async def _connect(self, *, writes: bool) -> Connection:
        """Open one connection, which `_disconnect` closes, half opened ones too."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close all that `_connect` opened."""

    @abstractmethod
    def _over(self, connection: Connection) -> Session:
        """Make the session of a transaction that now has the connection."""

    async def _committed(self, connection: Connection) -> None:
        """Do what is due after a commit, before the next transaction; raises nothing."""

    @asynccontextmanager
    async def _session(self, *, writes: bool) -> AsyncIterator[Session]:
        async with self._turns(writes=writes).turn():
            if self._writer is None or self._is_halted:
                raise closed()
            connection = self._writer if writes else self._readers.pop()
            try:
                yield self._over(connection)
            finally:
                if not writes and self._writer is not None:  # not closed meanwhile
                    self._readers.append(connection)

    async def commit(self, session: Session, connection: Connection) -> None:
        """Commit for a session: a full disk refuses it, any other failure leaves it open.

        Whether the disk failed must be known even if the caller is cancelled meanwhile.
        """
        work = self._commit(session, connection)
        failure = await shield(self._tasks.spawn(work, name="control_store_commit"))
        if failure is not None:
            raise failure

    async def _commit(self, session: Session, connection: Connection) -> DStoreError | None:
        try:
            await session.rows("COMMIT", ())
        except Exception as error:  # noqa: BLE001 - any failure of a commit ends here
            await session.rollback()
            if isinstance(error, Unavailable | Refused):
                return error
            self._halt(error.__cause__ or error)
            return unknown()
        await self._committed(connection)
        return None

    def _halt(self, error: BaseException) -> None:
        self._is_halted = True
        self._on_fatal(error)
