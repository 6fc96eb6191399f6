"""Connections between components over WebSocket and mutual TLS; the one module here with aiohttp.

`WebSocketDialer` is how a `RemotePeer` connects; the side that answers is `api.peer.server`, which
takes its sockets from here too.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, cast

import aiohttp

from dstore.base.clock import Clock
from dstore.base.entropy import Entropy
from dstore.base.limits import (
    PEER_CLOSE_TIMEOUT_S,
    PEER_DIAL_TIMEOUT_S,
    PEER_FRAME_BYTES_MAX,
)
from dstore.replication.peers.calls import Calls
from dstore.replication.peers.greeting import NotWelcome, code_of, greet, shortened, turn_away
from dstore.replication.peers.records import CloseCode, Closed
from dstore.replication.peers.remote import CannotDial, Dialled, RemotePeer
from dstore.security.identity import (
    Certificate,
    CertificateRefused,
    ComponentRole,
    Identity,
    require_identity,
    require_valid,
)
from dstore.security.tls import TlsContexts, handshake_problem, presented

PATH: Final = "/peer/v1"

_UNKNOWN_UUID: Final = "00000000-0000-0000-0000-000000000000"  # until somebody has answered
_CAUSES_MAX: Final = 6  # of one error, looked at


class WebSocket(Protocol):
    """What a client's and a server's WebSocket of aiohttp have in common."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""

    async def receive(self) -> Any:
        """Return the next message."""

    async def close(self, *, code: int, message: bytes) -> bool:
        """Say why, and end."""


class WebSocketFrames:
    """A `FrameSocket` over a WebSocket: a frame is a binary message."""

    __slots__ = ("_socket", "abort")

    def __init__(self, socket: WebSocket, abort: Callable[[], None]) -> None:
        """Take over a WebSocket whose messages have at most PEER_FRAME_BYTES_MAX bytes.

        Args:
            socket: nobody else uses it from here on.
            abort: ends it at once, without a word; may be called again.
        """
        self._socket = socket
        self.abort = abort

    async def send(self, frame: bytes) -> None:
        """Send a frame. Raises: ConnectionError."""
        await self._socket.send_bytes(frame)

    async def receive(self) -> bytes | Closed:
        """Return the next frame, or how it all ended."""
        message = await self._socket.receive()
        match message.type:
            case aiohttp.WSMsgType.BINARY:
                frame: bytes = message.data
                return frame
            case aiohttp.WSMsgType.CLOSE:
                return Closed(message.data or CloseCode.LOST, message.extra or "")
            case aiohttp.WSMsgType.ERROR:
                return await self._broken(message.data)
            case aiohttp.WSMsgType.TEXT:
                return Closed(CloseCode.MALFORMED, "sent text")
            case _:
                return Closed(CloseCode.LOST, "")

    async def close(self, closed: Closed) -> None:
        """Say why, and end."""
        with suppress(TimeoutError, ConnectionError, RuntimeError):
            # The farewell itself may have to wait for a side that takes nothing.
            async with asyncio.timeout(2 * PEER_CLOSE_TIMEOUT_S):
                await self._socket.close(code=closed.code, message=shortened(closed.reason))

    async def _broken(self, error: object) -> Closed:
        if isinstance(error, aiohttp.WebSocketError):
            if error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                return Closed(CloseCode.MALFORMED, "sent a frame that is too large")
            return Closed(CloseCode.MALFORMED, "sent what is no WebSocket's frame")
        return Closed(CloseCode.LOST, "has closed the connection")


