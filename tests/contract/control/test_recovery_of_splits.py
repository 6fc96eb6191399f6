"""A topology that is recovered between the split of a range in the coordinator and in the store.

Control's store has the parent. What there is only the nodes know (ADR 0018).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from dstore.replication.placements import Placed
from dstore.replication.split_calls import Split
from dstore.replication.splitting import children_of
from dstore.service.calls.recollection_calls import Remembered
from dstore.service.control import leader as leader_module
from dstore.service.control import settling as settling_module
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import Revision
from dstore.topology.values import RangePlacement
from tests.contract.control.conftest import Place
from tests.support.control import ControlProcess, eventually, new_table, new_tenant, obedient_nodes
from tests.support.recovering import decided, emptied, range_values, recovered
from tests.support.replicas import TellingNodes, learner, replica
from tests.support.topology import uuid

SPLIT = Split(low_id=uuid(501), high_id=uuid(502), at_hash=1 << 31)
LOW, HIGH = (keys.RangePath("acme", "orders", low_hash).path for low_hash in (0, SPLIT.at_hash))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_module, "LEADER_RETRY_S", 0.1)
    monkeypatch.setattr(settling_module, "RECOLLECTION_RETRY_S", 0.1)


@dataclass(kw_only=True)
class _Cut:
    """A range in epoch 4 that nodes 1 to 3 have in sync, and that was split."""

    nodes: TellingNodes
    parent: RangePlacement
    low: RangePlacement
    high: RangePlacement
    held: dict[str, bytes]

    def remembers_parent(self, number: int, *, is_cut: bool) -> None:
        self.nodes[number].remembered[self.parent.range_id] = Remembered(
            value=values.encode(self.parent),
            revision=90,
            promised_epoch=self.parent.epoch,
            cut=SPLIT if is_cut else None,
        )

    def remembers(self, number: int, child: RangePlacement, *, is_noted: bool) -> None:
        self.nodes[number].remembered[child.range_id] = Remembered(
            value=values.encode(child) if is_noted else b"",
            revision=100 if is_noted else 0,
            promised_epoch=child.epoch if is_noted else self.parent.epoch,  # a ripe seed's
        )


@asynccontextmanager
async def _cut(place: Place) -> AsyncIterator[_Cut]:
    async with obedient_nodes(place.coordinator, await place.store(), 3):
        async with place.leader(ranges_per_table=1, replication_factor=3) as leader:
            await leader.control.tenants.create(new_tenant())
            await leader.control.tables.create(new_table())
            async with asyncio.timeout(10):
                while (await leader.control.survey.status()).topology.waiting_writes:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await leader.kill()
        [made] = (await range_values(place.coordinator)).values()
        replicas = tuple(replica(number) for number in (1, 2, 3))
        parent = replace(made, epoch=4, replicas=replicas, node=uuid(1), uri=replicas[0].uri)
        path = keys.RangePath("acme", "orders", 0)
        before = Placed(path=path, value=parent, revision=Revision(90))
        low, high = (value for _, value in children_of(before, SPLIT))
        all_of_it = await decided(place.coordinator)
        await emptied(place.coordinator)
        yield _Cut(
            nodes=TellingNodes.numbered(3),
            parent=parent,
            low=low,
            high=high,
            held={key: value for key, value in all_of_it.items() if key.startswith("node/")},
        )


async def _recover(place: Place, process: ControlProcess) -> dict[str, RangePlacement]:
    await process.control.recovery.order(actor="operator")
    await recovered(process)
    return await range_values(place.coordinator)


async def _until(
    place: Place, what: Callable[[dict[str, RangePlacement]], bool]
) -> dict[str, RangePlacement]:
    async with asyncio.timeout(10):
        while not what(found := await range_values(place.coordinator)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found


def _are_settled(shown: dict[str, RangePlacement]) -> bool:
    return all(value.is_settled for value in shown.values())


async def test_children_that_nodes_know_are_published(place: Place) -> None:
    """A child has the set under which it acknowledged, another what is ripe; the parent is none."""
    async with _cut(place) as cut:
        smaller = replace(cut.low, epoch=6, replicas=(replica(2), replica(1), learner(3)))
        smaller = replace(smaller, node=uuid(2), uri=replica(2).uri)
        for number, is_cut in ((1, True), (2, False), (3, False)):
            cut.remembers_parent(number, is_cut=is_cut)
            cut.remembers(number, smaller, is_noted=number == 2)
            cut.remembers(number, cut.high, is_noted=False)
        async with place.control(nodes=cut.nodes) as process:
            shown = await _recover(place, process)
            assert shown.keys() == {LOW, HIGH}
            assert shown[LOW] == replace(smaller, epoch=7)
            assert shown[HIGH].range_id == SPLIT.high_id
            assert shown[HIGH].replicas == cut.high.replicas
            assert shown[HIGH].epoch > cut.high.epoch
            now = await decided(place.coordinator)
            assert {key: now[key] for key in cut.held} == cut.held, "the store names the parent"
            await eventually(lambda: process.watcher.view.table("acme", "orders") is not None)


async def test_a_parent_of_whose_split_nobody_knows_goes_on(place: Place) -> None:
    """All who counted say that they have begun with no child: none has acknowledged anything."""
    async with _cut(place) as cut:
        for number in (1, 2, 3):
            cut.remembers_parent(number, is_cut=False)
            cut.remembers(number, cut.low, is_noted=False)
            cut.remembers(number, cut.high, is_noted=False)
        async with place.control(nodes=cut.nodes) as process:
            assert await _recover(place, process) == {LOW: replace(cut.parent, epoch=5)}


async def test_a_parent_waits_for_those_who_may_know_of_children(place: Place) -> None:
    """Until then it is opened by nobody; then its children are what there is."""
    async with _cut(place) as cut:
        for number in (1, 2, 3):
            cut.remembers_parent(number, is_cut=number != 3)
            for child in (cut.low, cut.high):
                cut.remembers(number, child, is_noted=number == 1)
        cut.nodes[1].is_dead = cut.nodes[2].is_dead = True
        async with place.control(nodes=cut.nodes) as process:
            shown = await _recover(place, process)
            assert shown.keys() == {LOW}
            assert shown[LOW].range_id == cut.parent.range_id
            assert not shown[LOW].is_settled
            cut.nodes[2].is_dead = False
            shown = await _until(place, lambda shown: len(shown) == 2)
            assert [each.range_id for each in shown.values()] == [SPLIT.low_id, SPLIT.high_id]
            assert not any(each.is_settled for each in shown.values()), "their primary may know"
            cut.nodes[1].is_dead = False
            shown = await _until(place, _are_settled)
            assert [each.range_id for each in shown.values()] == [SPLIT.low_id, SPLIT.high_id]
            assert all(each.in_sync == cut.low.replicas for each in shown.values())


async def test_who_has_no_ripe_seed_learns_its_child(place: Place) -> None:
    """A node whose disk was lost holds nothing of a child, whatever set the parent had."""
    async with _cut(place) as cut:
        for number in (1, 2):
            cut.remembers_parent(number, is_cut=number == 1)
            cut.remembers(number, cut.low, is_noted=False)
            cut.remembers(number, cut.high, is_noted=False)
        async with place.control(nodes=cut.nodes) as process:
            shown = await _recover(place, process)
            for value in shown.values():
                assert value.is_settled
                assert [each.node for each in value.in_sync] == [uuid(1), uuid(2)]
