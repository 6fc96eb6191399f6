"""What a range's value becomes when replicas are added, taken away, or made the primary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.base.limits import RANGE_REPLICAS_MAX
from dstore.model.hashing import HASH_MAX
from dstore.replication import placements
from dstore.topology.values import RangePlacement, Replica, ReplicaState

ID = "7ab1e000-0000-4000-8000-000000000001"


def replica(number: int, state: ReplicaState = ReplicaState.IN_SYNC, *, disk: int = 0) -> Replica:
    """Name the replica of node `number`."""
    return Replica(
        node=f"a0000000-0000-4000-8000-{number:012d}",
        incarnation=f"d0000000-0000-4000-8000-{disk or number:012d}",
        uri=f"https://node-{number}:1",
        state=state,
    )


def value(in_sync: int, learners: int = 0, *, factor: int = 3) -> RangePlacement:
    """Place a range; node 1 is its primary."""
    states = [ReplicaState.IN_SYNC] * in_sync + [ReplicaState.LEARNER] * learners
    replicas = tuple(replica(number, state) for number, state in enumerate(states, 1))
    return RangePlacement(
        node=replicas[0].node,
        high_hash=HASH_MAX,
        uri=replicas[0].uri,
        table_id=ID,
        range_id=ID,
        epoch=4,
        replicas=replicas,
        factor=factor,
    )


def test_an_heir_begins_the_next_epoch() -> None:
    """Who is made the primary is named with its address, in an epoch nobody has served in."""
    handed = placements.with_primary(value(3), replica(2).node)
    assert (handed.node, handed.uri, handed.epoch) == (replica(2).node, replica(2).uri, 5)
    assert handed.replicas == value(3).replicas


def test_nobody_inherits_who_learns() -> None:
    """A learner may lack what is acknowledged, so it is never made the primary."""
    with pytest.raises(ValueError, match="no in-sync replica"):
        placements.with_primary(value(2, 1), replica(3).node)


def test_who_is_added_learns() -> None:
    """Control never says that a replica is in sync; and to add it twice is to add it once."""
    more = placements.with_learner(value(3), replica(4))
    assert more.replicas[3] == replica(4, ReplicaState.LEARNER)
    assert more.in_sync == value(3).in_sync
    assert placements.with_learner(more, replica(4)) == more


def test_another_disk_is_another_replica() -> None:
    """What a lost disk held is not counted on any more; the primary's is not for control to say."""
    more = placements.with_learner(value(3), replica(3, disk=9))
    assert more.replicas[2] == replica(3, ReplicaState.LEARNER, disk=9)
    with pytest.raises(ValueError, match="primary"):
        placements.with_learner(value(3), replica(1, disk=9))
    with pytest.raises(ValueError, match="left in sync"):
        placements.with_learner(value(2), replica(2, disk=9))


def test_there_are_not_too_many() -> None:
    """A range's value stays small."""
    with pytest.raises(ValueError, match="at most"):
        placements.with_learner(value(RANGE_REPLICAS_MAX), replica(RANGE_REPLICAS_MAX + 1))


def test_what_is_acknowledged_stays_held() -> None:
    """A replica goes only if those that are left are as many as a write needs."""
    assert len(placements.without(value(3), replica(3).node).replicas) == 2
    with pytest.raises(ValueError, match="left in sync"):
        placements.without(value(2), replica(2).node)
    with pytest.raises(ValueError, match="hand the range over"):
        placements.without(value(3), replica(1).node)


def test_a_learner_may_go_at_any_time() -> None:
    """It holds nothing that is counted on, even where too few are in sync already."""
    assert placements.without(value(1, 1), replica(2).node).replicas == value(1).replicas
    assert placements.without(value(3), replica(8).node) == value(3)


@pytest.mark.parametrize(("in_sync", "factor", "is_possible"), [(1, 3, False), (2, 3, True)])
def test_the_factor_rises_behind_the_replicas(
    in_sync: int, factor: int, *, is_possible: bool
) -> None:
    """First the replicas are in sync, then a write needs them; else writes would end."""
    before = value(in_sync, factor=1)
    if is_possible:
        assert placements.with_factor(before, factor).min_in_sync == 2
        return
    with pytest.raises(ValueError, match="would need"):
        placements.with_factor(before, factor)


def test_the_factor_may_fall() -> None:
    """An operator who wants fewer replicas can say so even while some are away."""
    assert placements.with_factor(value(1, factor=3), 1).min_in_sync == 1


@given(
    st.integers(1, 4), st.integers(0, 3), st.integers(1, 5), st.lists(st.integers(1, 9), max_size=9)
)
def test_no_order_of_changes_loses_the_majority(
    in_sync: int, learners: int, factor: int, numbers: list[int]
) -> None:
    """However control adds and removes, what was in sync is never fewer than a write needed."""
    now = value(in_sync, learners, factor=factor)
    least = min(len(now.in_sync), now.min_in_sync)
    for number in numbers:
        try:
            if any(each.node == replica(number).node for each in now.replicas):
                now = placements.without(now, replica(number).node)
            else:
                now = placements.with_learner(now, replica(number))
        except ValueError:
            continue
        assert len(now.in_sync) >= least
        assert any(each.node == now.node for each in now.in_sync)
