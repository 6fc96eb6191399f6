"""Changes to the house: one after another for a name, and whole even if who asked is gone."""

from __future__ import annotations

from asyncio import Lock, shield
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dstore.base.tasks import Tasks

Result = TypeVar("Result")


@dataclass(slots=True)
class _Queue:
    """Who changes a name now, and how many do or wait."""

    lock: Lock = field(default_factory=Lock)
    users: int = 0


@dataclass(frozen=True, slots=True)
class _Failed:
    """How a change ended if not well; carried, since nobody may be left to raise it to."""

    error: Exception


class Changes:
    """Runs changes. Used from one event loop."""

    def __init__(self) -> None:
        """Start with nothing under way."""
        self._queues: dict[str, _Queue] = {}
        self._tasks = Tasks(lambda _error: None)

    @property
    def names(self) -> int:
        """Count the names being changed now."""
        return len(self._queues)

    async def run(self, name: str, change: Coroutine[Any, Any, Result]) -> Result:
        """Run a change of what `name` names, when those before it are done.

        A caller that is cancelled stops waiting; the change goes on, so that what is in memory
        always follows what the database has committed. Raises: what `change` raises.
        """
        task = self._tasks.spawn(self._in_turn(name, change), name=f"change {name}")
        outcome = await shield(task)
        if isinstance(outcome, _Failed):
            raise outcome.error
        return outcome

    async def settle(self) -> None:
        """Return when no change is under way."""
        await self._tasks.drain()

    async def _in_turn(self, name: str, change: Coroutine[Any, Any, Result]) -> Result | _Failed:
        async with self._turn(name):
            try:
                return await change
            except Exception as error:  # noqa: BLE001 - `run` raises it
                return _Failed(error)

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        queue = self._queues.setdefault(name, _Queue())
        queue.users += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[name]
