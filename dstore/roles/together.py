"""All roles in one process: control, a node and a proxy that ask each other by reference.

Nothing listens for components and nothing is encoded on the way between them. The coordinator is
embedded; it and control's store lie in the data directory, sealed or encrypted, so that no name can
be read there (I2). A directory that a stand-alone node has made is taken over at the first start.

Order of a start: control's key and store, the coordinator, control and what it runs, the node; then
the node is entered and, once, adopted; only then does it do what the topology says.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore import __version__
from dstore.api.admin.door import LocalDoor
from dstore.api.admin.status import NodeStatus, Report
from dstore.api.dynamodb.door import dynamodb_routes
from dstore.api.http.health import Readiness
from dstore.api.v1.routes import v1_routes
from dstore.base.limits import CONTROL_PAGE_CACHE_BYTES, TOGETHER_START_S
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import Corrupt, Unavailable, UnavailableKind, invalid
from dstore.replication.peers.calls import Methods
from dstore.replication.peers.direct import DirectPeer
from dstore.replication.peers.errors import unreachable
from dstore.roles.base import Mounted, Runtime, Surface
from dstore.roles.control_keys import control_key
from dstore.roles.control_process import ControlProcess
from dstore.roles.lost_topology import TOPOLOGY_FILE, recovers_topology
from dstore.roles.member_node import node_jobs, node_options, scrub_settings
from dstore.roles.proxy_presence import proxy_presence
from dstore.security.sealer import KeySealer
from dstore.service.client_env import write_client_env
from dstore.service.cluster.boot_counter import BootCounter
from dstore.service.cluster.node_details import NodePlace
from dstore.service.cluster_node import ClusterNode
from dstore.service.control.adoption import Adoption, check_keeper
from dstore.service.control.leader import NotLeading
from dstore.service.control.placement import Candidate
from dstore.service.control.plane import follow_location, open_plane
from dstore.service.control.residents import Residents, enter_residents, uri_of
from dstore.service.control.sites import Site
from dstore.service.node import Node, open_node
from dstore.service.whole import Surroundings, Whole, WholeKeeper
from dstore.storage.control.opening import SQLITE_FILE
from dstore.storage.control.vaulted import open_own_store
from dstore.storage.table_records import NODE_FILE
from dstore.storage.vault.vault import Vault
from dstore.topology import keyspace as keys
from dstore.topology.embedded import EmbeddedCoordinator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from dstore.api.http.route import Route
    from dstore.replication.peers.port import Peer
    from dstore.security.control_key import ControlKey
    from dstore.security.identity import Identity
    from dstore.security.keys import ControlShare
    from dstore.service.client_env import Addresses
    from dstore.service.control.plane import ControlPlane
    from dstore.topology.coordinator import Coordinator

_LOOK_S: Final = 0.002  # between two looks for what takes milliseconds

_log: Final = get_logger(__name__)


async def mount(runtime: Runtime) -> Mounted:
    """Open everything, and serve clients and the operator from it.

    Raises: Corrupt, Unavailable, Refused: what is in the data directory can't be used, and why.
    """
    if runtime.settings.etcd_endpoints is not None:
        raise invalid(
            "Control, node and proxy in one process keep the topology themselves: leave "
            "etcd.endpoints out, or run each role as a process of its own."
        )
    ending = AsyncExitStack()
    try:
        process = await _Process.open(runtime, ending)
    except BaseException:
        await ending.aclose()
        raise
    return process.mounted(close=ending.aclose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """The three of them, open."""

    runtime: Runtime
    control: ControlProcess
    coordinator: Coordinator
    residents: Residents
    node: Node
    cluster_node: ClusterNode
    whole: Whole
    keeper: WholeKeeper

    @classmethod
    async def open(cls, runtime: Runtime, ending: AsyncExitStack) -> _Process:
        """Open files, put the parts together; nothing is decided or given up yet."""
        settings, clock, entropy = runtime.settings, runtime.clock, runtime.entropy
        node = await _opened_node(runtime)
        ending.push_async_callback(node.close)
        key = await in_thread(partial(_control_key, runtime))
        plane = await _opened_plane(runtime, key, ending)
        residents = await enter_residents(
            plane,
            node=node.uuid,
            zone=settings.zone,
            version=__version__,
            clock=clock,
            entropy=entropy,
        )
        coordinator = await _opened_coordinator(runtime, key, ending)
        control = await ControlProcess.open(
            runtime, plane, coordinator, uri=uri_of(residents.control)
        )
        as_node, as_proxy = (
            _direct(runtime, control, who=who, ending=ending)
            for who in (residents.node, residents.proxy)
        )
        around = Surroundings(
            node=node,
            watcher=control.watcher,
            control=as_proxy,
            credentials=control.control.credentials,
            feed=control.feed,
            clock=clock,
            entropy=entropy,
            location=settings.location,
        )
        whole = Whole(around)
        cluster_node = _member(
            runtime,
            control,
            node,
            coordinator=coordinator,
            peer=as_node,
            identity=residents.node,
        )
        near = DirectPeer(Methods(cluster_node.answered()), caller=residents.control, clock=clock)
        ending.push_async_callback(near.close)
        control.nodes.add_near(node.uuid, near)
        return cls(
            runtime=runtime,
            control=control,
            coordinator=coordinator,
            residents=residents,
            node=node,
            cluster_node=cluster_node,
            whole=whole,
            keeper=WholeKeeper(whole, around),
        )

    async def begin(self) -> None:
        """Let control lead, take the node over if that is due, and let it hold its ranges.

        Raises: Unavailable, Corrupt, Refused: it can't be; nothing was given up.
        """
        tasks = self.runtime.tasks
        is_kept = await check_keeper(self.node, self.control.plane.uuid)
        is_anew = is_kept and await recovers_topology(
            self.control.control,
            self.control.plane,
            self.coordinator,
            node=self.residents.node,
            holdings=self.node.holdings,
        )
        for job in self.control.jobs:
            tasks.spawn(job.run(), name=job.name, critical=True)
        async with _in_time("Control in this process does not lead"):
            await self.control.watcher.known()
            await self._until_leading()
        if not is_anew:
            await self._require_files_of_one_day()
        if not is_kept:
            await self._adopt()
        await self.whole.credentials.follow()
        self.cluster_node.announce(uri_of(self.residents.node))
        tasks.spawn(self.cluster_node.run(), name="cluster_node", critical=True)
        async with _in_time("The node in this process does not hold its ranges"):
            while self.cluster_node.problem:  # noqa: ASYNC110 - once, for some milliseconds
                await asyncio.sleep(_LOOK_S)
        tasks.spawn(self.whole.reader.run(), name="read_credentials", critical=True)

    def mounted(self, *, close: Callable[[], Awaitable[None]]) -> Mounted:
        """Describe what is served, once `begin` has ended."""
        return Mounted(
            routes={Surface.PUBLIC: self._public_routes(), Surface.ADMIN: self._admin_routes()},
            jobs=(),
            ready=self._readiness,
            prepare=self.begin,
            announce=self._announce,
            drain=self._drain,
            close=close,
        )

    # ----------------------------------------------------------------------------- beginning

    async def _until_leading(self) -> None:
        """Wait until control may change something. Raises: Unavailable: it leads and can't."""
        while True:
            try:
                self.control.control.leader.term()
            except NotLeading:
                await asyncio.sleep(_LOOK_S)
            else:
                return

    def _boot_counter(self) -> BootCounter:
        return BootCounter(
            self.coordinator,
            self.node,
            node=keys.ComponentId(self.node.uuid),
            control_plane=self.control.plane.uuid,
            entropy=self.runtime.entropy,
        )

    async def _require_files_of_one_day(self) -> None:
        """Refuse control's files of an earlier day beside a node's of today, and the reverse.

        Control's lack the tables that were made since, and the node gives up what the topology
        lacks; the node's lack their ranges, and the node would make them anew, empty.

        Raises: Corrupt: one has seen starts that the other knows nothing of.
        """
        counter = self._boot_counter()
        if await counter.is_coordinator_older():
            raise Corrupt(
                f"{SQLITE_FILE} and {TOPOLOGY_FILE} are older than what the node here holds, so "
                "tables made since would be given up; put back all files of one and the same day. "
                "Nothing was changed.",
                file=TOPOLOGY_FILE,
                where="starts",
            )
        if await counter.is_disk_older():
            raise Corrupt(
                f"{NODE_FILE} is older than {SQLITE_FILE} and {TOPOLOGY_FILE} beside it, which "
                "have kept its tables since; put back all files of one and the same day. Nothing "
                "was changed.",
                file=NODE_FILE,
                where="starts",
            )

    async def _adopt(self) -> None:
        site = Site(
            candidate=Candidate(node=self.node.uuid),
            uri=uri_of(self.residents.node),
            incarnation=(await self._boot_counter().count()).boot.incarnation,
        )
        await Adoption(self.control.control.realm, self.node, site).run()

    # ------------------------------------------------------------------------------- serving

    def _public_routes(self) -> tuple[Route, ...]:
        runtime = self.runtime
        return (
            *v1_routes(self.whole),
            *dynamodb_routes(self.whole, clock=runtime.clock, entropy=runtime.entropy),
        )

    def _admin_routes(self) -> tuple[Route, ...]:
        runtime = self.runtime
        report = Report(
            roles=runtime.role_names, started_at_us=runtime.started_at_us, clock=runtime.clock
        )
        status = NodeStatus(self.node, report)
        return self.control.admin_routes(
            door=LocalDoor(self.whole),
            credentials=self.whole.credentials,
            sections=(status.section,),
            measure=status.measure,
        )

    def _readiness(self) -> Readiness:
        problem = self.cluster_node.problem
        return Readiness(is_ready=not problem, reason=problem)

    async def _announce(self, addresses: Addresses) -> Path:
        """Show the proxy, and tell a newcomer how to call it."""
        runtime = self.runtime
        presence = proxy_presence(
            runtime,
            self.coordinator,
            identity=self.residents.proxy,
            uri=uri_of(self.residents.proxy),
            addresses=addresses,
        )
        runtime.tasks.spawn(presence.run(), name="proxy_presence", critical=True)
        path = await write_client_env(self.keeper, runtime.settings.data, addresses)
        async with _in_time("Control and proxy in this process are not seen"):
            while not self._are_seen():  # noqa: ASYNC110 - once, for some milliseconds
                await asyncio.sleep(_LOOK_S)
        return path

    def _are_seen(self) -> bool:
        """Whether control and proxy are alive to whoever looks at the status."""
        view, residents = self.control.watcher.view, self.residents
        seen = (view.controls.get(residents.control.uuid), view.proxies.get(residents.proxy.uuid))
        return all(one is not None and one.alive is not None for one in seen)

    async def _drain(self, _timeout_s: float) -> None:
        await self.cluster_node.drain()
        self.whole.entry_audit.flush()


