"""Copying a range's rows to a replica whose log does not join ours any more.

The source registers a place in its log, reads rows in key order, each page in a short transaction
of its own, and sends the log from that place on behind them. So a copy holds rows of different
moments, and is of no use before it has applied the log up to where the source stood at the end:
records are whole images, so that replaying them makes it right (REPLICATION.md, learning).

A copy is made in place: the file first says of itself, durably, that it is no replica.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec

from dstore.base.feed_limits import MEMOS_COPIED
from dstore.base.limits import (
    REPLICA_COPY_BYTES,
    REPLICA_COPY_PART_ROWS,
    REPLICA_COPY_ROWS,
    REPLICA_WIPED_ROWS,
)
from dstore.model.errors import Corrupt
from dstore.model.values import cell_of_row
from dstore.storage import brief_names, derived_rows, memos, range_log
from dstore.storage.brief_names import NameRow
from dstore.storage.entries import HEAD, Cells, Entry
from dstore.storage.log_records import Epoch, History, LogPoint, LogRecord, Sequence64
from dstore.storage.memos import MemoRow
from dstore.storage.range_scan import Span
from dstore.storage.replica_log import NEVER_WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import apsw

_REQUESTS: Final = (
    "SELECT PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST, SEQ, ANSWER, TIME_US FROM request "
    "WHERE (PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST) > (?, ?, ?, ?) "
    "ORDER BY PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST LIMIT ?"
)
_TAKE_REQUEST: Final = "INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?, ?, ?, ?)"
_ROWS_BEHIND: Final = "SELECT RID_ID, C_COL, HASH, C_DATA_TYPE, C_DATA FROM v1 WHERE RID_ID > ? "
_ROWS_ORDER: Final = "ORDER BY RID_ID, C_COL"
_ROWS: Final = _ROWS_BEHIND + _ROWS_ORDER
_ROWS_BEFORE: Final = f"{_ROWS_BEHIND}AND RID_ID < ? {_ROWS_ORDER}"
_ALL: Final = Span()
_COLUMNS: Final = 5  # of them
_DIGEST_BYTES: Final = 32
_IS_HERE: Final = "SELECT 1 FROM v1 WHERE RID_ID = ? LIMIT 1"
_TAKE_ROWS: Final = "INSERT INTO v1 (RID_ID, C_COL, HASH, C_DATA_TYPE, C_DATA) VALUES "
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_part: Final = msgspec.msgpack.Decoder(list[Any]).decode

RequestKey = tuple[str, str, int, bytes]
RequestRow = tuple[str, str, int, bytes, int, bytes, int]


class CopyPage(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a copy, and its BLAKE2b: entries, then requests, brief names, memos, records.

    `parts` are rows of whole entries as they are stored, one behind another, some hundred of them
    in each; encoded by the thread that reads them, and decoded by the one that writes them.
    `records` are of the log, what readers still want of it.
    """

    parts: tuple[bytes, ...]
    requests: tuple[RequestRow, ...]
    digest: Annotated[bytes, msgspec.Meta(min_length=_DIGEST_BYTES, max_length=_DIGEST_BYTES)]
    names: tuple[NameRow, ...] = ()
    memos: tuple[MemoRow, ...] = ()
    records: tuple[LogRecord, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What it weighs on its way, about: of what is no row and no record there is little."""
        return sum(map(len, self.parts)) + sum(each.size_bytes for each in self.records)


class CopyPlace(msgspec.Struct, frozen=True, array_like=True):
    """How far a copy has come: behind an entry, a request, a row of names, a memo, a record."""

    rid_id: bytes = b""
    request: RequestKey | None = None
    names_seq: int | None = None
    is_over: bool = False
    memo: str | None = None
    log_seq: int | None = None

    @property
    def has_entries(self) -> bool:
        """Whether all entries are copied."""
        behind = (self.request, self.names_seq, self.memo, self.log_seq)
        return self.is_over or any(each is not None for each in behind)


class CopyStart(msgspec.Struct, frozen=True, array_like=True):
    """From where the log follows a copy: the last record's epoch, the point, and the epochs."""

    epoch: Epoch
    point: LogPoint
    history: History


class CopyEnd(msgspec.Struct, frozen=True, array_like=True):
    """Up to where a copy has to apply the log, before it is one."""

    start: CopyStart
    whole_seq: Sequence64


def read_page(
    connection: apsw.Connection, place: CopyPlace, *, span: Span = _ALL
) -> tuple[CopyPage, CopyPlace]:
    """Read on behind a place, about REPLICA_COPY_BYTES; give the page and the next place.

    Entries and records are those of `span`; requests, names and memos are all there are.
    """
    if place.log_seq is not None:
        return _read_records(connection, place.log_seq, span)
    if place.memo is not None:
        return _read_memos(connection, place.memo)
    if place.names_seq is not None:
        names = brief_names.read_rows(
            connection, after_seq=place.names_seq, bytes_max=REPLICA_COPY_BYTES
        )
        if not names:
            return _read_memos(connection, "")
        return _page((), (), names), CopyPlace(names_seq=names[-1][0])
    if place.request is not None:
        rows = connection.execute(_REQUESTS, (*place.request, REPLICA_COPY_ROWS)).fetchall()
        if not rows:
            return _page((), ()), CopyPlace(names_seq=0)
        return _page((), tuple(rows)), CopyPlace(request=cast("RequestKey", rows[-1][:4]))
    parts, rid_id = _read_parts(connection, place.rid_id, span)
    after = CopyPlace(request=("", "", -1, b"")) if rid_id is None else CopyPlace(rid_id=rid_id)
    return _page(parts, ()), after


def _read_memos(connection: apsw.Connection, after: str) -> tuple[CopyPage, CopyPlace]:
    found = memos.page(connection, after=after, limit=MEMOS_COPIED)
    if found:
        return _page((), (), kept=(found, ())), CopyPlace(memo=found[-1][0])
    wanted = memos.wanted(connection).after_seq
    over = CopyPlace(is_over=True) if wanted is None else CopyPlace(log_seq=wanted)
    return _page((), ()), over


def _read_records(
    connection: apsw.Connection, after_seq: int, span: Span
) -> tuple[CopyPage, CopyPlace]:
    """Read what readers want of the log, as far as it is applied.

    It may have been read, and trimmed, meanwhile: then so much less is wanted.
    """
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT coalesce(APPLIED_SEQ, SEQ) FROM meta"
    ).fetchall()
    [(applied_seq,)] = rows
    records = range_log.read(
        connection, after_seq=after_seq, last_seq=applied_seq, bytes_max=REPLICA_COPY_BYTES
    )
    if not records:
        return _page((), ()), CopyPlace(is_over=True)
    kept = tuple(each for each in records if in_span(each.rid_id, span))
    return _page((), (), kept=((), kept)), CopyPlace(log_seq=records[-1].seq)


