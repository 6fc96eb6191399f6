"""Memos: what readers of a log are promised, and that what feeds a range is taken once."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
import pytest

from dstore.base.feed_limits import INDEX_LOOP_ROWS
from dstore.model.errors import Corrupt, Refused
from dstore.storage import (
    feeding,
    log_reading,
    memos,
    range_log,
    replica_copy,
    replica_log,
    sowing,
)
from dstore.storage.feeding import FedRow, Feeding, MemoChange, Rows
from dstore.storage.log_records import LogRecord, RecordKind
from dstore.storage.memos import Fed, Reader
from dstore.storage.replica_copy import CopyPlace
from dstore.storage.sowing import SeedPlace
from dstore.storage.writes import Delete, Write
from tests.support.replications import OnlyReplica
from tests.support.stores import put, rid, store, two_files, write

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.storage.range_file import RangeFile

READER = "11111111-1111-4111-8111-111111111111"
MEMO = memos.reader_name(READER)


def feed(what: Feeding) -> Write:
    """Make the write of a feeding."""
    return Write(rid_id=b"", entry_hash=0, apply=lambda _: Delete(), feeding=what)


async def register(file: RangeFile, *names: str) -> Reader:
    """Have a reader noted in a range."""
    range_id = file.path.stem
    await file.submit(feed(MemoChange(MEMO, memos.encode(Reader(range_id=range_id, names=names)))))
    found = await reader_of(file)
    assert found is not None
    return found


async def reader_of(file: RangeFile) -> Reader | None:
    """Read what is noted of the reader."""
    return await file.look(partial(log_reading.find_reader, reader_id=READER))


async def log_of(file: RangeFile) -> list[LogRecord]:
    """Read the whole log."""
    return await file.look(partial(range_log.read, after_seq=0, last_seq=1 << 60))


async def window(file: RangeFile, after_seq: int, **bounds: Any) -> log_reading.Window:
    """Read on behind a record."""
    bounds = {"last_seq": None, "records_max": 1_000, "bytes_max": 1 << 20, **bounds}
    return await file.look(partial(log_reading.read_window, after_seq=after_seq, **bounds))


def rows(source: str, last_seq: int, *rows: FedRow, formers: tuple[str, ...] = ()) -> Write:
    """Make the write of rows that a source brings."""
    return feed(Rows(source, formers, 1, last_seq, rows))


def a_row(seq: int, name: str, value: str | None, *, epoch: int = 1) -> FedRow:
    """Make a row; None: it goes."""
    item = None if value is None else {"v": {"S": value}}
    return FedRow(epoch, seq, rid(name), None if item is None else range_log.image_of(item))


async def value_of(file: RangeFile, name: str) -> str | None:
    """Read an entry's value."""
    entry = await file.read(rid(name))
    return None if entry is None else str(entry.item["v"]["S"])


async def test_records_tell_what_a_reader_wants(tmp_path: Path) -> None:
    """From where a reader is noted on, records have the attributes before that it asks for."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        await file.submit(put("a", {"k": {"S": "1"}, "x": {"S": "x"}}))
        reader = await register(file, "k")
        await file.submit(put("a", {"k": {"S": "2"}}))
        await file.submit(put("b", {"k": {"S": "3"}}))
        await file.submit(write("a", lambda _: Delete()))
        before, noted, *behind = await log_of(file)

    assert before.kind is RecordKind.NOTHING, "nobody wanted it"
    assert (noted.kind, noted.seq) == (RecordKind.MEMO, reader.begun_seq)
    olds = [each.old for each in behind]
    expected = [{"k": {"S": "1"}}, {}, {"k": {"S": "2"}}]
    assert olds == [range_log.image_of(item) for item in expected]
    assert behind[0].image is not None
    point = noted.point
    for record in behind:
        assert record.follows(point)
        point = record.point
    changed = msgspec.structs.replace(behind[0], old=None)
    assert not changed.follows(noted.point), "the digest covers it"


async def test_a_reader_is_noted_once(tmp_path: Path) -> None:
    """Who does not know whether it was noted notes it again, and it begins where it began."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        first = await register(file, "k")
        await file.submit(put("a", {"k": {"S": "1"}}))
        assert await register(file, "k") == first
        assert len(await log_of(file)) == 2


