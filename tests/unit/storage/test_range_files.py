"""The set of open range files: bounded, swept, and safe to open and close at once."""

import asyncio
from pathlib import Path

import pytest

from dstore.model.errors import Corrupt
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


async def test_orphans_are_deleted(tmp_path: Path) -> None:
    """A crash between a file's creation and its record leaves a file that nobody needs."""
    async with store(tmp_path) as it:
        kept, orphan = await it.new_range(), await it.new_range()
        assert await it.files.delete_orphans({kept}) == 1
        assert not list((tmp_path / FOLDER).glob(f"*/{orphan}*"))
        await it.open(kept)


async def test_a_missing_file_is_an_error_and_stays_one(tmp_path: Path) -> None:
    """A record whose file is gone is damage, not an empty table."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        for path in (tmp_path / FOLDER).glob(f"*/{range_id}*"):
            path.unlink()
        for _ in range(2):
            with pytest.raises(Corrupt):
                await it.open(range_id)
