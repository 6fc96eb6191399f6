"""Scrubs as the admin API sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.model.errors import RefusalKind, Refused
from dstore.replication.scrub_calls import ScrubTold
from dstore.service.control.scrubs import ScrubRow

if TYPE_CHECKING:
    from collections.abc import Sequence


class FakeScrubbing:
    """One table of two ranges; the primary of the second says nothing."""

    def __init__(self, node: str, silent: str) -> None:
        self.nodes = node, silent
        self.asked: list[tuple[str, str, bool, str]] = []
        self.told = ScrubTold(
            range_id="r-1",
            is_waiting=False,
            is_running=True,
            done_bytes=4_096,
            total_bytes=8_192,
            scrubbed_at_us=1_700_000_000_000_000,
            damaged=1,
            different=2,
            repairing=0,
            is_open=True,
            why="Damaged files: on node 1.",
        )

    async def scrubs(
        self, tenant: str, table: str, *, begins: bool, actor: str
    ) -> Sequence[ScrubRow]:
        """Remember what is asked."""
        self.asked.append((tenant, table, begins, actor))
        if table == "absent":
            raise Refused(RefusalKind.NOT_FOUND, "There is no such table.")
        node, silent = self.nodes
        return [
            ScrubRow(
                range_id="r-1", low_hash=0, high_hash=7, node=node, told=self.told, why="Found."
            ),
            ScrubRow(range_id="r-2", low_hash=8, high_hash=9, node=silent, told=None, why="Away."),
        ]
