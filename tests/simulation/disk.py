"""A simulated machine's disk: it forgets and tears what was not synced, fails, and gets full.

Files really lie in a directory of a file system in memory; what a running process sees there is the
truth of the moment. A VFS between SQLite and those files keeps beside it what is durable: each
file's bytes as of its last sync, the changes made since, in order, and the names that SQLite made
or deleted since it last synced their directory. At a power cut every unsynced sector (512 bytes) is
kept or dropped at random, the last write may stop at any byte, and each unsynced creation, deletion
and truncation has happened or not. A killed process loses nothing, and syncs nothing either.

Each life of the machine has a directory of its own, laid out from what the former one has left, so
that whatever still hangs on to the former one, open connections above all, can do no harm. Names
that were made or deleted without SQLite (key files, folders) count as durable at once.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
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
_INDEX_SUFFIX: Final = "-shm"  # SQLite makes it anew


Backup = dict[str, bytes]
"""The content of a disk's files, by their path below its directory."""


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


@dataclass(slots=True)
class _Life:
    """What a machine's disk is between two starts."""

    directory: Path
    inodes: dict[int, _Inode] = field(default_factory=dict)  # by the file system's number
    unsynced: dict[str, _Inode | None] = field(default_factory=dict)  # names: what they were
    is_off: bool = False
    has_lost_power: bool = False

    def inode_of(self, path: str) -> _Inode | None:
        """Find a file that SQLite has opened."""
        try:
            return self.inodes.get(Path(path).stat().st_ino)
        except FileNotFoundError:
            return None


class SimDisk:
    """One machine's disk through its lives; `name` is its VFS, `directory` its folder now.

    `cut_after` (operations from now: writes, truncations, syncs, deletions) is when the power
    fails: that operation and all later ones raise `PowerCut`, and `on_cut` is told. None: never.
    With `is_lying` a sync reports success and does nothing; with `is_full` nothing can be written;
    `fail_syncs` and `fail_writes` are how many of the next ones fail with an I/O error.
    """

    _numbers: ClassVar = count()

    def __init__(self, random: Random, *, is_lying: bool = False) -> None:
        """Make an empty disk on tmpfs, or in the temporary directory where there is none."""
        memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
        folder = memory if memory.is_dir() else None
        self._root = Path(tempfile.mkdtemp(prefix="dstore-disk-", dir=folder))
        self._random = random
        self._lives = count()
        self._life = self._new_life()
        self.is_lying = is_lying
        self.is_full = False
        self.fail_syncs = self.fail_writes = 0
        self.cut_after: int | None = None
        self._replacement: Backup | None = None
        self.on_cut: Callable[[], None] = _nobody
        self.cuts = self.writes = self.syncs = 0
        self.name = f"dstore-disk-{next(self._numbers)}"
        self._vfs = _SimVfs(self)

    @property
    def directory(self) -> Path:
        """Where the files lie in this life."""
        return self._life.directory

    @property
    def is_off(self) -> bool:
        """Whether this life of the disk has ended."""
        return self._life.is_off

    @property
    def life(self) -> _Life:
        """What file handles belong to."""
        return self._life

    def remove(self) -> None:
        """Throw the disk away."""
        self._life.is_off = True
        shutil.rmtree(self._root)
        self._vfs.unregister()
        # APSW holds the VFS for the vaults above it, where the collector of garbage sees no cycle.
        del self._vfs._disk

    def fdatasync(self, descriptor: int) -> None:
        """Sync the file behind a descriptor, as `os.fdatasync` does."""
        inode = self._life.inodes.get(os.fstat(descriptor).st_ino)
        self.sync(self._life, inode, failure=OSError(errno.EIO, "simulated"))

    def heal(self) -> None:
        """Fail no more."""
        self.fail_syncs = self.fail_writes = 0
        self.is_full = False
        self.cut_after = None

    def kill(self) -> None:
        """End this life; what is written stays written, and unsynced."""
        self._life.is_off = True

    def cut(self) -> None:
        """Cut the power: end this life, and lose at random what was not synced."""
        self._life.is_off = True
        if not self._life.has_lost_power:
            self._life.has_lost_power = True
            self.cuts += 1

    def backup(self) -> Backup:
        """Copy all files as they are now, as an operator does without stopping anything."""
        return {name: content for name, (content, _) in self._kept(self._life).items()}

    def put_back(self, backup: Backup) -> None:
        """Let the next life begin with these files instead of its own; {}: with an empty disk."""
        self._replacement = backup

    def rot(self, path: Path) -> None:
        """Flip one bit of a file, unnoticed; whoever has its page in memory reads on from there."""
        content = bytearray(path.read_bytes())
        place = self._random.randrange(len(content))
        content[place] ^= 1 << self._random.randrange(8)
        path.write_bytes(content)
        inode = self._life.inode_of(str(path))
        if inode is not None and place < len(inode.durable):
            inode.durable[place] = content[place]

    def restart(self) -> None:
        """Come up with what the former life has left; it ends here if it has not ended."""
        former, replacement = self._life, self._replacement
        former.is_off, self._replacement = True, None
        files: dict[str, tuple[bytes, _Inode | None]]
        if replacement is not None:
            # Which of them are SQLite's shows when it opens them; what others hold is durable.
            files = {name: (content, None) for name, content in replacement.items()}
            former.unsynced.clear()
        else:
            files = self._survivors(former) if former.has_lost_power else self._kept(former)
        life = self._life = self._new_life()
        for folder in sorted(path for path in former.directory.rglob("*") if path.is_dir()):
            mode = folder.stat().st_mode
            if replacement != {}:
                (life.directory / folder.relative_to(former.directory)).mkdir(mode=mode)
        for name, (content, inode) in files.items():
            path = life.directory / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(content)
            known = former.directory / name
            path.chmod(known.stat().st_mode if known.exists() else 0o600)
            if inode is not None:
                life.inodes[path.stat().st_ino] = inode
        if not former.has_lost_power:
            life.unsynced = dict(former.unsynced)
        self.cut_after = None
        shutil.rmtree(former.directory)

    # ------------------------------------------------------------------------------- for files

    def opened(self, life: _Life, path: str, *, is_new: bool) -> _Inode:
        """Note that SQLite has a file open, and perhaps has made it."""
        self._require_power(life)
        number = Path(path).stat().st_ino
        if is_new:
            life.inodes[number] = _Inode()
            life.unsynced.setdefault(self._name(life, path), None)
        elif number not in life.inodes:
            life.inodes[number] = _Inode(durable=bytearray(Path(path).read_bytes()))
        return life.inodes[number]

    def write(self, life: _Life, inode: _Inode, offset: int, data: bytes | None) -> None:
        """Note an unsynced change of a file. Raises: PowerCut, or what the disk fails with."""
        self._spend(life)
        if self.fail_writes:
            self.fail_writes -= 1
            raise _io_error(apsw.SQLITE_IOERR_WRITE)
        if self.is_full and data is not None:
            raise apsw.FullError("the simulated disk is full")
        self.writes += 1
        inode.changes.append((offset, data))

    def sync(self, life: _Life, inode: _Inode | None, *, failure: Exception | None = None) -> bool:
        """Make a file durable, if it is one of SQLite's. Returns: whether that was really done."""
        self._spend(life)
        if self.fail_syncs:
            self.fail_syncs -= 1
            raise failure or _io_error(apsw.SQLITE_IOERR_FSYNC)
        self.syncs += 1
        if inode is not None and not self.is_lying:
            inode.sync()
        return not self.is_lying

    def delete(self, life: _Life, path: str, *, directory: bool) -> None:
        """Note that a name is about to go, durably with `directory`."""
        self._spend(life)
        inode = life.inode_of(path)
        if inode is not None:
            life.unsynced.setdefault(self._name(life, path), inode)
        if directory and not self.is_lying:
            self.sync_names(life, path)

    def sync_names(self, life: _Life, path: str) -> None:
        """Make the names in a file's folder durable."""
        folder = Path(self._name(life, path)).parent
        for name in [name for name in life.unsynced if Path(name).parent == folder]:
            del life.unsynced[name]

    def _name(self, life: _Life, path: str) -> str:
        return str(Path(path).relative_to(life.directory))

    def _spend(self, life: _Life) -> None:
        if self.cut_after is not None and not life.is_off:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.cut_after = None
                self.cut()
                self.on_cut()
        self._require_power(life)

    def _require_power(self, life: _Life) -> None:
        if life.is_off:
            raise PowerCut("the power is off")

    # ------------------------------------------------------------------------------- lives

    def _kept(self, life: _Life) -> dict[str, tuple[bytes, _Inode | None]]:
        return {
            self._name(life, str(path)): (path.read_bytes(), life.inode_of(str(path)))
            for path in self._paths(life)
        }

    def _survivors(self, life: _Life) -> dict[str, tuple[bytes, _Inode | None]]:
        files: dict[str, tuple[bytes, _Inode | None]] = {}
        for name, (content, inode) in self._kept(life).items():
            if name in life.unsynced and self._random.random() < 0.5:
                continue  # its last change did not happen
            files[name] = self._survivor(inode) if inode is not None else (content, None)
        for name, former in sorted(life.unsynced.items()):
            if former is not None and name not in files and self._random.random() < 0.5:
                files[name] = self._survivor(former)
        return files

    def _survivor(self, inode: _Inode) -> tuple[bytes, _Inode]:
        content = inode.survivor(self._random)
        return content, _Inode(durable=bytearray(content))

    def _paths(self, life: _Life) -> list[Path]:
        found = life.directory.rglob("*")
        return sorted(p for p in found if p.is_file() and not p.name.endswith(_INDEX_SUFFIX))

    def _new_life(self) -> _Life:
        directory = self._root / f"life-{next(self._lives)}"
        directory.mkdir(mode=0o700)
        return _Life(directory)


