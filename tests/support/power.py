"""A disk whose power can be cut: a VFS over the real one that knows what was not synced yet.

Files really lie in a directory (tmpfs); what a running process sees there is the truth of the
moment. Beside it the disk keeps what is durable: each file's bytes as of its last sync, the changes
made since in order, and the names that the directory held when it was last synced. At a power cut
every unsynced sector (512 bytes) is kept or dropped at random, the last write may stop at any byte,
and each unsynced creation, deletion and truncation happened or not. What survives is laid out in a
new directory, as a machine would find it at its next start.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import apsw

if TYPE_CHECKING:
    from random import Random

    from typing_extensions import Buffer

SECTOR_BYTES: Final = 512
_WAL_CREATED: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_CREATE


class PowerCut(OSError):
    """The power is off: nothing reaches the disk any more."""


@dataclass(slots=True)
class _Inode:
    """A file's bytes: as last synced, and the changes since. A change of None data truncates."""

    durable: bytearray = field(default_factory=bytearray)
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.changes:
            _change(self.durable, offset, data)
        self.changes.clear()

    def survivor(self, random: Random) -> bytes:
        """Choose what a power cut leaves of the file."""
        content = bytearray(self.durable)
        last = len(self.changes) - 1
        all_kept, none_kept = random.random() < 0.15, random.random() < 0.15
        for position, (offset, data) in enumerate(self.changes):
            if data is None:
                if all_kept or random.random() < 0.5:
                    _change(content, offset, None)
                continue
            if position == last and random.random() < 0.5:
                data = data[: random.randrange(len(data) + 1)]  # noqa: PLW2901 - torn
            for start, piece in _sectors(offset, data):
                if all_kept or (not none_kept and random.random() < 0.5):
                    _change(content, start, piece)
        return bytes(content)


def _change(content: bytearray, offset: int, data: bytes | None) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """Split a write at sector boundaries."""
    pieces, start = [], 0
    while start < len(data):
        end = min(len(data), start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES)
        pieces.append((offset + start, data[start:end]))
        start = end
    return pieces


class PowerDisk:
    """One machine's disk through several lives; `name` is its VFS, `directory` its only folder.

    `cut_after` (operations from now: writes, truncations, syncs, deletions) is when the power
    fails: that operation and all later ones raise `PowerCut`. None: never. With `is_lying` a sync
    reports success and does nothing.
    """

    _numbers: ClassVar = count()

    def __init__(self, random: Random, *, is_lying: bool = False) -> None:
        """Make an empty disk on tmpfs, or in the temporary directory where there is none."""
        memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
        self._root = Path(
            tempfile.mkdtemp(prefix="dstore-power-", dir=memory if memory.is_dir() else None)
        )
        self._random = random
        self._is_lying = is_lying
        self._lives = count()
        self._live: dict[str, _Inode] = {}
        self._synced: dict[str, _Inode] = {}
        self.cut_after: int | None = None
        self.is_off = False
        self.cuts = self.writes = self.syncs = 0
        self.directory = self._new_directory()
        self.name = f"dstore-power-{next(self._numbers)}"
        self._vfs = _PowerVfs(self)

    def remove(self) -> None:
        """Throw the disk away."""
        shutil.rmtree(self._root)
        self._vfs.unregister()

    def fdatasync(self, descriptor: int) -> None:
        """Sync the file behind a descriptor, as `os.fdatasync` does."""
        self.sync(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def restart(self) -> None:
        """Cut the power, if it is still on, and come up with what survived."""
        names = {}
        for name in sorted(self._live.keys() | self._synced.keys()):
            live, synced = self._live.get(name), self._synced.get(name)
            inode = live if live is synced else self._random.choice((live, synced))
            if inode is not None:
                names[Path(name).name] = inode.survivor(self._random)
        self.cuts += 1
        shutil.rmtree(self.directory)
        self.directory = self._new_directory()
        self._live = {}
        for name, content in names.items():
            path = self.directory / name
            path.write_bytes(content)
            self._live[str(path)] = _Inode(durable=bytearray(content))
        self._synced = dict(self._live)
        self.is_off, self.cut_after = False, None

    def write(self, name: str, offset: int, data: bytes | None) -> None:
        """Note an unsynced change of a file."""
        self._spend()
        self.writes += 1
        self._live[name].changes.append((offset, data))

    def sync(self, name: str, *, directory: bool = False) -> None:
        """Make a file durable, and with `directory` the names beside it."""
        self._spend()
        self.syncs += 1
        if self._is_lying:
            return
        self._live[name].sync()
        if directory:
            self._synced = dict(self._live)

    def create(self, name: str) -> None:
        """Note that a name came to be."""
        self._require_power()
        self._live.setdefault(name, _Inode())

    def delete(self, name: str, *, directory: bool) -> None:
        """Note that a name is gone, durably with `directory`."""
        self._spend()
        self._live.pop(name, None)
        if directory and not self._is_lying:
            self._synced = dict(self._live)

    def _spend(self) -> None:
        if self.cut_after is not None:
            self.cut_after -= 1
            self.is_off = self.is_off or self.cut_after < 0
        self._require_power()

    def _require_power(self) -> None:
        if self.is_off:
            raise PowerCut("the power is off")

    def _new_directory(self) -> Path:
        directory = self._root / f"life-{next(self._lives)}"
        directory.mkdir()
        return directory


class _PowerVfs(apsw.VFS):
    """Hands out files that tell the disk what is done to them."""

    def __init__(self, disk: PowerDisk) -> None:
        super().__init__(disk.name, "")
        self._disk = disk

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return _PowerFile(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's
        self._disk.delete(filename, directory=syncdir)
        super().xDelete(filename, syncdir)


class _PowerFile(apsw.VFSFile):
    """One handle of a file on the disk."""

    def __init__(
        self, disk: PowerDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        assert name is not None, "SQLite opened a temporary file"
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else name
        # SQLite's own VFS syncs the directory with the first sync of a log it may have created.
        self._syncs_directory = flags[0] & _WAL_CREATED == _WAL_CREATED
        disk.create(self._name)
        super().__init__("", name, flags)

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.write(self._name, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.write(self._name, size, None)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - SQLite's name
        self._disk.sync(self._name, directory=self._syncs_directory)
        self._syncs_directory = False
