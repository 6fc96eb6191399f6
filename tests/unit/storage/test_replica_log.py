"""A replica's log: what is taken in, cut, applied and promised, and that copies become replicas."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dstore.base.clock import SystemClock
from dstore.model.errors import Corrupt
from dstore.storage import range_log, replica_copy, replica_log
from dstore.storage.log_records import LogPoint, LogRecord, RecordKind, digest_of
from dstore.storage.range_writer import Applied, Delete
from dstore.storage.replica_log import Diverged
from dstore.storage.requests import RequestName
from tests.support.replications import OnlyReplica
from tests.support.stores import put, store, two_files, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dstore.storage.range_file import RangeFile

ROWS = "SELECT * FROM v1 ORDER BY RID_ID, C_COL"
REQUESTS = "SELECT PRINCIPAL, REQUEST_ID, ORDINAL, DIGEST, SEQ, ANSWER, TIME_US FROM request"


async def written(file: RangeFile, count: int) -> list[LogRecord]:
    """Write puts, an overwriting one, a delete and a named request; give the whole log."""
    for number in range(count):
        await file.submit(put(f"k{number % 5}", {"n": {"N": str(number)}, "s": {"S": "x"}}))
    name = RequestName(principal="acme", request_id="r", digest=b"d" * 32)
    await file.submit(put("named", {"n": {"N": "1"}}, request=name))
    await file.submit(write("k1", lambda _: Delete()))
    nothing = replace(name, request_id="nothing")
    await file.submit(write("absent", lambda _: Delete(), request=nothing))
    return await log_of(file)


async def log_of(file: RangeFile) -> list[LogRecord]:
    return await file.look(
        lambda connection: range_log.read(connection, after_seq=0, last_seq=1 << 40)
    )


async def state_of(file: RangeFile) -> replica_log.ReplicaState:
    return await file.look(replica_log.read_state)


async def append(
    file: RangeFile, records: list[LogRecord], *, committed_seq: int, epoch: int = 1
) -> LogPoint | None:
    before = records[0].seq - 1
    point = await file.look(lambda connection: replica_log.point_at(connection, before))
    state = await state_of(file)
    after = point or replica_log.beginning_of(state.range_id)
    return await file.change(
        lambda connection: replica_log.append(
            connection, epoch=epoch, after=after, records=records, committed_seq=committed_seq
        )
    )


async def content(file: RangeFile) -> tuple[Any, Any, int]:
    rows, requests = await file.look(
        lambda connection: (
            connection.execute(ROWS).fetchall(),
            connection.execute(REQUESTS).fetchall(),
        )
    )
    return rows, requests, (await state_of(file)).quantity


async def test_what_is_applied_equals_what_was_written(tmp_path: Path) -> None:
    """Rows, requests and the count of a secondary are those of the primary, to the byte."""
    async with two_files(tmp_path) as (one, two):
        records = await written(one, 20)
        assert await append(two, records, committed_seq=records[-1].seq) == records[-1].point
        assert await content(two) == await content(one)
        assert await log_of(two) == records


async def test_what_nobody_wants_to_read_is_left_out_of_the_log(tmp_path: Path) -> None:
    """Who asks for such a place is told that it is gone; behind them the log goes on as ever."""
    async with two_files(tmp_path) as (one, two):
        await one.submit(put("first", {}))
        one._writer.keep_log(None)
        for number in range(3):
            await one.submit(put("a", {"n": {"N": str(number)}}))
        await one.submit(write("first", lambda _: Delete()))
        alone = await state_of(one)
        assert alone.end.seq == alone.thin_seq == 5
        assert [record.seq for record in await log_of(one)] == [1]
        one._writer.keep_log(0)
        await one.submit(put("b", {"n": {"N": "4"}}))
        for seq in range(5):
            assert await one.look(partial(replica_log.point_at, seq=seq)) is None
        assert await one.look(partial(replica_log.point_at, seq=5)) == alone.end
        records = await one.look(partial(replica_log.records_behind, after=alone.end))
        assert records is not None
        assert [record.seq for record in records] == [6]
        assert records[0].follows(alone.end)
        start = replica_copy.CopyStart(epoch=1, point=alone.end, history=())
        await two.change(replica_copy.begin)
        await two.change(
            lambda connection: replica_copy.finish(
                connection, replica_copy.CopyEnd(start=start, whole_seq=5)
            )
        )
        assert await append(two, list(records), committed_seq=6) == records[-1].point
        assert (await state_of(two)).end == (await state_of(one)).end
        assert (await state_of(two)).left_out_us == 0, "it was not left out there"


async def test_a_copy_of_a_disk_that_goes_on_gives_other_versions(tmp_path: Path) -> None:
    """A version is an ETag, and names a decoded entry: no other content may ever have it."""
    async with two_files(tmp_path) as files:
        versions = []
        for file in files:
            file._writer.keep_log(None)
            for text in "xyx":
                done = await file.submit(put("a", {"s": {"S": text}}))
                versions.append(done.version)
        assert len(set(versions)) == len(versions)
        assert len({(await state_of(file)).end for file in files}) == len(files)


async def test_a_batch_that_is_evaluated_again_gives_other_versions(tmp_path: Path) -> None:
    """Its writes may be others, or find other entries, and an entry may be kept already."""
    async with two_files(tmp_path) as (one, _):
        one._writer.keep_log(None)
        await one.submit(put("a", {}))
        versions = set()
        for _ in range(3):
            prepared = one._writer.prepare_at_once([put("a", {}), put("b", {})])
            assert prepared is not None
            assert not prepared.records
            assert not prepared.is_empty
            for answer in prepared.answers:
                assert isinstance(answer, Applied)
                versions.add(answer.version)
            one._writer.abandon()
        assert len(versions) == 6


async def test_when_it_was_written_is_known_without_records(tmp_path: Path) -> None:
    """Who has to accept a loss is shown how old what is left is."""
    async with two_files(tmp_path) as (one, _):
        await opened(one, 2)
        assert await one.look(replica_log.newest_at_us) == 1
        one._writer.keep_log(None)
        before_us = SystemClock().wall_us()
        await one.submit(put("a", {}))
        told_us = await one.look(replica_log.newest_at_us)
        assert before_us <= told_us <= SystemClock().wall_us()
        await opened(one, 3)
        assert await one.look(replica_log.newest_at_us) == told_us


async def test_where_records_were_left_out_the_epoch_is_known(tmp_path: Path) -> None:
    """A tail that is cut there leaves a log of the epoch that it was of."""
    async with two_files(tmp_path) as (one, _):
        one._writer.keep_log(None)
        await one.submit(put("a", {}))
        await opened(one, 2)
        rows = await one.look(
            lambda connection: connection.execute("SELECT SEQ, EPOCH FROM log").fetchall()
        )
        assert rows == [(1, 1), (2, 2)]


async def test_a_batch_in_a_thread_keeps_records_without_images(tmp_path: Path) -> None:
    """Another replica may come while it is evaluated, and is sent them from memory."""
    async with store(tmp_path, replication=OnlyReplica()) as it:
        file = await it.open(await it.new_range())
        await file.submit(put("a", {"n": {"N": "1"}}))  # the first one goes to a thread
        await file.submit(put("a", {"n": {"N": "2"}}))
        [record] = await log_of(file)
        assert record.image is None
        state = await state_of(file)
        assert (record.seq, state.thin_seq, state.end.seq) == (1, 2, 2)
        beginning = replica_log.beginning_of(state.range_id)
        full = msgspec.structs.replace(record, image=b'\x01{"n":{"N":"1"}}')
        assert full.follows(beginning), "the digest covers it all the same"


async def test_what_is_not_committed_is_not_applied(tmp_path: Path) -> None:
    """Records are durable before anybody sees them; later a message says how far to go."""
    async with two_files(tmp_path) as (one, two):
        records = await written(one, 6)
        await append(two, records, committed_seq=0)
        assert (await content(two))[0] == []
        state = await state_of(two)
        assert (state.end, state.applied_seq) == (records[-1].point, 0)
        await append(two, records, committed_seq=records[-1].seq)
        assert await content(two) == await content(one)


async def test_the_same_may_come_again(tmp_path: Path) -> None:
    """A message that is repeated, late or overtaken changes nothing and is answered the same."""
    async with two_files(tmp_path) as (one, two):
        records = await written(one, 8)
        await append(two, records, committed_seq=4)
        assert await append(two, records[:3], committed_seq=2) == records[2].point
        assert await append(two, records[2:6], committed_seq=0) == records[5].point
        assert (await state_of(two)).end == records[-1].point
        assert (await state_of(two)).applied_seq == 4


async def test_a_gap_is_not_jumped(tmp_path: Path) -> None:
    """Records whose predecessor is not there, or is another one, are not taken."""
    async with two_files(tmp_path) as (one, two):
        records = await written(one, 8)
        await append(two, records[:2], committed_seq=0)
        for after in (records[4].point, LogPoint(seq=2, digest=b"?" * 32)):
            found = await two.change(
                partial(
                    replica_log.append, epoch=1, after=after, records=records[5:], committed_seq=0
                )
            )
            assert found is None
        assert (await state_of(two)).end == records[1].point


async def test_a_harmed_record_is_refused_whole(tmp_path: Path) -> None:
    """A record that does not chain to the one before it leaves nothing of its message."""
    async with two_files(tmp_path) as (one, two):
        records = await written(one, 4)
        harmed = [*records[:2], msgspec.structs.replace(records[2], image=b'\x01{"n":{"N":"9"}}')]
        with pytest.raises(Corrupt):
            await append(two, harmed, committed_seq=0)
        assert (await state_of(two)).end.seq == 0


async def opened(file: RangeFile, epoch: int) -> LogRecord:
    """Open an epoch as a primary does, and serve."""
    record = await file.change(
        lambda connection: replica_log.open_epoch(connection, epoch=epoch, time_us=1)
    )
    await file.change(partial(replica_log.serve, epoch=1))
    return record


async def test_a_file_made_in_a_later_epoch_takes_the_log_from_its_beginning(
    tmp_path: Path,
) -> None:
    """A replica that comes to a range late holds records of epochs from before its file."""
    async with two_files(tmp_path, epoch=7) as (one, two):
        records = await written(one, 5)
        assert (await state_of(two)).epoch == 0
        matched = await append(two, records, committed_seq=records[-1].seq, epoch=9)
        assert matched == records[-1].point
        assert await content(two) == await content(one)


async def test_a_tail_of_an_older_epoch_is_cut(tmp_path: Path) -> None:
    """What a primary shipped and nobody acknowledged gives way to a newer epoch's opening."""
    async with two_files(tmp_path) as (one, two):
        records = await written(one, 6)
        await append(two, records[:4], committed_seq=3)
        await append(two, records[4:], committed_seq=3)
        async with two_files_of_the_same_log(tmp_path, records[:4]) as three:
            opening = await opened(three, 2)
            assert opening.kind is RecordKind.OPENING
            assert await append(two, [opening], committed_seq=5, epoch=2) == opening.point
            state = await state_of(two)
            assert (state.end, state.epoch, state.promised_epoch) == (opening.point, 2, 2)
            assert (await content(two))[0] == (await content(three))[0]


