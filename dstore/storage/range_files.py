"""The range files of a node: opened when first used, closed when idle, a bounded number at once."""

from __future__ import annotations

from asyncio import Task, get_running_loop, shield, wait
from collections import OrderedDict
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import apsw

from dstore.base.clock import NS_PER_S
from dstore.base.limits import FILE_IDLE_S, RETRY_AFTER_MS, WAL_BYTES_SUM_MAX
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.model.errors import DStoreError, Unavailable, UnavailableKind, Unknown
from dstore.model.ranges import RangeCount
from dstore.storage import examination, rewriting
from dstore.storage.failures import gone, translated
from dstore.storage.node_keys import sync_directory
from dstore.storage.range_file import RangeFile
from dstore.storage.replica_log import NEVER_WHOLE, beginning_of
from dstore.storage.schema import Schema, upgrade
from dstore.storage.vault.layout import FRAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

    from dstore.model.index_rows import IndexShape
    from dstore.storage.surroundings import Surroundings
    from dstore.storage.vault.layout import FileKey

_log = get_logger(__name__)

Result = TypeVar("Result")

FOLDER: Final = "ranges"
# The database goes last: as long as a log is left, its database is there to be found.
_SUFFIXES: Final = ("-shm", "-wal", "")
_FRESH_NS: Final = NS_PER_S  # a file used within this second is not closed
_GONE_MAX: Final = 4_096  # deleted ranges remembered: more than requests can be under way
_NEW_META: Final = (
    "INSERT INTO meta (ID, RANGE_ID, EPOCH, SEQ, DIGEST, QUANTITY) VALUES (1, ?, ?, 0, ?, 0)"
)
_NO_REPLICA: Final = "UPDATE meta SET PROMISED_EPOCH = ?, APPLIED_SEQ = 0, WHOLE_SEQ = ?"


