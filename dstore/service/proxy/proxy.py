"""A proxy, put together: the use cases of clients, over the topology, control and the nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dstore.base.tasks import Tasks
from dstore.service.entry_audit import EntryAudit
from dstore.service.expiry_states import ExpiryStates
from dstore.service.items import Items
from dstore.service.peer_pool import PeerPool
from dstore.service.proxy.node_calls import NodeCalls
from dstore.service.proxy.proxy_access import ProxyAccess
from dstore.service.proxy.range_news import RangeNews
from dstore.service.proxy.remote_deferred import RemoteDeferred
from dstore.service.proxy.remote_ranges import RemoteRanges
from dstore.service.proxy.remote_registrar import RemoteRegistrar
from dstore.service.proxy.view_directory import ViewDirectory
from dstore.service.range_walks import RangeWalks
from dstore.service.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.base.metrics import Metrics
    from dstore.replication.peers.port import Peer
    from dstore.service.directory import Directory, Registrar
    from dstore.service.peer_pool import Dial
    from dstore.service.ranges import Ranges
    from dstore.service.use_cases import Gatekeeper
    from dstore.topology.watcher import TopologyWatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A node in the proxy's own process: it is asked by reference, and nothing is encoded."""

    peer: Peer
    ranges: Ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a proxy works with.

    Attributes:
        watcher: of the topology; its tasks are somebody else's.
        control: whichever control can answer.
        dial: makes the peer of a node elsewhere.
        metrics: count what is hidden from clients.
        near: nodes in this process, by UUID.
        location: stands in RIDs.
    """

    watcher: TopologyWatcher
    control: Peer
    dial: Dial
    clock: Clock
    entropy: Entropy
    metrics: Metrics
    location: str
    near: Mapping[str, Near] = field(default_factory=dict)


class Proxy:
    """A `use_cases.UseCases` that has others do the work. Used from one event loop."""

    def __init__(self, around: Surroundings, *, access: Gatekeeper | None = None) -> None:
        """Wire the use cases; `access` is who knows the clients, if it is not a `ProxyAccess`."""
        clock, near = around.clock, around.near
        self._tasks = Tasks(_never)
        directory = ViewDirectory(around.watcher, location=around.location)
        self.directory: Directory = directory
        self.credentials = ProxyAccess(directory, clock=clock, entropy=around.entropy)
        self.access: Gatekeeper = self.credentials if access is None else access
        self.peers = PeerPool(
            around.watcher,
            dial=around.dial,
            tasks=self._tasks,
            near={node: one.peer for node, one in near.items()},
        )
        self._news = RangeNews(around.watcher)
        calls = NodeCalls(
            self.peers, self._news, clock=clock, tasks=self._tasks, metrics=around.metrics
        )
        self.ranges = RemoteRanges(
            calls, tasks=self._tasks, near={node: one.ranges for node, one in near.items()}
        )
        self.registrar: Registrar = RemoteRegistrar(
            around.control,
            watcher=around.watcher,
            directory=directory,
            clock=clock,
            entropy=around.entropy,
        )
        self.walks = RangeWalks(directory, self.ranges)
        self.items = Items(directory, self.ranges, self.walks)
        self.tables = Tables(self.registrar, clock, expiry=ExpiryStates(self.ranges))
        self.deferred = RemoteDeferred(directory, self.items, calls)
        self.entry_audit = EntryAudit()

    async def close(self) -> None:
        """Let writes under way end, tell the audit, and leave the nodes. Safe to call twice."""
        await self._tasks.drain()
        self.entry_audit.flush()
        self._news.close()
        await self.peers.close()
        await self._tasks.close()


def _never(error: BaseException) -> None:
    """Take the failure of a critical task; there is none here."""
    raise AssertionError from error
