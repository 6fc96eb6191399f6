"""Control: it admits components, decides what exists and where, and answers the operator."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.api.peer.joining import JoinRoutes
from dstore.api.peer.server import PeerServer, watched_handshakes
from dstore.base.limits import RENEWAL_LOOK_S
from dstore.base.logging import get_logger
from dstore.base.threads import in_thread
from dstore.model.errors import DStoreError, invalid
from dstore.replication.index_calls import FILL_INDEX
from dstore.replication.peers.calls import Calls
from dstore.replication.peers.websocket import websocket_peer
from dstore.replication.replica_calls import ASK_REPLICAS, HAND_OVER
from dstore.replication.sample_calls import ASK_SAMPLE
from dstore.replication.scrub_calls import ASK_SCRUBS
from dstore.replication.split_calls import CUT_RANGE
from dstore.roles.base import Job, Mounted, Role, Runtime, Surface
from dstore.roles.control_keys import control_key, warn_of_key_beside_store
from dstore.roles.control_process import ControlProcess
from dstore.roles.coordination import etcd_coordinator
from dstore.security.certificates import read_certificate
from dstore.security.identity import ComponentRole, Identity
from dstore.security.tls import TlsContexts
from dstore.service.calls.recollection_calls import ASK_REMEMBERED
from dstore.service.control.operator_env import write_operator_env
from dstore.service.control.plane import is_new, open_plane, own_credentials
from dstore.storage.control.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from dstore.replication.peers.port import Peer
    from dstore.service.client_env import Addresses
    from dstore.service.control.plane import ControlPlane
    from dstore.service.peer_pool import Dial
    from dstore.settings import Settings

_NODE_CALLS: Final = Calls(
    [ASK_REPLICAS, ASK_REMEMBERED, ASK_SAMPLE, ASK_SCRUBS, CUT_RANGE, FILL_INDEX, HAND_OVER]
)

_log: Final = get_logger(__name__)


async def mount(runtime: Runtime) -> Mounted:
    """Open the control plane, or make it, and bind control's surfaces to it.

    Raises: Refused: a setting can't be used. Unavailable: control's store or its key can't be had.
    """
    settings = runtime.settings
    _check(settings)
    ending = AsyncExitStack()
    try:
        plane = await _opened_plane(runtime, ending)
        coordinator = await etcd_coordinator(settings, clock=runtime.clock, entropy=runtime.entropy)
        ending.push_async_callback(coordinator.close)
        await own_credentials(plane, settings.data, clock=runtime.clock, entropy=runtime.entropy)
        contexts = await in_thread(partial(TlsContexts, settings.data))
        process = await ControlProcess.open(
            runtime,
            plane,
            coordinator,
            uri=settings.peer_url_at(settings.peer_port),
            dial=_dial(runtime, plane.identity, contexts),
        )
        ending.push_async_callback(process.nodes.close)
        serving = _Serving(
            process=process,
            contexts=contexts,
            peers=PeerServer(
                process.methods,
                here=plane.identity,
                clock=runtime.clock,
                tasks=runtime.tasks,
                barred=process.roster.barred,
            ),
        )
    except BaseException:
        await ending.aclose()
        raise
    return serving.mounted(close=ending.aclose)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Serving:
    """A control process with its listener for components."""

    process: ControlProcess
    contexts: TlsContexts
    peers: PeerServer

    def mounted(self, *, close: Callable[[], Awaitable[None]]) -> Mounted:
        """Describe what the process serves and runs; `close` lets go of what it has open."""
        process = self.process
        joins = JoinRoutes(process.admissions, clock=process.runtime.clock)
        return Mounted(
            routes={
                Surface.PEER: (*self.peers.routes, *joins.routes),
                Surface.ADMIN: process.admin_routes(),
            },
            contexts={Surface.PEER: watched_handshakes(self.contexts.joining_server)},
            jobs=(*process.jobs, Job(name="renew_certificate", run=self._renew)),
            ready=process.readiness,
            announce=self._announce,
            drain=lambda timeout_s: self.peers.drain(timeout_s=timeout_s),
            close=close,
        )

    async def _announce(self, addresses: Addresses) -> Path:
        """Enter this process among the controls, and tell its operator how to call it."""
        assert addresses.peer_url is not None
        assert addresses.admin_url is not None
        process = self.process
        await process.register(
            uri=addresses.peer_url, certificate_serial=self.contexts.certificate.serial
        )
        return await write_operator_env(
            process.control.credentials,
            process.runtime.settings.data,
            admin_url=addresses.admin_url,
        )

    async def _renew(self) -> None:
        """Keep the certificate valid: control certifies itself, and shows what is new."""
        runtime = self.process.runtime
        while True:
            await asyncio.sleep(RENEWAL_LOOK_S)
            try:
                shown = await own_credentials(
                    self.process.plane,
                    runtime.settings.data,
                    clock=runtime.clock,
                    entropy=runtime.entropy,
                )
                certificate = read_certificate(shown.certificate_pem)
                if certificate.serial != self.contexts.certificate.serial:
                    self.contexts.reload()
                    self.process.nodes.redial("the certificate was renewed")
            except (DStoreError, OSError) as error:
                _log.error("certificate_not_renewed", reason=str(error))


def _dial(runtime: Runtime, here: Identity, contexts: TlsContexts) -> Dial:
    """Make the peers of nodes, as this control process."""

    def dial(node: str, uri: str) -> Peer:
        return websocket_peer(
            uri,
            here=here,
            wanted=Identity(control_plane=here.control_plane, role=ComponentRole.NODE, uuid=node),
            tls=contexts,
            calls=_NODE_CALLS,
            clock=runtime.clock,
            entropy=runtime.entropy,
        )

    return dial


def _check(settings: Settings) -> None:
    """Refuse what control could not work with."""
    if settings.peer_port_wanted == 0:
        raise invalid(
            "Control's peer.port can't be a free one: join tokens and components remember where "
            "control is. Set peer.port."
        )
    if settings.control_key_file is not None and settings.control_key_command is not None:
        raise invalid("control.key_file and control.key_command exclude each other; set one.")


async def _opened_plane(runtime: Runtime, ending: AsyncExitStack) -> ControlPlane:
    settings = runtime.settings
    store = await open_store(
        settings.control_store,
        directory=settings.data,
        password_file=settings.control_store_password_file,
        is_insecure=settings.insecure,
        on_fatal=runtime.on_fatal,
    )
    ending.push_async_callback(store.close)
    await in_thread(partial(warn_of_key_beside_store, settings))
    read = partial(control_key, settings, may_create=await is_new(store), entropy=runtime.entropy)
    return await open_plane(
        store,
        await in_thread(read),
        directory=settings.data,
        location=settings.location,
        clock=runtime.clock,
        entropy=runtime.entropy,
    )


CONTROL: Final = Role(name="control", summary="admits components and places tables", mount=mount)
