"""Which version of an entry is the newest committed one, for entries that were in use lately.

With the entry itself in `EntryCache` a read is then two look-ups, and no statement of SQL.

Invariant: what `get` returns is the version of the newest committed entry. Only the range's one
writer changes entries, and everything here happens on the event loop. A batch that it commits there
is noted in the same turn. Before a batch goes to a thread its entries are forgotten, and until it
has come back nothing that is read is noted: it may be old by the time it is asked for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Per open file, in each of two generations; a key and a version take about 250 bytes.
_GENERATION_MAX: Final = 32_768


class NewestVersions:
    """A bounded two-generation map from RID_ID to version, of one range file."""

    __slots__ = ("_is_away", "_old", "_young")

    def __init__(self) -> None:
        """Begin empty."""
        self._young: dict[bytes, str] = {}
        self._old: dict[bytes, str] = {}
        self._is_away = False

    def get(self, rid_id: bytes) -> str | None:
        """Return the newest version of an entry, or None if it is not known (or there is none)."""
        version = self._young.get(rid_id)
        if version is None:
            version = self._old.get(rid_id)
            if version is not None:
                self.note(rid_id, version)
        return version

    def note(self, rid_id: bytes, version: str) -> None:
        """Remember what was committed in this turn."""
        if len(self._young) >= _GENERATION_MAX:
            self._old, self._young = self._young, {}
        self._young[rid_id] = version

    def note_read(self, rid_id: bytes, version: str) -> None:
        """Remember what was read in this turn, unless a batch is in a thread."""
        if not self._is_away:
            self.note(rid_id, version)

    def forget(self, rid_id: bytes) -> None:
        """Forget an entry: it is deleted, or about to change."""
        self._young.pop(rid_id, None)
        self._old.pop(rid_id, None)

    def handed_over(self, rid_ids: Iterable[bytes]) -> None:
        """Forget what a batch may change that goes to a thread now."""
        self._is_away = True
        for rid_id in rid_ids:
            self.forget(rid_id)

    def handed_over_whole(self) -> None:
        """Forget everything: what goes to a thread now may change any entry."""
        self._is_away = True
        self._young.clear()
        self._old.clear()

    def came_back(self) -> None:
        """Note what is read again: the batch in the thread has ended."""
        self._is_away = False
