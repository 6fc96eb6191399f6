"""A walk over a part of a range's entries, which may begin on one connection and end on another.

It goes by the entries' keys or by those of a local index (`index_scan`), the same way.

The event loop walks as long as the pages are resident and the walk is short; a thread goes on
behind the last entry that was handed over. Each entry is whole, as of one commit; two entries may
be of different commits (a Query or Scan is read-committed as a unit).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.limits import LOOP_BYTES_MAX, LOOP_ROWS_MAX
from dstore.storage.entries import read_entry, read_heads, scan_entries
from dstore.storage.index_scan import read_index_heads, scan_index

if TYPE_CHECKING:
    from collections.abc import Generator

    import apsw

    from dstore.storage.entries import Entry
    from dstore.storage.entry_cache import EntryCache

_HEADS_AT_ONCE: Final = 12  # a query of ten entries is one statement
_NEXT: Final = b"\x00"  # the smallest bytes above x are x and a NUL


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The RID_IDs from `low` to `high`, the latter excluded, and which way they are walked.

    With `index`, the number of a local index, they are not the entries' keys but those of its rows.
    """

    low: bytes = b""
    high: bytes | None = None  # None: no end
    is_reverse: bool = False
    index: int | None = None

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

    def add(self, place: bytes, entry: Entry) -> None:
        """Take the next entry, by its RID_ID, or by the key of its row in the index."""


class Walk:
    """A span being walked for a collector. One thread at a time runs it."""

    __slots__ = ("_collector", "_rest", "is_over")

    def __init__(self, span: Span, collector: Collector) -> None:
        """Begin at the span's beginning."""
        self._rest = span
        self._collector = collector
        self.is_over = False

    def run(self, connection: apsw.Connection) -> None:
        """Walk until the collector is full or the span ends; for a thread."""
        collector = self._collector
        with closing(scan(connection, self._rest)) as found:
            for place, entry in found:
                collector.add(place, entry)
                if collector.is_full:
                    break
        self.is_over = True

    def run_short(self, connection: apsw.Connection, cache: EntryCache) -> None:
        """Walk for a short while: until the collector is full, the span ends, or a bound.

        The bounds are LOOP_ROWS_MAX, LOOP_BYTES_MAX and an entry that is large. Whatever is raised
        (a page is not resident), a later run goes on behind the last entry that was taken.
        """
        rows = 0
        collector = self._collector
        while True:
            heads = read_places(connection, self._rest, limit=_HEADS_AT_ONCE)
            taken = b""
            try:
                for place, rid_id, version in heads:
                    entry = cache.get(version) or read_entry(connection, rid_id, cache)
                    if entry is None:  # deleted since
                        continue
                    if entry.is_large:
                        return
                    collector.add(place, entry)
                    taken = place
                    rows += len(entry.cells) + 1
                    if collector.is_full:
                        self.is_over = True
                        return
                    if rows >= LOOP_ROWS_MAX or collector.scanned_bytes >= LOOP_BYTES_MAX:
                        return
            finally:
                if taken:
                    self._rest = self._rest.behind(taken)
            if len(heads) < _HEADS_AT_ONCE:
                self.is_over = True
                return


def read_places(
    connection: apsw.Connection, span: Span, *, limit: int
) -> list[tuple[bytes, bytes, str]]:
    """Read the first of a span: place, RID_ID and version, in its order, at most `limit`."""
    if span.index is not None:
        return read_index_heads(connection, span, limit=limit)
    return [
        (rid_id, rid_id, version) for rid_id, version in read_heads(connection, span, limit=limit)
    ]


def scan(connection: apsw.Connection, span: Span) -> Generator[tuple[bytes, Entry], None, None]:
    """Yield (place, entry) in the span's order, as `scan_entries` does."""
    return scan_entries(connection, span) if span.index is None else scan_index(connection, span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a scan: entries by RID_ID in key order, and whether more may follow.

    `size_bytes` is what they count towards the page's bound.
    """

    entries: tuple[tuple[bytes, Entry], ...]
    is_last: bool
    size_bytes: int = 0


def read_page(
    reader: apsw.Connection, after: bytes, before: bytes | None, *, limit: int, bytes_max: int
) -> Page:
    """Read entries between two keys, both exclusive; see `RangeFile.scan`."""
    found: list[tuple[bytes, Entry]] = []
    size_bytes = 0
    rows = scan_entries(reader, Span(high=before).behind(after))
    for rid_id, entry in rows:
        if len(found) == limit or size_bytes >= bytes_max:
            rows.close()
            return Page(entries=tuple(found), is_last=False, size_bytes=size_bytes)
        found.append((rid_id, entry))
        size_bytes += sum(map(len, entry.cells)) + entry.data_bytes
    return Page(entries=tuple(found), is_last=True, size_bytes=size_bytes)
