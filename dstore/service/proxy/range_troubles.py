"""Which ranges of a table are not as they should be, as a view shows them; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.service.control.held import complaint, living_in_sync
from dstore.service.directory import RangeTrouble, TroubledRange
from dstore.topology.values import RangeState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstore.model.tables import TableDefinition
    from dstore.topology.view import PlacedRange, TableView, TopologyView


def troubles(view: TopologyView, shown: TableView) -> Iterator[TroubledRange]:
    """Name the ranges of a table that have a trouble, each with its worst; about 15 µs a range."""
    for placed in shown.ranges:
        trouble = _trouble(view, placed, shown.definition)
        if trouble is not None:
            yield TroubledRange(
                range_id=placed.range_id,
                low_hash=placed.low_hash,
                high_hash=placed.high_hash,
                trouble=trouble,
            )


def _trouble(
    view: TopologyView, placed: PlacedRange, definition: TableDefinition
) -> RangeTrouble | None:
    if complaint(view, placed, tenant=definition.tenant, table=definition.name):
        return RangeTrouble.UNAVAILABLE
    placement, living = placed.placement, living_in_sync(view, placed)
    if living < placement.min_in_sync:
        return RangeTrouble.READ_ONLY
    if placement.state is RangeState.POSSIBLE_LOSS:
        return RangeTrouble.POSSIBLE_LOSS
    return RangeTrouble.UNDER_REPLICATED if living < placement.factor else None
