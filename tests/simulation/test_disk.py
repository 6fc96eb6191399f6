"""The simulated disk forgets what was not synced, and nothing else; it fails when told to."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import apsw
import pytest

from dstore.model.errors import Corrupt
from dstore.storage.vault.layout import FileKey
from dstore.storage.vault.vault import Vault
from tests.simulation.disk import PowerCut, SimDisk
from tests.support.entropy import SeededEntropy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A connection that is dropped while the power is off cannot say so to anybody.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KEY = FileKey(file_uuid=bytes(16), generation=0, secret=bytes(range(32)))


@pytest.fixture
def disk() -> Iterator[SimDisk]:
    made = SimDisk(Random(1))
    yield made
    made.remove()


class Life:
    """One life of a process with one file."""

    def __init__(self, disk: SimDisk) -> None:
        """Open the file, making it if there is none."""
        self.path: Path = disk.directory / "files" / "a.db"
        self.path.parent.mkdir(exist_ok=True)
        vault = Vault(
            entropy=SeededEntropy(Random(2)),
            page_cache_bytes=0,
            base_vfs=disk.name,
            fdatasync=disk.fdatasync,
        )
        vault.register(self.path, KEY)
        self.log = vault.log_of(self.path)
        is_new = not self.path.exists()
        self.connection = vault.create(self.path) if is_new else vault.connect(self.path)
        self.connection.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY)")

    def add(self, number: int) -> None:
        self.connection.execute("INSERT INTO entry VALUES (?)", (number,))

    def found(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT id FROM entry ORDER BY id")]


def _add_many(life: Life) -> None:
    for number in range(10):
        life.add(number)


def test_a_killed_process_loses_nothing(disk: SimDisk) -> None:
    """What was written is the kernel's, synced or not."""
    life = Life(disk)
    life.connection.pragma("synchronous", "off")
    life.add(1)
    disk.kill()
    with pytest.raises((PowerCut, apsw.Error)):
        life.add(2)
    disk.restart()
    assert Life(disk).found() == [1]


def test_a_power_cut_loses_what_was_not_synced(disk: SimDisk) -> None:
    """Some of it, at random; and what a killed process before it had left, too."""
    life = Life(disk)
    life.add(1)
    life.connection.pragma("synchronous", "off")
    for number in range(2, 60):
        life.add(number)
    disk.kill()
    disk.cut()
    disk.restart()
    found = Life(disk).found()
    assert found[0] == 1
    assert len(found) < 59


def test_the_power_may_go_in_the_middle(disk: SimDisk) -> None:
    """At the operation that was drawn; who owns the disk is told at once."""
    told: list[bool] = []
    disk.on_cut = lambda: told.append(disk.is_off)
    life = Life(disk)
    disk.cut_after = 2
    with pytest.raises((PowerCut, apsw.Error)):
        _add_many(life)
    assert told == [True]
    assert disk.cuts == 1


def test_syncs_and_writes_fail_as_told(disk: SimDisk) -> None:
    """An I/O error is one, and a full disk is full: nothing of the transaction is there."""
    life = Life(disk)
    life.add(1)
    disk.fail_writes = 1
    with pytest.raises(apsw.IOError):
        life.add(2)
    disk.is_full = True
    with pytest.raises(apsw.FullError):
        life.add(3)
    disk.heal()
    life.add(4)
    disk.fail_syncs = 1
    with pytest.raises((apsw.IOError, OSError)):
        life.add(5)
    assert life.found()[:2] == [1, 4]


def test_modes_and_folders_survive(disk: SimDisk) -> None:
    """A key file that others can read would be refused."""
    (disk.directory / "keys").mkdir(mode=0o700)
    path = disk.directory / "keys" / "own.key"
    path.write_bytes(b"k")
    path.chmod(0o600)
    disk.restart()
    path = disk.directory / "keys" / "own.key"
    assert path.read_bytes() == b"k"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_old_copy_and_an_empty_disk(disk: SimDisk) -> None:
    """A machine may come back with a backup of itself, or with nothing at all."""
    life = Life(disk)
    life.add(1)
    backup = disk.backup()
    life.add(2)
    disk.kill()
    disk.put_back(backup)
    disk.restart()
    life = Life(disk)
    assert life.found() == [1]
    disk.put_back({})
    disk.restart()
    assert list(disk.directory.iterdir()) == []
    assert Life(disk).found() == []


def test_a_key_file_beside_an_old_copy_is_durable_at_once(disk: SimDisk) -> None:
    """What is written behind a backup without SQLite goes with no power (returned 30015)."""
    own = disk.directory / "settings"
    own.write_bytes(b"of the backup")
    backup = disk.backup()
    disk.kill()
    disk.put_back(backup)
    disk.restart()
    (disk.directory / "settings").write_bytes(b"newer")
    disk.cut()
    disk.restart()
    assert (disk.directory / "settings").read_bytes() == b"newer"


def test_rot_is_found(disk: SimDisk) -> None:
    """B17: a bit that flips in a file is never taken for data."""
    life = Life(disk)
    for number in range(2_000):
        life.add(number)
    life.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    disk.kill()
    disk.restart()
    disk.rot(disk.directory / "files" / "a.db")
    with pytest.raises(Corrupt):
        Life(disk).found()
