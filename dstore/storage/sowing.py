"""Filling the files of a range's children from its own, on one node, while it is written to.

Invariant: what a seed holds is exactly what the parent's file was at one position of its log, as
far as it is copied. Each turn reads, as of one commit of the parent's file, the records that were
applied since the turn before and, once there are no more of them, a page of rows behind the last
one. Records of keys that are not copied yet are left out: the page that brings them is of a later
moment.

A seed says of itself that it is no replica, as a copy in the making does, until it is `ripen`ed:
then its log begins where the parent's ended.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dstore.model.errors import Corrupt
from dstore.model.keys import hash_bounds
from dstore.storage import memos, replica_copy, replica_log
from dstore.storage.log_records import LogPoint, LogRecord, RecordKind
from dstore.storage.range_scan import Span
from dstore.storage.replica_copy import CopyPage, CopyPlace

if TYPE_CHECKING:
    import apsw

_CHILD: Final = b"split"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPlace:
    """How far a seed is filled: the parent as of `point`, and of that what is before `copied`.

    `point` is None before the first turn.
    """

    point: LogPoint | None = None
    copied: CopyPlace = field(default_factory=CopyPlace)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedTurn:
    """What one turn brings: records to be replayed, then maybe a page; and where that leads.

    `is_level`: the seed is then all of the parent, as that was when it was read; `end` is where the
    parent's log ended, which may be behind what was applied. `is_read`: somebody reads the log, who
    will read on in the children's.
    """

    records: tuple[LogRecord, ...]
    page: CopyPage | None
    place: SeedPlace
    end: LogPoint
    is_level: bool
    is_read: bool = False


def span_of(low_hash: int, high_hash: int) -> Span:
    """Give the keys of a child; both hashes are inclusive."""
    low, high = hash_bounds(low_hash, high_hash)
    return Span(low=low, high=high)


def read_turn(connection: apsw.Connection, place: SeedPlace, *, span: Span) -> SeedTurn | None:
    """Read what comes next for a seed from the parent's file, about REPLICA_BATCH_BYTES.

    Args:
        connection: to the parent's file; all of it is read as of one commit.
        place: how far the seed is filled.
        span: of the child.

    Returns: None: the parent's log does not reach back so far any more, or lacks images; the seed
        is to be filled anew.
    """
    connection.execute("BEGIN")  # one moment for all that is read
    try:
        return _read_turn(connection, place, span)
    finally:
        connection.execute("ROLLBACK")


def _read_turn(connection: apsw.Connection, place: SeedPlace, span: Span) -> SeedTurn | None:
    state = replica_log.read_state(connection)
    point = place.point
    if point is None:
        point = replica_log.point_at(connection, state.applied_seq)
    is_whole = state.whole_seq is None or state.applied_seq >= state.whole_seq
    if point is None or not is_whole:
        return None
    records = replica_log.records_behind(connection, point, last_seq=state.applied_seq)
    if records is None:
        return None
    reached = records[-1].point if records else point
    page, copied = None, place.copied
    is_caught_up = reached.seq == state.applied_seq
    if is_caught_up and not copied.is_over:
        page, copied = replica_copy.read_page(connection, copied, span=span)
    return SeedTurn(
        records=tuple(each for each in records if _is_copied(each, place.copied, span)),
        is_read=memos.wanted(connection).after_seq is not None,
        page=page,
        place=SeedPlace(point=reached, copied=copied),
        end=state.end,
        is_level=is_caught_up and copied.is_over,
    )


def take_turn(connection: apsw.Connection, turn: SeedTurn) -> None:
    """Write what a turn brings to the seed's file; each once, one after another.

    Raises: Corrupt: the file is no seed any more, or the page was harmed.
    """
    if replica_log.read_state(connection).whole_seq != replica_log.NEVER_WHOLE:
        raise _no_seed(connection)
    change, _ = replica_log.replay(connection, turn.records)
    if turn.is_read:
        replica_copy.take_records(connection, turn.records)
    connection.execute("UPDATE meta SET QUANTITY = QUANTITY + ?", (change,))
    if turn.page is not None:
        replica_copy.take_page(connection, turn.page)


def ripen(connection: apsw.Connection, *, range_id: str, epoch: int, point: LogPoint) -> None:
    """Make a replica of a seed that is all of the parent as of `point`, where that ended.

    Its log begins behind that point, so that who has less than a ripe seed gets a copy: what stands
    before it is what readers want of the parent's. Its digests are its own from there on.

    Args:
        connection: to the seed's file.
        range_id: the child's.
        epoch: the parent's; the child's first one is higher.
        point: of the parent's log.
    """
    digest = base_digest(range_id, point)
    connection.execute("DELETE FROM epoch")
    connection.execute("INSERT INTO epoch (EPOCH, FIRST_SEQ) VALUES (?, ?)", (epoch, point.seq))
    connection.execute(
        "UPDATE meta SET EPOCH = ?1, SEQ = ?2, DIGEST = ?3, APPLIED_SEQ = ?2, WHOLE_SEQ = NULL, "
        "THIN_SEQ = ?2, LEFT_OUT_US = 0",
        (epoch, point.seq, digest),
    )
    begins = LogPoint(seq=point.seq, digest=digest)
    replica_copy.begin_log(connection, epoch=epoch, point=begins)


def prepare(connection: apsw.Connection) -> LogPoint | None:
    """Find out what a seed's file is; what is not ripe is to be filled from nothing.

    Returns: with which digest a ripe seed's log begins; None: it is none, and says so by now.
    """
    if is_ripe(connection):
        return replica_log.read_state(connection).end
    replica_copy.begin(connection)
    return None


def clear_some(connection: apsw.Connection) -> bool:
    """Delete a part of what is in a seed that is not ripe. Returns: whether there is more."""
    replica_copy.begin(connection)
    return replica_copy.wipe_some(connection)


def place_of_ripe(
    connection: apsw.Connection, base: LogPoint, *, range_id: str
) -> SeedPlace | None:
    """Find where in the parent's log a ripe seed stands.

    Args:
        connection: to the parent's file.
        base: where the seed's log begins.
        range_id: the child's.
    Returns: None: the parent's log has gone on so far that it is not known there any more.
    """
    point = replica_log.point_at(connection, base.seq)
    if point is None or base_digest(range_id, point) != base.digest:
        return None
    return SeedPlace(point=point, copied=CopyPlace(is_over=True))


def is_ripe(connection: apsw.Connection) -> bool:
    """Tell whether a seed's file is a replica of the child."""
    state = replica_log.read_state(connection)
    return state.whole_seq is None and state.end.seq > 0


def unripen(connection: apsw.Connection) -> None:
    """Make a seed of a ripe one again: its parent goes on."""
    replica_copy.begin(connection)


def base_digest(range_id: str, point: LogPoint) -> bytes:
    """Give the digest with which a child's log begins: no two ranges' are ever the same."""
    return hashlib.sha256(_CHILD + range_id.encode() + point.digest).digest()


def _no_seed(connection: apsw.Connection) -> Corrupt:
    name = connection.filename.rpartition("/")[2]
    return Corrupt("A seed is a range by now.", file=name, where="meta")


def _is_copied(record: LogRecord, copied: CopyPlace, span: Span) -> bool:
    """Tell whether a record changes what a seed has already."""
    rid_id = record.rid_id
    if record.kind is RecordKind.MEMO:
        return True
    if record.kind is RecordKind.OPENING or not replica_copy.in_span(rid_id, span):
        return False
    return copied.has_entries or rid_id <= copied.rid_id
