"""Which ranges are split, and where: by size, by requests, and never through a partition."""

from __future__ import annotations

from msgspec.structs import replace

from dstore.base.clock import US_PER_S
from dstore.base.split_limits import SPLIT_PATIENCE_S
from dstore.model.hashing import HASH_MAX
from dstore.model.tables import TableId
from dstore.replication.placements import Placed
from dstore.replication.sample_calls import Bucket
from dstore.service.control.balancing import Outlook
from dstore.service.control.planner import Copy, NodeSite, RangeSite
from dstore.service.control.split_choice import (
    SplitBounds,
    due,
    hot,
    is_awaited,
    point_of,
    sustained_of,
)
from dstore.storage.control.records import RangeId, SplitRecord, SplitState, SplitWhy
from dstore.topology import keyspace as keys
from dstore.topology.coordinator import Revision
from dstore.topology.values import UNSETTLED, RangePlacement, RangeState, Replica, ReplicaState
from tests.support.topology import uuid

BOUNDS = SplitBounds(size_bytes=1_000, requests_per_s=100, sustained_s=60)
NODES = tuple(NodeSite(node=uuid(number)) for number in (1, 2, 3))


def _placed(number: int = 100, *, low: int = 0, high: int = HASH_MAX) -> Placed:
    replicas = tuple(
        Replica(node=each.node, incarnation=uuid(9), uri="https://n:1/", state=ReplicaState.IN_SYNC)
        for each in NODES
    )
    value = RangePlacement(
        node=uuid(1),
        high_hash=high,
        uri="https://n:1/",
        table_id=uuid(50),
        range_id=uuid(number),
        epoch=3,
        replicas=replicas,
        factor=3,
    )
    return Placed(path=keys.RangePath("acme", "orders", low), value=value, revision=Revision(7))


def _site(placed: Placed, *, size_bytes: int = 0, requests_per_s: int = 0) -> RangeSite:
    return RangeSite(
        range_id=placed.value.range_id,
        primary=placed.value.node,
        copies=tuple(
            Copy(node=each.node, is_in_sync=each.state is ReplicaState.IN_SYNC)
            for each in placed.value.replicas
        ),
        wanted=3,
        factor=3,
        size_bytes=size_bytes,
        requests_per_s=requests_per_s,
    )


def _outlook(
    *found: tuple[Placed, RangeSite],
    nodes: tuple[NodeSite, ...] = NODES,
    moving: frozenset[str] = frozenset(),
) -> Outlook:
    return Outlook(
        nodes=nodes,
        ranges=tuple(site for _, site in found),
        placed={placed.value.range_id: placed for placed, _ in found},
        moving=moving,
        onto={},
        steps=(),
    )


def _due(
    outlook: Outlook,
    *,
    sustained: tuple[str, ...] = (),
    wished: tuple[str, ...] = (),
    put_off: tuple[tuple[str, SplitWhy], ...] = (),
    begun: tuple[str, ...] = (),
) -> list[tuple[str, SplitWhy]]:
    found = due(outlook, BOUNDS, sustained=sustained, wished=wished, put_off=put_off, begun=begun)
    return [(each.placed.value.range_id, each.why) for each in found]


def _large(placed: Placed, size_bytes: int = 1_000) -> tuple[Placed, RangeSite]:
    return placed, _site(placed, size_bytes=size_bytes)


def _point(weights: dict[int, int], placed: Placed, why: SplitWhy = SplitWhy.SIZE) -> int | None:
    buckets = [Bucket(low_hash, weight) for low_hash, weight in sorted(weights.items())]
    return point_of(buckets, placed, why, bounds=BOUNDS)


def test_what_is_asked_for_comes_first_then_what_is_hot_then_the_largest() -> None:
    """A range that is nothing of these stays whole."""
    placed = [_placed(number) for number in range(100, 105)]
    outlook = _outlook(
        _large(placed[0]),
        _large(placed[1], 2_000),
        (placed[2], _site(placed[2], requests_per_s=200)),
        _large(placed[3], 999),
        _large(placed[4], 10),
    )
    found = _due(outlook, sustained=(uuid(102),), wished=(uuid(104),))
    assert found == [
        (uuid(104), SplitWhy.OPERATOR),
        (uuid(102), SplitWhy.HEAT),
        (uuid(101), SplitWhy.SIZE),
        (uuid(100), SplitWhy.SIZE),
    ]


def test_what_can_not_be_split_for_one_reason_is_for_another() -> None:
    """A large range whose requests are all for one key is split for its size."""
    placed = _placed()
    outlook = _outlook(_large(placed))
    hot_one = (uuid(100),)
    assert _due(outlook, sustained=hot_one) == [(uuid(100), SplitWhy.HEAT)]
    not_hot = ((uuid(100), SplitWhy.HEAT),)
    assert _due(outlook, sustained=hot_one, put_off=not_hot) == [(uuid(100), SplitWhy.SIZE)]
    neither = (*not_hot, (uuid(100), SplitWhy.SIZE))
    assert _due(outlook, sustained=hot_one, put_off=neither) == []
    assert _due(outlook, begun=(uuid(100),)) == []


