"""Listen on an address, serve one application there, and stop without losing a request."""

import asyncio
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Final

from aiohttp import web

from dstore.api.http.application import CONNECTION_ARGUMENTS, DIRECT, SERVICE
from dstore.api.http.connection import ConnectionServer
from dstore.base.limits import (
    ANSWER_BYTES_WAITING_MAX,
    ANSWER_TIMEOUT_S,
    CONNECTIONS_MAX,
    DRAIN_TIMEOUT_S,
    HEADER_TIMEOUT_S,
    KEEP_ALIVE_TIMEOUT_S,
)

_BACKLOG: Final = 1_024  # connections the kernel holds until they are accepted
_SWEEP_S: Final = 0.05  # between two looks for idle connections while stopping
_LAST_WAIT_S: Final = 0.5  # for handlers that have been cancelled to give way


class CannotListen(Exception):
    """The address can't be taken, or the certificate can't be read; the message is a sentence."""


class Listener:
    """One listening socket and the connections made to it."""

    def __init__(
        self,
        application: web.Application,
        *,
        host: str,
        port: int,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        tls_context: ssl.SSLContext | None = None,
        shares_port: bool = False,
        connections_max: int = CONNECTIONS_MAX,
        header_timeout_s: float = HEADER_TIMEOUT_S,
        keep_alive_timeout_s: float = KEEP_ALIVE_TIMEOUT_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        answer_bytes_max: int = ANSWER_BYTES_WAITING_MAX,
    ) -> None:
        """Prepare to listen; nothing is opened before `bind`.

        Args:
            application: made by `build_application`; its clean-up runs at `stop`.
            host: an address or name of this machine.
            port: 0 takes a free one.
            tls_cert: a PEM file, the chain included; HTTPS if given, with `tls_key`.
            tls_key: the PEM file of its private key.
            tls_context: HTTPS with a context that is ready, instead of the two files.
            shares_port: with other processes, among which the kernel deals connections out.
            connections_max: open at a time; further ones get 503 and are closed.
            header_timeout_s: for the whole head of a request, from its first byte.
            keep_alive_timeout_s: for a connection on which nothing happens.
            answer_timeout_s: for a client to fetch some more of an answer.
            answer_bytes_max: of answers that wait to be fetched, of all connections.
        """
        assert (tls_cert is None) == (tls_key is None)
        self._host = host
        self._port = port
        self._tls = (tls_cert, tls_key) if tls_cert and tls_key else None
        assert self._tls is None or tls_context is None
        self._context = tls_context
        self._shares_port = shares_port
        self._connections_max = connections_max
        self._header_timeout_s = header_timeout_s
        self._keep_alive_timeout_s = keep_alive_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._service = application[SERVICE]
        self._direct = application[DIRECT]
        self._runner = web.AppRunner(application)
        self._connections: ConnectionServer | None = None
        self._sockets: list[socket.socket] = []  # bound; from `start` on the servers own them
        self._servers: list[asyncio.Server] = []

    async def bind(self) -> None:
        """Read the certificate and take the address, so that nobody else gets it.

        Whoever connects is refused until `start`.

        Raises: CannotListen: a sentence that says why.
        """
        if self._tls:
            self._context = _tls_context(*self._tls)
        try:
            self._sockets = await self._bound()
        except OSError as error:
            raise self._cannot(error) from error

    async def start(self) -> None:
        """Listen, on the address that was bound or else is bound now.

        Raises: CannotListen: a sentence that says why.
        """
        if not self._sockets:
            await self.bind()
        context = self._context
        await self._runner.setup()
        assert self._runner.server is not None
        arguments = {**CONNECTION_ARGUMENTS, "keepalive_timeout": self._keep_alive_timeout_s}
        self._connections = ConnectionServer(
            self._direct,
            request_factory=self._runner.server.request_factory,
            service=self._service,
            arguments=arguments,
            connections_max=self._connections_max,
            header_timeout_s=self._header_timeout_s,
            answer_timeout_s=self._answer_timeout_s,
            answer_bytes_max=self._answer_bytes_max,
        )
        sockets, self._sockets = self._sockets, []
        try:
            for bound in sockets:
                server = await asyncio.get_running_loop().create_server(
                    self._connections,
                    sock=bound,
                    ssl=context,
                    backlog=_BACKLOG,
                    ssl_handshake_timeout=self._header_timeout_s if context else None,
                )
                self._servers.append(server)
        except OSError as error:
            for server in self._servers:
                server.close()
            self._servers = []
            for bound in sockets:
                bound.close()
            await self._runner.cleanup()
            raise self._cannot(error) from error

    async def _bound(self) -> list[socket.socket]:
        """Bind a socket to each address of the host. Raises: OSError: one of them is taken."""
        found = await asyncio.get_running_loop().getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        sockets: list[socket.socket] = []
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                sockets.append(made := socket.socket(family, kind, protocol))
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if self._shares_port:
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:  # the same port of IPv4 is a socket of its own
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind(address)
        except OSError:
            for each in sockets:
                each.close()
            raise
        return sockets

    def _cannot(self, error: OSError) -> CannotListen:
        return CannotListen(
            f"Can't listen on {self._host} port {self._port}: {error.strerror}; "
            "stop what listens there, or choose another port."
        )

    async def stop(self, *, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Take no more connections, close the idle ones, let requests end, then close the rest.

        From here on new requests on open connections are answered 503 and ready says so. Handlers
        still running after `timeout_s` are cancelled. Safe to call twice, and after `bind` alone.
        """
        for bound in self._sockets:
            bound.close()
        self._sockets = []
        if not self._servers or self._connections is None:
            return
        connections = self._connections
        self._service.admission.is_draining = True
        for server in self._servers:
            server.close()
        self._servers = []
        await asyncio.sleep(0)  # what has arrived is seen as a request and not as idleness
        try:
            async with asyncio.timeout(timeout_s):
                while connections.open:
                    await connections.end_idle(_SWEEP_S)
        except TimeoutError:
            await connections.shutdown(_LAST_WAIT_S)
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """Return the port that was really taken; only while listening."""
        assert self._servers
        port: int = self._servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Return where a client on this machine finds the surface; only while listening."""
        scheme = "https" if self._context else "http"
        return f"{scheme}://{_reachable(self._host)}:{self.port}"

    @property
    def connection_count(self) -> int:
        """Count the open connections."""
        return len(self._connections.open) if self._connections is not None else 0


def _tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # 1.3 is taken whenever the client has it
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one too
        raise CannotListen(
            f"The certificate {cert} and its key {key} can't be used: {error.strerror or error}; "
            "give the PEM files of a certificate and of its own private key."
        ) from error
    return context


def _reachable(host: str) -> str:
    """Spell a host for a URL; the wildcard address is reached through loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"  # noqa: PLR2004 -- IPv4
    return f"[{host}]" if address.version == 6 else host  # noqa: PLR2004 -- IPv6
