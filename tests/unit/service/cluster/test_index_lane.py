"""A lane: whatever befalls either side, the index ends equal to what its table makes of it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import msgspec
import pytest

from dstore.base.clock import SystemClock
from dstore.base.feed_limits import INDEX_LOOP_ROWS
from dstore.base.metrics import IndexMetrics
from dstore.model.errors import NotMine, Unavailable, UnavailableKind, Unknown
from dstore.model.hashing import HASH_MAX
from dstore.model.index_of import IndexOf, index_table_name
from dstore.model.keys import HASH_BYTES, KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.table_settings import KeyAttribute, ProjectionType
from dstore.model.tables import Door, TableDefinition, TableId
from dstore.replication.pace import Pace
from dstore.service import index_changes
from dstore.service.calls.feed_calls import FeedRange, RowsTaken
from dstore.service.cluster import index_lane
from dstore.service.cluster.index_lane import Lane, LaneParts, feeding_write
from dstore.service.cluster.recent_records import RecentBytes, RecentRecords
from dstore.service.expiring.effort import Effort
from dstore.storage import log_reading, memos, range_log
from dstore.storage.feeding import MemoChange
from dstore.storage.log_reading import EntryPage, read_entries
from dstore.storage.memos import Reader
from dstore.storage.writes import Delete
from dstore.topology import values
from dstore.topology.coordinator import Revision
from dstore.topology.view import PlacedRange, TableView
from tests.support.stores import put, store, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dstore.storage.range_file import RangeFile
    from tests.support.stores import Store

NODE = "22222222-2222-4222-8222-222222222222"
BASE = TableDefinition(
    tenant="acme",
    name="orders",
    table_id=TableId("33333333-3333-4333-8333-333333333333"),
    partition=KeyAttribute(name="id", kind=KeyKind.STRING),
    door=Door.DYNAMODB,
    created_at_us=0,
)
OF = IndexOf(
    table_id=BASE.table_id,
    table=BASE.name,
    name="by-state",
    hash_keys=(KeyAttribute(name="state", kind=KeyKind.STRING),),
    table_keys=BASE.keys,
    projection=ProjectionType.ALL,
)
INDEX = TableDefinition(
    tenant="acme",
    name=index_table_name(BASE.name, OF.name),
    table_id=TableId("44444444-4444-4444-8444-444444444444"),
    partition=OF.hash_keys[0],
    door=Door.DYNAMODB,
    created_at_us=0,
    index_of=OF,
)
SHAPE = index_changes.shape_of(OF)


@dataclass(kw_only=True)
class World:
    """A range of a table, and the ranges of its index, by their bounds."""

    stored: Store
    base: RangeFile
    ranges: dict[tuple[int, int], RangeFile]
    status: ResourceStatus = ResourceStatus.ACTIVE
    random: Random = field(default_factory=lambda: Random(1))
    fails: float = 0.0
    has_space: bool = True
    lost: list[str] = field(default_factory=list)
    messages: list[FeedRange] = field(default_factory=list)
    counts: IndexMetrics = field(default_factory=IndexMetrics)
    recent: RecentRecords = field(default_factory=lambda: RecentRecords(RecentBytes()))
    heard_seq: int = 0
    requests: int = 0
    opened: int = 0

    def lane(self) -> Lane:
        """Make a lane, as a primary does that has just begun to serve."""
        around = SimpleNamespace(
            clock=SystemClock(), open_file=self._open, node=NODE, pace=Pace(bytes_per_s=0)
        )
        parts = LaneParts(
            around=cast("Any", around),
            view=cast("Any", lambda: SimpleNamespace(table=self._table, revision=7)),
            take=self.take,
            end_seq=lambda _: self.base._writer.end.seq,
            effort=Effort(SystemClock(), lambda: self.requests),
            has_space=lambda: self.has_space,
            on_lost=lambda range_id, _: self.lost.append(range_id),
            counts=self.counts,
        )
        return Lane(self.base.path.stem, BASE, INDEX, parts=parts, recent=self.recent)

    async def _open(self, _range_id: str) -> RangeFile:
        self.opened += 1
        return self.base

    async def hear(self) -> None:
        """Keep in memory what was committed since this was called last, as a primary does."""
        records = await self.base.look(
            partial(range_log.read, after_seq=self.heard_seq, last_seq=1 << 60)
        )
        if records:
            self.heard_seq = records[-1].seq
            self.recent.add(records)

    def _table(self, _tenant: str, _name: str) -> TableView:
        placed = tuple(
            PlacedRange(
                low_hash=low,
                placement=values.RangePlacement(
                    node=NODE,
                    uri="",
                    high_hash=high,
                    table_id=INDEX.table_id,
                    range_id=file.path.stem,
                    epoch=1,
                    replicas=(),
                ),
                mod_revision=Revision(1),
            )
            for (low, high), file in sorted(self.ranges.items())
        )
        return TableView(
            definition=INDEX, status=self.status, mod_revision=Revision(1), ranges=placed
        )

    async def take(self, request: FeedRange) -> RowsTaken:
        """Take rows, or fail, before or after."""
        self.messages.append(request)
        if self.random.random() < self.fails:
            raise Unavailable(UnavailableKind.UNREACHABLE, "not now")
        bounds = {file.path.stem: bounds for bounds, file in self.ranges.items()}
        if request.range_id not in bounds:
            raise NotMine(request.range_id)
        low, high = bounds[request.range_id]
        for row in request.rows.rows:
            assert low <= int.from_bytes(row.rid_id[:HASH_BYTES], "big") <= high
        await self.ranges[low, high].submit(feeding_write(request.rows))
        if self.random.random() < self.fails:
            raise Unknown("who knows")
        return RowsTaken()

    async def change(self, count: int = 1) -> None:
        """Write to the table."""
        for _ in range(count):
            name, number = f"o{self.random.randrange(12)}", self.random.randrange(1_000)
            draw = self.random.random()
            if draw < 0.2:
                await self.base.submit(write(name, lambda _: Delete()))
            elif draw < 0.3:
                await self.base.submit(put(name, {"n": {"N": str(number)}}))
            else:
                state = {"S": self.random.choice("abcdef")}
                await self.base.submit(put(name, {"state": state, "n": {"N": str(number)}}))

    async def split(self) -> None:
        """Put two ranges in the place of one of the index's: rows and cursors go with them."""
        (low, high), file = self.random.choice(list(self.ranges.items()))
        at = self.random.randrange(low + 1, high)
        del self.ranges[low, high]
        # Between two batches: what a lane that was cancelled has told may still be on its way.
        entries, kept = await file.change(_all)
        for bounds in ((low, at - 1), (at, high)):
            child = await self.stored.open(await self.stored.new_range())
            for rid_id, entry in entries.entries:
                hashed = int.from_bytes(rid_id[:HASH_BYTES], "big")
                if bounds[0] <= hashed <= bounds[1]:
                    made = put("x", dict(entry.item))
                    await child.submit(
                        type(made)(rid_id=rid_id, entry_hash=hashed, apply=made.apply)
                    )
            await child.change(partial(memos.take, rows=kept))
            self.ranges[bounds] = child

    async def rows(self) -> dict[bytes, Any]:
        """Read the index."""
        found: dict[bytes, Any] = {}
        for file in self.ranges.values():
            page = await file.look(
                partial(read_entries, after=b"", entries_max=999, bytes_max=9**9)
            )
            found.update({rid_id: entry.item for rid_id, entry in page.entries})
        return found

    async def expected(self) -> dict[bytes, Any]:
        """Compute the index anew."""
        page = await self.base.look(
            partial(read_entries, after=b"", entries_max=999, bytes_max=9**9)
        )
        rows = index_changes.rows_of_entries(page.entries, SHAPE, BASE, position=(1, 1))
        return {
            row.rid_id: range_log.item_of(row.image, file="")
            for row in rows
            if row.image is not None
        }

    async def settled(self, lane: Lane) -> None:
        """Return when the index has everything."""
        async with asyncio.timeout(20):
            while not lane.is_filled or lane.lag_records:
                lane.heard()
                await asyncio.sleep(0.005)


