"""What is SQLite's own: its file, its settings, a disk that fails under a commit."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from dstore.model.errors import Corrupt, Unavailable, UnavailableKind, Unknown
from dstore.storage.control import tenants
from dstore.storage.control.sqlite import SqliteStore, open_sqlite
from dstore.storage.control.sqlite_dialect import dialect
from tests.support.control_records import tenant


def _never(error: BaseException) -> None:
    pytest.fail(repr(error))


def _modes(directory: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in directory.iterdir()}


async def test_the_file_is_this_users_alone_and_safe(tmp_path: Path) -> None:
    """Mode 0600, its log too; every commit synced; foreign keys and secure deletion on."""
    store = await open_sqlite(tmp_path / "control.db", on_fatal=_never)
    async with store.transaction() as tx:
        await tenants.insert(tx, tenant())
        names = ("synchronous", "foreign_keys", "secure_delete", "temp_store", "journal_mode")
        found = [(await tx.rows(f"PRAGMA {name}"))[0][0] for name in names]
    modes = _modes(tmp_path)
    await store.close()
    assert found == [2, 1, 1, 2, "wal"]
    assert modes == {0o600}


@pytest.mark.parametrize(
    "content", [b"no database at all" * 300, b"SQLite format 3\0" + b"\xff" * 9_000]
)
async def test_a_damaged_file_is_named_not_overwritten(tmp_path: Path, content: bytes) -> None:
    """The wrong file, or what a disk made of it."""
    path = tmp_path / "control.db"
    path.write_bytes(content)
    with pytest.raises(Corrupt):
        await open_sqlite(path, on_fatal=_never)
    assert path.read_bytes() == content


async def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """A mount that is missing is not a reason to begin anew elsewhere."""
    with pytest.raises(Unavailable, match="can't be opened"):
        await open_sqlite(tmp_path / "absent" / "control.db", on_fatal=_never)


class _Failing:
    """A connection whose next commit fails as a disk would make it."""

    def __init__(self, store: SqliteStore, code: int) -> None:
        self.connection = store._writer
        assert self.connection is not None
        self.real = self.connection.execute_fetchall
        self.code = code
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def execute_fetchall(self, statement: str, values: tuple[object, ...] = ()) -> object:
        if statement != "COMMIT":
            return await self.real(statement, values)
        self.begun.set()
        await self.go_on.wait()
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = self.code
        raise error


async def _write_failing(store: SqliteStore, code: int, patch: pytest.MonkeyPatch) -> None:
    failing = _Failing(store, code)
    with patch.context() as context:
        context.setattr(failing.connection, "execute_fetchall", failing.execute_fetchall)
        async with store.transaction() as tx:
            await tenants.insert(tx, tenant())


async def test_a_sync_that_fails_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B16: a later sync may succeed although what this one should have written is gone."""
    fatal: list[BaseException] = []
    store = await open_sqlite(tmp_path / "control.db", on_fatal=fatal.append)
    with pytest.raises(Unknown):
        await _write_failing(store, sqlite3.SQLITE_IOERR_FSYNC, monkeypatch)
    assert len(fatal) == 1
    with pytest.raises(Unavailable):
        async with store.transaction():
            pytest.fail("it went on")
    with pytest.raises(Unavailable):
        async with store.snapshot():
            pytest.fail("it went on")
    await store.close()


async def test_a_failed_sync_is_noticed_though_its_caller_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that was cancelled during its commit must not hide what became of the disk."""
    fatal: list[BaseException] = []
    store = await open_sqlite(tmp_path / "control.db", on_fatal=fatal.append)
    failing = _Failing(store, sqlite3.SQLITE_IOERR_FSYNC)
    failing.go_on.clear()
    monkeypatch.setattr(failing.connection, "execute_fetchall", failing.execute_fetchall)

    async def write() -> None:
        async with store.transaction() as tx:
            await tenants.insert(tx, tenant())

    async with asyncio.TaskGroup() as group:
        task = group.create_task(write())
        await failing.begun.wait()
        task.cancel()
    failing.go_on.set()
    await store.close()
    assert len(fatal) == 1


async def test_a_full_disk_is_a_definite_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written, and when there is room again it works."""
    store = await open_sqlite(tmp_path / "control.db", on_fatal=_never)
    with pytest.raises(Unavailable) as full:
        await _write_failing(store, sqlite3.SQLITE_FULL, monkeypatch)
    assert full.value.kind is UnavailableKind.NO_SPACE
    async with store.transaction() as tx:
        assert (await tenants.page(tx)).records == ()
        await tenants.insert(tx, tenant())
    await store.close()


@pytest.mark.parametrize(
    ("statement", "spelled"),
    [
        ("SELECT a FROM b WHERE c = $1 AND d = $12", "SELECT a FROM b WHERE c = ?1 AND d = ?12"),
        ('a TEXT COLLATE "C" NOT NULL, b BYTEA,', "a TEXT COLLATE BINARY NOT NULL, b BLOB,"),
    ],
)
def test_the_dialect(statement: str, spelled: str) -> None:
    """Everything in which SQLite's spelling differs from PostgreSQL's."""
    assert dialect(statement) == spelled
