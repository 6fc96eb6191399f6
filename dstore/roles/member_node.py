"""A data node in a cluster: proxies ask it over its peer listener, and no client does."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore import __version__
from dstore.api.admin.process import process_routes
from dstore.api.admin.status import NodeStatus, Report
from dstore.api.http.health import Readiness
from dstore.api.peer.server import PeerServer, watched_handshakes
from dstore.api.v1.entries import plan_deferred
from dstore.base.threads import in_thread
from dstore.replication.peers.calls import Calls, Methods
from dstore.replication.peers.websocket import websocket_peer
from dstore.replication.replica_calls import REPLICA_CALLS
from dstore.replication.scrub_calls import ASK_SCRUBS
from dstore.replication.split_calls import SPLIT_CALLS
from dstore.roles.base import Job, Mounted, Runtime, Surface
from dstore.roles.coordination import etcd_coordinator
from dstore.security.identity import ComponentRole, Identity
from dstore.security.keys import Purpose, derive
from dstore.service.calls.feed_calls import FEED_RANGE
from dstore.service.calls.range_calls import WRITE_ENTRY
from dstore.service.calls.recovery_calls import RECOVERIES, ask_recoveries
from dstore.service.cluster.forwarding import Forwarding
from dstore.service.cluster.node_details import NodePlace
from dstore.service.cluster.scrubs import ScrubSettings
from dstore.service.cluster_node import ClusterNode
from dstore.service.enrolment.membership import Membership
from dstore.service.node import Node, NodeOptions, open_node
from dstore.service.peer_pool import PeerPool
from dstore.storage import component_key
from dstore.storage.node_keys import KEY_FILE
from dstore.topology.keyspace import ComponentId
from dstore.topology.last_known_good import FILE_NAME, LastKnownGood
from dstore.topology.scopes import routing_and
from dstore.topology.watcher import TopologyWatcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from pathlib import Path
    from typing import Any

    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.base.metrics import Metrics
    from dstore.replication.peers.port import Peer
    from dstore.security.keys import ControlShare
    from dstore.service.client_env import Addresses
    from dstore.service.enrolment.records import Enrolment
    from dstore.settings import Settings

# Of another node.
_NODE_CALLS: Final = Calls((*REPLICA_CALLS, *SPLIT_CALLS, ASK_SCRUBS, FEED_RANGE, WRITE_ENTRY))


def node_options(settings: Settings) -> NodeOptions:
    """Say what the settings decide about a node's storage."""
    return NodeOptions(
        directory=settings.data,
        location=settings.location,
        page_cache_bytes=settings.page_cache_bytes,
        entry_cache_bytes=settings.entry_cache_bytes,
        open_files_max=settings.open_files_max,
        free_disk_bytes_min=settings.free_disk_bytes_min,
        wal_pages_checkpoint=settings.wal_pages_checkpoint,
        copy_bytes_per_s=settings.copy_bytes_per_s,
    )


def scrub_settings(runtime: Runtime) -> ScrubSettings:
    """Say what the settings decide about scrubs."""
    return ScrubSettings(
        period_s=runtime.settings.scrub_period_s,
        bytes_s=runtime.settings.scrub_bytes_s,
        counts=runtime.metrics.scrubs,
    )


def node_jobs(node: Node) -> Sequence[Coroutine[Any, Any, None]]:
    """List what runs beside an open node."""
    return (
        node.watch_disk(),
        node.tidy_files(),
        node.tidy_orphans(),
        node.store_quantities(),
        node.expire_items(),
        node.do_deferred(plan_deferred),
    )


def _jobs(forwarding: Forwarding, node: Node) -> Sequence[Coroutine[Any, Any, None]]:
    """List what runs beside an open node of a cluster, whose ranges may go to others."""
    forwarding.begin(node)
    return node_jobs(node)


