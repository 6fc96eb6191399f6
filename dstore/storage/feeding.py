"""What is written to a range from the log of another one, or beside its entries: `Write.feeding`.

A feeding is evaluated as a whole, in one transaction: the rows that are new to the range, and the
cursor behind them. Rows below the cursor are left out, so that the same feeding may come again,
late too, and changes nothing (REPLICATION.md, log readers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

import msgspec

from dstore.base.feed_limits import (
    INDEX_FED_ROWS_MAX,
    INDEX_FORMERS_MAX,
    INDEX_LOOP_ROWS,
    MEMO_NAME_CHARS_MAX,
)
from dstore.base.limits import LOOP_BATCH_BYTES_MAX, RID_ID_BYTES_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.storage import memos
from dstore.storage.log_records import Epoch, Sequence64
from dstore.storage.memos import Fed

if TYPE_CHECKING:
    import apsw


class FedRow(msgspec.Struct, frozen=True, array_like=True):
    """What a record of the other range makes of one row here.

    `image` is the item's, as `range_log.append` writes it; None: the row goes. The position is of
    the record, or of the last one that an entry was read behind.
    """

    epoch: Epoch
    seq: Sequence64
    rid_id: Annotated[bytes, msgspec.Meta(max_length=RID_ID_BYTES_MAX)]
    image: bytes | None

    @property
    def position(self) -> tuple[int, int]:
        """Where in the other range's log it is of."""
        return self.epoch, self.seq


class Rows(msgspec.Struct, frozen=True, array_like=True):
    """Rows made of another range's log, in its order, up to the record of `epoch` and `last_seq`.

    `source` is that range, `formers` those whose log its own goes on, the oldest first.
    """

    source: Annotated[str, msgspec.Meta(max_length=MEMO_NAME_CHARS_MAX)]
    formers: Annotated[tuple[str, ...], msgspec.Meta(max_length=INDEX_FORMERS_MAX)]
    epoch: Epoch
    last_seq: Sequence64
    rows: Annotated[tuple[FedRow, ...], msgspec.Meta(max_length=INDEX_FED_ROWS_MAX)]


class MemoChange(msgspec.Struct, frozen=True, array_like=True):
    """A memo's new value; None: it goes."""

    name: str
    value: bytes | None


Feeding = Rows | MemoChange


class Taking(Protocol):
    """A batch, as a feeding changes what is in its range."""

    @property
    def next_seq(self) -> int:
        """Of the next record."""

    def change(self, rid_id: bytes, image: bytes | None) -> None:
        """Store an item as an entry, or with None remove it; what is so already is left alone."""

    def note(self, name: str, value: bytes | None) -> None:
        """Store a memo."""


def is_short(feeding: Feeding) -> bool:
    """Tell whether the event loop may do what a feeding says: that takes a few milliseconds."""
    if isinstance(feeding, MemoChange):
        return True
    rows = feeding.rows
    if len(rows) > INDEX_LOOP_ROWS:
        return False
    return sum([len(row.image) for row in rows if row.image]) <= LOOP_BATCH_BYTES_MAX


def take(connection: apsw.Connection, feeding: Feeding, batch: Taking) -> None:
    """Do what a feeding says, inside the batch's transaction.

    Raises: Corrupt. Refused (conflict): the other range has less of its log than this one has had.
    """
    if isinstance(feeding, MemoChange):
        _note(connection, feeding, batch)
        return
    cursor = memos.fed(connection, feeding.source)
    if cursor is None:
        cursor = _begin(connection, feeding, batch)
    if cursor.is_over:  # what comes late from before a split
        return
    for row in feeding.rows:
        if row.epoch > cursor.epoch and row.seq <= cursor.seq:  # no log has both
            raise Refused(RefusalKind.CONFLICT, "The range has lost records that were told here.")
        if row.position >= cursor.position:
            batch.change(row.rid_id, row.image)
    if (feeding.epoch, feeding.last_seq) > cursor.position:
        now = Fed(epoch=feeding.epoch, seq=feeding.last_seq)
        batch.note(memos.fed_name(feeding.source), memos.encode(now))


def _note(connection: apsw.Connection, change: MemoChange, batch: Taking) -> None:
    name, value = change.name, change.value
    if memos.is_reader(name):
        value = memos.noted(connection, name, value, seq=batch.next_seq)
    if value != memos.get(connection, name):
        batch.note(name, value)


def _begin(connection: apsw.Connection, feeding: Rows, batch: Taking) -> Fed:
    """Take over the cursor of the ranges before; nothing of theirs is taken from here on.

    Nor of those that have told nothing here yet: what they did tell may be what comes late. These
    marks stay: there are no more than a table has had ranges, twice RANGES_PER_TABLE_MAX.
    """
    position = (0, 0)
    for each in feeding.formers:
        fed = memos.fed(connection, each) or Fed()
        if not fed.is_over:
            ended = msgspec.structs.replace(fed, is_over=True)
            batch.note(memos.fed_name(each), memos.encode(ended))
        position = max(position, fed.position)
    epoch, seq = position
    return Fed(epoch=epoch, seq=seq)
