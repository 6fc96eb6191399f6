"""Brief names are known after a restart and on every replica, within their bounds (I9)."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from dstore.base.limits import (
    NAME_ANSWER_BYTES_MAX,
    NAMES_ROW_BYTES,
    NAMES_ROWS_TRIMMED,
    REQUEST_RETENTION_S,
)
from dstore.model.errors import ConditionFailed, Corrupt
from dstore.storage import brief_names, range_log, replica_copy, replica_log
from dstore.storage.brief_names import NamedAnswer, name_of
from dstore.storage.name_index import HeldNames, NameIndex
from dstore.storage.range_writer import Applied, Delete, Put, Write
from dstore.storage.requests import RequestName
from dstore.storage.schema import Schema, upgrade
from tests.support.stores import rid, store, two_files, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstore.storage.entries import Entry
    from dstore.storage.log_records import LogRecord
    from dstore.storage.range_file import RangeFile

NAME = RequestName(principal="acme/DSAK", request_id="r", digest=b"d" * 32, is_brief=True)
KEPT_US = REQUEST_RETENTION_S * 1_000_000
BEGAN_US = 1_800_000_000_000_000


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    """Give a range's schema in memory."""
    with closing(apsw.Connection(":memory:")) as made:
        upgrade(made, Schema.RANGE)
        yield made


def named(number: int, answer: bytes | None = None) -> NamedAnswer:
    return NamedAnswer(b"%012d" % number, False, "v", answer)


def add_one(previous: Entry | None) -> Put:
    count = 0 if previous is None else int(previous.item["n"]["N"])
    return Put({"n": {"N": str(count + 1)}})


def counted(applied: Applied) -> bytes:
    assert isinstance(applied.outcome, Put)
    return str(applied.outcome.item["n"]["N"]).encode()


def increment(name: RequestName, key: str = "n") -> Write:
    rid_id = rid(key)
    entry_hash = int.from_bytes(rid_id[:4], "big")
    return Write(rid_id=rid_id, entry_hash=entry_hash, apply=add_one, request=name, answer=counted)


async def count_of(file: RangeFile, key: str = "n") -> int:
    entry = await file.read(rid(key))
    return 0 if entry is None else int(entry.item["n"]["N"])


async def test_a_name_is_known_when_the_file_is_opened_again(tmp_path: Path) -> None:
    """With the answer that was made before the write was committed, and the version."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        first = await file.submit(increment(NAME))
        await file.submit(increment(replace(NAME, request_id="other")))
        await it.files.close()
        assert len(it.around.names) == 0
        file = await it.open(range_id)
        for _ in range(2):
            again = await file.submit(increment(NAME))
            told = (again.existed, again.version, again.answer, again.outcome)
            assert told == (first.existed, first.version, b"1", None)
        assert await count_of(file) == 2


async def test_a_repetition_in_the_same_batch_is_found(tmp_path: Path) -> None:
    """A client that is in a hurry is answered the same every time."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        for name in (NAME, replace(NAME, request_id="on-the-loop")):
            answers = await asyncio.gather(*(file.submit(increment(name)) for _ in range(5)))
            assert len({each.version for each in answers}) == 1
        assert await count_of(file) == 2


async def test_what_was_refused_is_judged_again(tmp_path: Path) -> None:
    """A refusal takes no name, nor a place in the log; doing nothing takes both."""

    def refuse(_previous: Entry | None) -> Put:
        raise ConditionFailed("no")

    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        file._writer.keep_log(0)
        with pytest.raises(ConditionFailed):
            await file.submit(write("n", refuse, request=NAME))
        assert await log_of(file) == []
        for _ in range(2):
            gone = await file.submit(write("n", lambda _: Delete(), request=NAME))
            assert (gone.existed, gone.version) == (False, None)
            await file.submit(increment(replace(NAME, request_id="between")))
        assert await count_of(file) == 1
        assert [record.kind for record in await log_of(file)] == ["nothing", "put"]


