"""What an operator is told of a range by what the topology shows of its nodes and their disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from dstore.service.control.counts import count, survival
from dstore.service.control.held import complaint, living_in_sync
from dstore.service.control.sparing import stoppable
from dstore.topology.values import UNSETTLED
from tests.support.replicas import DISK, learner, placement, range_view, replica
from tests.support.topology import uuid

if TYPE_CHECKING:
    from dstore.topology.view import PlacedRange, TopologyView

OTHER = 901
THREE = placement(replica(1), replica(2), replica(3))


def _placed(view: TopologyView) -> PlacedRange:
    table = view.table("acme", "orders")
    assert table is not None
    [placed] = table.ranges
    return placed


def _why(view: TopologyView) -> str:
    return complaint(view, _placed(view), tenant="acme", table="orders")


def _living(view: TopologyView) -> int:
    return living_in_sync(view, _placed(view))


def test_a_range_on_the_disks_that_it_names_is_available() -> None:
    """Else everything that follows here would prove nothing."""
    view = range_view(THREE, {1: DISK, 2: DISK, 3: DISK})
    assert (_why(view), _living(view)) == ("", 3)
    assert survival(count(view)) == "1 node failure survivable."


def test_a_range_whose_disks_are_all_others_is_not_available() -> None:
    """Its nodes live and hold files of its name, and nobody can open it: an operator is to know."""
    view = range_view(THREE, {1: OTHER, 2: OTHER, 3: OTHER})
    assert f"dstore placement accept-loss {THREE.range_id} --dry-run" in _why(view)
    counted = count(view)
    assert (counted.ranges.unavailable, counted.ranges.under_replicated) == (1, 1)
    assert survival(counted) == "0 node failures survivable: some ranges have no living replica."


def test_what_a_range_waits_for_is_said() -> None:
    """Its primary lives, and can't open it: who reads that has to know which node to start."""
    two = placement(replica(1), replica(2), learner(3), factor=3)
    why = _why(range_view(two, {1: DISK, 2: DISK, 3: DISK}, dead=(2,), opening=(1,)))
    assert why.startswith(f"Node {uuid(1)} says of range {two.range_id}: opening.")
    assert f"It waits for what {uuid(2)} had in sync: start what is down." in why
    assert f"dstore placement accept-loss {two.range_id} --dry-run" in why
    assert _why(range_view(two, {1: DISK, 2: DISK}, opening=(1,))).endswith(": opening.")
    assert f"what {uuid(1)} had" in _why(range_view(two, {1: DISK, 2: DISK}, dead=(1,)))


def test_the_only_one_that_counted_and_came_back_otherwise() -> None:
    """What it holds now may be nothing, and its learner's replica nearly all."""
    value = placement(replica(1), learner(2), factor=1)
    view = range_view(value, {1: OTHER, 2: DISK})
    assert "has another disk than before" in _why(view)
    assert count(view).ranges.unavailable == 1


def test_a_primary_on_another_disk_is_followed_by_another() -> None:
    """For a moment nobody serves; what is said asks nobody to do anything."""
    why = _why(range_view(THREE, {1: OTHER, 2: DISK, 3: DISK}))
    assert why == f"Node {uuid(1)} has another disk than before: another node takes the range over."


def test_whoever_has_another_disk_counts_no_more() -> None:
    """Neither for what the cluster survives, nor for whom it can spare."""
    view = range_view(THREE, {1: DISK, 2: OTHER, 3: DISK})
    assert (_why(view), _living(view)) == ("", 2)
    assert count(view).survivable == 0
    answer = stoppable(view, uuid(3))
    assert not answer.is_okay
    assert f"the one on node {uuid(2)} is on another disk" in answer.why


def test_a_range_that_is_not_settled_is_not_available() -> None:
    """Since a recovery nobody may open it, whatever its nodes say of their files."""
    replicas = tuple(replace(each, incarnation=UNSETTLED) for each in THREE.replicas)
    value = replace(THREE, replicas=replicas)
    view = range_view(value, {1: DISK, 2: DISK, 3: DISK}, dead=(3,))
    assert f"waits for node {uuid(3)}, which is not alive" in _why(view)
    assert count(view).ranges.unavailable == 1
    assert not stoppable(view, uuid(1)).is_okay
    assert "all its nodes to answer" in _why(range_view(value, {1: DISK, 2: DISK, 3: DISK}))
