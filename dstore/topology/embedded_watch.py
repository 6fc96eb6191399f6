"""A watch of the embedded coordinator: a position in its history, and nothing queued.

A reader that is slow costs no memory: it finds what it missed in the history, or, if that is
forgotten, gets a full snapshot.
"""

import asyncio
from collections.abc import Callable
from typing import Self

from dstore.base.clock import Clock
from dstore.base.limits import WATCH_SKIPPED_REVISIONS_MAX
from dstore.topology.coordinator import Compacted, Events, Progress, Resync, Revision, WatchBatch
from dstore.topology.embedded_versions import Versions, rolled_back


class EmbeddedWatch:
    """Reads the history from a position on; woken by each write."""

    __slots__ = ("_clock", "_forget", "_is_closed", "_position", "_prefix", "_versions", "_woken")

    def __init__(
        self,
        versions: Versions,
        prefix: str,
        *,
        after_revision: Revision | None,
        clock: Clock,
        forget: Callable[["EmbeddedWatch"], None],
    ) -> None:
        """Stand after a revision, or before everything (None); `forget` is told of the end."""
        self._versions = versions
        self._prefix = prefix
        self._position = after_revision
        self._clock = clock
        self._forget = forget
        self._woken = asyncio.Event()
        self._is_closed = False

    @property
    def heard_at_ns(self) -> int:
        """Now: the coordinator is in this process."""
        return self._clock.monotonic_ns()

    def __aiter__(self) -> Self:
        """Return the watch itself."""
        return self

    async def __anext__(self) -> WatchBatch:
        """Wait for the next batch. Raises: RolledBack, StopAsyncIteration."""
        while not self._is_closed:
            self._woken.clear()
            batch = self._next()
            if batch is not None:
                return batch
            await self._woken.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the watch; safe to call twice."""
        self._is_closed = True
        self._woken.set()
        self._forget(self)

    def wake(self) -> None:
        """Tell of a write."""
        self._woken.set()

    def _next(self) -> WatchBatch | None:
        if self._position is None:
            return self._resync()
        if self._position > self._versions.revision:
            raise rolled_back(seen=self._position, found=self._versions.revision)
        try:
            missed = self._versions.changes_after(
                self._position, revisions_max=WATCH_SKIPPED_REVISIONS_MAX
            )
        except Compacted:
            return self._resync()
        for changes in missed:
            self._position = changes.revision
            events = tuple(e for e in changes.events if e.key.startswith(self._prefix))
            if events:
                return Events(revision=changes.revision, events=events)
        if len(missed) == WATCH_SKIPPED_REVISIONS_MAX:
            return Progress(revision=self._position)
        return None

    def _resync(self) -> Resync:
        listing = self._versions.list(self._prefix)
        self._position = listing.revision
        return Resync(listing=listing)
