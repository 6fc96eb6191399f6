"""Memos: small values beside a range's entries, which its log replicates as it does entries.

    reader/<reader id>   who reads this range's log: what it wants of it, and how far it is
    fed/<range id>       how far the log of another range has been read into this one

A reader, a global index, keeps the log from being trimmed behind what it has read, and has each
record tell of the item before it those attributes that it asks for. As it stands in the file, every
replica knows of it: a new primary, a copy, and the children of a split, whose logs go on where
their parent's ended.

Invariants kept here:
- What stands behind the earliest `Reader.fed_seq` of readers that are not lost is not trimmed.
- A cursor (`Fed.seq`) only goes forward, and so does a reader (`Reader.behind`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec

from dstore.base.feed_limits import INDEX_FORMERS_MAX, MEMO_BYTES_MAX
from dstore.model.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

_READER: Final = "reader/"
_FED: Final = "fed/"
_FORMAT: Final = 1
_PUT: Final = (
    "INSERT INTO memo (NAME, VALUE) VALUES (?, ?) ON CONFLICT DO UPDATE SET VALUE = excluded.VALUE"
)
_PAGE: Final = "SELECT NAME, VALUE FROM memo WHERE NAME > ? ORDER BY NAME LIMIT ?"
_encode: Final = msgspec.msgpack.Encoder().encode

Memo = TypeVar("Memo")
MemoRow = tuple[str, Annotated[bytes, msgspec.Meta(max_length=MEMO_BYTES_MAX)]]


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Who reads a range's log.

    Attributes:
        format: of this value.
        range_id: in whose log it was noted last: in a child of a split, maybe the parent's.
        formers: the ranges before that one whose log this one's goes on, the oldest first.
        names: the attributes that it wants of an item as it was before a record.
        begun_seq: where it was noted; records behind that have what it wants. 0: not noted yet.
        fed_seq: it wants nothing up to here any more.
        scanned: behind which key it has not looked at the entries yet.
        told_below: from here on it was never told of any key; None: it may have been of each.
        is_scanned: it has looked at all of them.
        scanned_items: how many that were.
        seen_revision: of the coordinator, when the reader was seen there last, before `begun_seq`.
        is_lost: it was so late that the log was trimmed; it has to begin anew, as another one.
    """

    format: int = _FORMAT
    range_id: str
    formers: tuple[str, ...] = ()
    names: tuple[str, ...]
    begun_seq: int = 0
    fed_seq: int = 0
    scanned: bytes = b""
    told_below: bytes | None = None
    is_scanned: bool = False
    scanned_items: int = 0
    seen_revision: int = 0
    is_lost: bool = False

    def in_range(self, range_id: str) -> Reader:
        """Give the reader as the log of a range has it that is this one's or goes on behind it."""
        if self.range_id == range_id:
            return self
        formers = (*self.formers, self.range_id)[-INDEX_FORMERS_MAX:]
        return msgspec.structs.replace(self, range_id=range_id, formers=formers)

    def behind(self, known: Reader) -> Reader:
        """Give the reader as it is noted behind another note of it, which may be the later one.

        What either says was done is done: who noted it last may have known less.
        """
        return msgspec.structs.replace(
            self,
            fed_seq=max(self.fed_seq, known.fed_seq),
            scanned=max(self.scanned, known.scanned),
            told_below=_further(self.told_below, known.told_below),
            is_scanned=self.is_scanned or known.is_scanned,
            scanned_items=max(self.scanned_items, known.scanned_items),
            seen_revision=max(self.seen_revision, known.seen_revision),
            is_lost=self.is_lost or known.is_lost,
        )


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """Up to which record a range's log is read into this one; `is_over`: others go on behind it."""

    format: int = _FORMAT
    epoch: int = 0
    seq: int = 0
    is_over: bool = False

    @property
    def position(self) -> tuple[int, int]:
        """Of the record."""
        return self.epoch, self.seq


def _further(one: bytes | None, other: bytes | None) -> bytes | None:
    """Give the later of two places, where None is the end."""
    return None if one is None or other is None else max(one, other)


_decode_reader: Final = msgspec.msgpack.Decoder(Reader).decode
_decode_fed: Final = msgspec.msgpack.Decoder(Fed).decode


