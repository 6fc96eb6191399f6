"""How long Python looks for reference cycles at a time: no thread of the process runs meanwhile."""

import gc
from typing import Final

from dstore.base.clock import NS_PER_S, Clock
from dstore.base.metrics import Gauge

_BEGINS: Final = "start"  # a look; the other phase that Python tells of is its end


class CollectorPauses:
    """Times each look, once it is among `gc.callbacks`.

    Python calls it wherever the next object is made, perhaps while a metric's lock is held: so it
    touches none, and the gauge asks for `longest_s`.
    """

    __slots__ = ("_began_ns", "_clock", "_longest_ns")

    def __init__(self, clock: Clock) -> None:
        """Begin at zero."""
        self._clock = clock
        self._began_ns = self._longest_ns = 0

    def __call__(self, phase: str, _counts: dict[str, int]) -> None:
        """Hear that a look begins or ends. There is one at a time, whatever the threads do."""
        now_ns = self._clock.monotonic_ns()
        if phase == _BEGINS:
            self._began_ns = now_ns
        else:
            self._longest_ns = max(self._longest_ns, now_ns - self._began_ns)

    def longest_s(self) -> float:
        """Give the longest look so far, in seconds."""
        return self._longest_ns / NS_PER_S


def measure_collector(gauge: Gauge, clock: Clock) -> None:
    """Have `gauge` show the longest look from now on, as long as the process lasts."""
    pauses = CollectorPauses(clock)
    gc.callbacks.append(pauses)
    gauge.set_function(pauses.longest_s)