def _all(connection: Any) -> tuple[EntryPage, tuple[memos.MemoRow, ...]]:
    """Read entries and memos, all as of one moment."""
    connection.execute("ROLLBACK")
    page = read_entries(connection, after=b"", entries_max=999, bytes_max=9**9)
    connection.execute("BEGIN IMMEDIATE")
    return page, memos.page(connection, after="", limit=999)


@asynccontextmanager
async def a_world(directory: Path, **settings: Any) -> AsyncIterator[World]:
    """Make a table's range, and an index of one range."""
    async with store(directory, open_files_max=64) as stored:
        base = await stored.open(await stored.new_range())
        index = await stored.open(await stored.new_range())
        yield World(stored=stored, base=base, ranges={(0, HASH_MAX): index}, **settings)


@asynccontextmanager
async def running(lane: Lane) -> AsyncIterator[Lane]:
    """Run a lane for as long as this lasts."""
    task = asyncio.get_running_loop().create_task(lane.run())
    try:
        yield lane
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_index_gets_what_was_there_and_what_comes(tmp_path: Path) -> None:
    """Entries of before, and writes of after, are in the index; a place can be waited for."""
    async with a_world(tmp_path) as world:
        await world.change(40)
        async with running(world.lane()) as lane:
            await world.settled(lane)
            await world.change(40)
            lane.heard()
            async with asyncio.timeout(10):
                await lane.reached(world.base._writer.end.seq)
            assert await world.rows() == await world.expected()
            assert world.counts.rows >= len(await world.rows())


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_befalls_it_is_right_in_the_end(tmp_path: Path, *, seed: int) -> None:
    """Failures, unknown outcomes, new primaries and splits of the index leave no row wrong."""
    random = Random(seed)
    small: dict[str, Any] = {
        "INDEX_BATCH_RECORDS": 5,
        "INDEX_SCANNED_ITEMS": 3,
        "INDEX_BACKOFF_MS_MAX": 4,
    }
    small |= {"INDEX_BACKOFF_MS_MIN": 1, "INDEX_GATHERED_MS": 0, "INDEX_NOTED_ITEMS": 4}
    small |= {"INDEX_NOTED_RECORDS": 8, "INDEX_LOOP_ROWS": 3}
    with patch.multiple(index_lane, **small):
        async with a_world(tmp_path, random=random, fails=0.25) as world:
            await world.change(25)
            for _ in range(8):
                async with running(world.lane()) as lane:
                    for _ in range(random.randrange(1, 6)):
                        await world.change(random.randrange(1, 9))
                        if seed % 2:
                            await world.hear()
                        lane.heard()
                        await asyncio.sleep(random.random() * 0.02)
                if random.random() < 0.4:
                    await world.split()
                if random.random() < 0.3:  # what a former primary has sent comes now
                    with suppress(Exception):
                        await world.take(random.choice(world.messages))
            world.fails = 0.0
            async with running(world.lane()) as lane:
                await world.settled(lane)
                for late in random.sample(world.messages, min(20, len(world.messages))):
                    with suppress(NotMine):
                        await world.take(late)
            assert await world.rows() == await world.expected()


