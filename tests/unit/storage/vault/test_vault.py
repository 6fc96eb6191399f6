"""The vault as storage uses it: SQLite's own behaviour, encrypted, and nothing else opened."""

from __future__ import annotations

import errno
from dataclasses import replace
from random import Random
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

import apsw
import pytest

from dstore.model.errors import Corrupt
from dstore.storage.vault.layout import FRAME_BYTES, PAGE_BYTES, WAL_PREFIX_BYTES
from dstore.storage.vault.vault import Vault
from tests.support.entropy import SeededEntropy
from tests.support.specimen import KEY, Rows, make_table, new_vault, read_all, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHECKPOINTS: Final = (
    apsw.SQLITE_CHECKPOINT_PASSIVE,
    apsw.SQLITE_CHECKPOINT_RESTART,
    apsw.SQLITE_CHECKPOINT_TRUNCATE,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's file lies."""
    return tmp_path / "range.db"


@pytest.fixture
def vault(path: Path) -> Vault:
    """A vault that knows `path`, with a cache."""
    return new_vault(path, cache_bytes=1 << 20)


@pytest.fixture
def writer(vault: Vault, path: Path) -> Iterator[apsw.Connection]:
    """A new file with a table."""
    connection = vault.create(path)
    make_table(connection)
    yield connection
    connection.close()


def _reopened(path: Path) -> Rows:
    connection = new_vault(path).connect(path)
    try:
        return read_all(connection)
    finally:
        connection.close()


def test_round_trip(writer: apsw.Connection, path: Path) -> None:
    """What is written is read back by another vault with the same key."""
    rows: Rows = {}
    write(writer, rows, Random(1))
    writer.close()
    assert _reopened(path) == rows


def test_wrong_key(writer: apsw.Connection, path: Path) -> None:
    """Another key opens nothing, with a log and without one."""
    other = replace(KEY, secret=bytes(32))
    for _ in range(2):
        with pytest.raises(Corrupt):
            new_vault(path, key=other).connect(path)
        writer.close()


def test_reserved_bytes_are_checked(path: Path) -> None:
    """SQLite keeps off the bytes that the seal needs."""
    connection = new_vault(path).create(path)
    make_table(connection)
    assert connection.reserve_bytes("main", -1) == 40
    connection.close()


def test_other_files_are_refused(vault: Vault, writer: apsw.Connection, path: Path) -> None:
    """I2: a journal, a temporary or an unknown file would lie there in clear."""
    with pytest.raises(apsw.CantOpenError):
        vault.connect(path.with_name("unknown.db"))
    with pytest.raises(apsw.Error):
        writer.execute("ATTACH ? AS other", (str(path.with_name("other.db")),))
    writer.execute("CREATE TEMP TABLE scratch AS SELECT zeroblob(200000) AS z")
    writer.execute("SELECT count(*) FROM (SELECT random() AS r FROM entry ORDER BY r)").fetchall()
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"range.db", "range.db-wal", "range.db-shm"}


def test_folder_behind_a_symbolic_link(tmp_path: Path) -> None:
    """SQLite resolves links before it asks for a file; the registry must know it by that name."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    path = tmp_path / "link" / "range.db"
    vault = new_vault(path)
    make_table(vault.create(path))
    assert read_all(vault.connect(path)) == {}


def test_no_plaintext_in_any_file(writer: apsw.Connection, path: Path) -> None:
    """I2: neither values nor names nor SQLite's own marks can be read from the files."""
    for mode in (None, *_CHECKPOINTS):
        writer.execute("INSERT INTO entry VALUES (?, ?)", (None, b"canary of a value " * 500))
        if mode is not None:
            writer.wal_checkpoint(mode=mode)
        for file in path.parent.iterdir():
            content = file.read_bytes()
            for word in (b"canary", b"of a value", b"entry", b"CREATE", b"SQLite", b"STRICT"):
                assert word not in content, (file.name, word)


