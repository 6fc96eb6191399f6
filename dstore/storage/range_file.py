"""One replica's file, open: a writer, a reader that never waits, and readers for threads."""

from __future__ import annotations

from asyncio import Future, get_running_loop, shield
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from dstore.base.logging import get_logger
from dstore.model.errors import Unknown
from dstore.storage import entries, local_indexes, weighing
from dstore.storage.entries import Entry
from dstore.storage.failures import gone, is_io_failure, stored_error, translated
from dstore.storage.folding import fold_most
from dstore.storage.group_commit import Begun, GroupCommit
from dstore.storage.newest_versions import NewestVersions
from dstore.storage.range_scan import Page, Span, Walk, read_page
from dstore.storage.range_writer import (
    WRITE_OVERHEAD_BYTES,
    Applied,
    Prepared,
    RangeWriter,
    Write,
)
from dstore.storage.readers import Readers
from dstore.storage.schema import Schema, upgrade
from dstore.storage.shipments import Shipment
from dstore.storage.vault.residency import NotResident, Residency
from dstore.storage.writes import rid_ids_of

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.model.index_rows import IndexShape, IndexSizes
    from dstore.storage.derived_rows import DerivedRows
    from dstore.storage.range_scan import Collector
    from dstore.storage.replication_port import Replication
    from dstore.storage.surroundings import Surroundings

_log = get_logger(__name__)
Result = TypeVar("Result")


