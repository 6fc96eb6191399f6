"""One connection as the side sees it that answers: calls in, replies out, bounds in between.

A call begins as soon as all of it has arrived, if its caller still waits, may make it, and there is
room; otherwise it is refused at once, which is always safe to retry. Calls begun are not cancelled
when the caller gives up or the connection ends: half a write helps nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from dstore.base.clock import NS_PER_MS, Clock
from dstore.base.limits import (
    PEER_ANSWER_BYTES_MAX,
    PEER_ANSWERS_MAX,
    PEER_DEADLINE_S_MAX,
    PEER_FAILURE_BYTES_MAX,
    PEER_PART_BYTES,
    PEER_PAYLOAD_BYTES_MAX,
    PEER_SENT_BYTES_WAITING_MAX,
    RETRY_AFTER_MS,
)
from dstore.base.logging import bind_request_id, get_logger
from dstore.base.metrics import PeerMetrics
from dstore.base.tasks import Tasks
from dstore.model.errors import DStoreError, RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.model.errors import invalid as refused_as_invalid
from dstore.replication.peers.calls import Method, Methods
from dstore.replication.peers.errors import encode_error
from dstore.replication.peers.link import Link
from dstore.replication.peers.port import Received
from dstore.replication.peers.records import (
    Answer,
    Beat,
    Call,
    LargeAnswer,
    LargeCall,
    Malformed,
    Part,
    Record,
    encode,
)
from dstore.security.identity import Identity

_log: Final = get_logger(__name__)

_BUDGET_MS_MAX: Final = int(PEER_DEADLINE_S_MAX * 1_000)


class _Gathering:
    """A large call that arrives in parts; `data` is None if it has been refused."""

    __slots__ = ("call", "data", "deadline_ns", "missing_bytes")

    def __init__(self, call: LargeCall, data: bytearray | None, *, deadline_ns: int) -> None:
        self.call = call
        self.data = data
        self.deadline_ns = deadline_ns
        self.missing_bytes = call.size


class Answering:
    """A connection from a component that calls."""

    __slots__ = (
        "_answers_max",
        "_caller",
        "_clock",
        "_frames_sent",
        "_gathering",
        "_link",
        "_methods",
        "_methods_of_role",
        "_metrics",
        "_request_id",
        "_tasks",
        "answered",
        "bytes",
        "calls",
        "dropped",
        "refused",
    )

    def __init__(
        self,
        link: Link,
        *,
        caller: Identity,
        methods: Methods,
        clock: Clock,
        tasks: Tasks,
        metrics: PeerMetrics,
        answers_max: int = PEER_ANSWERS_MAX,
    ) -> None:
        """Take over a link.

        Args:
            link: `run` it with `handle`.
            caller: as its certificate says.
            methods: what is answered here.
            clock: for deadlines.
            tasks: own the handlers that are coroutines; they outlive the connection.
            metrics: where calls are counted.
            answers_max: calls at work at a time.
        """
        self._link = link
        self._caller = caller
        self._methods = methods
        self._methods_of_role = methods.for_role(caller.role)
        self._clock = clock
        self._tasks = tasks
        self._metrics = metrics
        self._frames_sent = 0  # that are counted
        self._answers_max = answers_max
        self._gathering: dict[int, _Gathering] = {}
        self._request_id = ""  # that this connection's reader is bound to
        self.calls = 0  # at work
        self.bytes = 0  # of their requests, and of those that are still arriving
        self.answered = 0
        self.refused = 0
        self.dropped = 0  # their callers had given up

    def handle(self, records: Sequence[Record]) -> None:
        """Take records of the other side. Raises: Malformed."""
        now_ns = self._clock.monotonic_ns()
        calls = 0
        for record in records:
            if type(record) is Call:
                calls += 1
                deadline_ns = _deadline_ns(record.budget_ms, now_ns)
                refusal = self._refusal(record.method)
                if refusal is None:
                    self._begin(record, record.payload, deadline_ns=deadline_ns)
                else:
                    self._refuse(record.id, refusal)
            else:
                calls += type(record) is LargeCall
                self._handle_other(record, now_ns)
        if calls:
            self._count(calls)

    def _count(self, calls: int) -> None:
        metrics = self._metrics
        metrics.calls += calls
        metrics.frames_received += 1
        sent = self._link.frames_sent
        metrics.frames_sent += sent - self._frames_sent
        self._frames_sent = sent

    def _handle_other(self, record: Record, now_ns: int) -> None:
        match record:
            case Part():
                self._gather(record)
            case LargeCall():
                self._begin_gathering(record, _deadline_ns(record.budget_ms, now_ns))
            case Beat():
                return
            case _:
                raise Malformed("sent what only an answering side may send")

    def lose(self) -> None:
        """Forget what has arrived in part; whatever is at work goes on, and is not answered."""
        for gathering in self._gathering.values():
            if gathering.data is not None:
                self.bytes -= gathering.call.size
        self._gathering.clear()

    def _refusal(self, name: str) -> DStoreError | None:
        """Tell why a call can't be taken on now, None if it can."""
        if name not in self._methods_of_role:
            error = self._methods.refusal(name, self._caller.role)
            if isinstance(error, Refused) and error.kind is RefusalKind.FORBIDDEN:
                _log.warning("peer_call_forbidden", peer=self._caller.uri, call=name)
            return error
        if (
            self.calls >= self._answers_max
            or self.bytes > PEER_ANSWER_BYTES_MAX
            or self._link.bytes_waiting > PEER_SENT_BYTES_WAITING_MAX
        ):
            return Unavailable(
                UnavailableKind.OVERLOADED,
                "A component of the cluster has as many calls at hand as it takes; retry.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        return None

    def _begin(self, call: Call | LargeCall, payload: Any, *, deadline_ns: int) -> None:
        """Run a call's handler; a reply that is there at once goes out at once."""
        method = self._methods_of_role[call.method]
        try:
            request = method.decode(payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            del error  # it quotes the request
            self._refuse(call.id, refused_as_invalid(f"The request of {method.name} is malformed."))
            return
        if call.request_id != self._request_id:
            self._request_id = call.request_id
            bind_request_id(call.request_id)
        received = Received(self._caller, deadline_ns, call.request_id)
        try:
            outcome = method.handler(request, received)
        except Exception as error:  # noqa: BLE001 -- the map from errors to answers is total
            self._fail(call.id, method, error)
            return
        if type(outcome) is method.reply:
            self._reply(call.id, method, outcome)
            return
        self._await_outcome(call.id, method, outcome, size=len(payload), deadline_ns=deadline_ns)

    def _await_outcome(
        self,
        call_id: int,
        method: Method,
        outcome: Awaitable[Any],
        *,
        size: int,
        deadline_ns: int,
    ) -> None:
        """Answer when a future is done, or when a coroutine has ended as a task."""
        self.calls += 1
        self.bytes += size
        self._metrics.began(self._clock.monotonic_ns())
        if isinstance(outcome, asyncio.Future):
            answer = partial(self._answer, call_id, method, size=size, deadline_ns=deadline_ns)
            outcome.add_done_callback(answer)
        else:
            assert isinstance(outcome, Coroutine), type(outcome)
            work = self._work(call_id, method, outcome, size=size, deadline_ns=deadline_ns)
            self._tasks.spawn(work, name=method.name)

    async def _work(
        self,
        call_id: int,
        method: Method,
        outcome: Coroutine[Any, Any, Any],
        *,
        size: int,
        deadline_ns: int,
    ) -> None:
        """Run a handler that is a coroutine, and answer; the task itself never fails."""
        try:
            reply = await outcome
        except asyncio.CancelledError as error:
            self._ended(size)
            self._fail(call_id, method, error)
            raise
        except Exception as error:  # noqa: BLE001 -- the map from errors to answers is total
            if self._ended(size, deadline_ns):
                self._fail(call_id, method, error)
        else:
            if self._ended(size, deadline_ns):
                self._reply(call_id, method, reply)

    def _answer(
        self,
        call_id: int,
        method: Method,
        done: asyncio.Future[Any],
        *,
        size: int,
        deadline_ns: int,
    ) -> None:
        """Answer with what a future holds."""
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if not self._ended(size, deadline_ns):
            return
        if error is None:
            self._reply(call_id, method, done.result())
        else:
            self._fail(call_id, method, error)

    def _ended(self, size: int, deadline_ns: int = 0) -> bool:
        """Count a call as done. Returns: whether anybody waits for its answer."""
        self.calls -= 1
        self.bytes -= size
        now_ns = self._clock.monotonic_ns()
        self._metrics.ended(now_ns)
        if now_ns <= deadline_ns and self._link.is_open:
            return True
        self.dropped += 1
        return False

    def _reply(self, call_id: int, method: Method, reply: Any) -> None:
        try:
            assert type(reply) is method.reply, type(reply)
            payload = encode(reply)
        except Exception as error:  # noqa: BLE001 -- a handler's mistake, told as such
            self._fail(call_id, method, error)
            return
        if len(payload) > PEER_PAYLOAD_BYTES_MAX:
            self._fail(call_id, method, ValueError("The reply is too large."))
            return
        self.answered += 1
        self._send(call_id, payload, is_error=False)

    def _refuse(self, call_id: int, error: DStoreError) -> None:
        """Answer with an error that says that nothing was done."""
        self.refused += 1
        self._send(call_id, encode_error(error), is_error=True)

    def _fail(self, call_id: int, method: Method, error: BaseException) -> None:
        """Answer with what a handler raised; what is not an error of the house is logged."""
        self.answered += 1
        if not isinstance(error, DStoreError):
            _log.error("peer_call_failed", call=method.name, exc_info=error)
        encoded = encode_error(error)
        if len(encoded) > PEER_FAILURE_BYTES_MAX:
            encoded = encode_error(ValueError("The error is too large."))
        self._send(call_id, encoded, is_error=True)

    def _send(self, call_id: int, payload: bytes, *, is_error: bool) -> None:
        size = len(payload)
        if size <= PEER_PART_BYTES:
            self._link.put(Answer(call_id, is_error, msgspec.Raw(payload)), size)
        else:
            self._link.put_large(LargeAnswer(call_id, is_error, size), call_id, payload=payload)

    def _begin_gathering(self, call: LargeCall, deadline_ns: int) -> None:
        """Make room for a large call, or pass over its parts."""
        if call.id in self._gathering:
            raise Malformed("announced one call twice")
        if len(self._gathering) >= self._answers_max:
            raise Malformed("announced more calls than it may make")
        refusal = self._refusal(call.method)
        data = None
        if refusal is None:
            data = bytearray()
            self.bytes += call.size
        else:
            self._refuse(call.id, refusal)
        self._gathering[call.id] = _Gathering(call, data, deadline_ns=deadline_ns)

    def _gather(self, part: Part) -> None:
        gathering = self._gathering.get(part.id)
        if gathering is None or len(part.data) > gathering.missing_bytes:
            raise Malformed("sent a part of nothing that it has announced")
        gathering.missing_bytes -= len(part.data)
        if gathering.data is not None:
            gathering.data += part.data
        if gathering.missing_bytes:
            return
        del self._gathering[part.id]
        if gathering.data is None:
            return
        self.bytes -= gathering.call.size
        if self._clock.monotonic_ns() > gathering.deadline_ns:
            self.dropped += 1
            return
        self._begin(gathering.call, gathering.data, deadline_ns=gathering.deadline_ns)


def _deadline_ns(budget_ms: int, now_ns: int) -> int:
    return now_ns + min(budget_ms, _BUDGET_MS_MAX) * NS_PER_MS
