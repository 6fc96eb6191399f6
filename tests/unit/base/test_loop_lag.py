"""The gauge of the event loop's delay shows a stall."""

import asyncio

import pytest

from dstore.base import loop_lag
from dstore.base.clock import SystemClock
from dstore.base.loop_lag import measure_lag
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks


class _Stalling(SystemClock):
    """Between any two looks at it 0.7 s pass."""

    def __init__(self) -> None:
        self._now_ns = 0

    def monotonic_ns(self) -> int:
        self._now_ns += 700_000_000
        return self._now_ns


async def test_a_stall_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator must see that something blocks the loop, since every request waits for it."""
    monkeypatch.setattr(loop_lag, "LOOK_S", 0.01)
    metrics = create_metrics()
    tasks = Tasks(lambda _error: None)
    tasks.spawn(measure_lag(metrics.loop_lag_seconds, _Stalling()), name="measure")
    async with asyncio.timeout(20):
        while b"dstore_loop_lag_seconds 0.69\n" not in metrics.render():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await tasks.close()
