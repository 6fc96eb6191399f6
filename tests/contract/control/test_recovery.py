"""Control's store published anew into a coordinator that is empty or older than what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from dstore.base.limits import COORDINATOR_TIMEOUT_S
from dstore.model.errors import RefusalKind, Refused
from dstore.model.status import ResourceStatus
from dstore.security.identity import ComponentRole
from dstore.service.calls.control_calls import DeleteTable
from dstore.service.calls.recollection_calls import Remembered
from dstore.service.control import leader as leader_module
from dstore.service.control import settling as settling_module
from dstore.service.control.leader import NotLeading
from dstore.service.control.status import RecoveryState
from dstore.storage.control import audit, planes, tables
from dstore.storage.control.components import NODES
from dstore.storage.control.records import NodeUuid, RangeId, TableRecord
from dstore.storage.control.store import Transaction as StoreTransaction
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import (
    Coordinator,
    CoordinatorUnavailable,
    OutcomeUnknown,
    Transaction,
    TransactionResult,
)
from dstore.topology.status import TopologyState
from tests.contract.control.conftest import Place
from tests.support import control_records, replicas
from tests.support.control import (
    ControlProcess,
    ObedientNode,
    eventually,
    new_table,
    new_tenant,
    obedient_nodes,
)
from tests.support.recovering import decided, emptied, range_values, recovered
from tests.support.replicas import TellingNodes
from tests.support.topology import uuid

TABLES = ("orders", "people", "things")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_module, "LEADER_RETRY_S", 0.1)
    monkeypatch.setattr(settling_module, "RECOLLECTION_RETRY_S", 0.1)


class _Dying:
    """A coordinator that is gone after so many of a leader's writes, before or after the last."""

    def __init__(self, coordinator: Coordinator, *, writes: int, is_last_done: bool) -> None:
        self._coordinator = coordinator
        self._left = writes
        self._is_last_done = is_last_done
        self.is_gone = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coordinator, name)

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        is_ours = any(each.key == keys.LEADER.path for each in transaction.compares)
        if not is_ours or not transaction.then or transaction.then[0].key == keys.LEADER.path:
            return await self._coordinator.commit(transaction, timeout_s=timeout_s)
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._is_last_done):
            self.is_gone = True
            raise CoordinatorUnavailable("It is gone.")
        result = await self._coordinator.commit(transaction, timeout_s=timeout_s)
        if self._left == 0:
            self.is_gone = True
            raise CoordinatorUnavailable("It is gone.")
        return result


class _Late:
    """A coordinator that does the first write of ranges when it is told to; nobody hears of it."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._late: Transaction | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coordinator, name)

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        written = [keys.parse(each.key) for each in transaction.then]
        if self._late is None and any(isinstance(each, keys.RangePath) for each in written):
            self._late = transaction
            raise OutcomeUnknown("It is on its way.")
        return await self._coordinator.commit(transaction, timeout_s=timeout_s)

    async def do_late(self) -> None:
        assert self._late is not None
        await self._coordinator.commit(self._late)


@dataclass(frozen=True, kw_only=True)
class _Cluster:
    place: Place
    nodes: tuple[ObedientNode, ...]


@asynccontextmanager
async def _made(place: Place) -> AsyncIterator[_Cluster]:
    """Make a tenant with tables on two nodes, and leave no control running."""
    async with obedient_nodes(place.coordinator, await place.store(), 2) as nodes:
        async with place.leader(ranges_per_table=2) as leader:
            await leader.control.tenants.create(new_tenant())
            for number, name in enumerate(TABLES):
                made = await leader.control.tables.create(new_table(name, number=100 + number))
                assert made.status is ResourceStatus.ACTIVE
            await leader.control.tables.delete(
                DeleteTable(tenant="acme", name="things", table_id=uuid(102))
            )
            await _published(leader)
            await leader.kill()
        yield _Cluster(place=place, nodes=nodes)


async def _published(leader: ControlProcess) -> None:
    """Wait until the coordinator has all, and the store knows it."""
    async with asyncio.timeout(10):
        while (await leader.control.survey.status()).topology.waiting_writes:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _epochs(known: dict[str, bytes]) -> set[int]:
    found = {keys.parse(key): value for key, value in known.items()}
    return {
        values.decode(path, value).epoch
        for path, value in found.items()
        if isinstance(path, keys.RangePath)
    }


def _but_for_places(known: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out the epochs, and what a control that never saw the nodes can't know."""
    made = {}
    for key, value in known.items():
        path = keys.parse(key)
        if isinstance(path, keys.RangePath):
            placed = values.decode(path, value)
            made[key] = f"{placed.node} {placed.range_id} {placed.table_id}".encode()
        else:
            made[key] = value
    return made


