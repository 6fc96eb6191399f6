"""The life of a transaction, the same on every engine; an engine is a `Session` per connection.

Where it may break, and what the caller is then told:

    wait for the turn, begin, body      nothing was written: Unavailable, or what the body raised
    commit                              Unknown, unless the engine says that it refused
    after the commit                    nothing more can fail
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import timeout
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from dstore.base.limits import CONTROL_TRANSACTION_TIMEOUT_S, CONTROL_WAITING_MAX, RETRY_AFTER_MS
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind, Unknown
from dstore.storage.control.store import Row, Transaction, Value
from dstore.storage.control.turns import Turns


class Session(Protocol):
    """One connection, held by one transaction. Every method raises dStore's errors only."""

    async def begin(self, *, writes: bool) -> None:
        """Start; if it `writes`, hold the store's one lock before anything is read."""

    async def rows(self, statement: str, values: Sequence[Value]) -> Sequence[Row]:
        """Run a statement and read all of its rows."""

    async def change(self, statement: str, values: Sequence[Value]) -> int:
        """Run a statement. Returns: the rows that it wrote."""

    async def commit(self) -> None:
        """Make it durable. Raises: Unknown; another error only if it definitely did not happen."""

    async def rollback(self) -> None:
        """Undo it, or give up the connection, which undoes it as well; raises nothing."""


class SessionStore(ABC):
    """A `store.ControlStore` over sessions: one at a time writes, a few read beside it."""

    def __init__(self, *, readers_max: int) -> None:
        """Let so many read at a time, >= 1."""
        self._writing = Turns(1, waiting_max=CONTROL_WAITING_MAX)
        self._reading = Turns(readers_max, waiting_max=CONTROL_WAITING_MAX)

    def transaction(
        self, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Read and write; see `store.ControlStore`."""
        return _transacted(self._session(writes=True), writes=True, timeout_s=timeout_s)

    def snapshot(
        self, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Read; see `store.ControlStore`."""
        return _transacted(self._session(writes=False), writes=False, timeout_s=timeout_s)

    def _turns(self, *, writes: bool) -> Turns:
        return self._writing if writes else self._reading

    @abstractmethod
    def _session(self, *, writes: bool) -> AbstractAsyncContextManager[Session]:
        """Wait for a turn and lend a connection. Raises: `closed()`."""


@asynccontextmanager
async def _transacted(
    connected: AbstractAsyncContextManager[Session], *, writes: bool, timeout_s: float | None
) -> AsyncIterator[OpenTransaction]:
    """Run one transaction over the session that `connected` waits for and gives back."""
    allowed_s = CONTROL_TRANSACTION_TIMEOUT_S if timeout_s is None else timeout_s
    limit = timeout(allowed_s)
    is_committing = False
    try:
        async with limit, connected as session:
            await session.begin(writes=writes)
            tx = OpenTransaction(session, writes=writes)
            try:
                yield tx
                tx.end()
            except BaseException:
                await session.rollback()
                raise
            is_committing = writes
            await (session.commit() if writes else session.rollback())
    except TimeoutError as error:
        if not limit.expired():
            raise  # the body's own
        if is_committing:
            raise unknown() from error
        raise too_slow() from error


class OpenTransaction:
    """What the body of a transaction works with; see `store.Transaction`."""

    __slots__ = ("_failure", "_is_busy", "_session", "_writes")

    def __init__(self, session: Session, *, writes: bool) -> None:
        """Begin it before and end it after."""
        self._session: Session | None = session
        self._writes = writes
        self._failure: BaseException | None = None
        self._is_busy = False

    async def rows(self, statement: str, *values: Value) -> Sequence[Row]:
        """Run a statement that returns rows: all of them."""
        session = self._taken()
        try:
            return await session.rows(statement, values)
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._is_busy = False

    async def change(self, statement: str, *values: Value) -> int:
        """Run a statement that writes. Returns: how many rows."""
        assert self._writes, "a snapshot only reads"
        session = self._taken()
        try:
            return await session.change(statement, values)
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._is_busy = False

    def end(self) -> None:
        """Refuse whatever comes later. Raises: what a statement raised and the body kept quiet."""
        self._session = None
        if self._failure is not None:
            # PostgreSQL answers a commit after a failed statement with a silent rollback.
            raise self._failure

    def _taken(self) -> Session:
        assert self._session is not None, "the transaction has ended"
        assert not self._is_busy, "two tasks use one transaction"
        if self._failure is not None:
            raise self._failure
        self._is_busy = True
        return self._session


def unknown() -> Unknown:
    """The answer when a commit got lost on its way there or back."""
    return Unknown("Control's store did not confirm the change; it may have happened. Look first.")


def too_slow() -> Unavailable:
    """The answer when time ran out before the commit."""
    return Unavailable(
        UnavailableKind.OVERLOADED,
        "Control's store was too slow; nothing was written. Retry.",
        retry_after_ms=RETRY_AFTER_MS,
    )


def closed() -> Unavailable:
    """The answer once the store is closed, or its disk has failed."""
    return Unavailable(
        UnavailableKind.DRAINING,
        "Control's store is closed; nothing was written.",
        retry_after_ms=1_000,
    )


def unreachable(message: str) -> Unavailable:
    """The answer while the store is away; `message` is a sentence without its password."""
    return Unavailable(UnavailableKind.UNREACHABLE, message, retry_after_ms=1_000)


def busy() -> Unavailable:
    """The answer when others held the store for too long."""
    return Unavailable(
        UnavailableKind.OVERLOADED,
        "Another process writes control's store; nothing was written. Retry.",
        retry_after_ms=RETRY_AFTER_MS,
    )


def no_space() -> Unavailable:
    """The answer when the store's disk is full; a definite refusal."""
    return Unavailable(
        UnavailableKind.NO_SPACE, "The disk of control's store is full; nothing was written."
    )


def broken_rule() -> Refused:
    """The answer when a statement would break a rule of the schema."""
    return Refused(
        RefusalKind.CONFLICT,
        "It exists already, or what it belongs to is gone, or something belongs to it.",
    )
