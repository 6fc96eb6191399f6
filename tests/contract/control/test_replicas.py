"""Tables whose ranges are on several nodes: made, shown, waited for and deleted."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from dstore.model.errors import RefusalKind, Refused
from dstore.model.keys import KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.stored_definition import StoredKey
from dstore.replication.placements import with_state
from dstore.service.calls.control_calls import DeclareTable, DeleteTable
from dstore.service.control.status import Health
from dstore.storage.control import tables
from dstore.storage.control.records import NodeUuid, RangeId
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.view import TableView
from tests.contract.control.conftest import Place
from tests.support.control import (
    ControlProcess,
    ObedientNode,
    eventually,
    new_table,
    new_tenant,
    obedient_nodes,
)
from tests.support.topology import uuid


async def _dies(leader: ControlProcess, node: ObedientNode) -> None:
    await node.die()
    await eventually(
        lambda: (seen := leader.watcher.view.node(node.node)) is not None and seen.alive is None
    )


def _table(leader: ControlProcess, name: str = "orders") -> TableView:
    found = leader.watcher.view.table("acme", name)
    assert found is not None
    return found


def _is_active(leader: ControlProcess) -> bool:
    return _table(leader).status is ResourceStatus.ACTIVE


async def test_a_range_has_replicas_on_several_nodes(place: Place) -> None:
    """Each is in sync from the beginning, named to its node, and of the epoch and disk there is."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 4) as nodes,
        place.leader(replication_factor=3) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        made = await leader.control.tables.create(new_table())
        assert made.status is ResourceStatus.ACTIVE
        ranges = _table(leader).ranges
        assert len(ranges) == 4
        zones = {str(node.node): node.zone for node in nodes}
        for placed in ranges:
            value = placed.placement
            named = [replica.node for replica in value.replicas]
            assert (value.factor, value.min_in_sync, len(set(named))) == (3, 2, 3)
            assert value.in_sync == value.replicas
            assert named == sorted(named), "one order, so that views share what is equal"
            assert {zones[node] for node in named} == {"a", "b"}
            uris = {str(node.node): node.uri for node in nodes}
            assert {(each.node, each.uri) for each in value.replicas} == {
                (node, uris[node]) for node in named
            }
        assert Counter(placed.placement.node for placed in ranges) == dict.fromkeys(zones, 1)
        for node in nodes:
            assert [
                (each.low_hash, each.range_id) for each in node.held["acme", "orders"].ranges
            ] == [
                (placed.low_hash, placed.range_id)
                for placed in ranges
                if node.node in {replica.node for replica in placed.placement.replicas}
            ]
        async with leader.plane.store.snapshot() as tx:
            kept = await tables.replicas(tx, _table(leader).definition.table_id)
        assert {(each.range_id, each.node) for each in kept} == {
            (placed.range_id, replica.node)
            for placed in ranges
            for replica in placed.placement.replicas
        }


async def test_a_table_has_a_factor_of_its_own(place: Place) -> None:
    """It overrules the cluster's; with fewer nodes there are as many replicas as nodes."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2),
        place.leader(replication_factor=1, ranges_per_table=1) as leader,
    ):
        create = leader.control.tables.create
        await leader.control.tenants.create(new_tenant())
        await create(new_table("one"))
        await create(new_table("two", number=101, factor=2))
        await create(new_table("five", number=102, factor=5))
        factors = [
            (table.ranges[0].placement.factor, table.definition.settings.replication_factor)
            for table in (_table(leader, name) for name in ("one", "two", "five"))
        ]
        assert factors == [(1, None), (2, 2), (2, 5)]
        with pytest.raises(Refused, match="1 to 5") as beyond:
            await create(new_table("six", number=103, factor=6))
        assert beyond.value.kind is RefusalKind.INVALID
        assert not (await create(new_table("two", number=104))).is_done, "the same, left as it is"
        assert not (await create(new_table("two", number=104, factor=2))).is_done
        with pytest.raises(Refused, match="replicationFactor") as other:
            await create(new_table("two", number=104, factor=3))
        assert other.value.kind is RefusalKind.CONFLICT
        with pytest.raises(Refused, match="replicationFactor"):
            await create(new_table("one", number=105, factor=1))


async def test_a_dynamodb_table_has_the_factor_of_the_cluster(place: Place) -> None:
    """CreateTable has no word for it."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3),
        place.leader(replication_factor=3, ranges_per_table=1) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.declare(
            DeclareTable(
                tenant="acme",
                name="orders",
                table_id=uuid(100),
                partition=StoredKey("id", KeyKind.STRING),
            )
        )
        [placed] = _table(leader).ranges
        assert (placed.placement.factor, len(placed.placement.in_sync)) == (3, 3)


