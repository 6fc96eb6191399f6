"""Entries that were read or written lately, by their versions.

An entry's version is the beginning of a digest over its range, its key, its content and all that
was written before it, and is never used twice: not in another range either, whose entries have
other key attributes (`RangeFiles` begins each range's chain with its id). So what has the version
that the entry's head row shows is that entry, whoever changed the file meanwhile: nothing has to be
invalidated, neither by other threads nor by a rollback. A read costs the head row instead of all of
them.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from dstore.base.limits import LOOP_ENTRY_BYTES_MAX

if TYPE_CHECKING:
    from dstore.storage.entries import Entry


class EntryCache:
    """A bounded two-generation cache, as the vault's of pages: what is looked up becomes young.

    Large entries are not kept: copying them costs more than decoding their rows.
    """

    __slots__ = ("_generation_bytes_max", "_old", "_turning", "_young", "_young_bytes")

    def __init__(self, *, bytes_max: int) -> None:
        """Make an empty cache of at most about `bytes_max`; 0 keeps nothing for long."""
        self._generation_bytes_max = bytes_max // 2
        self._young: dict[str, Entry] = {}
        self._old: dict[str, Entry] = {}
        self._young_bytes = 0
        self._turning = Lock()

    def get(self, version: str) -> Entry | None:
        """Return the entry of a version, or None."""
        entry = self._young.get(version)
        if entry is None:
            entry = self._old.get(version)
            if entry is not None:
                self.put(entry)
        return entry

    def put(self, entry: Entry, *, instead_of: Entry | None = None) -> None:
        """Remember an entry, and forget the one that it replaces: nobody will ask for that."""
        if entry.data_bytes > LOOP_ENTRY_BYTES_MAX:
            return
        with self._turning:
            if instead_of is not None and self._young.pop(instead_of.version, None) is not None:
                self._young_bytes -= instead_of.weight_bytes
            self._young_bytes += entry.weight_bytes
            if self._young_bytes > self._generation_bytes_max:
                self._old, self._young, self._young_bytes = self._young, {}, 0
            self._young[entry.version] = entry
