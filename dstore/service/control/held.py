"""What nodes say of the ranges that they are to hold; pure questions to a view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dstore.replication.whereabouts import has_other_disk, primary_of
from dstore.service.control.whereabouts import is_alive, where
from dstore.topology import keyspace as keys
from dstore.topology import values

if TYPE_CHECKING:
    from dstore.model.tables import TableDefinition
    from dstore.storage.control.records import ReplicaRecord
    from dstore.topology.view import PlacedRange, TableView, TopologyView


def held_status(
    view: TopologyView, *, node: str, tenant: str, table: str, range_id: str
) -> values.HeldStatus | None:
    """Say how a range is on a node, as the node last said; None: it has said nothing."""
    report = held_report(view, node=node, tenant=tenant, table=table, range_id=range_id)
    return None if report is None else report.status


def held_report(
    view: TopologyView, *, node: str, tenant: str, table: str, range_id: str
) -> values.HeldReport | None:
    """Find what a node last said of a range; None: nothing."""
    seen = view.node(node)
    reported = None if seen is None else seen.reported.get(keys.held_name(tenant, table))
    if reported is None:
        return None
    return next((each for each in reported.value.ranges if each.range_id == range_id), None)


def is_there(view: TopologyView, replica: values.Replica) -> bool:
    """Whether a replica's node lives, and has the disk that the range's value means."""
    return is_alive(view, replica.node) and not has_other_disk(replica, where(view, replica.node))


def complaint(view: TopologyView, placed: PlacedRange, *, tenant: str, table: str) -> str:
    """Say in a sentence why a range can't be used; "" if it can."""
    node = placed.placement.node
    if not placed.placement.is_settled:
        return _unsettled(view, placed)
    if not is_alive(view, node):
        return f"Node {node} is not alive.{_missing(view, placed)}"
    if not is_there(view, primary_of(placed.placement)):
        return _on_other_disk(view, placed)
    status = held_status(view, node=node, tenant=tenant, table=table, range_id=placed.range_id)
    if status is values.HeldStatus.OKAY:
        return ""
    if status is None:
        return f"Node {node} has not said that it holds range {placed.range_id}."
    missing = _missing(view, placed) if status is values.HeldStatus.OPENING else ""
    return f"Node {node} says of range {placed.range_id}: {status}.{missing}"


def _missing(view: TopologyView, placed: PlacedRange) -> str:
    """Say whom a range waits for of which too few are there to open it; "" if enough are."""
    placement = placed.placement
    if living_in_sync(view, placed) >= placement.min_in_sync:
        return ""
    nodes = [each.node for each in placement.in_sync if not is_there(view, each)]
    return (
        f" It waits for what {' and '.join(nodes)} had in sync: start what is down. If that is "
        f"gone for good, dstore placement accept-loss {placed.range_id} --dry-run says what is "
        "left."
    )


def _unsettled(view: TopologyView, placed: PlacedRange) -> str:
    """Say what a range waits for since a recovery of the topology."""
    dead = [each.node for each in placed.placement.replicas if not is_alive(view, each.node)]
    waited_for = (
        f"node {dead[0]}, which is not alive" if dead else "all its nodes to answer control"
    )
    return (
        f"Since the topology was recovered nobody knows who has all of range {placed.range_id}: it "
        f"waits for {waited_for}."
    )


def _on_other_disk(view: TopologyView, placed: PlacedRange) -> str:
    """Say what becomes of a range whose primary came back with another disk."""
    node = placed.placement.node
    if living_in_sync(view, placed):
        return f"Node {node} has another disk than before: another node takes the range over."
    return (
        f"Node {node} has another disk than before, and nobody else is there who has all of it."
        f"{_missing(view, placed)}"
    )


def living_in_sync(view: TopologyView, placed: PlacedRange) -> int:
    """Count a range's replicas that hold every acknowledged write, and are there by now."""
    return sum(is_there(view, replica) for replica in placed.placement.in_sync)


def weakness(view: TopologyView, placed: PlacedRange) -> str:
    """Say in a sentence why a range takes no writes though its primary serves it; "" if it does."""
    living, needed = living_in_sync(view, placed), placed.placement.min_in_sync
    if living >= needed:
        return ""
    return (
        f"Range {placed.range_id} is read-only: a write needs {needed} replicas in sync, and "
        f"{living} of them {'is' if living == 1 else 'are'} alive."
    )


def shortage(view: TopologyView, placed: PlacedRange) -> str:
    """Say in a sentence which replicas of a range are missing; "" if none is."""
    placement = placed.placement
    if living_in_sync(view, placed) >= placement.factor:
        return ""
    dead = [each.node for each in placement.replicas if not is_alive(view, each.node)]
    if dead:
        return f"A replica is on node {dead[0]}, which is not alive."
    for each in placement.replicas:
        if each.state is values.ReplicaState.LEARNER:
            return f"The replica on node {each.node} is not in sync."
    return f"It has {len(placement.replicas)} of {placement.factor} replicas."


def waits_for(view: TopologyView, table: TableView) -> str:
    """Say in a sentence why a table can't be used whole; "" if it can."""
    definition = table.definition
    if not table.ranges:
        return "Its ranges are not all published yet."
    for placed in table.ranges:
        why = complaint(view, placed, tenant=definition.tenant, table=definition.name)
        if why or (why := weakness(view, placed)):
            return why
    return ""


def is_created(view: TopologyView, table: TableView, *, is_patient: bool) -> bool:
    """Tell whether a table that is being made can be used.

    It can once the primary of each range says that it holds it, and so do enough of the others for
    a write to be acknowledged. Who else lives is waited for by the patient, since the first write
    would be: but not who has died meanwhile, nor who says that it can't.
    """
    return bool(table.ranges) and all(
        _is_created(view, placed, table.definition, is_patient=is_patient)
        for placed in table.ranges
    )


def _is_created(
    view: TopologyView, placed: PlacedRange, definition: TableDefinition, *, is_patient: bool
) -> bool:
    tenant, table, placement = definition.tenant, definition.name, placed.placement
    okay = waited_for = 0
    for each in placement.in_sync:
        if not is_alive(view, each.node):
            continue
        status = held_status(
            view, node=each.node, tenant=tenant, table=table, range_id=placed.range_id
        )
        okay += status is values.HeldStatus.OKAY
        waited_for += status in {None, values.HeldStatus.OPENING}
    if complaint(view, placed, tenant=tenant, table=table) or okay < placement.min_in_sync:
        return False
    return not (is_patient and waited_for)


def holders(
    view: TopologyView, tenant: str, table: str, *, replicas: Sequence[ReplicaRecord]
) -> tuple[str, ...]:
    """List the living nodes that say that they hold one of a table's replicas, sorted."""
    found = {
        str(each.node)
        for each in replicas
        if is_alive(view, each.node)
        and held_status(view, node=each.node, tenant=tenant, table=table, range_id=each.range_id)
        is not None
    }
    return tuple(sorted(found))
