"""How much disk is left: writes are refused early, while reads and the node's records go on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dstore.model.errors import Unavailable, UnavailableKind

if TYPE_CHECKING:
    from pathlib import Path


class DiskSpace:
    """Knows the free disk as of the last look."""

    def __init__(self, directory: Path, *, free_bytes_min: int) -> None:
        """Watch the file system of `directory`; below the bound writes get 507."""
        self._directory = directory
        self._free_bytes_min = free_bytes_min
        self.free_bytes = 0
        self.used_bytes = 0  # of the whole file system, whoever uses them
        self.look()

    @property
    def has_space(self) -> bool:
        """Enough disk is free for writes, checkpoints and the node's own records."""
        return self.free_bytes >= self._free_bytes_min

    def look(self) -> None:
        """Measure the free disk; a system call, no I/O."""
        stats = os.statvfs(self._directory)
        self.free_bytes = stats.f_bavail * stats.f_frsize
        self.used_bytes = (stats.f_blocks - stats.f_bfree) * stats.f_frsize

    def check_write(self, size_bytes: int = 0) -> None:
        """Raises: Unavailable: nothing may be written now, or not so much beside what there is."""
        if self.free_bytes - size_bytes < self._free_bytes_min:
            raise Unavailable(
                UnavailableKind.NO_SPACE,
                # How much is free is the operator's to know: it stands in the log and in status.
                "The disk is nearly full, so that nothing is written; retry when there is space.",
            )
