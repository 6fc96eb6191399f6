"""Time, behind a port, so that a test or a simulation owns it (invariant I13: every seed replays).

Only this file reads the machine's clocks. Take a `Clock` as a parameter elsewhere.
"""

import time
from typing import Final, Protocol

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
US_PER_MS: Final = 1_000
US_PER_S: Final = 1_000_000


class Clock(Protocol):
    """Tell wall time and elapsed time."""

    def wall_us(self) -> int:
        """Return microseconds since 1970-01-01 UTC; may jump either way when the clock is set."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary start of this boot; never goes back."""


def thread_ns() -> int:
    """Return nanoseconds that the calling thread was at work: of CPU, not of waiting for it."""
    return time.thread_time_ns()


class SystemClock:
    """Read the machine's clocks."""

    __slots__ = ()

    def wall_us(self) -> int:
        """Return microseconds since 1970-01-01 UTC."""
        return time.time_ns() // NS_PER_US

    def monotonic_ns(self) -> int:
        """Return nanoseconds of CLOCK_BOOTTIME.

        CLOCK_MONOTONIC stands still while a machine is suspended; a lease does not, so elapsed time
        counts the suspension (RELIABILITY.md, B1).
        """
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
