"""A walk over a part of a range's entries, which may begin on one connection and end on another.

The event loop walks as long as the pages are resident and the walk is short; a thread goes on
behind the last entry that was handed over. Each entry is whole, as of one commit; two entries may
be of different commits (a Query or Scan is read-committed as a unit).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from dstore.storage.entries import scan_entries

if TYPE_CHECKING:
    import apsw

    from dstore.storage.entries import Entry

_NEXT: Final = b"\x00"  # the smallest bytes above x are x and a NUL


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The RID_IDs from `low` to `high`, the latter excluded, and which way they are walked."""

    low: bytes = b""
    high: bytes | None = None  # None: no end
    is_reverse: bool = False

    def behind(self, rid_id: bytes) -> Span:
        """Give what is left of the walk behind an entry, be it inside the span or not."""
        if self.is_reverse:
            if self.high is not None and self.high <= rid_id:
                return self
            return replace(self, high=rid_id)
        return replace(self, low=max(self.low, rid_id + _NEXT))


class Collector(Protocol):
    """What takes the entries of a walk, one after another, on the event loop or in a thread."""

    @property
    def is_full(self) -> bool:
        """Whether it wants no more."""

    @property
    def scanned_bytes(self) -> int:
        """What it has taken so far, in bytes as it counts them."""

    def add(self, rid_id: bytes, entry: Entry) -> None:
        """Take the next entry."""


class Walk:
    """A span being walked for a collector. One thread at a time runs it."""

    __slots__ = ("_collector", "_rest", "is_over")

    def __init__(self, span: Span, collector: Collector) -> None:
        """Begin at the span's beginning."""
        self._rest = span
        self._collector = collector
        self.is_over = False

    def run(
        self,
        connection: apsw.Connection,
        *,
        rows_max: int | None = None,
        bytes_max: int | None = None,
    ) -> None:
        """Walk until the collector is full or the span ends, which sets `is_over`, or a bound.

        Whatever is raised (a page is not resident), a later run goes on behind the last entry that
        the collector took.

        Args:
            connection: where to read.
            rows_max: stop behind the entry with which so many rows were read.
            bytes_max: stop behind the entry with which the collector has taken so many bytes, and
                before one that is large.
        """
        collector = self._collector
        rows = 0
        taken = b""
        try:
            with closing(scan_entries(connection, self._rest)) as found:
                for rid_id, entry in found:
                    if bytes_max is not None and entry.is_large:
                        return
                    collector.add(rid_id, entry)
                    taken = rid_id
                    if collector.is_full:
                        self.is_over = True
                        return
                    rows += len(entry.cells) + 1
                    if (rows_max is not None and rows >= rows_max) or (
                        bytes_max is not None and collector.scanned_bytes >= bytes_max
                    ):
                        return
            self.is_over = True
        finally:
            if taken and not self.is_over:
                self._rest = self._rest.behind(taken)