class WebSocketDialer:
    """Dials one component."""

    def __init__(
        self,
        url: str,
        *,
        here: Identity,
        wanted: Identity | None,
        tls: TlsContexts,
        clock: Clock,
        timeout_s: float = PEER_DIAL_TIMEOUT_S,
    ) -> None:
        """Prepare; nothing is opened before `dial`.

        Args:
            url: of the component's peer surface, "https://host:port".
            here: this component.
            wanted: the one that must answer at `url`; whoever else does is refused. None: any
                control of this component's plane.
            tls: what this component shows and trusts; each dial takes what is newest.
            clock: for certificates' ends.
            timeout_s: for everything up to the end of the greeting.
        """
        self._url = url.rstrip("/") + PATH
        self._here = here
        self._wanted = wanted
        self._tls = tls
        self._clock = clock
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def dial(self) -> Dialled:
        """Connect, see that the right component answers, and greet. Raises: CannotDial."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._dial()
        except TimeoutError:
            raise CannotDial(f"does not answer at {self._url}") from None
        except CertificateRefused as error:
            raise CannotDial(f"can't be called at {self._url}: {error.message}") from error
        except NotWelcome as error:
            raise CannotDial(f"({self._url}) {error.closed.reason}", told=error.told) from error
        except aiohttp.WSServerHandshakeError as error:
            raise CannotDial(f"answers {error.status} at {self._url}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise CannotDial(spoken(error, self._url)) from error

    async def close(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _dial(self) -> Dialled:
        # Whoever refuses a certificate can't say so with asyncio, which drops the alert.
        require_valid(self._tls.certificate, now_us=self._clock.wall_us())
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        socket = await self._session.ws_connect(
            self._url,
            ssl=self._tls.client,
            max_msg_size=PEER_FRAME_BYTES_MAX,
            compress=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=PEER_CLOSE_TIMEOUT_S),
        )
        frames = WebSocketFrames(socket, partial(_abort, socket))
        try:
            there = self._certificate_of(socket)
            wanted = self._wanted or _control(there.identity, here=self._here)
            await greet(frames, here=self._here, there=there, wanted=wanted, clock=self._clock)
        except NotWelcome as error:
            await turn_away(frames, error.closed)
            frames.abort()
            raise
        except BaseException:
            frames.abort()
            raise
        return Dialled(socket=frames, identity=there.identity, valid_until_us=there.not_after_us)

    def _certificate_of(self, socket: aiohttp.ClientWebSocketResponse) -> Certificate:
        connection = socket.get_extra_info("ssl_object")
        there = presented(connection) if connection is not None else None
        if there is None:
            raise NotWelcome(Closed(CloseCode.UNAUTHENTICATED, "shows no certificate"))
        return there


def websocket_peer(
    url: str,
    *,
    here: Identity,
    wanted: Identity,
    tls: TlsContexts,
    calls: Calls,
    clock: Clock,
    entropy: Entropy,
) -> RemotePeer:
    """Make the peer at `url`; see `WebSocketDialer` and `RemotePeer`. It dials when it is used."""
    dialer = WebSocketDialer(url, here=here, wanted=wanted, tls=tls, clock=clock)
    return RemotePeer(dialer, identity=wanted, calls=calls, clock=clock, entropy=entropy)


def control_peer(
    url: str,
    *,
    here: Identity,
    tls: TlsContexts,
    calls: Calls,
    clock: Clock,
    entropy: Entropy,
) -> RemotePeer:
    """Make a peer of whichever control of this component's plane answers at `url`."""
    dialer = WebSocketDialer(url, here=here, wanted=None, tls=tls, clock=clock)
    unknown = Identity(
        control_plane=here.control_plane, role=ComponentRole.CONTROL, uuid=_UNKNOWN_UUID
    )
    return RemotePeer(dialer, identity=unknown, calls=calls, clock=clock, entropy=entropy)


def spoken(error: BaseException, url: str) -> str:
    """Say what is wrong with a connection that did not come about."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        # aiohttp's own certificate error is one of ssl's without what those tell.
        cause = getattr(cause, "certificate_error", cause)
        if isinstance(cause, ssl.SSLError) and (problem := handshake_problem(cause)):
            return f"can't be trusted at {url}, or does not trust this: {problem.message}"
        if cause is not None:
            cause = cause.__cause__ or cause.__context__
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError):
        return (
            f"ended the handshake at {url}, most likely since it does not trust this "
            "component's certificate; its log says why"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"can't be reached at {url}: {error.strerror}"
    return f"can't be reached at {url}"


def _control(there: Identity, *, here: Identity) -> Identity:
    """Check that a control of the same plane answers. Raises: NotWelcome."""
    try:
        require_identity(
            there, control_plane=here.control_plane, roles=frozenset({ComponentRole.CONTROL})
        )
    except CertificateRefused as error:
        raise NotWelcome(Closed(code_of(error.problem), error.message)) from error
    return there


def _abort(socket: aiohttp.ClientWebSocketResponse) -> None:
    """End a client's WebSocket at once; aiohttp has no public way."""
    response = socket._response  # noqa: SLF001 -- see above
    connection = response.connection
    if connection is not None and connection.transport is not None:
        abort_transport(connection.transport)
    response.close()


def abort_transport(transport: asyncio.BaseTransport) -> None:
    """End a connection at once, also one that has ended by itself: with TLS, asyncio fails then."""
    with suppress(
        AttributeError
    ):  # of Python 3.11.2's `sslproto`, which has let go of its protocol
        cast("asyncio.Transport", transport).abort()
