"""The way to control: a `Peer` that is whichever control process can answer.

Controls are tried one after the other, the one that answered last first. A call goes on to the next
control only if certainly nothing was done at the one before: that one could not be reached, or said
Unavailable, as all but the leader do to changes (kind `moved`). A call that writes and whose answer
got lost is `Unknown`, as anywhere. While nobody answers or nobody leads, the round begins anew, up
to the caller's deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

import msgspec

from dstore.base.clock import NS_PER_S, Clock
from dstore.base.limits import CONTROL_CALL_TRY_S_MIN, CONTROL_RETRY_S, CONTROLS_MAX
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.replication.peers.calls import Calls
from dstore.replication.peers.errors import TurnedAway, Unreachable, unreachable
from dstore.replication.peers.port import Peer, PeerRequest

Reply = TypeVar("Reply", bound=msgspec.Struct)

# What the next round may find otherwise: a control comes back, or another one leads. What the
# leader itself can't do now (no space, no node, too much at hand) its caller hears at once.
_PASSING: Final = frozenset(
    {UnavailableKind.UNREACHABLE, UnavailableKind.MOVED, UnavailableKind.DRAINING}
)
_DEADLINE_S_MIN: Final = 0.02  # below it the answer could not be waited for


class DialledPeer(Peer, Protocol):
    """A peer over connections, which can be told to make a new one."""

    def redial(self, reason: str) -> None:
        """Make further calls on a new connection."""


class ControlLink:
    """Control, as one peer; it belongs to the event loop. `call` is `port.Peer`'s."""

    def __init__(
        self,
        controls: Iterable[str],
        *,
        dial: Callable[[str], DialledPeer],
        calls: Calls,
        clock: Clock,
    ) -> None:
        """Prepare; nothing is dialled before the first call.

        Args:
            controls: peer listeners, `https://host:port`.
            dial: makes the peer of one of them, see `websocket.control_peer`.
            calls: that are made; they tell reads from writes.
            clock: for deadlines.
        """
        self._dial = dial
        self._calls = calls
        self._clock = clock
        self._peers: dict[str, DialledPeer] = {}  # the one that answered last is the first
        self._leaving: list[DialledPeer] = []
        self._is_closed = False
        self.set_controls(controls)

    @property
    def controls(self) -> tuple[str, ...]:
        """Return where controls are, the one that answered last first."""
        return tuple(self._peers)

    def set_controls(self, controls: Iterable[str]) -> None:
        """Take another list of controls; connections to those that stay are kept."""
        wanted = list(dict.fromkeys(controls))[:CONTROLS_MAX]
        if not wanted or set(wanted) == set(self._peers):
            return
        stay = {uri: peer for uri, peer in self._peers.items() if uri in wanted}
        self._leaving.extend(peer for uri, peer in self._peers.items() if uri not in stay)
        come = {uri: self._dial(uri) for uri in wanted if uri not in stay}
        self._peers = {**stay, **come}

    def redial(self, reason: str) -> None:
        """Move to new connections, after a renewal of the certificate; calls under way finish."""
        for peer in self._peers.values():
            peer.redial(reason)

    async def call(
        self, request: PeerRequest[Reply], *, deadline_s: float, request_id: str = ""
    ) -> Reply:
        """Have a control that can answer do what `request` asks for.

        Raises: as `port.Peer.call`; Unreachable: no control could be reached, nothing was done.
            Refused(FORBIDDEN): control does not let this component in any more.
        """
        if self._is_closed:
            raise unreachable("is not called from here any more")
        await self._let_go()
        is_safe = self._calls.of(request).is_safe
        until_ns = self._clock.monotonic_ns() + int(deadline_s * NS_PER_S)
        problem: Unavailable | None = None
        while True:
            order, is_final = self.controls, False
            for place, uri in enumerate(order):
                peer = self._peers.get(uri)
                left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
                if peer is None or left_s < _DEADLINE_S_MIN:
                    continue
                # A read may be tried elsewhere in time; a write that was sent may not.
                share_s = left_s / (len(order) - place) if is_safe else left_s
                try:
                    reply = await peer.call(
                        request,
                        deadline_s=min(left_s, max(share_s, CONTROL_CALL_TRY_S_MIN)),
                        request_id=request_id,
                    )
                except TurnedAway as error:
                    # All controls have one list of who belongs to the plane.
                    raise Refused(RefusalKind.FORBIDDEN, error.told) from error
                except Unavailable as error:
                    problem = _worse(problem, error)
                    is_final = is_final or error.kind not in _PASSING
                    continue
                self._prefer(uri)
                return reply
            left_s = (until_ns - self._clock.monotonic_ns()) / NS_PER_S
            if is_final or left_s <= CONTROL_RETRY_S:
                raise problem or unreachable("could not be reached in time")
            await asyncio.sleep(CONTROL_RETRY_S)

    async def close(self) -> None:
        """End; calls under way fail as if the connection were lost. Safe to call twice."""
        self._is_closed = True
        peers, self._peers = self._peers, {}
        await asyncio.gather(*(peer.close() for peer in peers.values()))
        await self._let_go()

    async def _let_go(self) -> None:
        leaving, self._leaving = self._leaving, []
        for peer in leaving:
            await peer.close()

    def _prefer(self, uri: str) -> None:
        peer = self._peers.get(uri)
        if peer is not None and next(iter(self._peers)) != uri:
            others = {other: one for other, one in self._peers.items() if other != uri}
            self._peers = {uri: peer, **others}


def _worse(former: Unavailable | None, error: Unavailable) -> Unavailable:
    """Keep what tells the caller more: what the leader said, or else one that answered at all."""
    return error if former is None or _weight(error) >= _weight(former) else former


def _weight(error: Unavailable) -> int:
    return 2 if error.kind not in _PASSING else int(not isinstance(error, Unreachable))
