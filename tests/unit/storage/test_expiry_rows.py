"""A range file's expiry rows are what its entries say, whoever writes them, and after any end."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from dstore.model.expiry import ExpiryRule, expires_at_s
from dstore.storage import expiry_rows, log_reading, replica_copy, replica_log, sowing
from dstore.storage.derived_rows import expiry_of
from dstore.storage.entries import scan_entries
from dstore.storage.expiry_rows import EXPIRY_ID, NO_EXPIRY, ExpiryState, advance
from dstore.storage.log_records import RecordKind
from dstore.storage.range_scan import Span
from dstore.storage.replica_copy import CopyPlace
from dstore.storage.sowing import SeedPlace
from dstore.storage.writes import Delete, Expire, Put
from tests.support.stores import put, rid, store, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstore.storage.range_file import RangeFile

RULE = ExpiryRule(attribute="expires")
OTHER = ExpiryRule(attribute="until")
KEYS = [f"k{number}" for number in range(60)]


@pytest.fixture(autouse=True)
def _small_pieces() -> Iterator[None]:
    with (
        patch.object(expiry_rows, "EXPIRY_BUILT_ROWS", 20),
        patch.object(expiry_rows, "EXPIRY_DROPPED_ROWS", 7),
        patch.object(replica_copy, "REPLICA_COPY_BYTES", 200),
    ):
        yield


def some_item(random: Random) -> dict[str, Any]:
    """Make an item that expires, or does not, by either attribute."""
    item: dict[str, Any] = {"a": {"S": "x" * random.randrange(20)}, "z": {"N": "1"}}
    for name in ("expires", "until"):
        kind = random.randrange(5)
        if kind == 0:
            item[name] = {"S": "never"}
        elif kind > 1:
            item[name] = {"N": random.choice(["5", "1E3", "17.5", "0", "-3", str(random.random())])}
    return item


async def some_writes(file: RangeFile, random: Random, count: int) -> None:
    """Put and delete entries, several at once."""
    writes = []
    for _ in range(count):
        key = random.choice(KEYS)
        if random.random() < 0.3:
            writes.append(file.submit(write(key, lambda _: Delete())))
        else:
            writes.append(file.submit(put(key, some_item(random))))
    await asyncio.gather(*writes)


def rows_in(connection: Any) -> list[tuple[bytes, bytes]]:
    """Read the rows as they are stored."""
    return connection.execute(  # type: ignore[no-any-return]
        "SELECT KEY, RID_ID FROM derived WHERE DERIVATION = ? ORDER BY KEY", (EXPIRY_ID,)
    ).fetchall()


def worked_out(connection: Any, rule: ExpiryRule) -> list[tuple[bytes, bytes]]:
    """Work out from the entries what the rows should be."""
    found = []
    for rid_id, entry in scan_entries(connection, Span()):
        at_s = expires_at_s(rule, rid_id, entry.item.get(rule.attribute, {}).get("N"))
        if at_s is not None:
            found.append((at_s.to_bytes(8, "big") + rid_id, rid_id))
    return sorted(found)


async def check(file: RangeFile, rule: ExpiryRule | None) -> None:
    """Hold the rows against the entries; while they are built each must be right."""
    state = expiry_of(file.derived)
    rows = await file.look(rows_in)
    if state.is_dropping:
        return
    if state.rule is None:
        assert rows == []
        return
    expected = await file.look(partial(worked_out, rule=state.rule))
    if state.built_to is None:
        assert state.rule == rule
        assert rows == expected
    else:
        assert set(rows) <= set(expected)
        built_to = state.built_to
        assert {row for row in expected if row[1] <= built_to} <= set(rows)


async def bring(file: RangeFile, rule: ExpiryRule | None, random: Random | None = None) -> None:
    """Have the rows follow from a rule, with writes between any two pieces."""
    while await file.change(partial(advance, wanted=rule), is_aside=True):
        if random is not None:
            await some_writes(file, random, random.randrange(4))
            await check(file, rule)
    await check(file, rule)


@pytest.mark.parametrize("seed", range(10))
async def test_rows_are_what_entries_say(tmp_path: Path, seed: int) -> None:
    """Enabled, changed and disabled on a file that is written to all the while, and reopened."""
    random = Random(seed)
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        await some_writes(file, random, 80)
        for rule in (RULE, OTHER, None, RULE, None, OTHER):
            await bring(file, rule, random)
            await some_writes(file, random, 30)
            await check(file, rule)
            if random.random() < 0.5:
                await it.files.close()
                file = await it.open(range_id)
                assert expiry_of(file.derived).rule == rule
                await check(file, rule)
        assert it.fatal == []


@pytest.mark.parametrize("seed", range(6))
async def test_a_piece_that_was_cut_short_is_gone_on_with(tmp_path: Path, seed: int) -> None:
    """Whoever opens the file next finds in it what is still to be done."""
    random = Random(seed)
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        await some_writes(file, random, 100)
        for rule in (RULE, OTHER, None):
            for _ in range(random.randrange(1, 4)):
                await file.change(partial(advance, wanted=rule), is_aside=True)
            await it.files.close()
            file = await it.open(range_id)
            await check(file, rule)
            await bring(file, rule, random)
        assert expiry_of(file.derived) == NO_EXPIRY


@pytest.mark.parametrize("seed", range(8))
async def test_a_crash_leaves_rows_and_entries_of_one_commit(tmp_path: Path, seed: int) -> None:
    """What lies on the disk at any moment, opened anew: its rows are what its entries say."""
    random = Random(seed)
    running, crashed = tmp_path / "running", tmp_path / "crashed"
    running.mkdir()
    async with store(running) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        await some_writes(file, random, 60)
        rules = [RULE, None, OTHER]
        random.shuffle(rules)
        for rule in rules[: random.randrange(1, 4)]:
            for _ in range(random.randrange(1, 12)):
                await file.change(partial(advance, wanted=rule), is_aside=True)
                await some_writes(file, random, random.randrange(3))

        async def crash(after_s: float) -> None:
            await asyncio.sleep(after_s)
            shutil.copytree(running, crashed)  # as a kill leaves it, a write being half done

        await asyncio.gather(some_writes(file, random, 20), crash(random.random() / 100))
        keys = it.keys
    async with store(crashed) as it:
        it.keys.update(keys)
        file = await it.open(range_id)
        await check(file, expiry_of(file.derived).rule)
        await bring(file, RULE, random)
        assert it.fatal == []


async def test_an_empty_file_has_all_its_rows_at_once(tmp_path: Path) -> None:
    """A new range of a table whose items expire is ready."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        assert not await file.change(partial(advance, wanted=RULE), is_aside=True)
        assert expiry_of(file.derived) == ExpiryState(rule=RULE)


