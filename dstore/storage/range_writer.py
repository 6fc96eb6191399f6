"""The writing side of a range file: batches of `apply(previous) → outcome`, one transaction each.

Runs in worker threads, and short batches on the event loop, one at a time. Invariants kept here:
I1: an answer is given only after COMMIT returned and the log is synced: COMMIT does it, or, behind
    `commit_unsynced`, the caller.
I3: a write is a pure function of the item before it, so a batch may be evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import apsw
import msgspec

from dstore.base.clock import NS_PER_MS
from dstore.base.limits import LOOP_BATCH_MS_MAX
from dstore.model.errors import Corrupt, DStoreError, Unavailable, Unknown
from dstore.storage import entries, range_log, requests
from dstore.storage.entries import Entry
from dstore.storage.failures import no_space, stored_error
from dstore.storage.log_records import LogPoint, LogRecord, RecordKind, RequestMark
from dstore.storage.requests import RequestAnswer, RequestName
from dstore.storage.vault.residency import Residency

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.model.values import Item
    from dstore.storage.entry_cache import EntryCache
    from dstore.storage.newest_versions import NewestVersions

_PUT: Final = RecordKind.PUT.value  # to ask an enumeration's member costs more than its use
_DELETE: Final = RecordKind.DELETE.value
_NOTHING: Final = RecordKind.NOTHING.value
WRITE_OVERHEAD_BYTES: Final = 512  # of a queued write beyond its item


class Put(msgspec.Struct, frozen=True):
    """Store this item, replacing what is there.

    `touched` are the paths that an update wrote or removed, for its answer.
    """

    item: Item
    touched: tuple[tuple[str | int, ...], ...] = ()


class Delete(msgspec.Struct, frozen=True):
    """Remove the entry, if there is one."""


Changed = TypeVar("Changed")
Outcome = Put | Delete
Apply = Callable[[Entry | None], Outcome]
"""Decide from the entry before. Pure. Raises Refused or ConditionFailed to write nothing."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write of one entry; `rid_id` and `entry_hash` are its key, encoded and hashed."""

    rid_id: bytes
    entry_hash: int
    apply: Apply
    request: RequestName | None = None


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a write did: whether there was an entry before, and the version there is now.

    `previous` is None when nothing was there. When a repeated request is answered again, both it
    and `outcome`, what the write decided, are None: only the answer was kept.
    """

    existed: bool
    version: str | None
    previous: Entry | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A batch that is evaluated in an open transaction, and whose records others are to hold first.

    `records` follow `before`. Without records the transaction has ended: nothing is to be written.
    """

    answers: Sequence[Applied | Exception]
    records: Sequence[LogRecord]
    before: LogPoint
    end: range_log.LogEnd


class _Large(Exception):
    """An entry may take long to evaluate: the batch goes to a thread."""


