"""Who was refused too often has to wait; others do not."""

from __future__ import annotations

import pytest

from dstore.api.peer.joining import Refusals
from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.limits import JOIN_ADDRESSES_COUNTED_MAX, JOIN_REFUSALS_PER_MINUTE_MAX
from dstore.model.errors import Unavailable


class Stopped(SystemClock):
    """A clock that goes on when it is told to."""

    __slots__ = ("now_ns",)

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns


def test_one_address_is_shut_out_for_the_rest_of_the_minute() -> None:
    """Tries of one address cost others nothing."""
    clock = Stopped()
    refusals = Refusals(clock)
    for _ in range(JOIN_REFUSALS_PER_MINUTE_MAX):
        refusals.check("192.0.2.1")
        refusals.count("192.0.2.1")
    with pytest.raises(Unavailable):
        refusals.check("192.0.2.1")
    refusals.check("192.0.2.2")
    clock.now_ns += 60 * NS_PER_S
    refusals.check("192.0.2.1")


def test_many_addresses_are_counted_as_one() -> None:
    """Memory is bounded however many addresses try."""
    refusals = Refusals(Stopped())
    for number in range(JOIN_ADDRESSES_COUNTED_MAX + JOIN_REFUSALS_PER_MINUTE_MAX):
        refusals.count(f"2001:db8::{number:x}")
    assert len(refusals._counts) == JOIN_ADDRESSES_COUNTED_MAX + 1
    with pytest.raises(Unavailable):
        refusals.check("2001:db8::ffff:1")
    refusals.check("2001:db8::1")