def test_a_range_with_anything_under_way_stays_whole() -> None:
    """One that moves or learns, is not settled, may have lost writes, or of one hash only."""
    placed = _placed()
    assert _due(_outlook(_large(placed)))
    assert not _due(_outlook(_large(placed), moving=frozenset({uuid(100)})))
    assert not _due(_outlook(_large(_placed(low=7, high=7))))
    value = placed.value
    lossy = replace(value, state=RangeState.POSSIBLE_LOSS)
    unsettled = replace(
        value, replicas=tuple(replace(each, incarnation=UNSETTLED) for each in value.replicas)
    )
    learning = replace(
        value,
        replicas=(*value.replicas[:2], replace(value.replicas[2], state=ReplicaState.LEARNER)),
    )
    for other in (lossy, unsettled, learning):
        changed = Placed(path=placed.path, value=other, revision=Revision(7))
        assert not _due(_outlook(_large(changed))), other


def test_every_replica_s_node_must_be_there() -> None:
    """It has to make files of both children; one that is full can't, nor one that is away."""
    placed = _placed()
    for bad in (
        NodeSite(node=uuid(3), is_alive=False),
        NodeSite(node=uuid(3), is_full=True),
        NodeSite(node=uuid(4)),
    ):
        assert not _due(_outlook(_large(placed), nodes=(*NODES[:2], bad))), bad
    drained = (NodeSite(node=uuid(1), leads=False), *NODES[1:])
    assert not _due(_outlook(_large(placed), nodes=drained))


def test_a_range_is_hot_if_it_is_much_of_a_node_s_part() -> None:
    """Where many are asked as much they can be handed over whole; on one node nothing is won."""
    alone = _placed()
    one = (alone, _site(alone, requests_per_s=150))
    assert hot(_outlook(one), BOUNDS) == {uuid(100)}
    assert hot(_outlook(one, nodes=NODES[:1]), BOUNDS) == frozenset()
    assert hot(_outlook(one), SplitBounds(requests_per_s=0)) == frozenset()
    cool = (alone, _site(alone, requests_per_s=99))
    assert hot(_outlook(cool), BOUNDS) == frozenset()
    many = [_placed(number) for number in range(100, 120)]
    equal = [(each, _site(each, requests_per_s=150)) for each in many]
    assert hot(_outlook(*equal), BOUNDS) == frozenset(), "150 of 1,000 for each node"


def test_it_is_cut_where_half_lies_below() -> None:
    """As nearly as partitions let; the point is the first hash of the upper child."""
    placed = _placed(low=10, high=1_000)
    assert _point({10: 300, 20: 200, 30: 100, 40: 400}, placed) == 30
    assert _point({10: 400, 11: 400}, placed) == 11
    assert _point({900: 400, 1_000: 400}, placed) == 1_000


def test_a_partition_is_not_cut() -> None:
    """Nor is one parted from next to nothing; where nothing is known nothing is done."""
    placed = _placed(low=10, high=1_000)
    assert _point({500: 1_000}, placed) is None
    assert _point({10: 1, 500: 1_000}, placed) is None
    assert _point({500: 1_000, 900: 10}, placed) is None
    assert _point({}, placed) is None
    assert _point({10: 0, 20: 0}, placed) is None


def test_a_file_that_holds_little_is_not_split_for_its_size() -> None:
    """What was deleted from it, or its log, makes it large; for requests that does not count."""
    placed = _placed(low=10, high=1_000)
    few = {10: 100, 20: 100}
    assert _point(few, placed) is None
    assert _point(few, placed, SplitWhy.HEAT) == 20
    assert _point(few, placed, SplitWhy.OPERATOR) == 20


def test_a_point_lies_inside_of_the_range() -> None:
    """A sample of a moment before it was split names hashes of what is none of it any more."""
    placed = _placed(low=100, high=200)
    assert _point({0: 500, 50: 500, 150: 500, 300: 500}, placed) == 150
    assert _point({0: 500, 300: 500}, placed) is None


def test_what_lasts_is_told_from_what_has_just_begun() -> None:
    """Both ends of the time are included."""
    assert sustained_of({"a": 0, "b": 5}, 10, sustained_ns=10) == {"a"}


def test_a_split_that_takes_very_long_is_waited_for_no_longer() -> None:
    """It goes on, and others begin beside it."""
    split = SplitRecord(
        range_id=RangeId(uuid(1)),
        table_id=TableId(uuid(2)),
        epoch=1,
        at_hash=5,
        low_id=RangeId(uuid(3)),
        high_id=RangeId(uuid(4)),
        why=SplitWhy.SIZE,
        state=SplitState.BEGUN,
        begun_at_us=1_000,
    )
    assert is_awaited(split, 1_001)
    assert not is_awaited(split, 1_000 + int(SPLIT_PATIENCE_S * US_PER_S))