def _direct(
    runtime: Runtime, control: ControlProcess, *, who: Identity, ending: AsyncExitStack
) -> DirectPeer:
    """Let a component call control by reference."""
    peer = DirectPeer(control.methods, caller=who, clock=runtime.clock)
    ending.push_async_callback(peer.close)
    return peer


def _member(
    runtime: Runtime,
    control: ControlProcess,
    node: Node,
    *,
    coordinator: Coordinator,
    peer: Peer,
    identity: Identity,
) -> ClusterNode:
    """Make an open node a member of the control plane."""

    async def opening(_share: ControlShare) -> Node:
        # The node's database stays under the node's own key: control's share of it lies in the same
        # directory, so it would keep nobody out.
        return node

    return ClusterNode(
        NodePlace(
            identity=identity,
            zone=runtime.settings.zone,
            version=__version__,
            started_at_us=runtime.started_at_us,
        ),
        coordinator=coordinator,
        watcher=control.watcher,
        control=peer,
        opening=opening,
        jobs=node_jobs,
        peer_of=_no_other_node,
        clock=runtime.clock,
        entropy=runtime.entropy,
        scrubs=scrub_settings(runtime),
        indexes=runtime.metrics.indexes,
    )


def _no_other_node(_node: str) -> Peer:
    raise unreachable("is not in this process, which is the only one of its cluster")


