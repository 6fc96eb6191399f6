"""How often ranges are asked: averaged, and told only when it is another rate."""

from __future__ import annotations

import pytest

from dstore.base.clock import NS_PER_S
from dstore.service.range_heat import RangeHeat, rounded


class _SetClock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now_s = 1_000

    def wall_us(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        return self.now_s * NS_PER_S


class _Asked:
    """Ranges that are asked so and so often."""

    def __init__(self) -> None:
        self.clock = _SetClock()
        self.heat = RangeHeat(self.clock)

    def for_s(self, seconds: int, **rates: int) -> None:
        """Ask ranges so often a second, and look every ten."""
        for _ in range(seconds // 10):
            for range_id, rate in rates.items():
                for _ in range(rate * 10):
                    self.heat.note(range_id, b"key")
            self.clock.now_s += 10
            self.heat.look()


def test_a_steady_rate_is_told_and_forgotten_when_it_ends() -> None:
    """Each range by itself; one that nobody asks for takes no memory."""
    asked = _Asked()
    assert asked.heat.requests_per_s("a") == 0
    asked.for_s(60, a=100, b=20)
    assert 75 <= asked.heat.requests_per_s("a") <= 100
    assert 10 <= asked.heat.requests_per_s("b") <= 20
    asked.for_s(200, b=20)
    assert asked.heat.requests_per_s("a") == 0
    assert asked.heat.requests_per_s("b") > 0
    asked.for_s(200)
    assert not asked.heat._rates
    assert not asked.heat._told


def test_small_changes_are_not_spoken_of() -> None:
    """Each is a write to the coordinator, of every node."""
    asked = _Asked()
    asked.for_s(60, a=1_000)
    told = asked.heat.requests_per_s("a")
    for rate in (950, 1_000, 900, 950):
        asked.for_s(30, a=rate)
        assert asked.heat.requests_per_s("a") == told
    asked.for_s(60, a=2_000)
    assert asked.heat.requests_per_s("a") > 3 * told // 2


def test_a_burst_is_not_a_load() -> None:
    """One round of many requests counts for less than half."""
    asked = _Asked()
    asked.for_s(60, a=10)
    asked.for_s(10, a=1_000)
    assert asked.heat.requests_per_s("a") < 500
    asked.for_s(100, a=10)
    assert asked.heat.requests_per_s("a") <= 25


def test_two_looks_at_one_moment_are_one() -> None:
    """No time has passed, so there is no rate."""
    asked = _Asked()
    asked.heat.note("a", b"key")
    asked.heat.look()
    assert asked.heat.requests_per_s("a") == 0


@pytest.mark.parametrize(
    ("rate", "step"), [(0, 0), (7, 7), (15, 15), (16, 16), (17, 16), (1_000, 960), (1_023, 960)]
)
def test_rates_are_rounded_down_to_few_steps(rate: int, step: int) -> None:
    """Eight between a number and its double."""
    assert rounded(rate) == step
