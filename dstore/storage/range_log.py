"""The log of a range: what was done, in order, each record chained to the one before."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.base.limits import LOG_RECORDS_KEPT, LOG_RECORDS_TRIMMED
from dstore.model.errors import Corrupt

if TYPE_CHECKING:
    import apsw

    from dstore.model.values import Item

IMAGE_FORMAT: Final = b"\x01"  # then the item in wire form, as JSON
_VERSION_BYTES: Final = 12  # of the digest: 2⁻⁴⁸ that two versions of one entry ever look alike
_POSITION = Struct(">QQ")
_encode = msgspec.json.Encoder().encode
_APPEND = (
    "INSERT INTO log (SEQ, EPOCH, TIME_US, REQUEST_ID, KIND, RID_ID, NEW_IMAGE, DIGEST) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


class RecordKind(StrEnum):
    """What a record did."""

    PUT = "put"
    DELETE = "delete"


_PUT: Final = RecordKind.PUT.value  # to ask an enumeration's member costs more than its use
_DELETE: Final = RecordKind.DELETE.value


@dataclass(slots=True)
class LogEnd:
    """Where a log stands: the last position, its digest, and the range's number of entries."""

    epoch: int
    seq: int
    digest: bytes
    quantity: int

    def copy(self) -> LogEnd:
        """A copy to advance in a transaction that may yet roll back."""
        return LogEnd(self.epoch, self.seq, self.digest, self.quantity)


def read_end(connection: apsw.Connection) -> LogEnd:
    """Read where the log stands."""
    row: list[tuple[Any, ...]] = connection.execute(
        "SELECT EPOCH, SEQ, DIGEST, QUANTITY FROM meta"
    ).fetchall()
    if len(row) != 1:
        raise Corrupt("The range has no meta row.", file=connection.filename, where="meta")
    return LogEnd(*row[0])


def write_end(connection: apsw.Connection, end: LogEnd) -> None:
    """Write where the log stands; once a batch, in its transaction."""
    connection.execute(
        "UPDATE meta SET EPOCH = ?, SEQ = ?, DIGEST = ?, QUANTITY = ?",
        (end.epoch, end.seq, end.digest, end.quantity),
    )


def append(
    connection: apsw.Connection,
    end: LogEnd,
    *,
    rid_id: bytes,
    item: Item | None,
    request_id: str | None,
    time_us: int,
) -> str:
    """Append the record of a put (`item`) or a delete (None) and advance `end`.

    Returns: the version that the record gives its entry: unique in the range, never reused.
    """
    kind, image = _DELETE, None
    if item is not None:
        kind, image = _PUT, IMAGE_FORMAT + _encode(item)
    seq = end.seq + 1
    content = end.digest + _POSITION.pack(end.epoch, seq) + kind.encode() + rid_id + (image or b"")
    digest = hashlib.sha256(content).digest()
    connection.execute(_APPEND, (seq, end.epoch, time_us, request_id, kind, rid_id, image, digest))
    end.seq, end.digest = seq, digest
    return urlsafe_b64encode(digest[:_VERSION_BYTES]).decode()


def trim(connection: apsw.Connection, end: LogEnd) -> None:
    """Drop the oldest records once there are LOG_RECORDS_TRIMMED more than are kept."""
    if end.seq % LOG_RECORDS_TRIMMED == 0 and end.seq > LOG_RECORDS_KEPT:
        connection.execute("DELETE FROM log WHERE SEQ <= ?", (end.seq - LOG_RECORDS_KEPT,))
