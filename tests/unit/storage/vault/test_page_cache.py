"""Opened pages: bounded, each once, and the least used go first."""

from pathlib import Path

from dstore.storage.vault.layout import PAGE_BYTES
from dstore.storage.vault.page_cache import PageCache
from tests.support.stores import put, store


def test_the_least_used_page_makes_room() -> None:
    """A page that is looked up stays; one that nobody wanted goes, and only that one."""
    cache = PageCache(bytes_max=3 * PAGE_BYTES)
    for key in (1, 2, 3):
        cache.put(key, bytes(1))
    assert cache.get(1) is not None
    cache.put(4, bytes(1))
    assert [cache.get(key) is not None for key in (1, 2, 3, 4)] == [True, False, True, True]
    cache.discard(4)
    assert cache.get(4) is None


async def test_a_page_is_kept_once(tmp_path: Path) -> None:
    """The log's copy is the one that readers want; a log that begins anew leaves none behind."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        opening = len(it.around.vault.cache._pages)
        for turn in range(4):
            for at in range(40):
                await file.submit(put(f"k{at}", {"text": {"S": f"{turn}" * 2_000}}))
            cached = len(it.around.vault.cache._pages)
            pages = file.size_bytes // PAGE_BYTES
            assert cached <= opening + pages, turn
            await file.fold()
        assert it.fatal == []