async def test_what_was_committed_just_now_is_not_read_again(tmp_path: Path) -> None:
    """A lane that keeps up is told from memory; what it missed there it reads, and misses none."""
    async with a_world(tmp_path) as world:
        await world.change(5)
        async with running(world.lane()) as lane:
            await world.settled(lane)
            await world.hear()
            opened = world.opened
            for count in (1, 7, 2 * INDEX_LOOP_ROWS):
                await world.change(count)
                await world.hear()
                assert lane.lag_records
                lane.heard()
                async with asyncio.timeout(10):
                    await lane.reached(world.base._writer.end.seq)
                assert world.opened - opened == (count > INDEX_LOOP_ROWS)
            await world.change(3)
            world.heard_seq = world.base._writer.end.seq
            await world.change(3)
            await world.hear()
            await world.settled(lane)
            assert world.opened > opened + 1
            assert await world.rows() == await world.expected()


async def test_it_is_not_filled_before_the_index_is_there(tmp_path: Path) -> None:
    """While nodes make an index's ranges its reader is noted already, and nothing is looked at."""
    async with a_world(tmp_path, status=ResourceStatus.CREATING) as world:
        await world.change(5)
        async with running(world.lane()) as lane:
            async with asyncio.timeout(10):
                while lane.reader is None:  # noqa: ASYNC110 - what it has noted, from outside
                    await asyncio.sleep(0.005)
            assert not lane.is_filled
            assert not world.messages
            world.status = ResourceStatus.UPDATING
            lane.heard()
            await world.settled(lane)
            assert await world.rows() == await world.expected()


async def test_an_index_out_of_reach_loses_its_place(tmp_path: Path) -> None:
    """So much of the log is kept for it and no more; that is told, and outlives the primary."""
    small: dict[str, Any] = {"INDEX_LOG_RECORDS_MAX": 30, "INDEX_BACKOFF_MS_MAX": 2}
    with patch.multiple(index_lane, **small):
        async with a_world(tmp_path) as world:
            await world.change(5)
            async with running(world.lane()) as lane:
                await world.settled(lane)
                world.fails = 1.0
                await world.change(80)
                async with asyncio.timeout(10):
                    while not world.lost:
                        lane.heard()
                        await asyncio.sleep(0.005)
            assert lane.is_lost
            assert not lane.is_filled
            reader_id = INDEX.table_id
            found = await world.base.look(partial(log_reading.find_reader, reader_id=reader_id))
            assert found is not None
            assert found.is_lost
            assert await world.base.look(memos.wanted) == memos.Wanted()
            async with running(world.lane()) as later:
                async with asyncio.timeout(10):
                    while not later.is_lost:  # noqa: ASYNC110 - as it was noted, from outside
                        await asyncio.sleep(0.005)


