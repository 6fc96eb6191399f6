"""Tables, their ranges, and the nodes that are to have a replica of a range.

What is decided here the coordinator shows. Who is the primary of a range, and who is in sync, is
decided there (`topology.values.RangePlacement`), and stands nowhere here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dstore.base.limits import (
    CONTROL_PAGE_MAX,
    GLOBAL_INDEXES_MAX,
    MOVES_LEAVING_MAX,
    RANGE_REPLICAS_MAX,
    RANGES_PER_TABLE_MAX,
)
from dstore.model.hashing import HASH_MAX
from dstore.model.tables import TableId
from dstore.storage.control import splits
from dstore.storage.control.records import (
    HolderState,
    NodeUuid,
    RangeId,
    RangeRecord,
    ReplicaRecord,
    TableRecord,
)
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Key, Page, Transaction

_TABLES: Final = Relation(
    TableRecord, "table_definition", key=("tenant", "name"), noun="A table of this name"
)
_RANGES: Final = Relation(RangeRecord, "table_range", key=("range_id",), noun="A range of this ID")
_REPLICAS: Final = Relation(
    ReplicaRecord, "range_replica", key=("range_id", "node"), noun="A replica there"
)


async def insert(
    tx: Transaction,
    table: TableRecord,
    ranges: Sequence[RangeRecord],
    *,
    secondaries: Mapping[RangeId, Sequence[NodeUuid]] | None = None,
) -> None:
    """Add a table with its ranges, which share the hashes out without gap or overlap (I8).

    Args:
        tx: the transaction.
        table: the table.
        ranges: all of them, by low hash; the node of each holds it.
        secondaries: which nodes are to hold a range beside that one, all different.
    Raises: Refused(CONFLICT): there is one of its name, or a node of a range is unknown.
    """
    assert 1 <= len(ranges) <= RANGES_PER_TABLE_MAX, len(ranges)
    assert [each.low_hash for each in ranges] == [
        0,
        *(each.high_hash + 1 for each in ranges[:-1]),
    ], "a gap or an overlap"
    assert ranges[-1].high_hash == HASH_MAX, "a gap at the end"
    assert {each.table_id for each in ranges} == {table.table_id}
    await _TABLES.insert(tx, table)
    others = secondaries or {}
    for each in ranges:
        await _RANGES.insert(tx, each)
        for node in (each.node, *others.get(each.range_id, ())):
            await add_replica(tx, each.range_id, node)


async def get(tx: Transaction, tenant: str, name: str) -> TableRecord | None:
    """Find a table by its name."""
    return await _TABLES.find(tx, tenant=tenant, name=name)


async def get_by_id(tx: Transaction, table_id: TableId) -> TableRecord | None:
    """Find a table by its UUID."""
    return await _TABLES.find(tx, table_id=table_id)


async def update(tx: Transaction, table: TableRecord) -> None:
    """Write a table anew: another definition or status. Raises: Refused(NOT_FOUND)."""
    await _TABLES.update(tx, table)


async def page(
    tx: Transaction, tenant: str, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[TableRecord]:
    """List a tenant's tables by name; `after` is (name,)."""
    return await _TABLES.page(tx, after=after, limit=limit, tenant=tenant)


