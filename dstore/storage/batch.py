"""A batch of writes while it is evaluated, inside the open transaction of a range's writer.

It knows what the batch has written by now, and what is to be told of it once it is committed. The
transaction itself, and what becomes of it, is the writer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import apsw

from dstore.base.limits import NAME_ANSWER_BYTES_MAX
from dstore.model.errors import Corrupt, DStoreError, Refused
from dstore.model.keys import HASH_BYTES
from dstore.model.values import from_cell
from dstore.storage import brief_names, entries, feeding, memos, range_log, requests
from dstore.storage.brief_names import NamedAnswer
from dstore.storage.entries import Entry
from dstore.storage.failures import stored_error
from dstore.storage.feeding import MemoChange
from dstore.storage.log_records import NameMark, RecordKind, RequestMark
from dstore.storage.requests import RequestAnswer
from dstore.storage.writes import Applied, Expire, Put

if TYPE_CHECKING:
    from dstore.base.entropy import Entropy
    from dstore.model.values import Item
    from dstore.storage.derived_rows import DerivedRows
    from dstore.storage.entries import Cells
    from dstore.storage.entry_cache import EntryCache
    from dstore.storage.feeding import Feeding
    from dstore.storage.name_book import NameBook
    from dstore.storage.newest_versions import NewestVersions
    from dstore.storage.requests import RequestName
    from dstore.storage.writes import Outcome, Write

_PUT: Final = RecordKind.PUT.value  # to ask an enumeration's member costs more than its use
_DELETE: Final = RecordKind.DELETE.value
_EXPIRE: Final = RecordKind.EXPIRE.value
_NOTHING: Final = RecordKind.NOTHING.value
_MEMO: Final = RecordKind.MEMO.value
_NONCE_BYTES: Final = 32  # as many as a digest has


class Large(Exception):
    """An entry, or the names to be read, may take long: the batch goes to a thread."""


class Batch:
    """Evaluates writes one after another; used again for the next batch."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        cache: EntryCache | None,
        newest: NewestVersions | None,
        names: NameBook,
        entropy: Entropy,
    ) -> None:
        """Prepare; `begin` comes first.

        Args:
            connection: the writer's.
            cache: where entries are looked up, and kept when they are written.
            newest: which of them are the newest, as far as the event loop changes it.
            names: of requests that were done.
            entropy: makes digests of what is left out of the log.
        """
        self._connection = connection
        self._cache = cache
        self._newest = newest
        self._names = names
        self._entropy = entropy
        self._nonce: bytes | None = None  # of a batch that may leave its records out of the log
        self._time_us = self._begun_seq = 0
        self.end = range_log.LogEnd(0, 0, b"", 0)
        self.written: dict[bytes, Entry | None] = {}
        # What is behind it in the log is not trimmed; None: nobody wants to read any of it.
        self.wanted_after_seq: int | None = None
        self.derived: DerivedRows | None = None  # rows that the file keeps beside entries' own
        self._others_want: int | None = None
        self._readers_want: int | None = None
        self._old_names: tuple[str, ...] | None = None  # what readers want of items before
        self._reads_readers = True  # before the next batch: who reads the log may have changed
        self._feeds_on_loop = False  # what is taken from another range's log right now

    def begin(self, end: range_log.LogEnd, *, time_us: int, may_leave_out: bool = False) -> None:
        """Begin behind the log's end, which is advanced; wall time now.

        With `may_leave_out` the log is given no records as long as nobody wants to read it: surely
        nobody will before the batch is committed.

        Raises: Corrupt: who reads the log is not to be read.
        """
        if self._reads_readers:
            self._read_readers()
        is_left_out = may_leave_out and self.wanted_after_seq is None
        self._nonce = self._entropy.token(_NONCE_BYTES) if is_left_out else None
        self.end, self._time_us, self._begun_seq = end, time_us, end.seq
        self.written.clear()
        self._names.begin()

    def keep_log(self, wanted_after_seq: int | None) -> None:
        """Trim nothing behind a record, for others than the file's own readers; None: nobody."""
        if wanted_after_seq != self._others_want:
            self._others_want = wanted_after_seq
            self._note_wanted()

    def reread(self) -> None:
        """Ask the file again who reads its log: it was changed otherwise."""
        self._reads_readers = True

    def _read_readers(self) -> None:
        wanted = memos.wanted(self._connection)
        self._old_names, self._readers_want = wanted.names, wanted.after_seq
        self._note_wanted()
        self._reads_readers = False

    def _note_wanted(self) -> None:
        wanted = [seq for seq in (self._others_want, self._readers_want) if seq is not None]
        self.wanted_after_seq = min(wanted, default=None)

    def finish(self) -> None:
        """Write what the batch as a whole leaves in the file beside its writes."""
        self._names.write(self._connection, time_us=self._time_us)
        range_log.write_end(self._connection, self.end)

    def committed(self) -> None:
        """Hear that the batch is committed."""
        self._names.committed()

    def note_newest(self) -> None:
        """Tell of the batch that is committed now, in the turn of the event loop that did it."""
        if self._newest is None:
            return
        for rid_id, entry in self.written.items():
            if entry is None:
                self._newest.forget(rid_id)
            else:
                self._newest.note(rid_id, entry.version)

    def earliest_s(self) -> int | None:
        """Tell when the first expires of what the batch has written, in seconds since 1970."""
        expiry = None if self.derived is None else self.derived.expiry
        if expiry is None:
            return None
        written = [
            expiry.at_s(rid_id, entry)
            for rid_id, entry in self.written.items()
            if entry is not None
        ]
        return min((at_s for at_s in written if at_s is not None), default=None)

    def evaluate_apart(self, write: Write) -> Applied | Exception:
        """Evaluate one write so that its failure leaves no trace in the batch."""
        end, rid_id = self.end, write.rid_id
        all_written = None if write.feeding is None else dict(self.written)
        before, was_written, former = end.copy(), rid_id in self.written, self.written.get(rid_id)
        self._connection.execute("SAVEPOINT write")
        try:
            answer = self.evaluate(write, on_loop=False)
        except apsw.FullError:
            raise
        except Exception as error:  # noqa: BLE001 - the answer of this write, whatever it is
            self._connection.execute("ROLLBACK TO write")
            if end.records is not None:
                del end.records[before.seq - end.seq + len(end.records) :]
            end.seq, end.digest, end.quantity = before.seq, before.digest, before.quantity
            end.thin_seq, end.left_out_us = before.thin_seq, before.left_out_us
            self.written.pop(rid_id, None)
            if was_written:
                self.written[rid_id] = former
            if all_written is not None:
                self.written, self._reads_readers = all_written, True
            if write.request is not None and write.request.is_brief:
                self._names.take_back(brief_names.name_of(write.request))
            answer = stored_error(error, file=self._connection.filename)
        self._connection.execute("RELEASE write")
        return answer

    def evaluate(self, write: Write, *, on_loop: bool) -> Applied | Exception:
        """Apply one write. Raises: Large: only if on the loop."""
        request, name = write.request, None
        if write.feeding is not None:
            return self._feed(write.feeding, on_loop=on_loop)
        if request is not None:
            name = brief_names.name_of(request) if request.is_brief else None
            done = self._find(request) if name is None else self._find_name(name, on_loop=on_loop)
            if done is not None:
                return done
        previous = self._previous(write.rid_id, on_loop=on_loop)
        if on_loop and previous is not None and previous.is_large:
            raise Large
        try:
            outcome = write.apply(previous)
        except Corrupt:
            raise
        except DStoreError as refusal:
            return refusal
        existed, answer, collection_bytes = previous is not None, None, 0
        if self.derived is not None:
            try:
                collection_bytes = self.derived.change(
                    self._connection,
                    write.rid_id,
                    before=previous,
                    after=outcome.item if isinstance(outcome, Put) else None,
                    is_bounded=True,
                )
            except Refused as refusal:
                return refusal
        if write.answer is not None:
            told = Applied(
                existed=existed,
                version=None,
                previous=previous,
                outcome=outcome,
                collection_bytes=collection_bytes,
            )
            answer = write.answer(told)
        if name is None:
            version = self._write(write, outcome, previous=previous)
        else:
            is_kept = answer is None or len(answer) <= NAME_ANSWER_BYTES_MAX
            mark = NameMark(name, existed, answer if is_kept else None)
            version = self._write(write, outcome, previous=previous, mark=mark)
        return Applied(
            existed=existed,
            version=version,
            previous=previous,
            outcome=outcome,
            answer=answer,
            collection_bytes=collection_bytes,
        )

    def _feed(self, what: Feeding, *, on_loop: bool) -> Applied:
        """Take what another range's log makes. Raises: Large: only if on the loop."""
        if on_loop and not feeding.is_short(what):
            raise Large
        if self._nonce is not None and on_loop and isinstance(what, MemoChange):
            # Its record begins what is not left out any more, and records have no gap.
            if self.end.seq != self._begun_seq:
                raise Large
            self._nonce = None
        self._feeds_on_loop = on_loop
        feeding.take(self._connection, what, self)
        return Applied(existed=True, version=None)

    def _find(self, request: RequestName) -> Applied | None:
        """Find what a request with a row of its own was answered before."""
        done = requests.find(self._connection, request, time_us=self._time_us)
        return None if done is None else Applied(existed=done.existed, version=done.version)

    def _find_name(self, name: bytes, *, on_loop: bool) -> Applied | None:
        """Find what a brief name was answered before. Raises: Large: only if on the loop."""
        names = self._names
        if not names.is_read:
            if on_loop:
                raise Large
            names.read(self._connection, time_us=self._time_us)
        done = names.find(self._connection, name, time_us=self._time_us)
        if done is None:
            return None
        return Applied(existed=done.existed, version=done.version, answer=done.answer)

    def _previous(self, rid_id: bytes, *, on_loop: bool) -> Entry | None:
        """Read an entry as it is inside the open transaction; `newest` is the event loop's."""
        if rid_id in self.written:
            return self.written[rid_id]
        if on_loop and self._newest is not None and self._cache is not None:
            version = self._newest.get(rid_id)
            entry = None if version is None else self._cache.get(version)
            if entry is not None:
                return entry
        return entries.read_entry(self._connection, rid_id, self._cache)

    def _write(
        self,
        write: Write,
        outcome: Outcome,
        *,
        previous: Entry | None,
        mark: NameMark | None = None,
    ) -> str | None:
        """Write what was decided, with its record and its name.

        Returns: the entry's version, None if there is no entry now.
        """
        connection, end, rid_id = self._connection, self.end, write.rid_id
        item = outcome.item if isinstance(outcome, Put) else None
        if item is None and previous is None and write.request is None:
            return None
        request = write.request if mark is None else None
        version = self._record(
            _kind_of(outcome, is_there=previous is not None),
            rid_id,
            item=item,
            previous=previous,
            request=None if request is None else _mark_of(request),
            mark=mark,
        )
        now = None if item is None else version
        if item is not None:
            cells = entries.cells_of(item)
            self._put(rid_id, write.entry_hash, cells, previous=previous, version=version)
        elif previous is not None:
            self._remove(rid_id)
        if mark is not None:
            named = NamedAnswer(mark.name, mark.existed, now, mark.answer)
            self._names.note(named, seq=end.seq)
        if request is not None:
            answer = RequestAnswer(previous is not None, now)
            requests.remember(
                connection, request, answer=answer, seq=end.seq, time_us=self._time_us
            )
        return now

    def _record(
        self,
        kind: str,
        rid_id: bytes,
        *,
        item: Item | None,
        previous: Entry | None,
        image: bytes | None = None,
        request: RequestMark | None = None,
        mark: NameMark | None = None,
    ) -> str:
        """Make a change's record, or leave it out; a put has `item`, or `image`, that encoded.

        Returns: the version that it gives its entry.
        """
        end, is_thin = self.end, self.wanted_after_seq is None
        if is_thin and self._nonce is not None:
            version = range_log.leave_out(end, nonce=self._nonce, time_us=self._time_us)
        else:
            version = range_log.append(
                self._connection,
                end,
                kind=kind,
                rid_id=rid_id,
                item=item,
                request=request,
                time_us=self._time_us,
                name=mark,
                is_thin=is_thin,
                old=None if self._old_names is None else self._old_image(previous),
                encoded=image,
            )
        range_log.trim(self._connection, end, wanted_after_seq=self.wanted_after_seq)
        return version

    def _old_image(self, previous: Entry | None) -> bytes:
        assert self._old_names is not None
        cells = {} if previous is None else previous.cells
        return range_log.image_of(
            {name: from_cell(cells[name]) for name in self._old_names if name in cells}
        )

    @property
    def next_seq(self) -> int:
        """Of the next record."""
        return self.end.seq + 1

    def change(self, rid_id: bytes, image: bytes | None) -> None:
        """Store an entry as it is, or remove it; see `feeding.Taking`.

        Raises: Large: only if on the loop. Corrupt: the image is no item's.
        """
        previous = self._previous(rid_id, on_loop=self._feeds_on_loop)
        if self._feeds_on_loop and previous is not None and previous.is_large:
            raise Large
        if image is None:
            if previous is not None:
                self._record(_DELETE, rid_id, item=None, previous=previous)
                self._remove(rid_id)
            return
        cells = entries.cells_of(range_log.item_of(image, file=self._connection.filename))
        if previous is not None and previous.cells == cells:
            return
        version = self._record(_PUT, rid_id, item=None, image=image, previous=previous)
        entry_hash = int.from_bytes(rid_id[:HASH_BYTES], "big")
        self._put(rid_id, entry_hash, cells, previous=previous, version=version)

    def note(self, name: str, value: bytes | None) -> None:
        """Store a memo, or forget it; see `feeding.Taking`."""
        is_of_reader = memos.is_reader(name)
        if self._nonce is not None and self.wanted_after_seq is None and not is_of_reader:
            range_log.leave_out(self.end, nonce=self._nonce, time_us=self._time_us)
            memos.put(self._connection, name, value)
            return
        range_log.append(
            self._connection,
            self.end,
            kind=_MEMO,
            rid_id=name.encode(),
            item=None,
            request=None,
            time_us=self._time_us,
            encoded=value,
        )
        memos.put(self._connection, name, value)
        if is_of_reader:
            self._read_readers()  # from this record on
            self._reads_readers = True  # it may yet be rolled back

    def _put(
        self, rid_id: bytes, entry_hash: int, cells: Cells, *, previous: Entry | None, version: str
    ) -> None:
        entries.write_cells(
            self._connection,
            rid_id,
            entry_hash=entry_hash,
            before=None if previous is None else previous.cells,
            after=cells,
            version=version,
        )
        entry = self.written[rid_id] = Entry(cells, version)
        if self._cache is not None:  # nobody asks for the version if this rolls back
            self._cache.put(entry, instead_of=previous)
        self.end.quantity += previous is None

    def _remove(self, rid_id: bytes) -> None:
        entries.delete_cells(self._connection, rid_id)
        self.written[rid_id] = None
        self.end.quantity -= 1


def _kind_of(outcome: Outcome, *, is_there: bool) -> str:
    if isinstance(outcome, Put):
        return _PUT
    if not is_there:
        return _NOTHING
    return _EXPIRE if isinstance(outcome, Expire) else _DELETE


def _mark_of(name: RequestName) -> RequestMark:
    return RequestMark(
        principal=name.principal,
        request_id=name.request_id,
        ordinal=name.ordinal,
        digest=name.digest,
    )
