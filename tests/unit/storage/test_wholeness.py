"""What a replica shows to who need not see the newest: what it has applied, no half copies."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from dstore.model.errors import NotMine
from dstore.storage import replica_copy, replica_log
from dstore.storage.range_scan import Span
from dstore.storage.wholeness import check_whole
from tests.support.stores import put, rid, two_files
from tests.unit.storage.test_replica_log import append, log_of, written

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.storage.entries import Entry
    from dstore.storage.range_file import RangeFile


class NoPrimary:
    """The replication of a file whose replica is not the primary."""

    wanted_after_seq = None

    def certain(self) -> NoReturn:
        raise NotMine("r")


class Collector:
    """Takes all entries of a walk."""

    is_full = False
    scanned_bytes = 0

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def add(self, rid_id: bytes, entry: Entry) -> None:
        del entry
        self.seen.append(rid_id)


def secondary(file: RangeFile) -> RangeFile:
    no_primary: Any = NoPrimary()
    file._replication = no_primary
    return file


async def test_a_secondary_shows_what_it_has_applied(tmp_path: Path) -> None:
    """Nobody but the primary knows the newest, and what is not committed is shown by nobody."""
    async with two_files(tmp_path) as (one, two):
        await one.submit(put("a", {"n": {"N": "1"}}))
        await one.submit(put("b", {"n": {"N": "1"}}))
        await append(two, await log_of(one), committed_seq=1)
        file = secondary(two)
        for certain in (
            file.read(rid("a")),
            file.scan(after=b"", before=None, limit=9, bytes_max=99_999),
            file.walk(Span(), Collector()),
        ):
            with pytest.raises(NotMine):
                await certain
        await check_whole(file)
        assert await file.read(rid("a"), is_certain=False) is not None
        assert await file.read(rid("b"), is_certain=False) is None
        page = await file.scan(after=b"", before=None, limit=9, bytes_max=99_999, is_certain=False)
        collector = Collector()
        await file.walk(Span(), collector, is_certain=False)
        assert [rid_id for rid_id, _ in page.entries] == collector.seen == [rid("a")]
        await append(two, (await log_of(one))[1:], committed_seq=2)
        assert await file.read(rid("b"), is_certain=False) is not None


async def test_a_copy_in_the_making_is_shown_to_nobody(tmp_path: Path) -> None:
    """What it lacks was acknowledged long ago, until the log that follows it is applied."""
    async with two_files(tmp_path) as (one, two):
        records = await written(one, 12)
        await append(two, records, committed_seq=len(records))
        await check_whole(two)
        assert two.whole_at == two.changes
        start = await one.look(
            lambda connection: replica_copy.CopyStart(
                epoch=1,
                point=replica_log.read_state(connection).end,
                history=replica_log.history(connection),
            )
        )
        await one.submit(put("later", {"n": {"N": "1"}}))
        page, _ = await one.look(partial(replica_copy.read_page, place=replica_copy.CopyPlace()))
        whole_seq = len(records) + 1
        end = replica_copy.CopyEnd(start=start, whole_seq=whole_seq)
        for step in (
            replica_copy.begin,
            replica_copy.wipe_some,
            replica_copy.wipe_some,
            partial(replica_copy.take_page, page=page),
            partial(replica_copy.finish, end=end),
        ):
            await two.change(step)
            assert two.whole_at != two.changes
            with pytest.raises(NotMine):
                await check_whole(two)
        rest = [record for record in await log_of(one) if record.seq > start.point.seq]
        await append(two, rest, committed_seq=whole_seq - 1)
        with pytest.raises(NotMine):
            await check_whole(two)  # all is there, and not all of it applied
        await append(two, rest, committed_seq=whole_seq)
        await check_whole(two)
