"""The newest values of ranges that a node has seen in the coordinator, as rows of its database.

Functions take the node database's connection inside a transaction that somebody else owns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dstore.storage.table_records import Cut, cut_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import apsw


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedPlacement:
    """A range's value, as it was written at a revision; `value` is None if none was noted.

    `cut` says of a range that was split how, and `is_seed` of a child that it is none yet, as far
    as the node knows; what is noted changes neither.
    """

    range_id: str
    value: bytes | None
    epoch: int
    revision: int
    cut: Cut | None = None
    is_seed: bool = False


def note(connection: apsw.Connection, noted: Sequence[NotedPlacement]) -> None:
    """Note values of ranges that are held here, unless newer ones are there."""
    connection.executemany(
        "UPDATE range_of_table SET PLACEMENT = ?2, PLACEMENT_EPOCH = ?3, PLACEMENT_REVISION = ?4 "
        "WHERE RANGE_ID = ?1 AND (PLACEMENT_EPOCH, PLACEMENT_REVISION) < (?3, ?4)",
        [(each.range_id, each.value, each.epoch, each.revision) for each in noted],
    )


def read(connection: apsw.Connection, range_ids: Sequence[str]) -> Mapping[str, NotedPlacement]:
    """Read what was noted of ranges, by id; who is not in it is not held here."""
    found: dict[str, NotedPlacement] = {}
    for range_id in range_ids:
        rows: list[tuple[Any, ...]] = connection.execute(
            "SELECT PLACEMENT, PLACEMENT_EPOCH, PLACEMENT_REVISION, PARENT, CUT_AT, CUT_LOW, "
            "CUT_HIGH FROM range_of_table WHERE RANGE_ID = ?",
            (range_id,),
        ).fetchall()
        for value, epoch, revision, parent, *cut in rows:
            found[range_id] = NotedPlacement(
                range_id=range_id,
                value=value,
                epoch=epoch,
                revision=revision,
                cut=None if parent is not None else cut_of(*cut),
                is_seed=parent is not None,
            )
    return found