def reader_name(reader_id: str) -> str:
    """Name the memo of a reader."""
    return _READER + reader_id


def fed_name(range_id: str) -> str:
    """Name the memo of a range that this one is fed from."""
    return _FED + range_id


def is_reader(name: str) -> bool:
    """Tell whether a memo is of who reads the range's log."""
    return name.startswith(_READER)


def encode(value: Reader | Fed) -> bytes:
    """Write a value as it is stored."""
    return _encode(value)


def put(connection: apsw.Connection, name: str, value: bytes | None) -> None:
    """Store a value, or, with None, forget it."""
    if value is None:
        connection.execute("DELETE FROM memo WHERE NAME = ?", (name,))
    else:
        connection.execute(_PUT, (name, value))


def get(connection: apsw.Connection, name: str) -> bytes | None:
    """Read a value, None if there is none."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT VALUE FROM memo WHERE NAME = ?", (name,)
    ).fetchall()
    return bytes(rows[0][0]) if rows else None


def page(connection: apsw.Connection, *, after: str, limit: int) -> tuple[MemoRow, ...]:
    """Read the memos behind a name, as many as `limit` at most."""
    rows: list[tuple[Any, ...]] = connection.execute(_PAGE, (after, limit)).fetchall()
    return tuple((name, value) for name, value in rows)


def take(connection: apsw.Connection, rows: Sequence[MemoRow]) -> None:
    """Write memos that another replica has."""
    connection.executemany(_PUT, rows)


def fed(connection: apsw.Connection, range_id: str) -> Fed | None:
    """Read how far a range's log is read into this one. Raises: Corrupt."""
    value = get(connection, fed_name(range_id))
    return None if value is None else _decoded(_decode_fed, value, connection)


def reader(connection: apsw.Connection, reader_id: str) -> Reader | None:
    """Read a reader of this range. Raises: Corrupt."""
    return readers(connection, reader_id).get(reader_id)


def readers(connection: apsw.Connection, reader_id: str = "") -> dict[str, Reader]:
    """Read the readers of this range's log by their ids, or one. Raises: Corrupt."""
    low = _READER + reader_id
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT NAME, VALUE FROM memo WHERE NAME >= ? AND NAME < 'reader0'", (low,)
    ).fetchall()
    if not rows:
        return {}
    [(range_id,)] = connection.execute("SELECT RANGE_ID FROM meta").fetchall()
    return {
        name.removeprefix(_READER): _decoded(_decode_reader, value, connection).in_range(
            str(range_id)
        )
        for name, value in rows
    }


class Wanted(msgspec.Struct, frozen=True):
    """What readers want of the log: all behind a record, and these attributes of older items.

    None: nobody wants anything.
    """

    after_seq: int | None = None
    names: tuple[str, ...] | None = None


_NOTHING: Final = Wanted()


def wanted(connection: apsw.Connection) -> Wanted:
    """Say what all readers that are not lost want. Raises: Corrupt."""
    found = [each for each in readers(connection).values() if not each.is_lost]
    if not found:
        return _NOTHING
    return Wanted(
        min(each.fed_seq for each in found),
        tuple(sorted({name for each in found for name in each.names})),
    )


def noted(connection: apsw.Connection, name: str, value: bytes | None, *, seq: int) -> bytes | None:
    """Give what is to be stored of a reader by the record `seq`: where it begins, if it is new.

    Returns: the value; of one that is stored and new to who notes it, the stored value.
    """
    if value is None:
        return None
    reader: Reader = _decoded(_decode_reader, value, connection)
    stored = get(connection, name)
    if not reader.begun_seq:
        return stored or encode(msgspec.structs.replace(reader, begun_seq=seq, fed_seq=seq))
    if stored is None:
        return value
    return encode(reader.behind(_decoded(_decode_reader, stored, connection)))


def _decoded(decode: Any, value: bytes, connection: apsw.Connection) -> Any:
    try:
        return decode(value)
    except msgspec.MsgspecError:
        name = connection.filename.rpartition("/")[2]
        raise Corrupt("A memo is none that can be read.", file=name, where="memo") from None
