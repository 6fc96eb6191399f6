"""Cached entries: found by version, bounded, and never older or newer than the file."""

import gc
from pathlib import Path

import pytest

from dstore.base.limits import LOOP_ENTRY_BYTES_MAX
from dstore.model.errors import ConditionFailed
from dstore.model.values import Item
from dstore.storage.entries import Entry
from dstore.storage.entry_cache import EntryCache
from dstore.storage.range_writer import Outcome, Put
from tests.support.stores import put, rid, store, write


def entry(version: str, text: str = "x") -> Entry:
    return Entry({"text": text}, version)


def test_what_is_looked_up_stays_and_the_rest_goes() -> None:
    """Memory is bounded, whatever is asked for."""
    cache = EntryCache(bytes_max=20_000)
    for at in range(100):
        cache.put(entry(str(at)))
        assert cache.get("0") is not None
    assert cache.get("1") is None
    assert len(cache) < 25


async def test_what_is_kept_is_not_seen_by_the_collector(tmp_path: Path) -> None:
    """The event loop waits while Python looks for cycles, and thousands of entries are kept."""

    def item(text: str) -> Item:
        strings = {f"s{at}": {"S": f"{text}{at}"} for at in range(10)}
        others: Item = {"n": {"N": "1.5"}, "z": {"NULL": True}, "l": {"L": [{"S": text}]}}
        return strings | others

    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        for text in ("warm", "up"):
            await file.submit(put("a", item(text)))
        gc.collect()
        gc.disable()
        try:
            before = len(gc.get_objects())
            for number in range(50):
                for text in ("first", "second"):
                    await file.submit(put(f"{number}", item(text)))
            written = len(gc.get_objects()) - before
            it.around.entries.clear()
            for number in range(50):
                file._newest.forget(rid(f"{number}"))
                found = await file.read(rid(f"{number}"))
                assert found is not None
                assert found.answer
            read = len(gc.get_objects()) - before
        finally:
            gc.enable()
        assert len(it.around.entries) == 50
        assert max(written, read) < 100, (written, read)


def test_large_entries_are_not_kept() -> None:
    """One of them would push out many."""
    cache = EntryCache(bytes_max=1 << 30)
    cache.put(entry("a", "x" * (LOOP_ENTRY_BYTES_MAX + 1)))
    assert cache.get("a") is None


async def test_a_read_never_finds_what_was_rolled_back(tmp_path: Path) -> None:
    """An entry is kept when its row is written, whether or not the transaction lasts."""

    class Full(Exception):
        """Anything that undoes a batch."""

    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        first = await file.submit(put("a", {"n": {"N": "1"}}))
        writer = file._writer
        with pytest.MonkeyPatch.context() as patch:

            def fail(*_: object) -> None:
                raise Full

            patch.setattr("dstore.storage.range_log.write_end", fail)
            with pytest.raises(Full):
                await file.submit(put("a", {"n": {"N": "2"}}))
        assert writer._connection.in_transaction is False
        found = await file.read(rid("a"))
        assert found is not None
        assert (found.version, found.item) == (first.version, {"n": {"N": "1"}})
        seen: list[object] = []

        def refuse(previous: Entry | None) -> Outcome:
            seen.append(None if previous is None else previous.item)
            raise ConditionFailed

        with pytest.raises(ConditionFailed):
            await file.submit(write("a", refuse))
        assert seen == [{"n": {"N": "1"}}]


async def test_an_entry_of_the_same_content_again_is_another(tmp_path: Path) -> None:
    """Its version tells; a cached one is not taken for it, nor for one that was deleted."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        first = await file.submit(put("a", {"n": {"N": "1"}}))
        await file.submit(put("a", {"n": {"N": "2"}}))
        again = await file.submit(put("a", {"n": {"N": "1"}}))
        found = await file.read(rid("a"))
        assert found is not None
        assert found.version == again.version != first.version

        def step(previous: Entry | None) -> Outcome:
            assert previous is not None
            return Put({"n": {"N": str(int(previous.item["n"]["N"]) + 1)}})

        for _ in range(10):
            await file.submit(write("a", step))
        found = await file.read(rid("a"))
        assert found is not None
        assert found.item == {"n": {"N": "11"}}


async def test_an_entry_looks_the_same_whether_it_was_kept_or_read(tmp_path: Path) -> None:
    """Attributes are answered in the order of their rows, however they came."""
    names = ["z", "a", "\U0001f600", "\uffff", "B", "é"]
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        await file.submit(put("a", {name: {"S": "x"} for name in names}))
        kept = await file.read(rid("a"))
        await it.files.close()
        it.around.entries.clear()
        read = await (await it.open(range_id)).read(rid("a"))
        assert kept is not None
        assert read is not None
        assert list(kept.cells.items()) == list(read.cells.items())
        assert kept.answer == read.answer


async def test_ranges_never_give_one_version(tmp_path: Path) -> None:
    """All ranges share the cache, and one key's bytes mean another key in another table."""
    async with store(tmp_path) as it:
        files = [await it.open(await it.new_range()) for _ in range(2)]
        versions = [(await file.submit(put("a", {"n": {"N": "1"}}))).version for file in files]
        assert versions[0] != versions[1]


def test_one_goes_as_another_comes() -> None:
    """Nothing is let go of before there is need, and then no more than is needed."""
    cache = EntryCache(bytes_max=10 * entry("0").weight_bytes)
    for at in range(10):
        cache.put(entry(str(at)))
    assert len(cache) == 10
    cache.put(entry("10"))
    assert [cache.get(str(at)) is not None for at in range(11)] == [False, *[True] * 10]
    cache.put(entry("10"))
    assert len(cache) == 10
