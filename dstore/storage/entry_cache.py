"""Entries that were read or written lately, by their versions.

An entry's version is the beginning of a digest over its range, its key, its content and all that
was written before it, or of random bits in place of these (ADR 0017), and is never used twice: not
in another range either, whose entries have other key attributes (`RangeFiles` begins each range's
chain with its id). So what has the version
that the entry's head row shows is that entry, whoever changed the file meanwhile: nothing has to be
invalidated, neither by other threads nor by a rollback. A read costs the head row instead of all of
them.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from dstore.base.limits import LOOP_ENTRY_BYTES_MAX

if TYPE_CHECKING:
    from dstore.storage.entries import Entry


class EntryCache:
    """A bounded cache: what was not looked up for the longest time makes room.

    One entry goes as another comes: to let go of many at once would stall the event loop. Large
    entries are not kept: copying them costs more than decoding their rows.
    """

    __slots__ = ("_bytes", "_bytes_max", "_changing", "_entries")

    def __init__(self, *, bytes_max: int) -> None:
        """Make an empty cache of at most about `bytes_max`; 0 keeps nothing."""
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str, Entry] = OrderedDict()  # the latest used last
        self._bytes = 0
        self._changing = Lock()

    def __len__(self) -> int:
        """Count the entries that are kept."""
        return len(self._entries)

    def get(self, version: str) -> Entry | None:
        """Return the entry of a version, or None."""
        entry = self._entries.get(version)
        if entry is not None:
            try:
                self._entries.move_to_end(version)
            except KeyError:  # another thread has just let go of it
                return entry
        return entry

    def put(self, entry: Entry, *, instead_of: Entry | None = None) -> None:
        """Remember an entry, and forget the one that it replaces: nobody will ask for that."""
        if entry.data_bytes > LOOP_ENTRY_BYTES_MAX:
            return
        entries = self._entries
        with self._changing:
            if instead_of is not None and entries.pop(instead_of.version, None) is not None:
                self._bytes -= instead_of.weight_bytes
            former = entries.pop(entry.version, None)
            if former is not None:
                self._bytes -= former.weight_bytes
            entries[entry.version] = entry
            self._bytes += entry.weight_bytes
            while self._bytes > self._bytes_max:
                self._bytes -= entries.popitem(last=False)[1].weight_bytes

    def clear(self) -> None:
        """Forget all of them."""
        with self._changing:
            self._entries.clear()
            self._bytes = 0
