"""A vault file as a power cut leaves it, with its history known: made to be damaged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Final

import apsw

from dstore.storage.vault.layout import FRAME_BYTES, WAL_PREFIX_BYTES, FileKey
from dstore.storage.vault.vault import Vault
from tests.support.entropy import SeededEntropy

if TYPE_CHECKING:
    from pathlib import Path

KEY: Final = FileKey(file_uuid=bytes(range(16)), generation=3, secret=bytes(range(32)))
Rows = dict[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """The bytes of a database and its log, and what they mean.

    `states`: the rows after each transaction, the newest last. `ends`: the frame at which each of
    the log's transactions ends (exclusive), in order. `begins`: the frame at which the first one
    begins; the frames before it make the table.
    """

    main: bytes
    log: bytes
    states: tuple[Rows, ...]
    ends: tuple[int, ...]
    begins: int = 0

    @property
    def frames(self) -> int:
        """Frames of the newest log."""
        return self.ends[-1] if self.ends else 0

    @property
    def last_starts(self) -> int:
        """The first frame of the last transaction."""
        return self.ends[-2] if len(self.ends) > 1 else 0

    def with_log(self, offset: int, data: bytes) -> Specimen:
        """Overwrite bytes of the log."""
        return replace(self, log=self.log[:offset] + data + self.log[offset + len(data) :])

    def with_main(self, offset: int, data: bytes) -> Specimen:
        """Overwrite bytes of the database."""
        return replace(self, main=self.main[:offset] + data + self.main[offset + len(data) :])

    def flipped(self, offset: int, *, bit: int) -> Specimen:
        """Flip one bit of the log."""
        return self.with_log(offset, bytes([self.log[offset] ^ 1 << bit]))

    def frame(self, index: int) -> bytes:
        """The stored bytes of a frame."""
        return self.log[frame_at(index) : frame_at(index + 1)]

    def lay_out(self, folder: Path) -> Path:
        """Write the files; returns the database's path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "range.db"
        path.write_bytes(self.main)
        path.with_name("range.db-wal").write_bytes(self.log)
        return path


def frame_at(index: int) -> int:
    """Where a frame begins in the log."""
    return WAL_PREFIX_BYTES + index * FRAME_BYTES


def new_vault(*paths: Path, key: FileKey = KEY, cache_bytes: int = 0, seed: int = 0) -> Vault:
    """A vault that knows the files and has nothing in memory."""
    vault = Vault(entropy=SeededEntropy(Random(seed)), page_cache_bytes=cache_bytes)
    for path in paths:
        vault.register(path, key)
    return vault


def make_table(connection: apsw.Connection) -> None:
    """Create the specimen's table."""
    connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, value BLOB) STRICT")


def read_all(connection: apsw.Connection) -> Rows:
    """Read every page that is in use, and the rows."""
    rows = dict(connection.execute("SELECT id, value FROM entry"))
    assert connection.pragma("integrity_check") == "ok"
    return rows


def snapshot(path: Path, states: list[Rows], ends: list[int]) -> Specimen:
    """Copy the files as they lie, connections open: what a power cut leaves after a sync."""
    log = path.with_name(path.name + "-wal")
    return Specimen(
        main=path.read_bytes(),
        log=log.read_bytes() if log.exists() else b"",
        states=tuple(states),
        ends=tuple(ends),
    )


def write(connection: apsw.Connection, rows: Rows, random: Random) -> None:
    """Commit one transaction of several pages; `rows` follows it."""
    with connection:
        for _ in range(4):
            key, value = random.randrange(40), random.randbytes(1_500)
            connection.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (key, value))
            rows[key] = value


def make_specimen(folder: Path, *, logs: int, transactions: int) -> Specimen:
    """Run a history of `logs` logs; all but the last are twice as long and folded in."""
    random, path = Random(logs), folder / "made.db"
    vault = new_vault(path, cache_bytes=1 << 20)
    connection = vault.create(path)
    make_table(connection)
    rows: Rows = {}
    for _ in range(logs - 1):
        for _ in range(2 * transactions):
            write(connection, rows, random)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    begins = vault.log_pages(path) if logs == 1 else 0
    states, ends = [dict(rows)], []
    for _ in range(transactions):
        write(connection, rows, random)
        states.append(dict(rows))
        ends.append(vault.log_pages(path))
    specimen = replace(snapshot(path, states, ends), begins=begins)
    connection.close()
    vault.forget(path)
    return specimen
