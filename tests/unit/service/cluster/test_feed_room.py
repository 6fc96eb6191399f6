"""The room that lanes share: bounded for the node, fair by index, not lost by who is cancelled."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.feed_limits import INDEX_HELD_S, INDEX_PART_BYTES
from dstore.service.cluster import feed_room
from dstore.service.cluster.feed_room import FeedRoom
from tests.support.lanes import ShiftedClock

if TYPE_CHECKING:
    from dstore.service.cluster.feed_room import Part

_PARTS = 8


async def _nothing() -> None:
    """Do nothing while waiting."""


class _Lanes:
    """Lanes that take a part each and keep it until they are told."""

    def __init__(self, room: FeedRoom) -> None:
        self.room = room
        self.parts: list[tuple[str, Part]] = []  # in the order in which they came
        self.ends: dict[int, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self, index_id: str, count: int = 1) -> None:
        for _ in range(count):
            self.tasks.append(asyncio.get_running_loop().create_task(self._lane(index_id)))
        await _settled()

    async def _lane(self, index_id: str) -> None:
        async with self.room.part(index_id, meanwhile=_nothing) as part:
            self.parts.append((index_id, part))
            end = self.ends[len(self.parts) - 1] = asyncio.Event()
            await end.wait()

    async def end(self, place: int) -> None:
        self.ends[place].set()
        await _settled()

    def had(self, index_id: str) -> int:
        return sum(name == index_id for name, _ in self.parts)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with suppress(asyncio.CancelledError):
                await task


async def _settled() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def _room(clock: SystemClock | None = None) -> FeedRoom:
    return FeedRoom(clock or SystemClock(), size_bytes=_PARTS * INDEX_PART_BYTES)


async def test_thousands_of_lanes_hold_no_more_than_the_room() -> None:
    """A node's memory does not grow with its ranges, however slow an index is."""
    lanes = _Lanes(_room())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(lanes.close)
        await lanes.begin("slow", 3_000)
        assert lanes.room.held_bytes == _PARTS // 2 * INDEX_PART_BYTES, "half: it is one index's"
        await lanes.begin("other", 3_000)
        assert lanes.room.held_bytes == _PARTS * INDEX_PART_BYTES
        for place in range(200):
            await lanes.end(place)
            assert lanes.room.held_bytes <= _PARTS * INDEX_PART_BYTES
    assert lanes.room.held_bytes == 0
    assert not lanes.room.is_wanted


async def test_no_index_waits_for_another_s() -> None:
    """One that nobody can be told of has half of the room at most; others go on beside it."""
    lanes = _Lanes(_room())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(lanes.close)
        await lanes.begin("away", 50)
        await lanes.begin("well")
        assert lanes.had("well") == 1


async def test_what_comes_free_goes_to_who_holds_least() -> None:
    """Two indexes that are away hold everything; a third is given the first part that is free."""
    lanes = _Lanes(_room())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(lanes.close)
        await lanes.begin("away", 50)
        await lanes.begin("gone", 50)
        await lanes.begin("well")
        assert lanes.had("well") == 0
        await lanes.end(0)
        assert lanes.had("well") == 1


async def test_small_windows_leave_room_for_many() -> None:
    """What a lane reads is mostly little: then many more are told at the same time."""
    lanes = _Lanes(_room())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(lanes.close)
        await lanes.begin("busy", 100)
        for place in range(60):
            lanes.parts[place][1].shrink(1_000)
            await _settled()
        assert lanes.had("busy") > 60
        lanes.parts[0][1].shrink(INDEX_PART_BYTES)  # nothing is taken back by that
        assert lanes.parts[0][1].size_bytes == 1_000


async def test_lanes_of_one_index_come_in_their_order() -> None:
    """Else a range could wait for ever behind busier ones."""
    room, came = _room(), list[int]()

    async def lane(number: int) -> None:
        async with room.part("one", meanwhile=_nothing):
            came.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(lane(number) for number in range(100)))
    assert came == list(range(100))


async def test_who_is_cancelled_takes_nothing_along() -> None:
    """Lanes end at any moment: while they wait, and in the very turn in which they get room."""
    lanes = _Lanes(_room())
    await lanes.begin("one", 20)
    waiting = lanes.tasks[_PARTS // 2 :]
    waiting[3].cancel()
    await _settled()
    lanes.ends[0].set()  # the first who waits is given its part, and cancelled before it knows
    await asyncio.sleep(0)
    waiting[0].cancel()
    await _settled()
    await lanes.close()
    assert lanes.room.held_bytes == 0
    assert not lanes.room.is_wanted


async def test_a_part_is_due_back_when_others_wait_for_long() -> None:
    """Not at once, or lanes would read the same again and again; and never for nobody."""
    clock = ShiftedClock()
    lanes = _Lanes(_room(clock))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(lanes.close)
        await lanes.begin("one", _PARTS // 2)
        part = lanes.parts[0][1]
        clock.shift_ns = int((INDEX_HELD_S + 1) * NS_PER_S)
        is_due = part.is_due_back
        assert not is_due, "nobody waits"
        await lanes.begin("one")
        assert part.is_due_back
        await lanes.end(1)
        assert not lanes.parts[-1][1].is_due_back, "it has only just been taken"


async def test_who_waits_looks_whether_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane in the queue must still let go of a log that has grown too long."""
    monkeypatch.setattr(feed_room, "INDEX_QUEUED_S", 0.01)
    lanes, looked = _Lanes(_room()), list[int]()

    async def look() -> None:
        looked.append(1)
        if len(looked) == 3:
            raise TimeoutError

    async with AsyncExitStack() as stack:
        stack.push_async_callback(lanes.close)
        await lanes.begin("one", _PARTS // 2)
        with pytest.raises(TimeoutError):
            async with lanes.room.part("one", meanwhile=look):
                raise AssertionError
        assert not lanes.room.is_wanted
