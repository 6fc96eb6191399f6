"""What nodes say of the ranges that they are to hold; pure questions to a view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dstore.topology import keyspace as keys
from dstore.topology import values

if TYPE_CHECKING:
    from dstore.storage.control.records import RangeRecord
    from dstore.topology.view import PlacedRange, TableView, TopologyView


def held_status(
    view: TopologyView, *, node: str, tenant: str, table: str, range_id: str
) -> values.HeldStatus | None:
    """Say how a range is on a node, as the node last said; None: it has said nothing."""
    seen = view.node(node)
    reported = None if seen is None else seen.reported.get(keys.held_name(tenant, table))
    if reported is None:
        return None
    for each in reported.value.ranges:
        if each.range_id == range_id:
            return each.status
    return None


def is_alive(view: TopologyView, node: str) -> bool:
    """Whether a node's lease stands."""
    seen = view.node(node)
    return seen is not None and seen.alive is not None


def complaint(view: TopologyView, placed: PlacedRange, *, tenant: str, table: str) -> str:
    """Say in a sentence why a range can't be used; "" if it can."""
    node = placed.placement.node
    if not is_alive(view, node):
        return f"Node {node} is not alive."
    status = held_status(view, node=node, tenant=tenant, table=table, range_id=placed.range_id)
    if status is values.HeldStatus.OKAY:
        return ""
    if status is None:
        return f"Node {node} has not said that it holds range {placed.range_id}."
    return f"Node {node} says of range {placed.range_id}: {status}."


def waits_for(view: TopologyView, table: TableView) -> str:
    """Say in a sentence why a table can't be used whole; "" if it can."""
    definition = table.definition
    if not table.ranges:
        return "Its ranges are not all published yet."
    for placed in table.ranges:
        why = complaint(view, placed, tenant=definition.tenant, table=definition.name)
        if why:
            return why
    return ""


def holders(
    view: TopologyView, tenant: str, table: str, *, ranges: Sequence[RangeRecord]
) -> tuple[str, ...]:
    """List the living nodes that say that they hold one of a table's ranges, sorted."""
    found = {
        str(each.node)
        for each in ranges
        if is_alive(view, each.node)
        and held_status(view, node=each.node, tenant=tenant, table=table, range_id=each.range_id)
        is not None
    }
    return tuple(sorted(found))
