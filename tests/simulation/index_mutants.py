"""Broken variants of global indexes: what of ADR 0021 makes one wrong if it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.service.cluster.index_lane import Lane
from tests.simulation.indexed import INDEXED
from tests.simulation.mutants import Mutant

if TYPE_CHECKING:
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


INDEX_MUTANTS: Final = (
    Mutant(
        name="notes_before_it_is_durable",
        patches=_notes_before_it_is_durable,
        scenario=INDEXED,
        seed=0,
    ),
)
