"""A frozen view goes on once control and the coordinator both say that it may, and no sooner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from dstore.base.clock import SystemClock
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology import watcher as watcher_module
from dstore.topology.coordinator import Put, Revision, Transaction
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.last_known_good import LastKnownGood
from dstore.topology.status import TopologyState
from dstore.topology.watcher import TopologyWatcher, Update
from tests.support.entropy import SeededEntropy
from tests.support.topology import placement, tenant, uuid, whole_table

OURS, OTHERS = uuid(300), uuid(301)
LOW = "tenant/acme/orders/0"
Recoveries = Callable[[], Awaitable[int]]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "TOPOLOGY_RETRY_S", 0.01)
    monkeypatch.setattr(watcher_module, "TOPOLOGY_COPY_INTERVAL_S", 0.01)


def marks(*, plane: str = OURS, recoveries: int = 0, sequence: int = 0) -> dict[str, bytes]:
    """What control writes beside the tables, `sequence` writes after it began."""
    claim = values.Plane(control_plane=plane, recoveries=recoveries, sequence=sequence)
    return {
        keys.PLANE.path: values.encode(claim),
        keys.PUBLISHED.path: values.encode(values.Published(sequence=sequence)),
    }


async def put(watched: EmbeddedCoordinator, changes: dict[str, bytes]) -> Revision:
    puts = tuple(Put(key=key, value=value) for key, value in changes.items())
    return (await watched.commit(Transaction(then=puts))).revision


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for announces itself to nobody
            await asyncio.sleep(0.005)


def failed(error: BaseException) -> None:
    raise error


@asynccontextmanager
async def coordinator(seed: int = 1) -> AsyncIterator[EmbeddedCoordinator]:
    opened = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SeededEntropy(Random(seed)), on_failure=failed
    )
    try:
        yield opened
    finally:
        await opened.close()


class Control:
    """Says how often the topology was recovered, and counts how often it was asked."""

    def __init__(self) -> None:
        self.recoveries: int | None = 1
        self.asked = 0

    async def __call__(self) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        if self.recoveries is None:
            raise Unavailable(UnavailableKind.UNREACHABLE, "Control is away.")
        return self.recoveries


@asynccontextmanager
async def watching(
    watched: EmbeddedCoordinator, control: Control, directory: Path
) -> AsyncIterator[TopologyWatcher]:
    copy = LastKnownGood(
        directory / "topology.sealed",
        key=bytes(range(32)),
        owner="dstore://plane/proxy/one",
        entropy=SeededEntropy(Random(3)),
    )
    made = TopologyWatcher(
        watched, clock=SystemClock(), metrics=create_metrics(), copy=copy, recoveries=control
    )
    tasks = Tasks(failed)
    tasks.spawn(made.run(), name="watcher", critical=True)
    tasks.spawn(made.keep_copy(), name="copy")
    try:
        yield made
        await until(lambda: (kept := copy.load()) and kept.revision == made.view.revision)
    finally:
        await tasks.close()


async def a_past(directory: Path) -> None:
    """Let a process see a table in its epoch 7, after 40 writes of control's."""
    async with coordinator(1) as watched:
        await put(watched, {**whole_table(), "tenant/gone": tenant(), **marks()})
        last = await put(watched, {LOW: placement(epoch=7), **marks(sequence=40)})
        async with watching(watched, Control(), directory) as watcher:
            await watcher.reached(last)


def epoch_of(watcher: TopologyWatcher) -> int:
    table = watcher.view.table("acme", "orders")
    assert table is not None
    return table.ranges[0].placement.epoch


