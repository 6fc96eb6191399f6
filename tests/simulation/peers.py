"""The product's `Peer` port over the simulated network.

Its errors say what those of `replication.peers.remote` say. `Unreachable`: no connection came
about, so nothing was written, or the call only reads. `Unknown`: a write has left and no answer
came, because the message, the answer, the connection or the other side was lost, or the deadline
passed. Everything is encoded and decoded with msgpack, so that nothing is shared by reference.

Harder than a real connection: messages of one pair overtake each other, and those of the methods
in `repeatable` may arrive twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from dstore.base.clock import NS_PER_S
from dstore.base.limits import PEER_DEADLINE_S_MAX
from dstore.model.errors import DStoreError
from dstore.replication.peers.errors import decode_error, encode_error, failure, unreachable
from dstore.replication.peers.port import Received
from dstore.replication.peers.records import encode
from tests.simulation.loop import OWNER
from tests.simulation.network import SILENCE_S

if TYPE_CHECKING:
    from random import Random

    from dstore.replication.peers.calls import AskedCall, Calls, Method, Methods
    from dstore.replication.peers.port import PeerRequest
    from dstore.security.identity import ComponentRole, Identity
    from tests.simulation.loop import SimLoop
    from tests.simulation.machines import Process
    from tests.simulation.network import Network
    from tests.simulation.trace import Trace

_REFUSED_S: Final = (0.000_5, 0.01)  # until a failed attempt to connect shows
_RESET_S: Final = (0.000_5, 0.05)  # until the end of a process shows on its connections
_LOST: Final = "was lost"
_FAILED: Final = "failed while it answered; its log says why"
_LATE: Final = "did not answer in time"

Reply = TypeVar("Reply", bound=msgspec.Struct)
Tamper = Callable[[str, str, str], bool]
"""Told (source, target, method); True loses the message. For faults at exactly one place."""


class Listener:
    """A process that answers, and what it answers."""

    def __init__(self, process: Process, methods: Methods) -> None:
        """Answer with the handlers of `methods`."""
        self.process = process
        self._methods = methods
        self._of_role: dict[ComponentRole, dict[str, Method]] = {}

    def method(self, name: str, role: ComponentRole) -> Method | DStoreError:
        """Find what `role` calls by a name, or why it may not."""
        of_role = self._of_role.get(role)
        if of_role is None:
            of_role = self._of_role[role] = self._methods.for_role(role)
        return of_role.get(name) or self._methods.refusal(name, role)


class Switchboard:
    """Knows who answers on which machine, and which connections there are."""

    def __init__(
        self,
        network: Network,
        *,
        loop: SimLoop,
        random: Random,
        trace: Trace,
    ) -> None:
        """Begin with nobody listening."""
        self.network = network
        self.loop = loop
        self.random = random
        self.trace = trace
        self.repeatable: frozenset[str] = frozenset()
        self.loses_request: Tamper = _never
        self.loses_reply: Tamper = _never
        self._listeners: dict[str, Listener] = {}
        self._peers: list[SimPeer] = []
        network.on_silence(self._silent)

    def listen(self, process: Process, methods: Methods) -> None:
        """Let a process answer calls for as long as it lives; its machine's name is its address."""
        self._listeners[process.name] = Listener(process, methods)
        process.on_death(partial(self._ended, process))

    def peer(self, process: Process, target: str, *, calls: Calls, identity: Identity) -> SimPeer:
        """Make a process's `Peer` of a machine.

        Args:
            process: that calls.
            target: the machine to be called; it need not be up.
            calls: what is called there.
            identity: of the caller, as its certificate would say.
        """
        peer = SimPeer(self, process, target, calls=calls, identity=identity)
        self._peers.append(peer)
        process.on_death(partial(self._peers.remove, peer))
        return peer

    def listener(self, target: str) -> Listener | None:
        """Find who answers on a machine now."""
        return self._listeners.get(target)

    def heal(self) -> None:
        """Lose no message on purpose any more."""
        self.loses_request = self.loses_reply = _never

    def reset(self, source: str, target: str) -> None:
        """Break the connections of a pair of machines, in the direction in which they call."""
        self.trace.event("connection_reset", f"{source}>{target}")
        self._lose(source, target)

    def _ended(self, process: Process) -> None:
        """Let everybody notice the end of a process whose machine still speaks."""
        del self._listeners[process.name]
        for peer in [peer for peer in self._peers if peer.target == process.name]:
            self.tell_of_end(peer, process)

    def tell_of_end(self, peer: SimPeer, process: Process) -> None:
        """Let a caller notice that who was connected has ended: soon, or by its silence."""
        after_s = self.random.uniform(*_RESET_S)
        if not self.network.is_open(process.name, peer.process.name):
            after_s = self.random.uniform(*SILENCE_S)
        self.loop.call_later(after_s, peer.lose, process, context=Context())

    def _silent(self, source: str, target: str) -> None:
        """Give up the connections over a link that has been cut long enough, whoever calls."""
        self._lose(source, target)
        self._lose(target, source)

    def _lose(self, source: str, target: str) -> None:
        for peer in list(self._peers):
            if peer.process.name == source and peer.target == target:
                peer.lose()


