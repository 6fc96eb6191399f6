"""The watcher keeps the newest view, whatever the coordinator does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from dstore.base.clock import SystemClock
from dstore.base.limits import TOPOLOGY_TURN_EVENTS
from dstore.base.metrics import create_metrics
from dstore.base.tasks import Tasks
from dstore.topology import watcher as watcher_module
from dstore.topology.coordinator import (
    CoordinatorRefused,
    KeyValue,
    Listing,
    Progress,
    Put,
    Resync,
    Revision,
    Transaction,
    WatchBatch,
)
from dstore.topology.embedded import EmbeddedCoordinator
from dstore.topology.last_known_good import LastKnownGood
from dstore.topology.status import TopologyState, sentence
from dstore.topology.watcher import TopologyWatcher, Update
from tests.support.entropy import SeededEntropy
from tests.support.topology import (
    HALF,
    definition,
    key_value,
    placement,
    shown,
    table,
    tenant,
    whole_table,
)

PATIENCE_S = 20.0
LOW, MIDDLE = "tenant/acme/orders/0", f"tenant/acme/orders/{HALF + 1}"


def failed(error: BaseException) -> None:
    raise AssertionError from error


@asynccontextmanager
async def coordinator(
    seed: int = 1, made: type[EmbeddedCoordinator] = EmbeddedCoordinator
) -> AsyncIterator[EmbeddedCoordinator]:
    """Open an empty coordinator; one seed is one cluster id."""
    opened = await made.open(
        None, clock=SystemClock(), entropy=SeededEntropy(Random(seed)), on_failure=failed
    )
    try:
        yield opened
    finally:
        await opened.close()


def copy_at(path: Path) -> LastKnownGood:
    return LastKnownGood(
        path / "topology.sealed",
        key=bytes(range(32)),
        owner="dstore://plane/proxy/one",
        entropy=SeededEntropy(Random(3)),
    )


@asynccontextmanager
async def watching(
    watched: EmbeddedCoordinator, copy: LastKnownGood | None = None
) -> AsyncIterator[TopologyWatcher]:
    made = TopologyWatcher(watched, clock=SystemClock(), metrics=create_metrics(), copy=copy)
    tasks = Tasks(failed)
    tasks.spawn(made.run(), name="watcher", critical=True)
    tasks.spawn(made.keep_copy(), name="copy")
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield made
    finally:
        await tasks.close()


async def put(watched: EmbeddedCoordinator, changes: Mapping[str, bytes]) -> Revision:
    puts = tuple(Put(key=key, value=value) for key, value in changes.items())
    return (await watched.commit(Transaction(then=puts))).revision


async def until(holds: Callable[[], object]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for announces itself to nobody
        await asyncio.sleep(0.01)


async def saved(copy: LastKnownGood, revision: Revision) -> None:
    def is_saved() -> bool:
        loaded = copy.load()
        return loaded is not None and loaded.revision >= revision

    await until(is_saved)


async def test_view_follows_the_coordinator() -> None:
    """What is there at the start and what comes later is in the view, at its revision."""
    async with coordinator() as watched:
        first = await put(watched, whole_table())
        async with watching(watched) as watcher:
            view = await watcher.reached(first)
            assert (view.revision, view.cluster_id) == (first, await watched.cluster_id())
            assert {key: value for key, (value, _) in shown(view).items()} == whole_table()
            second = await put(watched, {LOW: placement(epoch=2)})
            assert shown(await watcher.reached(second))[LOW] == (placement(epoch=2), second)
            await watched.delete("table/acme/orders")
            await until(lambda: watcher.view.table("acme", "orders") is None)
            status = watcher.status()
            assert (status.state, status.problem_count) == (TopologyState.LIVE, 0)
            assert status.sentence == f"The topology is that of revision {watcher.view.revision}."


async def test_bad_value_is_reported_and_the_last_good_one_stands() -> None:
    """The operator reads which key is bad; clients notice nothing."""
    async with coordinator() as watched, watching(watched) as watcher:
        await watcher.reached(await put(watched, whole_table()))
        with capture_logs() as logged:
            bad = await put(watched, {LOW: b"{]", "table/acme/letters": b"[]"})
            view = await watcher.reached(bad)
        assert shown(view)[LOW][0] == placement()
        refused = [event for event in logged if event["event"] == "topology_value_refused"]
        assert [event["path"] for event in refused] == [LOW, "table/acme/letters"]
        status = watcher.status()
        assert status.problem_count == 2
        assert {each.path for each in status.problems} == {LOW, "table/acme/letters"}
        assert watcher._metrics.topology_values_refused._value.get() == 2


async def test_resync_drops_what_went_meanwhile() -> None:
    """B13: after a compaction, what is not listed is gone, and what is known is not read again."""
    gone = {**whole_table(), MIDDLE: placement(), "table/acme/letters": b"malformed"}
    kept = whole_table("other", "letters")
    before = [key_value(key, value, 2) for key, value in {**gone, **kept}.items()]
    after = [
        *(key_value(key, value, 2) for key, value in kept.items()),
        key_value("tenant/third", tenant(), 9),
    ]
    async with coordinator(made=_Scripted) as watched:
        assert isinstance(watched, _Scripted)
        async with watching(watched) as watcher:
            watched.script.put_nowait(resync(before, 5))
            known = (await watcher.reached(Revision(5))).table("other", "letters")
            assert known is not None
            assert watcher.status().problem_count == 2
            updates: list[Update] = []
            watcher.subscribe("", updates.append)
            watched.script.put_nowait(resync(after, 10))
            view = await watcher.reached(Revision(10))
            assert {key for key, _ in shown(view).items()} == {kv.key for kv in after}
            assert view.table("other", "letters") is known
            assert watcher.status().problem_count == 0
            told = {path.path for update in updates for path in update.paths}
            assert told == {*gone, "tenant/third"}


async def test_revisions_that_go_back_within_a_watch_freeze_the_view() -> None:
    """Whatever the watch lets through, the view never goes back."""
    async with coordinator(made=_Scripted) as watched:
        assert isinstance(watched, _Scripted)
        async with watching(watched) as watcher:
            kvs = [key_value(key, value, 2) for key, value in whole_table().items()]
            watched.script.put_nowait(resync(kvs, 5))
            watched.script.put_nowait(Progress(revision=Revision(8)))
            await watcher.reached(Revision(8))
            watched.script.put_nowait(resync([], 7))
            await until(lambda: watcher.status().state is TopologyState.FROZEN)
            assert watcher.view.table("acme", "orders") is not None
            assert watcher.view.revision == 8


async def test_subscribers_hear_of_their_prefix_after_the_view_changed() -> None:
    """A node acts on its own keys; it finds in the view what it was told of."""
    async with coordinator() as watched, watching(watched) as watcher:
        await watcher.known()
        heard: list[tuple[str, ...]] = []

        def hear(update: Update) -> None:
            assert update.view is watcher.view
            assert update.previous is not update.view
            heard.append(tuple(path.path for path in update.paths))

        def break_down(_: Update) -> None:
            raise ValueError("mine alone")

        watcher.subscribe("table/", break_down)
        end = watcher.subscribe("table/acme/", hear)
        with capture_logs() as logged:
            await put(watched, whole_table())
            await put(watched, whole_table("other"))
            await watcher.reached(await put(watched, {"table/acme/aaa": table()}))
        end()
        await watcher.reached(await put(watched, {"table/acme/bbb": table()}))
        assert heard == [("table/acme/orders",), ("table/acme/aaa",)]
        broken = [each for each in logged if each["event"] == "topology_subscriber_failed"]
        assert len(broken) == 3


async def test_large_listing_leaves_the_loop_to_others() -> None:
    """A proxy that starts with many tables answers its health check meanwhile."""
    count = 2_000
    async with coordinator() as watched:
        last = Revision(0)
        for start in range(0, count, 40):
            changes: dict[str, bytes] = {"tenant/acme": tenant()}
            for number in range(start, start + 40):
                name = f"table-{number}"
                changes[f"table/acme/{name}"] = table(definition(name=name, table_id=number))
                changes[f"tenant/acme/{name}/0"] = placement(table_id=number, range_id=number)
            last = await put(watched, changes)
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        others = Tasks(failed)
        others.spawn(count_turns(), name="others")
        async with watching(watched) as watcher:
            view = await watcher.reached(last)
        await others.close()
        found = view.tenant("acme")
        assert found is not None
        assert len(found.tables) == count
        assert watcher.status().problem_count == 0
        assert turns >= 2 * count // TOPOLOGY_TURN_EVENTS


async def test_process_starts_with_the_copy_while_the_coordinator_is_away(
    tmp_path: Path,
) -> None:
    """I10: with etcd down a restarted proxy serves; when etcd is back it follows again."""
    copy = copy_at(tmp_path)
    async with AsyncExitStack() as stack:
        watched = await stack.enter_async_context(coordinator(made=_Away))
        assert isinstance(watched, _Away)
        first = await put(watched, whole_table())
        async with watching(watched, copy):
            await saved(copy, first)
        watched.is_away = True
        async with watching(watched, copy) as watcher:
            view = await watcher.known()
            assert view.table("acme", "orders") is not None
            assert view.revision == first
            status = watcher.status()
            assert status.state is TopologyState.COPY
            assert "has not answered since the start" in status.sentence
            watched.is_away = False
            second = await put(watched, {LOW: placement(epoch=2)})
            assert shown(await watcher.reached(second))[LOW][1] == second
            assert watcher.status().state is TopologyState.LIVE


async def test_spoilt_copy_is_no_hindrance(tmp_path: Path) -> None:
    """A process with a damaged copy starts without it."""
    (tmp_path / "topology.sealed").write_bytes(b"spoilt")
    (tmp_path / "topology.sealed").chmod(0o600)
    async with coordinator() as watched:
        last = await put(watched, whole_table())
        async with watching(watched, copy_at(tmp_path)) as watcher:
            assert (await watcher.reached(last)).table("acme", "orders") is not None
            assert watcher.status().state is TopologyState.LIVE


@pytest.mark.parametrize(
    ("seed", "word"), [(1, "revision"), (2, "cluster")], ids=["restored", "another"]
)
async def test_coordinator_that_went_back_freezes_the_view(
    tmp_path: Path, seed: int, word: str
) -> None:
    """An etcd restored from a backup would undo failovers: nothing is taken from it."""
    copy = copy_at(tmp_path)
    async with coordinator(1) as watched:
        await put(watched, whole_table())
        last = await put(watched, {LOW: placement(epoch=7)})
        async with watching(watched, copy):
            await saved(copy, last)
    async with coordinator(seed) as restored:
        await put(restored, {**whole_table(), "tenant/new": tenant()})
        with capture_logs() as logged:
            async with watching(restored, copy) as watcher:
                await until(lambda: watcher.status().state is TopologyState.FROZEN)
                await put(restored, {"tenant/newer": tenant()})
                await asyncio.sleep(0.05)
                view, status = watcher.view, watcher.status()
        assert shown(view)[LOW] == (placement(epoch=7), last)
        assert view.tenant("new") is None
        assert status.sentence.startswith("Topology rolled back: ")
        assert word in status.sentence
        assert "topology_rolled_back" in {event["event"] for event in logged}
        kept = copy.load()
        assert kept is not None
        assert kept.revision == last


def resync(kvs: Sequence[KeyValue], revision: int) -> Resync:
    return Resync(listing=Listing(kvs=tuple(kvs), revision=Revision(revision)))


class _Scripted(EmbeddedCoordinator):
    """A coordinator whose watch reports what a test says."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.script: asyncio.Queue[WatchBatch] = asyncio.Queue()

    def watch(self, prefix: str, *, after_revision: Revision | None = None) -> Any:  # noqa: ARG002
        return _ScriptedWatch(self.script)


