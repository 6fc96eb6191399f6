"""The port: transactions over control's relational store, the same on SQLite and PostgreSQL.

    async with store.transaction() as tx:          # reads and writes, all or nothing
        await tenants.insert(tx, tenant)
        await outbox.append(tx, [Publication(key="tenant/acme", value=b"...")])

    async with store.snapshot() as tx:             # reads, of one moment
        page = await tables.page(tx, "acme", after=None)

**Writing transactions are serial** over all processes that share the store: each takes the store's
one lock before its first statement. So what a transaction read is still true when it commits, its
body runs once, and no caller writes a loop of retries. Control writes tens of times a second at the
most; what is frequent (heartbeats, details of nodes) goes through etcd.

**What a caller is told.** `Unavailable`: nothing was written. `Unknown`: the connection or the disk
failed while the commit was under way; look in a new `transaction` (a `snapshot` waits for nobody,
so it may come before the commit), then decide. `Refused`: the statement broke a rule of
the schema. A transaction in which a statement failed never commits, whatever its body does with
the error. A cancelled caller knows nothing, as ever: its transaction committed whole or not at all.

Statements are SQL as PostgreSQL spells it, `$1` for values; only the files of this package write
any. Bytes that are secret arrive sealed: the store never sees a key in clear.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Record = TypeVar("Record")

Value = str | int | bytes | None
"""What a column holds: UTF-8 without NUL, a signed 64-bit integer, bytes, or nothing."""

Row = Sequence[Any]

Key = tuple[str | int, ...]
"""A row's place in a list: the columns by which the list is ordered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Record]):
    """A part of a long list, in the order of its key.

    Attributes:
        records: at most as many as were asked for.
        after: the key of the last one, to ask for the next page with; None at the end of the list.
    """

    records: tuple[Record, ...]
    after: Key | None


async def every(page: Callable[[Key | None], Awaitable[Page[Record]]]) -> tuple[Record, ...]:
    """Read all pages of a list, in one transaction or in several; `page` reads the one after."""
    found: list[Record] = []
    after: Key | None = None
    while True:
        one = await page(after)
        found += one.records
        after = one.after
        if after is None:
            return tuple(found)


class Transaction(Protocol):
    """One transaction that somebody else ends; used by one task at a time, and not beyond its end.

    Both methods raise Unavailable, Refused (a rule of the schema), and what ended an earlier
    statement of this transaction.
    """

    async def rows(self, statement: str, *values: Value) -> Sequence[Row]:
        """Run a statement that returns rows (a SELECT, or a change with RETURNING): all of them."""

    async def change(self, statement: str, *values: Value) -> int:
        """Run a statement that writes. Returns: how many rows it inserted, updated or deleted.

        Raises: AssertionError: in a snapshot.
        """


class ControlStore(Protocol):
    """A relational store of one control plane, shared by its control processes."""

    def transaction(
        self, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Read and write; commits at the end of the body, rolls back if the body raises.

        Args:
            timeout_s: for the wait, the body and the commit together, > 0;
                `limits.CONTROL_TRANSACTION_TIMEOUT_S` if None.
        Raises: Unavailable: too many wait, the time is over, the store cannot be reached; nothing
            was written. Unknown: it failed during the commit.
        """

    def snapshot(
        self, *, timeout_s: float | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Read what is committed, as it is at the first statement; waits for no writer.

        Raises: Unavailable: as `transaction` does.
        """

    async def close(self) -> None:
        """Let go of every connection; running transactions are rolled back. Safe to call twice."""
