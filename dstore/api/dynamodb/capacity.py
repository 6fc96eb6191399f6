"""Capacity units, and how an answer states what a request consumed.

A read unit is 4 KB, half of it if the read may be eventually consistent; a write unit is 1 KB.
Whatever is touched costs at least one of them, an item that is not there too.
Source: DynamoDB developer guide, "DynamoDB read and write operations".
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from dstore.base.limits import KIB

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_UNIT_BYTES: Final = 4 * KIB
WRITE_UNIT_BYTES: Final = 1 * KIB


class CapacityMode(StrEnum):
    """The values of ReturnConsumedCapacity."""

    NONE = "NONE"
    TOTAL = "TOTAL"
    INDEXES = "INDEXES"


def read_units(read_bytes: int, *, consistent: bool) -> float:
    """Count what reading so many bytes at once costs: one item, or a whole page."""
    units = max(1, -(-read_bytes // READ_UNIT_BYTES))
    return float(units) if consistent else units / 2


def write_units(write_bytes: int) -> float:
    """Count what writing an item costs; of the sizes before and after, the larger counts."""
    return float(max(1, -(-write_bytes // WRITE_UNIT_BYTES)))


def is_wanted(mode: str | None) -> bool:
    """Say whether the request asked for ConsumedCapacity, and so whether to count at all."""
    return mode is not None and mode != CapacityMode.NONE


def consumed(
    table_name: str,
    *,
    units: float,
    mode: str | None,
    local: Mapping[str, float] | None = None,
    other: Mapping[str, float] | None = None,
) -> dict[str, Any] | None:
    """Make a ConsumedCapacity; None if the request did not ask for it.

    Args:
        table_name: as the request named the table; an ARN comes back as an ARN.
        units: of the table, of `read_units` or `write_units`, or a sum of them.
        mode: the request's ReturnConsumedCapacity.
        local: the units of local indexes by name, those that were touched.
        other: the same of global ones.
    """
    if not is_wanted(mode):
        return None
    local, other = local or {}, other or {}
    total = units + sum(local.values()) + sum(other.values())
    capacity: dict[str, Any] = {"TableName": table_name, "CapacityUnits": total}
    if mode == CapacityMode.INDEXES:
        capacity["Table"] = {"CapacityUnits": units}
        for member, by_index in (
            ("LocalSecondaryIndexes", local),
            ("GlobalSecondaryIndexes", other),
        ):
            if by_index:
                capacity[member] = {
                    name: {"CapacityUnits": each} for name, each in by_index.items()
                }
    return capacity
