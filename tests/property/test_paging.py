"""Query and Scan: pages together are the whole, and the whole is what a naive reading gives."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from decimal import Decimal
from operator import ge, gt, le, lt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from dstore.expressions import Expressions
from dstore.model.hashing import HASH_MAX, key_hash
from dstore.model.keys import KeyKind, KeyValue
from dstore.model.values import Item, item_bytes
from dstore.service.queries import ItemPage, PageAsk, query_span, segment_span
from dstore.storage import range_scan
from dstore.storage.range_scan import Span
from tests.support.paging import Key, PagedTable, items_of, paged_table

_POOLS: dict[KeyKind, list[KeyValue]] = {
    KeyKind.STRING: ["a", "ab", "abc", "b", "a\x00", "a\x00b", "\x00", "é", "\U0001f600", "\uffff"],
    KeyKind.NUMBER: [
        "0",
        "1",
        "-1",
        "10",
        "9",
        "1.5",
        "-1.5",
        "-10",
        "0.003",
        "123456789012345678",
    ],
    KeyKind.BINARY: [b"\x00", b"\x00\x01", b"\xff", b"\xff\xff", b"a", b"a\xff", b"ab", b"\x01"],
}
_COMPARISONS = {"<": lt, "<=": le, ">": gt, ">=": ge}
_HUGE = 1 << 40


@st.composite
def tables(draw: st.DrawFn) -> tuple[KeyKind, KeyKind | None, dict[Key, Item]]:
    """Draw the kinds of a table's keys, and items by key, without their key attributes."""
    partition = draw(st.sampled_from(list(KeyKind)))
    sort = draw(st.none() | st.sampled_from(list(KeyKind)))
    partitions = st.sampled_from(_POOLS[partition][: 10 if sort is None else 2])
    sorts = st.none() if sort is None else st.sampled_from(_POOLS[sort])
    items: st.SearchStrategy[Any] = st.fixed_dictionaries(
        {"n": st.integers(0, 5).map(lambda n: {"N": str(n)})},
        optional={
            "text": st.integers(0, 300).map(lambda size: {"S": "é" * size}),
            "list": st.just({"L": [{"N": "1"}, {"S": "x"}]}),
            "none": st.just({"NULL": True}),
        },
    )
    keys = st.tuples(partitions, sorts)
    return partition, sort, draw(st.dictionaries(keys, items, max_size=20))


