"""A replica's log and rows, as another replica's records change them: append, apply, promise.

All functions work inside a transaction of the caller's, on the range's writer connection.
Invariants kept here (REPLICATION.md):
- A record is never replaced within its epoch (B7), nor once it is applied: else Diverged.
- Rows, requests, names and the count are what the records up to `applied_seq` make of nothing.
- What is appended follows what is there: the digests chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dstore.base.limits import (
    LOG_RECORDS_KEPT,
    LOG_RECORDS_TRIMMED,
    LOG_RECORDS_TRIMMED_MAX,
    REPLICA_BATCH_BYTES,
    REPLICA_BATCH_RECORDS_MAX,
    REPLICA_EPOCHS_KEPT,
    REPLICA_EPOCHS_TOLD,
)
from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt
from dstore.model.keys import HASH_BYTES
from dstore.storage import brief_names, derived_rows, entries, memos, range_log, requests
from dstore.storage.log_records import (
    REMOVALS,
    EpochStart,
    History,
    LogPoint,
    LogRecord,
    RecordKind,
    Standing,
)
from dstore.storage.requests import RequestAnswer, RequestName

if TYPE_CHECKING:
    import apsw

    from dstore.storage.brief_names import NamedAnswer
    from dstore.storage.derived_rows import DerivedRows

_log: Final = get_logger(__name__)

NEVER_WHOLE: Final = (1 << 63) - 1  # WHOLE_SEQ of a copy whose end is not known
_STATE = (
    "SELECT EPOCH, SEQ, DIGEST, QUANTITY, APPLIED_SEQ, PROMISED_EPOCH, WHOLE_SEQ, RANGE_ID, "
    "THIN_SEQ, LEFT_OUT_US "
    "FROM meta"
)


class Diverged(Corrupt):
    """The replica holds other content than it should, where content is never taken back.

    It must be learned again; what has led to it is a fault of a disk or of dStore.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """Where a replica stands.

    `epoch` is that of the last record, 0 if there is none, `promised_epoch` the highest that a
    primary was promised. `quantity` counts the entries of what is applied. `whole_seq` is None but
    for a copy that is being made: it is of no use before that much is applied. Up to `thin_seq` the
    log lacks images, or records, that were applied when they were made, by the only replica;
    `left_out_us` is when the last of those records was made, and 0 if none is missing.
    """

    range_id: str
    epoch: int
    end: LogPoint
    quantity: int
    applied_seq: int
    promised_epoch: int
    whole_seq: int | None
    thin_seq: int = 0
    left_out_us: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it holds all it should: its rows, with the log that is still to be applied."""
        return self.whole_seq is None or self.end.seq >= self.whole_seq


def read_state(connection: apsw.Connection) -> ReplicaState:
    """Read where the replica stands. Raises: Corrupt: it does not say."""
    rows: list[tuple[Any, ...]] = connection.execute(_STATE).fetchall()
    if len(rows) != 1:
        raise Corrupt("The range has no meta row.", file=connection.filename, where="meta")
    epoch, seq, digest, quantity, applied_seq, promised_epoch, whole_seq, range_id, *thin = rows[0]
    return ReplicaState(
        range_id=range_id,
        epoch=epoch if seq else 0,  # of an empty log meta's says when the file was made
        end=LogPoint(seq=seq, digest=digest),
        quantity=quantity,
        applied_seq=seq if applied_seq is None else applied_seq,
        # Who has records of an epoch was in it; before there were replicas nobody promised any.
        promised_epoch=max(promised_epoch, epoch if seq else 0),
        whole_seq=whole_seq,
        thin_seq=thin[0],
        left_out_us=thin[1],
    )


def promise(connection: apsw.Connection, epoch: int) -> None:
    """Refuse every primary of an older epoch from now on; a promise is never taken back."""
    connection.execute(
        "UPDATE meta SET PROMISED_EPOCH = ? WHERE PROMISED_EPOCH < ?", (epoch, epoch)
    )


def standing(connection: apsw.Connection) -> Standing:
    """Say where the replica stands, as others are told."""
    state = read_state(connection)
    return Standing(
        promised_epoch=state.promised_epoch,
        epoch=state.epoch,
        end=state.end,
        applied_seq=state.applied_seq,
        history=history(connection),
        is_whole=state.is_whole,
    )


def standing_applied(connection: apsw.Connection) -> tuple[Standing, LogPoint | None]:
    """Say where the replica stands, and what point its rows show; None: it is not known."""
    now = standing(connection)
    return now, point_at(connection, now.applied_seq)


def newest_at_us(connection: apsw.Connection) -> int:
    """Say when the newest record was made that is known of, in microseconds since 1970; 0: none."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT TIME_US FROM log ORDER BY SEQ DESC LIMIT 1"
    ).fetchall()
    return max(int(rows[0][0]) if rows else 0, read_state(connection).left_out_us)


