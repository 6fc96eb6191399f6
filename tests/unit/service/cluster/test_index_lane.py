"""A lane: whatever befalls either side, the index ends equal to what its table makes of it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
import pytest

from dstore.base.clock import NS_PER_S, SystemClock
from dstore.base.expiry_limits import EXPIRY_BUSY_MS
from dstore.base.feed_limits import INDEX_LOOP_ROWS, INDEX_LOOP_SCANNED_ITEMS, INDEX_PART_BYTES
from dstore.model.errors import NotMine
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.service import index_changes
from dstore.service.calls.feed_calls import FeedRange, RowsTaken
from dstore.service.cluster import feed_room, index_lane, index_pages
from dstore.service.cluster.feed_room import FeedRoom
from dstore.service.cluster.index_lane import Lane, feeding_write
from dstore.service.cluster.index_pages import FillTurns
from dstore.storage import log_reading, memos, range_log
from dstore.storage.feeding import MemoChange
from dstore.storage.log_reading import EntryPage, read_entries
from dstore.storage.memos import Reader
from tests.support.lanes import INDEX, World, a_world, running
from tests.support.stores import put, rid

if TYPE_CHECKING:
    from pathlib import Path


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
        "INDEX_BACKOFF_MS_MAX": 4,
    }
    small |= {"INDEX_BACKOFF_MS_MIN": 1, "INDEX_GATHERED_MS": 0, "INDEX_NOTED_ITEMS": 4}
    small |= {"INDEX_NOTED_RECORDS": 8, "INDEX_LOOP_ROWS": 3}
    pages: dict[str, Any] = {"INDEX_ZONE_ITEMS": 2}
    pages |= {"INDEX_SCANNED_ITEMS": 3, "INDEX_LOOP_SCANNED_ITEMS": 2}
    with patch.multiple(index_lane, **small), patch.multiple(index_pages, **pages):
        async with a_world(tmp_path, random=random, fails=0.25, is_asked=seed % 3 == 1) as world:
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
    with (
        patch.object(index_lane, "INDEX_LOOP_RECORDS", INDEX_LOOP_ROWS),
        patch.object(index_lane, "INDEX_NOTED_S", 3_600.0),  # a note opens the file too
    ):
        await _told_from_memory(tmp_path)


async def _told_from_memory(tmp_path: Path) -> None:
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


async def test_filling_lets_clients_go_first(tmp_path: Path) -> None:
    """While they ask, pieces are small, and behind each it rests; what they write is told."""
    hour_ns = 3_600 * NS_PER_S
    async with a_world(tmp_path, is_asked=True) as world:
        for number in range(3 * INDEX_LOOP_SCANNED_ITEMS):
            await world.base.submit(put(f"k{number}", {"state": {"S": "s"}}))

        def read_for_an_hour(*args: Any, **others: Any) -> EntryPage:
            world.clock.shift_ns += hour_ns
            return read_entries(*args, **others)

        with patch.object(log_reading, "read_entries", read_for_an_hour):
            async with running(world.lane()) as lane:
                async with asyncio.timeout(10):
                    while not lane.scanned_items:  # noqa: ASYNC110 - from outside
                        await asyncio.sleep(0.005)
                    await world.base.submit(put("new", {"state": {"S": "new"}}))
                    lane.heard()
                    await lane.reached(world.base._writer.end.seq)
                assert lane.scanned_items == INDEX_LOOP_SCANNED_ITEMS, "it rests"
                world.clock.shift_ns += hour_ns
                async with asyncio.timeout(10):
                    while lane.scanned_items == INDEX_LOOP_SCANNED_ITEMS:  # noqa: ASYNC110 - as above
                        await asyncio.sleep(0.005)
                assert lane.scanned_items == 2 * INDEX_LOOP_SCANNED_ITEMS
                world.is_asked = False
                await asyncio.sleep(1.1 * EXPIRY_BUSY_MS / 1_000)
                world.clock.shift_ns += 2 * hour_ns
                await world.settled(lane)
        most = max(len(message.rows.rows) for message in world.messages)
        assert most <= INDEX_LOOP_SCANNED_ITEMS + 2
        assert await world.rows() == await world.expected()


async def test_it_is_told_nothing_of_where_it_was_not_filled_yet(tmp_path: Path) -> None:
    """That comes with the entries: so an index that is added to a table in use costs less."""
    told: set[str] = set()
    async with a_world(tmp_path) as world:
        names = [f"k{number}" for number in range(40)]
        for name in names:
            await world.base.submit(put(name, {"state": {"S": "before"}}))
        take = world.take

        async def take_and_note(request: FeedRange) -> RowsTaken:
            images = [row.image for row in request.rows.rows if row.image is not None]
            told.update(range_log.item_of(image, file="")["id"]["S"] for image in images)
            return await take(request)

        with (
            patch.object(index_pages, "INDEX_ZONE_ITEMS", 10),
            patch.object(FillTurns, "is_due", property(lambda _: not told)),
            patch.object(world, "take", take_and_note),
        ):
            for number in range(2):  # the second lane goes on with what the first one has noted
                async with running(world.lane()) as lane:
                    async with asyncio.timeout(10):
                        while not told:  # noqa: ASYNC110 - from outside
                            await asyncio.sleep(0.005)
                    for name in names:
                        await world.base.submit(put(name, {"state": {"S": f"after {number}"}}))
                    lane.heard()
                    async with asyncio.timeout(10):
                        await lane.reached(world.base._writer.end.seq)
        assert told == {name for name in names if rid(name) < (1 << 30).to_bytes(4, "big")}
        async with running(world.lane()) as lane:
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


async def test_indexes_that_are_away_leave_room_for_others(tmp_path: Path) -> None:
    """Two that nobody can be told of hold all the room: they give way, and nothing is lost."""
    with (
        patch.object(feed_room, "INDEX_HELD_S", 0.01),
        patch.multiple(index_lane, INDEX_BACKOFF_MS_MAX=4, INDEX_BACKOFF_MS_MIN=1),
    ):
        room = FeedRoom(SystemClock(), size_bytes=2 * INDEX_PART_BYTES)
        async with AsyncExitStack() as stack:
            worlds, lanes = [], []
            for number, fails in enumerate((1.0, 1.0, 0.0)):
                directory = tmp_path / str(number)
                directory.mkdir()
                index = replace(INDEX, table_id=TableId(f"{number}" * 8 + INDEX.table_id[8:]))
                made = a_world(directory, room=room, index=index, fails=fails)
                world = await stack.enter_async_context(made)
                await world.change(40)
                lanes.append(await stack.enter_async_context(running(world.lane())))
                worlds.append(world)
            await worlds[2].settled(lanes[2])
            for world, lane in zip(worlds, lanes, strict=True):
                await world.change(10)
                lane.heard()
                world.fails = 0.0
            for world, lane in zip(worlds, lanes, strict=True):
                await world.settled(lane)
                assert await world.rows() == await world.expected()
        assert room.held_bytes == 0


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