@pytest.mark.parametrize("seed", range(6))
async def test_replicas_and_copies_keep_them(tmp_path: Path, seed: int) -> None:
    """A replica that replays a log, and a copy of pages, have the rows of their own entries."""
    random = Random(seed)
    async with store(tmp_path) as it:
        source = await it.open(await it.new_range())
        source._writer.keep_log(0)
        await some_writes(source, random, 60)
        copy = await it.open(await it.new_range())
        await copy.change(partial(advance, wanted=RULE), is_aside=True)
        await some_writes(copy, random, 20)
        await copy.change(replica_copy.begin)
        while await copy.change(replica_copy.wipe_some):
            pass
        assert await copy.look(rows_in) == []
        assert expiry_of(copy.derived) == ExpiryState(rule=RULE)
        place = CopyPlace()
        while not place.is_over:
            page, place = await source.look(partial(replica_copy.read_page, place=place))
            await copy.change(partial(replica_copy.take_page, page=page))
            await check(copy, RULE)
        await some_writes(source, random, 40)
        await source.submit(write(KEYS[0], lambda _: Expire()))
        records = await source.look(
            lambda connection: replica_log.records_behind(
                connection, replica_log.beginning_of(source.path.stem)
            )
        )
        assert records is not None
        await copy.change(lambda connection: replica_log.replay(connection, records)[0])
        await check(copy, RULE)
        entries = "SELECT RID_ID, C_COL, C_DATA FROM v1 WHERE C_COL != '' ORDER BY RID_ID, C_COL"
        of_both = [
            await file.look(lambda connection: connection.execute(entries).fetchall())
            for file in (source, copy)
        ]
        assert of_both[0] == of_both[1]


