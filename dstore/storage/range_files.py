"""The range files of a node: opened when first used, closed when idle, a bounded number at once."""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections import OrderedDict
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

import apsw

from dstore.base.limits import FILE_IDLE_S, WAL_BYTES_SUM_MAX
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.storage.failures import translated
from dstore.storage.node_keys import sync_directory
from dstore.storage.range_file import RangeFile
from dstore.storage.schema import Schema, upgrade
from dstore.storage.vault.layout import FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dstore.storage.range_file import Surroundings
    from dstore.storage.vault.layout import FileKey

_log = get_logger(__name__)

Result = TypeVar("Result")

FOLDER: Final = "ranges"
# The database goes last: as long as a log is left, its database is there to be found.
_SUFFIXES: Final = ("-shm", "-wal", "")
_FRESH_NS: Final = 1_000_000_000  # a file used within this second is not closed
_NEW_META: Final = (
    "INSERT INTO meta (ID, RANGE_ID, EPOCH, SEQ, DIGEST, QUANTITY) VALUES (1, ?, 1, 0, ?, 0)"
)
_EMPTY_DIGEST: Final = bytes(32)


class RangeFiles:
    """Opens, keeps and closes the files under `<data>/ranges`. Used from one event loop."""

    def __init__(self, directory: Path, around: Surroundings, *, open_files_max: int) -> None:
        """Make the folder if it is absent."""
        self._directory = directory / FOLDER
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._around = around
        self._open_files_max = open_files_max
        self._open: OrderedDict[str, RangeFile] = OrderedDict()
        self._used_at_ns: dict[str, int] = {}
        self._moving: dict[str, Future[None]] = {}

    @property
    def open_count(self) -> int:
        """Files open now."""
        return len(self._open)

    def peek(self, range_id: str) -> RangeFile | None:
        """Return the range's file if it is open, and mark it used."""
        file = self._open.get(range_id)
        if file is not None:
            self._open.move_to_end(range_id)
            self._used_at_ns[range_id] = self._around.clock.monotonic_ns()
        return file

    async def open(self, range_id: str, key: Callable[[], FileKey]) -> RangeFile:
        """Return the range's file, opening it in a thread; `key` is asked for only then.

        Raises: Corrupt, TooNew, WrongKey: the file cannot be opened.
        """
        while True:
            file = self.peek(range_id)
            if file is not None:
                return file
            moving = self._moving.get(range_id)
            if moving is None:
                break
            await _settled(moving)
        return await self._open_file(range_id, key)

    async def create(self, range_id: str, key: FileKey) -> None:
        """Make the empty file of a new range. Until a record names the range, it is an orphan."""
        await self._in_thread(self._create, range_id, key)

    async def delete(self, range_id: str) -> None:
        """Close a range's file, once its writes are answered, and delete it."""
        while (moving := self._moving.get(range_id)) is not None:
            await _settled(moving)
        file = self._open.pop(range_id, None)
        self._used_at_ns.pop(range_id, None)
        if file is not None:
            await file.drain()
            await self._in_thread(self._close, range_id, file)
        await self._in_thread(self._unlink, range_id)

    async def delete_orphans(self, known: set[str]) -> int:
        """Delete files that no record names: what a crash left of a create or a delete."""
        orphans = await self._in_thread(self._orphans, known)
        for range_id in orphans:
            await self._in_thread(self._unlink, range_id)
        return len(orphans)

    async def tidy(self) -> None:
        """Close files that are idle too long, or too many; bound the sum of all logs."""
        now_ns = self._around.clock.monotonic_ns()
        surplus = len(self._open) - self._open_files_max
        log_bytes = sum(file.log_pages for file in self._open.values()) * FRAME_BYTES
        for range_id, file in list(self._open.items()):
            unused_ns = now_ns - self._used_at_ns[range_id]
            is_due = surplus > 0 or unused_ns > FILE_IDLE_S * 1e9 or log_bytes > WAL_BYTES_SUM_MAX
            if not is_due or unused_ns < _FRESH_NS or not file.is_idle:
                continue
            surplus -= 1
            log_bytes -= file.log_pages * FRAME_BYTES
            await self._shut(range_id, file)

    def open_files(self) -> list[tuple[str, RangeFile]]:
        """List the open files with their range ids."""
        return list(self._open.items())

    async def close(self) -> None:
        """Close every file, after its queued writes are answered."""
        for moving in list(self._moving.values()):
            await _settled(moving)
        for range_id, file in list(self._open.items()):
            await file.drain()
            await self._shut(range_id, file)

    async def _open_file(self, range_id: str, key: Callable[[], FileKey]) -> RangeFile:
        done: Future[None] = get_running_loop().create_future()
        self._moving[range_id] = done
        try:
            file = await self._in_thread(self._open_path, range_id, key)
            self._open[range_id] = file
            self._used_at_ns[range_id] = self._around.clock.monotonic_ns()
        finally:
            del self._moving[range_id]
            done.set_result(None)
        if len(self._open) > self._open_files_max:
            await self.tidy()
        return file

    async def _shut(self, range_id: str, file: RangeFile) -> None:
        done: Future[None] = get_running_loop().create_future()
        self._moving[range_id] = done
        self._open.pop(range_id, None)
        self._used_at_ns.pop(range_id, None)
        try:
            await self._in_thread(self._close, range_id, file)
        finally:
            del self._moving[range_id]
            done.set_result(None)

    def _path(self, range_id: str) -> Path:
        return self._directory / range_id[:2] / f"{range_id}.db"

    def _create(self, range_id: str, key: FileKey) -> None:
        path, vault = self._path(range_id), self._around.vault
        try:
            with translated(str(path)):
                self._create_at(path, range_id, key)
        except DStoreError:
            self._unlink(range_id)
            raise
        finally:
            vault.forget(path)

    def _create_at(self, path: Path, range_id: str, key: FileKey) -> None:
        vault = self._around.vault
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_directory(self._directory)
        vault.register(path, key)
        with closing(vault.create(path)) as connection:
            upgrade(connection, Schema.RANGE)
            connection.execute(_NEW_META, (range_id, _EMPTY_DIGEST))

    def _open_path(self, range_id: str, key: Callable[[], FileKey]) -> RangeFile:
        path = self._path(range_id)
        self._around.vault.register(path, key())
        try:
            with translated(str(path)):
                return RangeFile(path, self._around)
        except BaseException:
            self._around.vault.forget(path)
            raise

    def _close(self, range_id: str, file: RangeFile) -> None:
        try:
            file.close()
        except (apsw.Error, OSError, DStoreError) as error:
            # What is durable stays so: the next opening recovers the log that is left.
            _log.warning("close_failed", file=file.path.name, error=type(error).__name__)
        finally:
            self._around.vault.forget(self._path(range_id))

    def _unlink(self, range_id: str) -> None:
        path = self._path(range_id)
        for suffix in _SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        if path.parent.exists():
            sync_directory(path.parent)

    def _orphans(self, known: set[str]) -> list[str]:
        found = {path.name.partition(".")[0] for path in self._directory.glob("*/*.db*")}
        return sorted(found - known)

    async def _in_thread(self, work: Callable[..., Result], *args: object) -> Result:
        return await get_running_loop().run_in_executor(self._around.executor, work, *args)


async def _settled(moving: Future[None]) -> None:
    """Wait for a file to be open or closed, without cancelling that when the waiter goes."""
    waiter: Future[None] = get_running_loop().create_future()
    moving.add_done_callback(lambda _: None if waiter.done() else waiter.set_result(None))
    await waiter
