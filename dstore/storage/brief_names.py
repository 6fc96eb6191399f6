"""Writes of the last minutes by the names of their requests, as a range's file keeps them (I9).

SDKs name every request, and send it again under its name when they hear nothing. A row for each
name, in the order of names, costs more than the write itself: every one is on another page. So the
names of a batch are one row, in the order of time, and the index over them is in memory
(`name_index`), made anew when a file is written to for the first time. A name travels in its
write's log record too: so every replica has it, and whoever is primary next knows it.

What is kept is bounded in writes, in bytes and in time. What is past that is not known any more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec

from dstore.base.clock import US_PER_S
from dstore.base.limits import (
    NAMES_BYTES_KEPT,
    NAMES_IN_ROW_MAX,
    NAMES_KEPT,
    NAMES_ROW_BYTES,
    NAMES_ROWS_TRIMMED,
    REQUEST_RETENTION_S,
)
from dstore.model.errors import Corrupt
from dstore.storage.log_records import NAME_BYTES, NameMark, RecordKind
from dstore.storage.range_log import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from dstore.storage.log_records import LogRecord
    from dstore.storage.requests import RequestName

NameRow = tuple[int, int, int, bytes]
"""A row as it is copied: SEQ, TIME_US, TOTAL_BYTES, NAMES."""

_KEEP: Final = (
    "INSERT INTO name (SEQ, TIME_US, NAMES, TOTAL_BYTES) VALUES (?1, ?2, ?3, length(?3) + "
    "coalesce((SELECT TOTAL_BYTES FROM name ORDER BY SEQ DESC LIMIT 1), 0)) ON CONFLICT DO NOTHING"
)
_FIND: Final = "SELECT TIME_US, NAMES FROM name WHERE SEQ = ?"
_OLDEST: Final = "SELECT SEQ, TIME_US, TOTAL_BYTES FROM name ORDER BY SEQ LIMIT ?"
_NEWEST: Final = "SELECT TOTAL_BYTES FROM name ORDER BY SEQ DESC LIMIT 1"
_ROWS: Final = "SELECT SEQ, NAMES FROM name WHERE TIME_US >= ? ORDER BY SEQ"
_COPIED: Final = "SELECT SEQ, TIME_US, TOTAL_BYTES, NAMES FROM name WHERE SEQ > ? ORDER BY SEQ"
_TAKE: Final = "INSERT OR REPLACE INTO name (SEQ, TIME_US, TOTAL_BYTES, NAMES) VALUES (?, ?, ?, ?)"
_RETENTION_US: Final = REQUEST_RETENTION_S * US_PER_S


class NamedAnswer(msgspec.Struct, frozen=True, array_like=True):
    """A name, and what is needed to answer its request again.

    `answer` is what the service has made of what the write did, if it was asked for more than
    whether there was an entry, and its version now.
    """

    name: Annotated[bytes, msgspec.Meta(min_length=NAME_BYTES, max_length=NAME_BYTES)]
    existed: bool
    version: str | None
    answer: bytes | None = None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[NamedAnswer]).decode


def name_of(request: RequestName) -> bytes:
    """Name a request's write in 12 bytes; about 1.5 us.

    Of all that are known at a time none is another's: it would have to happen by chance, with
    2⁻⁷⁶ a write. Whose, which, what and the how manieth are all in it.
    """
    text = f"{request.principal}\n{request.request_id}\n{request.ordinal}\n"
    return blake2b(text.encode() + request.digest, digest_size=NAME_BYTES).digest()


def named_by(record: LogRecord) -> NamedAnswer | None:
    """Give what a log record says of its request's name; None if it has none."""
    mark = record.name
    if mark is None:
        return None
    version = version_of(record.digest) if record.kind is RecordKind.PUT else None
    return NamedAnswer(mark.name, mark.existed, version, mark.answer)


def mark_of(named: NamedAnswer) -> NameMark:
    """Give what a log record is to say of a name; the version it has itself."""
    return NameMark(named.name, named.existed, named.answer)


