"""The newest versions: never older than what is committed, whoever committed it, and bounded."""

import asyncio
import random
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dstore.base.limits import LOOP_ENTRY_BYTES_MAX
from dstore.storage import newest_versions
from dstore.storage.entries import Entry
from dstore.storage.newest_versions import NewestVersions
from dstore.storage.range_writer import Delete, Outcome, Put
from tests.support.stores import put, rid, store, write

NAMES = ("a", "b", "c", "d", "e", "f")


def test_what_is_in_use_stays_and_the_rest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, whatever is asked for."""
    monkeypatch.setattr(newest_versions, "_GENERATION_MAX", 10)
    newest = NewestVersions()
    for at in range(100):
        newest.note(b"%d" % at, str(at))
        assert newest.get(b"0") == "0"
    assert newest.get(b"1") is None
    assert len(newest._young) + len(newest._old) <= 20


def test_nothing_read_is_noted_while_a_batch_is_away() -> None:
    """A read beside a thread may be old when it is asked for again."""
    newest = NewestVersions()
    newest.note(b"a", "1")
    newest.handed_over([b"a"])
    newest.note_read(b"a", "1")
    assert newest.get(b"a") is None
    newest.came_back()
    newest.note_read(b"a", "2")
    assert newest.get(b"a") == "2"


def _deletes(_previous: Entry | None) -> Outcome:
    return Delete()


@pytest.mark.parametrize("seed", range(6))
async def test_reads_see_every_acknowledged_write(tmp_path: Path, seed: int) -> None:
    """I7: batches of the event loop and of threads, deletes, refusals and reads in any order."""
    rng = random.Random(seed)
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        expected: dict[str, str | None] = dict.fromkeys(NAMES)
        for step in range(150):
            futures = []
            for _ in range(rng.randrange(1, 5)):
                name, text = rng.choice(NAMES), str(step)
                if rng.random() < 0.2:
                    futures.append(file.submit(write(name, _deletes)))
                    expected[name] = None
                    continue
                if rng.random() < 0.2:  # of an entry this large its next write goes to a thread
                    text += "x" * LOOP_ENTRY_BYTES_MAX
                futures.append(file.submit(put(name, {"text": {"S": text}})))
                expected[name] = text
            if rng.random() < 0.5:  # beside the batch, before anything is acknowledged
                await file.read(rid(rng.choice(NAMES)))
            await asyncio.gather(*futures)
            name = rng.choice(NAMES)
            found = await file.read(rid(name))
            seen = None if found is None else found.item["text"]["S"]
            assert seen == expected[name]


async def test_a_read_beside_a_thread_is_not_remembered(tmp_path: Path) -> None:
    """What is read while a thread commits is read again afterwards."""
    started, may_go = Event(), Event()

    def slow(_previous: Entry | None) -> Outcome:
        started.set()
        assert may_go.wait(10)
        return Put({"text": {"S": "new"}})

    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        large: dict[str, Any] = {"text": {"S": "x" * (LOOP_ENTRY_BYTES_MAX + 1)}}
        await file.submit(put("a", large))
        writing = file.submit(write("a", slow))
        await asyncio.get_running_loop().run_in_executor(None, started.wait, 10)
        before = await file.read(rid("a"))
        assert before is not None
        assert before.item == large
        may_go.set()
        await writing
        after = await file.read(rid("a"))
        assert after is not None
        assert after.item == {"text": {"S": "new"}}
