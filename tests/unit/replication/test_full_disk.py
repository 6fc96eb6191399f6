"""When a replica whose disk was full gives its range on, and when it only waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.tasks import Tasks
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.replication import placements
from dstore.replication.full_disk import FullDisk
from dstore.replication.peers.errors import unreachable
from dstore.replication.peers.port import Peer
from dstore.replication.placements import Overtaken, Placed
from dstore.replication.surroundings import Surroundings
from dstore.security.identity import ComponentRole
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.values import RangePlacement
from tests.support.replicas import DISK, learner, placement, put_table, replica
from tests.support.topology import uuid

PATH = keys.RangePath("acme", "orders", 0)
FULL = Unavailable(UnavailableKind.NO_SPACE, "Full.")


def _away(_node: str) -> Peer:
    raise unreachable("is away")


@pytest.fixture
async def around() -> AsyncIterator[Surroundings]:
    """Give what a replica of node 1 needs; nodes 2 and 3 live, and 2 says that its disk is full."""
    failures: list[BaseException] = []
    coordinator = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    for number in (2, 3):
        node = keys.ComponentId(uuid(number))
        alive = keys.AlivePath(ComponentRole.NODE, node)
        await coordinator.put(alive.path, values.encode(values.Alive(session=uuid(77))))
        status = values.ComponentStatus.NO_SPACE if number == 2 else values.ComponentStatus.OKAY
        path = keys.DetailsPath(ComponentRole.NODE, node)
        told = values.Details(status=status, uri=f"https://node{number}:8001/")
        await coordinator.put(path.path, values.encode(told))
    unused, tasks = cast("Any", None), Tasks(failures.append)
    yield Surroundings(
        node=uuid(1),
        incarnation=uuid(DISK),
        clock=SystemClock(),
        coordinator=coordinator,
        peer_of=_away,
        open_file=unused,
        on_serving=unused,
        on_fault=unused,
        files=unused,
        tasks=tasks,
        began_ns=0,
    )
    await tasks.close()
    await coordinator.close()
    assert failures == []


async def _placed(around: Surroundings, value: RangePlacement) -> Placed:
    await put_table(around.coordinator, (0, value))
    found = await placements.read(around.coordinator, PATH)
    assert found is not None
    return found


async def test_the_range_goes_where_there_is_room(around: Surroundings) -> None:
    """In the next epoch, and without the full one in the set: it could not even promise that."""
    before = await _placed(around, placement(replica(1), replica(2), replica(3)))
    disk = FullDisk(around)
    await disk.make_way(before)
    assert await placements.read(around.coordinator, PATH) == before, "nothing was met"
    disk.meet()
    with pytest.raises(Overtaken) as raised:
        await disk.make_way(before)
    now = await placements.read(around.coordinator, PATH)
    assert now is not None
    assert raised.value.now == now
    assert (now.value.node, now.value.epoch) == (uuid(3), 2)
    assert {each.node for each in now.value.in_sync} == {uuid(2), uuid(3)}


@pytest.mark.parametrize(
    "value",
    [
        placement(replica(1)),
        placement(replica(1), learner(2), learner(3), factor=3),
        placement(replica(1), replica(2), factor=2),
        placement(replica(1), replica(3), learner(2), factor=3),
        placement(replica(1), replica(3), replica(4), factor=3),
    ],
    ids=["alone", "with learners", "two of two", "two of three", "one of them dead"],
)
async def test_where_too_few_others_live_nothing_is_given_up(
    around: Surroundings, value: RangePlacement
) -> None:
    """What is acknowledged stays held by as many as a write needs; one alone is not dropped."""
    before = await _placed(around, value)
    disk = FullDisk(around)
    disk.look_at(FULL)
    await disk.make_way(before)
    assert await placements.read(around.coordinator, PATH) == before


async def test_a_range_that_went_elsewhere_is_not_given_on_when_it_is_back(
    around: Surroundings,
) -> None:
    """Its disk may have room by then; it finds out when it opens it."""
    before = await _placed(around, placement(replica(1), replica(2), replica(3)))
    disk = FullDisk(around)
    disk.meet()
    disk.has_room()
    await disk.make_way(before)
    assert await placements.read(around.coordinator, PATH) == before


async def test_it_waits_ever_longer_for_room_unless_there_is_news(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time it asks at once who else could lead."""
    monkeypatch.setattr("dstore.replication.full_disk.REPLICA_BACKOFF_MS_MAX", 40)
    disk, news = FullDisk(around), asyncio.Event()
    loop = asyncio.get_running_loop()
    took: list[float] = []
    for _ in range(4):
        disk.look_at(FULL)
        began_s = loop.time()
        await disk.rest(news)
        took.append(loop.time() - began_s)
    assert took[0] < 0.03 < took[1]
    assert took[3] > 0.15
    news.set()
    began_s = loop.time()
    await disk.rest(news)
    assert loop.time() - began_s < 0.15
