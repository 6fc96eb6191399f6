"""The proxy: clients come here, and it has control and the nodes do what they ask for.

It keeps nothing but its certificate and a sealed copy of the topology, so that it starts, and goes
on, while control or etcd is away.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.api.admin.door import LocalDoor
from dstore.api.admin.process import ComponentSection, process_routes
from dstore.api.admin.status import Report
from dstore.api.dynamodb.door import dynamodb_routes
from dstore.api.http.health import Readiness
from dstore.api.v1.routes import v1_routes
from dstore.base.limits import AUDIT_FLUSH_S, CONTROL_ANSWER_S
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError, invalid
from dstore.replication.peers.calls import Calls
from dstore.replication.peers.websocket import websocket_peer
from dstore.roles.base import Job, Mounted, Role, Runtime, Surface
from dstore.roles.coordination import etcd_coordinator
from dstore.roles.membership import enrolled, membership_enrolment
from dstore.roles.proxy_presence import proxy_presence
from dstore.security.identity import ComponentRole, Identity
from dstore.security.keys import Purpose, derive
from dstore.service.calls.control_calls import CONTROL_CALLS
from dstore.service.calls.key_calls import AskComponentKey
from dstore.service.calls.range_calls import RANGE_CALLS
from dstore.service.calls.recovery_calls import RECOVERIES, ask_recoveries
from dstore.service.enrolment.credential_reader import CredentialReader
from dstore.service.enrolment.membership import Membership
from dstore.service.proxy.proxy import Proxy, Surroundings
from dstore.storage import component_key
from dstore.topology import keyspace as keys
from dstore.topology.backoff import Backoff
from dstore.topology.last_known_good import LastKnownGood
from dstore.topology.status import TopologyState
from dstore.topology.watcher import TopologyWatcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from dstore.base.entropy import Entropy
    from dstore.replication.peers.port import Peer
    from dstore.service.client_env import Addresses
    from dstore.service.enrolment.records import Enrolment
    from dstore.storage.component_key import ComponentKey
    from dstore.topology.coordinator import Coordinator

KEY_FILE: Final = "proxy.key"
COPY_FILE: Final = "topology.copy"
_LOOK_S: Final = 0.1
_RANGE_CALLS: Final = Calls(RANGE_CALLS)


async def mount(runtime: Runtime) -> Mounted:
    """Join the control plane if need be, and bind the surfaces of clients to it.

    Raises: Refused: there is no token, or control does not take it; a setting can't be used.
        Unavailable: control, which has to admit this proxy, is away.
    """
    settings, clock, entropy = runtime.settings, runtime.clock, runtime.entropy
    key_path = settings.data / KEY_FILE
    if runtime.worker == 0:
        own = await in_thread(partial(_own_key, key_path, entropy))
        enrolment = await membership_enrolment(runtime, ComponentRole.PROXY)
    else:
        enrolment = await _enrolled_by_first(settings.data)
        own = await in_thread(partial(component_key.load, key_path))
    if enrolment is None:
        raise invalid(
            "A proxy belongs to a control plane: make a token with `dstore control token create "
            "--role proxy`, and name its file in join.token_file."
        )
    ending = AsyncExitStack()
    try:
        membership = await Membership.open(
            enrolment, calls=(*CONTROL_CALLS, RECOVERIES), clock=clock, entropy=entropy
        )
        ending.push_async_callback(membership.close)
        coordinator = await etcd_coordinator(settings, clock=clock, entropy=entropy)
        ending.push_async_callback(coordinator.close)
        process = _Process.put_together(runtime, membership, coordinator, own=own)
        ending.push_async_callback(process.proxy.close)
    except BaseException:
        await ending.aclose()
        raise
    return process.mounted(close=ending.aclose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """A proxy's process, open."""

    runtime: Runtime
    membership: Membership
    coordinator: Coordinator
    watcher: TopologyWatcher
    proxy: Proxy
    reader: CredentialReader

    @classmethod
    def put_together(
        cls,
        runtime: Runtime,
        membership: Membership,
        coordinator: Coordinator,
        *,
        own: ComponentKey,
    ) -> _Process:
        """Put it together; nothing runs yet."""
        settings, clock, entropy = runtime.settings, runtime.clock, runtime.entropy
        identity = membership.identity
        copy = LastKnownGood(
            settings.data / COPY_FILE,
            key=derive(
                own.key, purpose=Purpose.TOPOLOGY_COPY, context=(identity.control_plane, own.uuid)
            ),
            owner=identity.uri,
            entropy=entropy,
        )
        watcher = TopologyWatcher(
            coordinator,
            clock=clock,
            metrics=runtime.metrics,
            scope=_routing,
            copy=copy,
            recoveries=partial(ask_recoveries, membership.control),
        )

        def dial(node: str, uri: str) -> Peer:
            wanted = Identity(
                control_plane=identity.control_plane, role=ComponentRole.NODE, uuid=node
            )
            return websocket_peer(
                uri,
                here=identity,
                wanted=wanted,
                tls=membership.tls,
                calls=_RANGE_CALLS,
                clock=clock,
                entropy=entropy,
            )

        proxy = Proxy(
            Surroundings(
                watcher=watcher,
                control=membership.control,
                dial=dial,
                clock=clock,
                entropy=entropy,
                metrics=runtime.metrics,
                location=settings.location,
            )
        )
        membership.on_renewed(lambda: proxy.peers.redial("the certificate was renewed"))
        return cls(
            runtime=runtime,
            membership=membership,
            coordinator=coordinator,
            watcher=watcher,
            proxy=proxy,
            reader=CredentialReader(membership.control, proxy.credentials),
        )

    def mounted(self, *, close: Callable[[], Awaitable[None]]) -> Mounted:
        """Describe what the process serves and runs; `close` lets go of what it has open."""
        runtime, proxy = self.runtime, self.proxy
        report = Report(
            roles=runtime.role_names, started_at_us=runtime.started_at_us, clock=runtime.clock
        )
        section = ComponentSection(
            self.membership.identity,
            report,
            location=runtime.settings.location,
            topology=self.watcher.status,
        )
        routes = {
            Surface.PUBLIC: (
                *v1_routes(proxy),
                *dynamodb_routes(proxy, clock=runtime.clock, entropy=runtime.entropy),
            )
        }
        jobs = [
            Job(name="watch_topology", run=self.watcher.run),
            # Each worker renews by itself: any of their certificates is as good as another.
            Job(name="membership", run=self.membership.run),
            Job(name="read_credentials", run=self.reader.run),
            Job(name="tell_audit", run=self._tell_audit),
        ]
        if runtime.worker == 0:
            routes[Surface.ADMIN] = process_routes(
                runtime.metrics,
                measure=self.membership.measure,
                door=LocalDoor(proxy),
                sections=(section.section,),
            )
            jobs.append(Job(name="keep_topology_copy", run=self.watcher.keep_copy))
        return Mounted(
            routes=routes,
            jobs=tuple(jobs),
            ready=self._readiness,
            announce=self._announce,
            close=close,
        )

    def _readiness(self) -> Readiness:
        if self.watcher.status().state is TopologyState.EMPTY:
            return Readiness(is_ready=False, reason="waiting for the topology")
        if not self.proxy.credentials.is_filled:
            return Readiness(is_ready=False, reason="waiting for credentials from control")
        return Readiness(is_ready=True)

    async def _announce(self, addresses: Addresses) -> None:
        """Show where this proxy is, for as long as it runs."""
        assert addresses.public_url is not None
        runtime = self.runtime
        if runtime.worker > 0:
            return
        presence = proxy_presence(
            runtime,
            self.coordinator,
            identity=self.membership.identity,
            # As it was told to control; a proxy answers no other component.
            uri=runtime.settings.peer_url_at(runtime.settings.peer_port),
            addresses=addresses,
        )
        runtime.tasks.spawn(presence.run(), name="presence", critical=True)
        runtime.tasks.spawn(self._take_key(), name="take_key", critical=True)

    async def _take_key(self) -> None:
        """Ask control for this proxy's key in the plane: to control that says that it is at work.

        Nothing is sealed under it yet; a proxy removed meanwhile hears of it from `membership`.
        """
        backoff = Backoff(self.runtime.entropy)
        while True:
            try:
                await self.membership.control.call(AskComponentKey(), deadline_s=CONTROL_ANSWER_S)
            except DStoreError:
                await asyncio.sleep(backoff.next_s())
            else:
                return

    async def _tell_audit(self) -> None:
        """Tell what the operator has written, now and then, until cancelled."""
        while True:
            await asyncio.sleep(AUDIT_FLUSH_S)
            self.proxy.entry_audit.flush()


def _routing(path: keys.Path) -> bool:
    """Take in what is routed by, and what nodes say of tables, which descriptions count up."""
    return not isinstance(path, keys.NodeRangesPath | keys.NoticePath)


async def _enrolled_by_first(directory: Path) -> Enrolment:
    """Wait until worker 0 has joined; without it none of them can serve."""
    while True:
        found = await enrolled(directory, ComponentRole.PROXY)
        if found is not None:
            return found
        await asyncio.sleep(_LOOK_S)


def _own_key(path: Path, entropy: Entropy) -> ComponentKey:
    if path.exists():
        return component_key.load(path)
    return component_key.create(path, entropy=entropy)


PROXY: Final = Role(name="proxy", summary="serves clients from the nodes of a cluster", mount=mount)
