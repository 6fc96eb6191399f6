"""HTTPS to control before there is a certificate to show: the two requests of joining.

Bytes in, bytes out; what they say is `service.calls.join_exchange`'s. Failures that control tells,
as `application/problem+json`, are raised as what they were there.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

import aiohttp
import msgspec

from dstore.base.limits import JOIN_ANSWER_BYTES_MAX, JOIN_TIMEOUT_S
from dstore.model.errors import (
    DStoreError,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    Unknown,
)
from dstore.replication.peers.errors import unreachable
from dstore.replication.peers.websocket import spoken
from dstore.security.identity import CertificateRefused, ComponentRole, require_identity
from dstore.security.tls import joining_context, presented

_OK: Final = 200
_TYPE_PREFIX: Final = "urn:dstore:problem:"
_DETAIL_CHARS_MAX: Final = 2_048
_CONTROL: Final = frozenset({ComponentRole.CONTROL})


class _Problem(msgspec.Struct, frozen=True):
    type: str = ""
    detail: str = ""


async def get_unproved(url: str) -> bytes:
    """Fetch what anybody may see, from whoever answers; nothing that comes is to be believed.

    Raises: Unreachable: it can't be reached. As control says.
    """
    connector = aiohttp.TCPConnector(force_close=True, ssl=joining_context(None))
    return await _answered(connector, "GET", url)


async def post_proved(
    url: str, body: bytes, *, authorities_pem: bytes, control_plane: str
) -> bytes:
    """Send a request that may hold a secret to a control of this plane, and to nobody else.

    Args:
        url: of the route.
        body: JSON; it leaves only after the other side has proved to be such a control.
        authorities_pem: the control plane's authority, pinned before.
        control_plane: its UUID.

    Raises: Unreachable: nothing was sent. Unknown: it may have been done; ask again with the same
        key. CertificateRefused: somebody else answers. As control says.
    """
    context = joining_context(authorities_pem)
    connector = _ToControl(control_plane, force_close=True, ssl=context)
    return await _answered(connector, "POST", url, body=body)


class _ToControl(aiohttp.TCPConnector):
    """Opens connections to controls of one plane; it looks before a byte of a request leaves."""

    def __init__(self, control_plane: str, *, force_close: bool, ssl: ssl.SSLContext) -> None:
        super().__init__(force_close=force_close, ssl=ssl)
        self._control_plane = control_plane
        self.has_connected = False

    async def connect(self, *args: Any, **named: Any) -> Any:
        connection = await super().connect(*args, **named)
        try:
            self._check(connection.transport)
        except BaseException:
            connection.close()
            raise
        self.has_connected = True
        return connection

    def _check(self, transport: asyncio.Transport | None) -> None:
        shown = None if transport is None else transport.get_extra_info("ssl_object")
        certificate = None if shown is None else presented(shown)
        assert certificate is not None, "the context demands one"
        require_identity(certificate.identity, control_plane=self._control_plane, roles=_CONTROL)


async def _answered(
    connector: aiohttp.TCPConnector, method: str, url: str, *, body: bytes | None = None
) -> bytes:
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=JOIN_TIMEOUT_S),
            ) as session,
            session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response,
        ):
            content = await response.content.read(JOIN_ANSWER_BYTES_MAX + 1)
            while len(content) <= JOIN_ANSWER_BYTES_MAX and not response.content.at_eof():
                content += await response.content.read(JOIN_ANSWER_BYTES_MAX + 1)
            status = response.status
    except CertificateRefused:
        raise
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise _lost(connector, error, url) from error
    if len(content) > JOIN_ANSWER_BYTES_MAX:
        raise unreachable(f"gives an answer that is too large at {url}")
    if status != _OK:
        raise _told(status, content, url)
    return content


def _lost(connector: aiohttp.TCPConnector, error: BaseException, url: str) -> DStoreError:
    if isinstance(connector, _ToControl) and connector.has_connected:
        return Unknown(
            f"No answer came from {url}; this component may have been admitted or not. Try again: "
            "the same key is answered again."
        )
    if isinstance(error, TimeoutError):
        return unreachable(f"does not answer at {url}")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        error = ConnectionResetError()
    return unreachable(spoken(error, url))


def _told(status: int, content: bytes, url: str) -> DStoreError:
    """Raise again what control has raised, as far as HTTP tells it."""
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem()
    name = problem.type.removeprefix(_TYPE_PREFIX).replace("-", "_")
    detail = problem.detail[:_DETAIL_CHARS_MAX]
    if name in set(RefusalKind):
        return Refused(RefusalKind(name), detail)
    if name in set(UnavailableKind):
        return Unavailable(UnavailableKind(name), detail, retry_after_ms=1_000)
    if name == "outcome_unknown":
        return Unknown(detail)
    return unreachable(f"answers {status} at {url}; is it a control's peer listener?")