async def _opened_coordinator(
    runtime: Runtime, key: ControlKey, ending: AsyncExitStack
) -> EmbeddedCoordinator:
    coordinator = await EmbeddedCoordinator.open(
        runtime.settings.data / TOPOLOGY_FILE,
        clock=runtime.clock,
        entropy=runtime.entropy,
        on_failure=runtime.on_fatal,
        sealer=KeySealer(key=key.file_key(TOPOLOGY_FILE), entropy=runtime.entropy),
        is_private=True,
    )
    ending.push_async_callback(coordinator.close)
    return coordinator


def _control_key(runtime: Runtime) -> ControlKey:
    settings = runtime.settings
    is_new = not (settings.data / SQLITE_FILE).exists()
    return control_key(settings, may_create=is_new, entropy=runtime.entropy)


async def _opened_plane(runtime: Runtime, key: ControlKey, ending: AsyncExitStack) -> ControlPlane:
    settings = runtime.settings
    store = await open_own_store(
        settings.data,
        key,
        vault=Vault(entropy=runtime.entropy, page_cache_bytes=CONTROL_PAGE_CACHE_BYTES),
        on_fatal=runtime.on_fatal,
    )
    ending.push_async_callback(store.close)
    await follow_location(store, settings.location)
    return await open_plane(
        store,
        key,
        directory=settings.data,
        location=settings.location,
        clock=runtime.clock,
        entropy=runtime.entropy,
    )


async def _opened_node(runtime: Runtime) -> Node:
    return await open_node(
        node_options(runtime.settings),
        clock=runtime.clock,
        entropy=runtime.entropy,
        on_fatal=runtime.on_fatal,
        on_batch=runtime.metrics.count_batch,
        expired=runtime.metrics.expiry,
    )


@asynccontextmanager
async def _in_time(what: str) -> AsyncIterator[None]:
    """Bound a step of the start. Raises: Unavailable: it takes too long."""
    try:
        async with asyncio.timeout(TOGETHER_START_S):
            yield
    except TimeoutError:
        raise Unavailable(
            UnavailableKind.OVERLOADED, f"{what}, {TOGETHER_START_S:g} s after the start."
        ) from None
