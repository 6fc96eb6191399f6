"""The memory that all lanes of a node share: what they have read, and indexes have not taken yet.

A lane takes a part of the room before it reads, gives back what it did not need, and the rest once
all of it is durable in its index. So a node with thousands of ranges and an index that is slow, or
away, holds no more than it would of a few. Nobody's index holds up another's: one has at most half
of the room, and what comes free goes to the index that holds least. A lane that gets nothing taken
while others wait gives its part back, and reads again in its turn: `Part.is_due_back`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dstore.base.clock import NS_PER_S
from dstore.base.feed_limits import (
    INDEX_HELD_S,
    INDEX_PART_BYTES,
    INDEX_QUEUED_S,
    INDEX_ROOM_BYTES,
    INDEX_ROW_BYTES,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from dstore.base.clock import Clock
    from dstore.storage.feeding import FedRow
    from dstore.storage.log_records import LogRecord


class FeedRoom:
    """The room, as parts of it are taken by lanes, named by their index. Used from one loop."""

    def __init__(self, clock: Clock, *, size_bytes: int = INDEX_ROOM_BYTES) -> None:
        """Begin empty; `size_bytes` are of two parts or more."""
        assert size_bytes >= 2 * INDEX_PART_BYTES
        self._clock = clock
        self._size_bytes = size_bytes
        self._free_bytes = size_bytes
        self._held: Counter[str] = Counter()  # bytes, by index
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by index; none is empty

    @property
    def held_bytes(self) -> int:
        """How much of it is taken."""
        return self._size_bytes - self._free_bytes

    @property
    def is_wanted(self) -> bool:
        """Whether a lane waits for a part."""
        return bool(self._waiting)

    @asynccontextmanager
    async def part(
        self, index_id: str, *, meanwhile: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[Part]:
        """Wait for a part of INDEX_PART_BYTES, and have it: lanes of one index in their order.

        `meanwhile` is done again and again by who waits for long. Raises: what that raises.
        """
        if index_id in self._waiting or not self._fits(index_id):
            await self._turn(index_id, meanwhile)
        else:
            self._take(index_id)
        part = Part(self, index_id, since_ns=self._clock.monotonic_ns())
        try:
            yield part
        finally:
            part.shrink(0)

    def give_back(self, index_id: str, size_bytes: int) -> None:
        """Take back what a part does not need; for `Part`."""
        self._free_bytes += size_bytes
        self._held[index_id] -= size_bytes
        if not self._held[index_id]:
            del self._held[index_id]
        self._grant()

    def held_long(self, since_ns: int) -> bool:
        """Tell whether a part that was taken then has been held for INDEX_HELD_S."""
        return self._clock.monotonic_ns() - since_ns >= INDEX_HELD_S * NS_PER_S

    def _fits(self, index_id: str) -> bool:
        is_below_half = 2 * (self._held[index_id] + INDEX_PART_BYTES) <= self._size_bytes
        return is_below_half and self._free_bytes >= INDEX_PART_BYTES

    def _take(self, index_id: str) -> None:
        self._free_bytes -= INDEX_PART_BYTES
        self._held[index_id] += INDEX_PART_BYTES

    async def _turn(self, index_id: str, meanwhile: Callable[[], Awaitable[None]]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(index_id, deque()).append(turn)
        try:
            while not turn.done():
                await asyncio.wait((turn,), timeout=INDEX_QUEUED_S)
                if not turn.done():
                    await meanwhile()
        except BaseException:  # cancelled, above all
            if turn.done():  # it was given at the same moment
                self.give_back(index_id, INDEX_PART_BYTES)
            else:
                self._forget(index_id, turn)
            raise

    def _forget(self, index_id: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting[index_id]
        queue.remove(turn)
        if not queue:
            del self._waiting[index_id]

    def _grant(self) -> None:
        """Give what is free to those who wait."""
        while True:
            fitting = [each for each in self._waiting if self._fits(each)]
            if not fitting:
                return
            index_id = min(fitting, key=self._held.__getitem__)
            turn = self._waiting[index_id][0]
            self._forget(index_id, turn)
            self._take(index_id)
            turn.set_result(None)


def held_bytes(records: Sequence[LogRecord], rows: Sequence[FedRow]) -> int:
    """Say what records and the rows made of them take in memory, roughly."""
    records_bytes = sum([each.size_bytes for each in records])
    rows_bytes = sum([len(each.rid_id) + len(each.image or b"") for each in rows])
    return records_bytes + rows_bytes + (len(records) + len(rows)) * INDEX_ROW_BYTES


class Part:
    """A part of the room that one lane has."""

    __slots__ = ("_index_id", "_room", "_since_ns", "size_bytes")

    def __init__(self, room: FeedRoom, index_id: str, *, since_ns: int) -> None:
        """Hold what was taken of `room`."""
        self._room = room
        self._index_id = index_id
        self._since_ns = since_ns
        self.size_bytes = INDEX_PART_BYTES

    def shrink(self, size_bytes: int) -> None:
        """Keep no more than `size_bytes` of it; what is more than it had stays what it had."""
        freed_bytes = self.size_bytes - size_bytes
        if freed_bytes > 0:
            self.size_bytes = size_bytes
            self._room.give_back(self._index_id, freed_bytes)

    @property
    def is_due_back(self) -> bool:
        """Whether others wait, and it was held for INDEX_HELD_S already."""
        return self._room.is_wanted and self._room.held_long(self._since_ns)
