"""A component elsewhere: one connection to it, made again whenever it is lost.

While the first connection is being made, or a new one right after a loss, calls wait for it. Once
an attempt has failed they are refused at once, until an attempt succeeds: whoever routes should try
another component rather than wait.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn, Protocol, TypeVar

import msgspec

from dstore.base.clock import NS_PER_MS, NS_PER_S, Clock
from dstore.base.entropy import Entropy
from dstore.base.limits import (
    PEER_BACKOFF_S_MAX,
    PEER_BACKOFF_S_MIN,
    PEER_BEAT_S,
    PEER_CLOSE_TIMEOUT_S,
    PEER_DEADLINE_S_MAX,
    PEER_PAYLOAD_BYTES_MAX,
    PEER_STEADY_S,
    REQUEST_ID_CHARS_MAX,
    RETRY_AFTER_MS,
)
from dstore.base.logging import get_logger
from dstore.base.tasks import Tasks
from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.replication.peers.calls import Calls
from dstore.replication.peers.errors import failure, unreachable
from dstore.replication.peers.line import Line
from dstore.replication.peers.link import Link
from dstore.replication.peers.port import PeerRequest
from dstore.replication.peers.records import CloseCode, Closed, FrameSocket, encode
from dstore.replication.peers.room import Room
from dstore.security.identity import Identity

_log: Final = get_logger(__name__)

_LEAVING_STEP_S: Final = 0.05
_CLOSED: Final = "is not called from here any more"
_DOUBLINGS_MAX: Final = 16  # far beyond PEER_BACKOFF_S_MAX already
_JITTER_STEPS: Final = 2**16

Reply = TypeVar("Reply", bound=msgspec.Struct)


class CannotDial(Exception):
    """No connection came about; the text is the rest of a sentence about the other side."""

    def __init__(self, text: str, *, told: str | None = None) -> None:
        """Say why; `told` is what the other side said if it has turned this component away."""
        super().__init__(text)
        self.told = told


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled:
    """A connection to the right component, both sides having greeted."""

    socket: FrameSocket
    identity: Identity
    valid_until_us: int
    """When the certificate ends that the other side has shown; wall clock."""


class Dialer(Protocol):
    """Makes connections to one component."""

    async def dial(self) -> Dialled:
        """Connect, see that the right component answers, and greet. Raises: CannotDial."""

    async def close(self) -> None:
        """Let go of what connections share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerState:
    """What there is to say of a peer, for status pages."""

    identity: Identity
    is_connected: bool
    problem: str
    """Why there is no connection, "" if there is one or the first is being made."""
    calls: int
    waiting: int
    dials: int
    late_answers: int