def test_copied_pages_are_refused(tmp_path: Path) -> None:
    """A page of the same content, copied from another file under the same secret, does not open."""
    paths = [tmp_path / "one.db", tmp_path / "two.db"]
    for number, path in enumerate(paths):
        vault = new_vault(path, key=replace(KEY, file_uuid=bytes([number]) * 16))
        connection = vault.create(path)
        make_table(connection)
        write(connection, {}, Random(1))
        connection.close()
    content = bytearray(paths[1].read_bytes())
    content[PAGE_BYTES : 2 * PAGE_BYTES] = paths[0].read_bytes()[PAGE_BYTES : 2 * PAGE_BYTES]
    paths[1].write_bytes(content)
    with pytest.raises(Corrupt):
        read_all(new_vault(paths[1], key=replace(KEY, file_uuid=bytes([1]) * 16)).connect(paths[1]))


def test_rolled_back_spill_of_one_connection_spares_another(
    vault: Vault, writer: apsw.Connection, path: Path
) -> None:
    """Frames held back by a writer that rolled back never reach the file over another's."""
    other = vault.connect(path)
    rows: Rows = {}
    for seed in range(20):
        writer.pragma("cache_size", 5)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE entry SET value = zeroblob(9000)")
        for key in range(100, 110 + seed):
            writer.execute("INSERT INTO entry VALUES (?, zeroblob(5000))", (key,))
        writer.execute("ROLLBACK")
        write(other, rows, Random(seed))
        assert read_all(writer) == rows
        write(writer, rows, Random(seed + 100))
        if seed % 5 == 4:
            other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    other.close()
    assert _reopened(path) == rows


def test_pages_spilled_twice(writer: apsw.Connection, path: Path) -> None:
    """SQLite then rewrites frames, leaves their salts zero, and mends header by header."""
    writer.pragma("cache_size", 5)
    rows: Rows = {}
    for turn in range(6):
        with writer:
            for _ in range(3):
                for key in range(40):
                    rows[key] = bytes([turn]) * (1_000 + 60 * key)
                    writer.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (key, rows[key]))
    assert read_all(writer) == rows
    copy = path.parent / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        (copy / f"range.db{suffix}").write_bytes(path.with_name(f"range.db{suffix}").read_bytes())
    assert _reopened(copy / "range.db") == rows


@pytest.mark.parametrize("cache_bytes", [0, 60_000, 1 << 22])
@pytest.mark.parametrize("seed", range(8))
def test_random_work_agrees_with_a_dictionary(seed: int, cache_bytes: int, path: Path) -> None:
    """Whatever the order of writes, rollbacks, checkpoints and reopenings, no row is wrong."""
    random = Random(seed)
    vault = new_vault(path, cache_bytes=cache_bytes, seed=seed)
    connections = [vault.create(path)]
    make_table(connections[0])
    connections += [vault.connect(path), vault.connect(path)]
    rows: Rows = {}
    for _ in range(150):
        connection = random.choice(connections)
        connection.pragma("cache_size", random.choice((5, 50)))
        match random.randrange(8):
            case 0:
                connection.wal_checkpoint(mode=random.choice(_CHECKPOINTS))
            case 1:
                assert read_all(connection) == rows
            case 2:
                index = random.randrange(3)
                connections[index].close()
                connections[index] = vault.connect(path)
            case _:
                rows = _random_transaction(connection, rows, random)
    for connection in connections:
        connection.close()
    assert _reopened(path) == rows


def _random_transaction(connection: apsw.Connection, rows: Rows, random: Random) -> Rows:
    after = dict(rows)
    connection.execute("BEGIN IMMEDIATE")
    for _ in range(random.choice((1, 3, 40))):
        key = random.randrange(80)
        if random.random() < 0.3:
            after.pop(key, None)
            connection.execute("DELETE FROM entry WHERE id = ?", (key,))
        else:
            after[key] = random.randbytes(random.choice((8, 900, 9_000)))
            connection.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (key, after[key]))
    if random.random() < 0.25:
        connection.execute("ROLLBACK")
        return rows
    connection.execute("COMMIT")
    return after