class _ScriptedWatch:
    heard_at_ns = 0

    def __init__(self, script: asyncio.Queue[WatchBatch]) -> None:
        self._script = script

    def __aiter__(self) -> _ScriptedWatch:
        return self

    async def __anext__(self) -> WatchBatch:
        return await self._script.get()

    async def aclose(self) -> None:
        pass


class _Away(EmbeddedCoordinator):
    """A coordinator that can refuse to be reached, as etcd does without its certificate."""

    is_away = False

    async def cluster_id(self, *, timeout_s: float = 1.0) -> str:
        if self.is_away:
            raise CoordinatorRefused("Not now.")
        return await super().cluster_id(timeout_s=timeout_s)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "TOPOLOGY_RETRY_S", 0.02)
    monkeypatch.setattr(watcher_module, "TOPOLOGY_COPY_INTERVAL_S", 0.02)


async def test_copy_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    """A full disk is reported; the topology is followed, and copied when there is room again."""
    copy = copy_at(tmp_path / "missing")
    async with coordinator() as watched, watching(watched, copy) as watcher:
        with capture_logs() as logged:
            await put(watched, whole_table())
            await until(lambda: any(each["event"] == "topology_copy_failed" for each in logged))
        (tmp_path / "missing").mkdir()
        second = await put(watched, {LOW: placement(HALF), MIDDLE: placement(range_id=202)})
        assert (await watcher.reached(second)).revision == second
        await saved(copy, second)


async def test_run_ends_with_the_coordinator() -> None:
    """At the end of a process nobody waits for a watch that is over."""
    async with AsyncExitStack() as stack:
        watched = await stack.enter_async_context(coordinator())
        watcher = TopologyWatcher(watched, clock=SystemClock(), metrics=create_metrics())
        tasks = Tasks(failed)
        running = tasks.spawn(watcher.run(), name="watcher")
        await watcher.known()
        await watched.close()
        async with asyncio.timeout(PATIENCE_S):
            await running


@pytest.mark.parametrize(
    ("state", "heard_ms_ago", "words"),
    [
        (TopologyState.EMPTY, None, "not known yet"),
        (TopologyState.COPY, None, "last copy, of revision 5"),
        (TopologyState.LIVE, 900, "is that of revision 5"),
        (TopologyState.LIVE, 60_000, "silent for 60 s"),
        (TopologyState.FROZEN, 0, "rolled back: A reason."),
    ],
)
def test_status_is_a_sentence(state: TopologyState, heard_ms_ago: int | None, words: str) -> None:
    """An operator reads one line and knows what the view is worth."""
    said = sentence(
        state, revision=Revision(5), heard_ms_ago=heard_ms_ago, frozen_since="A reason."
    )
    assert words in said
