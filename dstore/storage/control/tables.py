"""Tables and their ranges: what exists, and where control placed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dstore.base.limits import CONTROL_PAGE_MAX, RANGES_PER_TABLE_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.model.hashing import HASH_MAX
from dstore.model.tables import TableId
from dstore.storage.control.records import NodeUuid, RangeId, RangeRecord, TableRecord
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Key, Page, Transaction

_TABLES: Final = Relation(
    TableRecord, "table_definition", key=("tenant", "name"), noun="A table of this name"
)
_RANGES: Final = Relation(RangeRecord, "table_range", key=("range_id",), noun="A range of this ID")


async def insert(tx: Transaction, table: TableRecord, ranges: Sequence[RangeRecord]) -> None:
    """Add a table with its ranges, which share the hashes out without gap or overlap (I8).

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
    for each in ranges:
        await _RANGES.insert(tx, each)


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


async def delete(tx: Transaction, table_id: TableId) -> bool:
    """Remove a table and its ranges. Returns: whether there was one."""
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


async def move_range(tx: Transaction, moved: RangeRecord, *, from_epoch: int) -> None:
    """Write where a range is now, if it is still of the epoch that the decision was made on.

    Raises: Refused(CONFLICT): it is of another epoch, or gone.
    """
    changed = await tx.change(
        "UPDATE table_range SET epoch = $3, node = $4, status = $5 "
        "WHERE range_id = $1 AND epoch = $2",
        moved.range_id,
        from_epoch,
        moved.epoch,
        moved.node,
        moved.status,
    )
    if changed == 0:
        raise Refused(RefusalKind.CONFLICT, "The range has moved on; look at it again.")


async def ranges_of_node(
    tx: Transaction, node: NodeUuid, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[RangeRecord]:
    """List the ranges of which a node is the primary, by range UUID."""
    return await _RANGES.page(tx, after=after, limit=limit, node=node)


async def tenants_of_node(tx: Transaction, node: NodeUuid) -> frozenset[str]:
    """Name the tenants of which a node is the primary of a range, at least of one."""
    found = await tx.rows(
        "SELECT DISTINCT d.tenant FROM table_range r "
        "JOIN table_definition d ON d.table_id = r.table_id WHERE r.node = $1",
        node,
    )
    return frozenset(row[0] for row in found)


async def ranges_by_node(tx: Transaction) -> Mapping[NodeUuid, int]:
    """Count the ranges of each node that has any: the load that placement evens out."""
    counted = await tx.rows("SELECT node, COUNT(*) FROM table_range GROUP BY node")
    return {NodeUuid(node): count for node, count in counted}


async def count(tx: Transaction) -> int:
    """Count the tables."""
    counted = await tx.rows("SELECT COUNT(*) FROM table_definition")
    found: int = counted[0][0]
    return found