async def test_one_that_breaks_down_takes_no_name_with_it(tmp_path: Path) -> None:
    """Of a batch that falls apart each write is found by its own name, and no other."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        broken = replace(NAME, request_id="broken")

        def break_down(_applied: Applied) -> bytes:
            raise ZeroDivisionError

        failing = Write(
            rid_id=rid("n"), entry_hash=0, apply=add_one, request=broken, answer=break_down
        )
        answers = await asyncio.gather(
            file.submit(increment(NAME)), file.submit(failing), return_exceptions=True
        )
        assert isinstance(answers[1], ZeroDivisionError)
        await asyncio.gather(file.submit(increment(NAME)), file.submit(increment(broken)))
        assert await count_of(file) == 2


async def test_a_large_answer_is_not_kept(tmp_path: Path) -> None:
    """It would be copied to every replica; who asks again hears that nobody knows it."""
    large = b"x" * (NAME_ANSWER_BYTES_MAX + 1)
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        asked = Write(
            rid_id=rid("n"), entry_hash=0, apply=add_one, request=NAME, answer=lambda _: large
        )
        first = await file.submit(asked)
        assert first.answer == large
        again = await file.submit(asked)
        assert (again.answer, again.outcome, again.version) == (None, None, first.version)


async def test_the_answers_of_a_batch_fit_messages(tmp_path: Path) -> None:
    """One row held the answers of 64 writes, of 1 MiB each: a copy of it could never be sent."""
    large = b"x" * NAME_ANSWER_BYTES_MAX
    names = [replace(NAME, ordinal=number) for number in range(20)]

    def asked(name: RequestName) -> Write:
        rid_id = rid(str(name.ordinal))
        return Write(
            rid_id=rid_id, entry_hash=0, apply=add_one, request=name, answer=lambda _: large
        )

    def sizes(connection: apsw.Connection) -> list[int]:
        rows: list[Any] = connection.execute("SELECT length(NAMES) FROM name").fetchall()
        return [row[0] for row in rows]

    async with two_files(tmp_path) as (ours, theirs):
        await asyncio.gather(*(ours.submit(asked(name)) for name in names))
        await appended(theirs, await log_of(ours))
        for file in (ours, theirs):
            row_bytes = await file.look(sizes)
            assert max(row_bytes) < NAMES_ROW_BYTES + NAME_ANSWER_BYTES_MAX + 1_000
            assert sum(row_bytes) > len(names) * NAME_ANSWER_BYTES_MAX
            for name in names:
                assert (await file.submit(asked(name))).answer == large


async def log_of(file: RangeFile) -> list[Any]:
    return await file.look(
        lambda connection: range_log.read(connection, after_seq=0, last_seq=1 << 40)
    )


@pytest.mark.parametrize("is_copied", [True, False])
async def test_another_replica_knows_the_names(tmp_path: Path, *, is_copied: bool) -> None:
    """Those in the log that it applies, and those in a copy of the rows: it may be primary next."""
    async with two_files(tmp_path) as (ours, theirs):
        names = [replace(NAME, ordinal=number) for number in range(20)]
        for name in names:
            await ours.submit(increment(name))
        if is_copied:
            await copied(ours, theirs)
        else:
            records = await log_of(ours)
            assert records[0].name is not None
            await appended(theirs, records[:10])
            await appended(theirs, records[10:])
        for name in names:
            again = await theirs.submit(increment(name))
            assert (again.outcome, again.answer) == (None, b"%d" % (name.ordinal + 1))
        assert await count_of(theirs) == 20


async def appended(file: RangeFile, records: list[Any]) -> None:
    before = records[0].seq - 1
    after = await file.look(lambda connection: replica_log.point_at(connection, before))
    if after is None:
        state = await file.look(replica_log.read_state)
        after = replica_log.beginning_of(state.range_id)
    seq = records[-1].seq
    await file.change(
        lambda connection: replica_log.append(
            connection, epoch=1, after=after, records=records, committed_seq=seq
        )
    )


async def copied(source: RangeFile, target: RangeFile) -> None:
    """Copy all that there is, one row of names a page."""
    start = await source.look(
        lambda connection: replica_copy.CopyStart(
            epoch=1,
            point=replica_log.read_state(connection).end,
            history=replica_log.history(connection),
        )
    )
    await target.change(replica_copy.begin)
    while await target.change(replica_copy.wipe_some):
        pass
    place = replica_copy.CopyPlace()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replica_copy, "REPLICA_COPY_BYTES", 1)
        while not place.is_over:
            page, place = await source.look(partial(replica_copy.read_page, place=place))
            for _ in range(2):  # a page may come twice
                await target.change(partial(replica_copy.take_page, page=page))
    end = replica_copy.CopyEnd(start=start, whole_seq=start.point.seq)
    await target.change(lambda connection: replica_copy.finish(connection, end))
    await target.change(partial(replica_log.serve, epoch=1))


async def test_what_is_shipped_is_what_is_in_the_log(tmp_path: Path) -> None:
    """Records are gathered while they are written, and not read again."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        end = file._writer.end.copy()
        gathered: list[LogRecord] = []
        end.records = gathered
        await file.change(
            lambda connection: [
                range_log.append(
                    connection,
                    end,
                    kind=kind,
                    rid_id=b"k",
                    item=item,
                    request=None,
                    time_us=1,
                    name=brief_names.mark_of(named(1, b"a")),
                )
                for kind, item in (("put", {"a": {"S": "b"}}), ("delete", None))
            ]
        )
        assert gathered == await log_of(file)


