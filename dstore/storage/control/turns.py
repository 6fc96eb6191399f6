"""Who may have a connection now: so many at a time, in the order in which they came."""

from __future__ import annotations

from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dstore.base.limits import RETRY_AFTER_MS
from dstore.model.errors import Unavailable, UnavailableKind


class Turns:
    """Places to hold, and a bounded queue in front of them."""

    __slots__ = ("_places", "_waiting_count", "_waiting_max")

    def __init__(self, places: int, *, waiting_max: int) -> None:
        """Offer `places` >= 1; at most `waiting_max` wait for one."""
        self._places = Semaphore(places)
        self._waiting_max = waiting_max
        self._waiting_count = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises: Unavailable: too many wait already."""
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    async def _wait(self) -> None:
        if self._waiting_count >= self._waiting_max:
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "Too many requests wait for control's store; nothing was written. Retry.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._waiting_count += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting_count -= 1
