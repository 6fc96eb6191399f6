"""How fast a node sends what is not urgent: so many bytes a second, whoever sends them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dstore.base.clock import NS_PER_S
from dstore.base.limits import REPLICA_COPY_BYTES_PER_S

if TYPE_CHECKING:
    from dstore.base.clock import Clock


class Pace:
    """Lets senders through one after another. Used from one event loop."""

    def __init__(self, *, bytes_per_s: int = REPLICA_COPY_BYTES_PER_S) -> None:
        """Let `bytes_per_s` through, all senders together; 0: whatever comes."""
        self._bytes_per_s = bytes_per_s
        self._free_ns = 0  # from when on nobody is being waited for

    async def wait(self, size_bytes: int, *, clock: Clock) -> None:
        """Return when so much may be sent: as soon as all before it could have gone."""
        if not self._bytes_per_s:
            return
        now_ns = clock.monotonic_ns()
        begin_ns = max(self._free_ns, now_ns)
        self._free_ns = begin_ns + size_bytes * NS_PER_S // self._bytes_per_s
        if begin_ns > now_ns:
            await asyncio.sleep((begin_ns - now_ns) / NS_PER_S)
