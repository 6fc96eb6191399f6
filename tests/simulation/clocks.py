"""A machine's clock: it runs a little fast or slow, and its wall clock may be set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S, US_PER_S

if TYPE_CHECKING:
    import asyncio

_BEGIN_US: Final = 1_800_000_000 * US_PER_S  # a day in 2027
_BOOT_NS: Final = 1_000 * NS_PER_S  # what the monotonic clock says at the beginning


class SimClock:
    """The product's `Clock` over virtual time."""

    __slots__ = ("_base_ns", "_base_s", "_loop", "_rate", "shift_us")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, rate: float = 1.0) -> None:
        """Begin now; the clock gains `rate` - 1 seconds a second, |rate - 1| small."""
        self._loop = loop
        self._rate = rate
        self._base_ns = _BOOT_NS
        self._base_s = loop.time()
        self.shift_us = 0  # of the wall clock; change it to set that clock

    def wall_us(self) -> int:
        """Return microseconds since 1970, as this machine believes."""
        return _BEGIN_US + self.monotonic_ns() // 1_000 + self.shift_us

    def monotonic_ns(self) -> int:
        """Return nanoseconds since this machine's boot; never goes back."""
        return self._base_ns + int((self._loop.time() - self._base_s) * self._rate * NS_PER_S)

    def set_rate(self, rate: float) -> None:
        """Gain `rate` - 1 seconds a second from now on."""
        self._base_ns, self._base_s = self.monotonic_ns(), self._loop.time()
        self._rate = rate

    def skip(self, seconds: float) -> None:
        """Let time have passed at once, as on a machine that was suspended; `seconds` >= 0."""
        self._base_ns += int(seconds * NS_PER_S)
