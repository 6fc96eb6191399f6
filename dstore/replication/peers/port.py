"""The port: what a component sees of another one, wherever that runs."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

from dstore.security.identity import Identity

Reply = TypeVar("Reply", bound=msgspec.Struct)


class PeerRequest(msgspec.Struct, Generic[Reply], frozen=True, array_like=True):
    """What every request derives from; the parameter is the type of its reply.

    Fields are told apart by their place: a new one goes to the end and has a default, so that a
    component understands one of the version before. Requests and replies say `array_like=True`.
    """


class Peer(Protocol):
    """Another component, to be called."""

    async def call(
        self, request: PeerRequest[Reply], *, deadline_s: float, request_id: str = ""
    ) -> Reply:
        """Do at the other component what `request` asks for.

        A caller that is cancelled gives up the answer only: the work at the other side goes on.

        Args:
            request: of a type that the peer's calls know.
            deadline_s: seconds from now until the answer is of no use any more,
                0 < deadline_s <= PEER_DEADLINE_S_MAX; kept to about 10 ms.
            request_id: of the client's request that leads to this call, for the log over there;
                at most REQUEST_ID_CHARS_MAX characters.

        Raises:
            Refused, ConditionFailed, Unavailable, Unknown, Corrupt, NotMine: as the other side
                raised it.
            Unavailable (overloaded): too much is in flight to this peer.
            Unreachable: there is no connection, or it was lost, or the deadline passed; and if the
                call writes, it certainly did not reach the other side.
            Unknown: the call writes, it has left, and no answer came.
            Refused (forbidden): this component's role may not make the call.
        """

    async def close(self) -> None:
        """End; calls under way fail as if the connection were lost. Safe to call twice."""


class Received(msgspec.Struct, frozen=True):
    """What a handler may know of a call beside its request."""

    caller: Identity
    deadline_ns: int
    """When the caller gives up, on `Clock.monotonic_ns` of this process."""
    request_id: str
    """Of the client's request that led to the call; "" if there is none."""
