"""One connection as the side sees it that calls: what is under way on it, and what becomes of it.

A call is pending from the moment it is queued until its answer, its deadline or the end of the
connection, even when its caller is gone, since the other side works on it. What it fails with
depends on two facts: whether it had left, and whether it only reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from dstore.base.clock import NS_PER_MS, NS_PER_S, Clock
from dstore.base.limits import (
    PEER_DEADLINE_STEP_S,
    PEER_PART_BYTES,
    PEER_REPLY_BYTES_MAX,
)
from dstore.model.errors import DStoreError, Unavailable, UnavailableKind
from dstore.replication.peers.calls import AskedCall
from dstore.replication.peers.errors import decode_error, failure, unreachable
from dstore.replication.peers.link import Link
from dstore.replication.peers.records import (
    Answer,
    Beat,
    Call,
    Closed,
    GoAway,
    LargeAnswer,
    LargeCall,
    Malformed,
    Part,
    Record,
)

_NEVER_NS: Final = 2**63
_NO_ANSWER: Final = "did not answer in time"


class Pending:
    """A call under way."""

    __slots__ = ("bytes_count", "call", "deadline_ns", "future", "id", "is_sent", "line")

    def __init__(  # noqa: PLR0917 -- by place: this is made for every call
        self, line: Line, call: AskedCall, call_id: int, deadline_ns: int, bytes_count: int
    ) -> None:
        """Begin unsent."""
        self.line = line
        self.call = call
        self.id = call_id
        self.deadline_ns = deadline_ns
        self.bytes_count = bytes_count
        self.is_sent = False
        self.future: asyncio.Future[Any] = line.create_future()

    def leaves(self) -> bool:
        """Note that the call leaves; one that nobody waits for any more stays here instead."""
        if self.future.done():
            self.line.forget(self.id)
            return False
        self.is_sent = True
        return True

    def fail(self, what: str) -> None:
        """End the call without an answer; `what` is the rest of a sentence about the peer."""
        if self.future.done():
            return
        self.future.set_exception(
            failure(what, is_safe=self.call.is_safe) if self.is_sent else unreachable(what)
        )


class _Gathering:
    """A large answer that arrives in parts; `data` is None if there is no room or need for it."""

    __slots__ = ("answer", "data", "missing_bytes")

    def __init__(self, answer: LargeAnswer, data: bytearray | None) -> None:
        self.answer = answer
        self.data = data
        self.missing_bytes = answer.size


class Line:
    """A connection to a peer, in use."""

    __slots__ = (
        "_clock",
        "_gathering",
        "_gathering_bytes",
        "_is_leaving",
        "_last_id",
        "_link",
        "_loop",
        "_on_left",
        "_pending",
        "_timer",
        "_timer_ns",
        "create_future",
        "late_answers",
        "on_leaving",
    )

    def __init__(
        self,
        link: Link,
        *,
        clock: Clock,
        on_left: Callable[[int], None],
    ) -> None:
        """Take over a link.

        Args:
            link: `run` it with this line's `handle`; afterwards call `lose`.
            clock: for deadlines.
            on_left: is called with the bytes of each call that is not under way any more.
        """
        self._link = link
        self._clock = clock
        self._on_left = on_left
        self.on_leaving: Callable[[str], None] = _nobody
        self._loop = asyncio.get_running_loop()
        self.create_future: Callable[[], asyncio.Future[Any]] = self._loop.create_future
        self._pending: dict[int, Pending] = {}
        self._gathering: dict[int, _Gathering] = {}
        self._gathering_bytes = 0
        self._last_id = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = _NEVER_NS
        self._is_leaving = False
        self.late_answers = 0

    @property
    def calls(self) -> int:
        """Count the calls under way."""
        return len(self._pending)

    @property
    def is_usable(self) -> bool:
        """Tell whether further calls should go out here."""
        return self._link.is_open and not self._is_leaving

    def ask(
        self, call: AskedCall, payload: bytes, *, now_ns: int, deadline_ns: int, request_id: str
    ) -> asyncio.Future[Any]:
        """Send a call at the end of this turn. Returns: its answer to be, still encoded."""
        self._last_id = call_id = self._last_id + 1
        bytes_count = len(payload)
        pending = Pending(self, call, call_id, deadline_ns, bytes_count)
        self._pending[call_id] = pending
        if deadline_ns < self._timer_ns:
            self._arm(deadline_ns, now_ns)
        budget_ms = (deadline_ns - now_ns) // NS_PER_MS
        if bytes_count <= PEER_PART_BYTES:
            record = Call(call_id, call.name, budget_ms, request_id, msgspec.Raw(payload))
            self._link.put(record, bytes_count, ticket=pending)
        else:
            opening = LargeCall(call_id, call.name, budget_ms, request_id, bytes_count)
            self._link.put_large(opening, call_id, payload=payload, ticket=pending)
        return pending.future

    def handle(self, records: Sequence[Record]) -> None:
        """Take records of the other side. Raises: Malformed."""
        pop = self._pending.pop
        for record in records:
            if type(record) is Answer:
                pending = pop(record.id, None)
                if pending is None:
                    self._unexpected(record.id)
                else:
                    self._finish(pending, record.payload, is_error=record.is_error)
            else:
                self._handle_other(record)

    def _handle_other(self, record: Record) -> None:
        match record:
            case Part():
                self._gather(record)
            case LargeAnswer():
                self._begin_gathering(record)
            case Beat():
                return
            case GoAway():
                self.leave(record.reason)
            case _:
                raise Malformed("sent what only a caller may send")

    def leave(self, reason: str) -> None:
        """Take no further calls here; `on_leaving` is told of the reason, once."""
        if not self._is_leaving:
            self._is_leaving = True
            self.on_leaving(reason)

    async def end(self, closed: Closed, *, timeout_s: float) -> None:
        """Send what waits, then close with a reason."""
        await self._link.finish(closed, timeout_s=timeout_s)

    def lose(self, what: str) -> None:
        """Fail everything under way; `what` is the rest of a sentence about the other side."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gathering.clear()
        pending, self._pending = self._pending, {}
        for one in pending.values():
            one.fail(what)
            self._on_left(one.bytes_count)

    def forget(self, call_id: int) -> None:
        """Drop a call that has not left and that nobody waits for."""
        pending = self._pending.pop(call_id, None)
        if pending is not None:
            self._on_left(pending.bytes_count)

    def _finish(self, pending: Pending, payload: Any, *, is_error: bool) -> None:
        self._on_left(pending.bytes_count)
        future = pending.future
        if future.done():
            return
        if is_error:
            future.set_exception(decode_error(payload, is_safe=pending.call.is_safe))
        else:
            future.set_result(payload)

    def _unexpected(self, call_id: int) -> None:
        """Pass over an answer that comes late or twice; one to a call never made is a lie."""
        if call_id > self._last_id:
            raise Malformed("answered a call that was never made")
        self.late_answers += 1

    def _begin_gathering(self, answer: LargeAnswer) -> None:
        if answer.id in self._gathering:
            raise Malformed("announced one answer twice")
        pending = self._pending.get(answer.id)
        if pending is None:
            self._unexpected(answer.id)
            self._gathering[answer.id] = _Gathering(answer, None)
            return
        if self._gathering_bytes + answer.size > PEER_REPLY_BYTES_MAX:
            self._gathering[answer.id] = _Gathering(answer, None)
            del self._pending[answer.id]
            self._refuse(pending, answer.size)
            return
        self._gathering_bytes += answer.size
        self._gathering[answer.id] = _Gathering(answer, bytearray())

    def _refuse(self, pending: Pending, size: int) -> None:
        """Give up an answer for which there is no room; a write has been done all the same."""
        self._on_left(pending.bytes_count)
        if pending.future.done():
            return
        error: DStoreError = failure("sent more than fits", is_safe=False)
        if pending.call.is_safe:
            error = Unavailable(
                UnavailableKind.OVERLOADED,
                f"Too many large answers arrive at once for one more of {size} bytes; retry.",
            )
        pending.future.set_exception(error)

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
        self._gathering_bytes -= gathering.answer.size
        pending = self._pending.pop(part.id, None)
        if pending is None:
            self.late_answers += 1
        else:
            self._finish(pending, gathering.data, is_error=gathering.answer.is_error)

    def _arm(self, deadline_ns: int, now_ns: int) -> None:
        """Look at the deadlines when the earliest is due, or a step later."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = deadline_ns
        after_s = max(0.0, (deadline_ns - now_ns) / NS_PER_S) + PEER_DEADLINE_STEP_S
        self._timer = self._loop.call_later(after_s, self._expire)

    def _expire(self) -> None:
        """End what is late, and look again when the next one is due.

        One timer for all calls: most are answered long before, and cost it nothing. The step
        between two looks bounds what they cost when deadlines lie close together.
        """
        self._timer = None
        self._timer_ns = _NEVER_NS
        now_ns = self._clock.monotonic_ns()
        earliest_ns = _NEVER_NS
        late: list[Pending] = []
        for pending in self._pending.values():
            if pending.deadline_ns <= now_ns:
                late.append(pending)
            elif pending.deadline_ns < earliest_ns:
                earliest_ns = pending.deadline_ns
        for pending in late:
            del self._pending[pending.id]
            pending.fail(_NO_ANSWER)
            self._on_left(pending.bytes_count)
        if earliest_ns != _NEVER_NS:
            self._arm(earliest_ns, now_ns)


def _nobody(_reason: str) -> None:
    return None
