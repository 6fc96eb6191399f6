"""A node that stops gives its ranges away, and one that is damaged is not kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.limits import DEPARTURES_AT_ONCE
from dstore.base.tasks import Tasks
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.replication import placements
from dstore.replication.placements import Placed, Swapper
from dstore.replication.surroundings import pause_ms
from dstore.service.cluster import departure
from dstore.service.cluster.departure import Departure
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import CoordinatorUnavailable
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.values import ComponentStatus
from tests.support.replicas import learner, placement, replica
from tests.support.topology import uuid

ME = uuid(1)


@dataclass
class _Seen:
    """What a view says of a node."""

    alive: object | None = field(default_factory=object)
    status: ComponentStatus = ComponentStatus.OKAY

    @property
    def details(self) -> _Seen:
        return self

    @property
    def value(self) -> _Seen:
        return self


@dataclass
class _View:
    """A watcher and its view; nodes that it does not know were never there."""

    nodes: dict[str, _Seen]

    @property
    def view(self) -> _View:
        return self

    def node(self, node: str) -> _Seen | None:
        return self.nodes.get(node)


@dataclass
class _Replica:
    """A replica that hands over as it is told.

    `cannot` are the nodes that can't take it, `bound` those that could not serve at once.
    """

    range_id: str
    placed: Placed
    serving_epoch: int | None = 1
    has_promised: bool = False
    is_damaged: bool = False
    cannot: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    asked: list[str | None] = field(default_factory=list)
    at_work: Counter[str] = field(default_factory=Counter)

    @property
    def is_named(self) -> bool:
        return self.placed.value.node == ME

    @property
    def led_by(self) -> str:
        return self.placed.value.node

    @property
    def serving(self) -> _Replica:
        return self

    def follower(self, node: str) -> SimpleNamespace:
        return SimpleNamespace(is_bound=node in self.bound)

    def follow(self, placed: Placed) -> None:
        self.placed = placed

    async def hand_over(self, node: str | None, *, swap: Swapper) -> int:
        self.asked.append(node)
        self.at_work["now"] += 1
        self.at_work["most"] = max(self.at_work["most"], self.at_work["now"])
        await asyncio.sleep(0.001)
        self.at_work["now"] -= 1
        if node is None or node in self.cannot:
            raise Unavailable(UnavailableKind.UNREACHABLE, "It does not answer.")
        value = placements.with_primary(self.placed.value, node)
        self.follow(await swap(self.placed, value))
        return value.epoch


@dataclass
class _Node:
    """A node's replicas, and who else is there."""

    coordinator: EmbeddedCoordinator
    view: _View
    tasks: Tasks
    replicas: list[_Replica] = field(default_factory=list)

    def of(self, range_id: str) -> _Replica | None:
        return next((each for each in self.replicas if each.range_id == range_id), None)

    def all(self) -> tuple[_Replica, ...]:
        return tuple(self.replicas)

    async def add(self, *on: values.Replica, **options: Any) -> _Replica:
        """Let the node have a replica of a range; the first one of `on` is the primary."""
        number = 500 + len(self.replicas)
        value = placement(*on, range_number=number)
        path = keys.RangePath("acme", f"t{number}", 0)
        await self.coordinator.put(path.path, values.encode(value))
        placed = await placements.read(self.coordinator, path)
        assert placed is not None
        made = _Replica(range_id=value.range_id, placed=placed, **options)
        self.replicas.append(made)
        return made

    @property
    def departure(self) -> Departure:
        return Departure(
            ME,
            cast("Any", self),
            watcher=cast("Any", self.view),
            coordinator=self.coordinator,
            tasks=self.tasks,
        )

    async def depart(self, *, within_s: float = 5.0) -> float:
        """Give all away. Returns: the seconds that took."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await self.departure.run(within_s)
        return loop.time() - began_s


@pytest.fixture
async def node() -> AsyncIterator[_Node]:
    """Give a node with two others beside it, and nothing on it."""
    made = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=_raise
    )
    tasks = Tasks(_raise)
    yield _Node(made, _View({uuid(number): _Seen() for number in (1, 2, 3)}), tasks)
    await tasks.close()
    await made.close()


def _raise(error: BaseException) -> None:
    raise error


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_each_range_goes_to_one_that_stays(node: _Node) -> None:
    """Heirs get about as many each, only so many at a time are on their way, in packs."""
    at_work = Counter[str]()
    for _ in range(40):
        await node.add(replica(1), replica(2), replica(3), at_work=at_work)
    assert await node.depart() < 2
    led = Counter(each.placed.value.node for each in node.replicas)
    assert led == {uuid(2): 20, uuid(3): 20}
    assert all(each.placed.value.epoch == 2 for each in node.replicas)
    assert 1 < at_work["most"] <= DEPARTURES_AT_ONCE
    revisions = {each.placed.revision for each in node.replicas}
    assert len(revisions) < len(node.replicas)


async def test_who_does_not_take_it_is_not_the_last_one_asked(node: _Node) -> None:
    """The next one is, and a range that nobody serves yet is given away as well."""
    refused = await node.add(replica(1), replica(2), replica(3), cannot={uuid(2)})
    unopened = await node.add(replica(1), replica(2), replica(3), serving_epoch=None)
    await node.depart()
    assert refused.asked == [uuid(2), uuid(3)]
    assert refused.placed.value.node == uuid(3)
    assert unopened.asked == []
    assert unopened.placed.value.node in {uuid(2), uuid(3)}
    assert unopened.placed.value.epoch == 2
    found = await placements.read(node.coordinator, unopened.placed.path)
    assert found == unopened.placed


async def test_nobody_gets_a_range_who_could_not_serve_it_at_once(node: _Node) -> None:
    """One that has promised something to others is waited for, but not where the file is ruined."""
    several = await node.add(replica(1), replica(2), replica(3), bound={uuid(2)})
    kept = await node.add(replica(1), replica(2), bound={uuid(2)})
    ruined = await node.add(replica(1), replica(2), bound={uuid(2)}, is_damaged=True)
    await node.depart(within_s=0.1)
    assert several.asked == [uuid(3)]
    assert kept.asked == []
    assert ruined.asked == [uuid(2)]
    kept.bound.clear()
    await node.depart()
    assert kept.led_by == uuid(2)


@pytest.mark.parametrize(
    "others",
    [
        {},
        {uuid(2): _Seen(alive=None)},
        {uuid(2): _Seen(status=ComponentStatus.DRAINING), uuid(3): _Seen(alive=None)},
    ],
    ids=["alone", "dead", "all stop"],
)
async def test_nothing_is_waited_for_that_will_not_be(
    node: _Node, others: dict[str, _Seen]
) -> None:
    """Ranges with one replica, or whose other ones go too, just end, and at once."""
    node.view.nodes = {ME: _Seen()} | others
    lonely = await node.add(replica(1))
    several = await node.add(replica(1), replica(2), replica(3))
    theirs = await node.add(replica(2), replica(1), replica(3))
    assert await node.depart() < 1
    assert lonely.asked == several.asked == theirs.asked == []


async def test_what_nobody_can_take_is_served_until_the_time_is_over(node: _Node) -> None:
    """One whose others learn is tried on, and given away as soon as one of them has caught up."""
    learning = await node.add(replica(1), learner(2))
    assert await node.depart(within_s=0.1) >= 0.1
    assert learning.led_by == ME
    stuck = await node.add(replica(1), replica(2), cannot={uuid(2)})

    async def catch_up() -> None:
        await asyncio.sleep(0.01)
        value = placements.with_state(learning.placed.value, {uuid(2)}, values.ReplicaState.IN_SYNC)
        learning.follow(
            await placements.swap(node.coordinator, learning.placed, value, pause=pause_ms)
        )
        stuck.cannot.clear()

    async with asyncio.TaskGroup() as group:
        group.create_task(catch_up())
        assert await node.depart() < 4
    assert learning.led_by == uuid(2)
    assert stuck.led_by == uuid(2)
    assert len(stuck.asked) == 2


async def test_writes_do_not_wait_for_a_coordinator_that_is_away(
    node: _Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing can be handed over nothing is tried, which would hold writes back."""
    kept = await node.add(replica(1), replica(2), replica(3))
    monkeypatch.setattr(departure, "DEPARTURE_PAUSE_S", 0.01)

    async def away(*_: object, **__: object) -> None:
        raise CoordinatorUnavailable("It is away.")

    with monkeypatch.context() as broken:
        broken.setattr(EmbeddedCoordinator, "get", away)
        await node.depart(within_s=0.1)
    assert kept.asked == []
    await node.depart()
    assert len(kept.asked) == 1


