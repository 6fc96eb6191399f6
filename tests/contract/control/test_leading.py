"""One leader at a time changes and publishes, whatever processes believe and whenever they die."""

from __future__ import annotations

import asyncio

import pytest

from dstore.base.entropy import SystemEntropy
from dstore.base.tasks import Tasks
from dstore.model.errors import Unavailable, Unknown
from dstore.model.status import ResourceStatus
from dstore.service.control import compaction
from dstore.service.control.leader import NotLeading, Term
from dstore.service.control.publisher import Publisher
from dstore.storage.control import outbox, planes
from dstore.storage.control.records import Publication
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import (
    Compacted,
    CoordinatorUnavailable,
    CreateRevisionIs,
    Revision,
)
from tests.contract.control.conftest import Place
from tests.support import topology
from tests.support.control import (
    WAIT_S_MAX,
    ControlProcess,
    eventually,
    new_table,
    new_tenant,
    obedient_nodes,
)
from tests.support.flaky_coordinator import FlakyCoordinator, Mood
from tests.support.replicas import TellingNodes
from tests.support.topology import uuid


async def _term(place: Place, process: ControlProcess) -> Term:
    """Become leader by hand: a new leader's key, whoever held it."""
    await place.coordinator.delete(keys.LEADER.path)
    value = values.encode(values.Leader(control=process.plane.process, uri="https://x:1/"))
    epoch = await place.coordinator.put(keys.LEADER.path, value)
    fence = CreateRevisionIs(key=keys.LEADER.path, revision=epoch)
    return Term(epoch=epoch, plane=process.plane, fence=fence)


async def _append(term: Term, name: str) -> int:
    async with term.transaction() as tx:
        return await outbox.append(tx, [Publication(key=f"test/{name}", value=name.encode())])


async def test_only_the_last_leader_publishes(place: Place) -> None:
    """Of two that both believe they lead, the older one writes neither store nor coordinator."""
    async with place.control() as process:
        await process.kill()
        entropy = SystemEntropy()
        store = await place.store()
        old = await _term(place, process)
        publishers = [
            Publisher(
                store,
                place.coordinator,
                plane=process.plane.uuid,
                watcher=process.watcher,
                nodes=TellingNodes.numbered(0),
                entropy=entropy,
            )
            for _ in range(2)
        ]
        await publishers[0].begin(old)
        await _append(old, "first")
        new = await _term(place, process)  # the old one has not heard
        with pytest.raises(NotLeading):
            await publishers[0].run(old)
        assert (await place.coordinator.get("test/first")).kv is None
        await publishers[1].begin(new)
        with pytest.raises(NotLeading):
            await _append(old, "late")
        sequence = await _append(new, "second")
        tasks = Tasks(lambda _: None)
        tasks.spawn(publishers[1].run(new), name="publisher")
        await publishers[1].published(sequence)
        await tasks.close()
        listing = await place.coordinator.list("test/")
        assert {kv.key: kv.value for kv in listing.kvs} == {
            "test/first": b"first",
            "test/second": b"second",
        }, "what the old one had recorded in its time counts"


async def test_the_next_leader_publishes_what_was_recorded(place: Place) -> None:
    """A leader that dies between the store's commit and the publication loses nothing."""
    flaky = FlakyCoordinator(place.coordinator)
    async with obedient_nodes(place.coordinator, await place.store()):
        async with place.control(coordinator=flaky) as first:
            await eventually(lambda: first.leads)
            await first.control.tenants.create(new_tenant())
            flaky.mood = Mood.HANGING
            asking = first.tasks.spawn(first.control.tables.create(new_table()), name="asking")
            await eventually(lambda: flaky.publications > 1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await first.kill()
        assert (await place.coordinator.get("table/acme/orders")).kv is None
        async with place.leader() as second:
            again = await second.control.tables.create(new_table())
            assert (again.is_done, again.status) == (True, ResourceStatus.ACTIVE)


async def test_a_coordinator_away_is_said_aloud(place: Place) -> None:
    """A table made while nothing can be published is Unknown, then there; asking again is safe."""
    flaky = FlakyCoordinator(place.coordinator)
    async with (
        obedient_nodes(place.coordinator, await place.store()),
        place.control(coordinator=flaky) as leader,
    ):
        await eventually(lambda: leader.leads)
        await leader.control.tenants.create(new_tenant())
        flaky.mood = Mood.AWAY
        with pytest.raises(Unknown, match="recorded"):
            await leader.control.tables.create(new_table())
        placement = await leader.control.survey.placement(tenant="acme")
        assert "not published" in placement.tables[0].why
        status = await leader.control.survey.status()
        assert status.topology.waiting_writes > 0
        flaky.mood = Mood.FINE
        again = await leader.control.tables.create(new_table())
        assert (again.is_done, again.status) == (True, ResourceStatus.ACTIVE)
        drained = leader.control.survey.status
        async with asyncio.timeout(WAIT_S_MAX):
            while (await drained()).topology.waiting_writes:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)


async def test_a_lost_answer_publishes_nothing_twice(place: Place) -> None:
    """An unknown outcome is looked up, not repeated (B6)."""
    flaky = FlakyCoordinator(place.coordinator)
    async with place.control(coordinator=flaky) as leader:
        await eventually(lambda: leader.leads)
        flaky.mood = Mood.UNHEARD
        made = await leader.control.tenants.create(new_tenant())
        assert made.is_new
        assert flaky.mood is Mood.FINE
        found = (await place.coordinator.get("tenant/acme")).kv
        assert found is not None
        assert found.mod_revision == found.create_revision


