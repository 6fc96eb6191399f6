"""Turns to open ranges: a node that starts with thousands of them does not open all at once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dstore.base.limits import REPLICA_TURN_S, REPLICAS_OPENED_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turns:
    """Lets some works go on at once. Used from one event loop."""

    def __init__(self) -> None:
        """Begin with all turns free."""
        self._free = asyncio.Semaphore(REPLICAS_OPENED_AT_ONCE)

    @property
    def is_taken(self) -> bool:
        """Whether who comes now has to wait."""
        return self._free.locked()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a turn, and take it.

        Who takes longer than REPLICA_TURN_S, as a range does that waits for its other replicas,
        goes on without: it must not keep others from being opened.
        """
        await self._free.acquire()
        turn = _Turn(self._free)
        ending = asyncio.get_running_loop().call_later(REPLICA_TURN_S, turn.end)
        try:
            yield
        finally:
            ending.cancel()
            turn.end()


class _Turn:
    """A turn that is taken; it ends once."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free: asyncio.Semaphore | None = free

    def end(self) -> None:
        free, self._free = self._free, None
        if free is not None:
            free.release()
