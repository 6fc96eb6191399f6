"""What becomes of a range's value when its nodes move, or come back with other disks."""

from __future__ import annotations

import pytest

from dstore.replication.whereabouts import Whereabouts, corrected, has_other_disk, primary_of
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.values import NO_INCARNATION, RangePlacement, RangeState, ReplicaState
from tests.support.replicas import DISK, learner, placement, replica
from tests.support.topology import uuid

THREE = placement(replica(1), replica(2), replica(3), epoch=4)
OTHER = 901
PATH = keys.RangePath("acme", "orders", 0)


def _disks(**by_number: int) -> dict[str, Whereabouts]:
    return {
        uuid(int(name[1:])): Whereabouts(incarnation=uuid(disk)) for name, disk in by_number.items()
    }


def _in_sync(value: RangePlacement) -> set[str]:
    return {each.node for each in value.in_sync}


def _checked(value: RangePlacement) -> RangePlacement:
    """Read it as everybody else will."""
    return values.decode(PATH, values.encode(value))


def test_nothing_changes() -> None:
    """What the nodes say already, or have not said, leaves the same value."""
    assert corrected(THREE, {}) is THREE
    said = {
        each.node: Whereabouts(uri=each.uri, incarnation=each.incarnation)
        for each in THREE.replicas
    }
    assert corrected(THREE, said) is THREE


def test_every_address_is_followed() -> None:
    """A secondary's address counts as the primary's does."""
    moved = {uuid(n): Whereabouts(uri=f"https://new{n}:1/") for n in (1, 3)}
    after = _checked(corrected(THREE, moved))
    assert [each.uri for each in after.replicas] == [
        "https://new1:1/",
        "https://node2:8001/",
        "https://new3:1/",
    ]
    assert after.uri == "https://new1:1/"
    assert (after.epoch, _in_sync(after)) == (4, _in_sync(THREE))


def test_a_secondary_on_another_disk_learns() -> None:
    """It is not counted on any more, nor raises it the epoch: the primary goes on."""
    after = _checked(corrected(THREE, _disks(n1=DISK, n2=OTHER, n3=DISK)))
    assert _in_sync(after) == {uuid(1), uuid(3)}
    assert after.replicas[1].incarnation == uuid(OTHER)
    assert (after.epoch, after.state) == (4, RangeState.OKAY)


def test_it_learns_even_if_too_few_are_left() -> None:
    """Who is gone acknowledges nothing, whatever the set says; nothing is written meanwhile."""
    two = placement(replica(1), replica(2), learner(3), factor=3)
    after = _checked(corrected(two, _disks(n2=OTHER)))
    assert _in_sync(after) == {uuid(1)}
    assert len(after.in_sync) < after.min_in_sync


def test_a_primary_on_another_disk_is_left_to_a_failover() -> None:
    """Another in-sync replica is there to be chosen; a secondary's disk is followed meanwhile."""
    assert corrected(THREE, _disks(n1=OTHER)) is THREE
    after = _checked(corrected(THREE, _disks(n1=OTHER, n2=OTHER)))
    assert _in_sync(after) == {uuid(1), uuid(3)}
    assert has_other_disk(primary_of(after), Whereabouts(incarnation=uuid(OTHER)))


def test_a_former_primary_learns_once_another_leads() -> None:
    """After the failover it is a secondary as any other."""
    over = values.decode(PATH, values.encode(placement(replica(2), replica(1), replica(3))))
    assert _in_sync(corrected(over, _disks(n1=OTHER))) == {uuid(2), uuid(3)}


def test_the_only_replica_goes_on_and_says_so() -> None:
    """A disk that came back otherwise may lack writes: in an epoch that no disk has seen (B10)."""
    alone = placement(replica(1), epoch=4)
    after = _checked(corrected(alone, _disks(n1=OTHER)))
    assert (after.epoch, after.state) == (5, RangeState.POSSIBLE_LOSS)
    assert after.replicas[0].incarnation == uuid(OTHER)
    assert _in_sync(after) == {uuid(1)}
    assert corrected(after, _disks(n1=OTHER)) is after


@pytest.mark.parametrize("disk", [DISK, OTHER])
def test_the_only_one_that_counted_is_not_taken_for_all_there_is(disk: int) -> None:
    """A learner may have nearly all of it, and would have to forget that for an empty disk."""
    one = placement(replica(1), learner(2, disk=disk), epoch=4, factor=1)
    after = corrected(one, _disks(n1=OTHER, n2=OTHER if disk == OTHER else DISK))
    assert after is one, "an operator says which of them is to serve (B10)"
    moved = corrected(placement(replica(1), learner(2), epoch=4), _disks(n1=OTHER, n2=OTHER))
    assert (moved.epoch, moved.state, moved.node) == (4, RangeState.OKAY, uuid(1))
    assert has_other_disk(primary_of(moved), Whereabouts(incarnation=uuid(OTHER)))


def test_when_all_disks_are_others_an_operator_decides() -> None:
    """None of several is better than the others, so the range is not given to any."""
    two = placement(replica(1), replica(2), learner(3), factor=3)
    after = corrected(two, _disks(n1=OTHER, n2=OTHER, n3=OTHER))
    assert after.replicas[:2] == two.replicas[:2]
    assert after.replicas[2].incarnation == uuid(OTHER)
    assert (after.epoch, after.state) == (two.epoch, RangeState.OKAY)


@pytest.mark.parametrize("state", list(ReplicaState))
def test_a_disk_that_nobody_knew(state: ReplicaState) -> None:
    """It is learned from the node, and changes no more than that."""
    unknown = values.Replica(
        node=uuid(2), incarnation=NO_INCARNATION, uri="https://node2:8001/", state=state
    )
    after = corrected(placement(replica(1), unknown), _disks(n2=OTHER))
    assert after.replicas[1].incarnation == uuid(OTHER)
    assert after.replicas[1].state is state
