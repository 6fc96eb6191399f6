"""How the process ends when it cannot keep a promise any more.

After a failed commit or sync nobody knows what is on the disk; the next start finds it out. Clients
whose writes were under way are told so, which takes a moment: their answers leave first, nothing
new is taken on meanwhile, and then the process ends, whatever the event loop does.
"""

import os
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Final

from dstore.base.logging import get_logger

EXIT_FATAL: Final = 70  # EX_SOFTWARE: the process ended itself to keep a promise
GRACE_S: Final = 0.2  # answers that are ready leave within a few turns of the loop, ~1 ms each

_log: Final = get_logger(__name__)


class Ending:
    """Ends the process, once; may be called from any thread."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        *,
        refuse: Callable[[], None],
        say: Callable[[BaseException], object] = lambda _error: None,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        """Prepare.

        Args:
            loop: whose answers are to leave.
            refuse: is called on the loop; from then on it takes no new requests.
            say: tells whoever operates it of the failure, at once.
            end: is called with EXIT_FATAL, GRACE_S after the failure, in a thread of its own.
        """
        self._loop = loop
        self._refuse = refuse
        self._say = say
        self._end = end
        self._lock = Lock()
        self._has_begun = False

    def __call__(self, error: BaseException) -> None:
        """Log the failure, refuse new requests, and end the process soon."""
        with self._lock:
            if self._has_begun:
                return
            self._has_begun = True
        # A thread and no timer of the loop: it ends the process even if the loop hangs.
        Thread(target=self._end_soon, name="ending", daemon=True).start()
        _log.error("fatal", exc_info=error)
        self._say(error)
        with suppress(RuntimeError):  # the loop is closed: nobody is served any more
            self._loop.call_soon_threadsafe(self._refuse)

    def _end_soon(self) -> None:
        time.sleep(GRACE_S)
        self._end(EXIT_FATAL)
