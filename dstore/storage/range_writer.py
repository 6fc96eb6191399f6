"""The writing side of a range file: batches of `apply(previous) → outcome`, one transaction each.

Runs in worker threads, and short batches on the event loop, one at a time. Invariants kept here:
I1: an answer is given only after COMMIT returned and the log is synced: COMMIT does it, or, behind
    `commit_unsynced`, the caller.
I3: a write is a pure function of the item before it, so a batch may be evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import apsw

from dstore.base.clock import NS_PER_MS, thread_ns
from dstore.base.limits import LOOP_BATCH_MS_MAX
from dstore.model.errors import Corrupt, Unavailable, Unknown
from dstore.storage import derived_rows, range_log
from dstore.storage.batch import Batch
from dstore.storage.failures import no_space, stored_error, translated
from dstore.storage.log_records import LogRecord
from dstore.storage.name_book import NameBook
from dstore.storage.name_index import HeldNames
from dstore.storage.vault.residency import Residency
from dstore.storage.writes import (
    WRITE_OVERHEAD_BYTES,
    Applied,
    Apply,
    Delete,
    Outcome,
    Prepared,
    Put,
    Write,
)

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.storage.derived_rows import DerivedRows
    from dstore.storage.entry_cache import EntryCache
    from dstore.storage.newest_versions import NewestVersions

__all__ = [
    "WRITE_OVERHEAD_BYTES",
    "Applied",
    "Apply",
    "Delete",
    "Outcome",
    "Prepared",
    "Put",
    "RangeWriter",
    "Write",
]

Changed = TypeVar("Changed")


class RangeWriter:
    """Owns the writer connection of a range file."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        clock: Clock,
        entropy: Entropy,
        thread_ns: Callable[[], int] = thread_ns,
        on_fatal: Callable[[BaseException], None],
        residency: Residency | None = None,
        cache: EntryCache | None = None,
        newest: NewestVersions | None = None,
        names: HeldNames | None = None,
    ) -> None:
        """Take over a connection.

        Args:
            connection: for this writer alone.
            clock: tells when a write was done.
            entropy: makes digests of what is left out of the log.
            thread_ns: tells how long the calling thread has been at work.
            on_fatal: ends the process: a failed sync leaves the disk's state unknown (B16).
            residency: the connection's switch, which `commit_unsynced` needs.
            cache: where entries are looked up, and kept when they are written.
            newest: which of them are the newest, as far as `commit_unsynced` changes it.
            names: the bound that the names of its requests share with other files.
        """
        self._connection = connection
        self._names = NameBook(names or HeldNames())
        self._batch = Batch(
            connection, cache=cache, newest=newest, names=self._names, entropy=entropy
        )
        self._batch.derived = derived_rows.load(connection)
        self._residency = residency or Residency()
        self._clock = clock
        self._thread_ns = thread_ns
        self._on_fatal = on_fatal
        self.end = range_log.read_end(connection)

    def keep_log(self, wanted_after_seq: int | None) -> None:
        """Trim nothing of the log that is behind a record: somebody is going to read it.

        None: nobody is, and images, or whole records, may be left out of what is appended.
        """
        self._batch.keep_log(wanted_after_seq)

    @property
    def derived(self) -> DerivedRows | None:
        """What the file keeps beside the entries' own rows, as of the last commit."""
        return self._batch.derived

    @property
    def written(self) -> frozenset[bytes]:
        """The RID_IDs that the last batch has changed."""
        return frozenset(self._batch.written)

    def commit(self, writes: Sequence[Write]) -> Sequence[Applied | Exception]:
        """Evaluate and commit a batch; a refusal is an answer among the others.

        Raises:
            Unavailable: the disk is full; nothing of the batch was written.
            Unknown: the commit's outcome cannot be told; the process is about to end.
        """
        try:
            return self._commit_together(writes)
        except (Unavailable, Unknown):
            raise
        except Exception:  # noqa: BLE001 - whatever it is, it must fail one write only
            # One write met a damaged page, or is itself at fault; the others must not suffer.
            return [self._commit_alone(write) for write in writes]

    def commit_unsynced(self, writes: Sequence[Write]) -> Sequence[Applied | Exception] | None:
        """Commit a short batch without waiting for the disk; the caller syncs the log behind it.

        Until that is done nobody may be told of the batch, nor of anything that was read since.

        Returns: the answers of the first of the writes, as many as LOOP_BATCH_MS_MAX allowed, the
            others are not done; None if the batch belongs into a thread: a page is not in memory,
            an entry is large, or there is something wrong, and `commit` finds out whose fault it
            is. Nothing was written then, and every write may be evaluated again (I3).
        Raises: Unknown: as `commit`.
        """
        residency = self._residency
        residency.required = residency.defers_sync = True
        try:
            answers = self._commit_together(writes, until_ns=self._until_ns())
        except Unknown:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, `commit` meets it again and names it
            return None
        finally:
            residency.required = residency.defers_sync = False
        self._batch.note_newest()
        return answers

    def prepare(self, writes: Sequence[Write]) -> Prepared:
        """Evaluate a batch and leave its transaction open: `commit_prepared` or `abandon` ends it.

        A write that fails is undone by itself, its error is its answer.

        Raises: Unavailable: the disk is full, or not enough of what else it takes is left; Corrupt;
            nothing of the batch was written.
        """
        with translated(self._connection.filename):
            return self._prepare(self._batch.evaluate_apart, writes)

    def prepare_at_once(self, writes: Sequence[Write]) -> Prepared | None:
        """Prepare a short batch on the event loop, its first writes as `commit_unsynced`.

        It is shipped in the same turn, so that its records are not even made if nobody wants any.

        Returns: None if it belongs into a thread.
        Raises: Unknown: what was begun can't be undone; the process is about to end.
        """
        residency = self._residency
        residency.required = True
        try:
            evaluate = partial(self._batch.evaluate, on_loop=True)
            return self._prepare(evaluate, writes, until_ns=self._until_ns(), may_leave_out=True)
        except Unknown:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, `prepare` meets it again and names it
            return None
        finally:
            residency.required = False

    def _prepare(
        self,
        evaluate: Callable[[Write], Applied | Exception],
        writes: Sequence[Write],
        *,
        until_ns: int | None = None,
        may_leave_out: bool = False,
    ) -> Prepared:
        batch, end = self._batch, self.end.copy()
        before = end.point
        records: list[LogRecord] = []
        end.records = records
        batch.begin(end, time_us=self._clock.wall_us(), may_leave_out=may_leave_out)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            answers = self._evaluated(evaluate, writes, until_ns=until_ns)
            if end.seq == before.seq:
                self._roll_back()
            else:
                batch.finish()
        except BaseException:
            self._roll_back()
            raise
        end.records = None
        return Prepared(answers=answers, records=records, before=before, end=end)

    def commit_prepared(self, prepared: Prepared, *, is_synced: bool) -> None:
        """Commit what every in-sync replica holds; without `is_synced` the caller syncs the log.

        Raises: Unavailable: the disk is full; nothing of it was written here. Unknown: it failed,
            and the process is about to end.
        """
        self._residency.defers_sync = not is_synced
        try:
            self._connection.execute("COMMIT")
        except apsw.FullError as error:
            self._roll_back()
            raise no_space() from error
        except BaseException as error:
            self._on_fatal(error)
            raise Unknown("The commit failed in a way that leaves its outcome open.") from error
        finally:
            self._residency.defers_sync = False
        self.end = prepared.end
        self._batch.committed()
        if not is_synced:
            self._batch.note_newest()

    def abandon(self) -> None:
        """Undo what is prepared; its places in the log may be used in a later epoch only."""
        self._roll_back()

    def earliest_s(self) -> int | None:
        """Tell when the first expires of what the last batch has written."""
        return self._batch.earliest_s()

    def change(
        self, work: Callable[[apsw.Connection], Changed], *, is_aside: bool = False
    ) -> Changed:
        """Do something else to the file, in one durable transaction.

        With `is_aside` it touches neither entries nor the log, nor the names of requests.

        Raises: what `work` raises, with nothing changed. Unavailable: the disk is full. Unknown:
            the commit failed, and the process is about to end.
        """
        connection, is_committing = self._connection, False
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            is_committing = True
            connection.execute("COMMIT")
        except apsw.FullError as error:
            self._roll_back()
            raise no_space() from error
        except BaseException as error:
            if is_committing and not isinstance(error, Corrupt):
                self._on_fatal(error)
                raise Unknown("The commit failed in a way that leaves its outcome open.") from error
            self._roll_back()
            raise
        self._batch.derived = derived_rows.load(connection)
        if not is_aside:
            self.end = range_log.read_end(connection)
            self._names.forget()
            self._batch.reread()
        return result

    def _commit_alone(self, write: Write) -> Applied | Exception:
        """Commit one write of a batch that failed; what fails now is this write's own answer."""
        try:
            return self._commit_together([write])[0]
        except Exception as error:  # noqa: BLE001 - the answer of this write, whatever it is
            return stored_error(error, file=self._connection.filename)

    def checkpoint(self) -> None:
        """Fold what is left of the log into the file, between two batches.

        Another connection that is folding right now does the same work; on a full disk the log
        stays as it is, and the batch finds out for itself whether it fits. The next round is ours.

        Raises: Unknown: a page may or may not be on the disk; the process is about to end.
        """
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except (apsw.BusyError, apsw.FullError):
            return
        except (apsw.IOError, OSError) as error:
            self._on_fatal(error)
            raise Unknown("Folding the log failed in a way that ends the process.") from error

    def close(self) -> None:
        """Close the connection."""
        self._names.forget()
        self._connection.close()

    def _commit_together(
        self, writes: Sequence[Write], *, until_ns: int | None = None
    ) -> Sequence[Applied | Exception]:
        """Evaluate and commit the writes, or those that were evaluated by a time of `thread_ns`."""
        batch, end, is_committing = self._batch, self.end.copy(), False
        batch.begin(end, time_us=self._clock.wall_us(), may_leave_out=True)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            evaluate = partial(batch.evaluate, on_loop=until_ns is not None)
            answers = self._evaluated(evaluate, writes, until_ns=until_ns)
            if end.seq != self.end.seq:
                batch.finish()
            is_committing = True
            self._residency.required = False  # what is begun here ends here
            self._connection.execute("COMMIT")
        except apsw.FullError as error:
            self._roll_back()
            raise no_space() from error
        except BaseException as error:
            if is_committing and not isinstance(error, Corrupt):
                self._on_fatal(error)
                raise Unknown("The commit failed in a way that leaves its outcome open.") from error
            self._roll_back()
            raise
        self.end = end
        batch.committed()
        return answers

    def _until_ns(self) -> int:
        """Until when the event loop may evaluate a batch, in time that its thread is at work.

        Not by the clock: where others have the core meanwhile, batches that are cut short for it
        take more of the core, not less.
        """
        return self._thread_ns() + LOOP_BATCH_MS_MAX * NS_PER_MS

    def _evaluated(
        self,
        evaluate: Callable[[Write], Applied | Exception],
        writes: Sequence[Write],
        *,
        until_ns: int | None,
    ) -> list[Applied | Exception]:
        """Evaluate all writes, or, until a time of `thread_ns`, the first of them."""
        answers = []
        for write in writes:
            answers.append(evaluate(write))
            if until_ns is not None and self._thread_ns() >= until_ns:
                break
        return answers

    def _roll_back(self) -> None:
        """Undo the open transaction, if SQLite has not done so itself.

        SQLite reads pages anew that the transaction has changed, page 1 above all, from the disk
        if need be. If it cannot, what it has in its cache may be what was to be undone.

        Raises: Unknown: the process is about to end.
        """
        self._residency.required = False
        if not self._connection.in_transaction:
            return
        try:
            self._connection.execute("ROLLBACK")
        except Exception as error:
            self._on_fatal(error)
            raise Unknown("A transaction could not be undone; the process ends.") from error
