"""A leader's job that looks at everything again and again: soon when there is news, else seldom.

It may end anywhere, and whoever leads next begins with a round. Behind a round it rests ten times
as long as that took, whatever comes, so that it takes a tenth of the time at most.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.service.control.leader import NotLeading, Term

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dstore.base.clock import Clock
    from dstore.topology.watcher import TopologyWatcher, Update

_log: Final = get_logger(__name__)
_RESTS: Final = 10  # times as long as a round took


class Rounds:
    """The rounds of one job. Used from one event loop."""

    def __init__(
        self,
        go_on: Callable[[Term], Awaitable[None]],
        *,
        watcher: TopologyWatcher,
        clock: Clock,
        failed: str,
    ) -> None:
        """Prepare.

        Args:
            go_on: does what can be done now.
            watcher: whose view must be known before the first round.
            clock: tells how long a round took.
            failed: the event that is logged of a round that failed.
        """
        self._go_on = go_on
        self._watcher = watcher
        self._clock = clock
        self._failed = failed
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Have the next round begin as soon as this one's rest is over."""
        self._woken.set()

    async def run(
        self,
        term: Term,
        *,
        prefix: str,
        on_update: Callable[[Update], None],
        pause_s: Callable[[], float],
        interval_s: Callable[[], float],
    ) -> None:
        """Go on for as long as the term lasts. Raises: NotLeading: another leads.

        Args:
            term: the leader's.
            prefix: of the keys whose changes `on_update` is told of; it may wake this.
            on_update: told of changes.
            pause_s: the least rest behind a round.
            interval_s: how long nobody need wake this before the next round.
        """
        end = self._watcher.subscribe(prefix, on_update)
        try:
            await self._watcher.known()
            while True:
                self._woken.clear()
                began_ns = self._clock.monotonic_ns()
                try:
                    await self._go_on(term)
                except NotLeading:
                    raise
                except DStoreError as error:
                    _log.warning(self._failed, reason=error.message)
                took_s = (self._clock.monotonic_ns() - began_ns) / NS_PER_S
                await asyncio.sleep(max(pause_s(), _RESTS * took_s))
                with suppress(TimeoutError):
                    async with asyncio.timeout(interval_s()):
                        await self._woken.wait()
        finally:
            end()
