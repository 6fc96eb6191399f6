"""What every coordinator tells of changes: all of them, once, in order."""

import asyncio
from contextlib import aclosing

import pytest

from dstore.topology.coordinator import (
    Coordinator,
    Delete,
    Event,
    Events,
    Progress,
    Put,
    Resync,
    Revision,
    RolledBack,
    Transaction,
    Watch,
    WatchBatch,
)

_PATIENCE_S = 10.0


async def next_of(watch: Watch, *, patience_s: float = _PATIENCE_S) -> WatchBatch:
    """Wait for the next batch that says something."""
    async with asyncio.timeout(patience_s):
        while isinstance(batch := await anext(watch), Progress):
            pass
        return batch


async def test_a_watch_begins_with_all_there_is(coordinator: Coordinator) -> None:
    """Without a revision the first batch is a snapshot, and what follows is newer."""
    await coordinator.put("w/a", b"1")
    await coordinator.put("other", b"")
    async with aclosing(coordinator.watch("w/")) as watch:
        first = await next_of(watch)
        assert isinstance(first, Resync)
        assert [(kv.key, kv.value) for kv in first.listing.kvs] == [("w/a", b"1")]
        revision = await coordinator.put("w/b", b"2")
        second = await next_of(watch)
        assert isinstance(second, Events)
        assert second.revision == revision > first.revision
        assert [event.key for event in second.events] == ["w/b"]


async def test_changes_come_whole_and_in_order(coordinator: Coordinator) -> None:
    """One batch a revision, its operations in their order, other prefixes left out."""
    start = await coordinator.put("w/a", b"1")
    one = await coordinator.put("w/a", b"2")
    await coordinator.put("x/a", b"")
    two = await coordinator.commit(
        Transaction(
            then=(
                Put(key="w/z", value=b"3"),
                Delete(key="w/a"),
                Put(key="x/b", value=b""),
                Put(key="w/b", value=b"4"),
            )
        )
    )
    async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
        first, second = await next_of(watch), await next_of(watch)
    assert isinstance(first, Events)
    assert isinstance(second, Events)
    assert (first.revision, second.revision) == (one, two.revision)
    assert [(e.key, e.kv and e.kv.value) for e in first.events] == [("w/a", b"2")]
    assert [(e.key, e.kv and e.kv.value) for e in second.events] == [
        ("w/z", b"3"),
        ("w/a", None),
        ("w/b", b"4"),
    ]
    made = second.events[0].kv
    assert made is not None
    assert (made.create_revision, made.mod_revision) == (two.revision, two.revision)


async def test_a_reader_may_give_up_waiting(coordinator: Coordinator) -> None:
    """A timeout around the next batch loses none."""
    start = await coordinator.put("w/a", b"")
    async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
        for number in range(5):
            with pytest.raises(TimeoutError):
                await next_of(watch, patience_s=0.02)
            revision = await coordinator.put("w/a", b"%d" % number)
            assert (await next_of(watch)).revision == revision


async def test_a_slow_reader_misses_nothing(coordinator: Coordinator) -> None:
    """More batches than are read ahead, read late, by several watches at different paces."""
    start = await coordinator.put("w/0", b"")
    async with (
        aclosing(coordinator.watch("w/", after_revision=start)) as slow,
        aclosing(coordinator.watch("", after_revision=start)) as quick,
    ):
        revisions = []
        for number in range(300):
            revisions.append(await coordinator.put(f"w/{number % 7}", bytes(100)))
            if number % 3 == 0:
                assert (await next_of(quick)).revision == revisions[number // 3]
        assert [(await next_of(slow)).revision for _ in revisions] == revisions
        assert [(await next_of(quick)).revision for _ in revisions[100:]] == revisions[100:]


async def test_a_compacted_past_becomes_a_snapshot(coordinator: Coordinator) -> None:
    """B13: no gap is passed over in silence, and the watch goes on after it."""
    start = await coordinator.put("w/a", b"")
    await coordinator.put("w/b", b"")
    await coordinator.delete("w/a")
    last = await coordinator.put("other", b"")
    await coordinator.compact(last)
    async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
        batch = await next_of(watch)
        assert isinstance(batch, Resync)
        assert batch.revision >= last
        assert [kv.key for kv in batch.listing.kvs] == ["w/b"]
        revision = await coordinator.put("w/c", b"")
        assert (await next_of(watch)).revision == revision


async def test_a_deletion_at_the_compacted_revision_is_seen(coordinator: Coordinator) -> None:
    """Started on the very revision that is compacted, etcd 3.4 itself leaves a deletion out."""
    start = await coordinator.put("w/a", b"")
    removed = await coordinator.delete("w/a")
    await coordinator.compact(removed.revision)
    async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
        batch = await next_of(watch)
    assert isinstance(batch, Resync)
    assert batch.listing.kvs == ()


async def test_a_watch_stands_exactly_at_the_compacted_revision(coordinator: Coordinator) -> None:
    """What is newer than the compaction is still told change by change."""
    start = await coordinator.put("w/a", b"")
    after = await coordinator.put("w/b", b"")
    await coordinator.compact(start)
    async with aclosing(coordinator.watch("w/", after_revision=start)) as watch:
        batch = await next_of(watch)
    assert isinstance(batch, Events)
    assert batch.revision == after


async def test_a_watch_of_a_revision_to_come_was_rolled_back(coordinator: Coordinator) -> None:
    """A process that has seen more than the coordinator knows must freeze (REPLICATION.md)."""
    revision = await coordinator.put("w/a", b"")
    watch = coordinator.watch("w/", after_revision=Revision(revision + 1_000))
    async with aclosing(watch):
        with pytest.raises(RolledBack):
            await next_of(watch)


async def test_a_closed_watch_ends(coordinator: Coordinator) -> None:
    """Its reader is not left waiting, nor are others told."""
    start = await coordinator.put("w/a", b"")
    closed = coordinator.watch("w/", after_revision=start)
    going_on = coordinator.watch("w/", after_revision=start)
    waiting = asyncio.gather(*[_rest_of(closed)])
    await asyncio.sleep(0.05)
    await closed.aclose()
    await closed.aclose()
    async with asyncio.timeout(_PATIENCE_S):
        assert await waiting == [[]]
    revision = await coordinator.put("w/a", b"")
    batch = await next_of(going_on)
    assert batch == Events(revision=revision, events=(_put_event(batch),))
    await coordinator.close()
    async with asyncio.timeout(_PATIENCE_S):
        assert await _rest_of(going_on) == []


async def test_a_watch_tells_when_it_last_heard(coordinator: Coordinator) -> None:
    """How stale a view may be is a fact for the operator."""
    async with aclosing(coordinator.watch("w/")) as watch:
        await next_of(watch)
        before = watch.heard_at_ns
        await asyncio.sleep(0.05)
        await coordinator.put("w/a", b"")
        await next_of(watch)
        assert watch.heard_at_ns > before


async def _rest_of(watch: Watch) -> list[WatchBatch]:
    return [batch async for batch in watch if not isinstance(batch, Progress)]


def _put_event(batch: WatchBatch) -> Event:
    assert isinstance(batch, Events)
    return batch.events[0]
