"""Local indexes are what the entries make of them, whoever changes the entries."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from dstore.model.errors import RefusalKind, Refused
from dstore.model.keys import HASH_BYTES
from dstore.storage import derived_rows, local_indexes, replica_copy, replica_log, sowing
from dstore.storage.replica_copy import CopyPlace
from dstore.storage.sowing import SeedPlace
from tests.support.indexed import SHAPES, check_indexes, kept, prefix, write
from tests.support.stores import Store, store

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from dstore.model.values import Item
    from dstore.storage.range_file import RangeFile

PARTITIONS = ("one", "two", "three\0", "four")
SORTS = [f"s{number}" for number in range(12)]


def _some_item(random: Random) -> Item:
    """An item that is in some of the indexes; values are often those of others."""
    drawn: Item = {
        "n": {"N": random.choice(("1", "1.0", "-2", "3E+4", "0"))},
        "t": {"S": random.choice(("a", "a\0", "b", "é"))},
        "b": {"B": random.choice(("AA==", "AP8=", "Zm9v"))},
        "v": {"L": [{"N": "1"}, {"S": "x" * random.randrange(50)}]},
        "w": {"S": "y" * random.randrange(50)},
        "odd": {"M": {"a": {"NULL": True}}},
    }
    item = {name: value for name, value in drawn.items() if random.random() < 0.6}
    if random.random() < 0.1:
        item["n"] = {"S": "of a type that no index by it takes"}
    if random.random() < 0.1:
        item["t"] = {"S": ""}
    return item


def _some_write(random: Random) -> Any:
    item = None if random.random() < 0.3 else _some_item(random)
    return write(random.choice(PARTITIONS), random.choice(SORTS), item)


async def _load(file: RangeFile, random: Random, *, writes: int) -> None:
    """Write in batches of different lengths, on the event loop and in threads."""
    left = writes
    while left > 0:
        at_once = random.choice((1, 2, 20))
        await asyncio.gather(*[file.submit(_some_write(random)) for _ in range(at_once)])
        left -= at_once


async def _indexed(stored: Store) -> RangeFile:
    stored.keep_indexes(SHAPES)
    return await stored.open(await stored.new_range())


@pytest.mark.parametrize("seed", range(4))
async def test_random_load_and_reopening(tmp_path: Path, seed: int) -> None:
    """Puts, replacements and deletes leave every index equal to a recomputation."""
    random = Random(seed)
    async with store(tmp_path) as it:
        file = await _indexed(it)
        for _ in range(3):
            await _load(file, random, writes=120)
            await file.look(check_indexes)
            await it.files.close()
            file = await it.open(file.path.stem)
        rows, sizes = await file.look(kept)
        assert rows
        assert sizes
        for partition in PARTITIONS:
            for sort in SORTS:
                await file.submit(write(partition, sort, None))
        assert await file.look(kept) == ([], {})


async def test_a_file_of_before_is_brought_up(tmp_path: Path) -> None:
    """A table's indexes are built when its file, which kept none, is opened."""
    with patch.object(local_indexes, "INDEX_BUILT_ENTRIES", 5):
        async with store(tmp_path) as it:
            file = await it.open(await it.new_range())
            assert file.derived is None
            await _load(file, Random(1), writes=100)
            assert await file.look(kept) == ([], {})
            await it.files.close()
            it.keep_indexes(SHAPES)
            file = await it.open(file.path.stem)
            await file.look(check_indexes)
            rows, _ = await file.look(kept)
            assert len(rows) > 20
            await _load(file, Random(2), writes=50)
            await file.look(check_indexes)
            it.keep_indexes(SHAPES[:1])
            await it.files.close()
            file = await it.open(file.path.stem)
            assert file.derived is not None
            assert file.derived.local is not None
            assert file.derived.local.shapes == SHAPES, "what a file keeps it says itself"


