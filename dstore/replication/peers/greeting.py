"""The first words on a connection: both sides say who they are, and look whether that is so.

TLS has proved that each holds a certificate of a trusted authority. Here it is seen whose it is:
the certificate's identity must be the one that is claimed, and the one that the other side means.
"""

from __future__ import annotations

import asyncio
from typing import Final, assert_never

from dstore.base.clock import Clock
from dstore.base.limits import PEER_GREETING_TIMEOUT_S
from dstore.replication.peers.records import (
    TEXT_CHARS_MAX,
    VERSION,
    CloseCode,
    Closed,
    FrameSocket,
    GoAway,
    Hello,
    Malformed,
    decode_frame,
    encode_frame,
)
from dstore.security.identity import (
    Certificate,
    CertificateProblem,
    CertificateRefused,
    ComponentRole,
    Identity,
    require_clocks_agree,
    require_identity,
    require_valid,
)

_UNSAID: Final = "closed the connection without a greeting"


class NotWelcome(Exception):
    """The greeting failed; `closed` says why, to the other side too if it can act on it."""

    def __init__(self, closed: Closed, *, told: str | None = None) -> None:
        """Keep the reason: the rest of a sentence about the other side, or a whole one.

        `told` is the other side's own sentence, if it has refused this component as such.
        """
        super().__init__(closed.reason)
        self.closed = closed
        self.told = told


async def greet(
    socket: FrameSocket, *, here: Identity, there: Certificate, wanted: Identity, clock: Clock
) -> None:
    """Greet as the side that has dialled; the caller bounds the time.

    Args:
        socket: newly connected; it is closed by the caller if this fails.
        here: this component.
        there: of the certificate that the other side has shown.
        wanted: whom the address is believed to be.
        clock: of this machine.

    Raises: NotWelcome.
    """
    if there.identity != wanted:
        raise NotWelcome(_stranger(there.identity, wanted=wanted))
    _check(there, clock=clock)
    socket.send(encode_frame([_hello(here, wanted=wanted, clock=clock)]))
    hello = await _heard(socket)
    if hello.identity != wanted.uri:
        raise NotWelcome(Closed(CloseCode.UNAUTHENTICATED, f"says that it is {hello.identity}"))
    _check_clocks(hello, clock=clock)


async def welcome(
    socket: FrameSocket,
    *,
    here: Identity,
    there: Certificate,
    roles: frozenset[ComponentRole],
    clock: Clock,
) -> None:
    """Greet as the side that was dialled; only components of these roles are welcome.

    Raises: NotWelcome.
    """
    _check(there, clock=clock)
    try:
        require_identity(there.identity, control_plane=here.control_plane, roles=roles)
    except CertificateRefused as error:
        raise NotWelcome(_refused(error)) from error
    try:
        async with asyncio.timeout(PEER_GREETING_TIMEOUT_S):
            hello = await _heard(socket)
    except TimeoutError:
        raise NotWelcome(Closed(CloseCode.MALFORMED, "did not greet in time")) from None
    if hello.identity != there.identity.uri:
        reason = "greeted as somebody else than its certificate says"
        raise NotWelcome(Closed(CloseCode.UNAUTHENTICATED, reason))
    if hello.wanted != here.uri:
        raise NotWelcome(_stranger(here, wanted=None))
    _check_clocks(hello, clock=clock)
    socket.send(encode_frame([_hello(here, wanted=there.identity, clock=clock)]))


async def turn_away(socket: FrameSocket, closed: Closed) -> None:
    """Close a connection that was not welcome; the other side hears the whole reason."""
    socket.send(encode_frame([GoAway(reason=closed.reason[:TEXT_CHARS_MAX])]))
    await socket.close(closed)


def code_of(problem: CertificateProblem) -> CloseCode:
    """Tell how a connection ends because of a certificate."""
    match problem:
        case CertificateProblem.WRONG_ROLE | CertificateProblem.FOREIGN:
            return CloseCode.FORBIDDEN
        case (
            CertificateProblem.MISSING
            | CertificateProblem.MALFORMED
            | CertificateProblem.EXPIRED
            | CertificateProblem.NOT_YET_VALID
            | CertificateProblem.CLOCK
        ):
            return CloseCode.UNAUTHENTICATED
        case _:
            assert_never(problem)


async def _heard(socket: FrameSocket) -> Hello:
    frame = await socket.receive()
    if isinstance(frame, Closed):
        reason = frame.reason or _UNSAID
        raise NotWelcome(Closed(frame.code, reason))
    try:
        records = decode_frame(frame)
    except Malformed as error:
        raise NotWelcome(Closed(CloseCode.MALFORMED, str(error))) from error
    if records and isinstance(records[0], GoAway):
        frame = await socket.receive()
        code = frame.code if isinstance(frame, Closed) else CloseCode.FORBIDDEN
        told = records[0].reason
        is_refusal = code == CloseCode.FORBIDDEN
        raise NotWelcome(Closed(code, f"says: {told}"), told=told if is_refusal else None)
    if len(records) != 1 or not isinstance(hello := records[0], Hello):
        raise NotWelcome(Closed(CloseCode.MALFORMED, "did not begin with a greeting"))
    if hello.version != VERSION:
        reason = f"speaks version {hello.version} of the protocol, this is {VERSION}; upgrade one"
        raise NotWelcome(Closed(CloseCode.VERSION, reason))
    return hello


def _hello(here: Identity, *, wanted: Identity, clock: Clock) -> Hello:
    return Hello(version=VERSION, identity=here.uri, wanted=wanted.uri, wall_us=clock.wall_us())


def _check(there: Certificate, *, clock: Clock) -> None:
    try:
        require_valid(there, now_us=clock.wall_us())
    except CertificateRefused as error:
        raise NotWelcome(_refused(error)) from error


def _check_clocks(hello: Hello, *, clock: Clock) -> None:
    try:
        require_clocks_agree(here_us=clock.wall_us(), there_us=hello.wall_us)
    except CertificateRefused as error:
        raise NotWelcome(_refused(error)) from error


def _refused(error: CertificateRefused) -> Closed:
    return Closed(code_of(error.problem), error.message)


def _stranger(found: Identity, *, wanted: Identity | None) -> Closed:
    """Make the reason of an address that leads to somebody else; the longest has 123 bytes."""
    if wanted is not None and found.control_plane != wanted.control_plane:
        return Closed(CloseCode.FORBIDDEN, f"belongs to control plane {found.control_plane}")
    return Closed(CloseCode.FORBIDDEN, f"is {found.role} {found.uuid}; somebody else was meant")
