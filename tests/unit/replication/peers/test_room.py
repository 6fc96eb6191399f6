"""Who may send, who waits, and that nobody is forgotten."""

from __future__ import annotations

import asyncio

from dstore.replication.peers.room import Room


async def test_calls_and_bytes_are_bounded() -> None:
    """Either bound suffices; a call larger than the whole room goes alone."""
    room = Room(calls_max=2, bytes_max=10)
    assert room.has_room(99)
    room.enter(6)
    assert room.has_room(4)
    assert not room.has_room(5)
    room.enter(1)
    assert not room.has_room(1)
    room.leave(6)
    assert room.has_room(9)


async def test_a_wake_up_is_handed_on() -> None:
    """Who is woken and cancelled in the same turn lets the next one look instead."""
    room = Room(calls_max=1)
    room.enter(1)
    loop = asyncio.get_running_loop()
    first, second = loop.create_task(room.wait()), loop.create_task(room.wait())
    await asyncio.sleep(0)
    room.leave(1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(20):
        await second
    assert room.waiting == 0


async def test_those_who_give_up_leave_nothing_behind() -> None:
    """A storm of cancellations empties the queue."""
    room = Room(waiting_max=100)
    waits = [asyncio.get_running_loop().create_task(room.wait()) for _ in range(100)]
    await asyncio.sleep(0)
    assert room.is_crowded
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert room.waiting == 0
