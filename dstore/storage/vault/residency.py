"""How a connection that must not wait for a disk says so.

The event loop uses only pages that are already open in the vault's cache. Its connections' handles
carry a `Residency`; while it is `required`, a read that would go to the file raises `NotResident`
instead, and the caller repeats it in a thread. While it `defers_sync`, a commit leaves its frames
to a sync of the log that the caller starts in a thread (`LogState.sync`).

A connection that folds a long log beside the writer `yields`: it syncs what it writes piece by
piece. The disk then has no large sync to do at once, behind which those of commits would wait, and
while it syncs, other threads have the interpreter.

A connection that examines a file reads what lies on the disk, whatever is in memory (`Inspection`).
"""

from dataclasses import dataclass
from typing import Protocol

import apsw


class NotResident(apsw.IOError):
    """The page is not in memory; ask again in a thread.

    An I/O error to SQLite, and no other: when it fails to read a page during a rollback, that is
    the one after which it trusts none of the pages in its own cache, as it must not.
    """


@dataclass(slots=True)
class Residency:
    """A switch shared by a connection and its two file handles."""

    required: bool = False
    defers_sync: bool = False
    yields: bool = False


class Pages(Protocol):
    """A database file, page by page, as it lies on the disk."""

    @property
    def page_count(self) -> int:
        """How many there are now."""

    def is_authentic(self, index: int) -> bool:
        """Read a page, which counts from 0, and see whether it is what was written there."""


@dataclass(slots=True)
class Inspection(Residency):
    """Of a connection that takes nothing from the vault's cache, and leaves nothing there.

    `pages` is set when the database file is opened.
    """

    pages: Pages | None = None