async def test_a_file_whose_indexes_nobody_counted(tmp_path: Path) -> None:
    """One that an earlier dStore wrote is counted when it is opened, once."""
    async with store(tmp_path) as it:
        file = await _indexed(it)
        await _load(file, Random(3), writes=80)
        before = file.index_sizes
        assert all(each.entries and each.size_bytes for each in before.values())

        def undo(connection: apsw.Connection) -> None:
            connection.execute("ALTER TABLE derivation DROP COLUMN ENTRIES")
            connection.execute("ALTER TABLE derivation DROP COLUMN SIZE_BYTES")
            connection.pragma("user_version", 7)

        await file.change(undo)
        await it.files.close()
        file = await it.open(file.path.stem)
        assert file.index_sizes == before
        await _load(file, Random(4), writes=40)
        await file.look(check_indexes)


async def test_bringing_up_that_was_cut_short(tmp_path: Path) -> None:
    """It begins again; nothing is counted twice."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await _load(file, Random(1), writes=100)

        def half(connection: apsw.Connection) -> None:
            indexes = local_indexes.LocalIndexes(list(enumerate(SHAPES, start=1)))
            for (rid_id,) in connection.execute("SELECT DISTINCT RID_ID FROM v1 LIMIT 7"):
                indexes.change(
                    connection, rid_id, before=None, after={"n": {"N": "9"}}, is_bounded=False
                )

        await file.change(half)
        await it.files.close()
        it.keep_indexes(SHAPES)
        file = await it.open(file.path.stem)
        await file.look(check_indexes)


async def test_a_write_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    """Neither alone nor among others of its batch."""
    async with store(tmp_path) as it:
        file = await _indexed(it)

        def refuse(_previous: object) -> Any:
            raise Refused(RefusalKind.INVALID, "no")

        def break_down(_previous: object) -> Any:
            raise ZeroDivisionError

        for apply in (refuse, break_down):
            bad = write("one", "s1", None)
            bad = type(bad)(rid_id=bad.rid_id, entry_hash=bad.entry_hash, apply=apply)
            answers = await asyncio.gather(
                file.submit(write("one", "s1", {"n": {"N": "1"}})),
                file.submit(bad),
                file.submit(write("one", "s2", {"n": {"N": "2"}})),
                return_exceptions=True,
            )
            assert isinstance(answers[1], Exception)
            await file.look(check_indexes)
        assert len((await file.look(kept))[0]) == 4


async def test_the_bound_of_a_collection(tmp_path: Path) -> None:
    """What makes it larger is refused, with nothing changed; what makes it smaller is not."""
    async with store(tmp_path) as it:
        file = await _indexed(it)
        first = await file.submit(write("one", "s1", {"w": {"S": "x" * 300}}))
        assert first.collection_bytes == (await file.look(kept))[1][prefix("one")]
        with patch.object(local_indexes, "ITEM_COLLECTION_BYTES_MAX", first.collection_bytes):
            answers = await asyncio.gather(
                file.submit(write("one", "s2", {})),
                file.submit(write("one", "s1", {"w": {"S": "x" * 301}})),
                file.submit(write("one", "s1", {"w": {"S": "y" * 300}})),
                file.submit(write("two", "s1", {"w": {"S": "y" * 299}})),
                return_exceptions=True,
            )
            for refused in answers[:2]:
                assert isinstance(refused, Refused)
                assert refused.kind is RefusalKind.COLLECTION_FULL
            assert not any(isinstance(each, Exception) for each in answers[2:])
            await file.look(check_indexes)
        with patch.object(local_indexes, "ITEM_COLLECTION_BYTES_MAX", 10):
            smaller = await file.submit(write("one", "s1", {"w": {"S": "x"}}))
            assert 10 < smaller.collection_bytes < first.collection_bytes
            gone = await file.submit(write("one", "s1", None))
            assert gone.collection_bytes == 0
        await file.look(check_indexes)


async def _follow(source: RangeFile, target: RangeFile, *, after_seq: int) -> int:
    """Replay the records behind a sequence at another file. Returns: the last one's."""

    def read(connection: apsw.Connection) -> Any:
        state = replica_log.read_state(connection)
        point = replica_log.point_at(connection, after_seq)
        assert point is not None
        return replica_log.records_behind(connection, point, last_seq=state.applied_seq)

    records = await source.look(read)
    assert records is not None
    if records:
        await target.change(lambda connection: replica_log.replay(connection, records))
        return int(records[-1].seq)
    return after_seq


