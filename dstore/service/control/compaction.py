"""Whoever leads has the coordinator forget what was: it keeps every former value until it is told.

Nodes write how their tables are every few seconds, so the history of a busy cluster would fill
etcd's quota within days, and a full etcd takes nothing any more. What is left is enough for whoever
was cut off for some minutes; a process that was for longer reads everything anew (B13).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from dstore.base.compaction_limits import COMPACTION_INTERVAL_S
from dstore.base.logging import get_logger
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import CoordinatorError

if TYPE_CHECKING:
    from dstore.service.control.leader import Term
    from dstore.topology.coordinator import Coordinator, Revision

_log: Final = get_logger(__name__)


class Compaction:
    """Forgets the coordinator's history. `run` is a leader's job."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Work on `coordinator`."""
        self._coordinator = coordinator

    async def run(self, _term: Term) -> None:
        """Forget, for as long as the term lasts, what was when it was looked at the last time.

        So at least one interval is kept, and at most two.
        """
        before: Revision | None = None
        while True:
            try:
                now = (await self._coordinator.get(keys.PLANE.path)).revision
                if before is not None:
                    await self._coordinator.compact(before)
                before = now
            except (
                CoordinatorError
            ) as error:  # it is away, or another one; the next time is as good
                _log.warning("history_not_forgotten", reason=error.message)
                before = None
            await asyncio.sleep(COMPACTION_INTERVAL_S)
