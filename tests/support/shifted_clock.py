"""Run dStore on a machine whose wall clock is off: `-m tests.support.shifted_clock SECONDS …`.

What follows the seconds is a command line that would start it, `python -m dstore serve …`. As a
`Server.prefix` it becomes the server and keeps its process id.
"""

from __future__ import annotations

import sys
from typing import Final

from dstore import daemon
from dstore.__main__ import main
from dstore.base.clock import US_PER_S, SystemClock

HERE: Final = (sys.executable, "-m", "tests.support.shifted_clock")
_PROGRAM_WORDS: Final = 3  # python -m dstore


def shifted_by(seconds: int) -> type[SystemClock]:
    """Make a clock that is so many seconds ahead, and runs at the machine's pace."""

    class ShiftedClock(SystemClock):
        """The machine's clock, and some."""

        __slots__ = ()

        def wall_us(self) -> int:
            """Return microseconds since 1970, shifted."""
            return super().wall_us() + seconds * US_PER_S

    return ShiftedClock


if __name__ == "__main__":
    vars(daemon)["SystemClock"] = shifted_by(int(sys.argv[1]))
    sys.argv = ["dstore", *sys.argv[2 + _PROGRAM_WORDS :]]
    sys.exit(main())
