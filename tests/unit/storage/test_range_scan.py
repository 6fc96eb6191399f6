"""Walks over a range: their bounds, directions, and how they go over from the loop to a thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import current_thread, main_thread
from unittest.mock import patch

import pytest

from dstore.base.limits import LOOP_ENTRY_BYTES_MAX
from dstore.model.errors import Corrupt
from dstore.model.values import Item
from dstore.storage import range_scan
from dstore.storage.entries import Entry
from dstore.storage.range_file import RangeFile
from dstore.storage.range_scan import Span
from tests.support.stores import put, rid, store

NAMES = [f"name {at:02}" for at in range(30)]
STORED = sorted(NAMES, key=rid)


@dataclass(slots=True)
class Taken:
    """Takes entries until it has `limit`, and notes in which thread each came."""

    limit: int = 1 << 30
    rid_ids: list[bytes] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    on_loop: int = 0
    scanned_bytes: int = 0
    bytes_each: int = 1

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return len(self.rid_ids) >= self.limit

    def add(self, rid_id: bytes, entry: Entry) -> None:
        """Take one."""
        self.rid_ids.append(rid_id)
        self.items.append(entry.item)
        self.scanned_bytes += self.bytes_each
        self.on_loop += current_thread() is main_thread()


async def filled(file: RangeFile) -> None:
    """Store all names, each with two attributes; then bring their pages into memory."""
    for name in NAMES:
        await file.submit(put(name, {"name": {"S": name}, "z": {"NULL": True}}))
    await file.walk(Span(), Taken())


async def test_span_is_half_open_and_walked_both_ways(tmp_path: Path) -> None:
    """The lower bound is in, the upper one out, whichever way the walk goes."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await filled(file)
        keys = [rid(name) for name in STORED]
        for low, high in [(3, 9), (0, 30), (5, 5), (7, 3)]:
            end = keys[high] if high < len(keys) else None
            ahead, back = Taken(), Taken()
            await file.walk(Span(low=keys[low], high=end), ahead)
            await file.walk(Span(low=keys[low], high=end, is_reverse=True), back)
            assert ahead.rid_ids == keys[low:high]
            assert back.rid_ids == keys[low:high][::-1]
            assert back.items == ahead.items[::-1]


def test_behind_an_entry_a_span_is_shorter() -> None:
    """An entry ends one walk and begins the next, and is in one of them only."""
    span = Span(low=b"c", high=b"m")
    assert span.behind(b"f") == Span(low=b"f\x00", high=b"m")
    assert span.behind(b"a") == span
    backward = Span(low=b"c", high=b"m", is_reverse=True)
    assert backward.behind(b"f") == Span(low=b"c", high=b"f", is_reverse=True)
    assert backward.behind(b"z") == backward
    assert Span(is_reverse=True).behind(b"f") == Span(high=b"f", is_reverse=True)


@pytest.mark.parametrize("is_reverse", [False, True])
async def test_short_walk_stays_on_the_loop(tmp_path: Path, *, is_reverse: bool) -> None:
    """What is in memory and short needs no thread."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await filled(file)
        taken = Taken(limit=10)
        await file.walk(Span(is_reverse=is_reverse), taken)
        assert taken.on_loop == len(taken.rid_ids) == 10


@pytest.mark.parametrize("is_reverse", [False, True])
@pytest.mark.parametrize("bound", ["LOOP_ROWS_MAX", "LOOP_BYTES_MAX"])
async def test_long_walk_goes_on_in_a_thread(
    tmp_path: Path, bound: str, *, is_reverse: bool
) -> None:
    """The loop's share ends behind the entry with which the bound is reached."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await filled(file)
        taken = Taken(bytes_each=3)  # as many as an entry's rows
        with patch.object(range_scan, bound, 10):
            await file.walk(Span(is_reverse=is_reverse), taken)
        assert taken.on_loop == 4
        wanted = [rid(name) for name in STORED]
        assert taken.rid_ids == (wanted[::-1] if is_reverse else wanted)


@pytest.mark.parametrize("is_reverse", [False, True])
async def test_walk_over_pages_that_are_not_in_memory_ends_in_a_thread(
    tmp_path: Path, *, is_reverse: bool
) -> None:
    """The loop never waits for a disk; what it has read so far it does not read again."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        for name in NAMES:
            await file.submit(put(name, {f"a{at}": {"S": "x" * 1_500} for at in range(2)}))
        await it.files.close()
        # Only what opening it reads is in memory, and the first entry.
        file = await it.open(range_id)
        span = Span(is_reverse=is_reverse)
        it.around.vault.cache.clear()
        taken = Taken()
        await file.walk(span, taken)
        wanted = [rid(name) for name in STORED]
        assert taken.rid_ids == (wanted[::-1] if is_reverse else wanted)
        assert taken.on_loop < len(wanted)
        again = Taken()
        await file.walk(span, again)
        assert again.rid_ids == taken.rid_ids
        assert again.on_loop > taken.on_loop


@pytest.mark.parametrize("is_reverse", [False, True])
async def test_entry_without_a_head_is_corrupt(tmp_path: Path, *, is_reverse: bool) -> None:
    """Rows that belong to no entry are never taken for another's."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await filled(file)
        with file._writer._connection as connection:
            connection.execute("DELETE FROM v1 WHERE RID_ID = ? AND C_COL = ''", (rid(STORED[4]),))
        taken = Taken()
        # On the loop heads alone are looked at; those rows are then nobody's.
        with patch.object(range_scan, "LOOP_ROWS_MAX", 1), pytest.raises(Corrupt):
            await file.walk(Span(is_reverse=is_reverse), taken)
        assert len(taken.rid_ids) in {3, 25}
        file._newest.forget(rid(STORED[4]))  # it was written just now: nothing would be read
        with pytest.raises(Corrupt):
            await file.read(rid(STORED[4]))


@pytest.mark.parametrize("is_reverse", [False, True])
async def test_large_entries_are_walked_in_a_thread(tmp_path: Path, *, is_reverse: bool) -> None:
    """What a filter does to a large entry may take seconds; none is left out or taken twice."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await filled(file)
        large = STORED[5]
        text = "x" * (LOOP_ENTRY_BYTES_MAX + 1)
        await file.submit(put(large, {"text": {"S": text}}))
        await file.walk(Span(), Taken())
        taken = Taken(limit=28)
        await file.walk(Span(is_reverse=is_reverse), taken)
        keys = [rid(name) for name in STORED]
        assert taken.rid_ids == (keys[::-1] if is_reverse else keys)[:28]
        assert taken.on_loop == (24 if is_reverse else 5)
