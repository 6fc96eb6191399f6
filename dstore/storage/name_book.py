"""The names of a range's writes as its one writer uses them: those of the batch under way too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.limits import NAMES_ROWS_TRIMMED
from dstore.storage import brief_names
from dstore.storage.name_index import NameIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from dstore.storage.brief_names import NamedAnswer
    from dstore.storage.name_index import HeldNames

_TRIMMED_EVERY: Final = NAMES_ROWS_TRIMMED // 2  # rows


class NameBook:
    """What a range's writer knows of names.

    Invariant: a name is in the index only once its write is committed. `begin` forgets those of a
    batch that was not.
    """

    def __init__(self, held: HeldNames) -> None:
        """Know nothing yet: the file is read when a name is asked for."""
        self.is_read = False
        self._index = NameIndex(held)
        self._batch: dict[bytes, tuple[NamedAnswer, int]] = {}  # and the record's SEQ
        self._rows: list[tuple[Sequence[bytes], int]] = []  # that the batch has written
        self._untrimmed = 0  # rows

    def read(self, connection: apsw.Connection, *, time_us: int) -> None:
        """Read the names that the file has; 0.35 s for as many as one may have."""
        self._index.clear()
        for seq, names in brief_names.rows_since(connection, time_us=time_us):
            self._index.note(names, seq)
        self.is_read = True

    def forget(self) -> None:
        """Read the file again when the next name is asked for: somebody else has written to it."""
        self._index.clear()
        self.is_read = False

    def begin(self) -> None:
        """Begin a batch."""
        self._batch.clear()
        self._rows = []

    def find(self, connection: apsw.Connection, name: bytes, *, time_us: int) -> NamedAnswer | None:
        """Return what a name was answered; None: it is not known, or not any more."""
        noted = self._batch.get(name)
        if noted is not None:
            return noted[0]
        seq = self._index.find(name)
        if seq is None:
            return None
        return brief_names.find(connection, name, seq=seq, time_us=time_us)

    def note(self, named: NamedAnswer, *, seq: int) -> None:
        """Hear of a write of the batch, and of its record."""
        self._batch[named.name] = named, seq

    def take_back(self, name: bytes) -> None:
        """Hear that a write of the batch was undone."""
        self._batch.pop(name, None)

    def write(self, connection: apsw.Connection, *, time_us: int) -> None:
        """Write the batch's names in its transaction."""
        if not self._batch:
            return
        rows = brief_names.Rows(connection)
        for named, seq in self._batch.values():
            rows.add(named, seq=seq, time_us=time_us)
        rows.finish()
        self._rows = rows.written
        self._untrimmed += len(rows.written)
        while self._untrimmed >= _TRIMMED_EVERY:
            self._untrimmed -= _TRIMMED_EVERY
            brief_names.trim(connection, seq=seq, time_us=time_us)

    def committed(self) -> None:
        """Hear that the batch is committed."""
        for names, seq in self._rows:
            self._index.note(names, seq)
        self._rows = []
