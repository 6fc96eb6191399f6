"""Records of a range that were committed just now, for its lanes: they spare its file a reading.

As a batch is committed and durable its records are in memory. A lane that keeps up with what is
written takes them from here; one that is behind reads its log. What all lanes have had goes, so
what is kept is what was written while they told the last of it, and it is bounded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from dstore.base.feed_limits import (
    INDEX_LOOP_ROWS,
    INDEX_RECENT_BYTES,
    INDEX_RECENT_BYTES_SUM,
)
from dstore.base.limits import LOOP_BATCH_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.storage.log_records import LogRecord


@dataclass(slots=True)
class RecentBytes:
    """What the ranges of a node keep, all together."""

    count: int = 0


class RecentRecords:
    """The newest records of one range, without a gap. Used from one event loop."""

    __slots__ = ("_all", "_bytes", "_fed", "_records")

    def __init__(self, all_bytes: RecentBytes) -> None:
        """Begin with none; `all_bytes` counts those of other ranges too."""
        self._all = all_bytes
        self._bytes = 0
        self._records: deque[LogRecord] = deque()
        self._fed: dict[str, int] = {}  # up to where each lane has had the log

    def add(self, records: Sequence[LogRecord]) -> None:
        """Hear of a batch that is committed and durable; where that is too much the oldest go."""
        if not self._fed or not records:
            return
        if self._records and records[0].seq != self._records[-1].seq + 1:
            self.clear()
        if records[-1].seq - records[0].seq != len(records) - 1:  # not all of it was written down
            self.clear()
            return
        self._records.extend(records)
        self._count(sum([record.size_bytes for record in records]))
        while self._bytes > INDEX_RECENT_BYTES:
            self._count(-self._records.popleft().size_bytes)
        if self._all.count > INDEX_RECENT_BYTES_SUM:
            self.clear()

    def read(
        self, *, after_seq: int, last_seq: int, records_max: int, bytes_max: int
    ) -> Sequence[LogRecord] | None:
        """Read on behind a record, not beyond `last_seq`; None: ask the file.

        At least one record, and as many as `log_reading.read_window` would.
        """
        records = self._records
        if not records or not records[0].seq <= after_seq + 1 <= last_seq <= records[-1].seq:
            return None
        start = after_seq + 1 - records[0].seq
        found: list[LogRecord] = []
        size_bytes = 0
        for record in islice(records, start, start + min(last_seq - after_seq, records_max)):
            found.append(record)
            size_bytes += record.size_bytes
            if size_bytes >= bytes_max:
                break
        return found

    def fed(self, lane: str, seq: int) -> None:
        """Hear up to where a lane has had the log: what all have had is let go."""
        self._fed[lane] = seq
        least = min(self._fed.values())
        while self._records and self._records[0].seq <= least:
            self._count(-self._records.popleft().size_bytes)

    def forget(self, lane: str) -> None:
        """Hear that a lane has ended; with the last one everything is let go."""
        self._fed.pop(lane, None)
        if not self._fed:
            self.clear()

    def clear(self) -> None:
        """Let go of everything."""
        self._records.clear()
        self._count(-self._bytes)

    def _count(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        self._all.count += size_bytes


def is_short(records: Sequence[LogRecord]) -> bool:
    """Tell whether the event loop may make rows of records."""
    if len(records) > INDEX_LOOP_ROWS:
        return False
    return sum([record.size_bytes for record in records]) <= LOOP_BATCH_BYTES_MAX