class _SimVfs(apsw.VFS):
    """Hands out files that tell the disk what is done to them."""

    def __init__(self, disk: SimDisk) -> None:
        super().__init__(disk.name, "")
        self._disk = disk

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return _SimFile(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's
        self._disk.delete(self._disk.life, filename, directory=syncdir)
        super().xDelete(filename, syncdir)


class _SimFile(apsw.VFSFile):
    """One handle of a file on the disk, in one of its lives."""

    def __init__(
        self, disk: SimDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        assert name is not None, "SQLite opened a temporary file"
        self._disk = disk
        self._life = disk.life
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else name
        # SQLite's own VFS syncs the directory with the first sync of a log it may have created.
        self._syncs_directory = flags[0] & _WAL_CREATED == _WAL_CREATED
        is_new = not Path(self._name).exists()
        super().__init__("", name, flags)
        self._inode = disk.opened(self._life, self._name, is_new=is_new)

    def xWrite(self, data: Buffer, offset: int) -> None:  # noqa: N802 - SQLite's name
        written = bytes(data)
        self._disk.write(self._life, self._inode, offset, written)
        super().xWrite(written, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.write(self._life, self._inode, size, None)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - SQLite's name
        if self._disk.sync(self._life, self._inode) and self._syncs_directory:
            self._disk.sync_names(self._life, self._name)
        self._syncs_directory = False


def _io_error(extended: int) -> apsw.IOError:
    error = apsw.IOError("simulated")
    error.extendedresult = extended  # type: ignore[attr-defined] # APSW reads it back
    return error


def _nobody() -> None:
    """Tell nobody of a power cut."""
