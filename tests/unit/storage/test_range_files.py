"""The set of open range files: bounded, swept, and safe to open and close at once."""

import asyncio
from pathlib import Path

import pytest

from dstore.base.entropy import SystemEntropy
from dstore.model.errors import Corrupt, NotMine, Unavailable
from dstore.model.ranges import RangeCount
from dstore.storage.node_keys import new_file_key
from dstore.storage.range_files import FOLDER
from tests.support.stores import put, rid, store


async def test_more_tables_than_open_files(tmp_path: Path) -> None:
    """A node holds many small tables in few descriptors, and none loses anything by it."""
    async with store(tmp_path, open_files_max=3) as it:
        ranges = [await it.new_range() for _ in range(10)]
        for number, range_id in enumerate(ranges):
            file = await it.open(range_id)
            await file.submit(put("k", {"n": {"N": str(number)}}))
        await asyncio.sleep(1.1)  # a file used within a second is not closed
        await it.files.tidy()
        assert it.files.open_count <= 3
        for number, range_id in enumerate(ranges):
            entry = await (await it.open(range_id)).read(rid("k"))
            assert entry is not None
            assert entry.item == {"n": {"N": str(number)}}


async def test_opened_once_by_many_at_a_time(tmp_path: Path) -> None:
    """Two openings of one file would be two writers."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        files = await asyncio.gather(*(it.open(range_id) for _ in range(20)))
        assert len({id(file) for file in files}) == 1


async def test_a_deleted_range_leaves_no_file(tmp_path: Path) -> None:
    """Deleting a table deletes its files, open or not."""
    async with store(tmp_path) as it:
        kept, opened, closed = [await it.new_range() for _ in range(3)]
        await (await it.open(opened)).submit(put("k", {}))
        await it.files.delete(opened)
        await it.files.delete(closed)
        left = {path.name.split(".")[0] for path in (tmp_path / FOLDER).glob("*/*")}
        assert left == {kept}


async def test_a_missing_file_is_an_error_and_stays_one(tmp_path: Path) -> None:
    """A record whose file is gone is damage, not an empty table."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        for path in (tmp_path / FOLDER).glob(f"*/{range_id}*"):
            path.unlink()
        for _ in range(2):
            with pytest.raises(Corrupt):
                await it.open(range_id)


async def test_requests_under_way_meet_a_deletion_as_an_absent_table(tmp_path: Path) -> None:
    """Whoever had found the table must not open it again while its file goes, nor end the node."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        held = await it.open(range_id)
        await asyncio.gather(*(held.submit(put(f"k{i}", {})) for i in range(20)))

        async def write_late(delay_s: float) -> str:
            await asyncio.sleep(delay_s)
            try:
                await (await it.open(range_id)).submit(put("late", {}))
            except NotMine:
                return "gone"
            return "written"

        late = [asyncio.ensure_future(write_late(i / 2_000)) for i in range(40)]  # noqa: TID251
        await it.files.delete(range_id)
        outcomes = set(await asyncio.gather(*late))
        assert outcomes <= {"written", "gone"}
        with pytest.raises(NotMine):
            held.submit(put("later", {}))
        with pytest.raises(NotMine):
            await it.open(range_id)
        assert not list((tmp_path / FOLDER).glob(f"*/{range_id}*"))
        assert it.fatal == []


async def test_tidying_beside_deleting_and_opening(tmp_path: Path) -> None:
    """The set of open files changes while tidy closes some; it must not trip over that."""
    async with store(tmp_path, open_files_max=2) as it:
        ranges = [await it.new_range() for _ in range(4)]
        for range_id in ranges:
            await it.open(range_id)
        await asyncio.sleep(1.1)
        await asyncio.gather(
            it.files.tidy(), it.files.tidy(), *(it.files.delete(range_id) for range_id in ranges)
        )
        assert it.files.open_count == 0
        assert it.fatal == []


async def test_twice_too_many_files_in_use_are_refused(tmp_path: Path) -> None:
    """Descriptors are bounded, whatever the burst; what is idle makes room at once."""
    async with store(tmp_path, open_files_max=2) as it:
        ranges = [await it.new_range() for _ in range(6)]
        outcomes = await asyncio.gather(*(it.open(one) for one in ranges), return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, Unavailable)]
        assert refused
        assert it.files.open_count <= 4
        for one in ranges:  # one after the other there is always an idle one to close
            await it.open(one)
            assert it.files.open_count <= 4


async def test_counts_outlive_their_open_file(tmp_path: Path) -> None:
    """A closed table does not show zero entries, and looking does not keep it open."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        await (await it.open(range_id)).submit(put("k", {}))
        assert it.files.count(range_id) == RangeCount(1)
        await it.files.close()
        assert it.files.count(range_id) == RangeCount(1)
        assert it.files.take_changed_counts() == {range_id: RangeCount(1)}
        assert it.files.take_changed_counts() == {}


async def test_a_deleted_range_may_be_made_anew(tmp_path: Path) -> None:
    """A range that was placed elsewhere may come back, over whatever a crash has left of it."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        await (await it.open(range_id)).submit(put("k", {}))
        await it.files.delete(range_id)
        for _ in range(2):  # the second time over the first one's file
            it.keys[range_id] = new_file_key(SystemEntropy())
            await it.files.create(range_id, it.keys[range_id], epoch=7)
        assert await (await it.open(range_id)).read(rid("k")) is None
