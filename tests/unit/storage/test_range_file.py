"""A range file: durable batches, refusals among them, reads beside them, counts, versions."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from dstore.base.limits import LOG_RECORDS_KEPT, LOG_RECORDS_TRIMMED, WRITE_QUEUE_DEPTH_MAX
from dstore.model.errors import ConditionFailed, Corrupt, Unavailable
from dstore.storage.entries import Entry
from dstore.storage.failures import no_space
from dstore.storage.range_writer import Applied, Delete, Outcome, Put, Write
from dstore.storage.requests import RequestName
from tests.support.stores import put, rid, store, write


def text(value: str) -> dict[str, dict[str, str]]:
    """An item of one attribute."""
    return {"name": {"S": value}}


async def test_entry_reads_back_as_it_was_put_also_after_reopening(tmp_path: Path) -> None:
    """The one thing a store is for (I1)."""
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        applied = await file.submit(put("a", text("one") | {"empty": {"NULL": True}}))
        assert (applied.existed, applied.previous) == (False, None)
        await it.files.close()
        reopened = await it.open(range_id)
        entry = await reopened.read(rid("a"))
        assert entry is not None
        assert entry.item == text("one") | {"empty": {"NULL": True}}
        assert entry.version == applied.version
        assert reopened.quantity == 1


async def test_an_entry_without_attributes_exists(tmp_path: Path) -> None:
    """The head row says so; without it an empty object would be no entry."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await file.submit(put("a", {}))
        entry = await file.read(rid("a"))
        assert entry is not None
        assert entry.item == {}


async def test_replacing_removes_the_rows_that_are_gone(tmp_path: Path) -> None:
    """A write touches only rows that differ, and must not leave any behind."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        first = await file.submit(put("a", text("one") | {"old": {"N": "1"}}))
        second = await file.submit(put("a", text("one") | {"new": {"BOOL": False}}))
        entry = await file.read(rid("a"))
        assert entry is not None
        assert entry.item == text("one") | {"new": {"BOOL": False}}
        assert second.existed
        assert second.previous is not None
        assert second.previous.item == text("one") | {"old": {"N": "1"}}
        assert first.version != second.version
        assert file.quantity == 1


async def test_a_version_is_not_used_again_after_a_delete(tmp_path: Path) -> None:
    """Else an old ETag could match a new entry of the same content."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        first = await file.submit(put("a", text("one")))
        gone = await file.submit(write("a", lambda _previous: Delete()))
        assert (gone.existed, gone.version) == (True, None)
        assert await file.read(rid("a")) is None
        assert file.quantity == 0
        again = await file.submit(put("a", text("one")))
        assert again.version != first.version


async def test_a_refusal_fails_its_own_write_only(tmp_path: Path) -> None:
    """Writes of strangers share a batch; they must not share a fate."""

    def refuse(_previous: Entry | None) -> Outcome:
        raise ConditionFailed("no")

    def break_down(_previous: Entry | None) -> Outcome:
        raise ZeroDivisionError

    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        answers = await asyncio.gather(
            file.submit(put("a", text("1"))),
            file.submit(write("b", refuse)),
            file.submit(write("c", break_down)),
            file.submit(put("d", text("2"))),
            return_exceptions=True,
        )
        assert [type(answer).__name__ for answer in answers] == [
            "Applied",
            "ConditionFailed",
            "ZeroDivisionError",
            "Applied",
        ]
        assert await file.read(rid("a")) is not None
        assert await file.read(rid("b")) is None
        assert await file.read(rid("c")) is None
        assert file.quantity == 2
        assert it.fatal == []


async def test_writes_of_one_batch_see_each_other_in_order(tmp_path: Path) -> None:
    """64 increments that arrive together are 64 increments."""

    def increment(previous: Entry | None) -> Put:
        count = 0 if previous is None else int(previous.item["n"]["N"])
        return Put({"n": {"N": str(count + 1)}})

    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await asyncio.gather(*(file.submit(write("n", increment)) for _ in range(200)))
        entry = await file.read(rid("n"))
        assert entry is not None
        assert entry.item == {"n": {"N": "200"}}


async def test_a_named_request_is_applied_once_and_answered_again(tmp_path: Path) -> None:
    """I9: the same name and content again changes nothing, also after reopening."""
    name = RequestName(principal="t/k", request_id="r1", digest=b"1")
    async with store(tmp_path) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        first = await file.submit(put("a", text("one"), request=name))
        await file.submit(put("a", text("two")))
        await it.files.close()
        file = await it.open(range_id)
        again = await file.submit(put("a", text("one"), request=name))
        assert (again.existed, again.version) == (first.existed, first.version)
        entry = await file.read(rid("a"))
        assert entry is not None
        assert entry.item == text("two")


@pytest.mark.parametrize(
    "other",
    [
        RequestName(principal="t/k", request_id="r1", digest=b"2"),
        RequestName(principal="t/l", request_id="r1", digest=b"1"),
        RequestName(principal="t/k", request_id="r1", digest=b"1", ordinal=1),
    ],
)
async def test_another_request_is_applied(tmp_path: Path, other: RequestName) -> None:
    """The same id with other content, or of somebody else, is another request."""
    name = RequestName(principal="t/k", request_id="r1", digest=b"1")
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await file.submit(put("a", text("one"), request=name))
        await file.submit(put("a", text("two"), request=other))
        entry = await file.read(rid("a"))
        assert entry is not None
        assert entry.item == text("two")


