"""Folding a file's write-ahead log into it while it is written to."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import apsw

from dstore.storage.vault.residency import Residency

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.storage.vault.vault import Vault

CHECKPOINT_ROUNDS_MAX: Final = 4  # each folds what was written during the one before
CHECKPOINT_REST_PAGES: Final = 256  # left for the pause between two batches: ~10 ms


def fold_most(vault: Vault, path: Path) -> bool:
    """Fold most of a log on a connection of its own, in a thread.

    SQLite restarts the log only at a write that finds all of it folded, so what is written
    meanwhile is to be folded by the writer before its next batch.

    Returns: whether the rest is the writer's now; if not, the next batch asks again.
    """
    pace = Residency(yields=True)
    with closing(vault.connect(path, residency=pace)) as connection:
        try:
            for _ in range(CHECKPOINT_ROUNDS_MAX):
                total, folded = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                if vault.log_pages(path) - folded < CHECKPOINT_REST_PAGES or total == folded == 0:
                    break
                pace.yields = False  # the writer must not be faster than the later rounds
        except apsw.BusyError:
            return False  # the writer folds the rest of the former round
    return True