def records_behind(
    connection: apsw.Connection, after: LogPoint, *, last_seq: int | None = None
) -> tuple[LogRecord, ...] | None:
    """Read on behind a point, about REPLICA_BATCH_BYTES; None if the log does not have it."""
    if point_at(connection, after.seq) != after:
        return None
    end_seq = read_state(connection).end.seq if last_seq is None else last_seq
    records = range_log.read(
        connection,
        after_seq=after.seq,
        last_seq=min(end_seq, after.seq + REPLICA_BATCH_RECORDS_MAX),
        bytes_max=REPLICA_BATCH_BYTES,
    )
    return tuple(records)


def history(connection: apsw.Connection) -> History:
    """List the newest epochs of the log, oldest first."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT EPOCH, FIRST_SEQ FROM epoch ORDER BY EPOCH DESC LIMIT ?", (REPLICA_EPOCHS_TOLD,)
    ).fetchall()
    return tuple(EpochStart(epoch=epoch, first_seq=first_seq) for epoch, first_seq in rows[::-1])


def point_at(connection: apsw.Connection, seq: int) -> LogPoint | None:
    """Find the point behind a record; None if the log does not reach there, or no longer.

    From a point that is found, all that follows can be read.
    """
    state = read_state(connection)
    if seq == state.end.seq:
        return state.end
    if seq < state.thin_seq:
        return None
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT DIGEST FROM log WHERE SEQ = ?", (seq,)
    ).fetchall()
    if rows:
        return LogPoint(seq=seq, digest=rows[0][0])
    first: list[tuple[Any, ...]] = connection.execute(
        "SELECT SEQ FROM log WHERE SEQ = 1"
    ).fetchall()
    if seq == 0 and first:
        return beginning_of(state.range_id)
    return None


def beginning_of(range_id: str) -> LogPoint:
    """Where the log of a range begins.

    No two ranges ever give one version, not even to the same first write: `entry_cache` shares
    entries among all of them.
    """
    return LogPoint(seq=0, digest=hashlib.sha256(range_id.encode()).digest())


def append(
    connection: apsw.Connection,
    *,
    epoch: int,
    after: LogPoint,
    records: Sequence[LogRecord],
    committed_seq: int,
) -> LogPoint | None:
    """Take in what a primary holds behind a point, and apply what it has committed.

    What is there already is left as it is, so the same may come again. A tail that the primary does
    not have, of older epochs than its own, and not applied, is cut where the logs part.

    Args:
        connection: inside a transaction.
        epoch: of the primary, not older than what was promised.
        after: where `records` follow.
        records: in order, without a gap.
        committed_seq: up to where every in-sync replica is known to hold the log.

    Returns: up to where both logs are equal by now; None if they are not equal at `after`, or
        nobody can tell.

    Raises:
        Corrupt: a record does not follow the one before it.
        Diverged: the logs part where nothing may be taken back.
    """
    promise(connection, epoch)
    state = read_state(connection)
    is_copying = state.whole_seq == NEVER_WHOLE  # its log says nothing of what its rows are
    if is_copying or _digest_at(connection, state, after.seq) != after.digest:
        return None
    fresh = _fresh(connection, state, records, epoch=epoch)
    matched = records[-1].point if records else after
    if fresh:
        _take(connection, state, fresh)
        state = read_state(connection)
    apply(connection, state, up_to_seq=min(committed_seq, matched.seq))
    return matched


def apply(connection: apsw.Connection, state: ReplicaState, *, up_to_seq: int) -> None:
    """Make the rows what the records up to a sequence make of them; both only go forward."""
    if up_to_seq <= state.applied_seq:
        return
    records = range_log.read(connection, after_seq=state.applied_seq, last_seq=up_to_seq)
    change, last = replay(connection, records)
    connection.execute(
        "UPDATE meta SET QUANTITY = ?, APPLIED_SEQ = ?", (state.quantity + change, up_to_seq)
    )
    is_due = up_to_seq // LOG_RECORDS_TRIMMED > state.applied_seq // LOG_RECORDS_TRIMMED
    if is_due and last is not None:
        brief_names.trim(connection, seq=up_to_seq, time_us=last.time_us)
    if is_due and up_to_seq > LOG_RECORDS_KEPT:
        last_seq, wanted = up_to_seq - LOG_RECORDS_KEPT, memos.wanted(connection).after_seq
        if wanted is not None:
            last_seq = min(last_seq, wanted)  # should this be the next primary
        # What was kept for a reader goes bit by bit.
        some = max(LOG_RECORDS_TRIMMED_MAX, 2 * (up_to_seq - state.applied_seq))
        connection.execute(
            "DELETE FROM log WHERE SEQ <= ? AND SEQ < (SELECT min(SEQ) FROM log) + ?",
            (last_seq, some),
        )


def replay(
    connection: apsw.Connection, records: Iterable[LogRecord]
) -> tuple[int, LogRecord | None]:
    """Do to the rows what records say, one after another, whatever log they are of.

    Returns: by how many entries there are more, and the last record that has a brief name.
    """
    more = 0
    names, derived = brief_names.Rows(connection), derived_rows.load(connection)
    last: LogRecord | None = None
    for record in records:
        change, name = _apply(connection, record, derived)
        more += change
        if name is not None:
            names.add(name, seq=record.seq, time_us=record.time_us)
            last = record
    names.finish()
    return more, last


def open_epoch(connection: apsw.Connection, *, epoch: int, time_us: int) -> LogRecord:
    """Append the opening record of an epoch that was promised to this replica itself."""
    end = range_log.read_end(connection)
    assert epoch > end.epoch or end.seq == 0, (epoch, end.epoch)
    range_log.keep_end(connection, end)  # which is of the former epoch
    end.epoch = epoch
    before_seq = end.seq
    applied_seq = read_state(connection).applied_seq
    range_log.append(
        connection,
        end,
        kind=RecordKind.OPENING,
        rid_id=b"",
        item=None,
        request=None,
        time_us=time_us,
    )
    range_log.write_end(connection, end)
    connection.execute("UPDATE meta SET APPLIED_SEQ = ?", (applied_seq,))
    _note_epochs(connection, {epoch: end.seq})
    return range_log.read(connection, after_seq=before_seq, last_seq=end.seq)[0]


def has_promised_others(connection: apsw.Connection) -> bool:
    """Tell whether the last promise was given to another replica, and may not be over yet."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT PROMISED_EPOCH > SERVED_EPOCH FROM meta"
    ).fetchall()
    return bool(rows[0][0])


