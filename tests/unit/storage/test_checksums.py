"""Sums of rows: equal where the rows are, and of a moment that is told with them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dstore.base.scrub_limits import SCRUB_SPAN_ENTRIES
from dstore.storage.checksums import SpanSums, differing, sum_span, written_between
from tests.support.stores import put, rid, store

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.storage.range_file import RangeFile


async def _sums(file: RangeFile, after: bytes = b"", upto: bytes | None = None) -> SpanSums:
    return await file.look(partial(sum_span, after=after, upto=upto, has_sums=True))


async def _fill(file: RangeFile, entries: int, text: str = "x") -> None:
    for number in range(entries):
        await file.submit(put(f"k{number}", {"x": {"S": text}, "n": {"N": str(number)}}))


def _edit(connection: Any) -> None:
    connection.execute(
        "UPDATE v1 SET C_DATA = 'other' WHERE C_COL = 'x' AND RID_ID = ?", (rid("k3"),)
    )


async def test_every_row_is_summed_once(tmp_path: Path) -> None:
    """Span behind span, to the end; each entry is in one of them."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await _fill(file, SCRUB_SPAN_ENTRIES + 20)
        first = await _sums(file)
        assert first.entries == SCRUB_SPAN_ENTRIES
        assert first.last == first.sums[-1][0]
        rest = await _sums(file, after=first.last)
        assert (rest.entries, rest.last) == (20, None)
        assert await _sums(file, upto=first.last) == first.__class__(
            first.applied_seq, True, None, first.entries, first.size_bytes, first.digest, first.sums
        )
        assert (await _sums(file)).applied_seq == SCRUB_SPAN_ENTRIES + 20


async def test_a_silent_change_shows(tmp_path: Path) -> None:
    """One attribute of one entry, changed behind the log's back: that entry differs, no other."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await _fill(file, 10)
        before = await _sums(file)
        await file.change(_edit)
        after = await _sums(file)
        assert (after.applied_seq, after.entries) == (before.applied_seq, before.entries)
        assert after.digest != before.digest
        assert list(differing(before, after)) == [rid("k3")]
        await file.change(lambda db: db.execute("DELETE FROM v1 WHERE RID_ID = ?", (rid("k5"),)))
        found = differing(before, await _sums(file))
        assert set(found) == {rid("k3"), rid("k5")}
        assert found[rid("k5")][1] is None


async def test_what_was_written_meanwhile_is_known(tmp_path: Path) -> None:
    """Two moments of one replica differ in what the records between them wrote."""
    async with store(tmp_path) as it:
        file = await it.open(await it.new_range())
        await _fill(file, 9)
        file._writer.keep_log(9)
        await file.submit(put("k9", {}))
        before = await _sums(file)
        await file.submit(put("k2", {"x": {"S": "y"}}))
        await file.submit(put("new", {}))
        after = await _sums(file)
        written = await file.look(
            partial(written_between, low_seq=before.applied_seq, high_seq=after.applied_seq)
        )
        assert written == frozenset(differing(before, after)) == {rid("k2"), rid("new")}
        assert await file.look(partial(written_between, low_seq=12, high_seq=13)) is None
        last = await file.look(partial(written_between, low_seq=9, high_seq=10))
        assert last == frozenset({rid("k9")})
        for low_seq in (1, 8):  # the log was not wanted, and lacks records
            found = partial(written_between, low_seq=low_seq, high_seq=10)
            assert await file.look(found) is None


async def test_nothing_is_said_behind_where_one_stopped(tmp_path: Path) -> None:
    """A replica with far more rows in a span is cut off; what it did not tell is not missing."""
    async with store(tmp_path) as it:
        short, long = [await it.open(await it.new_range()) for _ in range(2)]
        await _fill(long, 5 * SCRUB_SPAN_ENTRIES)
        await _fill(short, 3)
        cut = await _sums(long, upto=b"\xff" * 8)
        assert cut.last is not None
        found = differing(await _sums(short, upto=b"\xff" * 8), cut)
        assert max(found) <= cut.last