@pytest.mark.parametrize("seed", [1, 2], ids=["restored", "another"])
async def test_recovered_coordinator_is_taken_over(tmp_path: Path, seed: int) -> None:
    """Its revisions begin anew; what it lacks is gone, and whoever wrote to the former is told."""
    await a_past(tmp_path)
    control = Control()
    async with coordinator(seed) as empty:
        async with watching(empty, control, tmp_path) as watcher:
            await until(lambda: watcher.status().state is TopologyState.FROZEN)
            told: list[str] = []
            updates: list[Update] = []
            watcher.on_recovered(lambda: told.append("recovered"))
            watcher.subscribe(keys.EVERYTHING, updates.append)
            await put(empty, {**whole_table(), LOW: placement(epoch=8)})
            await asyncio.sleep(0.05)
            assert (epoch_of(watcher), control.asked) == (7, 0), "nothing is claimed yet"
            last = await put(empty, marks(recoveries=1, sequence=41))
            await until(lambda: watcher.status().state is TopologyState.LIVE)
            assert watcher.view.revision == last
            assert epoch_of(watcher) == 8
            assert watcher.view.tenant("gone") is None
            assert told == ["recovered"]
            assert "tenant/gone" in {path.path for each in updates for path in each.paths}
            assert (await watcher.reached(await put(empty, {"tenant/new": tenant()}))).tenant("new")
        async with watching(empty, control, tmp_path) as again:
            await until(lambda: again.status().state is TopologyState.LIVE)


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        (marks(recoveries=1, sequence=41), 2),
        (marks(recoveries=1, sequence=41), 0),
        (marks(recoveries=1, sequence=41), None),
        (marks(recoveries=1, sequence=39), 1),
        (marks(recoveries=0, sequence=41), 0),
        (marks(recoveries=1, sequence=41, plane=OTHERS), 1),
        ({keys.PLANE.path: b"{"}, 1),
        ({}, 1),
    ],
    ids=[
        "an older copy of a recovery",
        "control's store is an older one",
        "control is away",
        "the store lacks what was seen",
        "no recovery",
        "another plane",
        "malformed",
        "empty",
    ],
)
async def test_nothing_less_than_proof_thaws(
    tmp_path: Path, claim: dict[str, bytes], told: int | None
) -> None:
    """Either of the two alone may be an old copy; what it lacks must not be given up."""
    await a_past(tmp_path)
    control = Control()
    control.recoveries = told
    async with coordinator(2) as other, watching(other, control, tmp_path) as watcher:
        await put(other, {**claim, "tenant/new": tenant()})
        await until(lambda: watcher.status().state is TopologyState.FROZEN)
        await asyncio.sleep(0.1)
        assert watcher.status().state is TopologyState.FROZEN
        assert (epoch_of(watcher), watcher.view.tenant("new")) == (7, None)
        assert watcher.view.tenant("gone") is not None
        await put(other, {**whole_table(), **marks(recoveries=1, sequence=50)})
        control.recoveries = 1
        await until(lambda: watcher.status().state is TopologyState.LIVE)
        # An epoch that is older than what was seen is kept out all the same.
        assert epoch_of(watcher) == 7


async def test_coordinator_that_lost_its_claim_freezes_whatever_its_revision(
    tmp_path: Path,
) -> None:
    """One that was made anew and has grown past what was seen is told apart by what it lacks."""
    await a_past(tmp_path)
    async with coordinator(1) as grown:
        for number in range(20):
            await put(grown, {"tenant/new": tenant(number)})
        async with watching(grown, Control(), tmp_path) as watcher:
            await until(lambda: watcher.status().state is TopologyState.FROZEN)
            assert "as if it were empty" in watcher.status().sentence
            assert epoch_of(watcher) == 7


async def test_coordinator_with_fewer_changes_freezes_whatever_its_revision(
    tmp_path: Path,
) -> None:
    """A snapshot that was put back lacks what was decided since, though others write to it."""
    await a_past(tmp_path)
    async with coordinator(1) as grown:
        await put(grown, {**whole_table(), **marks(sequence=39)})
        for number in range(20):
            await put(grown, {"notice/x": tenant(number)})
        async with watching(grown, Control(), tmp_path) as watcher:
            await until(lambda: watcher.status().state is TopologyState.FROZEN)
            assert "39 of control's changes and had 40" in watcher.status().sentence


async def test_changes_that_become_fewer_under_a_watch_freeze(tmp_path: Path) -> None:
    """Control's mark only grows; one that is put back by hand is not followed."""
    async with coordinator() as watched:
        first = await put(watched, {**whole_table(), **marks(sequence=9)})
        async with watching(watched, Control(), tmp_path) as watcher:
            await watcher.reached(first)
            await put(watched, {keys.PUBLISHED.path: marks(sequence=8)[keys.PUBLISHED.path]})
            await until(lambda: watcher.status().state is TopologyState.FROZEN)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (None, "its keys were deleted"),
        (marks(recoveries=1)[keys.PLANE.path], "it is an older copy"),
        (marks(recoveries=3, plane=OTHERS)[keys.PLANE.path], f"control plane {OTHERS}'s"),
    ],
)
async def test_claim_that_changes_under_a_watch_freezes(
    tmp_path: Path, change: bytes | None, why: str
) -> None:
    """Whoever deletes all keys by hand takes nothing away from anybody who is at work."""
    async with coordinator() as watched:
        first = await put(watched, {**whole_table(), **marks(recoveries=2, sequence=9)})
        async with watching(watched, Control(), tmp_path) as watcher:
            await watcher.reached(first)
            if change is None:
                await watched.delete(keys.PLANE.path)
            else:
                await watched.put(keys.PLANE.path, change)
            await until(lambda: watcher.status().state is TopologyState.FROZEN)
            assert why in watcher.status().sentence
            assert watcher.view.table("acme", "orders") is not None


async def test_malformed_claim_is_kept_out(tmp_path: Path) -> None:
    """A hand that slips makes a problem to be seen, and nothing freezes."""
    async with coordinator() as watched:
        await put(watched, {**whole_table(), **marks(recoveries=2, sequence=9)})
        async with watching(watched, Control(), tmp_path) as watcher:
            last = await put(watched, {keys.PLANE.path: b"{}"})
            await watcher.reached(last)
            assert watcher.status().state is TopologyState.LIVE
            assert [each.path for each in watcher.status().problems] == [keys.PLANE.path]
