"""What a range's value is by what its nodes remember, after the coordinator has lost it."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from dstore.replication.recollection import Recollection, cut_in_two, cut_of, recollected
from dstore.replication.split_calls import Split
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.values import NO_INCARNATION, UNSETTLED, RangePlacement, RangeState
from tests.support.replicas import DISK, learner, placement, replica
from tests.support.topology import uuid

OTHER = 901
CREATED = placement(replica(1), replica(2), replica(3), epoch=2)
FIRST = replace(CREATED, epoch=1)
SMALLER = placement(replica(1), replica(2), learner(3), epoch=7, factor=3)


def _told(
    noted: RangePlacement | None = None,
    *,
    revision: int = 10,
    disk: int = DISK,
    promised: int | None = None,
) -> Recollection:
    return Recollection(
        incarnation=uuid(disk),
        placement=noted,
        revision=revision if noted else 0,
        promised_epoch=(noted.epoch if noted else 0) if promised is None else promised,
    )


def _all(**by_number: Recollection) -> dict[str, Recollection]:
    return {uuid(int(name[1:])): each for name, each in by_number.items()}


def _checked(value: RangePlacement) -> RangePlacement:
    """Read it as everybody else will."""
    return values.decode(keys.RangePath("acme", "orders", 0), values.encode(value))


def test_the_newest_set_counts() -> None:
    """A replica that has left the set does not come back into it by what it remembers itself."""
    told = _all(n1=_told(SMALLER), n2=_told(SMALLER), n3=_told(FIRST))
    after = _checked(recollected(CREATED, told))
    assert after == replace(SMALLER, epoch=8)


def test_of_one_epoch_the_later_revision_counts() -> None:
    """A primary changes its set within its epoch."""
    before = replace(CREATED, epoch=7)
    told = _all(
        n1=_told(SMALLER, revision=12), n2=_told(before, revision=11), n3=_told(before, revision=11)
    )
    assert recollected(CREATED, told) == replace(SMALLER, epoch=8)


def test_the_epoch_is_newer_than_the_stores() -> None:
    """Whatever the store counts, no node takes the value for an older one than it knows."""
    told = _all(n1=_told(FIRST), n2=_told(FIRST), n3=_told(FIRST))
    assert recollected(replace(CREATED, epoch=40), told).epoch == 40


def test_somebody_who_counts_is_silent() -> None:
    """The one who is not heard may know of a smaller set, and nobody can open the range."""
    told = _all(n2=_told(FIRST), n3=_told(FIRST))
    after = _checked(recollected(CREATED, told))
    assert not after.is_settled
    assert {each.incarnation for each in after.replicas} == {UNSETTLED}
    assert after.epoch > FIRST.epoch


def test_somebody_who_does_not_count_may_be_silent() -> None:
    """A learner acknowledges nothing."""
    told = _all(n1=_told(SMALLER), n2=_told(SMALLER))
    assert recollected(CREATED, told) == replace(SMALLER, epoch=8)


def test_an_epoch_of_which_nobody_knows_the_value() -> None:
    """Somebody has begun to open the range who is not heard, so a newer value exists."""
    told = _all(n1=_told(SMALLER), n2=_told(SMALLER, promised=9), n3=_told(FIRST))
    assert not recollected(CREATED, told).is_settled


def test_somebody_who_counts_has_another_disk() -> None:
    """It learns from those who have the disks of before."""
    told = _all(n1=_told(SMALLER), n2=_told(SMALLER, disk=OTHER))
    after = _checked(recollected(CREATED, told))
    assert [each.node for each in after.in_sync] == [uuid(1)]
    assert after.replicas[1].incarnation == uuid(OTHER)


def test_everybody_has_started_without_a_coordinator() -> None:
    """Each takes its disk for another one; as they remember the same, nothing is lost."""
    told = _all(n1=_told(SMALLER, disk=OTHER), n2=_told(SMALLER, disk=OTHER), n3=_told(FIRST))
    after = _checked(recollected(CREATED, told))
    assert [each.node for each in after.in_sync] == [uuid(1), uuid(2)]
    assert {each.incarnation for each in after.in_sync} == {uuid(OTHER)}
    assert after.state is RangeState.OKAY


def test_everybody_has_another_disk_and_one_remembers_less() -> None:
    """One of the disks is an old copy: what counted may be lost, and the range says so."""
    told = _all(n1=_told(SMALLER, disk=OTHER), n2=_told(FIRST, disk=OTHER))
    assert recollected(CREATED, told).state is RangeState.POSSIBLE_LOSS


def test_a_learner_with_another_disk_learns_there() -> None:
    """It need not be what it was."""
    told = _all(n1=_told(SMALLER), n2=_told(SMALLER), n3=_told(disk=OTHER))
    after = recollected(CREATED, told)
    assert [each.incarnation for each in after.replicas] == [uuid(DISK), uuid(DISK), uuid(OTHER)]


def test_the_only_replica_with_another_disk() -> None:
    """It goes on with what it has: it remembers all that anybody does."""
    alone = placement(replica(1), epoch=7)
    after = _checked(recollected(replace(alone, epoch=8), _all(n1=_told(alone, disk=OTHER))))
    assert (after.epoch, after.state) == (8, RangeState.OKAY)
    assert after.replicas[0].incarnation == uuid(OTHER)


def test_a_range_that_nobody_has_ever_led() -> None:
    """If all who were to hold it say so, it is as it was made, on the disks that they have."""
    unknown = replace(
        CREATED,
        replicas=tuple(replace(each, incarnation=NO_INCARNATION) for each in CREATED.replicas),
    )
    after = _checked(recollected(unknown, _all(n1=_told(), n2=_told(), n3=_told())))
    assert after == CREATED
    assert not recollected(unknown, _all(n1=_told(), n2=_told())).is_settled


def test_what_was_promised_is_older_than_the_next_epoch() -> None:
    """A primary that serves on must take the value that is published for a newer one."""
    alone = placement(replica(1), epoch=2)
    assert recollected(alone, _all(n1=_told(promised=9))).epoch == 10


def test_who_was_about_to_get_a_replica_beside_the_only_one_learns() -> None:
    """It holds nothing: if it counted, the range could never be opened, or would begin empty."""
    told = _all(n1=_told(), n2=_told(promised=6), n3=_told())
    after = _checked(recollected(CREATED, told))
    assert (after.node, after.uri, after.epoch) == (uuid(2), replica(2).uri, 7)
    assert [each.node for each in after.in_sync] == [uuid(2)]
    assert [each.node for each in after.replicas] == [uuid(1), uuid(2), uuid(3)]


def test_what_is_remembered_of_another_range() -> None:
    """It says nothing."""
    other = replace(SMALLER, range_id=uuid(999))
    told = _all(n1=_told(other, promised=0), n2=_told(), n3=_told())
    assert recollected(CREATED, told) == CREATED


def test_children_have_the_last_set_of_their_parent() -> None:
    """Who has left it before the split has no part in them; their epochs are newer than all."""
    split = Split(low_id=uuid(601), high_id=uuid(602), at_hash=1 << 31)
    told = _all(n1=_told(SMALLER), n2=_with(_told(SMALLER), split), n3=_told(FIRST))
    assert cut_of(told) == split
    path = keys.RangePath("acme", "orders", 0)
    (low_path, low), (high_path, high) = cut_in_two(path, CREATED, told, split=split)
    assert (low_path.low_hash, high_path.low_hash) == (0, split.at_hash)
    assert (low.high_hash, high.high_hash) == (split.at_hash - 1, CREATED.high_hash)
    assert (
        {each.node for each in low.replicas}
        == {uuid(1), uuid(2)}
        == {each.node for each in high.replicas}
    )
    assert low.epoch == high.epoch > SMALLER.epoch + 1
    ripe = _all(n1=_told(promised=7), n2=_told(promised=7), n3=_told(promised=0))
    assert _checked(recollected(low, ripe)).in_sync == low.replicas


def test_nobody_has_been_told_of_a_split() -> None:
    """Then there is none as far as is known."""
    assert cut_of(_all(n1=_told(FIRST), n2=_told())) is None


def _with(told: Recollection, split: Split) -> Recollection:
    """Have a node know of a split."""
    return dataclasses.replace(told, cut=split)