async def mount_member(runtime: Runtime, enrolment: Enrolment) -> Mounted:
    """Bind a node's peer surface to its place in a cluster; it may be locked for a while.

    Raises: Refused: a setting can't be used. CertificateRefused: join again. Corrupt: a file.
    """
    settings, clock, entropy = runtime.settings, runtime.clock, runtime.entropy
    ending = AsyncExitStack()
    try:
        membership = await Membership.open(
            enrolment, calls=(RECOVERIES,), clock=clock, entropy=entropy
        )
        ending.push_async_callback(membership.close)
        coordinator = await etcd_coordinator(settings, clock=clock, entropy=entropy)
        ending.push_async_callback(coordinator.close)
        watcher = TopologyWatcher(
            coordinator,
            clock=clock,
            metrics=runtime.metrics,
            scope=routing_and(ComponentId(enrolment.component)),
            copy=await in_thread(partial(_copy_of, settings.data, enrolment, entropy=entropy)),
            recoveries=partial(ask_recoveries, membership.control),
        )
        dial = partial(_dial, membership, clock=clock, entropy=entropy)
        pool = PeerPool(watcher, dial=dial, tasks=runtime.tasks)
        ending.push_async_callback(pool.close)
        forwarding = Forwarding(
            enrolment.component,
            watcher,
            pool,
            clock=clock,
            tasks=runtime.tasks,
            metrics=runtime.metrics,
        )
        ending.callback(forwarding.close)
        membership.on_renewed(lambda: pool.redial("the certificate was renewed"))
        node = ClusterNode(
            NodePlace(
                identity=enrolment.identity,
                zone=settings.zone,
                version=__version__,
                started_at_us=runtime.started_at_us,
            ),
            coordinator=coordinator,
            watcher=watcher,
            control=membership.control,
            opening=partial(_open, runtime),
            jobs=partial(_jobs, forwarding),
            peer_of=pool.peer,
            clock=clock,
            entropy=entropy,
            rewrites_files=True,
            scrubs=scrub_settings(runtime),
            indexes=runtime.metrics.indexes,
        )
        ending.push_async_callback(node.close)
        peers = PeerServer(
            Methods(node.answered()),
            here=enrolment.identity,
            clock=clock,
            tasks=runtime.tasks,
            barred=membership.barred,
            metrics=runtime.metrics.peers,
        )
    except BaseException:
        await ending.aclose()
        raise
    member = _Member(
        runtime=runtime, membership=membership, watcher=watcher, node=node, peers=peers
    )
    return member.mounted(close=ending.aclose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A node in a cluster, put together."""

    runtime: Runtime
    membership: Membership
    watcher: TopologyWatcher
    node: ClusterNode
    peers: PeerServer

    def mounted(self, *, close: Callable[[], Awaitable[None]]) -> Mounted:
        """Describe what the process serves and runs; `close` lets go of what it has open."""
        return Mounted(
            routes={
                Surface.PEER: self.peers.routes,
                Surface.ADMIN: process_routes(self.runtime.metrics, measure=self._measure),
            },
            contexts={Surface.PEER: watched_handshakes(self.membership.tls.server)},
            jobs=(
                Job(name="membership", run=self.membership.run),
                Job(name="watch_topology", run=self.watcher.run),
                Job(name="copy_topology", run=self.watcher.keep_copy),
                Job(name="spare_topology", run=self._spare_topology),
                Job(name="node", run=self.node.run),
            ),
            ready=self._readiness,
            announce=self._announce,
            depart=self.node.depart,
            drain=self._drain,
            close=close,
        )

    def _readiness(self) -> Readiness:
        problem = self.node.problem
        return Readiness(is_ready=not problem, reason=problem)

    async def _announce(self, addresses: Addresses) -> None:
        assert addresses.peer_url is not None
        self.node.announce(addresses.peer_url)

    async def _drain(self, timeout_s: float) -> None:
        await self.node.drain()
        await self.peers.drain(timeout_s=timeout_s)

    def _measure(self, metrics: Metrics) -> None:
        runtime, node = self.runtime, self.node.node
        self.membership.measure(metrics)
        metrics.rewrites_pending.set(self.node.pending_rewrites)
        if node is None:
            return
        report = Report(
            roles=runtime.role_names, started_at_us=runtime.started_at_us, clock=runtime.clock
        )
        NodeStatus(node, report).measure(metrics)

    async def _spare_topology(self) -> None:
        """Keep the collector from looking at the view, which is large and lasts, ever again."""
        await self.watcher.known()
        gc.freeze()


async def _open(runtime: Runtime, share: ControlShare) -> Node:
    return await open_node(
        node_options(runtime.settings),
        clock=runtime.clock,
        entropy=runtime.entropy,
        on_fatal=runtime.on_fatal,
        on_batch=runtime.metrics.count_batch,
        expired=runtime.metrics.expiry,
        shares=[share],
    )


def _dial(membership: Membership, node: str, uri: str, *, clock: Clock, entropy: Entropy) -> Peer:
    """Make the peer of another node."""
    here = membership.identity
    return websocket_peer(
        uri,
        here=here,
        wanted=Identity(control_plane=here.control_plane, role=ComponentRole.NODE, uuid=node),
        tls=membership.tls,
        calls=_NODE_CALLS,
        clock=clock,
        entropy=entropy,
    )


def _copy_of(directory: Path, enrolment: Enrolment, *, entropy: Entropy) -> LastKnownGood:
    """Name the file of the last known good view, sealed with the node's own key alone."""
    path = directory / KEY_FILE
    is_there = path.exists()
    own = component_key.load(path) if is_there else component_key.create(path, entropy=entropy)
    owner = enrolment.identity.uri
    return LastKnownGood(
        directory / FILE_NAME,
        key=derive(own.key, purpose=Purpose.TOPOLOGY_COPY, context=[own.uuid, owner]),
        owner=owner,
        entropy=entropy,
    )
