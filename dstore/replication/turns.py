"""Turns to open ranges: a node that starts with thousands of them does not open all at once.

Ranges that somebody asks for come first, in the order in which they were asked for.
"""

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
        self._free = REPLICAS_OPENED_AT_ONCE
        self._waiting: dict[object, asyncio.Future[None]] = {}  # by whose turn it is, in order
        self._wanted: dict[object, None] = {}  # those of them that come first, in order

    @property
    def is_taken(self) -> bool:
        """Whether who comes now has to wait."""
        return not self._free

    def want(self, name: str) -> None:
        """Let a work that waits come before those that nobody waits for; others change nothing."""
        if name in self._waiting:
            self._wanted[name] = None

    @asynccontextmanager
    async def one(self, name: str | None = None) -> AsyncIterator[None]:
        """Wait for a turn, and take it.

        Who takes longer than REPLICA_TURN_S, as a range does that waits for its other replicas,
        goes on without: it must not keep others from being opened.

        Args:
            name: of the work, for `want`.
        """
        await self._take(object() if name is None else name)
        turn = _Turn(self)
        ending = asyncio.get_running_loop().call_later(REPLICA_TURN_S, turn.end)
        try:
            yield
        finally:
            ending.cancel()
            turn.end()

    def give_back(self) -> None:
        """Let the next one have the turn that has ended."""
        while self._waiting:
            waiter = self._forget(next(iter(self._wanted or self._waiting)))
            if not waiter.done():  # as of one whose task is cancelled
                waiter.set_result(None)
                return
        self._free += 1

    async def _take(self, name: object) -> None:
        if self._free:
            self._free -= 1
            return
        waiter = self._waiting[name] = asyncio.get_running_loop().create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            if self._waiting.get(name) is waiter:
                self._forget(name)
            if not waiter.cancelled():  # it was given the turn in the same tick
                self.give_back()
            raise

    def _forget(self, name: object) -> asyncio.Future[None]:
        self._wanted.pop(name, None)
        return self._waiting.pop(name)


class _Turn:
    """A turn that is taken; it ends once."""

    def __init__(self, turns: Turns) -> None:
        self._turns: Turns | None = turns

    def end(self) -> None:
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.give_back()
