"""A control process as others see it in the coordinator: its details, and that it lives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from dstore.base.limits import LEASE_TTL_S
from dstore.base.logging import get_logger
from dstore.security.identity import ComponentRole
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.backoff import Backoff
from dstore.topology.coordinator import Coordinator, CoordinatorError, Revision
from dstore.topology.leases import LeasedKey

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy

_log: Final = get_logger(__name__)


class Presence:
    """Shows one component; `run` it in an owned task, cancel that to let its life end at once."""

    def __init__(
        self,
        coordinator: Coordinator,
        component: keys.ComponentId,
        details: values.Details,
        *,
        role: ComponentRole,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """Show `component`, of a role that has no boot counter, with its `details`."""
        self._coordinator = coordinator
        self._component = component
        self._details = details
        self._role = role
        self._clock = clock
        self._entropy = entropy
        self._was_lost = False
        self._is_due = asyncio.Event()

    async def run(self) -> None:
        """Show it until cancelled."""
        alive = LeasedKey(
            self._coordinator,
            keys.AlivePath(self._role, self._component).path,
            values.encode(values.Alive(session=self._entropy.uuid())),
            ttl_s=LEASE_TTL_S,
            is_exclusive=False,
            clock=self._clock,
            entropy=self._entropy,
            on_change=self._alive_changed,
            on_taken=self._taken,
        )
        await self._put_details()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_details(), name="presence_details")
            await alive.run()

    def _alive_changed(self, held_since: Revision | None) -> None:
        if held_since is None:
            self._was_lost = True
        elif self._was_lost:
            self._is_due.set()

    def _taken(self) -> None:
        """Tell that another process lives under the same UUID."""
        _log.error(
            "component_has_twin",
            role=self._role,
            component=self._component,
            reason="Another process shows itself under this UUID. Is a copy of the data directory "
            "in use? Stop one of the two, and let it join anew with an empty directory.",
        )

    async def _keep_details(self) -> None:
        """Write the details again after each loss: it may be another coordinator by then."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            await self._put_details()

    async def _put_details(self) -> None:
        """Write the details, as often as it takes; they change with the process only."""
        backoff = Backoff(self._entropy)
        path = keys.DetailsPath(self._role, self._component).path
        while True:
            try:
                await self._coordinator.put(path, values.encode(self._details))
            except CoordinatorError as error:
                _log.warning("details_not_written", reason=error.message)
                await asyncio.sleep(backoff.next_s())
            else:
                return
