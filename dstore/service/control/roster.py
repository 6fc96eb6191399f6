"""Who is not admitted any more, and where controls are, as last read from the store.

A certificate lives for days and nothing revokes it, so a component that was removed is kept out by
name: each listener asks a roster at every greeting and at every sign of life. Control's own looks
into the store every second and knows all of them; components ask for theirs, and hear of the latest
(`enrolment.membership`). Whoever was removed longer ago than certificates live has none any more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.base.clock import NS_PER_S, US_PER_S
from dstore.base.limits import (
    CERTIFICATE_LIFE_S,
    CLOCK_SKEW_S_MAX,
    CONTROLS_MAX,
    MEMBERS_FRESH_S,
    REMOVED_BARRED_MAX,
    REMOVED_TOLD_MAX,
)
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.service.calls.key_calls import ControlMember, Members
from dstore.service.control.membership import REMOVED, controls
from dstore.storage.control.components import CONTROLS, NODES, PROXIES

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.security.identity import Identity
    from dstore.storage.control.store import ControlStore, Transaction

_log: Final = get_logger(__name__)

_TOLD_US: Final = (CERTIFICATE_LIFE_S + CLOCK_SKEW_S_MAX) * US_PER_S


class Roster:
    """What control knows of who belongs to it; it belongs to the event loop."""

    def __init__(self, store: ControlStore, *, clock: Clock) -> None:
        """Start without a list; `refresh` before anything is served."""
        self._store = store
        self._clock = clock
        self._members = Members(controls=(), removed=())
        self._removed: frozenset[str] = frozenset()
        self._read_at_ns: int | None = None
        self._reading = asyncio.Lock()

    def barred(self, identity: Identity) -> str | None:
        """Say why a component is not to be let in, or on; None if nothing is against it."""
        return f"This {identity.role} {REMOVED}." if identity.uuid in self._removed else None

    async def members(self) -> Members:
        """Give what was read within the last MEMBERS_FRESH_S, or read it now.

        Raises: Unavailable: the store can't be read.
        """
        if not self._is_fresh():
            async with self._reading:  # one reading serves all that ask meanwhile
                if not self._is_fresh():
                    await self.refresh()
        return self._members

    async def refresh(self) -> None:
        """Read the store. Raises: Unavailable; what was known stays."""
        began_ns = self._clock.monotonic_ns()
        since_us = self._clock.wall_us() - _TOLD_US
        async with self._store.snapshot() as tx:
            removed = await _removed(tx, since_us=since_us)
            there = await controls(tx)
        for uuid in removed.all - self._removed:
            _log.info("component_barred", component=uuid)
        self._members = Members(
            controls=tuple(ControlMember(uuid=one.uuid, uri=one.uri) for one in there),
            removed=removed.told(),
        )
        self._removed = removed.all
        self._read_at_ns = began_ns

    async def run(self) -> None:
        """Keep up with the store, until cancelled; what it can't read is as it was."""
        is_well = True
        while True:
            try:
                await self.members()
                is_well = True
            except DStoreError as error:
                if is_well:
                    _log.warning("roster_not_read", reason=error.message)
                is_well = False
            await asyncio.sleep(MEMBERS_FRESH_S)

    def _is_fresh(self) -> bool:
        read_at_ns = self._read_at_ns
        fresh_ns = int(MEMBERS_FRESH_S * NS_PER_S)
        return read_at_ns is not None and self._clock.monotonic_ns() - read_at_ns < fresh_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removed:
    """Who was removed while certificates live, of each role the latest first."""

    controls: tuple[str, ...]
    nodes: tuple[str, ...]
    proxies: tuple[str, ...]

    @property
    def all(self) -> frozenset[str]:
        return frozenset((*self.controls, *self.nodes, *self.proxies))

    def told(self) -> tuple[str, ...]:
        """Pick REMOVED_TOLD_MAX: each role gets half of what is left, or what the other leaves."""
        controls = self.controls[:CONTROLS_MAX]
        room = REMOVED_TOLD_MAX - len(controls)
        proxies = self.proxies[: max(room // 2, room - len(self.nodes))]
        return (*controls, *self.nodes[: room - len(proxies)], *proxies)


async def _removed(tx: Transaction, *, since_us: int) -> _Removed:
    return _Removed(
        controls=await CONTROLS.removed(tx, since_us=since_us, limit=REMOVED_BARRED_MAX),
        nodes=await NODES.removed(tx, since_us=since_us, limit=REMOVED_BARRED_MAX),
        proxies=await PROXIES.removed(tx, since_us=since_us, limit=REMOVED_BARRED_MAX),
    )
