"""Batches that the event loop commits: nobody is told of them before their sync has ended."""

import asyncio
import os
from functools import partial
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import pytest

from dstore.base.limits import LOOP_BATCH_BYTES_MAX, LOOP_ENTRY_BYTES_MAX
from dstore.model.errors import ConditionFailed, Unknown
from dstore.storage import range_log
from dstore.storage.entries import Entry
from dstore.storage.feeding import FedRow, Rows
from dstore.storage.range_file import RangeFile
from dstore.storage.range_scan import Span
from dstore.storage.range_writer import Outcome, Put, Write
from tests.support.replications import OnlyReplica
from tests.support.stores import Store, put, rid, store, write

ITEM = {"name": {"S": "new"}}
SHORT_S = 0.05


class Disk:
    """A disk whose syncs wait to be let through, or fail."""

    def __init__(self) -> None:
        self.may_sync = Event()
        self.may_sync.set()
        self.syncing = Event()
        self.failure: OSError | None = None
        self.syncs = 0

    def fdatasync(self, descriptor: int) -> None:
        """Sync, when it may."""
        assert current_thread() is not main_thread(), "the event loop must not wait for a disk"
        self.syncing.set()
        assert self.may_sync.wait(10)
        if self.failure is not None:
            raise self.failure
        os.fdatasync(descriptor)
        self.syncs += 1


class Names:
    """Takes the keys of a walk."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    is_full = False
    scanned_bytes = 0

    def add(self, rid_id: bytes, _entry: Entry) -> None:
        """Take one."""
        self.taken.append(rid_id)


async def opened(it: Store) -> RangeFile:
    """Open a file whose first commits, which go to a thread, are done."""
    file = await it.open(await it.new_range())
    for name in ("a", "b"):
        await file.submit(put(name, {"name": {"S": "old"}}))
    return file


async def is_waiting(task: asyncio.Future[Any]) -> bool:
    """Tell whether a task goes on waiting."""
    done, _ = await asyncio.wait([task], timeout=SHORT_S)
    return not done


async def test_nothing_is_told_before_the_sync(tmp_path: Path) -> None:
    """I1, I7: neither who wrote nor who reads what was written may hear of it; others may go on."""
    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync) as it:
        file = await opened(it)
        disk.may_sync.clear()
        disk.syncing.clear()
        written = file.submit(put("a", ITEM))
        await asyncio.to_thread(disk.syncing.wait, 10)
        names = Names()
        same, walked = (
            asyncio.ensure_future(one)  # noqa: TID251 - the test ends them
            for one in (file.read(rid("a")), file.walk(Span(), names))
        )
        async with asyncio.timeout(10):
            other = await file.read(rid("b"))
        assert other is not None
        assert [await is_waiting(one) for one in (written, same, walked)] == [True] * 3
        disk.may_sync.set()
        assert (await written).existed
        entry = await same
        assert entry is not None
        assert entry.item == ITEM
        await walked
        assert names.taken == sorted([rid("a"), rid("b")])


def a_feeding(name: str, *, seq: int) -> Write:
    """Make a write of what another range's record tells of a row."""
    rows = Rows("base", (), 1, seq, (FedRow(1, seq, rid(name), range_log.image_of(ITEM)),))
    return Write(rid_id=b"", entry_hash=0, apply=lambda _: Put(ITEM), feeding=rows)


async def test_nothing_that_was_fed_is_told_before_the_sync(tmp_path: Path) -> None:
    """I7: a row of an index is an entry as any, though it is not the write's own."""
    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync) as it:
        file = await opened(it)
        await file.submit(a_feeding("a", seq=4))  # which has the log's pages in memory
        disk.may_sync.clear()
        disk.syncing.clear()
        written = file.submit(a_feeding("b", seq=5))
        await asyncio.to_thread(disk.syncing.wait, 10)
        read = asyncio.ensure_future(file.read(rid("b")))  # noqa: TID251 - awaited below
        assert [await is_waiting(one) for one in (written, read)] == [True] * 2
        disk.may_sync.set()
        await written
        entry = await read
        assert entry is not None
        assert entry.item == ITEM


async def test_a_failed_sync_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    """B16: the process must end, and nobody may be told that the write failed, nor that it did."""
    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync) as it:
        file = await opened(it)
        disk.may_sync.clear()
        disk.syncing.clear()
        written = file.submit(put("a", ITEM))
        await asyncio.to_thread(disk.syncing.wait, 10)
        read = asyncio.ensure_future(file.read(rid("a")))  # noqa: TID251 - awaited below
        await asyncio.sleep(0)
        disk.failure = OSError(5, "gone")
        disk.may_sync.set()
        for one in (written, read):
            with pytest.raises(Unknown):
                await one
        assert it.fatal == [disk.failure]
        disk.failure = None


async def test_a_batch_whose_sync_failed_is_never_told_of(tmp_path: Path) -> None:
    """What nobody knows to be durable is not read either, while the process ends (I7)."""
    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync) as it:
        file = await opened(it)
        disk.failure = OSError(5, "no answer from the disk")
        with pytest.raises(Unknown):
            await file.submit(put("a", ITEM))
        it.fatal.clear()
        with pytest.raises(Unknown):
            await file.read(rid("a"))
        with pytest.raises(Unknown):
            await file.walk(Span(), Names())
        found = await file.read(rid("b"))
        assert found is not None
        assert found.item == {"name": {"S": "old"}}
        disk.failure = None


