"""A process that cannot keep a promise says so to those who wait, and then it ends, whatever."""

import asyncio
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from dstore.base import ending
from dstore.base.ending import EXIT_FATAL, Ending


async def test_answers_leave_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop gets its turns between the failure and the end, and refuses at its first one."""
    grace = Event()
    monkeypatch.setattr(ending, "time", SimpleNamespace(sleep=lambda _grace_s: grace.wait(20)))
    codes: list[int] = []
    ended, refused = Event(), asyncio.Event()

    def note(code: int) -> None:
        codes.append(code)
        ended.set()

    end = Ending(asyncio.get_running_loop(), refuse=refused.set, end=note)
    Thread(target=end, args=(OSError("no sync"),)).start()
    async with asyncio.timeout(20):
        await refused.wait()
        assert codes == []
        grace.set()
        assert await asyncio.to_thread(ended.wait, 20)
    end(OSError("again"))
    await asyncio.sleep(0.2)
    assert codes == [EXIT_FATAL]


async def test_a_hanging_loop_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blocked loop answers nobody, so there is nothing to wait for."""
    monkeypatch.setattr(ending, "GRACE_S", 0.05)
    ended = Event()
    end = Ending(asyncio.get_running_loop(), refuse=lambda: None, end=lambda _code: ended.set())
    end(OSError("no sync"))
    assert ended.wait(20)  # the loop hangs meanwhile: nothing is awaited