class SimPeer:
    """A `Peer`: one machine as one process calls it."""

    def __init__(
        self,
        board: Switchboard,
        process: Process,
        target: str,
        *,
        calls: Calls,
        identity: Identity,
    ) -> None:
        """Prepare; the first call connects."""
        self.process = process
        self.target = target
        self._board = board
        self._calls = calls
        self._identity = identity
        self._line: Process | None = None  # who is at the other end of the connection
        self._under_way: dict[asyncio.Future[bytes], tuple[AskedCall, Process]] = {}
        self._is_closed = False

    async def call(
        self, request: PeerRequest[Reply], *, deadline_s: float, request_id: str = ""
    ) -> Reply:
        """Call the other machine; see `port.Peer`."""
        assert 0 < deadline_s <= PEER_DEADLINE_S_MAX, deadline_s
        assert OWNER.get() is self.process, "a peer belongs to one process"
        call = self._calls.of(request)
        payload = encode(request)
        if not self.process.is_alive:  # in the last step of a process whose disk lost its power
            await asyncio.get_running_loop().create_future()
        line = await self._connected(deadline_s)
        answer = await self._ask(call, payload, line, deadline_s, request_id)
        try:
            return cast("Reply", call.decode(answer))
        except msgspec.MsgspecError as error:
            raise failure("gave an answer that can't be read", is_safe=call.is_safe) from error

    def redial(self, _reason: str) -> None:
        """Do nothing: certificates are not simulated."""

    async def close(self) -> None:
        """End; see `port.Peer`."""
        self._is_closed = True
        self.lose()

    def lose(self, of: Process | None = None) -> None:
        """Break the connection, or the one to a process; what is under way fails."""
        if of is None or self._line is of:
            self._line = None
        for future, (call, line) in list(self._under_way.items()):
            if (of is None or line is of) and not future.done():
                future.set_exception(failure(_LOST, is_safe=call.is_safe))

    async def _connected(self, deadline_s: float) -> Process:
        """Return who is at the other end, connecting if need be. Raises: Unreachable."""
        if self._is_closed:
            raise unreachable("is not called from here any more")
        if self._line is not None:
            return self._line
        board = self._board
        me, network = self.process.name, board.network
        to_and_fro_s = network.draw_delay_s(me, self.target) + network.draw_delay_s(self.target, me)
        found = self._reachable()
        if found is None:
            to_and_fro_s = board.random.uniform(*_REFUSED_S)
        await asyncio.sleep(min(to_and_fro_s, deadline_s))
        if found is None or to_and_fro_s >= deadline_s or self._reachable() is not found:
            raise unreachable("could not be reached")
        self._line = found
        return found

    def _reachable(self) -> Process | None:
        me, network = self.process.name, self._board.network
        listener = self._board.listener(self.target)
        is_open = network.is_open(me, self.target) and network.is_open(self.target, me)
        return listener.process if is_open and listener is not None else None

    async def _ask(
        self, call: AskedCall, payload: bytes, line: Process, deadline_s: float, request_id: str
    ) -> bytes:  # fmt: skip
        loop = self._board.loop
        answer: asyncio.Future[bytes] = loop.create_future()
        self._under_way[answer] = (call, line)
        timer = loop.call_later(deadline_s, _expire, answer, call)
        sent = _Sent(self, call.name, payload, answer, deadline_s, request_id)
        if not self._board.loses_request(self.process.name, self.target, call.name):
            self._board.network.send(
                self.process.name,
                self.target,
                sent.arrive,
                line,
                may_repeat=call.name in self._board.repeatable,
            )
        try:
            return await answer
        finally:
            timer.cancel()
            del self._under_way[answer]


