"""How fast a node expires items: as fast as it can while nobody asks it for anything, else slowly.

Requests come first. While there are any, no more than EXPIRY_BUSY_ITEMS_PER_S items are removed a
second, all ranges together, and behind each piece of building an index it rests.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_MS, NS_PER_S
from dstore.base.expiry_limits import (
    EXPIRY_BUSY_ITEMS_PER_S,
    EXPIRY_BUSY_MS,
    EXPIRY_ITEMS_PER_S_MAX,
    EXPIRY_REST_FACTOR,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.base.clock import Clock

_BUSY_NS: Final = EXPIRY_BUSY_MS * NS_PER_MS


class Effort:
    """Lets pieces of work through. Used from one event loop."""

    def __init__(self, clock: Clock, requests: Callable[[], int]) -> None:
        """Watch how many `requests` there were in all."""
        self._now_ns = clock.monotonic_ns
        self._requests = requests
        self._seen = requests()
        self._busy_until_ns = 0
        self._free_ns = 0  # from when on items may be removed

    @property
    def is_serving(self) -> bool:
        """Whether requests have come lately."""
        now_ns, seen = self._now_ns(), self._requests()
        if seen != self._seen:
            self._seen, self._busy_until_ns = seen, now_ns + _BUSY_NS
        return now_ns < self._busy_until_ns

    async def allow(self, items: int) -> None:
        """Return when so many items may be removed: as soon as all before them could be gone."""
        rate = EXPIRY_BUSY_ITEMS_PER_S if self.is_serving else EXPIRY_ITEMS_PER_S_MAX
        now_ns = self._now_ns()
        begin_ns = max(self._free_ns, now_ns)
        self._free_ns = begin_ns + items * NS_PER_S // rate
        await asyncio.sleep(max(0, begin_ns - now_ns) / NS_PER_S)

    async def rest(self, began_ns: int) -> None:
        """Rest behind a piece of other work that began at a monotonic time, if requests come."""
        took_ns = self._now_ns() - began_ns
        await asyncio.sleep(took_ns * EXPIRY_REST_FACTOR / NS_PER_S if self.is_serving else 0)