async def test_another_control_takes_over(place: Place) -> None:
    """Followers say who leads, and lead when it is gone; tasks left running are run again."""
    async with obedient_nodes(place.coordinator, await place.store()):  # noqa: SIM117 - in order
        async with place.leader() as first, place.control() as second:
            await eventually(lambda: second.watcher.view.leader is not None)
            with pytest.raises(NotLeading, match=str(first.plane.process)):
                await second.control.tenants.create(new_tenant())
            assert second.plane.uuid == first.plane.uuid
            assert second.plane.process != first.plane.process
            await first.control.tenants.create(new_tenant())
            await first.kill()
            await eventually(lambda: second.leads)
            made = await second.control.tables.create(new_table())
            assert made.status is ResourceStatus.ACTIVE
            rows = {row.uuid: row for row in await second.control.survey.controls()}
            assert rows[second.plane.process].is_leader
            assert rows[first.plane.process].health == "dead"


async def test_a_conditional_publication_yields(place: Place) -> None:
    """A key that somebody else has decided on meanwhile stays theirs; the rest goes on (B5)."""
    async with place.leader() as leader:
        stored = await place.coordinator.put("test/range", b"theirs")
        term = leader.control.leader.term()
        async with term.transaction() as tx:
            await outbox.append(
                tx,
                [Publication(key="test/range", value=b"x", mod_revision=int(stored) - 1)],
            )
            sequence = await outbox.append(tx, [Publication(key="test/other", value=b"y")])
        await leader.control.publisher.published(sequence)
        found = (await place.coordinator.get("test/range")).kv
        assert found is not None
        assert found.value == b"theirs"
        assert (await place.coordinator.get("test/other")).kv is not None


async def test_a_coordinator_of_another_plane_is_left_alone(place: Place) -> None:
    """Two control planes never write into one coordinator; status says whose it is."""
    await place.coordinator.put(keys.PLANE.path, values.encode(values.Plane(control_plane=uuid(5))))
    async with place.control() as process:
        await eventually(lambda: process.control.leader.problem)
        assert uuid(5) in process.control.leader.problem
        with pytest.raises(Unavailable, match="belongs to control plane"):
            await process.control.tenants.create(new_tenant())
        status = await process.control.survey.status()
        assert process.control.leader.problem in status.problems


@pytest.mark.parametrize("is_store_old", [True, False])
async def test_what_went_back_in_time_is_not_written_on(
    place: Place, *, is_store_old: bool
) -> None:
    """A store or a coordinator restored alone from a backup stops all changes."""
    async with place.leader() as leader:
        await leader.control.tenants.create(new_tenant())
        revision = await leader.control.tenants.create(new_tenant("other", number=71))
        assert revision.is_new
        await leader.kill()
    if is_store_old:
        ahead = values.encode(values.Published(sequence=1_000))
        await place.coordinator.put(keys.PUBLISHED.path, ahead)
    else:
        await place.coordinator.delete(keys.PUBLISHED.path)
    async with place.control() as process:
        await eventually(lambda: process.control.leader.problem)
        which = "the store is an old one" if is_store_old else "the coordinator is an old one"
        assert which in process.control.leader.problem
        with pytest.raises(Unavailable):
            await process.control.tenants.create(new_tenant("third", number=72))


async def test_a_store_that_a_newer_leader_wrote_refuses(place: Place) -> None:
    """A stopped leader that goes on finds the store closed to it, lease or no lease."""
    async with place.leader() as leader:
        store = await place.store()
        async with store.transaction() as tx:
            await planes.act_as_leader(tx, Revision(1 << 40))
        with pytest.raises(NotLeading):
            await leader.control.tenants.create(new_tenant())


async def _is_known(place: Place, revision: Revision) -> bool:
    """Tell whether what was at a revision can be read."""
    try:
        await place.coordinator.list(keys.TENANTS, revision=revision)
    except Compacted:
        return False
    return True


async def test_the_leader_has_the_coordinator_forget_what_was(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else does, and etcd takes nothing any more once it is full of it; what is, stays."""
    monkeypatch.setattr(compaction, "COMPACTION_INTERVAL_S", 0.05)
    await place.coordinator.put("tenant/acme", topology.tenant())
    first = (await place.coordinator.get("tenant/acme")).revision
    await place.coordinator.put("tenant/acme", topology.tenant(8))
    async with place.leader() as leader:
        async with asyncio.timeout(10):
            while await _is_known(place, first):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        assert leader.leads
    kept = (await place.coordinator.get("tenant/acme")).kv
    assert kept is not None
    assert kept.value == topology.tenant(8)


async def test_a_leader_outlives_a_coordinator_that_forgets_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be away for a moment, or not be allowed to: that ends no term."""
    tried: list[Revision] = []

    async def refuse(_coordinator: object, revision: Revision, **_further: object) -> None:
        tried.append(revision)
        raise CoordinatorUnavailable("not now")

    monkeypatch.setattr(compaction, "COMPACTION_INTERVAL_S", 0.02)
    monkeypatch.setattr(type(place.coordinator), "compact", refuse)
    async with place.leader() as leader:
        await eventually(lambda: len(tried) >= 2)
        assert leader.leads
