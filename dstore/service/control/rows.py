"""One row of what an operator sees, from a record and a view; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dstore.model.status import ResourceStatus
from dstore.security.identity import ComponentRole
from dstore.service.control.counts import NO_LOAD
from dstore.service.control.held import (
    complaint,
    held_report,
    held_status,
    living_in_sync,
    shortage,
    waits_for,
    weakness,
)
from dstore.service.control.status import ComponentRow, Health, RangeRow, ReplicaRow, TableRow
from dstore.service.control.whereabouts import is_alive
from dstore.storage.control.records import ComponentState
from dstore.topology import values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.service.control.counts import NodeLoad
    from dstore.storage.control.records import (
        ControlRecord,
        NodeRecord,
        ProxyRecord,
        RangeRecord,
        TableRecord,
    )
    from dstore.topology.view import ComponentView, PlacedRange, TableView, TopologyView

_HEALTH_OF: Final = {
    values.ComponentStatus.OKAY: Health.OKAY,
    values.ComponentStatus.STARTING: Health.STARTING,
    values.ComponentStatus.LOCKED: Health.LOCKED,
    values.ComponentStatus.NO_SPACE: Health.NO_SPACE,
    values.ComponentStatus.DRAINING: Health.DRAINING,
    values.ComponentStatus.FAILING: Health.FAILING,
}
_WHY: Final = {
    Health.OKAY: "",
    Health.STARTING: "It is starting.",
    Health.LOCKED: "It is locked: it waits for control's share of its keys.",
    Health.NO_SPACE: "Its disk is nearly full: it reads and does not write.",
    Health.DRAINING: "It is about to stop.",
    Health.FAILING: "It says that it fails; its log says why.",
    Health.DEAD: "Its lease is over: it is stopped, cut off, or can't reach the coordinator.",
    Health.MAINTENANCE: "It is in maintenance: it is given nothing new.",
    Health.REMOVED: "It was removed.",
}
_GIVEN_NOTHING: Final = frozenset(
    {ComponentState.MAINTENANCE, ComponentState.DRAINING, ComponentState.DECOMMISSIONING}
)


def node_row(record: NodeRecord, view: TopologyView, loads: Mapping[str, NodeLoad]) -> ComponentRow:
    """Describe a node; `loads` has that of each."""
    seen = view.node(record.uuid)
    load = loads.get(record.uuid, NO_LOAD)
    row = replace(
        _row(ComponentRole.NODE, record, seen, zone=record.zone),
        ranges=load.ranges,
        primaries=load.primaries,
    )
    details = _details(seen)
    if details is None:
        return replace(row, capacity_bytes=record.capacity_bytes)
    return replace(
        row,
        free_bytes=details.free_bytes,
        capacity_bytes=details.capacity_bytes or record.capacity_bytes,
        load_percent=details.load_percent,
    )


def proxy_row(record: ProxyRecord, view: TopologyView) -> ComponentRow:
    """Describe a proxy."""
    return _row(ComponentRole.PROXY, record, view.proxies.get(record.uuid), zone=record.zone)


def control_row(record: ControlRecord, view: TopologyView) -> ComponentRow:
    """Describe a control process."""
    leads = view.leader is not None and view.leader.value.control == record.uuid
    seen = view.controls.get(record.uuid)
    return _row(ComponentRole.CONTROL, record, seen, is_leader=leads)


def range_row(record: RangeRecord, view: TopologyView, *, tenant: str, table: str) -> RangeRow:
    """Describe a range of a table, as the view has it, or as it was recorded."""
    shown = view.table(tenant, table)
    placed = None if shown is None else shown.range_of(record.low_hash)
    row = RangeRow(
        tenant=tenant,
        table=table,
        range_id=record.range_id,
        low_hash=record.low_hash,
        high_hash=record.high_hash,
        epoch=record.epoch,
        node=record.node,
        uri="",
        held=_held(view, record.node, tenant=tenant, table=table, range_id=record.range_id),
        why="It is not published yet, or not any more.",
    )
    if placed is None or placed.range_id != record.range_id:
        return row
    return _placed_row(row, placed, view)


def _placed_row(row: RangeRow, placed: PlacedRange, view: TopologyView) -> RangeRow:
    """Describe a range as its value has it by now."""
    tenant, table, placement = row.tenant, row.table, placed.placement
    replicas = tuple(
        ReplicaRow(
            node=each.node,
            state=each.state,
            held=_held(view, each.node, tenant=tenant, table=table, range_id=row.range_id),
            is_alive=is_alive(view, each.node),
        )
        for each in placement.replicas
    )
    report = held_report(
        view, node=placement.node, tenant=tenant, table=table, range_id=row.range_id
    )
    why, read_only = complaint(view, placed, tenant=tenant, table=table), weakness(view, placed)
    return replace(
        row,
        epoch=placement.epoch,
        node=placement.node,
        uri=placement.uri,
        held=next(each.held for each in replicas if each.node == placement.node),
        why=why or read_only or shortage(view, placed),
        factor=placement.factor,
        min_in_sync=placement.min_in_sync,
        replicas=replicas,
        is_read_only=bool(read_only) and not why,
        is_under_replicated=living_in_sync(view, placed) < placement.factor,
        has_possible_loss=placement.state is values.RangeState.POSSIBLE_LOSS,
        stored_bytes=0 if report is None else report.stored_bytes,
        requests_per_s=0 if report is None else report.requests_per_s,
    )


def _held(view: TopologyView, node: str, *, tenant: str, table: str, range_id: str) -> str:
    held = held_status(view, node=node, tenant=tenant, table=table, range_id=range_id)
    return "" if held is None else str(held)


def table_row(record: TableRecord, view: TopologyView, *, range_count: int) -> TableRow:
    """Describe a table, and what it waits for."""
    shown = view.table(record.tenant, record.name)
    is_shown = shown is not None and shown.definition.table_id == record.table_id
    if record.status is ResourceStatus.DELETING:
        why = "Nodes are letting go of it."
    elif shown is None or not is_shown:
        why = "It is not published yet: the coordinator has not taken it."
    else:
        why = waits_for(view, shown)
    return TableRow(
        tenant=record.tenant,
        name=record.name,
        table_id=record.table_id,
        status=record.status,
        created_at_us=record.created_at_us,
        range_count=range_count,
        possible_loss=0 if shown is None or not is_shown else _possible_loss(shown),
        why=why,
        is_index=record.base_id is not None,
    )


def _possible_loss(shown: TableView) -> int:
    return sum(each.placement.state is values.RangeState.POSSIBLE_LOSS for each in shown.ranges)


def _row(
    role: ComponentRole,
    record: NodeRecord | ProxyRecord | ControlRecord,
    seen: ComponentView | None,
    *,
    zone: str = "",
    is_leader: bool = False,
) -> ComponentRow:
    details = _details(seen)
    health = _health(record.state, seen)
    return ComponentRow(
        role=role,
        uuid=record.uuid,
        zone=(details.zone if details is not None else "") or zone,
        uri=record.uri if details is None else details.uri,
        api_uri="" if details is None else details.api_uri or "",
        version=(details.version if details is not None else "") or record.version,
        state=record.state,
        health=health,
        why=_WHY[health],
        joined_at_us=record.joined_at_us,
        is_leader=is_leader,
    )


def _details(seen: ComponentView | None) -> values.Details | None:
    return None if seen is None or seen.details is None else seen.details.value


def _health(state: ComponentState, seen: ComponentView | None) -> Health:
    if state is ComponentState.REMOVED:
        return Health.REMOVED
    details = _details(seen)
    if seen is None or seen.alive is None:
        is_new = state is ComponentState.JOINING and details is None
        return Health.STARTING if is_new else Health.DEAD
    health = Health.STARTING if details is None else _HEALTH_OF[details.status]
    if health is Health.OKAY and state in _GIVEN_NOTHING:
        return Health.MAINTENANCE
    return health
