"""How many entries there are: in each range, as its file says or as last noted, and in all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.model.index_rows import added
from dstore.model.ranges import RangeCount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dstore.model.index_rows import IndexSize
    from dstore.model.ranges import RangeRef
    from dstore.storage.range_files import RangeFiles


_NOTHING: Final = RangeCount(0)


class RangeCounts:
    """The counts of the ranges held here. Used from one event loop."""

    def __init__(self, files: RangeFiles) -> None:
        """Count what is in `files`, of the ranges that are counted in."""
        self._files = files
        self._noted: dict[str, RangeCount] = {}
        self._untold: dict[str, RangeCount] = {}  # what the database has not been told
        self._sum = 0

    def count_in(self, range_id: str, count: RangeCount) -> None:
        """Take a range in, with its count as the database has it."""
        self._noted[range_id] = count
        self._sum += count.entries

    def count_out(self, range_id: str) -> None:
        """Forget a range that is gone."""
        self._sum -= self._noted.pop(range_id).entries
        self._untold.pop(range_id, None)

    def quantity(self, refs: Iterable[RangeRef]) -> int:
        """Count the entries of ranges: exactly where the file was opened by now, else as noted."""
        return sum(self._count(ref.range_id).entries for ref in refs)

    def index_sizes(self, refs: Iterable[RangeRef]) -> dict[str, IndexSize]:
        """Count in the same way what the local indexes of a table have, by their names."""
        return added(self._count(ref.range_id).indexes for ref in refs)

    def size_bytes(self, refs: Iterable[RangeRef]) -> int:
        """Measure the databases of ranges: their pages, or two look-ups in a folder each."""
        return sum(self._files.size_bytes(ref.range_id) for ref in refs)

    def sum(self) -> int:
        """Count the entries of all ranges; costs what changed since the last time."""
        self._take_changes()
        return self._sum

    def untold(self) -> Sequence[tuple[str, RangeCount]]:
        """Take the counts that the database has to be told, by range id."""
        self._take_changes()
        taken, self._untold = self._untold, {}
        return list(taken.items())

    def tell_again(self, counts: Iterable[tuple[str, RangeCount]]) -> None:
        """Put back what the database could not be told; what has changed since is newer."""
        before = {range_id: count for range_id, count in counts if range_id in self._noted}
        self._untold = before | self._untold

    def _count(self, range_id: str) -> RangeCount:
        return self._files.count(range_id) or self._noted.get(range_id, _NOTHING)

    def _take_changes(self) -> None:
        for range_id, count in self._files.take_changed_counts().items():
            noted = self._noted.get(range_id)
            if noted is not None and noted != count:
                self._sum += count.entries - noted.entries
                self._noted[range_id] = self._untold[range_id] = count
