"""Two components that talk: a node that answers, and whoever calls it, over TLS or directly."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
from aiohttp import web

from dstore.api.http.application import build_application
from dstore.api.peer.server import PeerServer, watched_handshakes
from dstore.base.clock import Clock, SystemClock
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.model.errors import Unknown
from dstore.replication.peers.calls import Answered, Calls, Methods, PeerCall
from dstore.replication.peers.direct import DirectPeer
from dstore.replication.peers.port import PeerRequest, Received
from dstore.replication.peers.remote import RemotePeer
from dstore.replication.peers.room import Room
from dstore.replication.peers.websocket import WebSocketDialer
from dstore.security.certificates import CertificateAuthority, new_key_and_request
from dstore.security.identity import ComponentRole, Identity
from dstore.security.tls import Credentials, TlsContexts, store_credentials
from tests.support.entropy import SeededEntropy

ENTROPY: Final = SeededEntropy(Random(8))
PLANE: Final = ENTROPY.uuid()
AUTHORITY: Final = CertificateAuthority.create(
    PLANE, now_us=SystemClock().wall_us(), entropy=ENTROPY
)
NODE: Final = Identity(control_plane=PLANE, role=ComponentRole.NODE, uuid=ENTROPY.uuid())
PROXY: Final = Identity(control_plane=PLANE, role=ComponentRole.PROXY, uuid=ENTROPY.uuid())
REPORTING: Final = Identity(control_plane=PLANE, role=ComponentRole.REPORTING, uuid=ENTROPY.uuid())
ANYBODY: Final = frozenset({ComponentRole.PROXY, ComponentRole.NODE})


class Said(msgspec.Struct, frozen=True, array_like=True):
    """The reply of every call here."""

    data: bytes
    number: int = 0


class Echo(PeerRequest[Said], frozen=True, array_like=True):
    """Answered at once."""

    data: bytes


class Wait(PeerRequest[Said], frozen=True, array_like=True):
    """Answered when the node is let go, by a coroutine; reads."""

    data: bytes


class Write(PeerRequest[Said], frozen=True, array_like=True):
    """Answered when the node is let go, by a future; writes."""

    data: bytes


class Fail(PeerRequest[Said], frozen=True, array_like=True):
    """Fails with the error of this number; reads."""

    number: int


class FailWrite(PeerRequest[Said], frozen=True, array_like=True):
    """The same; writes."""

    number: int


class Replicate(PeerRequest[Said], frozen=True, array_like=True):
    """For nodes only."""


class Missing(PeerRequest[Said], frozen=True, array_like=True):
    """Answered by nobody."""


class Grow(PeerRequest[Said], frozen=True, array_like=True):
    """Answered with so many bytes."""

    size: int


def _call(
    name: str, request: type[Any], *, is_safe: bool = True, roles: Any = ANYBODY
) -> PeerCall[Any, Any]:
    return PeerCall(name=name, request=request, reply=Said, roles=roles, is_safe=is_safe)


ECHO: Final = _call("test.echo", Echo)
WAIT: Final = _call("test.wait", Wait)
WRITE: Final = _call("test.write", Write, is_safe=False)
FAIL: Final = _call("test.fail", Fail)
FAIL_WRITE: Final = _call("test.fail_write", FailWrite, is_safe=False)
REPLICATE: Final = _call("test.replicate", Replicate, roles=frozenset({ComponentRole.NODE}))
MISSING: Final = _call("test.missing", Missing)
GROW: Final = _call("test.grow", Grow)
CALLS: Final = Calls([ECHO, WAIT, WRITE, FAIL, FAIL_WRITE, REPLICATE, MISSING, GROW])


class Node:
    """What answers: it counts what it was asked, and waits to be let go."""

    def __init__(self, errors: Sequence[Exception] = ()) -> None:
        self.errors = list(errors)
        self.go = asyncio.Event()
        self.begun = 0
        self.done = 0
        self.received: Received | None = None
        self.futures: list[asyncio.Future[Said]] = []
        self.methods = Methods(
            [
                Answered(call=ECHO, handler=self.echo),
                Answered(call=WAIT, handler=self.wait),
                Answered(call=WRITE, handler=self.write),
                Answered(call=FAIL, handler=self.fail),
                Answered(call=FAIL_WRITE, handler=self.fail),
                Answered(call=REPLICATE, handler=self.replicate),
                Answered(call=GROW, handler=self.grow),
            ]
        )

    def echo(self, request: Echo, received: Received) -> Said:
        self.received = received
        self.begun += 1
        return Said(request.data)

    async def wait(self, request: Wait, _received: Received) -> Said:
        self.begun += 1
        await self.go.wait()
        self.done += 1
        return Said(request.data)

    def write(self, _request: Write, _received: Received) -> asyncio.Future[Said]:
        self.begun += 1
        future: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        return future

    def finish(self) -> None:
        """Answer every write."""
        self.go.set()
        for future in self.futures:
            if not future.done():
                future.set_result(Said(b"written"))

    def fail(self, request: Fail | FailWrite, _received: Received) -> Said:
        raise self.errors[request.number]

    async def replicate(self, _request: Replicate, _received: Received) -> Said:
        self.begun += 1
        return Said(b"replicated")

    def grow(self, request: Grow, _received: Received) -> Said:
        return Said(bytes(request.size))


def credentials_in(
    directory: Path,
    identity: Identity,
    *,
    authority: CertificateAuthority = AUTHORITY,
    life_s: int = 3_600,
    now_us: int | None = None,
    trusted: bytes = AUTHORITY.certificate_pem,
) -> TlsContexts:
    """Give a component its files, and return its contexts."""
    asked = new_key_and_request(ENTROPY)
    certificate = authority.issue(
        asked.request_pem,
        identity,
        now_us=SystemClock().wall_us() if now_us is None else now_us,
        entropy=ENTROPY,
        life_s=life_s,
    )
    directory.mkdir(exist_ok=True)
    store_credentials(
        directory,
        Credentials(key_pem=asked.key_pem, certificate_pem=certificate, authorities_pem=trusted),
    )
    return TlsContexts(directory)


class Served:
    """A running peer surface."""

    def __init__(self, server: PeerServer, url: str, runner: web.AppRunner, tasks: Tasks) -> None:
        self.server = server
        self.url = url
        self.runner = runner
        self.tasks = tasks


@asynccontextmanager
async def served(
    methods: Methods,
    context: ssl.SSLContext,
    *,
    clock: Clock | None = None,
    beat_s: float = 1.0,
    here: Identity = NODE,
    port: int = 0,
) -> AsyncIterator[Served]:
    """Serve calls on loopback."""
    tasks = Tasks(_unexpected)
    server = PeerServer(
        methods, here=here, clock=clock or SystemClock(), tasks=tasks, beat_s=beat_s
    )
    application = build_application(
        server.routes, surface="peer", metrics=create_metrics(), entropy=ENTROPY
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=watched_handshakes(context))
    await site.start()
    taken = runner.addresses[0][1]
    try:
        yield Served(server, f"https://127.0.0.1:{taken}", runner, tasks)
    finally:
        await server.drain(timeout_s=0.0)
        await tasks.close()
        await runner.cleanup()


def remote(
    url: str,
    context: TlsContexts,
    *,
    here: Identity = PROXY,
    wanted: Identity = NODE,
    clock: Clock | None = None,
    room: Room | None = None,
    beat_s: float = 1.0,
    calls: Calls = CALLS,
) -> RemotePeer:
    """Make a peer that calls over TLS."""
    clock = clock or SystemClock()
    dialer = WebSocketDialer(
        url, here=here, wanted=wanted, tls=context, clock=clock, entropy=ENTROPY
    )
    return RemotePeer(
        dialer,
        identity=wanted,
        calls=calls,
        clock=clock,
        entropy=ENTROPY,
        room=room,
        beat_s=beat_s,
    )


def direct(methods: Methods, *, here: Identity = PROXY, calls_max: int = 4_096) -> DirectPeer:
    """Make a peer in this process."""
    return DirectPeer(methods, caller=here, clock=SystemClock(), calls_max=calls_max)


async def until(holds: Any, *, within_s: float = 20.0) -> None:
    """Wait until `holds()` is true."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 -- a test looks from outside
            await asyncio.sleep(0.005)


def _unexpected(error: BaseException) -> None:
    raise Unknown("A critical task failed.") from error