async def test_an_empty_coordinator_is_filled(place: Place) -> None:
    """All that the store has is there again, in higher epochs; writes go on; it is written down."""
    async with _made(place) as cluster:
        before = await decided(place.coordinator)
        await emptied(place.coordinator)
        async with place.control() as process:
            await eventually(lambda: "is empty" in process.control.leader.problem)
            assert "recover-topology" in process.control.leader.problem
            report = await process.control.recovery.report()
            assert (report.state, report.tables, report.ranges) == (RecoveryState.NEEDED, 2, 4)
            assert await decided(place.coordinator) == {}, "a look changes nothing"
            await process.control.recovery.order(actor="operator")
            await recovered(process)
            after = await decided(place.coordinator)
            assert _but_for_places(after) == _but_for_places(before)
            assert _epochs(before) == {1}
            assert _epochs(after) == {2}
            claim = (await place.coordinator.get(keys.PLANE.path)).kv
            assert claim is not None
            assert values.decode(keys.PLANE, claim.value).recoveries == 1
            for node in cluster.nodes:
                await node.show()
            await eventually(lambda: process.watcher.view.table("acme", "orders") is not None)
            await eventually(lambda: _are_alive(process, cluster))
            made = await process.control.tables.create(new_table("later", number=110))
            assert made.status is ResourceStatus.ACTIVE
            async with process.plane.store.snapshot() as tx:
                written = [each.entry.action for each in (await audit.page(tx)).records]
            assert written.count("recover_topology") == 1


async def test_places_are_learned_from_nodes_that_come_back(place: Place) -> None:
    """A range of a node that nobody saw names no disk, until the node says which it has."""
    async with _made(place) as cluster:
        await emptied(place.coordinator)
        async with place.control() as process:
            await process.control.recovery.order(actor="operator")
            await recovered(process)
            for node in cluster.nodes:
                node.uri = f"https://moved-{node.node}:1/"
                await node.show()

            def places() -> set[tuple[str, str]]:
                table = process.watcher.view.table("acme", "orders")
                assert table is not None
                return {
                    (one.placement.uri, one.placement.replicas[0].incarnation)
                    for one in table.ranges
                }

            expected = {(node.uri, uuid(900)) for node in cluster.nodes}
            await eventually(lambda: process.watcher.view.table("acme", "orders"))
            await eventually(lambda: places() == expected)
            assert uuid(900) != values.NO_INCARNATION


async def test_an_older_copy_is_brought_up_to_date(place: Place) -> None:
    """What was made since comes back, what was deleted since goes; both by the store."""
    async with _made(place):
        before = await decided(place.coordinator)
        # As of the day on which there were people and things, and no orders.
        for key in [key for key in before if "orders" in key]:
            await place.coordinator.delete(key)
        old = keys.TablePath("acme", "things")
        await place.coordinator.put(old.path, before["table/acme/people"])
        gone = keys.NodeBootPath(keys.ComponentId(uuid(77)))
        await place.coordinator.put(gone.path, b"{}")
        await place.coordinator.put(
            keys.PUBLISHED.path, values.encode(values.Published(sequence=1))
        )
        async with place.control() as process:
            await eventually(lambda: "the coordinator is an old one" in _problem(process))
            await process.control.recovery.order(actor="operator")
            await recovered(process)
            after = await decided(place.coordinator)
            assert _but_for_places(after) == _but_for_places(before)
            assert (await place.coordinator.get(gone.path)).kv is None


def _are_alive(process: ControlProcess, cluster: _Cluster) -> bool:
    """Tell whether a control sees all of its nodes."""
    seen = [process.watcher.view.node(one.node) for one in cluster.nodes]
    return all(one is not None and one.alive is not None for one in seen)


def _problem(process: ControlProcess) -> str:
    return process.control.leader.problem


async def test_it_is_refused_where_nothing_is_wrong(place: Place) -> None:
    """An order without need raises no epoch and publishes nothing."""
    async with _made(place), place.leader() as leader:
        before = await decided(place.coordinator)
        report = await leader.control.recovery.report()
        assert report.state is RecoveryState.NOT_NEEDED
        with pytest.raises(Refused, match="nothing to recover") as refused:
            await leader.control.recovery.order(actor="operator")
        assert refused.value.kind is RefusalKind.CONFLICT
        assert await decided(place.coordinator) == before


