"""Copying a range's rows to a replica whose log does not join ours any more.

The source registers a place in its log, reads rows in key order, each page in a short transaction
of its own, and sends the log from that place on behind them. So a copy holds rows of different
moments, and is of no use before it has applied the log up to where the source stood at the end:
records are whole images, so that replaying them makes it right (REPLICATION.md, learning).

A copy is made in place: the file first says of itself, durably, that it is no replica.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec

from dstore.base.limits import REPLICA_COPY_BYTES, REPLICA_COPY_ROWS, REPLICA_WIPED_ROWS
from dstore.model.errors import Corrupt
from dstore.model.keys import HASH_BYTES
from dstore.storage import brief_names, entries
from dstore.storage.brief_names import NameRow
from dstore.storage.log_records import Epoch, History, LogPoint, Sequence64
from dstore.storage.range_scan import Span
from dstore.storage.replica_log import NEVER_WHOLE

if TYPE_CHECKING:
    import apsw

_REQUESTS: Final = (
    "SELECT PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST, SEQ, ANSWER, TIME_US FROM request "
    "WHERE (PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST) > (?, ?, ?, ?) "
    "ORDER BY PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST LIMIT ?"
)
_TAKE_REQUEST: Final = "INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?, ?, ?, ?)"
_encode: Final = msgspec.msgpack.Encoder().encode

RequestKey = tuple[str, str, int, bytes]
RequestRow = tuple[str, str, int, bytes, int, bytes, int]
Cell = tuple[str, str | None]


class CopiedEntry(msgspec.Struct, frozen=True, array_like=True):
    """An entry's rows: its key, its version, and name → (type, data)."""

    rid_id: bytes
    version: str
    cells: dict[str, Cell]


class CopyPage(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a copy, and its SHA-256; entries come first, then requests, then brief names."""

    entries: tuple[CopiedEntry, ...]
    requests: tuple[RequestRow, ...]
    digest: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    names: tuple[NameRow, ...] = ()


class CopyPlace(msgspec.Struct, frozen=True, array_like=True):
    """How far a copy has come: behind an entry, a request, or a row of names, in this order."""

    rid_id: bytes = b""
    request: RequestKey | None = None
    names_seq: int | None = None
    is_over: bool = False


class CopyStart(msgspec.Struct, frozen=True, array_like=True):
    """From where the log follows a copy: the last record's epoch, the point, and the epochs."""

    epoch: Epoch
    point: LogPoint
    history: History


class CopyEnd(msgspec.Struct, frozen=True, array_like=True):
    """Up to where a copy has to apply the log, before it is one."""

    start: CopyStart
    whole_seq: Sequence64


def read_page(connection: apsw.Connection, place: CopyPlace) -> tuple[CopyPage, CopyPlace]:
    """Read on behind a place, about REPLICA_COPY_BYTES; give the page and the next place."""
    if place.names_seq is not None:
        names = brief_names.read_rows(
            connection, after_seq=place.names_seq, bytes_max=REPLICA_COPY_BYTES
        )
        if not names:
            return _page((), ()), CopyPlace(is_over=True)
        return _page((), (), names), CopyPlace(names_seq=names[-1][0])
    if place.request is not None:
        rows = connection.execute(_REQUESTS, (*place.request, REPLICA_COPY_ROWS)).fetchall()
        if not rows:
            return _page((), ()), CopyPlace(names_seq=0)
        return _page((), tuple(rows)), CopyPlace(request=cast("RequestKey", rows[-1][:4]))
    found: list[CopiedEntry] = []
    size_bytes = 0
    walked = entries.scan_entries(connection, Span().behind(place.rid_id))
    for rid_id, entry in walked:
        found.append(CopiedEntry(rid_id, entry.version, entry.cells))
        size_bytes += entry.data_bytes + len(rid_id)
        if size_bytes >= REPLICA_COPY_BYTES or len(found) == REPLICA_COPY_ROWS:
            walked.close()
            return _page(tuple(found), ()), CopyPlace(rid_id=rid_id)
    return _page(tuple(found), ()), CopyPlace(request=("", "", -1, b""))


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
    connection.execute("DELETE FROM request")
    connection.execute("DELETE FROM name")
    connection.execute("DELETE FROM epoch")
    connection.execute("UPDATE meta SET QUANTITY = 0, APPLIED_SEQ = 0")
    return False


def take_page(connection: apsw.Connection, page: CopyPage) -> None:
    """Write a piece of a copy; the same one may come again. Raises: Corrupt: it was harmed."""
    if _page(page.entries, page.requests, page.names).digest != page.digest:
        name = connection.filename.rpartition("/")[2]
        raise Corrupt("A piece of a copy is not what was sent.", file=name, where="copy")
    added = 0
    for copied in page.entries:
        before = entries.read_entry(connection, copied.rid_id)
        entries.write_cells(
            connection,
            copied.rid_id,
            entry_hash=int.from_bytes(copied.rid_id[:HASH_BYTES], "big"),
            before=None if before is None else before.cells,
            after=copied.cells,
            version=copied.version,
        )
        added += before is None
    connection.executemany(_TAKE_REQUEST, page.requests)
    brief_names.take_rows(connection, page.names)
    connection.execute("UPDATE meta SET QUANTITY = QUANTITY + ?", (added,))


def finish(connection: apsw.Connection, end: CopyEnd) -> None:
    """Let the log follow; once it is applied up to `whole_seq`, this is a replica."""
    start = end.start
    connection.execute("DELETE FROM log")
    connection.execute("DELETE FROM epoch")
    connection.executemany(
        "INSERT INTO epoch (EPOCH, FIRST_SEQ) VALUES (?, ?)",
        [(each.epoch, each.first_seq) for each in start.history],
    )
    connection.execute(
        "UPDATE meta SET EPOCH = ?, SEQ = ?, DIGEST = ?, APPLIED_SEQ = ?, WHOLE_SEQ = ?, "
        "THIN_SEQ = 0",
        (start.epoch, start.point.seq, start.point.digest, start.point.seq, end.whole_seq),
    )


def _page(
    found: tuple[CopiedEntry, ...], rows: tuple[Any, ...], names: tuple[NameRow, ...] = ()
) -> CopyPage:
    digest = hashlib.sha256(_encode((found, rows, names))).digest()
    return CopyPage(found, rows, digest, names)