class RangeFile:
    """An open range. Its methods belong to the event loop, except those that say otherwise."""

    def __init__(
        self, path: Path, around: Surroundings, *, indexes: Sequence[IndexShape] = ()
    ) -> None:
        """Open the registered file, in a thread; `indexes` are its table's local ones.

        Raises: Corrupt: the file is damaged. TooNew: a later dStore wrote it.
        """
        self.path = path
        self._around = around
        self._residency = Residency()
        self._newest = NewestVersions()
        writers = Residency()
        with ExitStack() as opened:  # a connection left behind would outlive its file's key
            connection = around.vault.connect(path, residency=writers)
            opened.enter_context(closing(connection))
            upgrade(connection, Schema.RANGE)
            local_indexes.bring_up(connection, indexes)
            self._index_sizes: IndexSizes = local_indexes.sizes(connection)
            self._writer = RangeWriter(
                connection,
                clock=around.clock,
                entropy=around.entropy,
                thread_ns=around.thread_ns,
                on_fatal=around.on_fatal,
                residency=writers,
                cache=around.entries,
                newest=self._newest,
                names=around.names,
            )
            resident = around.vault.connect(
                path, readonly=True, busy_timeout_ms=0, residency=self._residency
            )
            self._resident = opened.enter_context(closing(resident))
            entries.read_entry(self._resident, b"")  # warm: the schema is parsed, the plan cached
            opened.pop_all()
        self._residency.required = True
        self._log = around.vault.log_of(path)
        self._replication = around.replication_of(path.stem)
        self._prepared: Prepared | None = None  # in a thread, not shipped yet
        self.changes = 0  # made by `change`
        self.whole_at = -1  # of them, when the rows were last seen to be whole; see `wholeness`
        self._readers = Readers(around.vault, path)
        self._reads_in_threads = 0
        self._group: GroupCommit[Write, Applied] = GroupCommit(
            self._commit,
            executor=around.executor,
            begin=self._begin,
            on_thread=lambda writes: self._newest.handed_over(rid_ids_of(writes)),
            off_thread=self._come_back,
            settle=self._settle,
            on_batch=self._batch_done,
        )
        self._unsynced: frozenset[bytes] = frozenset()  # RID_IDs of the batch that `_syncing` syncs
        self._syncing: Future[None] | None = None
        self._has_committed = self._is_closing = False
        self._idle_waiters: list[Future[None]] = []
        self._is_folding = self._is_fold_due = self._fold_rest = False

    @property
    def quantity(self) -> int:
        """Entries in the file, as of the last commit."""
        return self._writer.end.quantity

    @property
    def derived(self) -> DerivedRows | None:
        """What the file keeps beside the entries' own rows; None: nothing."""
        return self._writer.derived

    @property
    def is_idle(self) -> bool:
        """Nothing is being written, read in a thread (or waiting for one), or folded."""
        return self._group.is_idle and not self._reads_in_threads and not self._is_folding

    @property
    def is_folding(self) -> bool:
        """The log is being folded into the file."""
        return self._is_folding

    @property
    def log_pages(self) -> int:
        """Pages in the write-ahead log now."""
        return self._log.frames

    @property
    def size_bytes(self) -> int:
        """The size of the database, entries and log of changes, as of the last commit."""
        return weighing.size_bytes(self._resident, self.path)

    @property
    def index_sizes(self) -> IndexSizes:
        """How much is in each local index, as of the last commit."""
        self._index_sizes = weighing.index_sizes(self._resident, was=self._index_sizes)
        return self._index_sizes

    # ------------------------------------------------------------------------------- reading

    async def read(self, rid_id: bytes, *, is_certain: bool = True) -> Entry | None:
        """Read one entry, newest committed version: at once if it is in memory, else in a thread.

        Unless `is_certain`, another replica may have a newer one by now.

        Raises: Corrupt: a page on the way is damaged. NotMine: the range is being deleted.
        """
        self._refuse_closing()
        entry = self._known(rid_id)
        if entry is None:
            try:
                entry = entries.read_entry(self._resident, rid_id, self._around.entries)
                if entry is not None:
                    self._newest.note_read(rid_id, entry.version)
            except (NotResident, apsw.BusyError):
                entry = await self._in_thread(lambda reader: entries.read_entry(reader, rid_id))
            except (apsw.Error, OSError) as error:
                raise stored_error(error, file=str(self.path)) from error
        if rid_id in self._unsynced:
            await self._synced()
        if is_certain and self._replication is not None:
            await self._certain(self._replication)
        return entry

    def _known(self, rid_id: bytes) -> Entry | None:
        """Return an entry, newest committed version, if nothing has to be read for it."""
        version = self._newest.get(rid_id)
        return None if version is None else self._around.entries.get(version)

    async def scan(
        self,
        *,
        after: bytes,
        before: bytes | None,
        limit: int,
        bytes_max: int,
        is_certain: bool = True,
    ) -> Page:
        """Read a page of entries between two keys, both exclusive, in a thread.

        Args:
            after: b"" for the beginning.
            before: None for the end.
            limit: entries at most, >= 0; with 0 the page tells only whether there is one.
            bytes_max: stop behind the entry that reaches it.
            is_certain: as in `read`.
        Raises: as `read`.
        """
        self._refuse_closing()
        page = await self._walk_in_thread(
            lambda reader: read_page(reader, after, before, limit=limit, bytes_max=bytes_max)
        )
        await self._told(is_certain=is_certain)
        return page

    async def walk(self, span: Span, collector: Collector, *, is_certain: bool = True) -> None:
        """Hand a span's entries to a collector until it is full or the span ends.

        The event loop does it if that is short and all in memory; else a thread does the rest.
        Raises: as `read`, and what the collector raises.
        """
        self._refuse_closing()
        walk = Walk(span, collector)
        with suppress(NotResident):
            self.glance(partial(walk.run_short, cache=self._around.entries))
        if not walk.is_over:
            await self._walk_in_thread(walk.run)
        await self._told(is_certain=is_certain)

    async def _walk_in_thread(self, walk: Callable[[apsw.Connection], Result]) -> Result:
        """Walk when it is our turn; who waits for it keeps the file open."""
        self._reads_in_threads += 1
        try:
            async with self._around.walking:
                return await self._in_thread(walk)
        finally:
            self._reads_in_threads -= 1
            self._tell_waiters()

    async def _told(self, *, is_certain: bool) -> None:
        """Return when everything that was read by now may be told (I1, I7)."""
        await self._synced()
        if is_certain and self._replication is not None:
            await self._certain(self._replication)

    async def _certain(self, replication: Replication) -> None:
        """Return when what was read before is known to be the newest there is (I7).

        Raises: NotMine, Unavailable.
        """
        asking = replication.certain()
        if asking is not None:
            await shield(asking)

    async def _synced(self) -> None:
        """Return when what is committed by now is durable, and what was read of it may be told.

        Raises: Unknown: nobody knows whether it is; the process is about to end.
        """
        if self._syncing is not None:
            await shield(self._syncing)

    async def _in_thread(self, read: Callable[[apsw.Connection], Result]) -> Result:
        self._reads_in_threads += 1
        run = get_running_loop().run_in_executor
        reading = run(self._around.executor, self._readers.lend, read)
        reading.add_done_callback(self._read_done)
        return await shield(reading)  # the thread goes on when its caller is cancelled

    def _read_done(self, reading: Future[Any]) -> None:
        self._reads_in_threads -= 1
        if not reading.cancelled():
            reading.exception()  # it is the caller's, who may have gone
        self._tell_waiters()

    # ------------------------------------------------------------------------------- writing

    def submit(
        self,
        write: Write,
        *,
        item_bytes: int = 0,
        tell: Callable[[Applied], Any] | None = None,
    ) -> Future[Any]:
        """Queue a write; the future holds its answer once it is durable (I1).

        Args:
            write: what to do.
            item_bytes: roughly what it holds in memory.
            tell: makes of the answer, an `Applied`, what the future holds; quick, and never raises.
        Raises: Unavailable: the queue is full. NotMine: the range is being deleted.
        """
        self._refuse_closing()
        future = self._group.submit(write, job_bytes=item_bytes + WRITE_OVERHEAD_BYTES, tell=tell)
        if self._is_fold_due and not self._is_folding and not self._fold_rest:
            self.fold()
        return future

    def fold(self) -> Future[None]:
        """Start folding the log into the file beside the writes; see `_fold_beside`."""
        self._is_folding, self._is_fold_due = True, False
        folding = get_running_loop().run_in_executor(self._around.executor, self._fold_beside)
        folding.add_done_callback(self._fold_done)
        return folding

    def _commit(self, writes: Sequence[Write]) -> Sequence[Applied | Exception]:
        """Commit a batch in a thread; whether the log is too long shows only behind it."""
        self._fold_in_thread()
        if self._replication is not None:
            self._writer.keep_log(self._replication.wanted_after_seq)
            self._prepared = self._writer.prepare(writes)
            return self._prepared.answers
        answers = self._writer.commit(writes)
        self._has_committed = True
        self._is_fold_due = self.log_pages > self._around.wal_pages_checkpoint
        return answers

    def _batch_done(self, writes: int) -> None:
        self._around.on_batch(writes)
        at_s = None if self._writer.derived is None else self._writer.earliest_s()
        if at_s is not None:
            self._around.listeners.expiring(self.path.stem, at_s)

    def _begin(self, writes: Sequence[Write]) -> Begun[Applied] | None:
        """Commit a short batch on the event loop, and start its sync in a thread.

        Keeps I1 and I7: readers see the batch at once, so until it is durable nobody is told of
        it, neither who wrote it nor who read it (`_synced`).
        """
        around = self._around
        # A handle's first commit syncs the directory too, and folding takes long.
        if self._fold_rest or not self._has_committed or around.is_halted():
            return None
        if self._replication is not None:
            self._writer.keep_log(self._replication.wanted_after_seq)
            prepared = self._writer.prepare_at_once(writes)
            if prepared is None:
                return None
            return prepared.answers, self._ship(prepared, in_thread=False)
        before = self._writer.end.seq
        answers = self._writer.commit_unsynced(writes)
        if answers is None or self._writer.end.seq == before:
            return None if answers is None else (answers, None)
        self._is_fold_due = self.log_pages > around.wal_pages_checkpoint
        self._unsynced = self._writer.written
        self._syncing = get_running_loop().run_in_executor(around.executor, self._sync)
        self._syncing.add_done_callback(self._sync_done)
        return answers, self._syncing

    def _fold_in_thread(self) -> None:
        """Fold what is left of the log, between two batches."""
        if self._fold_rest:
            self._fold_rest = False
            self._writer.checkpoint()

    def _come_back(self) -> None:
        if self._prepared is None:  # else the rows are still to change
            self._newest.came_back()

    # ------------------------------------------------------------------------------- replicated

    def _settle(self) -> Future[None] | None:
        """Ship what a thread has prepared."""
        prepared, self._prepared = self._prepared, None
        return None if prepared is None else self._ship(prepared, in_thread=True)

    def _ship(self, prepared: Prepared, *, in_thread: bool) -> Future[None]:
        """Have a batch's records held by all, then commit it; no thread waits for the others.

        Returns: a future that has a result when the batch may be told of (I1, I5, I7).
        """
        replication = self._replication
        assert replication is not None
        commit = partial(self._commit_shipped, prepared, in_thread=in_thread)
        return Shipment(prepared, replication, commit=commit, abandon=self._abandon).done

    def _commit_shipped(self, prepared: Prepared, *, in_thread: bool) -> Future[None]:
        """Begin to commit what all in-sync replicas hold. Returns: a future of its end."""
        loop, executor = get_running_loop(), self._around.executor
        if in_thread:
            committing = loop.run_in_executor(executor, self._commit_prepared, prepared)
            committing.add_done_callback(lambda _: self._newest.came_back())
            return committing
        self._writer.commit_prepared(prepared, is_synced=False)
        self._is_fold_due = self.log_pages > self._around.wal_pages_checkpoint
        self._unsynced = self._writer.written
        self._syncing = loop.run_in_executor(executor, self._sync)
        self._syncing.add_done_callback(self._sync_done)
        return self._syncing

    def _commit_prepared(self, prepared: Prepared) -> None:
        self._writer.commit_prepared(prepared, is_synced=True)
        self._has_committed = True
        self._is_fold_due = self.log_pages > self._around.wal_pages_checkpoint

    def _abandon(self) -> None:
        self._writer.abandon()
        self._newest.came_back()

    async def change(
        self, work: Callable[[apsw.Connection], Result], *, is_aside: bool = False
    ) -> Result:
        """Do something to the log and the rows between two batches, durably, in a thread.

        It ends even if its caller is cancelled. With `is_aside` it touches neither entries nor log.

        Raises: what `work` raises, nothing changed; Corrupt. Unavailable, Unknown: as `submit`.
        """
        self._refuse_closing()
        await self._group.hold()
        if not is_aside:
            self._newest.handed_over_whole()
        work_so = partial(self._change, work, is_aside=is_aside)
        try:
            changing = get_running_loop().run_in_executor(self._around.executor, work_so)
        except BaseException:
            self._changed()
            raise
        changing.add_done_callback(self._changed)
        return await shield(changing)

    def _change(self, work: Callable[[apsw.Connection], Result], *, is_aside: bool) -> Result:
        with translated(str(self.path)):  # what is damaged is mended by who hears that it is
            self._fold_in_thread()
            result = self._writer.change(work, is_aside=is_aside)
        self._has_committed = True
        self._is_fold_due = self.log_pages > self._around.wal_pages_checkpoint
        return result

    def _changed(self, changing: Future[Any] | None = None) -> None:
        if changing is not None and not changing.cancelled():
            changing.exception()  # it is the caller's, who may have gone
        self.changes += 1
        self._newest.came_back()
        self._group.release()
        self._tell_waiters()
        if self._is_fold_due and not self._is_folding:
            self.fold()

    def glance(self, work: Callable[[apsw.Connection], Result]) -> Result:
        """Read something short on the event loop. Raises: NotResident: a thread has to; Corrupt."""
        self._refuse_closing()
        try:
            return work(self._resident)
        except (NotResident, apsw.BusyError):
            raise NotResident from None
        except (apsw.Error, OSError) as error:
            raise stored_error(error, file=str(self.path)) from error

    async def look(self, work: Callable[[apsw.Connection], Result]) -> Result:
        """Read something else than entries, in a thread, as of one commit."""
        self._refuse_closing()
        return await self._in_thread(work)

    # ------------------------------------------------------------------------------- syncing

    def _sync(self) -> None:
        try:
            self._log.sync()
        except BaseException as error:
            self._around.on_fatal(error)
            raise Unknown("The sync failed in a way that leaves the outcome open.") from error

    def _sync_done(self, syncing: Future[None]) -> None:
        if syncing.cancelled() or syncing.exception() is not None:
            return  # nobody is told of the batch as long as the process lasts (I7)
        self._unsynced, self._syncing = frozenset(), None

    def _fold_beside(self) -> None:
        """Fold most of the log, in a thread; the writer folds the rest before its next batch."""
        if fold_most(self._around.vault, self.path):
            self._fold_rest = True

    def _fold_done(self, folding: Future[None]) -> None:
        self._is_folding = False
        self._tell_waiters()
        error = folding.exception()
        if error is not None and is_io_failure(error):
            self._around.on_fatal(error)  # a page may or may not be on the disk (B16)
        elif error is not None:
            _log.error("fold_failed", file=self.path.name, exc_info=error)

    # ------------------------------------------------------------------------------- closing

    def stop_taking(self) -> None:
        """Refuse everything new: the range is being deleted, and with it what is asked for."""
        self._is_closing = True

    def _refuse_closing(self) -> None:
        if self._is_closing:
            raise gone(self.path.stem)

    async def drain(self) -> None:
        """Return when every queued write is answered, and no thread reads or folds any more."""
        await self._group.wait_idle()
        while not self.is_idle:
            waiter: Future[None] = get_running_loop().create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def _tell_waiters(self) -> None:
        """Let `drain` look again: a thread has ended."""
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Close all connections of an idle file, in a thread; the last one removes the log."""
        self._residency.required = False
        self._readers.close()
        self._resident.close()
        self._writer.close()
