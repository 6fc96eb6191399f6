"""How a connection that must not wait for a disk says so.

The event loop uses only pages that are already open in the vault's cache. Its connections' handles
carry a `Residency`; while it is `required`, a read that would go to the file raises `NotResident`
instead, and the caller repeats it in a thread. While it `defers_sync`, a commit leaves its frames
to a sync of the log that the caller starts in a thread (`LogState.sync`).

A connection that folds a long log beside the writer `yields`: it syncs what it writes piece by
piece. The disk then has no large sync to do at once, behind which those of commits would wait, and
while it syncs, other threads have the interpreter.
"""

from dataclasses import dataclass


class NotResident(Exception):
    """The page is not in memory; ask again in a thread."""


@dataclass(slots=True)
class Residency:
    """A switch shared by a connection and its two file handles."""

    required: bool = False
    defers_sync: bool = False
    yields: bool = False
