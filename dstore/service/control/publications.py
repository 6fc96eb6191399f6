"""What the coordinator shows of what control has decided, made from its records; pure.

Keys and values are `topology.keyspace` and `topology.values`; only control writes these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dstore.base.limits import TABLE_VALUE_BYTES_MAX
from dstore.model.errors import Corrupt, RefusalKind, Refused
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import decode_definition
from dstore.model.tables import TableDefinition
from dstore.service.control.sites import new_placement
from dstore.storage.control.records import (
    HolderState,
    NodeUuid,
    Publication,
    RangeId,
    RangeRecord,
    ReplicaRecord,
    SplitRecord,
    TableRecord,
    TenantRecord,
)
from dstore.topology import keyspace as keys
from dstore.topology import values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.service.control.sites import Site


def tenant_publication(record: TenantRecord, status: ResourceStatus) -> Publication:
    """Make what the coordinator shows of a tenant."""
    value = values.TenantValue(uuid=record.uuid, status=status, created_at_us=record.created_at_us)
    return Publication(key=keys.TenantPath(record.name).path, value=values.encode(value))


def table_publication(definition: TableDefinition, status: ResourceStatus) -> Publication:
    """Make what the coordinator shows of a table itself.

    Raises: Refused(TOO_LARGE): it is over TABLE_VALUE_BYTES_MAX.
    """
    value = values.encode(values.TableValue.of(definition, status))
    if len(value) > TABLE_VALUE_BYTES_MAX:
        raise Refused(
            RefusalKind.TOO_LARGE,
            f"The table's definition has {len(value)} bytes; at most {TABLE_VALUE_BYTES_MAX} are "
            "possible: use fewer indexes, tags or projected attributes.",
        )
    return Publication(key=keys.TablePath(definition.tenant, definition.name).path, value=value)


def table_publications(
    definition: TableDefinition,
    status: ResourceStatus,
    *,
    ranges: Sequence[RangeRecord],
    sites: Mapping[NodeUuid, Site],
    secondaries: Mapping[RangeId, Sequence[NodeUuid]] | None = None,
) -> tuple[Publication, ...]:
    """Make all that the coordinator shows of a new table: itself, its ranges, what nodes hold.

    Args:
        definition: the table.
        status: of it.
        ranges: all of them, by low hash.
        sites: the nodes that the ranges are on, and maybe others.
        secondaries: which nodes are to hold a range beside its primary.
    """
    others = secondaries or {}
    tenant, name = definition.tenant, definition.name
    published = [table_publication(definition, status)]
    of_node: dict[NodeUuid, list[values.HeldRange]] = defaultdict(list)
    for each in ranges:
        path = keys.RangePath(tenant, name, each.low_hash)
        nodes = (each.node, *others.get(each.range_id, ()))
        placement = new_placement(each, nodes=nodes, sites=sites)
        published.append(Publication(key=path.path, value=values.encode(placement)))
        held = values.HeldRange(
            low_hash=each.low_hash, high_hash=each.high_hash, range_id=each.range_id
        )
        for node in nodes:
            of_node[node].append(held)
    for node, its_ranges in of_node.items():
        value = values.NodeRanges(
            low_hash=its_ranges[0].low_hash,
            high_hash=its_ranges[0].high_hash,
            table_id=definition.table_id,
            ranges=tuple(its_ranges),
        )
        node_path = keys.NodeRangesPath(keys.ComponentId(node), tenant, name)
        published.append(Publication(key=node_path.path, value=values.encode(value)))
    return tuple(published)


def held_publication(
    record: TableRecord,
    node: NodeUuid,
    *,
    ranges: Sequence[RangeRecord],
    replicas: Sequence[ReplicaRecord],
) -> Publication:
    """Make what names to a node all that it is to hold of a table, but for what it is to give up.

    Args:
        record: the table.
        node: which.
        ranges: all of the table, by low hash.
        replicas: all of all of them.
    """
    its_ids = {
        each.range_id
        for each in replicas
        if each.node == node and each.state is not HolderState.LEAVING
    }
    held = tuple(
        values.HeldRange(low_hash=each.low_hash, high_hash=each.high_hash, range_id=each.range_id)
        for each in ranges
        if each.range_id in its_ids
    )
    key = keys.NodeRangesPath(keys.ComponentId(node), record.tenant, record.name).path
    if not held:
        return Publication(key=key, value=None)
    value = values.NodeRanges(
        low_hash=held[0].low_hash,
        high_hash=held[0].high_hash,
        table_id=record.table_id,
        ranges=held,
    )
    return Publication(key=key, value=values.encode(value))


def definition_of(record: TableRecord) -> TableDefinition:
    """Read a table's definition. Raises: Corrupt: a later version's, or damaged."""
    try:
        return decode_definition(
            record.definition, tenant=record.tenant, name=record.name, table_id=record.table_id
        )
    except ValueError as error:
        raise Corrupt(str(error), file="control", where=f"table {record.table_id}") from None


def withdrawals(
    record: TableRecord,
    ranges: Sequence[RangeRecord],
    replicas: Sequence[ReplicaRecord],
    *,
    splits: Sequence[SplitRecord],
) -> list[Publication]:
    """Make what takes a table's ranges from its nodes, and from those who look for them.

    Args:
        record: the table.
        ranges: all of them.
        replicas: all of all of them, those that leave included.
        splits: those begun: the upper child may stand there by now, the lower one under the
            parent's key. Once that is taken away no swap for them succeeds any more.
    """
    lows = [*(each.low_hash for each in ranges), *(each.at_hash for each in splits)]
    paths = [keys.RangePath(record.tenant, record.name, low).path for low in lows]
    paths += [
        keys.NodeRangesPath(keys.ComponentId(node), record.tenant, record.name).path
        for node in sorted({each.node for each in replicas})
    ]
    return [Publication(key=path, value=None) for path in paths]