async def test_a_sync_that_was_never_begun_is_unknown_too(tmp_path: Path) -> None:
    """The executor says that nothing was done; the commit was."""
    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync) as it:
        file = await opened(it)
        loop = asyncio.get_running_loop()

        def refuse(*_: object) -> asyncio.Future[None]:
            future: asyncio.Future[None] = loop.create_future()
            future.set_exception(RuntimeError("halted"))
            return future

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file, "_sync", None)
            patch.setattr(
                "dstore.storage.range_file.get_running_loop",
                lambda: type("Loop", (), {"run_in_executor": staticmethod(refuse)}),
            )
            with pytest.raises(Unknown):
                await file.submit(put("a", ITEM))


async def test_a_batch_that_writes_nothing_needs_no_sync(tmp_path: Path) -> None:
    """A refused condition is answered from what is durable already."""

    def refuse(_previous: Entry | None) -> Outcome:
        raise ConditionFailed("no")

    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync) as it:
        file = await opened(it)
        before = disk.syncs
        with pytest.raises(ConditionFailed):
            await file.submit(write("a", refuse))
        assert disk.syncs == before


async def test_what_is_not_in_memory_is_done_in_a_thread(tmp_path: Path) -> None:
    """A write is evaluated again there (I3); the loop never waits for the disk."""
    async with store(tmp_path) as it:
        file = await opened(it)
        threads = []

        def note(_previous: Entry | None) -> Outcome:
            threads.append(current_thread() is main_thread())
            return Put(ITEM)

        await file.submit(write("a", note))
        assert threads == [True]
        large = file.submit(write("a", note), item_bytes=LOOP_BATCH_BYTES_MAX)
        await large
        assert threads == [True, False]
        await file.fold()
        file._around.vault.cache.clear()
        file._writer._connection.pragma("shrink_memory")
        await file.submit(write("a", note))
        assert threads[2:] in ([False], [True, False])
        assert it.fatal == []
        entry = await file.read(rid("a"))
        assert entry is not None
        assert entry.item == ITEM


async def test_a_read_of_what_a_crash_may_undo_is_not_answered_first(tmp_path: Path) -> None:
    """A refusal is a read: the next batch begins only when the one before is durable."""
    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync) as it:
        file = await opened(it)
        disk.may_sync.clear()
        disk.syncing.clear()
        first = file.submit(put("a", ITEM))
        await asyncio.to_thread(disk.syncing.wait, 10)

        def refuse_new(previous: Entry | None) -> Outcome:
            assert previous is not None
            raise ConditionFailed(previous=previous.item)

        second = file.submit(write("a", refuse_new))
        assert await is_waiting(second)
        disk.may_sync.set()
        await first
        with pytest.raises(ConditionFailed) as refused:
            await second
        assert refused.value.previous == ITEM


def _note(order: list[int], number: int, _done: object) -> None:
    order.append(number)


@pytest.mark.parametrize("replication", [None, OnlyReplica()], ids=["alone", "replicated"])
async def test_a_batch_that_takes_too_long_is_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replication: OnlyReplica | None
) -> None:
    """Small requests may touch large entries; the loop commits what it has, and goes on after."""
    monkeypatch.setattr("dstore.storage.range_writer.LOOP_BATCH_MS_MAX", 0)
    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync, replication=replication) as it:
        file = await opened(it)
        before = disk.syncs
        order: list[int] = []
        written = [file.submit(put("a", {"n": {"N": str(n)}})) for n in range(5)]
        for n, one in enumerate(written):
            one.add_done_callback(partial(_note, order, n))
        await asyncio.gather(*written)
        assert order == list(range(5))
        assert disk.syncs == before + 5
        entry = await file.read(rid("a"))
        assert entry is not None
        assert entry.item == {"n": {"N": "4"}}


async def test_large_entries_are_evaluated_in_a_thread(tmp_path: Path) -> None:
    """A short condition may look at each of an entry's elements three hundred times."""
    async with store(tmp_path) as it:
        file = await opened(it)
        on_loop: list[bool] = []

        def note(_previous: Entry | None) -> Outcome:
            on_loop.append(current_thread() is main_thread())
            return Put({"s": {"S": "x" * (LOOP_ENTRY_BYTES_MAX + 1)}})

        await file.submit(write("a", note))
        assert on_loop == [True]
        await file.submit(write("a", note))
        assert on_loop == [True, False]


async def test_a_fold_beside_writes_syncs_piece_by_piece(tmp_path: Path) -> None:
    """No sync at its end is so large that those of commits wait behind it for long."""
    disk = Disk()
    async with store(tmp_path, fdatasync=disk.fdatasync) as it:
        file = await opened(it)
        for at in range(300):
            await file.submit(put(f"k{at}", {"text": {"S": "x" * 4_000}}))
        before = disk.syncs
        await file.fold()
        assert disk.syncs - before >= 4  # two pieces of 64 pages, the log's and the last one
        assert it.fatal == []


async def test_a_fold_waits_for_the_rest_of_the_former_one(tmp_path: Path) -> None:
    """What is left is folded by the next batch; a second fold would do nothing but that again."""
    async with store(tmp_path, wal_pages_checkpoint=10) as it:
        file = await opened(it)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(file, "fold", lambda: None)
            for at in range(10):
                await file.submit(put(f"k{at}", {"text": {"S": "x" * 4_000}}))
        await file.fold()
        file._is_fold_due = True  # as a batch says that was committed while it was folded
        writing = file.submit(put("a", ITEM))
        assert not file.is_folding
        await writing
        assert file.log_pages < 10
