"""Broken variants of indexes: what of ADR 0020 and 0021 makes one wrong if it is missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.service.cluster.index_lane import Lane
from dstore.storage import memos, replica_copy, replica_log, sowing
from tests.simulation.indexed import INDEXED
from tests.simulation.mutants import Mutant

if TYPE_CHECKING:
    from dstore.storage.log_records import LogPoint
    from tests.simulation.mutants import Patches


def _notes_before_it_is_durable() -> Patches:
    """Note that an index has had a window before it has."""
    feed_window = Lane._feed_window

    async def feed(self: Lane, last_seq: int | None) -> bool:
        before_seq = self.fed_seq
        self.fed_seq = self._parts.end_seq(self.range_id)
        if self.fed_seq > before_seq and self.reader is not None:
            await self._note()
        self.fed_seq = before_seq
        return await feed_window(self, last_seq)

    return ((Lane, "_feed_window", feed),)


def _fills_what_is_not_noted() -> Patches:
    """Note of no zone that its entries may have been told."""
    note = Lane._note

    async def noted(self: Lane, **changes: Any) -> None:
        if "told_below" in changes and self.reader is not None:
            self.reader = msgspec.structs.replace(self.reader, **changes)
            return
        kept = self.reader
        if kept is not None and kept.told_below != b"":
            changes |= {"told_below": b""}
        await note(self, **changes)
        if kept is not None and self.reader is not None:
            self.reader = msgspec.structs.replace(self.reader, told_below=kept.told_below)

    return ((Lane, "_note", noted),)


def _begins_where_it_was_cut() -> Patches:
    """Have a child of a split take for told whatever its parent has not told."""
    ripen = sowing.ripen

    def ripened(connection: Any, *, range_id: str, epoch: int, point: LogPoint) -> None:
        ripen(connection, range_id=range_id, epoch=epoch, point=point)
        for reader_id, reader in memos.readers(connection).items():
            told = msgspec.structs.replace(reader, fed_seq=point.seq)
            memos.put(connection, memos.reader_name(reader_id), memos.encode(told))

    return ((sowing, "ripen", ripened),)


def _leaves_unread_records_behind() -> Patches:
    """Give children of a split, and copies, nothing of the log that stands before their own."""
    return ((replica_copy, "take_records", lambda *_: None),)


def _replays_entries_alone() -> Patches:
    """Keep no rows of local indexes where records are replayed."""
    nothing = SimpleNamespace(load=lambda _connection: None)
    return ((replica_log, "derived_rows", nothing),)


INDEX_MUTANTS: Final = tuple(
    Mutant(name=patches.__name__.strip("_"), patches=patches, scenario=INDEXED, seed=seed)
    for patches, seed in (
        (_notes_before_it_is_durable, 0),
        (_fills_what_is_not_noted, 0),
        (_begins_where_it_was_cut, 1),
        (_leaves_unread_records_behind, 1),
        (_replays_entries_alone, 0),
    )
)