async def test_a_node_that_dies_does_not_hold_a_creation_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it lives it is waited for; once it is dead a majority of the replicas is enough."""
    monkeypatch.setattr("dstore.service.control.tables.SETTLED_TIMEOUT_S", 0.2)
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3) as nodes,
        place.leader(replication_factor=3, ranges_per_table=1) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        nodes[2].is_obedient = nodes[1].is_obedient = False
        made = await leader.control.tables.create(new_table())
        [placed] = _table(leader).ranges
        assert made.status is ResourceStatus.CREATING
        first, *others = sorted(nodes, key=lambda node: node.node != placed.placement.node)
        assert first.is_obedient, "the primary of the first table is on the first of equal nodes"
        await _dies(leader, others[0])
        assert not _is_active(leader), "one of three is no majority"
        await others[1].report_all()
        await eventually(lambda: _is_active(leader))


async def test_a_silent_replica_is_waited_for_only_so_long(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A living node that never says that it holds its replica learns later, as any other does."""
    monkeypatch.setattr("dstore.service.control.tables.SETTLED_TIMEOUT_S", 0.2)
    monkeypatch.setattr("dstore.service.control.observer.CREATION_GRACE_S", 0.5)
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3) as nodes,
        place.leader(replication_factor=3, ranges_per_table=1) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        nodes[2].is_obedient = False
        await leader.control.tables.create(new_table())
        await eventually(lambda: _is_active(leader))


async def test_a_silent_primary_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it there is nobody to write to, however many others hold the range."""
    monkeypatch.setattr("dstore.service.control.tables.SETTLED_TIMEOUT_S", 0.5)
    monkeypatch.setattr("dstore.service.control.observer.CREATION_GRACE_S", 0.0)
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3) as nodes,
        place.leader(replication_factor=3, ranges_per_table=1) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        nodes[0].is_obedient = False
        made = await leader.control.tables.create(new_table())
        assert made.status is ResourceStatus.CREATING
        [placed] = _table(leader).ranges
        assert placed.placement.node == nodes[0].node
        await nodes[0].report_all()
        await eventually(lambda: _is_active(leader))


async def test_every_node_lets_go_of_a_deleted_table(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion waits for secondaries as for primaries, and takes every key of the table."""
    monkeypatch.setattr("dstore.service.control.tables.SETTLED_TIMEOUT_S", 0.2)
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3) as nodes,
        place.leader(replication_factor=3, ranges_per_table=1) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        [placed] = _table(leader).ranges
        last = next(node for node in nodes if node.node != placed.placement.node)
        last.is_obedient = False
        ask = DeleteTable(tenant="acme", name="orders", table_id=uuid(100))
        assert not (await leader.control.tables.delete(ask)).is_done
        assert [node.held for node in nodes] == [{}, {}, {}]
        await place.coordinator.delete(keys.NodeTablePath(last.node, "acme", "orders").path)
        await eventually(lambda: leader.watcher.view.table("acme", "orders") is None)
        listing = await place.coordinator.list(keys.EVERYTHING)
        assert not [kv.key for kv in listing.kvs if "orders" in kv.key]
        async with leader.plane.store.snapshot() as tx:
            assert await tables.replicas_by_node(tx) == {}


