"""What a range file may be told of the replication of its range, without other replicas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dstore.storage.range_writer import Prepared


class OnlyReplica:
    """The primary of a range that has no other replica, or, unless `is_alone`, seems to have."""

    wanted_after_seq: int | None = None

    def __init__(self, *, is_alone: bool = True) -> None:
        """Have heard of no batch yet."""
        self.is_alone = is_alone
        self.committed_seqs: list[int] = []
        self.missed_seqs: list[int] = []

    def ship(self, _prepared: Prepared) -> asyncio.Future[None]:
        """Hold a batch at once."""
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        held.set_result(None)
        return held

    def committed(self, prepared: Prepared) -> None:
        """Note it."""
        self.committed_seqs.append(prepared.end.seq)

    def missed(self, prepared: Prepared) -> bool:
        """Note it, and say whether others may hold it."""
        self.missed_seqs.append(prepared.end.seq)
        return self.is_alone

    def certain(self) -> None:
        """Be certain."""
