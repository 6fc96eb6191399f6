"""The read lease: replicas grant it with every answer, and the primary's is the least of them (I7).

All times are of CLOCK_BOOTTIME, which goes on while a machine sleeps, each of its own machine; only
lengths of time are compared, and REPLICA_LEASE_MARGIN_MS is for clocks that run at another speed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_MS, NS_PER_S
from dstore.base.limits import REPLICA_LEASE_MARGIN_MS, REPLICA_LEASE_MS

if TYPE_CHECKING:
    from dstore.base.clock import Clock

LEASE_NS: Final = REPLICA_LEASE_MS * NS_PER_MS
_GRANTED_NS: Final = (REPLICA_LEASE_MS - REPLICA_LEASE_MARGIN_MS) * NS_PER_MS


def lease_until_ns(sent_ns: int) -> int:
    """Until when a primary may rely on a replica that answered what was sent at `sent_ns`."""
    return sent_ns + _GRANTED_NS


class Promise:
    """What a replica has promised: not to serve as another primary before a time.

    A process that starts does not know what it had promised, so it has promised everybody.
    """

    def __init__(self, clock: Clock, *, began_ns: int) -> None:
        """Begin with the promise that may have been given before the process began."""
        self._now_ns = clock.monotonic_ns
        self._primary: str | None = None
        self._epoch = 0  # in which that one had the last promise
        self._ended = (0, "")  # the epoch of the primary that ended last, and which one that is
        self._until_ns = began_ns + LEASE_NS
        self._others_until_ns = self._until_ns
        self._released = asyncio.Event()

    def clear(self) -> None:
        """Learn that nothing was promised to others before the process began."""
        self._until_ns = self._others_until_ns = self._now_ns()

    def give(self, primary: str, *, epoch: int) -> None:
        """Promise it to a primary, counted from now: later than it sent what is answered.

        One that has ended needs none: what it sent before may be answered behind `release`.
        """
        if primary == self._ended[1] and epoch <= self._ended[0]:
            return
        if primary != self._primary:
            self._others_until_ns = max(self._others_until_ns, self._until_ns)
            self._primary = primary
        self._epoch = epoch
        self._until_ns = self._now_ns() + LEASE_NS

    def release(self, primary: str, *, epoch: int) -> None:
        """Hear that a primary has ended in an epoch, for good; of a later one that says nothing."""
        self._ended = max(self._ended, (epoch, primary))
        if primary == self._primary and self._epoch <= epoch:
            self._until_ns = self._now_ns()
        self._released.set()

    def wait_ns(self, primary: str) -> int:
        """How long from now `primary` must wait before it may serve; 0: not at all."""
        until_ns = self._others_until_ns
        if primary != self._primary:
            until_ns = max(until_ns, self._until_ns)
        return max(0, until_ns - self._now_ns())

    @property
    def is_bound(self) -> bool:
        """Whether the primary that was promised last is not the only one that was."""
        return self._others_until_ns > self._now_ns()

    async def wait_out(self, primary: str) -> None:
        """Return when `primary` may serve."""
        while (wait_ns := self.wait_ns(primary)) > 0:
            self._released.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_ns / NS_PER_S):
                    await self._released.wait()