def keep(
    connection: apsw.Connection, named: Sequence[NamedAnswer], *, seq: int, time_us: int
) -> None:
    """Write the names of some records, `seq` being the last one's, in their own transaction.

    A row that is there already for the same record holds other names of it, or the same.
    """
    assert len(named) <= NAMES_IN_ROW_MAX, len(named)
    connection.execute(_KEEP, (seq, time_us, _encode(named)))
    if connection.changes():
        return
    rows: list[tuple[Any, ...]] = connection.execute(_FIND, (seq,)).fetchall()
    joined = {each.name: each for each in (*_read(connection, rows[0][1]), *named)}
    connection.execute(
        "UPDATE name SET NAMES = ? WHERE SEQ = ?", (_encode([*joined.values()]), seq)
    )


class Rows:
    """Writes the names of records, one after another, in rows that each fit a message.

    A row is below NAMES_ROW_BYTES and one answer; its SEQ is that of the last record in it.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        """Write inside the transaction of the records."""
        self.written: list[tuple[Sequence[bytes], int]] = []  # names and SEQ of each row
        self._connection = connection
        self._named: list[NamedAnswer] = []
        self._answer_bytes = 0
        self._last = (0, 0)

    def add(self, named: NamedAnswer, *, seq: int, time_us: int) -> None:
        """Take the name of the next record."""
        self._named.append(named)
        self._answer_bytes += len(named.answer or b"")
        self._last = (seq, time_us)
        if len(self._named) == NAMES_IN_ROW_MAX or self._answer_bytes >= NAMES_ROW_BYTES:
            self.finish()

    def finish(self) -> None:
        """Write what is left."""
        if not self._named:
            return
        seq, time_us = self._last
        keep(self._connection, self._named, seq=seq, time_us=time_us)
        self.written.append(([each.name for each in self._named], seq))
        self._named, self._answer_bytes = [], 0


def find(connection: apsw.Connection, name: bytes, *, seq: int, time_us: int) -> NamedAnswer | None:
    """Read what a name was answered from the row that should have it; None if it is gone by now.

    `time_us` is the wall time now.
    """
    rows: list[tuple[Any, ...]] = connection.execute(_FIND, (seq,)).fetchall()
    if not rows or rows[0][0] < time_us - _RETENTION_US:
        return None
    return next((each for each in _read(connection, rows[0][1]) if each.name == name), None)


def rows_since(connection: apsw.Connection, *, time_us: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (SEQ, names) of every row that is not past its time, in order."""
    for seq, names in connection.execute(_ROWS, (time_us - _RETENTION_US,)):
        yield seq, [each.name for each in _read(connection, names)]


def trim(connection: apsw.Connection, *, seq: int, time_us: int) -> None:
    """Drop what is past its time or beyond the bounds, at most NAMES_ROWS_TRIMMED rows.

    Who does so every time that half as many have come is never behind.

    Args:
        connection: inside a transaction.
        seq: the log's last.
        time_us: the wall time now.
    """
    oldest: list[tuple[Any, ...]] = connection.execute(_OLDEST, (NAMES_ROWS_TRIMMED,)).fetchall()
    if not oldest:
        return
    newest: list[tuple[Any, ...]] = connection.execute(_NEWEST).fetchall()
    seq_min, bytes_min = seq - NAMES_KEPT, newest[0][0] - NAMES_BYTES_KEPT
    time_min_us, last_seq = time_us - _RETENTION_US, None
    for row_seq, row_time_us, total_bytes in oldest:
        if row_seq > seq_min and row_time_us >= time_min_us and total_bytes > bytes_min:
            break
        last_seq = row_seq
    if last_seq is not None:
        connection.execute("DELETE FROM name WHERE SEQ <= ?", (last_seq,))


def read_rows(
    connection: apsw.Connection, *, after_seq: int, bytes_max: int
) -> tuple[NameRow, ...]:
    """Read rows for a copy of the range, in order, until they have about `bytes_max`."""
    found: list[NameRow] = []
    size_bytes = 0
    rows = connection.execute(_COPIED, (after_seq,))
    for row in rows:
        found.append(cast("NameRow", row))
        size_bytes += len(found[-1][3])
        if size_bytes >= bytes_max:
            rows.close()
            break
    return tuple(found)


def take_rows(connection: apsw.Connection, rows: Sequence[NameRow]) -> None:
    """Write rows of a copy; the same may come again."""
    connection.executemany(_TAKE, rows)


def _read(connection: apsw.Connection, names: bytes) -> list[NamedAnswer]:
    try:
        return _decode(names)
    except msgspec.MsgspecError:
        name = connection.filename.rpartition("/")[2]
        raise Corrupt("A row of names is none.", file=name, where="name") from None