async def test_a_reader_never_goes_back(tmp_path: Path) -> None:
    """A note that comes late, or of who knew less, takes nothing back of what was noted."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        reader = await register(file, "k")
        name = memos.reader_name(READER)
        later = msgspec.structs.replace(
            reader, fed_seq=50, scanned=b"m", is_scanned=True, scanned_items=9, seen_revision=7
        )
        for noted in (later, reader, msgspec.structs.replace(reader, fed_seq=45)):
            await file.submit(feed(MemoChange(name, memos.encode(noted))))
            assert await file.look(partial(memos.reader, reader_id=READER)) == later
        lost = msgspec.structs.replace(reader, is_lost=True)
        await file.submit(feed(MemoChange(name, memos.encode(lost))))
        await file.submit(feed(MemoChange(name, memos.encode(later))))
        found = await file.look(partial(memos.reader, reader_id=READER))
        assert found == msgspec.structs.replace(later, is_lost=True)


async def test_nothing_is_trimmed_behind_a_reader(tmp_path: Path) -> None:
    """The log is kept from where the reader is, and goes when it has read on, is lost, or gone."""
    for last in (None, {"fed_seq": 90}, {"is_lost": True}):
        with (
            patch.object(range_log, "LOG_RECORDS_KEPT", 8),
            patch.object(range_log, "LOG_RECORDS_TRIMMED", 4),
        ):
            (tmp_path / str(last)).mkdir()
            async with store(tmp_path / str(last)) as stored:
                file = await stored.open(await stored.new_range())
                reader = await register(file, "k")
                for number in range(100):
                    await file.submit(put("a", {"k": {"S": str(number)}}))
                assert (await log_of(file))[0].seq == reader.begun_seq
                value = None
                if last is not None:
                    value = memos.encode(msgspec.structs.replace(reader, **last))
                await file.submit(feed(MemoChange(MEMO, value)))
                for number in range(8):
                    await file.submit(put("a", {"k": {"S": str(number)}}))
                assert (await log_of(file))[0].seq > 80


async def test_a_window_ends_where_it_may_be_read(tmp_path: Path) -> None:
    """A reader is given what is applied, in order, within its bounds; a gap is told."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        reader = await register(file, "k")
        for number in range(6):
            await file.submit(put(str(number), {"k": {"S": "v"}}))
        found = await window(file, reader.fed_seq, records_max=4)
        assert [each.seq for each in found.records] == [2, 3, 4, 5]
        assert (found.reached_seq, found.applied_seq, found.is_whole) == (5, 7, True)
        assert (await window(file, 5)).reached_seq == 7
        assert (await window(file, 7)).is_whole
        assert (await window(file, 2, last_seq=4)).reached_seq == 4
        await file.change(lambda connection: connection.execute("DELETE FROM log WHERE SEQ < 5"))
        assert not (await window(file, 2)).is_whole


async def test_records_without_what_is_wanted_are_no_whole_window(tmp_path: Path) -> None:
    """Records of a primary that did not know of the reader can't be told to it."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        await file.submit(put("a", {"k": {"S": "1"}}))
        assert not (await window(file, 0)).is_whole


async def test_rows_are_taken_once(tmp_path: Path) -> None:
    """What comes again, or late, changes nothing: neither rows nor cursor go back."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        first = rows("base", 10, a_row(5, "a", "old"), a_row(9, "b", "old"))
        await file.submit(first)
        await file.submit(rows("base", 20, a_row(12, "a", None), a_row(15, "b", "new")))
        end = len(await log_of(file))
        await file.submit(first)
        await file.submit(rows("base", 15, a_row(11, "a", "late")))
        assert (await value_of(file, "a"), await value_of(file, "b")) == (None, "new")
        assert len(await log_of(file)) == end, "nothing was written"
        assert file.quantity == 1
        await file.submit(rows("other", 3, a_row(2, "c", "its")))
        assert await value_of(file, "c") == "its", "each range has a cursor of its own"