def in_span(rid_id: bytes, span: Span) -> bool:
    """Tell whether a key is in a span."""
    return span.low <= rid_id and (span.high is None or rid_id < span.high)


def _read_parts(
    connection: apsw.Connection, after: bytes, span: Span
) -> tuple[tuple[bytes, ...], bytes | None]:
    """Read whole entries behind one. Returns: the last one's RID_ID too; None: there is no more.

    A span's bounds are shorter than any RID_ID, and so never one.
    """
    after = max(after, span.low)
    rows_behind = (_ROWS, (after,)) if span.high is None else (_ROWS_BEFORE, (after, span.high))
    parts: list[bytes] = []
    part: list[Any] = []
    last, size_bytes = after, 0
    with closing(connection.execute(*rows_behind)) as rows:
        for row in rows:
            rid_id, name, _, _, data = row
            if name == HEAD:
                if size_bytes >= REPLICA_COPY_BYTES:
                    parts.append(_encode(part))
                    return tuple(parts), last
                last = rid_id
            elif rid_id != last:
                raise Corrupt("An entry has no head row.", file=connection.filename, where="v1")
            if len(part) == REPLICA_COPY_PART_ROWS * _COLUMNS:
                parts.append(_encode(part))
                part = []
            part += row
            size_bytes += len(rid_id) + len(name) + len(data or "")
    if part:
        parts.append(_encode(part))
    return tuple(parts), None


def begin(connection: apsw.Connection) -> None:
    """Say that this is no replica, before anything of it goes."""
    connection.execute("UPDATE meta SET WHOLE_SEQ = ?", (NEVER_WHOLE,))


def wipe_some(connection: apsw.Connection) -> bool:
    """Delete a part of what is there. Returns: whether there is more."""
    connection.execute(
        "DELETE FROM v1 WHERE (RID_ID, C_COL) IN (SELECT RID_ID, C_COL FROM v1 LIMIT ?)",
        (REPLICA_WIPED_ROWS,),
    )
    connection.execute(
        "DELETE FROM log WHERE SEQ IN (SELECT SEQ FROM log LIMIT ?)", (REPLICA_WIPED_ROWS,)
    )
    if connection.changes() or connection.execute("SELECT 1 FROM v1 LIMIT 1").fetchall():
        return True
    if derived_rows.wipe_some(connection, rows=REPLICA_WIPED_ROWS):
        return True
    connection.execute("DELETE FROM request")
    connection.execute("DELETE FROM name")
    connection.execute("DELETE FROM memo")
    connection.execute("DELETE FROM epoch")
    connection.execute("UPDATE meta SET QUANTITY = 0, APPLIED_SEQ = 0")
    return False


