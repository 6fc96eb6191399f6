"""What was accepted and is not done yet: a line per table, bounded in number and in bytes.

A line is with one worker at a time, and what goes back to it goes back to its head, so a table's
writes keep their order. A line whose head cannot be done rests by itself; the others go on.
"""

from __future__ import annotations

from asyncio import Queue, get_running_loop
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dstore.base.deferred_limits import (
    ASYNC_QUEUE_BYTES_MAX,
    ASYNC_QUEUE_DEPTH_MAX,
    ASYNC_TENANT_SHARE,
    ASYNC_TURN_BYTES_MAX,
)
from dstore.base.limits import RETRY_AFTER_MS, WRITE_BATCH_MAX
from dstore.model.errors import Unavailable, UnavailableKind

WAITING_OVERHEAD_BYTES: Final = 512  # of a waiting write beyond its encoded form
_DOUBLINGS_MAX: Final = 4  # of the rest between two tries: 100 ms to 1.6 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One accepted write. `encoded` is its stored form, in clear; it is decoded when it runs.

    `is_named` says that its client has named it; the same name may come to another node as well.
    """

    request_id: str
    tenant: str
    table_id: str
    entry_id: str
    encoded: bytes = field(repr=False)
    accepted_us: int
    is_named: bool = False

    @property
    def size_bytes(self) -> int:
        """What it counts against the bounds."""
        return len(self.encoded) + WAITING_OVERHEAD_BYTES


@dataclass(slots=True, kw_only=True)
class Line:
    """A table's waiting writes in the order of acceptance; `tries` counts turns that got stuck."""

    table_id: str
    waiting: deque[Waiting] = field(default_factory=deque)
    tries: int = 0

    def take(self) -> list[Waiting]:
        """Take a turn's worth from the head; a line that is stuck tries its first write alone."""
        count_max = 1 if self.tries else WRITE_BATCH_MAX
        taken: list[Waiting] = []
        size_bytes = 0
        while self.waiting and len(taken) < count_max:
            size_bytes += self.waiting[0].size_bytes
            if taken and size_bytes > ASYNC_TURN_BYTES_MAX:
                break
            taken.append(self.waiting.popleft())
        return taken


class DeferredQueue:
    """The lines of all tables. Used from one event loop."""

    def __init__(self) -> None:
        """Start empty."""
        self._lines: dict[str, Line] = {}
        self._ready: Queue[Line] = Queue()
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._bytes_sum = 0
        self.depth = 0

    def reserve(self, one: Waiting) -> None:
        """Count a write before anything is awaited for it.

        Raises: Unavailable: the queue, or the tenant's share of it, is full; nothing is counted.
        """
        depth, size_bytes = self.depth + 1, self._bytes_sum + one.size_bytes
        count = self._counts[one.tenant] + 1
        tenant_bytes = self._bytes[one.tenant] + one.size_bytes
        if (
            depth > ASYNC_QUEUE_DEPTH_MAX
            or size_bytes > ASYNC_QUEUE_BYTES_MAX
            or count > ASYNC_QUEUE_DEPTH_MAX // ASYNC_TENANT_SHARE
            or tenant_bytes > ASYNC_QUEUE_BYTES_MAX // ASYNC_TENANT_SHARE
        ):
            raise Unavailable(
                UnavailableKind.OVERLOADED,
                "Too many accepted writes are waiting; retry, or write without respond-async.",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self.count(one)

    def count(self, one: Waiting) -> None:
        """Count a write whatever the bounds: it was accepted before the last stop."""
        self.depth += 1
        self._bytes_sum += one.size_bytes
        self._counts[one.tenant] += 1
        self._bytes[one.tenant] += one.size_bytes

    def release(self, one: Waiting) -> None:
        """Count a write no longer: its outcome is durable, or it was not accepted after all."""
        self.depth -= 1
        self._bytes_sum -= one.size_bytes
        self._counts[one.tenant] -= 1
        self._bytes[one.tenant] -= one.size_bytes
        if not self._counts[one.tenant]:
            del self._counts[one.tenant], self._bytes[one.tenant]

    def push(self, one: Waiting) -> None:
        """Put a counted write at the end of its table's line."""
        line = self._lines.get(one.table_id)
        if line is None:
            line = self._lines[one.table_id] = Line(table_id=one.table_id)
            self._ready.put_nowait(line)
        line.waiting.append(one)

    def untouched(self) -> list[Waiting]:
        """List what nobody works on at this moment."""
        return [one for line in self._lines.values() for one in line.waiting]

    async def next_line(self) -> Line:
        """Wait for a line to work on; it is the caller's until `give_back`."""
        return await self._ready.get()

    def give_back(self, line: Line, again: Sequence[Waiting]) -> None:
        """Return a line. `again` is what of the turn could not be done; it comes first, later."""
        line.waiting.extendleft(reversed(again))
        if again:
            rest_ms = RETRY_AFTER_MS << min(line.tries, _DOUBLINGS_MAX)
            line.tries += 1
            get_running_loop().call_later(rest_ms / 1_000, self._ready.put_nowait, line)
            return
        line.tries = 0
        if line.waiting:
            self._ready.put_nowait(line)
        else:
            del self._lines[line.table_id]


def in_steps(turn: Sequence[Waiting]) -> list[list[Waiting]]:
    """Cut a turn so that no entry is written twice in one step, and order is kept.

    Writes of one step may be done in part: were two of the same entry among them, the later could
    be applied before the earlier, which is tried again.
    """
    steps: list[list[Waiting]] = []
    seen: set[str] = set()
    for one in turn:
        if not steps or one.entry_id in seen:
            steps.append([])
            seen.clear()
        steps[-1].append(one)
        seen.add(one.entry_id)
    return steps