async def test_a_child_goes_on_where_its_parent_was(tmp_path: Path) -> None:
    """The first of a split's child begins at its parent's cursor, and ends it for late messages."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        await file.submit(rows("parent", 10, a_row(5, "a", None), a_row(10, "b", "1")))
        child = ("parent",)
        await file.submit(
            rows("low", 12, a_row(4, "a", "gone"), a_row(12, "c", "2"), formers=child)
        )
        await file.submit(rows("parent", 11, a_row(11, "c", "late")))
        await file.submit(rows("high", 12, a_row(9, "b", "0"), a_row(12, "d", "3"), formers=child))
        found = [await value_of(file, name) for name in "abcd"]
        assert found == [None, "1", "2", "3"]
        fed = await file.look(partial(memos.fed, range_id="parent"))
        assert fed == Fed(epoch=1, seq=10, is_over=True)
        await file.submit(rows("lower", 14, a_row(14, "a", "4"), formers=("parent", "low")))
        await file.submit(rows("parent", 13, a_row(13, "a", "late")))
        assert await value_of(file, "a") == "4", "from two splits ago"


async def test_what_a_former_range_never_told_is_too_late_too(tmp_path: Path) -> None:
    """A message that was on its way while its range was split, once or twice, may be its first."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        await file.submit(rows("lowest", 9, a_row(9, "a", "new"), formers=("parent", "low")))
        await file.submit(rows("low", 7, a_row(7, "a", "older"), formers=("parent",)))
        await file.submit(rows("parent", 5, a_row(5, "a", "oldest")))
        assert await value_of(file, "a") == "new"
        await file.submit(rows("high", 8, a_row(8, "b", "its"), formers=("parent",)))
        assert await value_of(file, "b") == "its", "the other child goes on"


async def test_a_source_that_lost_records_is_refused(tmp_path: Path) -> None:
    """A log that was shorter than what was told of it went on otherwise: that is no order."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        await file.submit(rows("base", 10, a_row(10, "a", "1")))
        later = Rows("base", (), 2, 9, (a_row(9, "a", "2", epoch=2),))
        with pytest.raises(Refused):
            await file.submit(feed(later))
        assert await value_of(file, "a") == "1"
        await file.submit(feed(Rows("base", (), 2, 11, (a_row(11, "a", "3", epoch=2),))))
        assert await value_of(file, "a") == "3"


async def test_a_feeding_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Rows and cursor are one transaction; other writes of the batch are done all the same."""
    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        broken = FedRow(1, 3, rid("b"), b"\x09no image")
        fed = file.submit(rows("base", 4, a_row(2, "a", "1"), broken))
        beside = file.submit(put("c", {"v": {"S": "2"}}))
        with pytest.raises(Corrupt):
            await fed
        await beside
        assert (await value_of(file, "a"), await value_of(file, "c")) == (None, "2")
        assert await file.look(partial(memos.fed, range_id="base")) is None
        assert file.quantity == 1


async def test_what_is_short_is_taken_on_the_event_loop(tmp_path: Path) -> None:
    """Threads that change rows beside it cost both of them more; what takes long goes to one."""
    threads: list[int] = []
    take = feeding.take

    def seen(*args: Any) -> None:
        threads.append(threading.get_ident())
        take(*args)

    def many(seq: int, count: int) -> Write:
        return rows("base", seq, *(a_row(seq, f"k{n}", str(seq)) for n in range(count)))

    async with store(tmp_path) as stored:
        file = await stored.open(await stored.new_range())
        await file.submit(many(1, 2))  # a file's first commits go to a thread
        await file.submit(many(2, 2))
        large = FedRow(1, 9, rid("large"), range_log.image_of({"v": {"S": "x" * 20_000}}))
        with patch.object(feeding, "take", seen):
            for short in (many(3, INDEX_LOOP_ROWS), rows("base", 9, large)):
                await file.submit(short)
                assert {*threads} == {threading.get_ident()}
            threads.clear()
            await file.submit(many(10, INDEX_LOOP_ROWS + 1))
            assert threading.get_ident() not in threads
            await file.submit(rows("base", 11, a_row(11, "large", "small")))  # it was large
            assert threading.get_ident() != threads[-1]
        assert await value_of(file, "large") == "small"
        assert {await value_of(file, f"k{n}") for n in range(INDEX_LOOP_ROWS + 1)} == {"10"}
        assert await file.look(partial(memos.fed, range_id="base")) == Fed(epoch=1, seq=11)