def take_page(connection: apsw.Connection, page: CopyPage) -> None:
    """Write a piece of a copy; the same one may come again. Raises: Corrupt: it was harmed."""
    kept = (page.memos, page.records)
    if _page(page.parts, page.requests, page.names, kept=kept).digest != page.digest:
        raise _harmed(connection)
    added = _take_parts(connection, page.parts)
    connection.executemany(_TAKE_REQUEST, page.requests)
    brief_names.take_rows(connection, page.names)
    memos.take(connection, page.memos)
    take_records(connection, page.records)
    connection.execute("UPDATE meta SET QUANTITY = QUANTITY + ?", (added,))


def take_records(connection: apsw.Connection, records: Iterable[LogRecord]) -> None:
    """Keep records that readers want, in a copy whose own log will follow; any may come again."""
    records = tuple(records)
    connection.executemany("DELETE FROM log WHERE SEQ = ?", [(each.seq,) for each in records])
    range_log.insert(connection, records)


def begin_log(connection: apsw.Connection, *, epoch: int, point: LogPoint) -> None:
    """Let the log go on behind a point; before it stands at most what readers want."""
    connection.execute("DELETE FROM log WHERE SEQ > ?", (point.seq,))
    connection.execute("UPDATE log SET DIGEST = ? WHERE SEQ = ?", (point.digest, point.seq))
    if point.seq and not connection.changes():
        range_log.begin_behind(connection, epoch=epoch, seq=point.seq, digest=point.digest)


def _take_parts(connection: apsw.Connection, parts: tuple[bytes, ...]) -> int:
    """Write rows of whole entries. Returns: how many entries there are more.

    A piece is written as a whole: who has its first entry has all of it.
    """
    added = 0
    derived = derived_rows.load(connection)
    for number, part in enumerate(parts):
        row_values = _decode_part(part)
        count, rest = divmod(len(row_values), _COLUMNS)
        if rest or not count:
            raise _harmed(connection)
        if not number and connection.execute(_IS_HERE, (row_values[0],)).fetchall():
            return 0
        # One statement for all: a thread that runs one for each waits for the interpreter as often.
        sql = _TAKE_ROWS + ", ".join(["(?, ?, ?, ?, ?)"] * count)
        connection.execute(sql, row_values, can_cache=count == REPLICA_COPY_PART_ROWS)
        added += row_values[1::_COLUMNS].count(HEAD)
    if derived is not None:
        for rid_id, entry in _entries_in(parts):
            derived.change(connection, rid_id, before=None, after=entry.item)
    return added


def _entries_in(parts: tuple[bytes, ...]) -> Iterator[tuple[bytes, Entry]]:
    """Put the entries of a piece together, each whole: one may begin in a part and end in the next.

    Their versions are of no interest here.
    """
    rid_id, cells = b"", Cells()
    for part in parts:
        row_values = iter(_decode_part(part))
        for found, name, _, data_type, data in zip(*[row_values] * _COLUMNS, strict=True):
            if name != HEAD:
                cells[name] = cell_of_row(data_type, data)
                continue
            if rid_id:
                yield rid_id, Entry(cells, "")
            rid_id, cells = found, {}
    if rid_id:
        yield rid_id, Entry(cells, "")


def finish(connection: apsw.Connection, end: CopyEnd) -> None:
    """Let the log follow; once it is applied up to `whole_seq`, this is a replica."""
    start = end.start
    connection.execute("DELETE FROM epoch")
    connection.executemany(
        "INSERT INTO epoch (EPOCH, FIRST_SEQ) VALUES (?, ?)",
        [(each.epoch, each.first_seq) for each in start.history],
    )
    connection.execute(
        "UPDATE meta SET EPOCH = ?1, SEQ = ?2, DIGEST = ?3, APPLIED_SEQ = ?2, WHOLE_SEQ = ?4, "
        "THIN_SEQ = ?2, LEFT_OUT_US = 0",
        (start.epoch, start.point.seq, start.point.digest, end.whole_seq),
    )
    begin_log(connection, epoch=start.epoch, point=start.point)


def _page(
    parts: tuple[bytes, ...],
    rows: tuple[Any, ...],
    names: tuple[NameRow, ...] = (),
    *,
    kept: tuple[tuple[MemoRow, ...], tuple[LogRecord, ...]] = ((), ()),
) -> CopyPage:
    """Seal a piece; one without memos and records is as before there were any."""
    others = (rows, names, *kept) if any(kept) else (rows, names)
    digest = hashlib.blake2b(_encode(others), digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(4))
        digest.update(part)
    return CopyPage(parts, rows, digest.digest(), names, *kept)


def _harmed(connection: apsw.Connection) -> Corrupt:
    name = connection.filename.rpartition("/")[2]
    return Corrupt("A piece of a copy is not what was sent.", file=name, where="copy")
