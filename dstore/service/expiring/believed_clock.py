"""The wall clock by which items expire: set ahead by far, it is not believed at once.

What is removed early is gone for good, and what goes late harms nobody. A process whose clock is
off when it begins is refused by all others of its cluster (`peers.greeting`); one whose clock is
set wrong while it runs goes on with the time as it was until somebody had EXPIRY_BELIEVED_S to see
the log, and put it right. Being set back is believed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S, NS_PER_US, US_PER_S
from dstore.base.expiry_limits import EXPIRY_BELIEVED_S, EXPIRY_JUMP_S
from dstore.base.logging import get_logger

if TYPE_CHECKING:
    from dstore.base.clock import Clock

_log: Final = get_logger(__name__)


class BelievedClock:
    """A wall clock that doubts itself; what it was set by between two looks counts, so look often.

    Used from one event loop.
    """

    def __init__(self, clock: Clock) -> None:
        """Believe what the clock says now."""
        self._clock = clock
        self._offset_us = self._found_us()  # of the wall clock that is believed, to the monotonic
        self._jumped_ns: int | None = None  # when it was seen to be ahead, monotonic

    def wall_us(self) -> int:
        """Tell the time, in microseconds since 1970."""
        now_ns, found_us = self._clock.monotonic_ns(), self._found_us()
        ahead_us = found_us - self._offset_us
        if ahead_us <= EXPIRY_JUMP_S * US_PER_S:
            if self._jumped_ns is not None:
                _log.info("clock_put_right")
            self._offset_us, self._jumped_ns = found_us, None
        elif self._jumped_ns is None:
            self._jumped_ns = now_ns
            _log.error(
                "clock_set_ahead", ahead_s=ahead_us // US_PER_S, believed_in_s=EXPIRY_BELIEVED_S
            )
        elif now_ns - self._jumped_ns >= EXPIRY_BELIEVED_S * NS_PER_S:
            _log.warning("clock_believed", ahead_s=ahead_us // US_PER_S)
            self._offset_us, self._jumped_ns = found_us, None
        return now_ns // NS_PER_US + self._offset_us

    def _found_us(self) -> int:
        return self._clock.wall_us() - self._clock.monotonic_ns() // NS_PER_US
