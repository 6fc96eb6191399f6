"""Moves as tasks: an operator sees how far they are, and waits for their end.

Nothing is moved here: `moves` does it, whether anybody follows or not. What an operator has said of
a node, or approved, is followed until it has come true; what moves by itself until nothing does.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from dstore.base.clock import NS_PER_S
from dstore.base.limits import MOVES_FOLLOWED_S
from dstore.base.threads import in_thread
from dstore.service.control.move_plans import APPLY_PLAN, MOVE_REPLICAS, OF_INTENT, approved
from dstore.service.control.move_progress import (
    Meter,
    left_of_all,
    left_of_changes,
    left_of_leading,
    left_of_node,
)
from dstore.service.control.tasks import report
from dstore.service.control.whereabouts import is_alive
from dstore.storage.control import tables
from dstore.storage.control.records import ComponentState, NodeUuid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from dstore.service.control.move_progress import Left, MoveKey
    from dstore.service.control.moves import Moves, Planned
    from dstore.service.control.realm import Realm
    from dstore.service.control.tasks import Handler, Step


class MoveTasks:
    """Follows moves, a leader's tasks."""

    def __init__(self, realm: Realm, moves: Moves) -> None:
        """Follow what `moves` does."""
        self._realm = realm
        self._moves = moves

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What follows each kind of task."""
        return {
            MOVE_REPLICAS: self._follow_all,
            APPLY_PLAN: self._follow_approved,
            OF_INTENT[ComponentState.DRAINING]: self._follow_drain,
            OF_INTENT[ComponentState.DECOMMISSIONING]: self._follow_decommission,
        }

    async def _follow_all(self, step: Step) -> None:
        def look(found: Planned) -> Mapping[MoveKey, Left]:
            to_come = () if found.is_paused else found.changes
            return left_of_all(found.outlook, self._realm.watcher.view, to_come)

        with self._moves.followed():
            await self._follow(step, look)

    async def _follow_approved(self, step: Step) -> None:
        changes = approved(step.task)

        def look(found: Planned) -> Mapping[MoveKey, Left]:
            return left_of_changes(found.outlook, self._realm.watcher.view, changes)

        await self._follow(step, look)

    async def _follow_drain(self, step: Step) -> None:
        def look(found: Planned) -> Mapping[MoveKey, Left]:
            return left_of_leading(found.outlook, step.task.subject)

        await self._follow(step, look)

    async def _follow_decommission(self, step: Step) -> None:
        node = NodeUuid(step.task.subject)

        def look(found: Planned) -> Mapping[MoveKey, Left]:
            return left_of_node(found.outlook, self._realm.watcher.view, str(node))

        await self._follow(step, look, is_over=partial(self._is_empty, node))

    async def _is_empty(self, node: NodeUuid) -> bool:
        """Tell whether nothing keeps a node from being removed."""
        async with self._realm.plane.store.snapshot() as tx:
            kept, leaving = await tables.replicas_of_node(tx, node)
        return not kept and not (leaving and is_alive(self._realm.watcher.view, str(node)))

    async def _follow(
        self,
        step: Step,
        look: Callable[[Planned], Mapping[MoveKey, Left]],
        *,
        is_over: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Write down how far it is until nothing is left, or nobody wants to know any more."""
        realm, meter, written = self._realm, Meter(), ""
        while True:
            began_ns = realm.clock.monotonic_ns()
            found = await self._moves.planned()
            left = await in_thread(partial(look, found))
            is_done = not left and (is_over is None or await is_over())
            if is_done and not written:
                return
            now_ns = realm.clock.monotonic_ns()
            progress = meter.note(now_ns, left, is_paused=found.is_paused)
            shown = msgspec.json.encode(progress.shown()).decode()
            is_told = shown == written or await report(realm, step, shown)
            if is_done or not is_told:
                return
            written = shown
            took_s = (now_ns - began_ns) / NS_PER_S
            await asyncio.sleep(max(MOVES_FOLLOWED_S, 10 * took_s))  # a tenth of the time at most
