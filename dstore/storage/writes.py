"""What is written to a range's file: `apply(previous) → outcome`, and what came of it.

I3: a write is a pure function of the item before it, so it may be evaluated again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from dstore.model.values import Item
from dstore.storage import range_log
from dstore.storage.entries import Entry
from dstore.storage.feeding import Feeding, Rows
from dstore.storage.log_records import LogPoint, LogRecord
from dstore.storage.requests import RequestName

WRITE_OVERHEAD_BYTES: Final = 512  # of a queued write beyond its item


class Put(msgspec.Struct, frozen=True):
    """Store this item, replacing what is there.

    `touched` are the paths that an update wrote or removed, for its answer.
    """

    item: Item
    touched: tuple[tuple[str | int, ...], ...] = ()


class Delete(msgspec.Struct, frozen=True):
    """Remove the entry, if there is one."""


class Expire(Delete, frozen=True):
    """Remove the entry since its time is over: the service does it, no client."""


Outcome = Put | Delete
Apply = Callable[[Entry | None], Outcome]
"""Decide from the entry before. Pure. Raises Refused or ConditionFailed to write nothing."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write of one entry; `rid_id` and `entry_hash` are its key, encoded and hashed.

    `answer` makes what a repetition of a brief name is told besides what `Applied` says anyway, as
    bytes; it is pure, asked before the write has a version, and raises what `apply` may. With
    `feeding` it is no write of one entry, but what `feeding.fed` makes.
    """

    rid_id: bytes
    entry_hash: int
    apply: Apply
    request: RequestName | None = None
    answer: Callable[[Applied], bytes | None] | None = None
    feeding: Feeding | None = None


def rid_ids_of(writes: Sequence[Write]) -> list[bytes]:
    """List the entries that writes may change."""
    found = [write.rid_id for write in writes]
    for write in writes:
        if isinstance(write.feeding, Rows):
            found += [row.rid_id for row in write.feeding.rows]
    return found


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a write did: whether there was an entry before, and the version there is now.

    `previous` is None when nothing was there. When a repeated request is answered again, both it
    and `outcome`, what the write decided, are None: only the answer was kept. `answer` is what
    `Write.answer` has made. `collection_bytes` are what the entries of the partition key count,
    0 where nobody counts them (`local_indexes`) or the request was done before.
    """

    existed: bool
    version: str | None
    previous: Entry | None = None
    outcome: Outcome | None = None
    answer: bytes | None = None
    collection_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A batch that is evaluated in an open transaction, and whose records others are to hold first.

    `records` follow `before`; there are none if nobody wants to read any. If the log ends where it
    did the transaction has ended: nothing is to be written.
    """

    answers: Sequence[Applied | Exception]
    records: Sequence[LogRecord]
    before: LogPoint
    end: range_log.LogEnd

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be written."""
        return self.end.seq == self.before.seq