@pytest.mark.parametrize("is_of_another_plane", [True, False])
async def test_an_old_store_is_published_nowhere(
    place: Place, *, is_of_another_plane: bool
) -> None:
    """What the coordinator shows and the store lacks would be withdrawn; nor is another's taken."""
    async with _made(place):
        if is_of_another_plane:
            claim = values.encode(values.Plane(control_plane=uuid(5)))
            await place.coordinator.put(keys.PLANE.path, claim)
        else:
            ahead = values.encode(values.Published(sequence=10_000))
            await place.coordinator.put(keys.PUBLISHED.path, ahead)
        async with place.control() as process:
            await eventually(lambda: _problem(process))
            report = await process.control.recovery.report()
            assert report.state is RecoveryState.IMPOSSIBLE
            with pytest.raises(Refused):
                await process.control.recovery.order(actor="operator")


@pytest.mark.parametrize("is_last_done", [True, False])
async def test_a_recovery_that_dies_is_finished(place: Place, *, is_last_done: bool) -> None:
    """Whichever write the leader dies at, the next one brings it to the same end, once."""
    async with _made(place):
        before = await decided(place.coordinator)
        for writes in range(1, 5):
            await emptied(place.coordinator)
            dying = _Dying(place.coordinator, writes=writes, is_last_done=is_last_done)
            async with place.control(coordinator=dying) as process:
                await process.control.recovery.order(actor="operator")
                again = await process.control.recovery.order(actor="operator")
                assert again.state is RecoveryState.UNDER_WAY
                async with asyncio.timeout(20):
                    while not dying.is_gone:
                        report = await process.control.recovery.report()
                        if report.state is RecoveryState.NOT_NEEDED:
                            break  # it had fewer writes than that
                        await asyncio.sleep(0.02)
                await process.kill()
            async with place.control() as next_one:
                await recovered(next_one)
                after = await decided(place.coordinator)
                assert _but_for_places(after) == _but_for_places(before)
                assert _epochs(after) == {writes + 1}, "raised once by each order"
                await next_one.kill()


async def test_a_write_of_a_recovery_that_is_done_late(place: Place) -> None:
    """B6: by then a primary has changed its range, and may have acknowledged by that."""
    async with _made(place):
        await emptied(place.coordinator)
        late = _Late(place.coordinator)
        async with place.control(coordinator=late) as process:
            await process.control.recovery.order(actor="operator")
            await recovered(process)
            [(key, value), *_] = (await range_values(place.coordinator)).items()
            now = replace(value, epoch=value.epoch + 1)
            await place.coordinator.put(key, values.encode(now))
            await late.do_late()
            assert (await range_values(place.coordinator))[key] == now


async def test_a_leader_of_before_writes_no_more(place: Place) -> None:
    """Epochs of the lost coordinator are high, and its leader may still believe that it leads."""
    async with _made(place):
        async with place.leader() as old:
            term = old.control.leader.term()
            await old.kill()
        async with place.control() as process:
            await eventually(lambda: process.leads)
            await process.kill()
            await emptied(place.coordinator)
            await process.control.recovery.order(actor="operator")
            store = await place.store()
            async with store.transaction() as tx:
                await planes.act_as_leader(tx, 1, recoveries=1)
            with pytest.raises(NotLeading):
                async with term.transaction() as tx:
                    await tables.delete(tx, (await _some_table(place)).table_id)


async def _some_table(place: Place) -> TableRecord:
    store = await place.store()
    async with store.snapshot() as tx:
        found = await tables.get(tx, "acme", "orders")
    assert found is not None
    return found


async def test_keys_deleted_under_a_running_control(place: Place) -> None:
    """Whoever deletes all keys by hand stops everything; a recovery lets the same process go on."""
    async with _made(place) as cluster, place.leader() as leader:
        await eventually(lambda: leader.watcher.view.table("acme", "orders"))
        await emptied(place.coordinator)
        await eventually(lambda: leader.watcher.status().state is TopologyState.FROZEN)
        assert leader.watcher.view.table("acme", "orders") is not None, "the last view stands"
        problems = (await leader.control.survey.status()).problems
        assert any("recover-topology" in problem for problem in problems)
        await eventually(lambda: "is empty" in _problem(leader))
        await leader.control.recovery.order(actor="operator")
        await recovered(leader)
        await eventually(lambda: leader.watcher.status().state is TopologyState.LIVE)
        table = leader.watcher.view.table("acme", "orders")
        assert table is not None
        assert {one.placement.epoch for one in table.ranges} == {2}
        # It still knew which disks the nodes have.
        incarnations = {one.placement.replicas[0].incarnation for one in table.ranges}
        assert incarnations == {uuid(900)}
        for node in cluster.nodes:
            await node.show()
        own = keys.DetailsPath(ComponentRole.CONTROL, keys.ComponentId(leader.plane.process))
        async with asyncio.timeout(10):
            while (await place.coordinator.get(own.path)).kv is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await eventually(lambda: _are_alive(leader, cluster))
        made = await leader.control.tables.create(new_table("later", number=110))
        assert made.is_done


