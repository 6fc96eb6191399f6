"""What a reader of a range's log is given: records that are committed, and pages of entries.

Each is read as of one commit. Records are those up to which the rows are applied: at a primary that
is all that every in-sync replica has acknowledged, at any other replica what it knows to be so.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.storage import memos, range_log, replica_log
from dstore.storage.entries import Entry, scan_entries
from dstore.storage.log_records import REMOVALS, LogRecord, RecordKind
from dstore.storage.range_scan import Span
from dstore.storage.readers import one_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from dstore.storage.memos import Reader

_CHANGES: Final = REMOVALS | {RecordKind.PUT}


class Window(msgspec.Struct, frozen=True):
    """Records behind a place in the log.

    Attributes:
        records: those that change entries.
        epoch, reached_seq: up to which record it was read.
        applied_seq: up to where it could be.
        is_whole: nothing that the reader wants is missing.
    """

    records: tuple[LogRecord, ...]
    epoch: int
    reached_seq: int
    applied_seq: int
    is_whole: bool


class EntryPage(msgspec.Struct, frozen=True):
    """Entries behind a key, as of the record of `epoch` and `applied_seq`.

    `last` is the last key, None if there are no more.
    """

    entries: tuple[tuple[bytes, Entry], ...]
    epoch: int
    applied_seq: int
    last: bytes | None
    size_bytes: int

    @property
    def position(self) -> tuple[int, int]:
        """As of which record, by epoch and sequence."""
        return self.epoch, self.applied_seq


def find_reader(connection: apsw.Connection, *, reader_id: str) -> Reader | None:
    """Read how far a reader is, None if it is not known here. Raises: Corrupt."""
    with one_moment(connection):
        return memos.readers(connection, reader_id).get(reader_id)


def read_window(
    connection: apsw.Connection,
    *,
    after_seq: int,
    last_seq: int | None,
    records_max: int,
    bytes_max: int,
) -> Window:
    """Read on behind a record, not beyond `last_seq` if that is given. Raises: Corrupt."""
    with one_moment(connection):
        state = replica_log.read_state(connection)
        end_seq = state.applied_seq if last_seq is None else min(last_seq, state.applied_seq)
        found = range_log.read(
            connection,
            after_seq=after_seq,
            last_seq=min(end_seq, after_seq + records_max),
            bytes_max=bytes_max,
        )
    # Before `thin_seq` stands what was carried here from another file: of this range's keys alone.
    # Once a record was left out nobody was reading who has still to read what is before it.
    is_carried = after_seq < state.thin_seq and not state.left_out_us
    is_whole = is_carried or after_seq >= end_seq or bool(found and found[0].seq == after_seq + 1)
    reached_seq = found[-1].seq if found else min(end_seq, after_seq + records_max)
    changes = _changes(found)
    return Window(
        records=changes,
        epoch=found[-1].epoch if found else max(state.epoch, 1),
        reached_seq=max(reached_seq, after_seq),
        applied_seq=state.applied_seq,
        is_whole=is_whole and _have_images(changes),
    )


def window_of(found: Sequence[LogRecord]) -> Window:
    """Give the window that one record and those behind it make, at least one, without a gap."""
    changes, last = _changes(found), found[-1]
    return Window(
        records=changes,
        epoch=last.epoch,
        reached_seq=last.seq,
        applied_seq=last.seq,
        is_whole=_have_images(changes),
    )


def read_entries(
    connection: apsw.Connection,
    *,
    after: bytes,
    before: bytes | None = None,
    entries_max: int,
    bytes_max: int,
) -> EntryPage:
    """Read entries behind a key, b"" for the beginning, and before another. Raises: Corrupt."""
    found: list[tuple[bytes, Entry]] = []
    size_bytes, last = 0, None
    with one_moment(connection):
        state = replica_log.read_state(connection)
        with closing(scan_entries(connection, Span(high=before).behind(after))) as entries:
            for rid_id, entry in entries:
                found.append((rid_id, entry))
                size_bytes += entry.data_bytes + len(rid_id)
                if len(found) >= entries_max or size_bytes >= bytes_max:
                    last = rid_id
                    break
    return EntryPage(
        entries=tuple(found),
        epoch=max(state.epoch, 1),
        applied_seq=state.applied_seq,
        last=last,
        size_bytes=size_bytes,
    )


def _changes(found: Sequence[LogRecord]) -> tuple[LogRecord, ...]:
    return tuple([each for each in found if each.kind in _CHANGES])


def _have_images(changes: Sequence[LogRecord]) -> bool:
    return all(
        each.old is not None and (each.image is None) is (each.kind in REMOVALS) for each in changes
    )
