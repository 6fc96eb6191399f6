"""What an operator says about moving replicas, and what is answered: drain, decommission, pause.

All of it is written into control's store, where whichever control leads finds it (`moves`); so any
control process takes it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dstore.base.threads import in_thread
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.model.status import ResourceStatus
from dstore.service.control.discards import discard
from dstore.service.control.move_plans import (
    APPLY_PLAN,
    MOVE_REPLICAS,
    OF_INTENT,
    PLACEMENT,
    add_task,
    approval,
    end_tasks,
    plan_token,
)
from dstore.service.control.planner import Why
from dstore.service.control.sparing import not_to_drain, not_to_spare, reported_bytes, stoppable
from dstore.service.control.split_steps import SPLIT_RANGE, split_task
from dstore.service.control.status import MovePlan, MoveRow, SplitRow, Stoppable
from dstore.service.refusals import no_such
from dstore.storage.control import pauses, splits, tables, tasks
from dstore.storage.control.components import NODES
from dstore.storage.control.records import (
    ComponentState,
    HolderState,
    NodeUuid,
    RangeId,
    ReplicaRecord,
    TaskId,
)
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from dstore.service.control.balancing import Outlook
    from dstore.service.control.moves import Moves, Planned
    from dstore.service.control.planner import RangeSite
    from dstore.service.control.realm import Realm
    from dstore.storage.control.records import SplitRecord
    from dstore.storage.control.store import Transaction
    from dstore.topology.view import TopologyView

_INTENTS = frozenset(
    {ComponentState.ACTIVE, ComponentState.DRAINING, ComponentState.DECOMMISSIONING}
)
_CHECKED = {
    ComponentState.DRAINING: not_to_drain,
    ComponentState.DECOMMISSIONING: not_to_spare,
}
_RETRY_MS = 1_000


class Elasticity:
    """Implements `status.Placing`."""

    def __init__(self, realm: Realm, moves: Moves) -> None:
        """Work for `realm`, whose replicas `moves` moves."""
        self._realm = realm
        self._moves = moves

    async def plan(self) -> MovePlan:
        """See `Placing.plan`."""
        found = await self._planned()
        async with self._realm.plane.store.snapshot() as tx:
            under_way = [await _split_row(tx, each) for each in await splits.begun(tx)]
            following = [
                task
                for kind in (APPLY_PLAN, MOVE_REPLICAS, SPLIT_RANGE)
                for task in await tasks.unfinished_of(tx, kind)
            ]
        view = self._realm.watcher.view
        return MovePlan(
            token=plan_token(found),
            is_paused=found.is_paused,
            moves=(*_under_way(found.outlook, view), *_to_come(found)),
            splits=tuple(row for row in under_way if row is not None),
            following=tuple(following),
        )

    async def apply(self, token: str, *, actor: str) -> TaskId:
        """See `Placing.apply`."""
        realm = self._realm
        found = await self._planned()
        if plan_token(found) != token:
            raise Refused(
                RefusalKind.CONFLICT,
                "The plan is another one by now, since nodes or replicas have changed: look at it "
                "again. Nothing was begun.",
            )
        if not found.changes:
            raise Refused(RefusalKind.CONFLICT, "There is nothing to move.")
        async with realm.plane.store.transaction() as tx:
            task = await add_task(
                tx, realm, APPLY_PLAN, subject=PLACEMENT, parameters=approval(found.changes)
            )
            if task.parameters != approval(found.changes):
                raise Refused(
                    RefusalKind.CONFLICT,
                    f"Another plan is being carried out: dstore tasks show {task.id}.",
                )
            await realm.audit(tx, actor=actor, action="apply_plan", subject=token)
        realm.tasks_due.set()
        return task.id

    async def pause(self, *, is_on: bool, actor: str) -> None:
        """See `Placing.pause`."""
        realm = self._realm
        async with realm.plane.store.transaction() as tx:
            if await pauses.pause(tx, is_on=is_on):
                action = "pause_moves" if is_on else "resume_moves"
                await realm.audit(tx, actor=actor, action=action, subject="placement")

    async def abort(self, *, actor: str) -> int:
        """See `Placing.abort`."""
        realm = self._realm
        found = await self._planned()
        marks = [mark for site in found.outlook.ranges for mark in _undone(site)]
        async with realm.plane.store.transaction() as tx:
            await pauses.pause(tx, is_on=True)
            for kind in (APPLY_PLAN, SPLIT_RANGE):
                for task in await tasks.unfinished_of(tx, kind):
                    await tasks.cancel(tx, task.id, now_us=realm.clock.wall_us())
            for mark in marks:
                if await tables.get_replica(tx, mark.range_id, mark.node) is not None:
                    await tables.mark_replica(tx, mark)
            await realm.audit(tx, actor=actor, action="abort_moves", subject="placement")
        return len({mark.range_id for mark in marks})

    async def split(self, range_id: RangeId, *, actor: str) -> TaskId:
        """See `Placing.split`."""
        realm = self._realm
        async with realm.plane.store.transaction() as tx:
            found = await tables.get_range(tx, range_id)
            table = None if found is None else await tables.get_by_id(tx, found.table_id)
            if table is None or table.status is ResourceStatus.DELETING:
                raise no_such("range", range_id)
            wanted = split_task(
                TaskId(f"{SPLIT_RANGE}-{realm.entropy.uuid()}"),
                table,
                range_id,
                now_us=realm.clock.wall_us(),
            )
            task = await tasks.add(tx, wanted)
            await realm.audit(tx, actor=actor, action="split_range", subject=str(range_id))
        realm.tasks_due.set()
        return task.id

    async def intend(self, node: NodeUuid, state: ComponentState, *, actor: str) -> TaskId | None:
        """See `Placing.intend`."""
        assert state in _INTENTS, state
        realm = self._realm
        if state in _CHECKED:
            found = await self._planned()
            check = partial(_CHECKED[state], found.outlook, realm.watcher.view, str(node))
            if why := await in_thread(check):
                raise Refused(RefusalKind.CONFLICT, why)
        async with realm.plane.store.transaction() as tx:
            record = await NODES.get(tx, node)
            if record is None or record.state is ComponentState.REMOVED:
                raise no_such("node", node)
            if record.state is not state:
                await NODES.set_state(tx, node, state, now_us=realm.clock.wall_us())
                await realm.audit(tx, actor=actor, action=f"node_{state}", subject=str(node))
            kind = OF_INTENT.get(state, "")
            await end_tasks(tx, realm, node, but=kind)
            task = await add_task(tx, realm, kind, subject=str(node)) if kind else None
        realm.tasks_due.set()
        return None if task is None else task.id

    async def discard(self, node: NodeUuid, range_id: RangeId, *, actor: str) -> TaskId:
        """See `Placing.discard`."""
        return await discard(self._realm, node, range_id, actor=actor)

    async def ok_to_stop(self, node: NodeUuid) -> Stoppable:
        """See `Placing.ok_to_stop`."""
        status = self._realm.watcher.status()
        if not status.is_current:
            raise Unavailable(
                UnavailableKind.UNREACHABLE,
                "Nobody can tell now whether the node is needed: the coordinator was last heard "
                f"{(status.heard_ms_ago or 0) // 1_000} s ago, and without it no other node takes "
                "a range over.",
                retry_after_ms=_RETRY_MS,
            )
        async with self._realm.plane.store.snapshot() as tx:
            record = await NODES.get(tx, node)
        if record is None or record.state is ComponentState.REMOVED:
            raise no_such("node", node)
        return await in_thread(partial(stoppable, self._realm.watcher.view, str(node)))

    async def _planned(self) -> Planned:
        self._require_live()
        return await self._moves.planned()

    def _require_live(self) -> None:
        if self._realm.watcher.status().state is not TopologyState.LIVE:
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "This control process does not know the topology as it is now; ask again.",
                retry_after_ms=_RETRY_MS,
            )


async def _split_row(tx: Transaction, split: SplitRecord) -> SplitRow | None:
    """Describe a split that is under way; None: it is over by now."""
    table = await tables.get_by_id(tx, split.table_id)
    parent = await tables.get_range(tx, split.range_id)
    if table is None or parent is None:
        return None
    return SplitRow(
        tenant=table.tenant,
        table=table.name,
        range_id=split.range_id,
        low_hash=parent.low_hash,
        high_hash=parent.high_hash,
        at_hash=split.at_hash,
        low_id=split.low_id,
        high_id=split.high_id,
        why=str(split.why),
        begun_at_us=split.begun_at_us,
    )


def _undone(site: RangeSite) -> list[ReplicaRecord]:
    """Say what undoes a change of a range that is under way."""
    range_id = RangeId(site.range_id)
    marks = [
        ReplicaRecord(range_id=range_id, node=NodeUuid(each.node), state=HolderState.HOLDING)
        for each in site.copies
        if each.is_leaving
    ]
    excess = len(site.copies) - site.factor
    learning = [each for each in site.copies if not each.is_in_sync and not each.is_leaving]
    marks += [
        ReplicaRecord(range_id=range_id, node=NodeUuid(each.node), state=HolderState.RETIRING)
        for each in learning[: max(excess, 0)]
    ]
    return marks


def _under_way(outlook: Outlook, view: TopologyView) -> list[MoveRow]:
    rows = []
    for site in outlook.ranges:
        if site.range_id not in outlook.moving:
            continue
        add = [each.node for each in site.copies if not each.is_in_sync and not each.is_leaving]
        remove = [each.node for each in site.copies if each.is_leaving]
        done = (
            reported_bytes(view, add[0], outlook.placed[site.range_id]) if add else site.size_bytes
        )
        rows.append(
            _row(
                outlook,
                site.range_id,
                why="",
                add=add[0] if add else "",
                remove=remove[0] if remove else "",
                size_bytes=site.size_bytes,
                done_bytes=min(done, site.size_bytes),
            )
        )
    return rows


def _to_come(found: Planned) -> list[MoveRow]:
    return [
        _row(
            found.outlook,
            change.range_id,
            why=str(change.why),
            add=change.add or "",
            remove=change.remove or "",
            primary=(change.primary or "") if change.why is Why.PRIMARY else "",
            size_bytes=change.size_bytes,
        )
        for change in found.changes
    ]


def _row(
    outlook: Outlook,
    range_id: str,
    *,
    why: str,
    add: str,
    remove: str,
    primary: str = "",
    size_bytes: int,
    done_bytes: int | None = None,
) -> MoveRow:
    placed = outlook.placed[range_id]
    return MoveRow(
        tenant=placed.path.tenant,
        table=placed.path.table,
        range_id=range_id,
        low_hash=placed.path.low_hash,
        high_hash=placed.value.high_hash,
        why=why,
        add=add,
        remove=remove,
        primary=primary,
        size_bytes=size_bytes,
        done_bytes=done_bytes,
    )
