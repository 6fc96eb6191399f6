"""Whether a node can be spared: stopped for a while, rid of its primaries, or emptied; pure.

What can't be done is refused in a sentence that names a range, before anything begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.base.limits import FREE_DISK_BYTES_MIN, MIB, REASONS_SHOWN
from dstore.model.status import ResourceStatus
from dstore.service.control.held import is_there
from dstore.service.control.status import Stoppable
from dstore.service.control.whereabouts import is_alive
from dstore.topology.values import ReplicaState

if TYPE_CHECKING:
    from dstore.replication.placements import Placed
    from dstore.service.control.balancing import Outlook
    from dstore.service.control.planner import RangeSite
    from dstore.topology.values import RangePlacement, Replica
    from dstore.topology.view import PlacedRange, TopologyView


def stoppable(view: TopologyView, node: str) -> Stoppable:
    """Say whether all ranges go on without a node: enough of the others are in sync and alive."""
    reasons: list[str] = []
    losing = 0
    for tenant in view.tenants.values():
        for table in tenant.tables.values():
            if table.status is ResourceStatus.DELETING:
                continue
            for placed in table.ranges:
                value = placed.placement
                if not any(each.node == node for each in value.in_sync):
                    continue
                left = len(_left_without(view, value, node))
                if left >= value.min_in_sync:
                    continue
                losing += 1
                if losing <= REASONS_SHOWN:
                    name = f"{tenant.name}/{table.definition.name}"
                    reasons.append(_reason(view, placed, node, name=name))
    return Stoppable(
        is_okay=not losing,
        losing=losing,
        why=reasons[0] if reasons else "",
        reasons=tuple(reasons),
    )


def _reason(view: TopologyView, placed: PlacedRange, node: str, *, name: str) -> str:
    """Say what a range would lack without a node, and why it has no more."""
    value = placed.placement
    others = [each for each in value.replicas if each.node != node]
    left = _left_without(view, value, node)
    words = [
        f"the one on node {each.node} is {_state(view, each)}"
        for each in others
        if each not in left
    ]
    if not others:
        words = ["it has no other replica"]
    replicas = "1 living replica" if len(left) == 1 else f"{len(left)} living replicas"
    why = f": {', '.join(words)}" if words else ""
    return (
        f"Range {value.range_id} of {name} would have {replicas} in sync, and a write needs "
        f"{value.min_in_sync}{why}."
    )


def _left_without(view: TopologyView, value: RangePlacement, node: str) -> list[Replica]:
    return [each for each in value.in_sync if each.node != node and is_there(view, each)]


def _state(view: TopologyView, replica: Replica) -> str:
    if not is_alive(view, replica.node):
        return "dead"
    return "not in sync" if replica.state is ReplicaState.LEARNER else "on another disk"


def not_to_drain(outlook: Outlook, _view: TopologyView, node: str) -> str:
    """Say in a sentence why a node's ranges can't all get another primary; "" if they can."""
    leading = {each.node for each in outlook.nodes if each.leads and each.node != node}
    stuck = [
        site
        for site in outlook.ranges
        if site.primary == node
        and not any(
            each.is_in_sync and not each.is_leaving and each.node in leading for each in site.copies
        )
    ]
    if not stuck:
        return ""
    return (
        f"{_ranges(len(stuck))} would have no other primary: range {stuck[0].range_id} has no "
        "other replica that is in sync and alive on a node that leads ranges. Wait until it has, "
        "or raise its table's factor."
    )


def not_to_spare(outlook: Outlook, view: TopologyView, node: str) -> str:
    """Say in a sentence why a node can't be emptied; "" if it can."""
    return _below_factor(outlook, node) or _without_room(outlook, view, node)


def _below_factor(outlook: Outlook, node: str) -> str:
    keeping = {each.node for each in outlook.nodes if each.keeps and each.node != node}
    taking = _taking(outlook, node)
    lacking = [
        site
        for site in _ranges_on(outlook, node)
        if len(({each.node for each in site.copies} & keeping) | taking) < site.factor
    ]
    if not lacking:
        return ""
    full = sum(each.is_full and each.node != node for each in outlook.nodes)
    return (
        f"{_ranges(len(lacking))} would fall below the factor: range {lacking[0].range_id} has a "
        f"factor of {lacking[0].factor}, and {len(taking)} other nodes take replicas now"
        f"{f', since the disks of {full} are nearly full' if full else ''}. Add a node first, or "
        f"{'free disk space' if full else 'end the maintenance of one'}."
    )


def _without_room(outlook: Outlook, view: TopologyView, node: str) -> str:
    """Put the largest replicas first where there is most room, and see what is left over."""
    room = _room(outlook, view, node)
    left_over: list[RangeSite] = []
    for site in sorted(_ranges_on(outlook, node), key=lambda each: -each.size_bytes):
        holders = {each.node for each in site.copies if not each.is_leaving} - {node}
        if len(holders) >= site.factor:
            continue  # another is on its way in already
        taker = max(room.keys() - holders, key=lambda each: (room[each], each), default=None)
        if taker is None or room[taker] < site.size_bytes:
            left_over.append(site)
        else:
            room[taker] -= site.size_bytes
    if not left_over:
        return ""
    lacking_bytes = sum(each.size_bytes for each in left_over)
    return (
        f"{_ranges(len(left_over))}, {lacking_bytes / MIB:,.0f} MiB, would not fit the disks of "
        f"the other nodes: the largest is range {left_over[0].range_id} with "
        f"{left_over[0].size_bytes / MIB:,.0f} MiB. Free or add disk space, or add a node, first."
    )


def _room(outlook: Outlook, view: TopologyView, node: str) -> dict[str, int]:
    """Say how many bytes each other node can take beside what is on its way to it."""
    room: dict[str, int] = {}
    for taker in _taking(outlook, node):
        seen = view.node(taker)
        details = None if seen is None or seen.details is None else seen.details.value
        if details is not None and details.capacity_bytes:
            room[taker] = details.free_bytes - FREE_DISK_BYTES_MIN
        else:
            room[taker] = 1 << 62  # it has not said how large its disk is
    for site in outlook.ranges:
        if site.range_id in outlook.moving:
            for each in site.copies:
                if each.node in room and not each.is_in_sync and not each.is_leaving:
                    done = reported_bytes(view, each.node, outlook.placed[site.range_id])
                    room[each.node] -= max(site.size_bytes - done, 0)
    return room


def _taking(outlook: Outlook, node: str) -> set[str]:
    return {each.node for each in outlook.nodes if each.takes and each.node != node}


def _ranges_on(outlook: Outlook, node: str) -> list[RangeSite]:
    return [site for site in outlook.ranges if any(each.node == node for each in site.copies)]


def _ranges(count: int) -> str:
    return "1 range" if count == 1 else f"{count} ranges"


def reported_bytes(view: TopologyView, node: str, placed: Placed) -> int:
    """Say how much of a range a node says it has."""
    path, range_id = placed.path, placed.value.range_id
    seen = view.node(node)
    reported = None if seen is None else seen.reported.get(f"{path.tenant}/{path.table}")
    if reported is None:
        return 0
    return sum(each.stored_bytes for each in reported.value.ranges if each.range_id == range_id)