def test_readers_and_a_writer_in_threads(path: Path) -> None:
    """Readers see whole transactions only, in order, while a writer and checkpoints run."""
    vault = new_vault(path, cache_bytes=200_000)
    writer = vault.create(path)
    make_table(writer)
    writer.execute("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 30)"
                   " INSERT INTO entry SELECT i, zeroblob(2000) FROM n")  # fmt: skip
    done, failures = Event(), list[BaseException]()

    def guarded(work: object) -> None:
        try:
            assert callable(work)
            work()
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)
            done.set()

    def read() -> None:
        newest = b""
        while not done.is_set():
            connection = vault.connect(path, readonly=True)
            for _ in range(20):
                values = {bytes(row[0]) for row in connection.execute("SELECT value FROM entry")}
                assert len(values) == 1, "half a transaction"
                (value,) = values
                assert value >= newest, "time ran backwards"
                newest = value
            connection.close()

    def checkpoint() -> None:
        random, connection = Random(1), vault.connect(path)
        connection.set_busy_timeout(50)
        while not done.is_set():
            try:
                connection.wal_checkpoint(mode=random.choice(_CHECKPOINTS))
            except apsw.BusyError:
                continue
        connection.close()

    threads = [Thread(target=guarded, args=(work,)) for work in (read, read, checkpoint)]
    for thread in threads:
        thread.start()
    turn = 0
    writer.set_busy_timeout(10_000)
    while turn < 50 and not failures:
        turn += 1
        writer.execute("UPDATE entry SET value = ?", (turn.to_bytes(4, "big") * 500,))
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert turn == 50
    writer.close()
    assert set(_reopened(path).values()) == {turn.to_bytes(4, "big") * 500}


def test_two_writers_restart_the_log_in_turn(vault: Vault, path: Path) -> None:
    """Each connection counts SQLite's sequence for itself; the log's number must not follow it."""
    connection = vault.create(path)
    make_table(connection)
    connections = [connection, vault.connect(path), vault.connect(path)]
    rows: Rows = {}
    for turn in range(12):
        write(connections[turn % 3], rows, Random(turn))
        copy = path.parent / f"copy-{turn}"
        copy.mkdir()
        for suffix in ("", "-wal"):
            content = path.with_name(path.name + suffix).read_bytes()
            (copy / f"range.db{suffix}").write_bytes(content)
        assert _reopened(copy / "range.db") == rows
        connections[(turn + 1) % 3].wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    for each in connections:
        each.close()


def test_log_that_a_crash_left_empty(vault: Vault, path: Path, tmp_path: Path) -> None:
    """SQLite does not read a header without frames; the next log must still be the newer one."""
    connection = vault.create(path)
    make_table(connection)
    rows: Rows = {}
    for turn in range(3):
        write(connection, rows, Random(turn))
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    write(connection, rows, Random(9))
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    log = path.with_name("range.db-wal").read_bytes()[:WAL_PREFIX_BYTES]
    copy = tmp_path / "copy" / "range.db"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    copy.with_name("range.db-wal").write_bytes(log)
    connection.close()
    again = new_vault(copy)
    connection = again.connect(copy)
    write(connection, rows, Random(10))
    final = tmp_path / "final" / "range.db"
    final.parent.mkdir()
    for suffix in ("", "-wal"):
        content = copy.with_name(copy.name + suffix).read_bytes()
        final.with_name(final.name + suffix).write_bytes(content)
    connection.close()
    assert _reopened(final) == rows


def test_failed_sync_is_an_error_of_the_commit(path: Path) -> None:
    """B16: a commit whose sync failed is never acknowledged."""
    is_failing = False

    def fdatasync(_: int) -> None:
        if is_failing:
            raise OSError(errno.EIO, "the disk is gone")

    vault = Vault(entropy=SeededEntropy(Random(1)), page_cache_bytes=0, fdatasync=fdatasync)
    vault.register(path, KEY)
    connection = vault.create(path)
    make_table(connection)
    write(connection, {}, Random(1))
    is_failing = True
    with pytest.raises(OSError, match="the disk is gone"):
        connection.execute("INSERT INTO entry VALUES (1000, NULL)")
    is_failing = False
    connection.close()
    assert 1000 not in _reopened(path)


def test_every_log_frame_is_written_whole(writer: apsw.Connection, path: Path) -> None:
    """The log grows by whole frames behind its two header sectors."""
    write(writer, {}, Random(1))
    size = path.with_name("range.db-wal").stat().st_size
    assert (size - WAL_PREFIX_BYTES) % FRAME_BYTES == 0
