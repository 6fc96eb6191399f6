"""Connections between components over WebSocket and mutual TLS, as their caller makes them.

`WebSocketDialer` is how a `RemotePeer` connects; the side that answers is `api.peer.server`. What
both sides speak is `framing`'s.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from dstore.base.clock import Clock
from dstore.base.entropy import Entropy
from dstore.base.limits import PEER_DIAL_TIMEOUT_S
from dstore.replication.peers.calls import Calls
from dstore.replication.peers.framing import FrameStream, NotUpgraded
from dstore.replication.peers.greeting import NotWelcome, code_of, greet, turn_away
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
_PORT: Final = 443  # of an address without one
_NONCE_BYTES: Final = 16  # RFC 6455 4.1


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
        entropy: Entropy,
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
            entropy: for nonces.
            timeout_s: for everything up to the end of the greeting.
        """
        self._url = url.rstrip("/") + PATH
        self._at = urlsplit(url)
        self._here = here
        self._wanted = wanted
        self._tls = tls
        self._clock = clock
        self._entropy = entropy
        self._timeout_s = timeout_s

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
        except NotUpgraded as error:
            raise CannotDial(f"{error} at {self._url}") from error
        except OSError as error:
            raise CannotDial(spoken(error, self._url)) from error

    async def close(self) -> None:
        """Do nothing: connections share nothing here."""

    async def _dial(self) -> Dialled:
        # Whoever refuses a certificate can't say so with asyncio, which drops the alert.
        require_valid(self._tls.certificate, now_us=self._clock.wall_us())
        transport, frames = await asyncio.get_running_loop().create_connection(
            partial(FrameStream, is_client=True),
            self._at.hostname or "",
            self._at.port or _PORT,
            ssl=self._tls.client,
            ssl_handshake_timeout=self._timeout_s,
        )
        try:
            there = _certificate_of(transport)
            nonce = self._entropy.token(_NONCE_BYTES)
            await frames.upgrade(host=self._at.netloc, path=PATH, nonce=nonce)
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
    dialer = WebSocketDialer(url, here=here, wanted=wanted, tls=tls, clock=clock, entropy=entropy)
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
    dialer = WebSocketDialer(url, here=here, wanted=None, tls=tls, clock=clock, entropy=entropy)
    unknown = Identity(
        control_plane=here.control_plane, role=ComponentRole.CONTROL, uuid=_UNKNOWN_UUID
    )
    return RemotePeer(dialer, identity=unknown, calls=calls, clock=clock, entropy=entropy)


def spoken(error: BaseException, url: str) -> str:
    """Say what is wrong with a connection that did not come about."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        # A client library's own certificate error is one of ssl's without what those tell.
        cause = getattr(cause, "certificate_error", cause)
        if isinstance(cause, ssl.SSLError) and (problem := handshake_problem(cause)):
            return f"can't be trusted at {url}, or does not trust this: {problem.message}"
        if cause is not None:
            cause = cause.__cause__ or cause.__context__
    if isinstance(error, ConnectionResetError):
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


def _certificate_of(transport: asyncio.BaseTransport) -> Certificate:
    connection = transport.get_extra_info("ssl_object")
    there = presented(connection) if connection is not None else None
    if there is None:
        raise NotWelcome(Closed(CloseCode.UNAUTHENTICATED, "shows no certificate"))
    return there