@pytest.mark.parametrize("seed", range(4))
async def test_children_of_a_split_have_theirs(tmp_path: Path, seed: int) -> None:
    """Each seed keeps rows for its half, from when its node sets the rule, early or late."""
    random = Random(seed)
    async with store(tmp_path) as it:
        parent = await it.open(await it.new_range())
        parent._writer.keep_log(0)
        await some_writes(parent, random, 60)
        half = (1 << 31) - 1
        for number, bounds in enumerate(((0, half), (half + 1, (1 << 32) - 1))):
            child = await it.open(await it.new_range())
            await child.change(sowing.prepare)
            while await child.change(sowing.clear_some):
                pass
            if number == 0:
                await child.change(partial(advance, wanted=RULE), is_aside=True)
            place, is_level = SeedPlace(), False
            while not is_level:
                turn = await parent.look(
                    partial(sowing.read_turn, place=place, span=sowing.span_of(*bounds))
                )
                assert turn is not None
                await child.change(partial(sowing.take_turn, turn=turn))
                place, is_level = turn.place, turn.is_level
                await check(child, RULE)
            await bring(child, RULE)
            assert expiry_of(child.derived) == ExpiryState(rule=RULE)


async def test_a_write_that_fails_leaves_no_row(tmp_path: Path) -> None:
    """What is undone of a batch takes its rows with it."""

    def broken(_previous: Any) -> Put:
        raise ZeroDivisionError

    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await bring(file, RULE)
        await asyncio.gather(
            file.submit(put("a", {"expires": {"N": "5"}})),
            file.submit(write("b", broken)),
            file.submit(put("c", {"expires": {"N": "6"}})),
            return_exceptions=True,
        )
        await check(file, RULE)
        assert len(await file.look(rows_in)) == 2


async def test_the_log_says_who_removed_it(tmp_path: Path) -> None:
    """The service's own removal is a kind of its own; of what is not there it says nothing."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        file._writer.keep_log(0)
        await file.submit(put("a", {"expires": {"N": "5"}}))
        await file.submit(write("a", lambda _: Expire()))
        await file.submit(write("a", lambda _: Expire()))
        await file.submit(put("a", {}))
        await file.submit(write("a", lambda _: Delete()))
        records = await file.look(
            lambda connection: replica_log.records_behind(
                connection, replica_log.beginning_of(file.path.stem)
            )
        )
        assert records is not None
        assert [record.kind for record in records] == [
            RecordKind.PUT,
            RecordKind.EXPIRE,
            RecordKind.PUT,
            RecordKind.DELETE,
        ]
        read = partial(
            log_reading.read_window, after_seq=0, last_seq=None, records_max=9, bytes_max=9_999
        )
        assert (await file.look(read)).records == records  # global indexes are told as well


async def test_what_is_due_and_what_comes_next(tmp_path: Path) -> None:
    """The oldest first, nothing that is over five years past, nothing of the future."""
    now_s = 1_800_000_000
    year_s = 365 * 24 * 3_600
    times = {
        "long ago": now_s - 5 * year_s,
        "old": now_s - 5 * year_s + 1,
        "now": now_s,
        "soon": now_s + 1,
        "later": now_s + 50,
    }
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await bring(file, RULE)
        for key, at_s in times.items():
            await file.submit(put(key, {"expires": {"N": str(at_s)}}))

        async def due(limit: int) -> Any:
            return await file.look(partial(expiry_rows.due, now_s=now_s, limit=limit))

        async def next_s(at_s: int) -> int | None:
            return await file.look(partial(expiry_rows.next_s, now_s=at_s))

        assert await due(10) == [(times["old"], rid("old")), (now_s, rid("now"))]
        assert await due(1) == [(times["old"], rid("old"))]
        assert await next_s(now_s) == times["old"]
        assert await next_s(now_s + 5 * year_s) == times["soon"]
        assert await next_s(now_s + 9 * year_s) is None


async def test_what_was_written_is_told(tmp_path: Path) -> None:
    """Who waits for the next time hears when an earlier one was written, and of nothing else."""
    heard: list[int] = []
    async with store(tmp_path) as it:
        it.around.listeners.expiring = lambda _range_id, at_s: heard.append(at_s)
        file = await it.open(await it.new_range())
        await file.submit(put("a", {"expires": {"N": "7"}}))
        assert heard == []
        await bring(file, RULE)
        await file.submit(put("b", {"expires": {"N": "9"}}))
        await file.submit(put("c", {"expires": {"S": "9"}}))
        await file.submit(write("b", lambda _: Delete()))
        assert heard == [9]
