"""Where the embedded coordinator's keys outlive the process: one SQLite file, read once at start.

A row holds a key as one blob, sealed if the file was given a sealer, so that with one nothing
readable is on the disk: no tenant's name, no table's. Only the newest version of a key is kept:
history begins anew with the process, and a watch from before it is answered by a full snapshot.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import aiosqlite
import msgspec

from dstore.model.errors import Corrupt
from dstore.topology.coordinator import (
    CoordinatorFull,
    CoordinatorUnavailable,
    Events,
    KeyValue,
    LeaseId,
    OutcomeUnknown,
    Revision,
)

_FORMAT: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (
    format INTEGER NOT NULL, cluster_id TEXT NOT NULL, revision INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY, ttl_s INTEGER NOT NULL);
"""


class Sealer(Protocol):
    """Hide what is stored; `context` binds a blob to its place."""

    def seal(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt and authenticate."""

    def open_sealed(self, sealed: bytes, *, context: bytes) -> bytes:
        """Return what was sealed. Raises: Corrupt, or that the key is another."""


class _Row(msgspec.Struct, array_like=True, frozen=True):
    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the file held when it was opened."""

    cluster_id: str
    revision: Revision
    kvs: tuple[KeyValue, ...]
    leases: Mapping[LeaseId, int]  # to their seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one write adds to the file, at once."""

    events: Events | None = None
    granted: Mapping[LeaseId, int] | None = None
    ended: LeaseId | None = None

    def deleted(self) -> tuple[str, ...]:
        """Name the keys that are no more."""
        events = self.events.events if self.events else ()
        return tuple(event.key for event in events if event.kv is None)


class EmbeddedFile:
    """One open file; used by one caller at a time, which waits for each write to end."""

    __slots__ = ("_connection", "_ids", "_is_broken", "_next_id", "_sealer")

    def __init__(self, connection: aiosqlite.Connection, sealer: Sealer | None) -> None:
        """Own a connection; get one from `open_file`."""
        self._connection = connection
        self._sealer = sealer
        self._ids: dict[str, int] = {}
        self._next_id = 1
        self._is_broken = False

    async def load(self, *, new: Snapshot) -> Snapshot:
        """Read everything; a new file takes the name and the revision of `new` first.

        Raises: Corrupt: a row can't be what was written, or a newer dStore wrote the file.
        """
        try:
            return await self._load(new)
        except sqlite3.Error as error:
            raise _corrupt("The coordinator's file can't be read") from error

    async def write(self, change: Change) -> None:
        """Make a change durable; never cancel it.

        Raises:
            CoordinatorFull: the disk is full; the file is as before.
            OutcomeUnknown: the change may be in the file. Nothing more is written by this process,
                since what it knows may differ from the disk (B16).
            CoordinatorUnavailable: that happened before.
        """
        if self._is_broken:
            raise CoordinatorUnavailable("The coordinator's file failed; restart the process.")
        try:
            async with _durably(self._connection):
                await self._apply(change)
            for key in change.deleted():
                del self._ids[key]
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise CoordinatorFull("The coordinator's disk is full; free space.") from error
            self._is_broken = True
            raise OutcomeUnknown("The coordinator's file can't be written.") from error

    async def close(self) -> None:
        """Close the file; safe to call twice."""
        await self._connection.close()

    async def _load(self, new: Snapshot) -> Snapshot:
        await self._connection.executescript(_SCHEMA)
        meta = list(await self._connection.execute_fetchall("SELECT * FROM meta"))
        if not meta:
            row = (_FORMAT, new.cluster_id, new.revision)
            async with _durably(self._connection):
                await self._connection.execute("INSERT INTO meta VALUES (?, ?, ?)", row)
            return new
        ((form, cluster_id, revision),) = meta
        if form != _FORMAT:
            raise _corrupt(f"The coordinator's file has format {form}, made by a newer dStore")
        rows = await self._connection.execute_fetchall("SELECT id, body FROM entry")
        kvs = tuple(self._opened(row_id, body) for row_id, body in rows)
        self._ids = {kv.key: row_id for kv, (row_id, _) in zip(kvs, rows, strict=True)}
        self._next_id = max(self._ids.values(), default=0) + 1
        leases = await self._connection.execute_fetchall("SELECT id, ttl_s FROM lease")
        return Snapshot(
            cluster_id=cluster_id,
            revision=Revision(revision),
            kvs=kvs,
            leases={LeaseId(lease_id): ttl_s for lease_id, ttl_s in leases},
        )

    async def _apply(self, change: Change) -> None:
        execute = self._connection.execute
        if change.events is not None:
            await self._put(event.kv for event in change.events.events if event.kv is not None)
            await self._connection.executemany(
                "DELETE FROM entry WHERE id = ?", [(self._ids[key],) for key in change.deleted()]
            )
            await execute("UPDATE meta SET revision = ?", (change.events.revision,))
        for lease_id, ttl_s in (change.granted or {}).items():
            await execute("INSERT INTO lease VALUES (?, ?)", (lease_id, ttl_s))
        if change.ended is not None:
            await execute("DELETE FROM lease WHERE id = ?", (change.ended,))

    async def _put(self, kvs: Iterable[KeyValue]) -> None:
        rows = [(self._id_of(kv.key), kv) for kv in kvs]
        await self._connection.executemany(
            "INSERT INTO entry VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            [(row_id, self._sealed(row_id, kv)) for row_id, kv in rows],
        )

    def _id_of(self, key: str) -> int:
        row_id = self._ids.setdefault(key, self._next_id)
        if row_id == self._next_id:
            self._next_id += 1
        return row_id

    def _sealed(self, row_id: int, kv: KeyValue) -> bytes:
        body = msgspec.msgpack.encode(
            _Row(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.lease_id)
        )
        return self._sealer.seal(body, context=_context(row_id)) if self._sealer else body

    def _opened(self, row_id: int, body: bytes) -> KeyValue:
        if self._sealer:
            body = self._sealer.open_sealed(body, context=_context(row_id))
        try:
            row = msgspec.msgpack.decode(body, type=_Row)
        except msgspec.MsgspecError as error:
            raise _corrupt("A row of the coordinator's file can't be read", row_id) from error
        return KeyValue(
            key=row.key,
            value=row.value,
            create_revision=Revision(row.create_revision),
            mod_revision=Revision(row.mod_revision),
            lease_id=LeaseId(row.lease_id),
        )


async def open_file(path: Path, *, sealer: Sealer | None) -> EmbeddedFile:
    """Open a file, making it the first time, readable by its owner alone.

    Raises: CoordinatorUnavailable: another process has it open, or it can't be opened.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = await aiosqlite.connect(path, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise CoordinatorUnavailable(f"{path.name} can't be opened.") from error
    try:
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "temp_store = MEMORY",
        ):
            await connection.execute(f"PRAGMA {pragma}")
        async with _durably(connection):  # takes the lock for good
            pass
    except sqlite3.Error as error:
        await connection.close()
        if error.sqlite_errorcode in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise _corrupt("The coordinator's file is no database of SQLite") from error
        raise CoordinatorUnavailable(
            f"{path.name} can't be opened; another process may have it."
        ) from error
    except BaseException:
        await connection.close()
        raise
    return EmbeddedFile(connection, sealer)


@asynccontextmanager
async def _durably(connection: aiosqlite.Connection) -> AsyncIterator[None]:
    await connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        await connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself when the disk is full
            await connection.execute("ROLLBACK")
        raise


def _context(row_id: int) -> bytes:
    return b"dstore coordinator entry %d" % row_id


def _corrupt(message: str, row_id: int | None = None) -> Corrupt:
    where = "meta" if row_id is None else f"row {row_id}"
    return Corrupt(f"{message}.", file="the coordinator's file", where=where)
