"""Splits that the store knows nothing of, since it was put back from before they were begun.

An attempt is written down before the primary hears of it. So children of which the store has no
row were swapped in after the moment from which it was restored; nothing that is published says so,
since that is done when a split is finished. What the coordinator shows is what nodes serve, and is
never undone: so the attempt is written down again, as begun, and then finished like any other.

Looked for once in a term: a store is put back while no control process runs on it.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.storage.control import splits, tables
from dstore.storage.control.records import RangeId, SplitRecord, SplitState, SplitWhy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from dstore.service.control.leader import Term
    from dstore.service.control.realm import Realm
    from dstore.storage.control.records import RangeRecord
    from dstore.storage.control.store import Key
    from dstore.topology.view import PlacedRange, TableView, TopologyView

_log: Final = get_logger(__name__)

_Pair = tuple["TableView", "PlacedRange", "PlacedRange"]


async def recall(realm: Realm, term: Term) -> int:
    """Write down the splits that the view shows and the store does not know.

    The view is one that is known to be the coordinator's. Returns: how many there were.
    Raises: NotLeading, Unavailable, Unknown: again; those that are written down stay so.
    """
    view = realm.watcher.view
    known = await _known(realm)
    found = await in_thread(partial(_unknown, view, known))
    count = 0
    for table, low, high in found:
        count += await _write_down(realm, term, table, low=low, high=high)
    return count


async def _known(realm: Realm) -> frozenset[str]:
    """Read the ids of all ranges; a page is one transaction of the store."""
    found: set[str] = set()
    after: Key | None = None
    while True:
        async with realm.plane.store.snapshot() as tx:
            page = await tables.page_of_ranges(tx, after=after)
        found.update(each.range_id for each in page.records)
        if (after := page.after) is None:
            return frozenset(found)


def _unknown(view: TopologyView, known: AbstractSet[str]) -> list[_Pair]:
    """Find neighbours that the store does not know; about 0.2 µs a range."""
    return [
        (table, low, high)
        for tenant in view.tenants.values()
        for table in tenant.tables.values()
        if table.status is ResourceStatus.ACTIVE
        for low, high in _neighbours(table)
        if low.range_id not in known and high.range_id not in known
    ]


def _neighbours(table: TableView) -> Iterator[tuple[PlacedRange, PlacedRange]]:
    return pairwise(table.ranges)


async def _write_down(
    realm: Realm, term: Term, table: TableView, *, low: PlacedRange, high: PlacedRange
) -> bool:
    """Write one down, if the store has one range in the place of both. Returns: whether it has."""
    table_id = TableId(table.definition.table_id)
    async with term.transaction() as tx:
        record = await tables.get_by_id(tx, table_id)
        if record is None or record.status is not ResourceStatus.ACTIVE:
            return False
        recorded = await tables.ranges(tx, table_id)
        ids = {each.range_id for each in recorded}
        parent = next((each for each in recorded if _lies_there(each, low, high)), None)
        if parent is None or low.range_id in ids or high.range_id in ids:
            return False
        split = SplitRecord(
            range_id=parent.range_id,
            table_id=table_id,
            epoch=min(low.placement.epoch, high.placement.epoch) - 1,
            at_hash=high.low_hash,
            low_id=RangeId(low.range_id),
            high_id=RangeId(high.range_id),
            why=SplitWhy.UNKNOWN,
            state=SplitState.BEGUN,
            begun_at_us=realm.clock.wall_us(),
        )
        is_new = await splits.begin(tx, split)
    if is_new:
        _log.warning("split_recalled", range=parent.range_id, low=low.range_id, high=high.range_id)
    return is_new


def _lies_there(record: RangeRecord, low: PlacedRange, high: PlacedRange) -> bool:
    return (record.low_hash, record.high_hash) == (low.low_hash, high.placement.high_hash)