async def test_what_nobody_reads_of_an_index_has_no_records(tmp_path: Path) -> None:
    """Rows and their cursor are left out together; a reader's note, and what follows, are not."""
    shipped: list[list[int]] = []

    class Shipping(OnlyReplica):
        def ship(self, prepared: Any) -> Any:
            seqs = [record.seq for record in prepared.records]
            if seqs:
                assert seqs == [*range(prepared.before.seq + 1, prepared.end.seq + 1)]
            shipped.append(seqs)
            return super().ship(prepared)

    async with store(tmp_path, replication=Shipping()) as stored:
        file = await stored.open(await stored.new_range())
        await file.submit(rows("base", 1, a_row(1, "a", "1")))  # a file's first: in a thread
        shipped.clear()
        for seq in range(2, 6):
            await file.submit(rows("base", seq, a_row(seq, "a", str(seq)), a_row(seq, "b", "b")))
        beside = file.submit(put("c", {"v": {"S": "c"}}))
        told = file.submit(rows("base", 6, a_row(6, "a", "6")))
        behind = file.submit(put("d", {"v": {"S": "d"}}))
        for each in (beside, told, behind):
            await each
        assert shipped == [[]] * 5
        assert await file.look(partial(memos.fed, range_id="base")) == Fed(epoch=1, seq=6)
        await file.submit(rows("base", 5, a_row(4, "a", "late"), a_row(5, "b", "late")))
        state = await file.look(replica_log.read_state)
        assert state.thin_seq == state.end.seq
        assert await file.look(partial(replica_log.point_at, seq=state.end.seq - 1)) is None

        shipped.clear()
        beside = file.submit(rows("base", 7, a_row(7, "a", "7")))
        noted = file.submit(
            feed(MemoChange(MEMO, memos.encode(Reader(range_id=file.path.stem, names=("v",)))))
        )
        told = file.submit(rows("base", 8, a_row(8, "b", "8")))
        for each in (beside, noted, told):
            await each
        kinds = [each.kind for each in await log_of(file) if each.seq > state.end.seq]
        assert kinds[-3:] == [RecordKind.MEMO, RecordKind.PUT, RecordKind.MEMO]
        assert [await value_of(file, name) for name in "abcd"] == ["7", "8", "c", "d"]


async def test_a_copy_has_the_cursor_that_has_no_record(tmp_path: Path) -> None:
    """The only replica leaves cursors out of its log: who joins has them from the copy itself."""
    async with store(tmp_path, replication=OnlyReplica()) as stored:
        file = await stored.open(await stored.new_range())
        for seq in range(1, 5):
            await file.submit(rows("base", seq, a_row(seq, "a", str(seq))))
        state = await file.look(replica_log.read_state)
        assert state.thin_seq == state.end.seq
        other = await stored.open(await stored.new_range())
        await other.change(replica_copy.begin)
        place = CopyPlace()
        while not place.is_over:
            page, place = await file.look(partial(replica_copy.read_page, place=place))
            await other.change(partial(replica_copy.take_page, page=page))
        start = replica_copy.CopyStart(epoch=1, point=state.end, history=())
        end = replica_copy.CopyEnd(start=start, whole_seq=state.end.seq)
        await other.change(partial(replica_copy.finish, end=end))
        await other.change(partial(replica_log.serve, epoch=1))
        await other.submit(rows("base", 3, a_row(3, "a", "late")))
        assert await value_of(other, "a") == "4"
        assert await other.look(partial(memos.fed, range_id="base")) == Fed(epoch=1, seq=4)


async def test_another_replica_has_the_same_memos(tmp_path: Path) -> None:
    """Readers and cursors are replayed as entries are, and keep the log of a secondary too."""
    async with two_files(tmp_path) as (file, other):
        await register(file, "k")
        await file.submit(rows("base", 7, a_row(5, "a", "1")))
        for number in range(30):
            await file.submit(put("x", {"k": {"S": str(number)}}))
        records = await log_of(file)
        with (
            patch.object(replica_log, "LOG_RECORDS_KEPT", 4),
            patch.object(replica_log, "LOG_RECORDS_TRIMMED", 2),
        ):
            await other.change(
                partial(
                    replica_log.append,
                    epoch=1,
                    after=replica_log.beginning_of(file.path.stem),
                    records=records,
                    committed_seq=records[-1].seq,
                )
            )
        assert await reader_of(other) == await reader_of(file)
        assert await other.look(partial(memos.fed, range_id="base")) == Fed(epoch=1, seq=7)
        found = await window(other, 1)
        assert found.is_whole
        assert len(found.records) == 31


