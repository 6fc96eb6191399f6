"""How fast a node sends what is not urgent: so many bytes a second, whoever sends them.

While the node serves requests, it also rests behind each piece for as long as that took. So copies
take half of what there is at the most, of whatever they and the requests share: the cores of
either node, a disk, the network between them. Whichever gets scarce makes pieces take longer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_MS, NS_PER_S
from dstore.base.limits import REPLICA_COPY_BYTES_PER_S, REPLICA_IDLE_MS

if TYPE_CHECKING:
    from dstore.base.clock import Clock

_IDLE_NS: Final = REPLICA_IDLE_MS * NS_PER_MS


class Pace:
    """Lets senders through one after another. Used from one event loop."""

    def __init__(self, *, bytes_per_s: int = REPLICA_COPY_BYTES_PER_S, rests: bool = False) -> None:
        """Let `bytes_per_s` through, all senders together; 0: whatever comes.

        With `rests` it rests behind what was sent, while requests are served.
        """
        self._bytes_per_s = bytes_per_s
        self._rests = rests
        self._used_ns: int | None = None
        self._free_ns = 0  # from when on nobody is being waited for

    async def wait(self, size_bytes: int, *, clock: Clock) -> None:
        """Return when so much may be sent: as soon as all before it could have gone."""
        now_ns = clock.monotonic_ns()
        begin_ns = max(self._free_ns, now_ns)
        if self._bytes_per_s:
            self._free_ns = begin_ns + size_bytes * NS_PER_S // self._bytes_per_s
        if begin_ns > now_ns:
            await asyncio.sleep((begin_ns - now_ns) / NS_PER_S)

    def used(self, now_ns: int) -> None:
        """Hear that the node serves a request, monotonic."""
        self._used_ns = now_ns

    def rest(self, began_ns: int, *, clock: Clock) -> None:
        """Hear that a piece has been taken whose sending began at a monotonic time."""
        now_ns = clock.monotonic_ns()
        if self._rests and self._used_ns is not None and now_ns - self._used_ns < _IDLE_NS:
            self._free_ns = max(self._free_ns, 2 * now_ns - began_ns)
