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
