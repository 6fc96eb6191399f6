"""Whether the topology says that something is not a node's any more: asked before it is destroyed.

What is missing from a view proves nothing: the value may not parse, keys of one change come in
several transactions, the coordinator may be an old copy of itself, or one that is empty. So the
keys are read anew, linearizably, beside the one that says whose the coordinator is, and everything
that is not clear means: keep it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.status import ResourceStatus
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Found, Get, Transaction
from dstore.topology.view import PlacedRange, coverage_complaint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.model.tables import TableDefinition
    from dstore.topology.coordinator import Coordinator, KeyValue, Revision
    from dstore.topology.view import TopologyView


async def is_range_given_up(
    coordinator: Coordinator,
    view: TopologyView,
    *,
    control_plane: str,
    node: keys.ComponentId,
    definition: TableDefinition,
    range_id: str,
) -> bool:
    """Tell whether a range is certainly not a node's any more.

    It is if the node is not named as its holder, and the table is gone, is being deleted or is
    another one, or lies whole without this node's replica of the range.

    Args:
        coordinator: read from it.
        view: as this process knows the topology; an older coordinator proves nothing.
        control_plane: whose the coordinator must be; it alone decides what a node holds.
        node: which.
        definition: of the range's table, as it is held.
        range_id: the range.
    Raises: CoordinatorError: it could not be read.
    """
    tenant, table = definition.tenant, definition.name
    held_path, table_path = keys.NodeRangesPath(node, tenant, table), keys.TablePath(tenant, table)
    wanted = [held_path.path, table_path.path]
    found, revision = await _read(coordinator, view, wanted, control_plane=control_plane)
    if found is None:
        return False
    held_kv, table_kv = found
    try:
        if held_kv is not None:
            held = values.decode(held_path, held_kv.value)
            if any(each.range_id == range_id for each in held.ranges):
                return False
        if table_kv is None:
            return True
        shown = values.decode(table_path, table_kv.value)
        if shown.table_id != definition.table_id or shown.status is ResourceStatus.DELETING:
            return True
        listing = await coordinator.list(keys.ranges_prefix(tenant, table), revision=revision)
        return _lies_elsewhere(listing.kvs, node, table_id=shown.table_id, range_id=range_id)
    except values.Malformed:
        return False


async def is_tenant_gone(
    coordinator: Coordinator,
    view: TopologyView,
    *,
    control_plane: str,
    tenant: str,
    tenant_id: str,
) -> bool:
    """Tell whether a tenant is certainly gone: there is none of that name, or it is another one.

    Raises: CoordinatorError: the coordinator could not be read.
    """
    path = keys.TenantPath(tenant)
    found, _ = await _read(coordinator, view, [path.path], control_plane=control_plane)
    if found is None:
        return False
    [kv] = found
    try:
        return kv is None or values.decode(path, kv.value).uuid != tenant_id
    except values.Malformed:
        return False


async def _read(
    coordinator: Coordinator, view: TopologyView, wanted: Sequence[str], *, control_plane: str
) -> tuple[list[KeyValue | None] | None, Revision]:
    """Read keys at one revision; None if the coordinator proves nothing.

    So it is if it is not the one of the view, or older, or not `control_plane`'s by its own words:
    one that was made anew says nothing at all, and lacks what nodes hold.
    """
    cluster_id = await coordinator.cluster_id()
    gets = tuple(Get(key=key) for key in (keys.PLANE.path, *wanted))
    result = await coordinator.commit(Transaction(compares=(), then=gets))
    if cluster_id != view.cluster_id or result.revision < view.revision:
        return None, result.revision
    owner, *found = [each.kv for each in result.responses if isinstance(each, Found)]
    if owner is None or not _is_of(control_plane, owner):
        return None, result.revision
    return found, result.revision


def _is_of(control_plane: str, owner: KeyValue) -> bool:
    try:
        return values.decode(keys.PLANE, owner.value).control_plane == control_plane
    except values.Malformed:
        return False


def _lies_elsewhere(
    kvs: Sequence[KeyValue], node: keys.ComponentId, *, table_id: str, range_id: str
) -> bool:
    """Tell whether a table's ranges are all placed, this one on other nodes or not at all.

    Raises: Malformed.
    """
    placed: list[PlacedRange] = []
    for kv in kvs:
        path = keys.parse(kv.key)
        if not isinstance(path, keys.RangePath):
            return False
        placement = values.decode(path, kv.value)
        if placement.table_id != table_id:
            continue
        if placement.range_id == range_id and (
            not placement.is_settled  # nobody knows yet who has it
            or any(replica.node == node for replica in placement.replicas)
        ):
            return False
        placed.append(
            PlacedRange(low_hash=path.low_hash, placement=placement, mod_revision=kv.mod_revision)
        )
    placed.sort(key=lambda each: each.low_hash)
    return coverage_complaint(placed) is None