class RangeFiles:
    """Opens, keeps and closes the files under `<data>/ranges`. Used from one event loop.

    A range is opened, closed or deleted by one task at a time, which ends whatever becomes of the
    request that began it. A range that was deleted is never opened again, unless it is made anew.
    """

    def __init__(self, directory: Path, around: Surroundings, *, open_files_max: int) -> None:
        """Make the folder if it is absent."""
        self._directory = directory / FOLDER
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._around = around
        self._now_ns = around.clock.monotonic_ns
        self._open_files_max = open_files_max
        self._open: OrderedDict[str, RangeFile] = OrderedDict()
        self._used_at_ns: dict[str, int] = {}
        self._latest = ""  # the range that was used last
        self._tasks = Tasks(around.on_fatal)
        self._moving: dict[str, Task[Exception | None]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._is_tidying = False
        self._counts: dict[str, RangeCount] = {}
        self._counts_taken: dict[str, RangeCount] = {}
        self.indexes_of: Callable[[str], Sequence[IndexShape]] = _no_indexes
        """Tells of a range, by its id, the local indexes of its table; asked at each opening."""

    @property
    def open_count(self) -> int:
        """Files open now."""
        return len(self._open)

    def peek(self, range_id: str) -> RangeFile | None:
        """Return the range's file if it is open, and mark it used."""
        file = self._open.get(range_id)
        if file is not None:
            if range_id != self._latest:
                self._open.move_to_end(range_id)
                self._latest = range_id
            self._used_at_ns[range_id] = self._now_ns()
        return file

    def count(self, range_id: str) -> RangeCount | None:
        """Count what is in a range, if its file is or was open in this process; a few µs."""
        file = self._open.get(range_id)
        return self._counts.get(range_id) if file is None else _count_of(file)

    def size_bytes(self, range_id: str) -> int:
        """Measure a range's database: its pages if it is open, its files if not; 0 if deleted."""
        file = self._open.get(range_id)
        if file is not None:
            return file.size_bytes
        path, size = self._path(range_id), 0
        for found in (path, path.with_name(path.name + "-wal")):
            with suppress(FileNotFoundError):
                size += found.stat().st_size
        return size

    def take_changed_counts(self) -> dict[str, RangeCount]:
        """Return the counts that changed since they were last taken, by range id."""
        self._counts.update((range_id, _count_of(file)) for range_id, file in self._open.items())
        taken = self._counts_taken
        changed = {
            range_id: count
            for range_id, count in self._counts.items()
            if taken.get(range_id) != count
        }
        taken.update(changed)
        return changed

    async def open(self, range_id: str, key: Callable[[], FileKey]) -> RangeFile:
        """Return the range's file, opening it in a thread; `key` is asked for only then.

        Raises: Corrupt, TooNew, WrongKey: the file cannot be opened. NotMine: the range was
            deleted. Unavailable: too many files are open and in use.
        """
        while (file := self.peek(range_id)) is None:
            if range_id in self._gone:
                raise gone(range_id)
            moving = self._moving.get(range_id)
            if moving is None:
                if len(self._open) + len(self._moving) >= 2 * self._open_files_max:
                    await self._make_room()
                    continue
                moving = self._move(range_id, self._open_file(range_id, key))
            error = await shield(moving)
            if error is not None:
                raise error
        return file

    async def create(self, range_id: str, key: FileKey, *, epoch: int = 1) -> None:
        """Make the empty file of a range that no record names yet; until one does, it is an orphan.

        What is left of a former file of the range, which nobody has the key of, goes. A range that
        was deleted here may come back.
        """
        while (moving := self._moving.get(range_id)) is not None:
            await shield(moving)
        assert range_id not in self._open, range_id
        await self._in_thread(self._create, range_id, key, epoch)
        self._gone.pop(range_id, None)

    async def delete(self, range_id: str) -> None:
        """Close a range's file, once its writes are answered, and delete it, whatever comes."""
        self._gone[range_id] = None
        if len(self._gone) > _GONE_MAX:
            self._gone.popitem(last=False)
        while (moving := self._moving.get(range_id)) is not None:
            await shield(moving)
        error = await shield(self._move(range_id, self._delete(range_id)))
        if error is not None:
            raise error

    async def shut(self, range_id: str) -> None:
        """Close a range's file, if it is open, once its writes are answered."""
        while (moving := self._moving.get(range_id)) is not None:
            await shield(moving)
        if range_id in self._open:
            await shield(self._move(range_id, self._shut(range_id)))

    async def read_pages(
        self, range_id: str, key: Callable[[], FileKey], *, first_page: int
    ) -> examination.PagesSeen:
        """Read pages of a range's file from the disk. Raises: as `open`, and `read_pages`."""
        file, vault = await self.open(range_id, key), self._around.vault
        return await file.look(
            lambda _: examination.read_pages(vault, file.path, first_page=first_page)
        )

    async def is_sound(self, range_id: str, key: Callable[[], FileKey]) -> bool:
        """Read all of a range's file. Raises: as `open`, and `examination.is_sound`."""
        file, vault = await self.open(range_id, key), self._around.vault
        return await file.look(lambda _: examination.is_sound(vault, file.path))

    async def rewrite(
        self,
        range_id: str,
        *,
        before: FileKey,
        after: FileKey,
        record: Callable[[], Awaitable[None]],
        promised_epoch: int | None = None,
    ) -> None:
        """Write a range's file anew under another key; whoever opens it meanwhile waits.

        Args:
            range_id: of a range that is not deleted.
            before: opens the file.
            after: of the next generation.
            record: makes `after` durable as the file's key, once its pages are. What it raises
                undoes the rewrite, unless it is Unknown: then the next start tells.
            promised_epoch: begin the file anew instead, with this promise, empty and no replica
                until a copy is made in it. Nothing of the former one is read, which may be ruined.

        Raises: NotMine: the range was deleted. Unavailable, Corrupt: the file is as it was. What
            `record` raises.
        """
        while (moving := self._moving.get(range_id)) is not None:
            await shield(moving)
        if range_id in self._gone:
            raise gone(range_id)
        work = self._rewrite(
            range_id, before=before, after=after, record=record, promised_epoch=promised_epoch
        )
        error = await shield(self._move(range_id, work))
        if error is not None:
            raise error

    async def tidy(self) -> None:
        """Close files that are idle too long, or too many; bound the sum of all logs."""
        if self._is_tidying:
            return
        self._is_tidying = True
        try:
            for range_id in self._due():
                await shield(self._move(range_id, self._shut(range_id)))
        finally:
            self._is_tidying = False
        self._fold_largest()

    async def close(self) -> None:
        """Close every file, after its queued writes are answered, several at a time."""
        while self._moving or self._open:
            for range_id in list(self._open):
                if range_id not in self._moving:
                    self._move(range_id, self._shut(range_id))
            await wait(list(self._moving.values()))
        await self._tasks.drain()

    def _due(self) -> Iterator[str]:
        """Yield, least recently used first, the files to close; each is still idle when yielded."""
        surplus = len(self._open) - self._open_files_max
        for range_id, file in list(self._open.items()):
            unused_ns = self._now_ns() - self._used_at_ns.get(range_id, 0)
            is_due = surplus > 0 or unused_ns > FILE_IDLE_S * NS_PER_S or self._logs_are_long()
            is_free = self._open.get(range_id) is file and range_id not in self._moving
            if is_due and is_free and file.is_idle and unused_ns > _FRESH_NS:
                surplus -= 1
                yield range_id

    def _logs_are_long(self) -> bool:
        return self._log_bytes() > WAL_BYTES_SUM_MAX

    def _log_bytes(self) -> int:
        return sum(file.log_pages for file in self._open.values()) * FRAME_BYTES

    def _fold_largest(self) -> None:
        """Fold the longest log, if all of them together are still too long."""
        if self._open and self._logs_are_long():
            largest = max(self._open.values(), key=lambda file: file.log_pages)
            if not largest.is_folding:
                largest.fold()

    async def _make_room(self) -> None:
        """Close the file that was idle longest, since twice as many as should be are open.

        Raises: Unavailable: every one is in use.
        """
        for range_id, file in self._open.items():
            if file.is_idle and range_id not in self._moving:
                await shield(self._move(range_id, self._shut(range_id)))
                return
        raise Unavailable(
            UnavailableKind.OVERLOADED,
            "Too many tables are in use at once; retry.",
            retry_after_ms=RETRY_AFTER_MS,
        )

    def _move(self, range_id: str, work: Coroutine[Any, Any, None]) -> Task[Exception | None]:
        """Start the one task that opens, closes or deletes a range; its result is its failure."""
        assert range_id not in self._moving, range_id
        moving = self._tasks.spawn(_failure_of(work), name="move_range_file")
        self._moving[range_id] = moving
        moving.add_done_callback(lambda _: self._moving.pop(range_id))
        return moving

    async def _open_file(self, range_id: str, key: Callable[[], FileKey]) -> None:
        indexes = self.indexes_of(range_id)
        file = await self._in_thread(self._open_path, range_id, key, indexes)
        self._open[range_id] = file
        self._used_at_ns[range_id] = self._now_ns()
        self._around.listeners.opened(range_id)
        if len(self._open) > self._open_files_max and not self._is_tidying:
            self._tasks.spawn(self.tidy(), name="tidy_range_files")

    async def _shut(self, range_id: str) -> None:
        file = self._open.pop(range_id)
        self._used_at_ns.pop(range_id, None)
        await file.drain()
        self._counts[range_id] = _count_of(file)
        await self._in_thread(self._close, range_id, file)

    async def _rewrite(
        self,
        range_id: str,
        *,
        before: FileKey,
        after: FileKey,
        record: Callable[[], Awaitable[None]],
        promised_epoch: int | None,
    ) -> None:
        if promised_epoch is None and range_id not in self._open:
            await self._open_file(range_id, lambda: before)  # recovers a log that a crash has left
        if range_id in self._open:
            await self._shut(range_id)
        path = self._path(range_id)
        if promised_epoch is None:
            await self._in_thread(lambda: rewriting.stage(path, before=before, after=after))
        else:
            await self._in_thread(self._stage_empty, range_id, after, promised_epoch)
        try:
            await record()
        except Unknown:
            raise
        except BaseException:
            await self._in_thread(rewriting.discard, path, after.generation)
            raise
        try:
            await self._in_thread(rewriting.promote, path, after.generation)
        except Exception as error:
            # The record is ahead of the file: only the next start brings them together.
            self._around.on_fatal(error)
            raise

    async def _delete(self, range_id: str) -> None:
        file = self._open.get(range_id)
        if file is not None:
            file.stop_taking()
            await self._shut(range_id)
        self._counts.pop(range_id, None)
        self._counts_taken.pop(range_id, None)
        await self._in_thread(self._unlink, range_id)

    def _path(self, range_id: str) -> Path:
        return self._directory / range_id[:2] / f"{range_id}.db"

    def _create(self, range_id: str, key: FileKey, epoch: int) -> None:
        path, vault = self._path(range_id), self._around.vault
        try:
            with translated(str(path)):
                if path.parent.exists() and any(path.parent.glob(f"{path.name}*")):
                    self._unlink(range_id)
                self._create_at(path, range_id, key, epoch=epoch)
        except DStoreError:
            self._unlink(range_id)
            raise
        finally:
            vault.forget(path)

    def _create_at(self, path: Path, range_id: str, key: FileKey, *, epoch: int) -> None:
        vault = self._around.vault
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_directory(self._directory)
        vault.register(path, key)
        with closing(vault.create(path)) as connection:
            _begin_range(connection, range_id, epoch=epoch)

    def _stage_empty(self, range_id: str, key: FileKey, promised_epoch: int) -> None:
        """Make the file that takes the place of a ruined one; `rewriting` gives it its name."""
        path, vault = self._path(range_id), self._around.vault
        staged = rewriting.staged_path(path, key.generation)
        vault.register(staged, key)
        try:
            with translated(str(path)):
                for suffix in _SUFFIXES:
                    staged.with_name(staged.name + suffix).unlink(missing_ok=True)
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.touch(mode=0o600)  # a file that is gone altogether is replaced as any other
                with closing(vault.create(staged)) as connection:
                    _begin_range(connection, range_id, epoch=1)
                    connection.execute(_NO_REPLICA, (promised_epoch, NEVER_WHOLE))
                sync_directory(path.parent)
        except BaseException:
            rewriting.discard(path, key.generation)
            raise
        finally:
            vault.forget(staged)

    def _open_path(
        self, range_id: str, key: Callable[[], FileKey], indexes: Sequence[IndexShape]
    ) -> RangeFile:
        path = self._path(range_id)
        self._around.vault.register(path, key())
        try:
            with translated(str(path)):
                return RangeFile(path, self._around, indexes=indexes)
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

    async def _in_thread(self, work: Callable[..., Result], *args: object) -> Result:
        return await get_running_loop().run_in_executor(self._around.executor, work, *args)


def _begin_range(connection: apsw.Connection, range_id: str, *, epoch: int) -> None:
    """Make the tables of an empty range.

    The log's chain begins with the range's id: no two ranges ever give one version, not even to the
    same first write (`entry_cache` shares entries among all of them).
    """
    upgrade(connection, Schema.RANGE)
    connection.execute(_NEW_META, (range_id, epoch, beginning_of(range_id).digest))


def _count_of(file: RangeFile) -> RangeCount:
    return RangeCount(file.quantity, file.index_sizes)


def _no_indexes(_range_id: str) -> Sequence[IndexShape]:
    """Where nobody knows of tables, none has indexes."""
    return ()


async def _failure_of(work: Coroutine[Any, Any, None]) -> Exception | None:
    """Run to the end. Returns: the error, for whoever waits, or None."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - it is handed over, not swallowed
        return error
    return None
