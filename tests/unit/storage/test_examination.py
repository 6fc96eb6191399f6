"""Files read from the disk: what has rotted is found, and nothing else is taken for damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstore.base.entropy import SystemEntropy
from dstore.base.scrub_limits import SCRUB_PAGES
from dstore.model.errors import Corrupt
from dstore.storage import replica_log
from dstore.storage.node_keys import renewed_file_key
from tests.support.stores import Store, put, rid, store

if TYPE_CHECKING:
    from pathlib import Path

PAGE_BYTES = 4_096


async def _filled(it: Store) -> tuple[str, Path]:
    range_id = await it.new_range()
    file = await it.open(range_id)
    for number in range(120):
        await file.submit(put(f"k{number}", {"x": {"S": "x" * 3_000}}))
    await file.fold()
    return range_id, file.path


async def _read(it: Store, range_id: str) -> tuple[int, list[int]]:
    """Read the whole file. Returns: how many pages it has, and those that are suspect."""
    next_page: int | None = 1
    pages, suspects = 0, list[int]()
    while next_page is not None:
        seen = await it.files.read_pages(range_id, lambda: it.keys[range_id], first_page=next_page)
        assert seen.pages <= SCRUB_PAGES
        pages, next_page = pages + seen.pages, seen.next_page
        suspects += seen.suspects
    return pages, suspects


def _staged(path: Path) -> list[Path]:
    return list(path.parent.glob("*.g*"))


def _remove(directory: Path, range_id: str) -> None:
    for path in directory.rglob(f"{range_id}*"):
        path.unlink()


def _flip(path: Path, page: int) -> None:
    with path.open("r+b") as stored:
        stored.seek((page - 1) * PAGE_BYTES + 1_000)
        byte = stored.read(1)[0]
        stored.seek(-1, 1)
        stored.write(bytes([byte ^ 1]))


async def test_a_sound_file_is_read_whole(tmp_path: Path) -> None:
    """All pages are read, in pieces, and none is suspect."""
    async with store(tmp_path) as it:
        range_id, path = await _filled(it)
        pages, suspects = await _read(it, range_id)
        assert (pages, suspects) == (path.stat().st_size // PAGE_BYTES, [])
        assert pages > 2 * SCRUB_PAGES
        assert await it.files.is_sound(range_id, lambda: it.keys[range_id])


@pytest.mark.parametrize("page", [1, 2, 70, 119])
async def test_rot_is_found_on_the_disk(tmp_path: Path, page: int) -> None:
    """One bit, in a page that everybody has in memory and reads without harm."""
    async with store(tmp_path) as it:
        range_id, path = await _filled(it)
        file = await it.open(range_id)
        assert await file.read(rid("k7")) is not None
        _flip(path, page)
        assert await file.read(rid("k7")) is not None
        try:
            assert (await _read(it, range_id))[1] == [page]
        except Corrupt:
            assert page == 1  # then it can't be opened either
        assert not await it.files.is_sound(range_id, lambda: it.keys[range_id])


async def test_what_the_log_has_is_not_damage(tmp_path: Path) -> None:
    """A page that a cut has torn while it was folded in is suspect, and the file is sound."""
    async with store(tmp_path) as it:
        range_id, path = await _filled(it)
        file = await it.open(range_id)
        before = path.read_bytes()
        for number in range(120):
            await file.submit(put(f"k{number}", {"x": {"S": "y" * 3_000}}))
        changed = [page for page in range(2, len(before) // PAGE_BYTES) if page > 60]
        assert path.read_bytes() == before  # all of it is in the log
        _flip(path, changed[0])
        assert (await _read(it, range_id))[1] == [changed[0]]
        is_sound = await it.files.is_sound(range_id, lambda: it.keys[range_id])
        entry = await file.read(rid("k7"))
        assert entry is not None
        assert is_sound


async def test_a_ruined_file_begins_anew(tmp_path: Path) -> None:
    """Nothing of it need be readable: the new one is empty, no replica, and keeps the promise."""
    async with store(tmp_path) as it:
        range_id, path = await _filled(it)
        before = it.keys[range_id]
        after = renewed_file_key(before, SystemEntropy())
        path.write_bytes(b"ruined" * 10_000)

        async def record() -> None:
            it.keys[range_id] = after

        await it.files.rewrite(
            range_id, before=before, after=after, record=record, promised_epoch=7
        )
        file = await it.open(range_id)
        standing = await file.look(replica_log.standing)
        assert (standing.promised_epoch, standing.is_whole, standing.end.seq) == (7, False, 0)
        assert await file.read(rid("k7")) is None
        assert _staged(path) == []


async def test_a_file_that_is_gone_begins_anew(tmp_path: Path) -> None:
    """The same where there is nothing at all."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        before = it.keys[range_id]
        after = renewed_file_key(before, SystemEntropy())
        _remove(tmp_path, range_id)

        async def record() -> None:
            it.keys[range_id] = after

        await it.files.rewrite(
            range_id, before=before, after=after, record=record, promised_epoch=3
        )
        standing = await (await it.open(range_id)).look(replica_log.standing)
        assert (standing.promised_epoch, standing.is_whole) == (3, False)
        assert not it.fatal