async def page_of_all(
    tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[TableRecord]:
    """List every tenant's tables; `after` is (tenant, name)."""
    return await _TABLES.page(tx, after=after, limit=limit)


async def indexes_of(tx: Transaction, base_id: TableId) -> tuple[TableRecord, ...]:
    """Read the hidden tables of a table's global indexes by name, those that go included."""
    bound = 2 * GLOBAL_INDEXES_MAX
    return await _TABLES.select(tx, f"WHERE base_id = $1 ORDER BY name LIMIT {bound}", base_id)


async def count_of_tenant(tx: Transaction, tenant: str) -> int:
    """Count a tenant's own tables."""
    counted = await tx.rows(
        "SELECT COUNT(*) FROM table_definition WHERE tenant = $1 AND base_id IS NULL", tenant
    )
    found: int = counted[0][0]
    return found


async def replace_range(
    tx: Transaction,
    parent: RangeRecord,
    children: Sequence[RangeRecord],
    *,
    holders: Mapping[NodeUuid, HolderState],
) -> None:
    """Put ranges in the place of one; they share its hashes out without gap or overlap (I8).

    Args:
        tx: the transaction.
        parent: is removed, with its replicas.
        children: by low hash.
        holders: who is to have a replica of each, or to be rid of it.
    Raises: Refused(CONFLICT): there is one like a child, or a node is unknown.
    """
    assert [(each.low_hash, each.high_hash) for each in children] == [
        (parent.low_hash, children[0].high_hash),
        (children[0].high_hash + 1, parent.high_hash),
    ], "a gap or an overlap"
    await _REPLICAS.delete(tx, range_id=parent.range_id)
    await _RANGES.delete(tx, range_id=parent.range_id)
    for each in children:
        await _RANGES.insert(tx, each)
        for node, state in holders.items():
            held = ReplicaRecord(range_id=each.range_id, node=node, state=state)
            await _REPLICAS.insert(tx, held)


async def delete(tx: Transaction, table_id: TableId) -> bool:
    """Remove a table, its ranges, their replicas and splits. Returns: whether there was one."""
    await splits.forget(tx, table_id)
    await tx.change(
        "DELETE FROM range_replica WHERE range_id IN "
        "(SELECT range_id FROM table_range WHERE table_id = $1)",
        table_id,
    )
    await _RANGES.delete(tx, table_id=table_id)
    return await _TABLES.delete(tx, table_id=table_id) == 1


async def ranges(tx: Transaction, table_id: TableId) -> tuple[RangeRecord, ...]:
    """Read a table's ranges by their low hashes; at most RANGES_PER_TABLE_MAX."""
    return await _RANGES.select(
        tx,
        f"WHERE table_id = $1 ORDER BY low_hash LIMIT {RANGES_PER_TABLE_MAX}",
        table_id,
    )


async def get_range(tx: Transaction, range_id: RangeId) -> RangeRecord | None:
    """Find a range by its UUID."""
    return await _RANGES.find(tx, range_id=range_id)


async def page_of_ranges(
    tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[RangeRecord]:
    """List the ranges of all tables by UUID; `after` is (range_id,)."""
    return await _RANGES.page(tx, after=after, limit=limit)


async def replicas(tx: Transaction, table_id: TableId) -> tuple[ReplicaRecord, ...]:
    """Read the replicas of all ranges of a table, those that leave included, by range and node."""
    bound = RANGES_PER_TABLE_MAX * RANGE_REPLICAS_MAX
    its_ranges = "range_id IN (SELECT range_id FROM table_range WHERE table_id = $1)"
    return await _REPLICAS.select(
        tx, f"WHERE {its_ranges} ORDER BY range_id, node LIMIT {bound}", table_id
    )


async def get_replica(tx: Transaction, range_id: RangeId, node: NodeUuid) -> ReplicaRecord | None:
    """Find a node's replica of a range."""
    return await _REPLICAS.find(tx, range_id=range_id, node=node)


async def add_replica(tx: Transaction, range_id: RangeId, node: NodeUuid) -> None:
    """Have a node hold a replica of a range.

    Raises: Refused(CONFLICT): it does already, or still, or there is no such range or node.
    """
    await _REPLICAS.insert(
        tx, ReplicaRecord(range_id=range_id, node=node, state=HolderState.HOLDING)
    )


async def mark_replica(tx: Transaction, record: ReplicaRecord) -> None:
    """Say what is wanted of a node's replica of a range, whether it has one or gets one.

    Raises: Refused(CONFLICT): there is no such range or node.
    """
    if not await _REPLICAS.insert_new(tx, record):
        await _REPLICAS.update(tx, record)


async def replicas_on_their_way(
    tx: Transaction, *, limit: int = MOVES_LEAVING_MAX
) -> tuple[ReplicaRecord, ...]:
    """Read replicas that are retiring or leaving, by range and node."""
    return await _REPLICAS.select(
        tx, f"WHERE state <> 'holding' ORDER BY range_id, node LIMIT {limit}"
    )


async def mark_leaving(tx: Transaction, range_id: RangeId, node: NodeUuid) -> None:
    """Have a node give its replica of a range up. Raises: Refused(NOT_FOUND): it has none."""
    await _REPLICAS.update(
        tx, ReplicaRecord(range_id=range_id, node=node, state=HolderState.LEAVING)
    )


async def remove_replica(tx: Transaction, range_id: RangeId, node: NodeUuid) -> bool:
    """Forget a replica that has left; one that has not been marked so stays.

    Returns: whether there was one.
    """
    left = await _REPLICAS.delete(tx, range_id=range_id, node=node, state=HolderState.LEAVING)
    return left == 1


async def ranges_of_node(
    tx: Transaction, node: NodeUuid, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[RangeRecord]:
    """List the ranges of which a node has a replica, or is leaving one, by range UUID."""
    page = await _REPLICAS.page(tx, after=after, limit=limit, node=node)
    if not page.records:
        return Page(records=(), after=None)
    found = await _RANGES.select(
        tx,
        "WHERE range_id IN (SELECT range_id FROM range_replica WHERE node = $1 "
        "AND range_id BETWEEN $2 AND $3) ORDER BY range_id",
        node,
        page.records[0].range_id,
        page.records[-1].range_id,
    )
    return Page(records=found, after=page.after)


async def tenants_of_node(tx: Transaction, node: NodeUuid) -> frozenset[str]:
    """Name the tenants of which a node has a replica of a range, or is leaving one."""
    found = await tx.rows(
        "SELECT DISTINCT d.tenant FROM range_replica p "
        "JOIN table_range r ON r.range_id = p.range_id "
        "JOIN table_definition d ON d.table_id = r.table_id WHERE p.node = $1",
        node,
    )
    return frozenset(row[0] for row in found)


async def replicas_by_node(tx: Transaction) -> Mapping[NodeUuid, int]:
    """Count the replicas of each node that has any: the load that placement evens out."""
    counted = await tx.rows("SELECT node, COUNT(*) FROM range_replica GROUP BY node")
    return {NodeUuid(node): count for node, count in counted}


async def replicas_of_node(tx: Transaction, node: NodeUuid) -> tuple[int, int]:
    """Count a node's replicas: those that it is to have, and those that it is leaving."""
    counted = await tx.rows(
        "SELECT COUNT(*), COUNT(CASE WHEN state = 'leaving' THEN 1 END) "
        "FROM range_replica WHERE node = $1",
        node,
    )
    count, leaving = counted[0]
    return count - leaving, leaving


async def forget_left(tx: Transaction, node: NodeUuid) -> int:
    """Forget all replicas that a node is leaving. Returns: how many."""
    return await _REPLICAS.delete(tx, node=node, state=HolderState.LEAVING)


async def primaries_by_node(tx: Transaction) -> Mapping[NodeUuid, int]:
    """Count the ranges that were made with each node as their primary."""
    counted = await tx.rows("SELECT node, COUNT(*) FROM table_range GROUP BY node")
    return {NodeUuid(node): count for node, count in counted}


async def count_ranges(tx: Transaction) -> int:
    """Count the ranges of all tables, each once, however many replicas it has."""
    counted = await tx.rows("SELECT COUNT(*) FROM table_range")
    found: int = counted[0][0]
    return found


async def count(tx: Transaction) -> int:
    """Count the tables, without the hidden ones of indexes."""
    counted = await tx.rows("SELECT COUNT(*) FROM table_definition WHERE base_id IS NULL")
    found: int = counted[0][0]
    return found
