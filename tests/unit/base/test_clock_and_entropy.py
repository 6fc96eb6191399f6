"""The two ports that make every seed replay."""

import uuid

import pytest

from dstore.base.clock import US_PER_S, SystemClock
from dstore.base.entropy import SystemEntropy, uuid_from
from dstore.base.limits import ENTROPY_BYTES_MAX


def test_wall_time_is_in_microseconds() -> None:
    """A wrong unit would put every timestamp into another millennium."""
    year_2020_us, year_2100_us = 1_577_836_800 * US_PER_S, 4_102_444_800 * US_PER_S
    assert year_2020_us < SystemClock().wall_us() < year_2100_us


def test_monotonic_time_never_goes_back() -> None:
    """Deadlines are differences of two readings."""
    clock = SystemClock()
    readings = [clock.monotonic_ns() for _ in range(1_000)]
    assert sorted(readings) == readings


def test_token_has_the_length_asked_for() -> None:
    """Keys and nonces are cut from tokens without a look at their length."""
    assert [len(SystemEntropy().token(count)) for count in (1, 12, 32)] == [1, 12, 32]


def test_two_tokens_differ() -> None:
    """A source that repeats itself would repeat nonces."""
    assert SystemEntropy().token(16) != SystemEntropy().token(16)


@pytest.mark.parametrize("count", [0, -1, ENTROPY_BYTES_MAX + 1])
def test_token_of_an_absurd_length_is_refused(count: int) -> None:
    """An empty token would be a key that everybody knows."""
    with pytest.raises(AssertionError):
        SystemEntropy().token(count)


def test_uuid_is_version_4_in_its_canonical_spelling() -> None:
    """UUIDs become file names and etcd keys, so that each has one spelling."""
    text = SystemEntropy().uuid()
    assert str(uuid.UUID(text)) == text
    assert uuid.UUID(text).version == 4


def test_uuid_follows_from_its_bytes() -> None:
    """A seeded entropy gives the same UUIDs again."""
    assert uuid_from(bytes(16)) == "00000000-0000-4000-8000-000000000000"
