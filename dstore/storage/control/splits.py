"""Splits of ranges: what was begun, and what came of it (ADR 0018).

An attempt is written down before the primary hears of it, and nothing is drawn anew as long as that
one may come true. So whatever stands in the coordinator in a range's place is known by this row.

begun -> done | abandoned      each arrow is a conditional update; abandoned is followed by the next
"""

from __future__ import annotations

from typing import Final

from dstore.base.split_limits import SPLITS_OPEN_MAX
from dstore.model.tables import TableId
from dstore.storage.control.records import RangeId, SplitRecord, SplitState
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Transaction

_SPLITS: Final = Relation(
    SplitRecord, "range_split", key=("range_id",), noun="A split of this range"
)


async def begin(tx: Transaction, record: SplitRecord) -> bool:
    """Write an attempt down, in the place of an abandoned one of a former epoch.

    Returns: False: there is another one that has been, or may yet be.
    """
    assert record.state is SplitState.BEGUN
    if await _SPLITS.insert_new(tx, record):
        return True
    known = await get(tx, record.range_id)
    if known is None or known.state is not SplitState.ABANDONED or known.epoch >= record.epoch:
        return False
    await _SPLITS.update(tx, record)
    return True


async def get(tx: Transaction, range_id: RangeId) -> SplitRecord | None:
    """Find the newest attempt to split a range."""
    return await _SPLITS.find(tx, range_id=range_id)


async def begun(tx: Transaction, *, limit: int = SPLITS_OPEN_MAX) -> tuple[SplitRecord, ...]:
    """List the attempts of which nobody knows yet what comes of them, the oldest first."""
    return await _SPLITS.select(
        tx, f"WHERE state = 'begun' ORDER BY begun_at_us, range_id LIMIT {limit}"
    )


async def begun_of_table(tx: Transaction, table_id: TableId) -> tuple[SplitRecord, ...]:
    """List the same of a table; there are as many as it has ranges at the most."""
    return await _SPLITS.select(
        tx, "WHERE table_id = $1 AND state = 'begun' ORDER BY range_id", table_id
    )


async def end(tx: Transaction, record: SplitRecord, state: SplitState, *, now_us: int) -> bool:
    """Say what became of an attempt. Returns: False: it is not that one any more, or has ended."""
    changed = await tx.change(
        "UPDATE range_split SET state = $3, ended_at_us = $4 "
        "WHERE range_id = $1 AND low_id = $2 AND state = 'begun'",
        record.range_id,
        record.low_id,
        state,
        now_us,
    )
    return changed == 1


async def forget(tx: Transaction, table_id: TableId) -> int:
    """Forget all splits of a table that goes. Returns: how many."""
    return await _SPLITS.delete(tx, table_id=table_id)