def serve(connection: apsw.Connection, epoch: int) -> None:
    """Apply the whole log; from here on what is written is applied in the same transaction.

    Promises that were given to others must be over.
    """
    state = read_state(connection)
    apply(connection, state, up_to_seq=state.end.seq)
    connection.execute(
        "UPDATE meta SET APPLIED_SEQ = NULL, WHOLE_SEQ = NULL, SERVED_EPOCH = ?", (epoch,)
    )


def _fresh(
    connection: apsw.Connection, state: ReplicaState, records: Sequence[LogRecord], *, epoch: int
) -> Sequence[LogRecord]:
    """Leave out what is there already; cut a tail that differs."""
    for place, record in enumerate(records):
        if record.seq > state.end.seq:
            return records[place:]
        if _digest_at(connection, state, record.seq) != record.digest:
            _cut(connection, state, record, epoch=epoch)
            return records[place:]
    return ()


def _cut(
    connection: apsw.Connection, state: ReplicaState, record: LogRecord, *, epoch: int
) -> None:
    """Forget what stands where another record should, and all behind it.

    `epoch` is the primary's. No in-sync replica of it holds what is forgotten.
    """
    name, last_seq = connection.filename.rpartition("/")[2], record.seq - 1
    epochs: dict[int, int] = dict(
        connection.execute("SELECT SEQ, EPOCH FROM log WHERE SEQ IN (?, ?)", (last_seq, record.seq))
    )
    if last_seq < state.applied_seq:
        raise Diverged(
            "The log parts from the primary's below what was applied.", file=name, where="log"
        )
    if epochs.get(record.seq, epoch) in (record.epoch, epoch):
        raise Diverged(
            f"Two records have the place {record.seq} of epoch {record.epoch}.",
            file=name,
            where="log",
        )
    digest = _digest_at(connection, state, last_seq)
    if digest is None:
        raise Diverged("The log parts from the primary's where it begins.", file=name, where="log")
    _log.info("log_tail_cut", file=name, after_seq=last_seq, end_seq=state.end.seq, epoch=epoch)
    connection.execute("DELETE FROM log WHERE SEQ > ?", (last_seq,))
    connection.execute("DELETE FROM epoch WHERE FIRST_SEQ > ?", (last_seq,))
    # Of an empty log the epoch says nothing; 0 is below every epoch there is.
    connection.execute(
        "UPDATE meta SET SEQ = ?, DIGEST = ?, EPOCH = ?, APPLIED_SEQ = ?",
        (last_seq, digest, epochs.get(last_seq, 0), state.applied_seq),
    )


