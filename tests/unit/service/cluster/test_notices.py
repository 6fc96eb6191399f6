"""What a node tells control, and when."""

from __future__ import annotations

from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.limits import UNKNOWN_RANGE_GRACE_S
from dstore.service.cluster.notices import NodeNotices
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.keyspace import ComponentId
from tests.support.topology import uuid


class _Clock(SystemClock):
    """A clock that is moved by hand."""

    now_s = 0.0

    def monotonic_ns(self) -> int:
        return int(self.now_s * NS_PER_S)


async def test_a_range_that_nobody_knows_is_told_of_after_a_while() -> None:
    """What is missing for a moment only, as while etcd is being filled, is no news."""
    failures: list[BaseException] = []
    clock = _Clock()
    coordinator = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    notices = NodeNotices(
        coordinator, node=ComponentId(uuid(1)), clock=clock, entropy=SystemEntropy()
    )
    notices.tell_of_unknown(uuid(7), "acme/orders")
    clock.now_s = UNKNOWN_RANGE_GRACE_S - 1.0
    notices.tell_of_unknown(uuid(7), "acme/orders")
    notices.tell_of_unknown(uuid(8), "acme/orders")
    assert not notices._waiting
    clock.now_s = UNKNOWN_RANGE_GRACE_S
    notices.tell_of_unknown(uuid(7), "acme/orders")
    notices.tell_of_unknown(uuid(8), "acme/orders")
    [told] = notices._waiting
    assert told.kind == "unknown_range"
    assert f"dstore node discard {uuid(1)} {uuid(7)}" in told.details
    clock.now_s = 3 * UNKNOWN_RANGE_GRACE_S
    notices.tell_of_unknown(uuid(9), "acme/orders")
    assert [*notices._unknown_ns] == [uuid(9)], "the others are known by now, or gone"
    await coordinator.close()
    assert failures == []
