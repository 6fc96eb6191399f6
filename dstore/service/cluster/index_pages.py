"""Pages of the entries that an index is filled with, and the turns in which they are read and told.

While clients ask the node for anything a page is short, and the event loop reads it, as it does
clients' own short requests; one lane of the node at a time has its turn, and behind it all rest for
as long as it took. The busier the node, the longer a page waits for what it shares with requests:
so the rest is as long as they need it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dstore.base.feed_limits import (
    INDEX_FETCHED_ROWS,
    INDEX_LOOP_SCANNED_BYTES,
    INDEX_LOOP_SCANNED_ITEMS,
    INDEX_SCANNED_BYTES,
    INDEX_SCANNED_ITEMS,
    INDEX_ZONE_ITEMS,
    INDEX_ZONES_MAX,
)
from dstore.model.keys import HASH_BYTES
from dstore.service import index_changes
from dstore.storage import fetching, log_reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from dstore.base.clock import Clock
    from dstore.model.index_rows import IndexShape
    from dstore.model.ranges import RangeRef
    from dstore.model.tables import TableDefinition
    from dstore.service.expiring.effort import Effort
    from dstore.storage.feeding import FedRow
    from dstore.storage.log_reading import EntryPage
    from dstore.storage.log_records import LogRecord
    from dstore.storage.range_file import RangeFile


class FillTurns:
    """When lanes of a node may look at entries, all of them together. Used from one event loop."""

    def __init__(self, clock: Clock, effort: Effort) -> None:
        """Begin with a turn that is due; `effort` tells whether clients ask for anything."""
        self._now_ns = clock.monotonic_ns
        self._effort = effort
        self._rested_ns = 0  # from when on the next page may be read
        self._took_ns = 0  # the last one

    @property
    def is_serving(self) -> bool:
        """Whether clients ask the node for anything."""
        return self._effort.is_serving

    @property
    def is_due(self) -> bool:
        """Whether a page may be read now."""
        return not self.is_serving or self._now_ns() >= self._rested_ns

    def begin(self) -> None:
        """Hear that a page is read now: it takes about as long as the last one."""
        self._rested_ns = self._now_ns() + self._took_ns

    def end(self, took_ns: int) -> None:
        """Hear how long it took to read a page and to have it taken."""
        self._took_ns = took_ns
        self._rested_ns = max(self._rested_ns, self._now_ns() + took_ns)


async def read_page(
    open_file: Callable[[], Awaitable[RangeFile]],
    shape: IndexShape,
    base: TableDefinition,
    *,
    after: bytes,
    before: bytes | None,
    is_short: bool,
) -> tuple[EntryPage, Sequence[FedRow]]:
    """Read the next entries of a range between two keys, as of one record, and make rows of them.

    A thread does it, since that takes up to 30 ms, unless it `is_short`. Raises: Corrupt.
    """
    items_max = INDEX_LOOP_SCANNED_ITEMS if is_short else INDEX_SCANNED_ITEMS
    bytes_max = INDEX_LOOP_SCANNED_BYTES if is_short else INDEX_SCANNED_BYTES

    def read(connection: Any) -> tuple[EntryPage, Sequence[FedRow]]:
        page = log_reading.read_entries(
            connection, after=after, before=before, entries_max=items_max, bytes_max=bytes_max
        )
        rows = index_changes.rows_of_entries(page.entries, shape, base, position=page.position)
        return page, rows

    if not is_short:
        return await (await open_file()).look(read)
    fetch = partial(fetching.behind, after=after, rows=INDEX_FETCHED_ROWS)
    return await fetching.read_at_hand(open_file, read, fetch=fetch)


def zone_end(ref: RangeRef, begin: bytes, *, entries: int) -> bytes | None:
    """Give where the zone of a range ends that begins at a key; None: it is the last one.

    The keys of a zone have hashes of their own. There is one for INDEX_ZONE_ITEMS `entries`.
    """
    zones = min(max(1, entries // INDEX_ZONE_ITEMS), INDEX_ZONES_MAX)
    width = -(-(ref.high - ref.low + 1) // zones)
    low = max(ref.low, int.from_bytes(begin[:HASH_BYTES].ljust(HASH_BYTES, b"\0"), "big"))
    end = low + width
    return None if end > ref.high else end.to_bytes(HASH_BYTES, "big")


def within(records: Iterable[LogRecord], told_below: bytes | None) -> Sequence[LogRecord]:
    """Leave out the records of keys that an index is not told of yet: it is filled with those."""
    if told_below is None:
        return tuple(records)
    return tuple([each for each in records if each.rid_id < told_below])