def _take(connection: apsw.Connection, state: ReplicaState, records: Sequence[LogRecord]) -> None:
    """Write records behind the end; `state` may be of before a cut."""
    now = read_state(connection)
    point, epochs = now.end, {}
    epoch = now.epoch
    for record in records:
        if not record.follows(point) or record.epoch < epoch:
            raise Corrupt(
                f"Record {record.seq} does not follow the one before it.",
                file=connection.filename.rpartition("/")[2],
                where="log",
            )
        if record.epoch > epoch or point.seq == 0:
            epochs[record.epoch] = record.seq
        point, epoch = record.point, record.epoch
    if now.end.seq == now.thin_seq and now.end.seq:
        range_log.begin_behind(connection, epoch=now.epoch, seq=now.end.seq, digest=now.end.digest)
    range_log.insert(connection, records)
    connection.execute(
        "UPDATE meta SET EPOCH = ?, SEQ = ?, DIGEST = ?, APPLIED_SEQ = ?",
        (epoch, point.seq, point.digest, state.applied_seq),
    )
    _note_epochs(connection, epochs)


def _note_epochs(connection: apsw.Connection, first_seqs: dict[int, int]) -> None:
    if not first_seqs:
        return
    connection.executemany(
        "INSERT INTO epoch (EPOCH, FIRST_SEQ) VALUES (?, ?) ON CONFLICT DO NOTHING",
        list(first_seqs.items()),
    )
    connection.execute(
        "DELETE FROM epoch WHERE EPOCH <= "
        "(SELECT EPOCH FROM epoch ORDER BY EPOCH DESC LIMIT 1 OFFSET ?)",
        (REPLICA_EPOCHS_KEPT,),
    )


def _digest_at(connection: apsw.Connection, state: ReplicaState, seq: int) -> bytes | None:
    """Find the digest behind a record without asking whether what follows is left."""
    if seq == state.end.seq:
        return state.end.digest
    if seq == 0:
        return beginning_of(state.range_id).digest
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT DIGEST FROM log WHERE SEQ = ?", (seq,)
    ).fetchall()
    digest: bytes | None = rows[0][0] if rows else None
    return digest


def _apply(
    connection: apsw.Connection, record: LogRecord, derived: DerivedRows | None
) -> tuple[int, NamedAnswer | None]:
    """Do to the rows what a record says, and to what is `derived` of them.

    Returns: by how many entries there are more, and a name that is still to be written.
    """
    rid_id = record.rid_id
    if record.kind is RecordKind.OPENING:
        return 0, None
    if record.kind is RecordKind.MEMO:
        memos.put(connection, rid_id.decode(), record.image)
        return 0, None
    previous = entries.read_entry(connection, rid_id)
    version: str | None = None
    change = 0
    if record.kind is RecordKind.PUT:
        version = range_log.version_of(record.digest)
        assert record.image is not None, record.seq
        item = range_log.item_of(record.image, file=connection.filename)
        if derived is not None:
            derived.change(connection, rid_id, before=previous, after=item)
        entries.write_cells(
            connection,
            rid_id,
            entry_hash=int.from_bytes(rid_id[:HASH_BYTES], "big"),
            before=None if previous is None else previous.cells,
            after=entries.cells_of(item),
            version=version,
        )
        change = int(previous is None)
    elif record.kind in REMOVALS:
        if derived is not None:
            derived.change(connection, rid_id, before=previous, after=None)
        entries.delete_cells(connection, rid_id)
        change = -int(previous is not None)
    return change, _remember(connection, record, RequestAnswer(previous is not None, version))


def _remember(
    connection: apsw.Connection, record: LogRecord, answer: RequestAnswer
) -> NamedAnswer | None:
    """Keep the name of a record's request. Returns: a brief one, which goes with others."""
    mark = record.request
    if mark is None:
        return brief_names.named_by(record)
    name = RequestName(
        principal=mark.principal,
        request_id=mark.request_id,
        ordinal=mark.ordinal,
        digest=mark.digest,
    )
    requests.remember(connection, name, answer=answer, seq=record.seq, time_us=record.time_us)
    return None
