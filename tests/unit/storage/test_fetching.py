"""Reading on the event loop what was not in memory."""

from __future__ import annotations

from functools import partial
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

from dstore.storage import fetching, replica_log
from dstore.storage.log_reading import EntryPage, read_entries
from dstore.storage.vault.residency import NotResident
from tests.support.stores import Store, put, rid, store

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.storage.range_file import RangeFile

NAMES = [f"name {at:02}" for at in range(60)]
STORED = sorted(map(rid, NAMES))


async def cold(it: Store, *, attribute_bytes: int) -> RangeFile:
    """Store all names in pages that are not in memory then."""
    range_id = await it.new_range()
    file = await it.open(range_id)
    for name in NAMES:
        await file.submit(put(name, {f"a{at}": {"S": "x" * attribute_bytes} for at in range(5)}))
    await it.files.close()
    file = await it.open(range_id)
    it.around.vault.cache.clear()
    await file.look(replica_log.read_state)  # which is in use all the time
    return file


def is_there(file: RangeFile, work: Any) -> bool:
    """Tell whether the event loop can do something with the file."""
    try:
        file.glance(work)
    except NotResident:
        return False
    return True


async def test_a_thread_fetches_what_the_loop_reads(tmp_path: Path) -> None:
    """Rows that a thread takes one by one cost a busy loop more than writing as many."""
    async with store(tmp_path) as it:
        file = await cold(it, attribute_bytes=300)
        on_loop: list[bool] = []

        def read(connection: Any) -> EntryPage:
            page = read_entries(connection, after=b"", entries_max=60, bytes_max=1 << 30)
            on_loop.append(current_thread() is main_thread())
            return page

        async def open_file() -> RangeFile:
            return file

        fetch = partial(fetching.behind, after=b"", rows=1_000)
        page = await fetching.read_at_hand(open_file, read, fetch=fetch)
        assert [rid_id for rid_id, _ in page.entries] == STORED
        assert on_loop == [True]


async def test_a_thread_reads_what_is_not_there_even_then(tmp_path: Path) -> None:
    """What fetching leaves where it is, as the rest of a long value, the loop does not wait for."""
    async with store(tmp_path) as it:
        file = await cold(it, attribute_bytes=3_000)
        on_loop: list[bool] = []

        def read(connection: Any) -> int:
            page = read_entries(connection, after=b"", entries_max=60, bytes_max=1 << 30)
            on_loop.append(current_thread() is main_thread())
            return len(page.entries)

        async def open_file() -> RangeFile:
            return file

        fetch = partial(fetching.behind, after=b"", rows=2)
        assert await fetching.read_at_hand(open_file, read, fetch=fetch) == len(NAMES)
        assert on_loop == [False]


async def test_where_entries_are_or_would_be_is_fetched(tmp_path: Path) -> None:
    """Then rows for them are written on the event loop, as short batches are."""
    async with store(tmp_path) as it:
        file = await cold(it, attribute_bytes=300)

        async def open_file() -> RangeFile:
            return file

        fetch = partial(fetching.entries, rid_ids=[*STORED[::7], rid("none")])
        assert not is_there(file, fetch)
        await fetching.fetch_at_hand(open_file, fetch)
        assert is_there(file, fetch)
