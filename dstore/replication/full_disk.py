"""A primary whose disk is full: another replica takes the range, if one can.

What did not fit here is held by all the others that count, so one of them leads, and the replica
here learns again once there is room (REPLICATION.md, write 5). It leaves the set in the same swap:
it could not even promise the next epoch. Where too few others live for that, nothing is given up,
and it is tried here again: what is acknowledged stays held by as many as a write needs.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dstore.base.limits import REPLICA_BACKOFF_MS_MAX, REPLICA_FULL_MS_MAX
from dstore.base.logging import get_logger
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.replication import placements
from dstore.replication.cut_off import living_others
from dstore.replication.handing_over import pass_on
from dstore.replication.placements import Overtaken
from dstore.replication.surroundings import pause_ms
from dstore.security.identity import ComponentRole
from dstore.topology import values
from dstore.topology.coordinator import CoordinatorError
from dstore.topology.keyspace import ComponentId, DetailsPath
from dstore.topology.values import ComponentStatus, Malformed, ReplicaState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.replication.placements import Placed
    from dstore.replication.surroundings import Surroundings

_log: Final = get_logger(__name__)
_DOUBLINGS_MAX: Final = 8  # whatever the bound


class FullDisk:
    """Whether the disk below one replica was found full, while that was to lead."""

    def __init__(self, around: Surroundings) -> None:
        """Know of nothing."""
        self._around = around
        self._is_met = False
        self._tries = 0

    def meet(self) -> None:
        """Hear that something did not fit."""
        self._is_met = True

    def look_at(self, error: Exception) -> None:
        """Look at what a range could not be opened for."""
        is_full = isinstance(error, Unavailable) and error.kind is UnavailableKind.NO_SPACE
        self._is_met |= is_full
        self._tries = self._tries + 1 if is_full else 0

    def has_room(self) -> None:
        """Hear that the range was opened, or is another's: then its own disk is not in the way."""
        self._is_met, self._tries = False, 0

    async def rest(self, news: asyncio.Event) -> None:
        """Wait for room, or for news: each try may raise the epoch, and none makes any room."""
        if self._tries > 1:  # the first time another one is asked at once
            doublings = min(self._tries - 2, _DOUBLINGS_MAX)
            rest_ms = min(REPLICA_BACKOFF_MS_MAX << doublings, REPLICA_FULL_MS_MAX)
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_ms / 1_000):
                    await news.wait()

    async def make_way(self, placed: Placed) -> None:
        """Have another replica lead, if the disk was found full; called where none leads here.

        Raises: Overtaken: it does, or the range's value is another one anyway.
        """
        if not self._is_met:
            return
        self._is_met = False
        around, before = self._around, placed.value
        try:
            others = await living_others(placed, around)
            if not others:
                return
            left = placements.with_state(before, {around.node}, ReplicaState.LEARNER)
            value = placements.with_primary(left, await self._roomiest(others))
            now = await placements.swap(around.coordinator, placed, value, pause=pause_ms)
        except CoordinatorError as error:
            _log.info("range_not_given_on", range=before.range_id, reason=error.message)
            return
        _log.warning("range_given_on", range=before.range_id, epoch=value.epoch, to=value.node)
        # It need not wait for what it had promised: nothing serves here up to that epoch.
        around.tasks.spawn(pass_on(now, around, epoch=before.epoch), name="tell_heir")
        raise Overtaken(now)

    async def _roomiest(self, nodes: Sequence[str]) -> str:
        """Choose a node that does not say that its own disk is nearly full; else any."""
        for node in nodes:
            path = DetailsPath(ComponentRole.NODE, ComponentId(node))
            found = await self._around.coordinator.get(path.path)
            try:
                details = None if found.kv is None else values.decode(path, found.kv.value)
            except Malformed:
                details = None
            if details is None or details.status is not ComponentStatus.NO_SPACE:
                return node
        return nodes[0]
