"""The gauge of how long Python's collector stops the process shows the longest stop."""

import gc

import pytest

from dstore.base.clock import SystemClock
from dstore.base.collector_pauses import measure_collector
from dstore.base.metrics import create_metrics


class _Growing(SystemClock):
    """From each look at it to the next some more time passes."""

    def __init__(self) -> None:
        self._now_ns = self._step_ns = 0

    def monotonic_ns(self) -> int:
        self._step_ns += 10_000_000
        self._now_ns += self._step_ns
        return self._now_ns


def test_the_longest_look_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request waits while Python looks for cycles, and nothing else tells of it."""
    monkeypatch.setattr(gc, "callbacks", gc.callbacks[:])
    metrics = create_metrics()
    measure_collector(metrics.collector_longest_seconds, _Growing())
    assert b"dstore_collector_longest_seconds 0.0\n" in metrics.render()
    [*_, pauses] = gc.callbacks
    for phase in ("start", "stop", "start", "stop"):
        pauses(phase, {})
    assert b"dstore_collector_longest_seconds 0.04\n" in metrics.render()
