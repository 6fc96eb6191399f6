"""Accepted writes are done where their ranges are by then, which may be at another node.

Who accepts a write holds the range at that moment, and keeps the write in its own queue. When it is
done, perhaps after a restart, another node may be the primary: then it is asked as a proxy asks it.
Each goes by its own durable name, so that one that was done, and whose answer was lost, is not done
again (I9), wherever it was done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.service.items import Items
from dstore.service.proxy.node_calls import NodeCalls
from dstore.service.proxy.range_news import RangeNews
from dstore.service.proxy.remote_ranges import RemoteRanges
from dstore.service.proxy.view_directory import ViewDirectory
from dstore.service.range_walks import RangeWalks

if TYPE_CHECKING:
    from dstore.base.clock import Clock
    from dstore.base.metrics import Metrics
    from dstore.base.tasks import Tasks
    from dstore.service.node import Node
    from dstore.service.peer_pool import PeerPool
    from dstore.topology.watcher import TopologyWatcher


class Forwarding:
    """One node's way to all ranges. Used from one event loop."""

    def __init__(
        self,
        me: str,
        watcher: TopologyWatcher,
        peers: PeerPool,
        *,
        clock: Clock,
        tasks: Tasks,
        metrics: Metrics,
    ) -> None:
        """Find ranges in the view of `watcher`, and call their nodes by `peers`.

        `me` is this node's UUID: its own ranges are asked by reference. `tasks` own writes under
        way; `metrics` count.
        """
        self._me = me
        self._news = RangeNews(watcher)
        self._watcher = watcher
        self._calls = NodeCalls(peers, self._news, clock=clock, tasks=tasks, metrics=metrics)
        self._tasks = tasks

    def begin(self, node: Node) -> None:
        """Have what `node` has accepted done where it belongs, from now on."""
        directory = ViewDirectory(self._watcher, location=node.directory.location)
        ranges = RemoteRanges(self._calls, tasks=self._tasks, near={self._me: node.ranges})
        node.deferred.route(Items(directory, ranges, RangeWalks(directory, ranges)))

    def close(self) -> None:
        """Follow the view no more."""
        self._news.close()