@asynccontextmanager
async def two_files_of_the_same_log(
    directory: Path, records: list[LogRecord]
) -> AsyncIterator[RangeFile]:
    """Open a third replica that has only a part of the log."""
    (directory / "three").mkdir()
    async with store(directory / "three") as three:
        range_id = next((directory / "one" / "ranges").glob("*/*.db")).stem
        key = await three.new_range()
        await three.files.create(range_id, three.keys[key])
        three.keys[range_id] = three.keys[key]
        file = await three.open(range_id)
        await append(file, records, committed_seq=records[-1].seq)
        yield file


async def test_nothing_is_cut_within_an_epoch_or_below_what_is_applied(tmp_path: Path) -> None:
    """B7: a replica that should hold other content there is not made to: it is learned anew."""
    async with two_files(tmp_path) as (one, two):
        records = await written(one, 6)
        await append(two, records, committed_seq=5)
        other = records[5]
        changed = msgspec.structs.replace(
            other,
            image=b'\x01{"n":{"N":"9"}}',
            digest=digest_of(
                records[4].digest,
                epoch=1,
                seq=6,
                kind=other.kind.value,
                rid_id=other.rid_id,
                image=b'\x01{"n":{"N":"9"}}',
            ),
        )
        for epoch in (1, 2):
            with pytest.raises(Diverged):
                await append(two, [changed], committed_seq=0, epoch=epoch)
        async with two_files_of_the_same_log(tmp_path, records[:4]) as three:
            opening = await opened(three, 2)  # where `two` has applied a record already
            with pytest.raises(Diverged):
                await append(two, [opening], committed_seq=0, epoch=2)