async def test_any_control_takes_the_order(place: Place) -> None:
    """One that does not lead writes it down, whichever leads carries it out, and all go on."""
    async with _made(place) as cluster, place.leader() as first, place.control() as second:
        both = (first, second)
        await eventually(lambda: second.watcher.view.table("acme", "orders"))
        await emptied(place.coordinator)
        for one in both:
            await eventually(lambda one=one: one.watcher.status().state is TopologyState.FROZEN)  # type: ignore[misc]
        ordered = await asyncio.gather(
            *(one.control.recovery.order(actor="operator") for one in both)
        )
        assert {report.state for report in ordered} == {RecoveryState.UNDER_WAY}
        for one in both:
            await eventually(lambda one=one: one.watcher.status().state is TopologyState.LIVE)  # type: ignore[misc]
        await eventually(lambda: any(one.leads for one in both))
        assert _epochs(await decided(place.coordinator)) == {2}, "it was ordered once"
        for node in cluster.nodes:
            await node.show()
        await eventually(lambda: all(_are_alive(one, cluster) for one in both))
        leader = next(one for one in both if one.leads)
        made = await leader.control.tables.create(new_table("later", number=110))
        assert made.is_done


def _remembering(value: values.RangePlacement, *, revision: int) -> Remembered:
    return Remembered(value=values.encode(value), revision=revision, promised_epoch=value.epoch)


async def test_what_nodes_remember_is_published(place: Place) -> None:
    """A range that has another primary and set by now has them still, in a newer epoch."""
    async with _made(place):
        before = await range_values(place.coordinator)
        moved, *others = before
        now = replicas.placement(
            replicas.replica(2), replicas.learner(1), replicas.replica(3), epoch=7
        )
        now = replace(
            now,
            table_id=before[moved].table_id,
            range_id=before[moved].range_id,
            high_hash=before[moved].high_hash,
        )
        nodes = TellingNodes.numbered(3)
        for number, revision in ((1, 90), (2, 100)):
            noted = now if number == 2 else replace(before[moved], epoch=6)
            nodes[number].remembered[now.range_id] = _remembering(noted, revision=revision)
        async with place.leader() as leader:  # which is to know that node 3 has a replica
            async with leader.control.realm.change() as tx:
                for number in (1, 2, 3):
                    await _meant(tx, now.range_id, number)
            await leader.kill()
        nodes[3].remembered[now.range_id] = _remembering(now, revision=100)
        await emptied(place.coordinator)
        async with place.control(nodes=nodes) as process:
            await process.control.recovery.order(actor="operator")
            await recovered(process)
            after = await range_values(place.coordinator)
            assert after[moved] == replace(now, epoch=8)
            for key in others:
                assert after[key].node == before[key].node


async def test_a_range_is_settled_when_who_counts_is_back(place: Place) -> None:
    """Until then it is there, and nobody can open it; all others are."""
    async with _made(place) as cluster:
        before = await range_values(place.coordinator)
        on_first = {key for key, value in before.items() if value.node == uuid(1)}
        nodes = TellingNodes.numbered(2)
        nodes[1].is_dead = True
        await emptied(place.coordinator)
        async with place.control(nodes=nodes) as process:
            await process.control.recovery.order(actor="operator")
            await recovered(process)
            for node in cluster.nodes:
                await node.show()
            await eventually(lambda: _are_alive(process, cluster))
            after = await range_values(place.coordinator)
            assert {key for key, value in after.items() if not value.is_settled} == on_first
            report = await process.control.recovery.report()
            assert f"{len(on_first)} ranges" in report.why
            nodes[1].is_dead = False
            async with asyncio.timeout(10):
                while not all(  # noqa: ASYNC110
                    value.is_settled for value in (await range_values(place.coordinator)).values()
                ):
                    await asyncio.sleep(0.02)
            settled = await range_values(place.coordinator)
            assert {key: value.node for key, value in settled.items()} == {
                key: value.node for key, value in before.items()
            }
            for key in on_first:
                assert settled[key].epoch > after[key].epoch


async def _meant(tx: StoreTransaction, range_id: str, number: int) -> None:
    """Have the store say that a node is to have a replica."""
    node = NodeUuid(uuid(number))
    if await NODES.get(tx, node) is None:
        await NODES.insert(tx, control_records.node(node))
    if await tables.get_replica(tx, RangeId(range_id), node) is None:
        await tables.add_replica(tx, RangeId(range_id), node)
