"""Nodes that say how far a global index is filled, as a test tells them, and fill nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from dstore.replication.index_calls import FillIndex, IndexFill
from dstore.replication.peers.errors import unreachable
from tests.support.replicas import TellingNode
from tests.support.topology import uuid


@dataclass(kw_only=True)
class FillingNodes:
    """A `Nodes` of the nodes 1 to 3, each the same.

    Attributes:
        is_done: what is said of ranges that are not in `done`.
        done: ranges, by id, that are filled whatever `is_done` says.
        is_lost: what is said of all ranges.
        is_dead: nobody answers anything about indexes.
        asked: how often each range was asked for, by (its id, the index's).
    """

    is_done: bool = True
    done: set[str] = field(default_factory=set)
    scanned: int = 7
    is_dead: bool = False
    is_lost: bool = False
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    _telling: TellingNode = field(default_factory=TellingNode)

    def peer(self, node: str, *, last_uri: str | None = None) -> FillingNodes:
        """See `Nodes.peer`."""
        del last_uri
        if node not in {uuid(number) for number in range(1, 4)}:
            raise unreachable("is not known here")
        return self

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> Any:
        """Answer FillIndex, and what every node answers control."""
        if not isinstance(request, FillIndex):
            return await self._telling.call(request, deadline_s=deadline_s, request_id=request_id)
        self.asked[request.range_id, request.index_id] += 1
        if self.is_dead:
            raise unreachable("is dead")
        is_done = self.is_done or request.range_id in self.done
        return IndexFill(is_done=is_done, scanned=self.scanned, is_lost=self.is_lost)

    async def close(self) -> None:
        """Have nothing to end."""
