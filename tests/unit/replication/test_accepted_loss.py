"""What an operator may accept of a range whose replicas are gone, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from dstore.model.errors import Refused
from dstore.replication.accepted_loss import Left, accepted, is_accepted, remains
from dstore.replication.replica_calls import ReplicaTold
from dstore.topology.values import UNSETTLED, RangePlacement, RangeState, ReplicaState
from tests.support.replicas import DISK, learner, placement, replica, told
from tests.support.topology import uuid

OTHER_DISK = 901
THREE = placement(replica(1), replica(2), replica(3), epoch=4)
TWO_AND_LEARNER = placement(replica(1), replica(2), learner(3), epoch=4)
NOT_WHOLE = ReplicaTold(
    standing=msgspec.structs.replace(told(9).standing, is_whole=False), is_serving=False
)


def _left(disk: int = DISK, **by_number: ReplicaTold) -> dict[str, Left]:
    return {
        uuid(int(name[1:])): Left(incarnation=uuid(disk), told=each)
        for name, each in by_number.items()
    }


def _accept(
    value: RangePlacement, left: dict[str, Left], *gone: int, awaited: tuple[int, ...] = ()
) -> RangePlacement:
    return accepted(
        value, left, gone=[uuid(each) for each in gone], awaited=[uuid(each) for each in awaited]
    )


def _states(value: RangePlacement) -> tuple[str, set[str]]:
    return value.node, {each.node for each in value.in_sync}


def test_a_survivor_has_lost_nothing() -> None:
    """The one in-sync replica that is left counts alone, in the next epoch; the state stays."""
    after = _accept(THREE, _left(n3=told(9)), 1, 2)
    assert _states(after) == (uuid(3), {uuid(3)})
    assert (after.epoch, after.state, after.factor) == (5, RangeState.OKAY, 3)
    assert after.uri == "https://node3:8001/"
    assert len(after.replicas) == 3


def test_the_longest_of_what_is_left_serves_and_says_that_it_may_lack_something() -> None:
    """Without a survivor the learner with the longest log is taken, and the range marked."""
    value = placement(replica(1), learner(2), learner(3), learner(4), epoch=4)
    after = _accept(value, _left(n2=told(7), n3=told(9), n4=NOT_WHOLE), 1)
    assert _states(after) == (uuid(3), {uuid(3)})
    assert after.state is RangeState.POSSIBLE_LOSS


def test_a_survivor_is_taken_before_a_longer_log() -> None:
    """What a learner has beyond the in-sync replica was never acknowledged by it."""
    left = _left(n2=told(5), n3=told(9))
    assert _states(_accept(TWO_AND_LEARNER, left, 1)) == (uuid(2), {uuid(2)})


def _with_damaged(left: dict[str, Left], *numbers: int) -> dict[str, Left]:
    damaged = [uuid(each) for each in numbers]
    return {node: replace(each, is_damaged=node in damaged) for node, each in left.items()}


def test_an_undamaged_one_is_taken_before_a_longer_log() -> None:
    """Nothing that is damaged serves while another replica of its sort can be read whole."""
    value = placement(replica(1), learner(2), learner(3), learner(4), epoch=4)
    left = _left(n2=told(7), n3=told(9), n4=told(5))
    found = remains(value, _with_damaged(left, 3))
    assert (found.best, found.is_damaged) == (uuid(2), False)
    five = placement(*(replica(number) for number in range(1, 6)), epoch=4)
    two = _with_damaged(_left(n2=told(5), n3=told(6)), 3)
    assert remains(five, two).best == uuid(2)


def test_a_damaged_one_is_taken_if_all_are_or_it_alone_has_everything() -> None:
    """What it can still read may be all that there is of an acknowledged write; it is said."""
    value = placement(replica(1), learner(2), learner(3), epoch=4)
    found = remains(value, _with_damaged(_left(n2=told(7), n3=told(9)), 2, 3))
    assert (found.best, found.is_damaged) == (uuid(3), True)
    survivor = remains(TWO_AND_LEARNER, _with_damaged(_left(n2=told(5), n3=told(9)), 2))
    assert (survivor.best, survivor.is_damaged, survivor.is_lossless) == (uuid(2), True, True)


def test_all_survivors_count() -> None:
    """With a factor of five two survivors are too few, and both go on counting."""
    five = placement(*(replica(number) for number in range(1, 6)), epoch=4)
    after = _accept(five, _left(n2=told(5), n3=told(6)), 1, 4, 5)
    assert _states(after) == (uuid(3), {uuid(2), uuid(3)})


def test_the_epoch_is_above_every_promise() -> None:
    """Somebody may have begun to open the range in an epoch that the value does not show."""
    left = _left(n3=told(9, epoch=8))
    assert _accept(THREE, left, 1, 2).epoch == 9


def test_other_disks_are_what_is_left_if_all_have_them() -> None:
    """Nodes that came back with older disks keep the best of those, under their new names."""
    left = _left(OTHER_DISK, n1=told(3), n2=told(4), n3=told(2))
    found = remains(THREE, left)
    assert (found.survivors, found.best) == ((), uuid(2))
    after = _accept(THREE, left, 1, 2, 3)
    assert after.state is RangeState.POSSIBLE_LOSS
    assert {each.incarnation for each in after.replicas} == {uuid(OTHER_DISK)}


@pytest.mark.parametrize(
    ("value", "left", "gone", "why"),
    [
        (THREE, _left(n2=told(), n3=told()), (1,), "goes on by itself"),
        (THREE, _left(n3=told(is_serving=True)), (1, 2), "serves"),
        (THREE, _left(n3=told()), (1,), "may come back"),
        (THREE, _left(n3=told()), (1, 2, 3), "is not gone"),
        (THREE, _left(), (1, 2, 3), "nothing is left"),
        (THREE, _left(n3=NOT_WHOLE), (1, 2, 3), "nothing is left"),
        (THREE, _left(OTHER_DISK, n3=told(0)), (1, 2, 3), "nothing is left"),
    ],
)
def test_refused(
    value: RangePlacement, left: dict[str, Left], gone: tuple[int, ...], why: str
) -> None:
    """What goes on by itself, who may come back, who is there, and what is empty."""
    with pytest.raises(Refused, match=why):
        _accept(value, left, *gone)


def test_who_lives_is_not_given_up() -> None:
    """A node that is alive may serve, whether control hears it or not."""
    with pytest.raises(Refused, match="is alive"):
        _accept(THREE, _left(n3=told()), 1, 2, awaited=(2,))


def test_a_range_that_is_not_settled_waits() -> None:
    """Behind a recovery nobody knows who counts, so nobody knows what is lost."""
    replicas = tuple(
        msgspec.structs.replace(each, incarnation=UNSETTLED) for each in THREE.replicas
    )
    value = msgspec.structs.replace(THREE, replicas=replicas)
    with pytest.raises(Refused, match="nobody knows who is in sync"):
        _accept(value, _left(n3=told()), 1, 2)


def test_an_order_that_was_carried_out_is_known_again() -> None:
    """By the epoch, and by who counts no more; whatever has become of the range since."""
    gone = [uuid(1), uuid(2)]
    after = _accept(THREE, _left(n3=told(9)), 1, 2)
    assert not is_accepted(THREE, epoch=after.epoch, gone=gone)
    assert is_accepted(after, epoch=after.epoch, gone=gone)
    later = msgspec.structs.replace(after, epoch=after.epoch + 3)
    assert is_accepted(later, epoch=after.epoch, gone=gone)
    states = {each.node: each.state for each in after.replicas}
    assert states[uuid(1)] is ReplicaState.LEARNER
