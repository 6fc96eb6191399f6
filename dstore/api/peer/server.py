"""The side of peer connections that answers: one route, behind mutual TLS.

A listener needs `PeerServer.routes` and a context that demands certificates, through
`watched_handshakes` so that whoever is refused during the handshake is seen. To stop: `drain` asks
every caller for a new connection elsewhere and answers what is under way; then stop the listener.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from dstore.api.http.route import Route
from dstore.base.clock import Clock
from dstore.base.limits import (
    CONNECTIONS_MAX,
    DRAIN_TIMEOUT_S,
    PEER_BEAT_S,
    PEER_CLOSE_TIMEOUT_S,
    PEER_LEAVE_S,
)
from dstore.base.logging import get_logger
from dstore.base.metrics import PeerMetrics
from dstore.base.tasks import Tasks
from dstore.replication.peers.answering import Answering
from dstore.replication.peers.calls import Methods
from dstore.replication.peers.framing import FrameStream
from dstore.replication.peers.greeting import NotWelcome, code_of, turn_away, welcome
from dstore.replication.peers.link import Link
from dstore.replication.peers.records import CloseCode, Closed, GoAway
from dstore.replication.peers.websocket import PATH
from dstore.security.identity import (
    Certificate,
    CertificateRefused,
    Identity,
    require_valid,
)
from dstore.security.tls import handshake_problem, presented

_log: Final = get_logger(__name__)

_DRAIN_STEP_S: Final = 0.02
_EXPIRED_BEATS: Final = 10  # for calls under way and for the caller to move


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConnection:
    """What there is to say of a connection, for status pages."""

    caller: Identity
    calls: int
    answered: int
    refused: int
    dropped: int


def _barred_by_nobody(_identity: Identity) -> str | None:
    return None


class _Open:
    """A connection at work."""

    __slots__ = ("answering", "beats_expired", "certificate", "link")

    def __init__(self, link: Link, answering: Answering, *, certificate: Certificate) -> None:
        self.link = link
        self.answering = answering
        self.certificate = certificate
        self.beats_expired = 0

    @property
    def is_idle(self) -> bool:
        return not (self.answering.calls or self.link.is_busy)


class PeerServer:
    """Answers the calls of other components."""

    def __init__(
        self,
        methods: Methods,
        *,
        here: Identity,
        clock: Clock,
        tasks: Tasks,
        barred: Callable[[Identity], str | None] = _barred_by_nobody,
        connections_max: int = CONNECTIONS_MAX,
        beat_s: float = PEER_BEAT_S,
        metrics: PeerMetrics | None = None,
    ) -> None:
        """Prepare.

        Args:
            methods: what is answered; components whose role may call none of it are not let in.
            here: this component.
            clock: for deadlines and certificates.
            tasks: own everything that runs here; the caller closes them after `drain`.
            barred: says why a component with a good certificate is not let in, or on; asked at
                each greeting and at each sign of life.
            connections_max: open at a time.
            beat_s: seconds between signs of life.
            metrics: where calls are counted.
        """
        self._methods = methods
        self._here = here
        self._clock = clock
        self._tasks = tasks
        self._barred = barred
        self._connections_max = connections_max
        self._beat_s = beat_s
        self._metrics = metrics or PeerMetrics()
        self._open: set[_Open] = set()
        self._is_draining = False

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return what the surface serves."""
        # Vital, so that a process that drains can tell a caller so in the protocol's own words.
        return (
            Route(
                method="GET",
                path=PATH,
                handler=self.handle,
                operation="peer_connection",
                is_vital=True,
            ),
        )

    @property
    def connections(self) -> tuple[PeerConnection, ...]:
        """Describe the open connections."""
        return tuple(
            PeerConnection(
                caller=one.certificate.identity,
                calls=one.answering.calls,
                answered=one.answering.answered,
                refused=one.answering.refused,
                dropped=one.answering.dropped,
            )
            for one in self._open
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection from its upgrade to its end."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        if request.transport is None:
            return socket
        # aiohttp has checked and answered the upgrade, and has the connection no more.
        frames = FrameStream(is_client=False)
        frames.take_over(request.transport)
        try:
            certificate = await self._admit(request, frames)
            await self._serve(frames, certificate)
        except NotWelcome as error:
            _log.warning("peer_refused", reason=error.closed.reason, remote=request.remote)
            await turn_away(frames, error.closed)
        finally:
            frames.abort()
        return socket

    async def drain(self, *, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Ask all callers to go elsewhere, answer what is under way, then close who has not gone.

        What is not answered after `timeout_s` ends as a lost connection does.
        """
        self._is_draining = True
        for one in self._open:
            one.link.put(GoAway(reason="it is about to stop"), 0)
        loop = asyncio.get_running_loop()
        now = loop.time()
        # A call may be on its way: who is asked to go ends the connection when none is.
        left, until = now + min(PEER_LEAVE_S, timeout_s), now + timeout_s
        while self._open and (now < left or not all(one.is_idle for one in self._open)):
            if now >= until:
                break
            await asyncio.sleep(_DRAIN_STEP_S)
            now = loop.time()
        closed = Closed(CloseCode.GOING_AWAY, "has stopped")
        await asyncio.gather(
            *(one.link.finish(closed, timeout_s=PEER_CLOSE_TIMEOUT_S) for one in tuple(self._open))
        )

    async def _admit(self, request: web.Request, frames: FrameStream) -> Certificate:
        """Find out who calls, and greet. Raises: NotWelcome."""
        if self._is_draining:
            raise NotWelcome(Closed(CloseCode.GOING_AWAY, "is about to stop"))
        if len(self._open) >= self._connections_max:
            raise NotWelcome(Closed(CloseCode.GOING_AWAY, "has as many connections as it takes"))
        certificate = _shown(request)
        why = self._barred(certificate.identity)
        if why is not None:
            raise NotWelcome(Closed(CloseCode.FORBIDDEN, why))
        await welcome(
            frames,
            here=self._here,
            there=certificate,
            roles=self._methods.roles,
            clock=self._clock,
        )
        return certificate

    async def _serve(self, frames: FrameStream, certificate: Certificate) -> None:
        link = Link(frames, tasks=self._tasks, on_beat=lambda: self._look(one), beat_s=self._beat_s)
        caller = certificate.identity
        answering = Answering(
            link,
            caller=caller,
            methods=self._methods,
            clock=self._clock,
            tasks=self._tasks,
            metrics=self._metrics,
        )
        one = _Open(link, answering, certificate=certificate)
        self._open.add(one)
        _log.info("peer_connected", peer=caller.uri)
        if self._is_draining:  # since it was let in
            link.put(GoAway(reason="it is about to stop"), 0)
        closed = Closed(CloseCode.LOST, "a fault here")
        try:
            closed = await link.run(answering.handle)
        finally:
            self._open.discard(one)
            answering.lose()
            write = _log.warning if closed.code >= CloseCode.MALFORMED else _log.info
            write("peer_gone", peer=caller.uri, reason=closed.reason, code=int(closed.code))

    def _look(self, one: _Open) -> None:
        """End a connection of one that was removed, at once, or whose certificate has ended."""
        why = self._barred(one.certificate.identity)
        if why is not None:
            self._tasks.spawn(one.link.close(Closed(CloseCode.FORBIDDEN, why)), name="peer_barred")
            return
        try:
            require_valid(one.certificate, now_us=self._clock.wall_us())
        except CertificateRefused as error:
            one.beats_expired += 1
            if one.beats_expired == 1:
                # The caller has time to move.
                one.link.put(GoAway(reason="your certificate has ended; renew it"), 0)
            elif one.is_idle or one.beats_expired > _EXPIRED_BEATS:
                closed = Closed(code_of(error.problem), error.message)
                self._tasks.spawn(one.link.close(closed), name="peer_expired")


def watched_handshakes(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a listener's context log whom it refuses; asyncio itself passes over that in silence.

    The caller at the other side hears it from its own library, as an alert.
    """
    context.sslobject_class = _WatchedHandshake
    return context


class _WatchedHandshake(ssl.SSLObject):
    """One handshake; a failed one leaves a line in the log."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            problem = handshake_problem(error)
            _log.warning(
                "peer_handshake_refused",
                problem=problem.problem if problem else "tls",
                reason=problem.message if problem else error.reason or "",
            )
            raise


def _shown(request: web.Request) -> Certificate:
    """Read the certificate on a request's connection. Raises: NotWelcome."""
    transport = request.transport
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    try:
        certificate = presented(connection) if connection is not None else None
    except CertificateRefused as error:
        raise NotWelcome(Closed(code_of(error.problem), error.message)) from error
    if certificate is None:
        raise NotWelcome(Closed(CloseCode.UNAUTHENTICATED, "Show a certificate of a component."))
    return certificate
