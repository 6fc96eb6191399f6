"""What an operator says about moving replicas, and what is answered: drain, decommission, pause.

All of it is written into control's store, where whichever control leads finds it (`moves`); so any
control process takes it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dstore.base.threads import in_thread
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.service.control.held import is_alive
from dstore.service.control.planner import Why
from dstore.service.control.status import MovePlan, MoveRow, Stoppable
from dstore.service.refusals import no_such
from dstore.storage.control import pauses, tables
from dstore.storage.control.components import NODES
from dstore.storage.control.records import (
    ComponentState,
    HolderState,
    NodeUuid,
    RangeId,
    ReplicaRecord,
)
from dstore.topology.status import TopologyState

if TYPE_CHECKING:
    from dstore.replication.placements import Placed
    from dstore.service.control.balancing import Outlook
    from dstore.service.control.moves import Moves, Planned
    from dstore.service.control.planner import RangeSite
    from dstore.service.control.realm import Realm
    from dstore.topology.view import TopologyView

_INTENTS = frozenset(
    {ComponentState.ACTIVE, ComponentState.DRAINING, ComponentState.DECOMMISSIONING}
)
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
        view = self._realm.watcher.view
        return MovePlan(
            is_paused=found.is_paused,
            moves=(*_under_way(found.outlook, view), *_to_come(found)),
        )

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
            for mark in marks:
                if await tables.get_replica(tx, mark.range_id, mark.node) is not None:
                    await tables.mark_replica(tx, mark)
            await realm.audit(tx, actor=actor, action="abort_moves", subject="placement")
        return len({mark.range_id for mark in marks})

    async def intend(self, node: NodeUuid, state: ComponentState, *, actor: str) -> None:
        """See `Placing.intend`."""
        assert state in _INTENTS, state
        realm = self._realm
        if state is ComponentState.DECOMMISSIONING:
            found = await self._planned()
            why = await in_thread(partial(_not_to_spare, found.outlook, str(node)))
            if why:
                raise Refused(RefusalKind.CONFLICT, why)
        async with realm.plane.store.transaction() as tx:
            record = await NODES.get(tx, node)
            if record is None or record.state is ComponentState.REMOVED:
                raise no_such("node", node)
            if record.state is not state:
                await NODES.set_state(tx, node, state, now_us=realm.clock.wall_us())
                await realm.audit(tx, actor=actor, action=f"node_{state}", subject=str(node))

    async def ok_to_stop(self, node: NodeUuid) -> Stoppable:
        """See `Placing.ok_to_stop`."""
        self._require_live()
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


def stoppable(view: TopologyView, node: str) -> Stoppable:
    """Say whether all ranges go on without a node: enough of the others are in sync and alive."""
    losing, why = 0, ""
    for tenant in view.tenants.values():
        for table in tenant.tables.values():
            for placed in table.ranges:
                value = placed.placement
                on = [each.node for each in value.in_sync]
                if node not in on:
                    continue
                left = sum(each != node and is_alive(view, each) for each in on)
                if left >= value.min_in_sync:
                    continue
                losing += 1
                why = why or (
                    f"Range {value.range_id} of {tenant.name}/{table.definition.name} would have "
                    f"{left} living replicas in sync, and a write needs {value.min_in_sync}."
                )
    return Stoppable(is_okay=not losing, losing=losing, why=why)


def _not_to_spare(outlook: Outlook, node: str) -> str:
    """Say in a sentence why a node can't be emptied; "" if it can."""
    keeping = {each.node for each in outlook.nodes if each.keeps and each.node != node}
    taking = {each.node for each in outlook.nodes if each.takes and each.node != node}
    lacking = 0
    first: RangeSite | None = None
    for site in outlook.ranges:
        on = {each.node for each in site.copies}
        if node in on and len((on & keeping) | taking) < site.factor:
            lacking += 1
            first = first or site
    if first is None:
        return ""
    some = "1 range" if lacking == 1 else f"{lacking} ranges"
    return (
        f"{some} would fall below the factor: range {first.range_id} has a factor of "
        f"{first.factor}, and {len(taking)} other nodes take replicas now. Add a node first, or "
        "end the maintenance of one."
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
            _reported_bytes(view, add[0], outlook.placed[site.range_id]) if add else site.size_bytes
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


def _reported_bytes(view: TopologyView, node: str, placed: Placed) -> int:
    """Say how much of a range a node says it has."""
    path, range_id = placed.path, placed.value.range_id
    seen = view.node(node)
    reported = None if seen is None else seen.reported.get(f"{path.tenant}/{path.table}")
    if reported is None:
        return 0
    sizes = [each.stored_bytes for each in reported.value.ranges if each.range_id == range_id]
    return sum(sizes)


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
