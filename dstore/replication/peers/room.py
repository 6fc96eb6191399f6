"""How much may be in flight to one peer, and who waits for room or for a connection.

Nobody overtakes: while somebody waits, everybody who comes waits behind.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from dstore.base.limits import PEER_CALL_BYTES_MAX, PEER_CALLS_MAX, PEER_CALLS_WAITING_MAX


class Room:
    """Counts calls and bytes in flight; touched from one event loop only."""

    __slots__ = ("_bytes_max", "_calls_max", "_waiting", "_waiting_max", "bytes", "calls")

    def __init__(
        self,
        *,
        calls_max: int = PEER_CALLS_MAX,
        bytes_max: int = PEER_CALL_BYTES_MAX,
        waiting_max: int = PEER_CALLS_WAITING_MAX,
    ) -> None:
        """Begin empty; each bound is >= 1."""
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._waiting_max = waiting_max
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self.calls = 0
        self.bytes = 0

    @property
    def waiting(self) -> int:
        """Count those who wait."""
        return len(self._waiting)

    @property
    def is_crowded(self) -> bool:
        """Tell whether not even waiting is possible."""
        return len(self._waiting) >= self._waiting_max

    def has_room(self, bytes_count: int) -> bool:
        """Tell whether one more call fits; a call too large for the room is taken when alone."""
        return self.calls < self._calls_max and (
            self.bytes + bytes_count <= self._bytes_max or not self.calls
        )

    def enter(self, bytes_count: int) -> None:
        """Take a call in."""
        self.calls += 1
        self.bytes += bytes_count

    def leave(self, bytes_count: int) -> None:
        """Let a call go, and whoever waits the longest look again."""
        self.calls -= 1
        self.bytes -= bytes_count
        assert self.calls >= 0
        assert self.bytes >= 0
        if self._waiting:
            self.wake_one()

    async def wait(self, *, first: bool = False) -> None:
        """Wait to be woken; `first` puts whoever was woken in vain back to the front."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        if first:
            self._waiting.move_to_end(future, last=False)
        try:
            await future
        except BaseException:
            if self._waiting.pop(future, self) is self:
                self.wake_one()  # woken, and gone all the same: the next one looks instead
            raise

    def wake_one(self) -> None:
        """Let the one who waits the longest look again."""
        while self._waiting:
            future, _ = self._waiting.popitem(last=False)
            if not future.done():
                future.set_result(None)
                return

    def wake_all(self) -> None:
        """Let everybody look again."""
        waiting, self._waiting = self._waiting, OrderedDict()
        for future in waiting:
            if not future.done():
                future.set_result(None)
