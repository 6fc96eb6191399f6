"""The log of a range: what was done, in order, each record chained to the one before."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.base.limits import LOG_RECORDS_KEPT, LOG_RECORDS_TRIMMED, LOG_RECORDS_TRIMMED_MAX
from dstore.model.errors import Corrupt
from dstore.storage.log_records import (
    LogPoint,
    LogRecord,
    NameMark,
    RecordKind,
    RequestMark,
    digest_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from dstore.model.values import Item

IMAGE_FORMAT: Final = b"\x01"  # then the item in wire form, as JSON
_VERSION_BYTES: Final = 12  # of the digest: 2⁻⁴⁸ that two versions of one entry ever look alike
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode_mark = msgspec.msgpack.Encoder().encode
_decode_mark = msgspec.msgpack.Decoder(RequestMark).decode
_decode_name = msgspec.msgpack.Decoder(NameMark).decode
_ROW = (
    "INTO log "
    "(SEQ, EPOCH, TIME_US, REQUEST_ID, KIND, RID_ID, NEW_IMAGE, DIGEST, REQUEST, NAME, OLD_IMAGE) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT = f"INSERT {_ROW}"
_INSERT_IF_ABSENT = f"INSERT OR IGNORE {_ROW}"
_READ = (
    "SELECT EPOCH, SEQ, TIME_US, KIND, RID_ID, NEW_IMAGE, REQUEST, NAME, DIGEST, OLD_IMAGE "
    "FROM log "
    "WHERE SEQ > ? AND SEQ <= ? ORDER BY SEQ"
)


@dataclass(slots=True)
class LogEnd:
    """Where a log stands: the last position, its digest, and the range's number of entries.

    Up to `thin_seq` the log may lack images, and records as well; `left_out_us` is when the last
    of those was made, 0 if none was. `records` gathers what is appended, if it is a list.
    """

    epoch: int
    seq: int
    digest: bytes
    quantity: int
    thin_seq: int = 0
    left_out_us: int = 0
    records: list[LogRecord] | None = None

    @property
    def point(self) -> LogPoint:
        """The point behind the last record."""
        return LogPoint(seq=self.seq, digest=self.digest)

    def copy(self) -> LogEnd:
        """A copy to advance in a transaction that may yet roll back."""
        return LogEnd(
            self.epoch, self.seq, self.digest, self.quantity, self.thin_seq, self.left_out_us
        )


def read_end(connection: apsw.Connection) -> LogEnd:
    """Read where the log stands."""
    row: list[tuple[Any, ...]] = connection.execute(
        "SELECT EPOCH, SEQ, DIGEST, QUANTITY, THIN_SEQ, LEFT_OUT_US FROM meta"
    ).fetchall()
    if len(row) != 1:
        raise Corrupt("The range has no meta row.", file=connection.filename, where="meta")
    return LogEnd(*row[0])


def write_end(connection: apsw.Connection, end: LogEnd) -> None:
    """Write where the log stands; once a batch, in its transaction."""
    connection.execute(
        "UPDATE meta SET EPOCH = ?, SEQ = ?, DIGEST = ?, QUANTITY = ?, THIN_SEQ = ?, "
        "LEFT_OUT_US = ?",
        (end.epoch, end.seq, end.digest, end.quantity, end.thin_seq, end.left_out_us),
    )


def append(
    connection: apsw.Connection,
    end: LogEnd,
    *,
    kind: str,
    rid_id: bytes,
    item: Item | None,
    request: RequestMark | None,
    time_us: int,
    name: NameMark | None = None,
    is_thin: bool = False,
    old: bytes | None = None,
    encoded: bytes | None = None,
) -> str:
    """Append the record of a change that is made in the same transaction, and advance `end`.

    `kind` is a `RecordKind`'s value; `item` is what a put stores, and None in all others. With
    `is_thin` the item's image is left out of the file, not of the digest: nobody wants to read it.
    `old` is what readers want of the item before, encoded by `image_of`; `encoded` is a memo's
    value, or, in place of `item`, what a put stores, encoded so.

    Returns: the version that the record gives its entry: unique in the range, never reused.
    """
    image = encoded if item is None else image_of(item)
    if not is_thin:
        keep_end(connection, end)
    seq = end.seq + 1
    digest = digest_of(
        end.digest, epoch=end.epoch, seq=seq, kind=kind, rid_id=rid_id, image=image, old=old
    )
    request_id, mark = (None, None) if request is None else _marked(request)
    named = None if name is None else _encode_mark(name)
    stored = image
    if is_thin and image is not None:
        stored, end.thin_seq = None, seq
    connection.execute(
        _INSERT,
        (seq, end.epoch, time_us, request_id, kind, rid_id, stored, digest, mark, named, old),
    )
    end.seq, end.digest = seq, digest
    if end.records is not None:
        end.records.append(
            LogRecord(
                epoch=end.epoch,
                seq=seq,
                time_us=time_us,
                kind=RecordKind(kind),
                rid_id=rid_id,
                image=image,
                request=request,
                digest=digest,
                name=name,
                old=old,
            )
        )
    return version_of(digest)


def leave_out(end: LogEnd, *, nonce: bytes, time_us: int) -> str:
    """Advance `end` by a change of which the log keeps no record: nobody wants to read any.

    Its digest says where the log stands, and not what was done: it is made of the one before and of
    `nonce`, random bits that were drawn for this batch and are used for no other, nor for the same
    one if that is evaluated again. So no other log ever has it, whatever was done there.

    Returns: as `append`.
    """
    end.seq = end.thin_seq = end.seq + 1
    end.digest = hashlib.sha256(end.digest + nonce).digest()
    end.left_out_us = time_us
    return version_of(end.digest)


def keep_end(connection: apsw.Connection, end: LogEnd) -> None:
    """Note the digest where the log ends, if its last record may be missing and more follows."""
    if end.seq and end.seq == end.thin_seq:
        begin_behind(connection, epoch=end.epoch, seq=end.seq, digest=end.digest)


def insert(connection: apsw.Connection, records: Iterable[LogRecord]) -> None:
    """Write records that another replica made, as they are."""
    connection.executemany(_INSERT, map(_row, records))


def begin_behind(connection: apsw.Connection, *, epoch: int, seq: int, digest: bytes) -> None:
    """Note where a log begins that does not hold what was before: behind a record, by its digest.

    So whoever stands at that very point finds that the logs are equal up to there. The row is no
    record: nothing reads it as one, since who asks for records has to know the point before them.
    If that record is here after all, it stays.
    """
    connection.execute(
        _INSERT_IF_ABSENT,
        (seq, epoch, 0, None, RecordKind.NOTHING.value, b"", None, digest, None, None, None),
    )


def read(
    connection: apsw.Connection, *, after_seq: int, last_seq: int, bytes_max: int | None = None
) -> list[LogRecord]:
    """Read the records behind a sequence up to another, at least one if there is one.

    Raises: Corrupt: a record is none.
    """
    found: list[LogRecord] = []
    size_bytes = 0
    rows = connection.execute(_READ, (after_seq, last_seq))
    for row in rows:
        record = _record(row, file=connection.filename)
        found.append(record)
        size_bytes += record.size_bytes
        if bytes_max is not None and size_bytes >= bytes_max:
            rows.close()
            break
    return found


def image_of(item: Item) -> bytes:
    """Encode an item, or what readers want of one, as it stands in records."""
    return IMAGE_FORMAT + _encode(item)


def item_of(image: bytes, *, file: str) -> Item:
    """Decode the image of a put. Raises: Corrupt: it is none that this version can read."""
    if image[:1] != IMAGE_FORMAT:
        raise Corrupt("A record's image has an unknown format.", file=file, where="log")
    try:
        return _decode(memoryview(image)[1:])
    except msgspec.MsgspecError:
        raise Corrupt("A record's image is no item.", file=file, where="log") from None


def version_of(digest: bytes) -> str:
    """Name the version of an entry that a record has made."""
    return urlsafe_b64encode(digest[:_VERSION_BYTES]).decode()


def trim(connection: apsw.Connection, end: LogEnd, *, wanted_after_seq: int | None = None) -> None:
    """Drop the oldest records once there are LOG_RECORDS_TRIMMED more than are kept.

    What is behind `wanted_after_seq` stays: somebody is going to read it. When he has, what was
    kept for him goes bit by bit: no write is to wait for all of it.
    """
    if end.seq % LOG_RECORDS_TRIMMED or end.seq <= LOG_RECORDS_KEPT:
        return
    last_seq = end.seq - LOG_RECORDS_KEPT
    if wanted_after_seq is not None:
        last_seq = min(last_seq, wanted_after_seq - 1)  # its own digest is wanted too
    connection.execute(
        "DELETE FROM log WHERE SEQ <= ? AND SEQ < (SELECT min(SEQ) FROM log) + ?",
        (last_seq, LOG_RECORDS_TRIMMED_MAX),
    )


def _marked(request: RequestMark) -> tuple[str, bytes]:
    return request.request_id, _encode_mark(request)


def _row(record: LogRecord) -> tuple[Any, ...]:
    request_id, mark = (None, None) if record.request is None else _marked(record.request)
    return (
        record.seq,
        record.epoch,
        record.time_us,
        request_id,
        record.kind.value,
        record.rid_id,
        record.image,
        record.digest,
        mark,
        None if record.name is None else _encode_mark(record.name),
        record.old,
    )


def _record(row: tuple[Any, ...], *, file: str) -> LogRecord:
    epoch, seq, time_us, kind, rid_id, image, mark, name, digest, old = row
    try:
        return LogRecord(
            epoch=epoch,
            seq=seq,
            time_us=time_us,
            kind=RecordKind(kind),
            rid_id=rid_id,
            image=image,
            request=None if mark is None else _decode_mark(mark),
            digest=digest,
            name=None if name is None else _decode_name(name),
            old=old,
        )
    except (ValueError, msgspec.MsgspecError):
        raise Corrupt(f"Record {seq} of the log is none.", file=file, where="log") from None
