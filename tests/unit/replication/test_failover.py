"""Who becomes primary of a range whose primary is dead."""

from __future__ import annotations

import msgspec
import pytest

from dstore.replication.failover import succeeded
from dstore.replication.replica_calls import ReplicaTold
from dstore.topology.values import RangePlacement
from tests.support.replicas import learner, placement, replica, told
from tests.support.topology import uuid

THREE = placement(replica(1), replica(2), replica(3), epoch=4)


def _heard(**by_number: ReplicaTold) -> dict[str, ReplicaTold]:
    return {uuid(int(name[1:])): each for name, each in by_number.items()}


def _states(value: RangePlacement | None) -> tuple[str, set[str]]:
    assert value is not None
    return value.node, {each.node for each in value.in_sync}


def test_the_longest_log_leads_and_the_dead_leaves() -> None:
    """The next epoch has the furthest replica as primary, and does not wait for the dead one."""
    after = succeeded(THREE, _heard(n2=told(7), n3=told(9)))
    assert _states(after) == (uuid(3), {uuid(2), uuid(3)})
    assert after is not None
    assert (after.epoch, after.uri) == (5, "https://node3:8001/")
    assert len(after.replicas) == 3


def test_a_later_epoch_is_further_than_a_longer_log() -> None:
    """A log that ends in a later epoch has what was decided last."""
    after = succeeded(THREE, _heard(n2=told(7, epoch=3), n3=told(9, epoch=2)))
    assert _states(after)[0] == uuid(2)


def test_nobody_leaves_below_the_least() -> None:
    """With one replica heard of three the set stays; the opening waits for a second one."""
    assert _states(succeeded(THREE, _heard(n3=told()))) == (
        uuid(3),
        {uuid(1), uuid(2), uuid(3)},
    )


def test_of_two_replicas_none_may_leave() -> None:
    """With a factor of two both must hold each write, so the dead one stays in the set."""
    two = placement(replica(1), replica(2))
    assert _states(succeeded(two, _heard(n2=told()))) == (uuid(2), {uuid(1), uuid(2)})


def test_a_dead_primary_that_answers_stays_in_the_set() -> None:
    """A primary that has restarted holds what it held; only its leadership goes."""
    after = succeeded(THREE, _heard(n1=told(9), n2=told(8), n3=told(8)))
    assert _states(after) == (uuid(2), {uuid(1), uuid(2), uuid(3)})


@pytest.mark.parametrize(
    ("value", "heard"),
    [
        (THREE, _heard(n1=told(is_serving=True), n2=told(), n3=told())),
        (THREE, _heard(n2=told(is_serving=True), n3=told())),
        (THREE, _heard(n1=told())),
        (THREE, {}),
        (placement(replica(1), learner(2), learner(3)), _heard(n2=told(), n3=told())),
        (placement(replica(1)), _heard(n1=told())),
    ],
)
def test_left_as_it_is(value: RangePlacement, heard: dict[str, ReplicaTold]) -> None:
    """Who serves is left alone (B14), and a learner or a silent replica is never primary."""
    assert succeeded(value, heard) is None


def test_a_copy_that_is_not_whole_is_no_choice() -> None:
    """A replica without all its rows does not become primary, whatever its log is."""
    broken = told(9)
    standing = msgspec.structs.replace(broken.standing, is_whole=False)
    heard = _heard(n2=told(3), n3=ReplicaTold(standing=standing, is_serving=False))
    assert _states(succeeded(THREE, heard))[0] == uuid(2)