async def test_a_copy_becomes_a_replica(tmp_path: Path) -> None:
    """Rows of different moments, and the log from before them on, are the same range in the end."""
    async with two_files(tmp_path) as (one, two):
        await written(one, 12)
        await append(two, (await log_of(one))[:3], committed_seq=3)
        start = await one.look(
            lambda connection: replica_copy.CopyStart(
                epoch=1,
                point=replica_log.read_state(connection).end,
                history=replica_log.history(connection),
            )
        )
        await two.change(replica_copy.begin)
        assert await append(two, (await log_of(one))[3:5], committed_seq=0) is None
        while await two.change(replica_copy.wipe_some):
            pass
        place = replica_copy.CopyPlace()
        number = 100
        while not place.is_over:
            page, place = await one.look(partial(replica_copy.read_page, place=place))
            number += 1
            await one.submit(put(f"k{number % 5}", {"n": {"N": str(number)}}))
            await one.submit(write("k3", lambda _: Delete()))
            await two.change(partial(replica_copy.take_page, page=page))
            await two.change(partial(replica_copy.take_page, page=page))
        whole_seq = (await state_of(one)).end.seq
        end = replica_copy.CopyEnd(start=start, whole_seq=whole_seq)
        await two.change(lambda connection: replica_copy.finish(connection, end))
        assert not (await state_of(two)).is_whole
        rest = [record for record in await log_of(one) if record.seq > start.point.seq]
        assert await append(two, rest, committed_seq=whole_seq) == rest[-1].point
        assert (await state_of(two)).is_whole
        assert await content(two) == await content(one)


