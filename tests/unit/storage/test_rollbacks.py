"""A transaction that is undone leaves nothing behind, in the file or in SQLite's own cache.

What SQLite keeps in memory has to be read anew then; if that fails and it goes on with what it
has, pages of which one was undone and the other was not become a malformed file.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import apsw
import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Unknown
from dstore.storage.range_writer import RangeWriter, Write
from dstore.storage.schema import Schema, upgrade
from dstore.storage.vault.layout import PAGE_BYTES, WAL_PREFIX_BYTES, FileKey
from dstore.storage.vault.residency import Residency
from dstore.storage.vault.vault import Vault
from tests.support.stores import put, rid

KEYS = 800
OWN_CACHE_KIB = 200  # less than the file has, so that a batch meets pages that are not there
SIZES = (100, 800, 3_000, 9_000)
_NEW_META = (
    "INSERT INTO meta (ID, RANGE_ID, EPOCH, SEQ, DIGEST, QUANTITY) VALUES (1, 'r', 1, 0, ?, 0)"
)


class Place:
    """A range's writer whose connection, and the vault, keep few pages."""

    def __init__(self, directory: Path) -> None:
        self.fatal: list[BaseException] = []
        self.path = directory / "range.db"
        self.vault = Vault(entropy=SystemEntropy(), page_cache_bytes=PAGE_BYTES)
        key = FileKey(file_uuid=os.urandom(16), generation=0, secret=os.urandom(32))
        self.vault.register(self.path, key)
        with closing(self.vault.create(self.path)) as connection:
            upgrade(connection, Schema.RANGE)
            connection.execute(_NEW_META, (bytes(32),))
        self.residency = Residency()

    @contextmanager
    def writer(self, *, cache_kib: int) -> Iterator[tuple[apsw.Connection, RangeWriter]]:
        """Open the file."""
        with closing(self.vault.connect(self.path, residency=self.residency)) as connection:
            connection.pragma("cache_size", -cache_kib)
            yield (
                connection,
                RangeWriter(
                    connection,
                    clock=SystemClock(),
                    entropy=SystemEntropy(),
                    on_fatal=self.fatal.append,
                    residency=self.residency,
                ),
            )


def puts(rng: Random) -> list[Write]:
    """Make a batch of any keys and sizes."""
    return [
        put(f"k{rng.randrange(KEYS)}", {"text": {"S": "x" * rng.choice(SIZES)}})
        for _ in range(rng.randrange(1, 12))
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("is_shipped", [False, True])
def test_a_batch_that_met_a_page_on_the_disk_is_undone_whole(
    tmp_path: Path, seed: int, is_shipped: bool
) -> None:
    """It goes to a thread, and what the event loop had begun is nowhere."""
    rng, place, undone = Random(seed), Place(tmp_path), 0
    with place.writer(cache_kib=8_192) as (_, writer):
        for at in range(0, KEYS // 2, 50):
            writer.commit([put(f"k{at + more}", {"text": {"S": "old"}}) for more in range(50)])
    with place.writer(cache_kib=OWN_CACHE_KIB) as (connection, writer):
        for _ in range(150):
            batch = puts(rng)
            begun = writer.prepare_at_once(batch) if is_shipped else writer.commit_unsynced(batch)
            if begun is None:
                undone += 1
                writer.commit(batch)
            elif is_shipped:
                writer.abandon()
        assert undone
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        heads = connection.execute("SELECT count(*) FROM v1 WHERE C_COL = ''").fetchall()
        assert heads == [(writer.end.quantity,)]
    assert place.fatal == []


def test_what_cannot_be_undone_ends_the_process(tmp_path: Path) -> None:
    """Nobody may go on with a cache in which the half of a transaction may stand."""
    place = Place(tmp_path)
    log = tmp_path / "range.db-wal"
    right = b""

    def spoil_and_fail(_previous: object) -> None:
        nonlocal right
        right = log.read_bytes()
        log.write_bytes(spoilt(right))
        place.vault.cache.clear()
        raise RuntimeError

    with place.writer(cache_kib=8_192) as (_, writer):
        writer.commit([put("a", {"text": {"S": "x" * 20_000}})])
        spoiling = Write(rid_id=rid("c"), entry_hash=0, apply=spoil_and_fail)  # type: ignore[arg-type]
        grown = put("b", {"text": {"S": "y" * 20_000}})
        with pytest.raises(Unknown):
            writer.commit([grown, spoiling])
        assert len(place.fatal) == 1
        log.write_bytes(right)  # for the close


def spoilt(log: bytes) -> bytes:
    """Change every frame of a log."""
    content = bytearray(log)
    for at in range(WAL_PREFIX_BYTES + 100, len(content), 512):
        content[at] ^= 1
    return bytes(content)