async def test_a_primary_that_moved_is_deleted_like_any(place: Place) -> None:
    """What nodes have done to a range's value since it was made changes nothing about its end."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3) as nodes,
        place.leader(replication_factor=3, ranges_per_table=1) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        [placed] = _table(leader).ranges
        value = placed.placement
        [to, left] = [each for each in value.replicas if each.node != value.node]
        swapped = msgspec.structs.replace(
            value,
            node=to.node,
            uri=to.uri,
            epoch=2,
            replicas=tuple(
                msgspec.structs.replace(each, state=values.ReplicaState.LEARNER)
                if each is left
                else each
                for each in value.replicas
            ),
        )
        path = keys.RangePath("acme", "orders", 0)
        await place.coordinator.put(path.path, values.encode(swapped))
        ask = DeleteTable(tenant="acme", name="orders", table_id=uuid(100))
        assert (await leader.control.tables.delete(ask)).is_done
        assert [node.held for node in nodes] == [{}, {}, {}]


async def test_the_page_says_what_replicas_are_worth(place: Place) -> None:
    """Counted from the values that primaries change: who is in sync and lives."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3) as nodes,
        place.leader(replication_factor=3, ranges_per_table=1) as leader,
    ):
        survey = leader.control.survey
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        status = await survey.status()
        assert (status.failures_survivable, status.failures_without_loss) == (1, 2)
        assert (status.sentence, status.problems) == ("1 node failure survivable.", ())
        [placed] = _table(leader).ranges
        first, *others = sorted(nodes, key=lambda node: node.node != placed.placement.node)
        loads = {row.uuid: (row.ranges, row.primaries) for row in await survey.nodes()}
        assert loads == {first.node: (1, 1), others[0].node: (1, 0), others[1].node: (1, 0)}
        [row] = (await survey.node(others[0].node))[1]
        assert (row.node, row.why, row.factor, row.min_in_sync) == (first.node, "", 3, 2)
        assert [(each.state, each.held, each.is_alive) for each in row.replicas] == [
            ("in_sync", "okay", True)
        ] * 3
        await _dies(leader, others[0])
        status = await survey.status()
        assert (status.failures_survivable, status.failures_without_loss) == (0, 1)
        assert (status.ranges.under_replicated, status.ranges.read_only) == (1, 0)
        assert any("fewer replicas" in problem for problem in status.problems)
        [row] = (await survey.placement(tenant="acme")).ranges
        assert (row.is_under_replicated, row.is_read_only) == (True, False)
        assert others[0].node in row.why
        await _dies(leader, others[1])
        status = await survey.status()
        assert (status.failures_survivable, status.failures_without_loss) == (-1, 0)
        assert (status.ranges.read_only, status.ranges.unavailable) == (1, 0)
        assert "read-only" in status.sentence
        page = await survey.placement(tenant="acme")
        assert page.ranges[0].is_read_only
        assert "read-only" in page.tables[0].why
        await _dies(leader, first)
        status = await survey.status()
        assert (status.ranges.read_only, status.ranges.unavailable) == (0, 1)
        assert "no living replica" in status.sentence


async def test_a_set_that_has_shrunk_counts_for_what_it_is(place: Place) -> None:
    """A replica that is alive and has not everything is no copy to rely on."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 3),
        place.leader(replication_factor=3, ranges_per_table=1) as leader,
    ):
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        [placed] = _table(leader).ranges
        value = placed.placement
        left = next(each for each in value.replicas if each.node != value.node)
        smaller = with_state(value, {left.node}, values.ReplicaState.LEARNER)
        path = keys.RangePath("acme", "orders", 0)
        revision = await place.coordinator.put(path.path, values.encode(smaller))
        await leader.watcher.reached(revision)
        status = await leader.control.survey.status()
        assert (status.failures_survivable, status.failures_without_loss) == (0, 1)
        assert "with one more node down" in status.sentence
        [row] = (await leader.control.survey.placement(tenant="acme")).ranges
        assert left.node in row.why
        assert "not in sync" in row.why


async def test_a_node_with_a_replica_is_not_removed(place: Place) -> None:
    """Neither while control wants one there, nor while a range's value names the node."""
    async with (
        obedient_nodes(place.coordinator, await place.store(), 2) as nodes,
        place.leader(replication_factor=2, ranges_per_table=1) as leader,
    ):
        survey = leader.control.survey
        await leader.control.tenants.create(new_tenant())
        await leader.control.tables.create(new_table())
        [placed] = _table(leader).ranges
        value = placed.placement
        node = NodeUuid(next(str(each.node) for each in nodes if each.node != value.node))
        with pytest.raises(Refused, match="replicas of 1, and of 0 it is the primary") as refused:
            await survey.remove_node(node, actor="x")
        assert refused.value.kind is RefusalKind.CONFLICT
        range_id = RangeId(placed.range_id)
        async with leader.control.leader.term().transaction() as tx:
            await tables.mark_leaving(tx, range_id, node)
        with pytest.raises(Refused, match="still has ranges"):
            await survey.remove_node(node, actor="x")
        async with leader.control.leader.term().transaction() as tx:
            assert await tables.remove_replica(tx, range_id, node)
        with pytest.raises(Refused, match="has not yet"):
            await survey.remove_node(node, actor="x")
        alone = msgspec.structs.replace(
            value, factor=1, replicas=tuple(each for each in value.replicas if each.node != node)
        )
        path = keys.RangePath("acme", "orders", 0)
        revision = await place.coordinator.put(path.path, values.encode(alone))
        await leader.watcher.reached(revision)
        assert (await survey.remove_node(node, actor="x")).health is Health.REMOVED