async def test_it_is_there_until_nobodys_writes_wait_for_it(
    node: _Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica in use is left out of the set first; who does not do that is not waited for."""
    theirs = await node.add(replica(2), replica(1), replica(3), has_promised=True)
    await node.add(replica(2), replica(1), replica(3))  # nobody uses it
    await node.add(replica(2), learner(1), replica(3), has_promised=True)
    monkeypatch.setattr(departure, "DEPARTURE_LAST_S", 0.2)
    assert await node.depart() >= 0.2

    async def leave_out() -> None:
        await asyncio.sleep(0.01)
        value = placements.with_state(theirs.placed.value, {ME}, values.ReplicaState.LEARNER)
        theirs.follow(_of(theirs, value))

    monkeypatch.setattr(departure, "DEPARTURE_LAST_S", 5.0)
    async with asyncio.TaskGroup() as group:
        group.create_task(leave_out())
        assert await node.depart() < 2


def _of(replica_here: _Replica, value: values.RangePlacement) -> Placed:
    return Placed(path=replica_here.placed.path, value=value, revision=replica_here.placed.revision)


async def test_a_damaged_range_is_given_away(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as there is somebody for it; told of it twice, that is done once."""
    monkeypatch.setattr(departure, "RETREAT_PAUSE_S", 0.01)
    damaged = await node.add(replica(1), replica(2), cannot={uuid(2)})
    theirs = await node.add(replica(2), replica(1))
    whole = await node.add(replica(1), replica(2))
    made = node.departure
    for _ in range(2):
        made.retreat(damaged.range_id)
        made.retreat(theirs.range_id)
    made.retreat(uuid(999))
    await _until(lambda: len(damaged.asked) > 2)
    assert damaged.led_by == ME
    damaged.cannot.clear()
    await _until(lambda: not len(node.tasks))
    assert damaged.led_by == uuid(2)
    assert theirs.asked == whole.asked == []
    assert [each.is_damaged for each in node.replicas] == [True, True, False]
