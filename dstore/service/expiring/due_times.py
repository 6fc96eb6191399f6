"""When ranges have something due next: those that have nothing due cost nothing."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

_STALE_MAX: Final = 1_024  # entries of the heap that count no more, before it is made anew


class DueTimes:
    """The next time of each range, in wall seconds. Used from one event loop."""

    def __init__(self) -> None:
        """Begin with none."""
        self._at_s: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        """Count the ranges that have something due some day."""
        return len(self._at_s)

    def set(self, range_id: str, at_s: int | None) -> None:
        """Say when a range has something due next; None: it has nothing."""
        if at_s is None:
            self._at_s.pop(range_id, None)
            return
        if self._at_s.get(range_id) == at_s:
            return
        self._at_s[range_id] = at_s
        heappush(self._heap, (at_s, range_id))
        if len(self._heap) > 2 * len(self._at_s) + _STALE_MAX:
            self._heap = [(at, each) for each, at in self._at_s.items()]
            heapify(self._heap)

    def sooner(self, range_id: str, at_s: int) -> bool:
        """Say that a range has something due then. Returns: whether that is news."""
        known_s = self._at_s.get(range_id)
        if known_s is not None and known_s <= at_s:
            return False
        self.set(range_id, at_s)
        return True

    @property
    def first_s(self) -> int | None:
        """The earliest time of all."""
        while self._heap:
            at_s, range_id = self._heap[0]
            if self._at_s.get(range_id) == at_s:
                return at_s
            heappop(self._heap)
        return None

    def take(self, *, now_s: int) -> str | None:
        """Take a range out that has something due, whose time came first; None: none has."""
        first_s = self.first_s
        if first_s is None or first_s > now_s:
            return None
        _, range_id = heappop(self._heap)
        del self._at_s[range_id]
        return range_id
