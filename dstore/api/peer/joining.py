"""The part of control's peer listener that answers those who have no certificate yet.

The listener takes `TlsContexts.joining_server`, which lets in who shows none. These two routes are
all that such a caller can reach: the WebSocket beside them turns it away. Everything is bounded:
bodies, joins at a time, and refusals a minute of one address, so that nobody can try tokens (they
have 256 bits) or keep the store busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from aiohttp import web

from dstore.api.http.answer import Answer
from dstore.api.http.body import read_body
from dstore.api.http.problems import ProblemRaised
from dstore.api.http.route import Route
from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    JOIN_ADDRESSES_COUNTED_MAX,
    JOIN_BODY_BYTES_MAX,
    JOIN_REFUSALS_PER_MINUTE_MAX,
    JOINS_AT_ONCE_MAX,
)
from dstore.base.logging import get_logger
from dstore.model.errors import Refused, Unavailable, UnavailableKind, invalid
from dstore.service.calls.join_exchange import (
    AUTHORITY_PATH,
    JOIN_PATH,
    AuthorityShown,
    JoinAnswered,
    JoinAsked,
)

if TYPE_CHECKING:
    from dstore.base.clock import Clock

_log: Final = get_logger(__name__)

_JSON: Final = "application/json"
_MINUTE_NS: Final = 60 * NS_PER_S
_decode: Final = msgspec.json.Decoder(JoinAsked).decode


class Joins(Protocol):
    """What the routes need of control; see `service.control.admission`."""

    @property
    def authority_pem(self) -> bytes:
        """The authority's certificate."""

    async def join(self, asked: JoinAsked) -> JoinAnswered:
        """Admit a component. Raises: Refused, Unavailable, Unknown."""


class JoinRoutes:
    """Serves the two routes."""

    def __init__(self, joins: Joins, *, clock: Clock) -> None:
        """Ask `joins` whom to admit."""
        self._joins = joins
        self._clock = clock
        self._refusals = Refusals(clock)
        self._under_way = 0

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return what the surface serves beside `PeerServer.routes`."""
        return (
            Route(
                method="GET",
                path=AUTHORITY_PATH,
                handler=self._show_authority,
                operation="show_authority",
            ),
            Route(method="POST", path=JOIN_PATH, handler=self._join, operation="join"),
        )

    async def _show_authority(self, _request: web.Request) -> web.StreamResponse:
        shown = AuthorityShown(
            authority_pem=self._joins.authority_pem.decode(), wall_us=self._clock.wall_us()
        )
        return Answer(msgspec.json.encode(shown), content_type=_JSON)

    async def _join(self, request: web.Request) -> web.StreamResponse:
        remote = request.remote or ""
        self._refusals.check(remote)
        try:
            # Before it takes a place: who sends slowly, or half of it, keeps nobody else out.
            body = await read_body(request, bytes_max=JOIN_BODY_BYTES_MAX)
        except (Refused, ProblemRaised):
            self._refusals.count(remote)
            raise
        if self._under_way >= JOINS_AT_ONCE_MAX:
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "Control admits as many components as it can at a time; retry.",
                retry_after_ms=1_000,
            )
        self._under_way += 1
        try:
            answered = await self._joins.join(_read(body))
        except Refused:
            self._refusals.count(remote)
            raise
        finally:
            self._under_way -= 1
        return Answer(msgspec.json.encode(answered), content_type=_JSON)


class Refusals:
    """Counts refusals by address, minute by minute."""

    __slots__ = ("_clock", "_counts", "_minute")

    def __init__(self, clock: Clock) -> None:
        """Start with none."""
        self._clock = clock
        self._minute = -1
        self._counts: dict[str, int] = {}

    def check(self, remote: str) -> None:
        """Refuse an address that was refused too often. Raises: Unavailable."""
        self._turn()
        if self._counts.get(self._name(remote), 0) >= JOIN_REFUSALS_PER_MINUTE_MAX:
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "Too many attempts to join were refused; wait a minute.",
                retry_after_ms=60_000,
            )

    def count(self, remote: str) -> None:
        """Count a refusal."""
        self._turn()
        name = self._name(remote)
        self._counts[name] = self._counts.get(name, 0) + 1
        if self._counts[name] == JOIN_REFUSALS_PER_MINUTE_MAX:
            _log.warning("joins_refused_too_often", remote=name)

    def _name(self, remote: str) -> str:
        """Count all addresses beyond the bound as one."""
        is_counted = remote in self._counts or len(self._counts) < JOIN_ADDRESSES_COUNTED_MAX
        return remote if is_counted else ""

    def _turn(self) -> None:
        minute = self._clock.monotonic_ns() // _MINUTE_NS
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()


def _read(body: bytes) -> JoinAsked:
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Its text may quote what was sent, a secret among it.
        raise invalid(
            "This is no request to join that this version of dStore understands; use the same "
            "version on both sides."
        ) from None
