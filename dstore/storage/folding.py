"""Folding a long log into its file beside the writes, and at which pace.

SQLite lets go of the interpreter around each page, so a thread that folds and the event loop hand
it to and fro, and every request waits for that a few times. The thread therefore rests behind each
piece for several times as long as it was at work.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import apsw

from dstore.base.clock import NS_PER_S
from dstore.base.threads import pause
from dstore.storage.vault.residency import Residency

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dstore.storage.vault.vault import Vault

CHECKPOINT_ROUNDS_MAX: Final = 4  # each folds what was written during the one before
CHECKPOINT_REST_PAGES: Final = 256  # left for the pause between two batches: ~10 ms

RESTS: Final = 3  # times as long as a piece took of its thread
REST_S_MAX: Final = 0.05


class FoldPace:
    """The pace of one fold: calm until it is hurried. `rest` is called in the fold's thread."""

    def __init__(self, thread_ns: Callable[[], int]) -> None:
        """Begin calmly; `thread_ns` tells how long the calling thread has been at work."""
        self._thread_ns = thread_ns
        self._rested_ns: int | None = None
        self._is_hurried = False

    def hurry(self) -> None:
        """Rest no more: writes come faster than they are folded, or the file is to be closed."""
        self._is_hurried = True

    def rest(self) -> None:
        """Let others have the interpreter, behind a piece."""
        before, now = self._rested_ns, self._thread_ns()
        self._rested_ns = now
        if before is not None and now > before and not self._is_hurried:
            pause(min((now - before) / NS_PER_S * RESTS, REST_S_MAX))


def fold_most(vault: Vault, path: Path, pace: FoldPace) -> bool:
    """Fold most of a log on a connection of its own, in a thread.

    SQLite restarts the log only at a write that finds all of it folded, so what is written
    meanwhile is to be folded by the writer before its next batch.

    Args:
        vault: opens the file.
        path: of the file.
        pace: of this fold.
    Returns: whether the rest is the writer's now; if not, the next batch asks again.
    """
    with closing(vault.connect(path, residency=Residency(rest=pace.rest))) as connection:
        try:
            for _ in range(CHECKPOINT_ROUNDS_MAX):
                total, folded = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                if vault.log_pages(path) - folded < CHECKPOINT_REST_PAGES or total == folded == 0:
                    break
                pace.hurry()  # the writer must not be faster than the later rounds
        except apsw.BusyError:
            return False  # the writer folds the rest of the former round
    return True