class _Sent:
    """A call on its way, there and back."""

    def __init__(
        self,
        peer: SimPeer,
        name: str,
        payload: bytes,
        answer: asyncio.Future[bytes],
        deadline_s: float,
        request_id: str,
    ) -> None:
        self._peer = peer
        self._board = peer._board
        self._name = name
        self._payload = payload
        self._answer = answer
        self._budget_ns = int(deadline_s * NS_PER_S)
        self._request_id = request_id

    def arrive(self, line: Process) -> None:
        """Hand the call to the process that it was sent to, if that is still the one."""
        board, peer = self._board, self._peer
        listener = board.listener(peer.target)
        if listener is None or listener.process is not line:
            board.tell_of_end(peer, line)
            return
        board.trace.note(f"{peer.process.name}>{peer.target} {self._name}")
        line.call_soon(self._begin, line, listener)

    def _begin(self, line: Process, listener: Listener) -> None:
        """Run the handler, in the process that answers."""
        caller = self._peer._identity
        method = listener.method(self._name, caller.role)
        if isinstance(method, DStoreError):
            self._reply(line, encode_error(method), is_error=True)
            return
        deadline_ns = line.clock.monotonic_ns() + self._budget_ns
        received = Received(caller, deadline_ns, self._request_id)
        try:
            outcome = method.handler(method.decode(self._payload), received)
        except Exception as error:  # noqa: BLE001 - the map from errors to answers is total
            self._fail(line, error)
            return
        if type(outcome) is method.reply:
            self._reply(line, encode(outcome), is_error=False)
        elif isinstance(outcome, asyncio.Future):
            outcome.add_done_callback(partial(self._done, line, method, deadline_ns))
        else:
            assert isinstance(outcome, Coroutine), type(outcome)
            task = line.spawn(outcome, name=self._name)
            task.add_done_callback(partial(self._done, line, method, deadline_ns))

    def _done(
        self, line: Process, method: Method, deadline_ns: int, done: asyncio.Future[Any]
    ) -> None:
        """Answer with what a handler came to, unless that is too late."""
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if line.clock.monotonic_ns() > deadline_ns:
            return
        if error is not None:
            self._fail(line, error)
            return
        reply = done.result()
        assert type(reply) is method.reply, type(reply)
        self._reply(line, encode(reply), is_error=False)

    def _fail(self, line: Process, error: BaseException) -> None:
        if not isinstance(error, DStoreError):
            self._board.trace.event("handler_failed", f"{self._name} {error!r}")
        self._reply(line, encode_error(error), is_error=True)

    def _reply(self, line: Process, payload: bytes, *, is_error: bool) -> None:
        """Send an answer back, if its process lives: its disk may just have lost its power."""
        board, source, target = self._board, line.name, self._peer.process.name
        if line.is_alive and not board.loses_reply(source, target, self._name):
            board.network.send(source, target, self._answered, payload, is_error)

    def _answered(self, payload: bytes, is_error: bool) -> None:
        answer, peer = self._answer, self._peer
        if answer.done() or answer not in peer._under_way:
            return
        if is_error:
            call, _ = peer._under_way[answer]
            answer.set_exception(decode_error(payload, is_safe=call.is_safe))
        else:
            answer.set_result(payload)


def _expire(answer: asyncio.Future[bytes], call: AskedCall) -> None:
    if not answer.done():
        answer.set_exception(failure(_LATE, is_safe=call.is_safe))


def _never(_source: str, _target: str, _method: str) -> bool:
    return False