async def test_replay(tmp_path: Path) -> None:
    """A follower's indexes are those of the primary."""
    async with store(tmp_path) as it:
        source, target = await _indexed(it), await _indexed(it)
        source._writer.keep_log(0)
        at = 0
        for seed in range(5):
            await _load(source, Random(seed), writes=40)
            at = await _follow(source, target, after_seq=at)
            await target.look(check_indexes)
        assert await source.look(kept) == await target.look(kept)


async def test_a_copy_in_place_and_its_log(tmp_path: Path) -> None:
    """What a replica had goes with the rows; pages of entries make theirs; the log mends them."""
    with (
        patch.object(replica_copy, "REPLICA_COPY_BYTES", 300),
        patch.object(replica_copy, "REPLICA_COPY_PART_ROWS", 3),
        patch.object(replica_copy, "REPLICA_WIPED_ROWS", 7),
    ):
        async with store(tmp_path) as it:
            source, target = await _indexed(it), await _indexed(it)
            source._writer.keep_log(0)
            await _load(source, Random(1), writes=150)
            await _load(target, Random(2), writes=150)
            await target.change(replica_copy.begin)
            while await target.change(replica_copy.wipe_some):
                pass
            assert await target.look(kept) == ([], {})
            at = (await source.look(replica_log.read_state)).applied_seq
            place, random = CopyPlace(), Random(3)
            while not place.is_over:
                page, place = await source.look(partial(replica_copy.read_page, place=place))
                for _ in range(2):  # it may come again
                    await target.change(partial(replica_copy.take_page, page=page))
                await target.look(check_indexes)
                await _load(source, random, writes=3)
            await _follow(source, target, after_seq=at)
            await target.look(check_indexes)
            assert await source.look(kept) == await target.look(kept)


async def test_children_of_a_split(tmp_path: Path) -> None:
    """Each has the index rows of its own entries, while the parent is written to."""
    at_hash = sorted(int.from_bytes(prefix(each)[:HASH_BYTES], "big") for each in PARTITIONS)[2]
    spans = (sowing.span_of(0, at_hash - 1), sowing.span_of(at_hash, (1 << 32) - 1))
    with patch.object(replica_copy, "REPLICA_COPY_BYTES", 300):
        async with store(tmp_path) as it:
            parent = await _indexed(it)
            parent._writer.keep_log(0)
            random = Random(5)
            await _load(parent, random, writes=100)
            found: list[Any] = []
            for span in spans:
                seed = await _indexed(it)
                assert await seed.change(sowing.prepare) is None
                place, is_level = SeedPlace(), False
                while not is_level:
                    turn = await parent.look(partial(sowing.read_turn, place=place, span=span))
                    assert turn is not None
                    await seed.change(partial(sowing.take_turn, turn=turn))
                    place, is_level = turn.place, turn.is_level
                    await seed.look(check_indexes)
                    if not is_level and random.random() < 0.5:
                        await _load(parent, random, writes=2)
                assert (await seed.look(kept))[0]
                found.append(seed)
            assert len(found) == len(spans)


async def test_a_file_without_indexes_keeps_nothing(tmp_path: Path) -> None:
    """Its writers have nothing to do beside their own work."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await _load(file, Random(1), writes=30)
        assert await file.look(derived_rows.load) is None
        assert await file.look(kept) == ([], {})


async def test_definitions_are_found_by_name(tmp_path: Path) -> None:
    """Numbers are in the order of the declaration; what is not kept has none."""
    async with store(tmp_path) as it:
        file = await _indexed(it)
        assert file.derived is not None
        local = file.derived.local
        assert local is not None
        assert [local.number_of(shape.name) for shape in SHAPES] == [1, 2, 3, 4]
        assert local.number_of("by-nothing") is None