class RemotePeer:
    """A `Peer` over connections that a `Dialer` makes."""

    def __init__(
        self,
        dialer: Dialer,
        *,
        identity: Identity,
        calls: Calls,
        clock: Clock,
        entropy: Entropy,
        room: Room | None = None,
        beat_s: float = PEER_BEAT_S,
    ) -> None:
        """Prepare; the first call dials, or `open`.

        Args:
            dialer: closed with the peer.
            identity: of the other component; of who answered last if the dialler takes any of a
                kind.
            calls: what is called there.
            clock: for deadlines.
            entropy: for jitter.
            room: the bounds of what is in flight.
            beat_s: seconds between signs of life.
        """
        self._dialer = dialer
        self._identity = identity
        self._calls = calls
        self._clock = clock
        self._entropy = entropy
        self._room = room or Room()
        self._beat_s = beat_s
        self._tasks = Tasks(self._on_failure)
        self._line: Line | None = None
        self._lines: set[Line] = set()  # those included that finish what is under way
        self._redial = asyncio.Event()
        self._hurried = asyncio.Event()
        self._problem = ""
        self._told: str | None = None
        self._retry_ms = RETRY_AFTER_MS
        self._dials = 0
        self._is_open = False
        self._is_closed = False
        self._late_answers = 0

    def open(self) -> None:
        """Begin to connect, in the background; safe to call twice."""
        if not self._is_open and not self._is_closed:
            self._is_open = True
            self._tasks.spawn(self._keep_connected(), name="peer_dialling", critical=True)

    @property
    def state(self) -> PeerState:
        """Say how things are."""
        return PeerState(
            identity=self._identity,
            is_connected=self._line is not None,
            problem=self._problem,
            calls=self._room.calls,
            waiting=self._room.waiting,
            dials=self._dials,
            late_answers=self._late_answers + sum(line.late_answers for line in self._lines),
        )

    async def call(
        self, request: PeerRequest[Reply], *, deadline_s: float, request_id: str = ""
    ) -> Reply:
        """Call the other component; see `port.Peer`. `request_id` goes into its log."""
        assert 0 < deadline_s <= PEER_DEADLINE_S_MAX, deadline_s
        assert len(request_id) <= REQUEST_ID_CHARS_MAX, request_id
        call = self._calls.of(request)
        payload = encode(request)
        now_ns = self._clock.monotonic_ns()
        deadline_ns = now_ns + int(deadline_s * NS_PER_S)
        line, room, size = self._line, self._room, len(payload)
        is_too_large = size > PEER_PAYLOAD_BYTES_MAX
        if line is None or room.waiting or is_too_large or not room.has_room(size):
            line = await self._usable_line(size, deadline_s)
            now_ns = self._clock.monotonic_ns()
        room.enter(size)
        if room.waiting:
            room.wake_one()  # there may be room for another one
        answer = await line.ask(
            call, payload, now_ns=now_ns, deadline_ns=deadline_ns, request_id=request_id
        )
        try:
            reply: Reply = call.decode(answer)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            _log.warning("peer_answer_malformed", peer=self._identity.uri, call=call.name)
            raise failure("gave an answer that can't be read", is_safe=call.is_safe) from error
        return reply

    def redial(self, reason: str) -> None:
        """Move to a new connection, as after a renewal of a certificate; calls under way finish."""
        if self._line is not None:
            self._line.leave(reason)

    def hurry(self) -> None:
        """Dial now, if it waits to: the other side has said elsewhere that it is there."""
        self._hurried.set()

    async def close(self) -> None:
        """End; calls under way fail as if the connection were lost. Safe to call twice."""
        self._is_closed = True
        self._line = None
        lines = tuple(self._lines)
        for line in lines:
            line.lose(_CLOSED)
        self._room.wake_all()
        closed = Closed(CloseCode.DONE, "calls no more")
        await asyncio.gather(*(line.end(closed, timeout_s=0.0) for line in lines))
        await self._tasks.close()
        await self._dialer.close()

    async def _usable_line(self, size: int, deadline_s: float) -> Line:
        """Wait until there is a connection and room on it.

        Raises: Refused (too large), Unavailable (overloaded), Unreachable.
        """
        if size > PEER_PAYLOAD_BYTES_MAX:
            raise Refused(
                RefusalKind.TOO_LARGE,
                f"A request between components has at most {PEER_PAYLOAD_BYTES_MAX} bytes; split "
                "it.",
            )
        self.open()
        room, is_woken = self._room, False
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    line = self._line
                    if line is None or not line.is_usable:
                        self._check_hope()
                    elif room.has_room(size) and (is_woken or not room.waiting):
                        return line
                    if room.is_crowded:
                        self._refuse_waiting()
                    await room.wait(first=is_woken)
                    is_woken = True
        except TimeoutError:
            raise unreachable("could not be reached in time") from None

    def _check_hope(self) -> None:
        """Refuse to wait for a connection that is not about to come. Raises: Unreachable."""
        if self._is_closed:
            raise unreachable(_CLOSED)
        if self._problem:
            raise unreachable(self._problem, retry_after_ms=self._retry_ms, told=self._told)

    def _refuse_waiting(self) -> NoReturn:
        raise Unavailable(
            UnavailableKind.OVERLOADED,
            "Too many calls wait for one component of the cluster; wait, then retry.",
            retry_after_ms=RETRY_AFTER_MS,
        )

    def _on_failure(self, error: BaseException) -> None:
        """Never wait for a dialling that has ended by a mistake of ours; `Tasks` has logged it."""
        self._problem = f"can't be dialled any more: {type(error).__name__}"
        self._room.wake_all()

    async def _keep_connected(self) -> None:
        attempts = 0
        while True:
            self._redial.clear()
            self._dials += 1
            try:
                dialled = await self._dialer.dial()
            except CannotDial as error:
                attempts += 1
                await self._back_off(str(error), attempts, told=error.told)
                continue
            except Exception as error:  # noqa: BLE001 -- a mistake of ours; the peer may be fine
                _log.error("peer_dial_failed", peer=self._identity.uri, exc_info=error)
                attempts += 1
                await self._back_off("could not be dialled; the log here says why", attempts)
                continue
            began_ns = self._clock.monotonic_ns()
            self._begin(dialled)
            await self._redial.wait()
            steady_ns = int(PEER_STEADY_S * NS_PER_S)
            is_steady = self._clock.monotonic_ns() - began_ns >= steady_ns
            attempts = 0 if is_steady else attempts + 1
            # Not all at once when a component that many are connected to goes away.
            await asyncio.sleep(self._jittered_s(attempts))

    async def _back_off(self, problem: str, attempts: int, *, told: str | None = None) -> None:
        delay_s = self._jittered_s(attempts)
        if problem != self._problem:
            _log.warning("peer_unreachable", peer=self._identity.uri, reason=problem)
        self._problem, self._told = problem, told
        self._retry_ms = max(1, int(delay_s * NS_PER_S) // NS_PER_MS)
        self._room.wake_all()
        self._hurried.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._hurried.wait()

    def _jittered_s(self, attempts: int) -> float:
        """Draw a delay between half of the step that is due and the whole of it."""
        doublings = min(attempts, _DOUBLINGS_MAX)
        step_s = min(PEER_BACKOFF_S_MIN * 2**doublings, PEER_BACKOFF_S_MAX)
        drawn = int.from_bytes(self._entropy.token(2), "big") / _JITTER_STEPS
        return step_s * (0.5 + drawn / 2) if attempts else PEER_BACKOFF_S_MIN * drawn

    def _begin(self, dialled: Dialled) -> None:
        """Use a new connection, until its certificate ends at the latest."""

        def look() -> None:
            if self._clock.wall_us() > dialled.valid_until_us:
                line.leave("the certificate of the other side has ended")

        link = Link(dialled.socket, tasks=self._tasks, on_beat=look, beat_s=self._beat_s)
        line = Line(link, clock=self._clock, on_left=self._room.leave)
        line.on_leaving = partial(self._on_leaving, line)
        self._lines.add(line)
        self._line = line
        self._problem = ""
        self._identity = dialled.identity
        _log.info("peer_connected", peer=self._identity.uri)
        self._tasks.spawn(self._serve(line, link), name="peer_line")
        self._room.wake_one()

    def _on_leaving(self, line: Line, reason: str) -> None:
        """Let new calls wait for the next connection; the old one ends when it is idle."""
        if self._line is line:
            self._line = None
            self._redial.set()
        _log.info("peer_redialled", peer=self._identity.uri, reason=reason)
        self._tasks.spawn(self._end_when_idle(line), name="peer_leaving")

    async def _end_when_idle(self, line: Line) -> None:
        """Close a connection that is left, once the last call on it has its answer."""
        while line.calls and line in self._lines:  # noqa: ASYNC110 -- seldom
            await asyncio.sleep(_LEAVING_STEP_S)
        await line.end(Closed(CloseCode.DONE, "has moved"), timeout_s=PEER_CLOSE_TIMEOUT_S)

    async def _serve(self, line: Line, link: Link) -> None:
        closed = Closed(CloseCode.LOST, "has a fault here")
        try:
            closed = await link.run(line.handle)
        finally:
            self._lines.discard(line)
            self._late_answers += line.late_answers
            what = closed.reason or "has closed the connection"
            if self._line is line:
                self._line = None
                _log.warning(
                    "peer_lost", peer=self._identity.uri, reason=what, code=int(closed.code)
                )
                self._redial.set()
            line.lose(what)