async def test_scan_pages_in_key_order(tmp_path: Path) -> None:
    """Pages together are the whole, each bounded in entries and bytes."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        names = [f"k{i}" for i in range(50)]
        await asyncio.gather(*(file.submit(put(name, text("x" * 100))) for name in names))
        found: list[bytes] = []
        after = b""
        while True:
            page = await file.scan(after=after, before=None, limit=7, bytes_max=10_000)
            assert len(page.entries) <= 7
            found += [rid_id for rid_id, _ in page.entries]
            if page.is_last:
                break
            after = found[-1]
        assert found == sorted(rid(name) for name in names)
        small = await file.scan(after=b"", before=None, limit=50, bytes_max=250)
        assert 1 <= len(small.entries) < 5
        assert not small.is_last
        bounded = await file.scan(after=found[3], before=found[6], limit=50, bytes_max=10_000)
        assert [rid_id for rid_id, _ in bounded.entries] == found[4:6]


async def test_a_full_queue_refuses_and_keeps_what_it_took(tmp_path: Path) -> None:
    """Bounded, definite and early: the refused write was not queued, the others are done."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        taken = [file.submit(put(f"k{i}", text("x"))) for i in range(WRITE_QUEUE_DEPTH_MAX)]
        with pytest.raises(Unavailable) as caught:
            await file.submit(put("more", text("x")))
        assert caught.value.retry_after_ms is not None
        await asyncio.gather(*taken)
        assert file.quantity == len(taken)


async def test_the_log_is_folded_beside_writes_and_trimmed(tmp_path: Path) -> None:
    """Neither the write-ahead log nor the table of what was done may grow for ever."""
    async with store(tmp_path, wal_pages_checkpoint=100) as it:
        range_id = await it.new_range()
        file = await it.open(range_id)
        count = LOG_RECORDS_KEPT + 3 * LOG_RECORDS_TRIMMED
        for start in range(0, count, 64):
            await asyncio.gather(
                *(file.submit(put(f"k{i % 50}", text(str(i)))) for i in range(start, start + 64))
            )
        for _ in range(200):
            await file.submit(put("last", text("x")))
        assert file.log_pages < 2_000
        kept: int = await file._in_thread(
            lambda reader: reader.execute("SELECT count(*) FROM log").get
        )
        assert kept <= LOG_RECORDS_KEPT + LOG_RECORDS_TRIMMED
        assert file.quantity == 51
        assert it.fatal == []


async def test_reads_beside_writes_see_whole_entries(tmp_path: Path) -> None:
    """A reader meets each entry before or after a write, never between its rows."""
    async with store(tmp_path, wal_pages_checkpoint=50) as it:
        file = await it.open(await it.new_range())
        stop = asyncio.Event()

        async def write_on() -> None:
            for i in range(300):
                value = {f"a{j}": {"N": str(i)} for j in range(8)}
                await asyncio.gather(*(file.submit(put(f"k{k}", value)) for k in range(4)))
            stop.set()

        async def read_on() -> int:
            reads = 0
            while not stop.is_set():
                for k in range(4):
                    entry = await file.read(rid(f"k{k}"))
                    if entry is not None:
                        assert len({value["N"] for value in entry.item.values()}) == 1
                        reads += 1
                page = await file.scan(after=b"", before=None, limit=10, bytes_max=10**6)
                for _, entry in page.entries:
                    assert len({value["N"] for value in entry.item.values()}) == 1
                await asyncio.sleep(0)
            return reads

        _, reads = await asyncio.gather(write_on(), read_on())
        assert reads > 0


async def test_a_batch_that_falls_apart_tells_each_write_its_own_fate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writes are committed one by one, one's full disk must not deny another's commit."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        writer = file._writer
        commit = writer._commit_together
        calls: list[int] = []

        def third_time_full(writes: Sequence[Write]) -> Sequence[Applied | Exception]:
            calls.append(len(writes))
            if len(calls) == 1:
                raise ZeroDivisionError
            if len(calls) == 3:
                raise no_space()
            return commit(writes)

        monkeypatch.setattr(writer, "_commit_together", third_time_full)
        answers = await asyncio.gather(
            *(file.submit(put(name, text(name))) for name in "abc"), return_exceptions=True
        )
        kinds = [type(answer).__name__ for answer in answers]
        assert kinds == ["Applied", "Unavailable", "Applied"]
        assert await file.read(rid("a")) is not None
        assert await file.read(rid("b")) is None


async def test_a_change_says_that_the_file_is_malformed(tmp_path: Path) -> None:
    """A replica that SQLite's own error came out of was never given a copy."""

    def malformed(_connection: apsw.Connection) -> None:
        raise apsw.CorruptError

    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        with pytest.raises(Corrupt):
            await file.change(malformed)
        await file.submit(put("a", text("one")))
