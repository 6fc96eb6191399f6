"""A coordinator whose transactions a test lets fail, hang, or succeed without an answer."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any

from dstore.base.limits import COORDINATOR_TIMEOUT_S
from dstore.topology.coordinator import (
    Coordinator,
    CoordinatorUnavailable,
    OutcomeUnknown,
    Put,
    Transaction,
    TransactionResult,
)


class Mood(StrEnum):
    """What happens to the next transactions that write control's marker."""

    FINE = "fine"
    AWAY = "away"  # refused; nothing happens
    HANGING = "hanging"  # they never answer, and nothing happens
    UNHEARD = "unheard"  # they happen, and the answer is lost


class FlakyCoordinator:
    """Wraps a coordinator; only what publishes is affected, leases and watches go on."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Begin in a fine mood."""
        self._coordinator = coordinator
        self.mood = Mood.FINE
        self.publications = 0

    def __getattr__(self, name: str) -> Any:
        """Pass everything else on."""
        return getattr(self._coordinator, name)

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        """Do a transaction, as the mood is."""
        writes = [each.key for each in transaction.then if isinstance(each, Put)]
        if "control/published" not in writes:
            return await self._coordinator.commit(transaction, timeout_s=timeout_s)
        self.publications += 1
        match self.mood:
            case Mood.AWAY:
                raise CoordinatorUnavailable("The coordinator is away.")
            case Mood.HANGING:
                await asyncio.Event().wait()
            case Mood.UNHEARD:
                self.mood = Mood.FINE
                await self._coordinator.commit(transaction, timeout_s=timeout_s)
                raise OutcomeUnknown("The answer was lost.")
            case Mood.FINE:
                pass
        return await self._coordinator.commit(transaction, timeout_s=timeout_s)