class RangeWriter:
    """Owns the writer connection of a range file."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        clock: Clock,
        on_fatal: Callable[[BaseException], None],
        residency: Residency | None = None,
        cache: EntryCache | None = None,
        newest: NewestVersions | None = None,
    ) -> None:
        """Take over a connection.

        Args:
            connection: for this writer alone.
            clock: tells when a write was done.
            on_fatal: ends the process: a failed sync leaves the disk's state unknown (B16).
            residency: the connection's switch, which `commit_unsynced` needs.
            cache: where entries are looked up, and kept when they are written.
            newest: which of them are the newest, as far as `commit_unsynced` changes it.
        """
        self._connection = connection
        self._cache = cache
        self._newest = newest
        # What the batch under way has written by now, which `newest` learns when it is committed.
        self._written: dict[bytes, Entry | None] = {}
        self._residency = residency or Residency()
        self._clock = clock
        self._on_fatal = on_fatal
        self.end = range_log.read_end(connection)
        self.wanted_after_seq: int | None = None  # what is behind it in the log is not trimmed

    @property
    def written(self) -> frozenset[bytes]:
        """The RID_IDs that the last batch has changed."""
        return frozenset(self._written)

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
            until_ns = self._clock.monotonic_ns() + LOOP_BATCH_MS_MAX * NS_PER_MS
            answers = self._commit_together(writes, until_ns=until_ns)
        except Unknown:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, `commit` meets it again and names it
            return None
        finally:
            residency.required = residency.defers_sync = False
        self._note_newest()
        return answers

    def prepare(self, writes: Sequence[Write]) -> Prepared:
        """Evaluate a batch and leave its transaction open: `commit_prepared` or `abandon` ends it.

        A write that fails is undone by itself, its error is its answer.

        Raises: Unavailable: the disk is full; nothing of the batch was written.
        """
        try:
            return self._prepare(self._evaluate_apart, writes)
        except apsw.FullError as error:
            raise no_space() from error

    def prepare_at_once(self, writes: Sequence[Write]) -> Prepared | None:
        """Prepare a short batch on the event loop; None if it belongs into a thread."""
        residency = self._residency
        residency.required = True
        try:
            return self._prepare(
                lambda write, end, now: self._evaluate(write, end, now, on_loop=True), writes
            )
        except Exception:  # noqa: BLE001 - whatever it is, `prepare` meets it again and names it
            return None
        finally:
            residency.required = False

    def _prepare(
        self,
        evaluate: Callable[[Write, range_log.LogEnd, int], Applied | Exception],
        writes: Sequence[Write],
    ) -> Prepared:
        connection, end, time_us = self._connection, self.end.copy(), self._clock.wall_us()
        before = LogPoint(seq=end.seq, digest=end.digest)
        self._written.clear()
        try:
            connection.execute("BEGIN IMMEDIATE")
            answers = [evaluate(write, end, time_us) for write in writes]
            if end.seq == before.seq:
                self._roll_back()
                return Prepared(answers=answers, records=(), before=before, end=end)
            range_log.write_end(connection, end)
            records = range_log.read(connection, after_seq=before.seq, last_seq=end.seq)
        except BaseException:
            self._roll_back()
            raise
        return Prepared(answers=answers, records=records, before=before, end=end)

    def commit_prepared(self, prepared: Prepared, *, is_synced: bool) -> None:
        """Commit what every in-sync replica holds; without `is_synced` the caller syncs the log.

        Raises: Unknown: it failed, and the process is about to end.
        """
        self._residency.defers_sync = not is_synced
        try:
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._on_fatal(error)
            raise Unknown("The commit failed in a way that leaves its outcome open.") from error
        finally:
            self._residency.defers_sync = False
        self.end = prepared.end
        if not is_synced:
            self._note_newest()

    def abandon(self) -> None:
        """Undo what is prepared; its places in the log may be used in a later epoch only."""
        self._roll_back()

    def change(self, work: Callable[[apsw.Connection], Changed]) -> Changed:
        """Do something else to the file, in one durable transaction.

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
        self.end = range_log.read_end(connection)
        return result

    def _evaluate_apart(
        self, write: Write, end: range_log.LogEnd, time_us: int
    ) -> Applied | Exception:
        """Evaluate one write so that its failure leaves no trace in the batch."""
        before, written = end.copy(), dict(self._written)
        self._connection.execute("SAVEPOINT write")
        try:
            answer = self._evaluate(write, end, time_us, on_loop=False)
        except apsw.FullError:
            raise
        except Exception as error:  # noqa: BLE001 - the answer of this write, whatever it is
            self._connection.execute("ROLLBACK TO write")
            end.seq, end.digest, end.quantity = before.seq, before.digest, before.quantity
            self._written = written
            answer = stored_error(error, file=self._connection.filename)
        self._connection.execute("RELEASE write")
        return answer

    def _note_newest(self) -> None:
        """Tell of the batch that is committed now, in the turn of the event loop that did it."""
        if self._newest is None:
            return
        for rid_id, entry in self._written.items():
            if entry is None:
                self._newest.forget(rid_id)
            else:
                self._newest.note(rid_id, entry.version)

    def _previous(self, rid_id: bytes, *, on_loop: bool) -> Entry | None:
        """Read an entry as it is inside the open transaction; `newest` is the event loop's."""
        if rid_id in self._written:
            return self._written[rid_id]
        if on_loop and self._newest is not None and self._cache is not None:
            version = self._newest.get(rid_id)
            entry = None if version is None else self._cache.get(version)
            if entry is not None:
                return entry
        return entries.read_entry(self._connection, rid_id, self._cache)

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
        self._connection.close()

    def _commit_together(
        self, writes: Sequence[Write], *, until_ns: int | None = None
    ) -> Sequence[Applied | Exception]:
        """Evaluate and commit the writes, or those that were evaluated by a monotonic time."""
        connection, end, time_us = self._connection, self.end.copy(), self._clock.wall_us()
        is_committing = False
        self._written.clear()
        try:
            connection.execute("BEGIN IMMEDIATE")
            answers = []
            for write in writes:
                answers.append(self._evaluate(write, end, time_us, on_loop=until_ns is not None))
                if until_ns is not None and self._clock.monotonic_ns() >= until_ns:
                    break
            if end.seq != self.end.seq:
                range_log.write_end(connection, end)
            is_committing = True
            self._residency.required = False  # what is begun here ends here
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
        self.end = end
        return answers

    def _evaluate(
        self, write: Write, end: range_log.LogEnd, time_us: int, *, on_loop: bool
    ) -> Applied | Exception:
        """Apply one write inside the open transaction. Raises: _Large: only if on the loop."""
        connection = self._connection
        if write.request is not None:
            done = requests.find(connection, write.request, time_us=time_us)
            if done is not None:
                return Applied(existed=done.existed, version=done.version)
        previous = self._previous(write.rid_id, on_loop=on_loop)
        if on_loop and previous is not None and previous.is_large:
            raise _Large
        try:
            outcome = write.apply(previous)
        except Corrupt:
            raise
        except DStoreError as refusal:
            return refusal
        applied = self._write(write, outcome, previous=previous, end=end, time_us=time_us)
        if write.request is not None:
            answer = RequestAnswer(applied.existed, applied.version)
            requests.remember(
                connection, write.request, answer=answer, seq=end.seq, time_us=time_us
            )
        return applied

    def _write(
        self,
        write: Write,
        outcome: Outcome,
        *,
        previous: Entry | None,
        end: range_log.LogEnd,
        time_us: int,
    ) -> Applied:
        connection, rid_id = self._connection, write.rid_id
        item = outcome.item if isinstance(outcome, Put) else None
        is_nothing = item is None and previous is None
        if is_nothing and write.request is None:
            return Applied(existed=False, version=None, outcome=outcome)
        version = range_log.append(
            connection,
            end,
            kind=_kind_of(item, is_nothing=is_nothing),
            rid_id=rid_id,
            item=item,
            request=None if write.request is None else _mark_of(write.request),
            time_us=time_us,
        )
        range_log.trim(connection, end, wanted_after_seq=self.wanted_after_seq)
        if is_nothing:
            return Applied(existed=False, version=None, outcome=outcome)
        if item is None:
            entries.delete_cells(connection, rid_id)
            self._written[rid_id] = None
            end.quantity -= 1
            return Applied(existed=True, version=None, previous=previous, outcome=outcome)
        cells = entries.cells_of(item)
        entries.write_cells(
            connection,
            rid_id,
            entry_hash=write.entry_hash,
            before=None if previous is None else previous.cells,
            after=cells,
            version=version,
        )
        entry = self._written[rid_id] = Entry(cells, version)
        if self._cache is not None:  # nobody asks for the version if this rolls back
            self._cache.put(entry, instead_of=previous)
        end.quantity += previous is None
        return Applied(
            existed=previous is not None, version=version, previous=previous, outcome=outcome
        )

    def _roll_back(self) -> None:
        """Undo the open transaction, if SQLite has not done so itself."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _kind_of(item: Item | None, *, is_nothing: bool) -> str:
    if is_nothing:
        return _NOTHING
    return _DELETE if item is None else _PUT


def _mark_of(name: RequestName) -> RequestMark:
    return RequestMark(
        principal=name.principal,
        request_id=name.request_id,
        ordinal=name.ordinal,
        digest=name.digest,
    )