def test_a_name_is_known_for_its_time_and_not_longer(connection: apsw.Connection) -> None:
    """As long as one that has a row of its own."""
    brief_names.keep(connection, [named(1)], seq=5, time_us=BEGAN_US)
    name = named(1).name
    late_us = BEGAN_US + KEPT_US
    assert brief_names.find(connection, name, seq=5, time_us=late_us) == named(1)
    assert brief_names.find(connection, name, seq=5, time_us=late_us + 1) is None
    assert brief_names.find(connection, name, seq=4, time_us=BEGAN_US) is None
    assert brief_names.find(connection, named(2).name, seq=5, time_us=BEGAN_US) is None
    assert list(brief_names.rows_since(connection, time_us=late_us + 1)) == []


def test_names_of_one_record_that_come_twice_are_all_kept(connection: apsw.Connection) -> None:
    """A copy and the log behind it may divide them among rows in other ways."""
    brief_names.keep(connection, [named(1), named(2)], seq=5, time_us=BEGAN_US)
    brief_names.keep(connection, [named(2), named(3)], seq=5, time_us=BEGAN_US)
    rows = list(brief_names.rows_since(connection, time_us=BEGAN_US))
    assert rows == [(5, [named(number).name for number in (1, 2, 3)])]


@pytest.mark.parametrize("bound", ["count", "bytes", "time"])
def test_names_beyond_a_bound_go(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """Whichever is met first; the newest always stay."""
    monkeypatch.setattr(brief_names, "NAMES_KEPT", 50 if bound == "count" else 10_000)
    monkeypatch.setattr(brief_names, "NAMES_BYTES_KEPT", 5_000 if bound == "bytes" else 1 << 30)
    step_us = KEPT_US // 50 if bound == "time" else 1
    for number in range(1, 301):
        time_us = BEGAN_US + number * step_us
        brief_names.keep(connection, [named(number, b"x" * 80)], seq=number, time_us=time_us)
        if number % (NAMES_ROWS_TRIMMED // 2) == 0:
            brief_names.trim(connection, seq=number, time_us=time_us)
    seqs = [seq for seq, _ in brief_names.rows_since(connection, time_us=0)]
    assert 40 <= len(seqs) <= 50 + NAMES_ROWS_TRIMMED
    assert seqs == list(range(301 - len(seqs), 301))


def test_a_harmed_row_is_told(connection: apsw.Connection) -> None:
    """A row that is none may hide a name: no write may go on as if there were none."""
    connection.execute("INSERT INTO name VALUES (1, ?, 1, x'00')", (BEGAN_US,))
    with pytest.raises(Corrupt):
        brief_names.find(connection, b"n" * 12, seq=1, time_us=BEGAN_US)


def test_names_differ_in_every_part() -> None:
    """Whose, which, what, and the how manieth: none of them runs into the next one."""
    others = (
        replace(NAME, principal="acme/DSAL"),
        replace(NAME, request_id="s"),
        replace(NAME, digest=b"e" * 32),
        replace(NAME, ordinal=1),
    )
    assert len({name_of(one) for one in (NAME, *others)}) == 5
    assert name_of(NAME) == name_of(replace(NAME))


def test_what_all_files_hold_is_bounded() -> None:
    """The oldest go first, of whichever file; a quiet file keeps what it was given lately."""
    held = HeldNames(80)
    busy, quiet = NameIndex(held), NameIndex(held)
    quiet.note([b"early"], 1)
    for number in range(1_000):
        busy.note([b"%d" % number], number)
        assert len(held) <= 80
        if number == 950:
            quiet.note([b"late"], 2)
    assert quiet.find(b"early") is None
    assert quiet.find(b"late") == 2
    assert [busy.find(b"%d" % number) for number in range(935, 1_000)] == [*range(935, 1_000)]
    assert busy.find(b"900") is None
    busy.clear()
    assert len(held) == 1
    assert busy.find(b"999") is None
    busy.note([b"again"], 7)
    assert busy.find(b"again") == 7
