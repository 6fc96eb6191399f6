"""Turns to open ranges."""

from __future__ import annotations

import asyncio

import pytest

from dstore.base.limits import REPLICAS_OPENED_AT_ONCE
from dstore.replication import turns
from dstore.replication.turns import Turns


async def test_no_more_than_so_many_at_once() -> None:
    """Who comes when all turns are taken waits until one is given back."""
    given, ends, at_work, most = Turns(), asyncio.Event(), 0, 0

    async def work() -> None:
        nonlocal at_work, most
        async with given.one():
            at_work += 1
            most = max(most, at_work)
            await ends.wait()
            at_work -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(3 * REPLICAS_OPENED_AT_ONCE):
            group.create_task(work())
        await asyncio.sleep(0)
        ends.set()
    assert most == REPLICAS_OPENED_AT_ONCE


async def test_who_waits_for_others_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that lasts too long passes on to the next, once."""
    monkeypatch.setattr(turns, "REPLICA_TURN_S", 0.01)
    monkeypatch.setattr(turns, "REPLICAS_OPENED_AT_ONCE", 1)
    given = Turns()
    async with asyncio.timeout(5), given.one():
        for _ in range(2):
            async with given.one():
                pass
    one = asyncio.Event()

    async def take() -> None:
        async with given.one():
            one.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(take())]
        await one.wait()
        assert given.is_taken, "a turn that was passed on is given back once, not twice"
        for task in tasks:
            task.cancel()


async def test_what_somebody_waits_for_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A range that is asked for is opened before those that nobody asks for, in their order."""
    monkeypatch.setattr(turns, "REPLICAS_OPENED_AT_ONCE", 1)
    given, ends, order = Turns(), asyncio.Event(), list[str]()

    async def work(name: str) -> None:
        async with given.one(name):
            order.append(name)
            await ends.wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for name in "abcdef":
            group.create_task(work(name))
        await asyncio.sleep(0)
        for name in "exda":
            given.want(name)
        ends.set()
    assert "".join(order) == "aedbcf"
    assert not given.is_taken


async def test_a_turn_of_one_that_gives_up_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cancelled while it waits, or in the moment of its turn, leaves that to the next."""
    monkeypatch.setattr(turns, "REPLICAS_OPENED_AT_ONCE", 1)
    given, is_done = Turns(), asyncio.Event()

    async def work(name: str) -> None:
        async with given.one(name):
            is_done.set()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        async with given.one("first"):
            tasks = [group.create_task(work(name)) for name in "ab"]
            await asyncio.sleep(0)
            given.want("a")
            tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert is_done.is_set()
        is_done.clear()
        async with given.one("first"):
            tasks = [group.create_task(work(name)) for name in "ab"]
            await asyncio.sleep(0)
        tasks[0].cancel()  # it has the turn, and does not know it yet
        await is_done.wait()
    assert not given.is_taken