@st.composite
def bounds(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what makes pages small, and what is made of their items."""
    names = {"#n": "n"}
    filtered = Expressions(names, {":n": {"N": "3"}}).filter("#n < :n")
    projected = Expressions(names, None).projection("#n, sk")
    return {
        "limit": draw(st.none() | st.integers(1, 6)),
        "bytes_max": draw(st.sampled_from([1, 90, 400, _HUGE])),
        "filter": draw(st.sampled_from([None, filtered])),
        "projection": draw(st.sampled_from([None, projected])),
        "is_count": draw(st.booleans()),
    }


def cuts(partition: KeyKind) -> st.SearchStrategy[list[int]]:
    """Draw where ranges after the first begin; often right at a key, or right behind it."""
    hashes = [key_hash(partition, value) for value in _POOLS[partition]]
    near = st.sampled_from([at + more for at in hashes for more in (0, 1) if at + more > 0])
    anywhere = st.integers(1, HASH_MAX)
    return st.lists(near | anywhere, max_size=6, unique=True).map(sorted)


@given(tables(), bounds(), st.data(), st.booleans(), st.sampled_from([1, 7, 10_000]))
@settings(max_examples=80, deadline=None)
def test_query_pages_are_the_sorted_partition(
    table: tuple[KeyKind, KeyKind | None, dict[Key, Item]],
    bounded: dict[str, Any],
    data: st.DataObject,
    is_reverse: bool,
    loop_rows: int,
) -> None:
    """Every key condition, against a list sorted and searched by hand."""
    partition, sort, items = table
    wanted = data.draw(st.sampled_from(_POOLS[partition][:3]))
    operator = "" if sort is None else data.draw(st.sampled_from(_operators(sort)))
    operands = [] if sort is None else _operands(data, sort, operator)

    async def check(it: PagedTable) -> None:
        definition = it.table.definition
        values = {":id": wire(partition, wanted)}
        if sort is not None:
            values |= {f":{at}": wire(sort, one) for at, one in enumerate(operands)}
        condition = Expressions(None, values).key_condition(f"id = :id{_text(operator)}")
        keys = condition.range_in(definition.keys[:1], definition.keys[1:])
        found = [
            key
            for key in sorted(items, key=lambda key: order(sort, key[1]), reverse=is_reverse)
            if key[0] == wanted and _holds(sort, operator, key[1], operands)
        ]
        span = query_span(keys, is_reverse=is_reverse)
        request = PageAsk(span=span, **bounded)
        _check_pages(it, await it.pages(request), request, [(key, items[key]) for key in found])

    _run(table, check, loop_rows=loop_rows, starts=data.draw(cuts(partition)))


@given(tables(), bounds(), st.integers(1, 5), st.sampled_from([1, 7, 10_000]), st.data())
@settings(max_examples=60, deadline=None)
def test_segments_of_a_scan_are_the_table_once(
    table: tuple[KeyKind, KeyKind | None, dict[Key, Item]],
    bounded: dict[str, Any],
    segments: int,
    loop_rows: int,
    data: st.DataObject,
) -> None:
    """Segments are disjoint, whole partitions, in the order of keys, and complete together."""
    partition, _, items = table

    async def check(it: PagedTable) -> None:
        stored = sorted(items, key=it.rid_id)
        seen: list[Key] = []
        partitions: list[set[KeyValue]] = []
        for segment in range(segments):
            span = segment_span(segment, segments)
            [whole] = await it.pages(PageAsk(span=span, bytes_max=_HUGE))
            assert whole.items is not None
            keys = [it.key_in(item) for item in items_of(whole)]
            partitions.append({key[0] for key in keys})
            seen += keys
            request = PageAsk(span=span, **bounded)
            _check_pages(it, await it.pages(request), request, [(key, items[key]) for key in keys])
        assert seen == stored
        assert sum(map(len, partitions)) == len(set[KeyValue]().union(*partitions))
        request = PageAsk(span=Span(), **bounded)
        _check_pages(it, await it.pages(request), request, [(key, items[key]) for key in stored])

    _run(table, check, loop_rows=loop_rows, starts=data.draw(cuts(partition)))


@given(tables(), bounds(), st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_pages_end_where_those_of_one_range_end(
    table: tuple[KeyKind, KeyKind | None, dict[Key, Item]],
    bounded: dict[str, Any],
    is_reverse: bool,
    data: st.DataObject,
) -> None:
    """A client must not see from its pages how many ranges there are, forward or backward."""
    seen: list[list[ItemPage]] = []

    async def note(it: PagedTable) -> None:
        span = Span(is_reverse=is_reverse)
        pages = await it.pages(PageAsk(span=span, **bounded))
        seen.append([structs.replace(page, items=items_of(page), page_bytes=0) for page in pages])

    for starts in ([], data.draw(cuts(table[0]))):
        _run(table, note, loop_rows=10_000, starts=starts)
    assert seen[0] == seen[1]


def _run(
    table: tuple[KeyKind, KeyKind | None, dict[Key, Item]],
    check: Any,
    *,
    loop_rows: int,
    starts: list[int],
) -> None:
    """Store the items and check them, the event loop walking at most so many rows.

    Every range after the first begins at one of `starts`.
    """
    partition, sort, items = table
    ends = [start - 1 for start in starts]
    ranges = list(zip([0, *starts], [*ends, HASH_MAX], strict=True))

    async def main() -> None:
        with TemporaryDirectory() as directory:
            async with paged_table(
                Path(directory), partition=partition, sort=sort, bounds=ranges
            ) as it:
                await it.put(items.items())
                await check(it)

    with patch.object(range_scan, "LOOP_ROWS_MAX", loop_rows):
        asyncio.run(main())


def _check_pages(
    it: PagedTable, pages: list[ItemPage], request: PageAsk, found: list[tuple[Key, Item]]
) -> None:
    """Hold pages against all items that they have to evaluate, in order."""
    whole = [_whole(it, key) | item for key, item in found]
    kept = [item for item in whole if request.filter is None or request.filter.holds(item)]
    shown = kept if request.projection is None else [request.projection.apply(i) for i in kept]
    assert sum(page.count for page in pages) == len(kept)
    assert sum(page.scanned_count for page in pages) == len(whole)
    assert sum(page.evaluated_bytes for page in pages) == sum(map(item_bytes, whole))
    if request.is_count:
        assert all(page.items is None for page in pages)
    else:
        assert [item for page in pages for item in items_of(page)] == shown
    for page in pages[:-1]:
        assert page.scanned_count == request.limit or request.bytes_max < _HUGE
        assert 0 < page.scanned_count <= (request.limit or len(whole))
    if request.limit is not None and request.bytes_max == _HUGE:
        # A limit that is reached exactly leaves a last key, and an empty page behind it.
        assert len(pages) == len(whole) // request.limit + 1


def _whole(it: PagedTable, key: Key) -> Item:
    definition = it.table.definition
    item = {"id": wire(definition.partition.kind, key[0])}
    if definition.sort is not None and key[1] is not None:
        item["sk"] = wire(definition.sort.kind, key[1])
    return item


def wire(kind: KeyKind, value: KeyValue) -> dict[str, Any]:
    """Write a key value in wire form."""
    return {kind.value: b64encode(value).decode() if isinstance(value, bytes) else value}


def order(kind: KeyKind | None, value: KeyValue | None) -> Any:
    """Give what sorts as DynamoDB sorts keys of a kind."""
    if kind is None or value is None:
        return 0
    if kind is KeyKind.NUMBER:
        return Decimal(str(value))
    return value if isinstance(value, bytes) else value.encode()


def _operators(kind: KeyKind) -> list[str]:
    known = ["", "=", "BETWEEN", *_COMPARISONS]
    return known if kind is KeyKind.NUMBER else [*known, "begins_with"]


def _operands(data: st.DataObject, kind: KeyKind, operator: str) -> list[KeyValue]:
    if not operator:
        return []
    count = 2 if operator == "BETWEEN" else 1
    drawn = data.draw(st.lists(st.sampled_from(_POOLS[kind]), min_size=count, max_size=count))
    return sorted(drawn, key=lambda value: order(kind, value))


def _text(operator: str) -> str:
    match operator:
        case "":
            return ""
        case "BETWEEN":
            return " AND sk BETWEEN :0 AND :1"
        case "begins_with":
            return " AND begins_with(sk, :0)"
        case _:
            return f" AND sk {operator} :0"


def _holds(
    kind: KeyKind | None, operator: str, value: KeyValue | None, operands: list[KeyValue]
) -> bool:
    """Say by hand whether a sort key fits a condition."""
    if not operator:
        return True
    mine, *others = (order(kind, one) for one in (value, *operands))
    match operator:
        case "=":
            return bool(mine == others[0])
        case "BETWEEN":
            return bool(others[0] <= mine <= others[1])
        case "begins_with":
            return bool(mine.startswith(others[0]))
        case _:
            return bool(_COMPARISONS[operator](mine, others[0]))