async def test_an_index_without_ranges_loses_its_place(tmp_path: Path) -> None:
    """No more of the log is kept for one that nobody can be told of: it has no ranges yet."""
    with patch.multiple(index_lane, INDEX_LOG_RECORDS_MAX=30, INDEX_BACKOFF_MS_MAX=2):
        async with a_world(tmp_path) as world:
            world.ranges = {}
            async with running(world.lane()) as lane:
                await world.change(80)
                await _lost(world, lane)


async def test_an_index_that_is_too_slow_loses_its_place(tmp_path: Path) -> None:
    """No more of the log is kept for one that takes all it is told, if more is written."""
    with patch.multiple(index_lane, INDEX_LOG_RECORDS_MAX=30, INDEX_BATCH_RECORDS=2):
        async with a_world(tmp_path) as world:
            take = world.take

            async def take_slowly(request: FeedRange) -> RowsTaken:
                await world.change(5)
                return await take(request)

            with patch.object(world, "take", take_slowly):
                async with running(world.lane()) as lane:
                    await world.change(5)
                    await _lost(world, lane)


async def _lost(world: World, lane: Lane) -> None:
    async with asyncio.timeout(10):
        while not world.lost:
            lane.heard()
            await asyncio.sleep(0.005)
    assert await world.base.look(memos.wanted) == memos.Wanted()


async def test_a_lane_goes_on_from_what_a_former_one_has_noted_late(tmp_path: Path) -> None:
    """What is trimmed since the index has had it is no loss to a lane that did not know."""
    async with a_world(tmp_path) as world:
        lane = world.lane()
        async with running(lane):
            await world.change(20)
            await world.settled(lane)
            end_seq = world.base._writer.end.seq
            assert lane.reader is not None
            lane.fed_seq -= 10
            further = msgspec.structs.replace(lane.reader, fed_seq=end_seq)
            change = MemoChange(memos.reader_name(INDEX.table_id), memos.encode(further))
            await world.base.submit(feeding_write(change))
            await world.base.change(partial(_trimmed, seq=end_seq))
            await world.change(3)
            await world.settled(lane)
        assert not world.lost
        assert await world.rows() == await world.expected()


def _trimmed(connection: Any, *, seq: int) -> None:
    connection.execute("DELETE FROM log WHERE SEQ <= ?", (seq,))


async def test_a_child_of_a_split_names_itself_before_it_tells_anything(tmp_path: Path) -> None:
    """Else its own children would not know it, and what comes late of it would be taken."""
    async with a_world(tmp_path) as world:
        await world.change(5)
        name = memos.reader_name(INDEX.table_id)
        seq = world.base._writer.end.seq
        of_parent = Reader(range_id="parent", names=("state",), begun_seq=seq, fed_seq=seq)
        await world.base.change(partial(memos.take, rows=[(name, memos.encode(of_parent))]))
        noted: list[Reader] = []
        take = world.take

        async def look(request: FeedRange) -> RowsTaken:
            value = await world.base.look(partial(memos.get, name=name))
            noted.append(msgspec.msgpack.decode(value or b"", type=Reader))
            return await take(request)

        with patch.object(world, "take", look):
            async with running(world.lane()) as lane:
                async with asyncio.timeout(10):
                    while not noted:
                        lane.heard()
                        await asyncio.sleep(0.005)
        assert (noted[0].range_id, noted[0].formers) == (world.base.path.stem, ("parent",))


async def test_rows_are_not_made_on_the_event_loop(tmp_path: Path) -> None:
    """What may take tens of milliseconds is done by other threads: both windows and pages."""
    threads: set[int] = set()

    def seen(work: Any) -> Any:
        def seen_work(*args: Any, **others: Any) -> Any:
            threads.add(threading.get_ident())
            return work(*args, **others)

        return seen_work

    made = {each: getattr(index_changes, each) for each in ("rows_of_records", "rows_of_entries")}
    with patch.multiple(index_changes, **{name: seen(work) for name, work in made.items()}):
        async with a_world(tmp_path) as world:
            await world.change(5)
            async with running(world.lane()) as lane:
                await world.settled(lane)
                await world.change(5)
                await world.settled(lane)
    assert threads
    assert threading.get_ident() not in threads