@pytest.mark.parametrize("count", [1, 6])
async def test_a_copy_knows_the_point_at_which_its_log_begins(tmp_path: Path, count: int) -> None:
    """Who stands there joins it, also when it has gone on alone and has been restarted since."""
    async with two_files(tmp_path) as (one, two):
        for number in range(count):
            await one.submit(put("k", {"n": {"N": str(number)}}))
        point = (await state_of(one)).end
        start = replica_copy.CopyStart(
            epoch=1, point=point, history=await one.look(replica_log.history)
        )
        end = replica_copy.CopyEnd(start=start, whole_seq=point.seq)
        await two.change(replica_copy.begin)
        await two.change(lambda connection: replica_copy.finish(connection, end))
        opening = await opened(two, 2)
        assert await two.look(partial(replica_log.point_at, seq=point.seq)) == point
        assert await two.look(partial(replica_log.records_behind, after=point)) == (opening,)
        for seq in (0, point.seq - 1):
            assert await two.look(partial(replica_log.point_at, seq=seq)) is None
        assert await append(one, [opening], committed_seq=0, epoch=2) == opening.point


async def test_a_harmed_piece_of_a_copy_is_refused(tmp_path: Path) -> None:
    """A page carries its digest from the source's disk to the destination's."""
    async with two_files(tmp_path) as (one, two):
        await written(one, 3)
        page, _ = await one.look(
            lambda connection: replica_copy.read_page(connection, replica_copy.CopyPlace())
        )
        harmed = msgspec.structs.replace(page, parts=page.parts[1:])
        with pytest.raises(Corrupt):
            await two.change(lambda connection: replica_copy.take_page(connection, harmed))