async def test_a_copy_brings_what_a_reader_has_not_read(tmp_path: Path) -> None:
    """A replica that was copied can be the next primary: memos and the log behind are there."""
    async with two_files(tmp_path) as (file, other):
        file._writer.keep_log(None)  # for nobody but the reader
        reader = await register(file, "k")
        for number in range(20):
            await file.submit(put(f"k{number % 7}", {"k": {"S": str(number)}}))
        state = await file.look(replica_log.read_state)
        start = replica_copy.CopyStart(epoch=1, point=state.end, history=())
        await other.change(replica_copy.begin)
        place = CopyPlace()
        with patch.object(replica_copy, "REPLICA_COPY_BYTES", 200):
            while not place.is_over:
                page, place = await file.look(partial(replica_copy.read_page, place=place))
                await other.change(partial(replica_copy.take_page, page=page))
                await other.change(partial(replica_copy.take_page, page=page))
        end = replica_copy.CopyEnd(start=start, whole_seq=state.end.seq)
        await other.change(partial(replica_copy.finish, end=end))
        await other.change(partial(replica_log.serve, epoch=1))
        assert await reader_of(other) == reader
        expected, found = await window(file, reader.fed_seq), await window(other, reader.fed_seq)
        assert found == expected
        assert len(found.records) == 20
        await other.submit(put("k0", {"k": {"S": "new"}}))
        [record] = (await window(other, state.end.seq)).records
        assert record.old == range_log.image_of({"k": {"S": "14"}})
        assert await other.look(partial(replica_log.point_at, seq=5)) is None, "for nobody else"


@pytest.mark.parametrize("writes_between", [0, 3])
async def test_children_have_what_a_reader_has_not_read(
    tmp_path: Path, *, writes_between: int
) -> None:
    """Each child of a split has the readers, and what of the parent's log is of its own keys."""
    keys = [f"k{number}" for number in range(30)]
    at_hash = sorted(int.from_bytes(rid(key)[:4], "big") for key in keys)[15]
    spans = (sowing.span_of(0, at_hash - 1), sowing.span_of(at_hash, (1 << 32) - 1))
    with patch.object(replica_copy, "REPLICA_COPY_BYTES", 150):
        async with store(tmp_path) as stored:
            parent = await stored.open(await stored.new_range())
            seeds = [await stored.open(await stored.new_range()) for _ in spans]
            for key in keys[:10]:
                await parent.submit(put(key, {"k": {"S": "0"}}))
            reader = await register(parent, "k")
            for key in keys:
                await parent.submit(put(key, {"k": {"S": "1"}}))
            places = []
            for seed in seeds:
                await seed.change(sowing.prepare)
                places.append(SeedPlace())
            is_level = False
            number = 0
            while not is_level:
                turns = []
                for _ in range(writes_between if number < 20 else 0):
                    number += 1
                    await parent.submit(put(keys[number % 30], {"k": {"S": str(number)}}))
                for at, (seed, span) in enumerate(zip(seeds, spans, strict=True)):
                    turn = await parent.look(partial(sowing.read_turn, place=places[at], span=span))
                    assert turn is not None
                    await seed.change(partial(sowing.take_turn, turn=turn))
                    places[at] = turn.place
                    turns.append(turn)
                is_level = all(turn.is_level for turn in turns) and (
                    len({turn.place.point for turn in turns}) == 1
                )
            end = (await parent.look(replica_log.read_state)).end
            expected = {each.seq: each for each in (await window(parent, reader.fed_seq)).records}
            told = {}
            for seed in seeds:
                assert [place.point for place in places] == [end, end]
                ripen = partial(sowing.ripen, range_id=seed.path.stem, epoch=1, point=end)
                await seed.change(ripen)
                found = await window(seed, reader.fed_seq)
                assert found.is_whole
                assert found.reached_seq <= end.seq
                told.update({each.seq: each for each in found.records})
                mine = await reader_of(seed)
                assert mine is not None
                assert (mine.range_id, mine.formers) == (seed.path.stem, (parent.path.stem,))
            assert {seq: (each.rid_id, each.image, each.old) for seq, each in told.items()} == {
                seq: (each.rid_id, each.image, each.old) for seq, each in expected.items()
            }
