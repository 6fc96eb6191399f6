"""How many requests ranges get: counted where they arrive, told as a rate that stands still.

What a node says of itself is written to the coordinator when it changes (`cluster.own_keys`). A
rate changes all the time, so one is told that is an average over some rounds, rounded, and another
one only when it is no longer roughly that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    HEAT_NEWEST_PERCENT,
    HEAT_STEPS_DOUBLING_BITS,
    HEAT_TOLD_PERCENT,
    HEAT_TOLD_REQUESTS,
)
from dstore.base.split_limits import SAMPLE_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.base.clock import Clock

_HUNDRED: Final = 100


class RangeHeat:
    """The request rates of this process's ranges, by range id. Used from one event loop."""

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self.noted = 0  # requests, of all ranges, ever
        self._taken_ns = clock.monotonic_ns()
        self._counts: dict[str, int] = {}  # since the last look
        self._rates: dict[str, float] = {}  # requests a second, averaged; of those that get any
        self._told: dict[str, int] = {}
        self._watched: dict[str, list[bytes]] = {}

    def note(self, range_id: str, rid_id: bytes) -> None:
        """Count a request, be it a read, a write or a page; about 0.1 us.

        `rid_id` is whose, or where a page begins; b"" at the range's beginning.
        """
        self.noted += 1
        counts = self._counts
        counts[range_id] = counts.get(range_id, 0) + 1
        if self._watched and range_id in self._watched:
            seen = self._watched[range_id]
            if len(seen) < SAMPLE_REQUESTS and rid_id:
                seen.append(rid_id)

    def watch(self, range_id: str) -> Sequence[bytes]:
        """Gather the keys of a range's requests from now on, SAMPLE_REQUESTS of them at the most.

        Returns: what they are gathered in, until `unwatch`.
        """
        return self._watched.setdefault(range_id, [])

    def unwatch(self, range_id: str) -> None:
        """Gather them no longer."""
        self._watched.pop(range_id, None)

    def look(self) -> None:
        """Take what was counted since the last look into the rates; some seconds apart is right."""
        now_ns = self._clock.monotonic_ns()
        passed_s = (now_ns - self._taken_ns) / NS_PER_S
        if passed_s <= 0:
            return
        self._taken_ns = now_ns
        counts, self._counts = self._counts, {}
        for range_id in counts.keys() | self._rates.keys():
            newest = counts.get(range_id, 0) / passed_s
            before = self._rates.get(range_id, 0.0)
            rate = before + (newest - before) * HEAT_NEWEST_PERCENT / _HUNDRED
            self._tell(range_id, rate)

    def requests_per_s(self, range_id: str) -> int:
        """Say how many requests a range gets a second, roughly; 0 if hardly any."""
        return self._told.get(range_id, 0)

    def _tell(self, range_id: str, rate: float) -> None:
        if rate < 1:
            self._rates.pop(range_id, None)
            self._told.pop(range_id, None)
            return
        self._rates[range_id] = rate
        told = self._told.get(range_id, 0)
        apart = max(told * HEAT_TOLD_PERCENT / _HUNDRED, HEAT_TOLD_REQUESTS)
        if abs(rate - told) >= apart:
            self._told[range_id] = rounded(int(rate))


def rounded(rate: int) -> int:
    """Round a rate down to a few steps for each doubling."""
    surplus_bits = max(rate.bit_length() - HEAT_STEPS_DOUBLING_BITS - 1, 0)
    return rate >> surplus_bits << surplus_bits
