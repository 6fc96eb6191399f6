"""What the lanes of a node share (`index_lane`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dstore.base.metrics import IndexMetrics
    from dstore.model.tables import TableDefinition
    from dstore.replication.surroundings import Surroundings
    from dstore.service.calls.feed_calls import FeedRange, RowsTaken
    from dstore.service.cluster.feed_room import FeedRoom
    from dstore.service.cluster.index_pages import FillTurns
    from dstore.topology.view import TopologyView


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneParts:
    """What the lanes of a node share.

    Attributes:
        around: what replicas share: files, peers, the pace of copies.
        view: the newest one.
        take: has a range of this node take rows, as `FeedRange` does.
        end_seq: up to where the log of a range that is served here is committed and durable.
            Raises: NotMine.
        turns: when they may look at entries.
        has_space: whether the disk has room.
        room: for what they have read.
        on_lost: told of a range, by its id, and an index that has lost its place in its log.
        counts: of what was fed.
    """

    around: Surroundings
    view: Callable[[], TopologyView]
    take: Callable[[FeedRange], Awaitable[RowsTaken]]
    end_seq: Callable[[str], int]
    turns: FillTurns
    has_space: Callable[[], bool]
    room: FeedRoom
    on_lost: Callable[[str, TableDefinition], None]
    counts: IndexMetrics
