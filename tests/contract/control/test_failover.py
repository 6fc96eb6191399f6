"""Ranges get other primaries, addresses and disks as their nodes die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from dstore.base.limits import COORDINATOR_TIMEOUT_S, REPLICAS_ASKED_MAX
from dstore.model.hashing import HASH_MAX
from dstore.replication import placements
from dstore.service.control import addresses as addresses_module
from dstore.service.control import failover as failover_module
from dstore.service.control.failover import Failovers
from dstore.storage.control import audit
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Coordinator, Revision, Transaction, TransactionResult
from dstore.topology.values import RangePlacement, RangeState
from tests.contract.control.conftest import Place
from tests.support.control import ControlProcess, ObedientNode, eventually
from tests.support.replicas import (
    DISK,
    TellingNodes,
    learner,
    placement,
    put_table,
    replica,
    told,
)
from tests.support.topology import uuid

PATH = keys.RangePath("acme", "orders", 0)
OTHER = 901


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover_module, "FAILOVER_GRACE_S", 0.05)
    monkeypatch.setattr(failover_module, "FAILOVER_RETRY_S_MIN", 0.05)
    monkeypatch.setattr(failover_module, "FAILOVER_RETRY_S_MAX", 0.1)
    monkeypatch.setattr(failover_module, "FAILOVER_SILENT_S", 0.2)
    monkeypatch.setattr(addresses_module, "OBSERVER_INTERVAL_S", 0.05)


@dataclass(frozen=True, kw_only=True)
class _Cluster:
    place: Place
    nodes: tuple[ObedientNode, ...]
    telling: TellingNodes
    leader: ControlProcess

    async def value(self, path: keys.RangePath = PATH) -> RangePlacement:
        found = await placements.read(self.place.coordinator, path)
        assert found is not None
        return found.value

    async def until(
        self, is_true: Callable[[RangePlacement], object], path: keys.RangePath = PATH
    ) -> RangePlacement:
        """Wait until a range's value is so."""
        async with asyncio.timeout(10):
            while not is_true(value := await self.value(path)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return value

    async def rest(self) -> None:
        """Let some tries pass."""
        await asyncio.sleep(0.4)


@asynccontextmanager
async def _cluster(
    place: Place,
    *ranges: tuple[int, RangePlacement],
    dead: tuple[int, ...] = (),
    silent: tuple[int, ...] = (),
) -> AsyncIterator[_Cluster]:
    """Have three nodes, of which some are dead already, ranges, and a control that leads.

    Who is silent lives, and does not answer.
    """
    nodes = tuple(ObedientNode(place.coordinator, number) for number in (1, 2, 3))
    telling = TellingNodes.numbered(3)
    for number, node in enumerate(nodes, 1):
        await node.show()
        if number in dead:
            await node.die()
        telling[number].is_dead = number in (*dead, *silent)
    await put_table(place.coordinator, *ranges)
    async with place.leader(nodes=telling) as leader:
        await eventually(lambda: leader.watcher.view.table("acme", "orders"))
        yield _Cluster(place=place, nodes=nodes, telling=telling, leader=leader)


VALUE = placement(replica(1), replica(2), replica(3))
THREE = (0, VALUE)


async def test_a_dead_primary_is_replaced(place: Place) -> None:
    """The furthest of the others is primary in the next epoch; the dead one leaves the set."""
    async with _cluster(place, THREE) as cluster:
        cluster.telling[1].is_dead = True
        cluster.telling[3].says = told(5)
        await cluster.nodes[0].die()
        after = await cluster.until(lambda value: value.epoch == 2)
        assert after.node == uuid(3)
        assert {each.node for each in after.in_sync} == {uuid(2), uuid(3)}
        await cluster.rest()
        assert await cluster.value() == after, "it was done once"


async def test_a_new_leader_looks_at_everything(place: Place) -> None:
    """What has died while nobody led is found at the beginning of a term."""
    async with _cluster(place, THREE, dead=(1,)) as cluster:
        assert (await cluster.until(lambda value: value.epoch == 2)).node != uuid(1)


async def test_a_node_that_nobody_ever_saw(place: Place) -> None:
    """A range of which the primary's node is not even known gets another one."""
    async with _cluster(place, (0, placement(replica(9), replica(2), replica(3)))) as cluster:
        assert (await cluster.until(lambda value: value.epoch == 2)).node != uuid(9)


async def test_a_lease_that_is_back_in_time_harms_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the grace nobody is asked (B14)."""
    monkeypatch.setattr(failover_module, "FAILOVER_GRACE_S", 0.3)
    async with _cluster(place, THREE) as cluster:
        await asyncio.sleep(0.4)
        await cluster.nodes[0].die()
        await asyncio.sleep(0.05)
        await cluster.nodes[0].show()
        await asyncio.sleep(0.5)
        assert cluster.telling[2].calls == []
        assert await cluster.value() == VALUE


async def test_a_primary_that_serves_is_left_alone(place: Place) -> None:
    """Without an etcd lease it may well be the primary: it is asked again, and nothing changes."""
    async with _cluster(place, THREE) as cluster:
        cluster.telling[1].says = told(is_serving=True)
        await cluster.nodes[0].die()
        await eventually(lambda: len(cluster.telling[1].calls) >= 2)
        assert await cluster.value() == VALUE
        cluster.telling[1].is_dead = True
        assert (await cluster.until(lambda value: value.epoch == 2)).node != uuid(1)


async def test_tried_again_until_somebody_answers(place: Place) -> None:
    """With all replicas silent the range waits; the first that answers becomes primary."""
    async with _cluster(place, THREE, dead=(1, 2), silent=(3,)) as cluster:
        await eventually(lambda: cluster.telling[3].calls)
        await cluster.rest()
        assert await cluster.value() == VALUE
        cluster.telling[3].is_dead = False
        after = await cluster.until(lambda value: value.epoch == 2)
        assert after.node == uuid(3)
        assert len(after.in_sync) == 3, "one alone may leave nobody out"


async def test_forgotten_once_the_node_is_back(place: Place) -> None:
    """A primary that returns opens its range by itself; nobody is asked any more."""
    async with _cluster(place, THREE, dead=(1, 2), silent=(3,)) as cluster:
        await eventually(lambda: cluster.telling[3].calls)
        await cluster.nodes[0].show()
        await cluster.rest()
        asked = len(cluster.telling[3].calls)
        cluster.telling[3].is_dead = False
        await cluster.rest()
        assert len(cluster.telling[3].calls) == asked
        assert await cluster.value() == VALUE


async def test_the_next_primary_dies_too(place: Place) -> None:
    """A range that was given to a node which is dead by now is given on."""
    async with _cluster(place, THREE) as cluster:
        cluster.telling[2].says = told(9)
        for number in (1, 2):
            cluster.telling[number].is_dead = True
        await cluster.nodes[1].die()
        await cluster.rest()
        assert await cluster.value() == VALUE, "it is no primary yet"
        before = await placements.read(cluster.place.coordinator, PATH)
        assert before is not None
        given = placement(replica(2), replica(1), replica(3), epoch=2)
        await cluster.place.coordinator.put(PATH.path, values.encode(given))
        after = await cluster.until(lambda value: value.epoch == 3)
        assert after.node == uuid(3)


async def test_a_primary_that_comes_back_with_another_disk(place: Place) -> None:
    """It is alive, and no replica any more: another one leads, and it learns on its new disk."""
    async with _cluster(place, THREE) as cluster:
        cluster.telling[1].is_dead = True
        await _boot(cluster, 1, OTHER)
        after = await cluster.until(lambda value: uuid(OTHER) in _disks(value))
        assert after.node != uuid(1)
        assert {each.node for each in after.in_sync} == {uuid(2), uuid(3)}
        assert after.epoch == 2


async def test_a_secondary_that_comes_back_with_another_disk(place: Place) -> None:
    """It becomes a learner in the same epoch; the primary goes on."""
    async with _cluster(place, THREE) as cluster:
        await _boot(cluster, 2, OTHER)
        after = await cluster.until(lambda value: len(value.in_sync) == 2)
        assert (after.node, after.epoch) == (uuid(1), 1)
        assert _disks(after) == [uuid(DISK), uuid(OTHER), uuid(DISK)]


async def test_the_only_replica_comes_back_with_another_disk(place: Place) -> None:
    """What it has now is what there is; the range says so, and the audit log (B10)."""
    async with _cluster(place, (0, placement(replica(1)))) as cluster:
        await _boot(cluster, 1, OTHER)
        after = await cluster.until(lambda value: value.epoch == 2)
        assert after.node == uuid(1)
        assert after.state is RangeState.POSSIBLE_LOSS
        async with cluster.leader.plane.store.snapshot() as tx:
            written = [each.entry for each in (await audit.page(tx)).records]
        assert [each.result for each in written if each.action == "take_other_disk"] == [
            "possible loss"
        ]


async def test_a_learner_is_not_made_to_forget_what_an_empty_disk_lacks(place: Place) -> None:
    """Who has most is an operator's to say (B10); until then the status says that it is due."""
    value = placement(replica(1), learner(2))
    async with _cluster(place, (0, value)) as cluster:
        await _report(cluster, 1, values.HeldStatus.OKAY)
        await _boot(cluster, 1, OTHER)
        await cluster.rest()
        assert await cluster.value() == value
        survey = cluster.leader.control.survey
        status = await survey.status()
        assert (status.ranges.unavailable, status.failures_without_loss) == (1, -1)
        assert any("1 range can't be used now: dstore" in each for each in status.problems)


async def test_a_primary_whose_file_is_ruined_is_replaced(place: Place) -> None:
    """Its node lives, and can't open the range; the others have all of it."""
    async with _cluster(place, THREE) as cluster:
        await cluster.rest()
        assert await cluster.value() == VALUE
        cluster.telling[1].says = None
        await _report(cluster, 1, values.HeldStatus.DAMAGED)
        after = await cluster.until(lambda value: value.epoch == 2)
        assert after.node != uuid(1)
        assert {each.node for each in after.in_sync} == {uuid(2), uuid(3)}


async def test_a_new_leader_finds_ruined_files(place: Place) -> None:
    """What was reported while nobody led is found at the beginning of a term."""
    path = keys.NodeTablePath(keys.ComponentId(uuid(1)), "acme", "orders")
    await place.coordinator.put(path.path, _reported(values.HeldStatus.DAMAGED))
    async with _cluster(place, THREE, silent=(1,)) as cluster:
        assert (await cluster.until(lambda value: value.epoch == 2)).node != uuid(1)


async def test_a_primary_that_serves_what_is_left_is_left_alone(place: Place) -> None:
    """A page is damaged, and it answers for the others: that is for repairs, not for a failover."""
    async with _cluster(place, THREE) as cluster:
        cluster.telling[1].says = told(is_serving=True)
        await _report(cluster, 1, values.HeldStatus.DAMAGED)
        await eventually(lambda: len(cluster.telling[1].calls) >= 2)
        assert await cluster.value() == VALUE
        await _report(cluster, 1, values.HeldStatus.OKAY)
        await cluster.rest()
        asked = len(cluster.telling[1].calls)
        await cluster.rest()
        assert len(cluster.telling[1].calls) == asked


async def test_a_primary_that_serves_with_a_damaged_file_is_asked_ever_more_seldom(
    place: Place,
) -> None:
    """It was asked every five seconds for ever; as soon as it is dead the range is looked at."""
    async with _cluster(place, THREE) as cluster:
        cluster.telling[1].says = told(is_serving=True)
        await _report(cluster, 1, values.HeldStatus.DAMAGED)
        await eventually(lambda: len(cluster.telling[1].calls) >= 4)
        for _ in range(3):
            await cluster.rest()
        assert len(cluster.telling[1].calls) <= 7, "0.05 s between two tries, doubled each time"
        cluster.telling[1].is_dead = True
        await cluster.nodes[0].die()
        async with asyncio.timeout(1.0):
            assert (await cluster.until(lambda value: value.epoch == 2)).node != uuid(1)


async def test_a_ruined_file_of_a_secondary_moves_nothing(place: Place) -> None:
    """Whoever leads goes on, and nobody is asked."""
    async with _cluster(place, THREE) as cluster:
        await _report(cluster, 2, values.HeldStatus.DAMAGED)
        await cluster.rest()
        assert cluster.telling[2].calls == []
        assert await cluster.value() == VALUE


async def test_every_replica_follows_its_node(place: Place) -> None:
    """Addresses of secondaries are corrected as the primary's, in the same epoch."""
    async with _cluster(place, THREE) as cluster:
        for node in cluster.nodes:
            node.uri = f"https://moved-{node.node}:1/"
            await node.show()
        after = await cluster.until(
            lambda value: all("moved" in each.uri for each in value.replicas)
        )
        assert (after.uri, after.epoch) == (f"https://moved-{uuid(1)}:1/", 1)


async def test_a_coordinator_that_begins_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as no node says that it lives, none is taken for dead; then they have some time."""
    monkeypatch.setattr(failover_module, "LEASE_TTL_S", 0.3)
    async with _cluster(place, THREE, dead=(1, 2, 3)) as cluster:
        cluster.telling[3].is_dead = False
        await cluster.rest()
        assert cluster.telling[3].calls == []
        for node in reversed(cluster.nodes):
            await node.show()
            await asyncio.sleep(0.02)
        await cluster.rest()
        assert cluster.telling[3].calls == []
        assert await cluster.value() == VALUE


async def test_a_node_is_heard_once_for_many_ranges(place: Place) -> None:
    """Forty ranges of a dead node cost each peer one question, and the coordinator one swap."""
    count = REPLICAS_ASKED_MAX
    ranges = [
        (low, _with_high(high, number=600 + number))
        for number, (low, high) in enumerate(_cut(count))
    ]
    async with _cluster(place, *ranges) as cluster:
        await cluster.rest()
        cluster.telling[1].is_dead = True
        await cluster.nodes[0].die()
        for low, _ in ranges:
            path = keys.RangePath("acme", "orders", low)
            await cluster.until(lambda value: value.epoch == 2, path)
        assert [len(asked) for asked in cluster.telling[2].calls] == [count]
        assert len(await _revisions(place.coordinator, ranges)) == 1


class _Late:
    """A coordinator of a control whose swaps come late: `swap` is set once one is on its way."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.swapping = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._coordinator, name)

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        if any(each.key == PATH.path for each in transaction.compares):
            self.swapping.set()
            await self.go_on.wait()
        return await self._coordinator.commit(transaction, timeout_s=timeout_s)


async def test_two_controls_that_both_believe_they_lead(place: Place) -> None:
    """Whichever swap comes second finds the value changed, and leaves it (B5)."""
    async with _cluster(place, THREE) as cluster:
        late = _Late(place.coordinator)
        deposed = Failovers(
            cluster.leader.control.realm,
            late,  # type: ignore[arg-type] # it passes on what it does not have
            peer_of=TellingNodes.numbered(3).peer,
        )
        believing = cluster.leader.tasks.spawn(
            deposed.run(cluster.leader.control.leader.term()), name="deposed", critical=True
        )
        for telling in cluster.telling.nodes.values():
            telling.is_dead = True  # the leader asks in vain until the other is about to swap
        cluster.telling[3].says = told(9)
        await cluster.nodes[0].die()
        await late.swapping.wait()
        cluster.telling[2].is_dead = cluster.telling[3].is_dead = False
        after = await cluster.until(lambda value: value.epoch == 2)
        late.go_on.set()
        await cluster.rest()
        assert await cluster.value() == after
        assert not believing.done()


def _disks(value: RangePlacement) -> list[str]:
    return [each.incarnation for each in value.replicas]


def _reported(status: values.HeldStatus) -> bytes:
    report = values.HeldReport(range_id=VALUE.range_id, status=status)
    return values.encode(values.NodeTableDetails(status=status, ranges=(report,)))


async def _report(cluster: _Cluster, number: int, status: values.HeldStatus) -> None:
    path = keys.NodeTablePath(keys.ComponentId(uuid(number)), "acme", "orders")
    await cluster.place.coordinator.put(path.path, _reported(status))


async def _boot(cluster: _Cluster, number: int, disk: int) -> None:
    boot = values.NodeBoot(number=2, nonce="m", incarnation=uuid(disk))
    path = keys.NodeBootPath(keys.ComponentId(uuid(number)))
    await cluster.place.coordinator.put(path.path, values.encode(boot))


def _cut(count: int) -> Iterator[tuple[int, int]]:
    """Cut all hashes into as many ranges."""
    width = HASH_MAX // count
    for number in range(count):
        low = number * width
        yield low, HASH_MAX if number == count - 1 else low + width - 1


def _with_high(high_hash: int, *, number: int) -> RangePlacement:
    value = placement(replica(1), replica(2), replica(3), range_number=number)
    return replace(value, high_hash=high_hash)


async def _revisions(
    coordinator: Coordinator, ranges: Sequence[tuple[int, RangePlacement]]
) -> set[Revision]:
    """Tell in how many transactions ranges were written last."""
    found = set()
    for low, _ in ranges:
        placed = await placements.read(coordinator, keys.RangePath("acme", "orders", low))
        assert placed is not None
        found.add(placed.revision)
    return found
