"""The coordinator over the network keeps the port's promises, and breaks down as etcd does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from dstore.topology.coordinator import (
    Coordinator,
    CoordinatorUnavailable,
    Events,
    LeaseGone,
    ModRevisionIs,
    OutcomeUnknown,
    Progress,
    Put,
    Resync,
    Revision,
    Transaction,
    WatchBatch,
)
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from dstore.topology.coordinator import Watch
    from tests.simulation.machines import Process


def _run(work: Callable[[World, Coordinator], Coroutine[Any, Any, None]], seed: int = 1) -> World:
    """Do some work in a process that talks to the coordinator."""
    world = World(seed)
    done = asyncio.Event()

    async def program(process: Process) -> None:
        await work(world, world.coordination.client(process))
        done.set()
        await asyncio.get_running_loop().create_future()

    world.machine("asker", program)

    async def main(world: World) -> None:
        world.machines["coordinator"].start()
        await world.coordination.started.wait()
        asker = world.machines["asker"].start()
        while not done.is_set():
            await asyncio.sleep(0.1)
            assert asker.failure is None, asker.failure

    with world:
        world.run(main)
    assert world.violations == []
    return world


async def _next(watch: Watch) -> WatchBatch:
    while isinstance(batch := await anext(watch), Progress):
        pass
    return batch


def test_reads_and_writes() -> None:
    """What is written is read, and a transaction compares."""

    async def work(_world: World, coordinator: Coordinator) -> None:
        revision = await coordinator.put("a", b"1")
        found = await coordinator.get("a")
        assert found.kv is not None
        assert found.kv.value == b"1"
        compare = ModRevisionIs(key="a", revision=revision)
        swap = Transaction(compares=(compare,), then=(Put(key="a", value=b"2"),))
        assert (await coordinator.commit(swap)).succeeded
        assert not (await coordinator.commit(swap)).succeeded
        assert [kv.value for kv in (await coordinator.list("")).kvs] == [b"2"]
        await coordinator.delete("a")
        assert (await coordinator.get("a")).kv is None

    _run(work)


def test_a_lost_answer_leaves_a_decision_unknown() -> None:
    """B6: it was applied, and whoever asked must not take it for refused."""

    async def work(world: World, coordinator: Coordinator) -> None:
        world.coordination.loses_reply = lambda _machine, method, _args: method == "put"
        with pytest.raises(OutcomeUnknown):
            await coordinator.put("a", b"1")
        assert (await coordinator.get("a")).kv is not None
        world.coordination.heal()
        world.coordination.loses_request = lambda _machine, method, _args: method == "put"
        with pytest.raises(OutcomeUnknown):
            await coordinator.put("b", b"1")
        assert (await coordinator.get("b")).kv is None

    _run(work)


def test_a_coordinator_that_is_cut_off() -> None:
    """Reads are unavailable; a write is refused or unknown, and was not done."""

    async def work(world: World, coordinator: Coordinator) -> None:
        parting = world.network.part(["asker"], ["coordinator"])
        with pytest.raises(CoordinatorUnavailable):
            await coordinator.get("a")
        for _ in range(8):
            with pytest.raises((CoordinatorUnavailable, OutcomeUnknown)):
                await coordinator.put("a", b"1")
        parting.mend()
        assert (await coordinator.get("a")).kv is None

    _run(work)


def test_leases_end_on_the_coordinators_clock() -> None:
    """What stands under a lease is gone when nobody renews it."""

    async def work(world: World, coordinator: Coordinator) -> None:
        lease = await coordinator.grant(5)
        await coordinator.put("a", b"1", lease_id=lease.lease_id)
        await asyncio.sleep(4.0)
        assert await coordinator.keep_alive(lease.lease_id) == 5
        await asyncio.sleep(4.0)
        assert (await coordinator.get("a")).kv is not None
        await world.coordination.end_lease_of("a")
        assert (await coordinator.get("a")).kv is None
        with pytest.raises(LeaseGone):
            await coordinator.keep_alive(lease.lease_id)

    _run(work)


@pytest.mark.parametrize("seed", range(5))
def test_a_watch_has_no_gap_and_no_repeat(seed: int) -> None:
    """Broken streams, lost links and delays: every change comes once, in order."""

    async def work(world: World, coordinator: Coordinator) -> None:
        random = world.random("work")
        seen: list[Revision] = []
        async with aclosing(coordinator.watch("k/")) as watch:
            assert isinstance(await _next(watch), Resync)
            embedded = world.coordination.embedded
            for number in range(40):
                await embedded.put(f"k/{number}", b"v")
                await asyncio.sleep(random.uniform(0.0, 0.5))
                if random.random() < 0.2:
                    world.coordination.cut_watches()
                if random.random() < 0.1:
                    parting = world.network.part(["coordinator"], ["asker"], one_way=True)
                    await asyncio.sleep(random.uniform(0.0, 10.0))
                    parting.mend()
            while len(seen) < 40:
                batch = await _next(watch)
                assert isinstance(batch, Events)
                seen.append(batch.revision)
        assert seen == sorted(set(seen))

    _run(work, seed)


def test_a_watch_behind_a_compaction_is_told_everything() -> None:
    """B13: the gap shows as a full snapshot, in which what was deleted is not there."""

    async def work(world: World, coordinator: Coordinator) -> None:
        embedded = world.coordination.embedded
        await embedded.put("k/old", b"v")
        async with aclosing(coordinator.watch("k/")) as watch:
            assert isinstance(await _next(watch), Resync)
            parting = world.network.part(["coordinator"], ["asker"])
            await embedded.delete("k/old")
            await embedded.put("k/new", b"v")
            await world.coordination.compact()
            await asyncio.sleep(8.0)
            parting.mend()
            batch = await _next(watch)
            assert isinstance(batch, Resync)
            assert [kv.key for kv in batch.listing.kvs] == ["k/new"]

    _run(work)
