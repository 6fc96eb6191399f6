"""Seeds are exactly what the parent was, half of it each, however it is written to meanwhile."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from dstore.model.errors import Corrupt
from dstore.model.keys import HASH_BYTES
from dstore.storage import replica_copy, replica_log, sowing
from dstore.storage.log_records import LogPoint
from dstore.storage.range_writer import Delete, Put
from dstore.storage.requests import RequestName
from dstore.storage.sowing import SeedPlace
from tests.support.stores import Store, put, rid, store, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstore.storage.range_file import RangeFile

KEYS = [f"k{number}" for number in range(40)]
AT_HASH = sorted(int.from_bytes(rid(key)[:HASH_BYTES], "big") for key in KEYS)[20]
LOW = sowing.span_of(0, AT_HASH - 1)
HIGH = sowing.span_of(AT_HASH, (1 << 32) - 1)


@pytest.fixture(autouse=True)
def _small_pages() -> Iterator[None]:
    with (
        patch.object(replica_copy, "REPLICA_COPY_ROWS", 3),
        patch.object(replica_copy, "REPLICA_COPY_BYTES", 60),
    ):
        yield


def _keep_images(file: RangeFile) -> None:
    file._writer.keep_log(0)


async def _turn(parent: RangeFile, seed: RangeFile, place: SeedPlace, span: Any) -> Any:
    turn = await parent.look(partial(sowing.read_turn, place=place, span=span))
    assert turn is not None
    await seed.change(partial(sowing.take_turn, turn=turn))
    return turn


async def _rows(file: RangeFile) -> list[Any]:
    return await file.look(
        lambda connection: connection.execute("SELECT * FROM v1 ORDER BY RID_ID, C_COL").fetchall()
    )


async def _end(file: RangeFile) -> LogPoint:
    return (await file.look(replica_log.read_state)).end


async def _seeds(stored: Store) -> tuple[RangeFile, RangeFile]:
    seeds = [await stored.open(await stored.new_range()) for _ in range(2)]
    for seed in seeds:
        assert await seed.change(sowing.prepare) is None
        assert not await seed.change(sowing.clear_some)
    return seeds[0], seeds[1]


async def _some_write(parent: RangeFile, random: Random, number: int) -> None:
    key = random.choice(KEYS)
    outcome = Delete() if random.random() < 0.3 else Put({"v": {"N": str(number)}})
    name = RequestName(
        principal="acme", request_id=f"r{number}", digest=b"d" * 32, is_brief=bool(number % 2)
    )
    await parent.submit(write(key, lambda _: outcome, request=name))


@pytest.mark.parametrize("seed", range(8))
async def test_seeds_are_the_parent_at_one_point(tmp_path: Path, seed: int) -> None:
    """Rows, versions, counts and requests, with writes between any two turns."""
    random = Random(seed)
    async with store(tmp_path) as stored:
        parent = await stored.open(await stored.new_range())
        _keep_images(parent)
        for number in range(60):
            await _some_write(parent, random, number)
        low, high = await _seeds(stored)
        places, number = [SeedPlace(), SeedPlace()], 60
        while True:
            turns = [
                await _turn(parent, file, place, span)
                for file, place, span in zip((low, high), places, (LOW, HIGH), strict=True)
            ]
            places = [turn.place for turn in turns]
            if all(turn.is_level for turn in turns):
                break
            for _ in range(random.randrange(3)):
                await _some_write(parent, random, number)
                number += 1
        assert places[0].point == places[1].point == await _end(parent)
        rows = await _rows(parent)
        assert await _rows(low) + await _rows(high) == rows
        heads = [row for row in rows if row[1] == ""]
        assert low.quantity + high.quantity == parent.quantity == len(heads)
        for table in ("request", "name"):
            found = [await file.look(partial(_names, table)) for file in (parent, low, high)]
            assert found[0] <= found[1] | found[2], table


def _names(table: str, connection: Any) -> set[Any]:
    column = "REQUEST_ID" if table == "request" else "SEQ"
    return {row[0] for row in connection.execute(f"SELECT {column} FROM {table}")}  # noqa: S608


async def test_a_ripe_seed_is_a_replica_that_holds_nothing_before(tmp_path: Path) -> None:
    """Who lacks what it begins with gets a copy; two children's logs are never one."""
    async with store(tmp_path) as stored:
        parent = await stored.open(await stored.new_range())
        _keep_images(parent)
        for number in range(10):
            await _some_write(parent, Random(number), number)
        low, high = await _seeds(stored)
        for file, span in ((low, LOW), (high, HIGH)):
            place, is_level = SeedPlace(), False
            while not is_level:
                turn = await _turn(parent, file, place, span)
                place, is_level = turn.place, turn.is_level
            assert not await file.look(sowing.is_ripe)
            point = await _end(parent)
            ripen = partial(sowing.ripen, range_id=file.path.stem, epoch=3, point=point)
            await file.change(ripen)
            await file.change(ripen)
            assert await file.look(sowing.is_ripe)
            state = await file.look(replica_log.read_state)
            assert (state.epoch, state.end.seq, state.applied_seq) == (3, point.seq, point.seq)
            assert await file.look(partial(replica_log.point_at, seq=0)) is None
            base = await file.change(sowing.prepare)
            assert base == state.end
            find = partial(sowing.place_of_ripe, base=base, range_id=file.path.stem)
            found = await parent.look(find)
            assert found is not None
            assert found.point == point
        assert (await _end(low)).digest != (await _end(high)).digest


async def test_a_ripe_seed_is_not_written_to_by_a_turn_that_comes_late(tmp_path: Path) -> None:
    """It may be a range by now."""
    async with store(tmp_path) as stored:
        parent = await stored.open(await stored.new_range())
        _keep_images(parent)
        await _some_write(parent, Random(1), 1)
        low, _ = await _seeds(stored)
        turn = await parent.look(partial(sowing.read_turn, place=SeedPlace(), span=LOW))
        assert turn is not None
        point = await _end(parent)
        await low.change(partial(sowing.ripen, range_id=low.path.stem, epoch=1, point=point))
        with pytest.raises(Corrupt):
            await low.change(partial(sowing.take_turn, turn=turn))


async def test_a_log_without_images_can_not_be_followed(tmp_path: Path) -> None:
    """The seed is filled anew, from when images are kept."""
    async with store(tmp_path) as stored:
        parent = await stored.open(await stored.new_range())
        await parent.submit(put("a", {}))
        read = partial(sowing.read_turn, place=SeedPlace(), span=LOW)
        turn = await parent.look(read)
        assert turn is not None
        await parent.submit(put("b", {}))
        assert await parent.look(partial(sowing.read_turn, place=turn.place, span=LOW)) is None
        _keep_images(parent)
        turn = await parent.look(read)
        assert turn is not None
        await parent.submit(put("c", {}))
        assert await parent.look(partial(sowing.read_turn, place=turn.place, span=LOW)) is not None
