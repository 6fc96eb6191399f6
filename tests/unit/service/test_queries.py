"""Pages of a Query or Scan: where they end, what they count, and what a span covers."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from dstore.expressions import Expressions
from dstore.model.hashing import HASH_MAX, KeyKind
from dstore.model.keys import partition_prefix, prefix_end
from dstore.model.values import Item
from dstore.service import queries
from dstore.service.page_sizes import page_bytes
from dstore.service.queries import PageAsk, query_span, segment_span
from dstore.storage.range_scan import Span
from tests.support.paging import a_table, items_of, paged_table


async def test_page_ends_behind_the_item_that_reaches_the_bound(tmp_path: Path) -> None:
    """That item is on the page, and the key says so even if none follows; a byte less does not."""
    async with paged_table(tmp_path) as it:
        sizes = []
        for name in "abc":
            item = {"text": {"S": name * 100}}
            await it.put([(("x", name), item)])
            key = {"id": {"S": "x"}, "sk": {"S": name}}
            sizes.append(page_bytes(key | item, "sk"))
        for bytes_max, counts, is_followed in [
            (sum(sizes[:2]), [2, 1], False),
            (sum(sizes[:2]) + 1, [3, 0], True),
            (sum(sizes), [3, 0], True),
            (sum(sizes) + 1, [3], False),
        ]:
            request = PageAsk(span=Span(), bytes_max=bytes_max)
            pages = await it.pages(request)
            assert [page.count for page in pages] == counts
            assert (pages[-1].scanned_count == 0) is is_followed


async def test_last_key_is_of_the_last_evaluated_item_whatever_the_filter_says(
    tmp_path: Path,
) -> None:
    """An empty page may have a key: it tells where to go on, not what was found."""
    async with paged_table(tmp_path, sort=KeyKind.NUMBER) as it:
        await it.put([(("x", str(number)), {"a": {"S": "b"}}) for number in range(4)])
        nothing = Expressions(None, None).filter("attribute_exists(b)")
        request = PageAsk(span=Span(), limit=2, filter=nothing)
        page = await it.page(request)
        assert (page.items, page.count, page.scanned_count) == ([], 0, 2)
        assert page.last == it.rid_id(("x", "1"))


async def test_a_page_of_much_json_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that count few bytes and are spelled with many end a page too, whatever is picked."""
    monkeypatch.setattr(queries, "PAGE_JSON_BYTES_MAX", 2_000)
    async with paged_table(tmp_path) as it:
        item: Item = {"n": {"N": "1" + "0" * 125}}
        await it.put([(("x", f"{at:02}"), item) for at in range(40)])
        whole = await it.pages(PageAsk(span=Span()))
        picked = await it.pages(PageAsk(span=Span(), projection=Expressions().projection("n")))
        assert [page.count for page in whole] == [12, 12, 12, 4]
        assert [page.count for page in picked] == [15, 15, 10]
        assert sum(len(items_of(page)) for page in picked) == 40


async def test_items_come_whole_with_plain_numbers(tmp_path: Path) -> None:
    """What v1 stored as 1.50 is 1.5 here, inside lists too; the filter sees it so."""
    async with paged_table(tmp_path, sort=None) as it:
        await it.put([(("x", None), {"n": {"N": "1.50"}, "l": {"L": [{"N": "1E2"}]}})])
        kept = Expressions(None, {":n": {"N": "1.5"}}).filter("n = :n")
        page = await it.page(PageAsk(span=Span(), filter=kept))
        assert items_of(page) == [{"id": {"S": "x"}, "n": {"N": "1.5"}, "l": {"L": [{"N": "100"}]}}]
        assert page.last is None


async def test_what_a_page_keeps_with_entries_is_not_seen_by_the_collector(tmp_path: Path) -> None:
    """What is queried stays in memory, and the event loop waits while Python looks for cycles."""
    async with paged_table(tmp_path) as it:
        await it.put([(("x", "a"), {"text": {"S": "b"}, "n": {"N": "1"}})])
        await it.page(PageAsk(span=Span()))
        [file] = it.range_files.values()
        entry = await file.read(it.rid_id(("x", "a")))
        assert entry is not None
        assert None not in (entry.key, entry.whole)
        kept = [entry, *(getattr(entry, name) for name in entry.__struct_fields__)]
        assert [each for each in kept if gc.is_tracked(each)] == []


def test_query_without_a_sort_condition_covers_its_partition() -> None:
    """Keys of other partitions are outside, whatever hash they have."""
    definition = a_table().definition
    condition = Expressions(None, {":id": {"S": "a"}}).key_condition("id = :id")
    keys = condition.range_in(definition.keys[:1], definition.keys[1:])
    prefix = partition_prefix((KeyKind.STRING, "a"))
    expected = Span(low=prefix, high=prefix_end(prefix), is_reverse=True)
    assert query_span(keys, is_reverse=True) == expected


@pytest.mark.parametrize("segments", [1, 2, 3, 7, 1_000_000])
def test_segments_touch_and_cover_every_hash(segments: int) -> None:
    """The end of one is the beginning of the next; the first and the last are open."""
    assert segment_span(0, segments).low == bytes(4)
    assert segment_span(segments - 1, segments).high is None
    for segment in {0, segments // 2, segments - 2} & set(range(segments - 1)):
        assert segment_span(segment, segments).high == segment_span(segment + 1, segments).low
    widths = {
        int.from_bytes(segment_span(segment + 1, segments).low)
        - int.from_bytes(segment_span(segment, segments).low)
        for segment in range(min(segments - 1, 50))
    }
    assert all(abs(width - (HASH_MAX + 1) / segments) < 1 for width in widths)
