"""Pages of a Query or Scan: which keys are asked for, and what is made of the items found.

Every item read is evaluated: it counts towards the limit, the page's megabyte and the capacity,
whether the filter keeps it or not. The page ends behind the item that reaches the limit or the
megabyte, and then it says so by its last key, even if no item follows. Source: DynamoDB developer
guide, "Paginating table query results"; dynalite's `db/index.js`, whose suite was run against AWS.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import structs

from dstore.base.limits import LOOP_BYTES_MAX, PAGE_EVALUATED_BYTES_MAX, PAGE_JSON_BYTES_MAX
from dstore.base.threads import in_thread_if
from dstore.model.hashing import string_bytes
from dstore.model.index_rows import partition_of
from dstore.model.keys import (
    HASH_MAX,
    decode_partition,
    decode_sort,
    hash_bounds,
    prefix_end,
    sort_component,
    sort_prefix,
)
from dstore.model.values import attribute_bytes, item_bytes
from dstore.service.index_views import IndexView
from dstore.service.items import answered, key_attribute, key_attributes, whole_item
from dstore.service.page_sizes import page_bytes, page_bytes_max
from dstore.storage.entries import EntryKey
from dstore.storage.range_scan import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.expressions import Condition, KeyRange, Projection, SortRange
    from dstore.model.keys import KeyValue
    from dstore.model.tables import TableDefinition
    from dstore.model.values import Item
    from dstore.storage.entries import Entry
    from dstore.storage.range_file import RangeFile

_HASHES: Final = HASH_MAX + 1
_encode: Final = msgspec.json.Encoder().encode
_NO_KEY: Final = EntryKey(b"{}", 0)


class PageAsk(msgspec.Struct, frozen=True, kw_only=True):
    """Which items of a range to evaluate, up to where, and what to make of them.

    `span` begins behind the former page's last key already. `is_part` says that the page may go on
    in the next range (`rest_of`). If `is_eventual`, acknowledged versions will do that may be old.

    With `index`, the name of a local index of the table, the items are those of the index, and
    `span` is of its keys. What an item is is then what the index holds of it, or, if `is_fetching`,
    all of it, read from the table, which is charged too.
    """

    span: Span
    limit: int | None = None  # evaluated items, > 0
    bytes_max: int = PAGE_EVALUATED_BYTES_MAX  # as `page_sizes.page_bytes` counts
    filter: Condition | None = None
    projection: Projection | None = None
    is_count: bool = False
    is_part: bool = False
    is_eventual: bool = False
    index: str | None = None
    is_fetching: bool = False


class ItemPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page: its items (None if only their count was asked for) and what reading it cost.

    Each of `items` is the JSON of an item as it is answered, or of several with commas between.

    `evaluated_bytes` are what capacity counts, of an index what that holds; `last` is the stored
    key of the last item that was evaluated, in the index if one was asked, None if the page ended
    with its span. `page_bytes` are what of the ask's `bytes_max` is taken, 0 unless the ask says
    `is_part`. `fetched_units` are the read units of 4 KB of all items that were fetched.
    """

    items: list[msgspec.Raw] | None
    count: int
    scanned_count: int
    evaluated_bytes: int
    last: bytes | None
    page_bytes: int = 0
    fetched_units: int = 0


async def page_of(file: RangeFile, definition: TableDefinition, ask: PageAsk) -> ItemPage:
    """Read a page; each item is the newest version that is here at the moment it is reached.

    A short page in memory is made on the event loop, any other in a thread.

    Raises: Corrupt: a page on the way is damaged.
    """
    span, view = ask.span, None
    if ask.index is not None:
        view = IndexView(file, ask.index, is_fetching=ask.is_fetching)
        span = replace(span, index=view.number)
    collector = _PageCollector(ask, definition, view)
    await file.walk(span, collector, is_certain=not ask.is_eventual)
    is_long = ask.is_part and collector.scanned_bytes > LOOP_BYTES_MAX  # all of it is counted
    return await in_thread_if(is_long, collector.page)


def rest_of(ask: PageAsk, page: ItemPage) -> PageAsk | None:
    """Give what is left to ask of the next range; None if the page is full.

    Args:
        ask: what was asked of the range before, with `is_part`.
        page: what came of it.
    """
    if page.last is not None:
        return None
    limit = None if ask.limit is None else ask.limit - page.scanned_count
    return structs.replace(ask, limit=limit, bytes_max=ask.bytes_max - page.page_bytes)


def joined(pages: Sequence[ItemPage]) -> ItemPage:
    """Make one page of those of ranges next to each other, at least one."""
    return ItemPage(
        items=None
        if pages[0].items is None
        else [one for page in pages for one in page.items or ()],
        count=sum(page.count for page in pages),
        scanned_count=sum(page.scanned_count for page in pages),
        evaluated_bytes=sum(page.evaluated_bytes for page in pages),
        last=pages[-1].last,
        page_bytes=sum(page.page_bytes for page in pages),
        fetched_units=sum(page.fetched_units for page in pages),
    )


def query_span(keys: KeyRange, *, is_reverse: bool) -> Span:
    """Give the stored keys that a key condition asks for."""
    prefix = partition_of(keys.partition)
    for sort in keys.sorts[:-1]:
        assert sort.low is not None, "all but the last are values"
        prefix += sort_component((sort.kind, sort.low))
    low, high = prefix, prefix_end(prefix)
    if keys.sorts:
        low, high = _sort_bounds(prefix, keys.sorts[-1], end=high)
    return Span(low=low, high=high, is_reverse=is_reverse)


def segment_span(segment: int, segments: int) -> Span:
    """Give the stored keys of one of `segments` equal parts of the hashes, counted from 0."""
    assert 0 <= segment < segments <= _HASHES
    first = _HASHES * segment // segments
    behind = _HASHES * (segment + 1) // segments
    low, high = hash_bounds(first, behind - 1)
    return Span(low=low, high=high)


def _sort_bounds(
    prefix: bytes, sort: SortRange, *, end: bytes | None
) -> tuple[bytes, bytes | None]:
    if sort.prefix is not None:
        beginning = prefix + sort_prefix(_raw(sort.prefix))
        return beginning, prefix_end(beginning)
    low, high = prefix, end
    # Of an index more follows behind a component: all that begins with it has that sort key.
    if sort.low is not None:
        low = prefix + sort_component((sort.kind, sort.low))
        if not sort.low_included:
            low = prefix_end(low) or low
    if sort.high is not None:
        high = prefix + sort_component((sort.kind, sort.high))
        if sort.high_included:
            high = prefix_end(high)
    return low, high


def _raw(value: KeyValue) -> bytes:
    return value if isinstance(value, bytes) else string_bytes(value)


class _KeyReader:
    """Decodes the key attributes of entries one after another; neighbours share a partition.

    Those of the hidden table of an index stand in the entry with all others.
    """

    __slots__ = (
        "_definition",
        "_is_hidden",
        "_partition",
        "_partition_bytes",
        "_prefix",
        "_sort_tag",
    )

    def __init__(self, definition: TableDefinition) -> None:
        self._definition = definition
        self._is_hidden = definition.index_of is not None
        self._sort_tag = None if definition.sort is None else str(definition.sort.kind)
        self._prefix: bytes | None = None
        self._partition: Item = {}
        self._partition_bytes = 0

    def read(self, rid_id: bytes) -> EntryKey:
        """Give an entry's key attributes, counted as `values.item_bytes` does."""
        if self._is_hidden:
            return _NO_KEY
        sort, tag = self._definition.sort, self._sort_tag
        if sort is None or tag is None:
            return EntryKey.of(key_attributes(self._definition, rid_id))
        if self._prefix is None or not rid_id.startswith(self._prefix):
            partition = self._definition.partition
            value, end = decode_partition(rid_id, partition.kind)
            self._prefix = rid_id[:end]
            self._partition = {partition.name: key_attribute(partition, value)}
            self._partition_bytes = item_bytes(self._partition) + len(sort.name.encode())
        value = decode_sort(rid_id, sort.kind, offset=len(self._prefix))
        key = self._partition.copy()
        attribute = {tag: value} if isinstance(value, str) else key_attribute(sort, value)
        key[sort.name] = attribute
        return EntryKey(_encode(key), self._partition_bytes + attribute_bytes(attribute))


class _PageCollector:
    """Makes a page of the entries of a walk."""

    __slots__ = (
        "_ask",
        "_count",
        "_is_picky",
        "_items",
        "_json_bytes",
        "_keys",
        "_last",
        "_page_bytes",
        "_scanned_count",
        "_sort_name",
        "_uncounted",
        "_view",
        "is_full",
        "scanned_bytes",
    )

    def __init__(
        self, ask: PageAsk, definition: TableDefinition, view: IndexView | None = None
    ) -> None:
        self._ask = ask
        self._view = view
        self._keys = _KeyReader(definition)
        sort = definition.sort
        self._sort_name = None if sort is None else sort.name
        is_whole = view is None or view.is_whole
        self._is_picky = not is_whole or ask.filter is not None or ask.projection is not None
        self._items: list[msgspec.Raw] | None = None if ask.is_count else []
        self._json_bytes = 0
        self._count = 0
        self._scanned_count = 0
        self._page_bytes: int | None = None  # not counted yet
        self._uncounted: list[tuple[Entry, EntryKey]] = []
        self._last = b""
        self.scanned_bytes = 0
        self.is_full = False

    def add(self, place: bytes, entry: Entry) -> None:
        """Evaluate the next entry."""
        view = self._view
        if entry.key is None:
            entry.key = self._keys.read(place if view is None else view.rid_id(place))
        key = entry.key
        self._last = place
        self._scanned_count += 1
        if view is None:
            self.scanned_bytes += key.size_bytes + entry.item_bytes
        else:
            self.scanned_bytes += view.count(entry, key)
        if self._scanned_count == self._ask.limit or self._is_page_full(entry, key):
            self.is_full = True
        if self._is_picky:
            self._pick(entry, key)
            return
        self._count += 1
        if self._items is not None:
            if entry.whole is None:
                entry.whole = answered(entry, key.item)
            self._show(self._items, entry.whole)

    def _pick(self, entry: Entry, key: EntryKey) -> None:
        """Hold an item against the filter, and take what the projection asks for."""
        ask, item = self._ask, self._item(entry, key)
        if ask.filter is not None and not ask.filter.holds(item):
            return
        self._count += 1
        if self._items is not None:
            shown = item if ask.projection is None else ask.projection.apply(item)
            self._show(self._items, msgspec.Raw(_encode(shown)))

    def _item(self, entry: Entry, key: EntryKey) -> Item:
        if self._view is None:
            return whole_item(entry, key.item)
        return self._view.item(entry, key.item)

    def _show(self, items: list[msgspec.Raw], item: msgspec.Raw) -> None:
        items.append(item)
        self._json_bytes += len(item)
        if self._json_bytes >= PAGE_JSON_BYTES_MAX:
            self.is_full = True

    def _is_page_full(self, entry: Entry, key: EntryKey) -> bool:
        """Say whether an item just scanned ends the page; most pages are far from that."""
        bytes_max = self._ask.bytes_max
        fetched_bytes = None if self._view is None else self._view.fetched_bytes()
        if fetched_bytes is not None:
            self._page_bytes = fetched_bytes
        elif self._page_bytes is not None:
            self._page_bytes += page_bytes(self._item(entry, key), self._sort_name)
        else:
            self._uncounted.append((entry, key))
            if page_bytes_max(self.scanned_bytes, self._scanned_count) < bytes_max:
                return False
            self._page_bytes = self._counted()
        return self._page_bytes >= bytes_max

    def _counted(self) -> int:
        """Count exactly what was not counted so far."""
        counted = sum(page_bytes(self._item(*one), self._sort_name) for one in self._uncounted)
        self._uncounted.clear()
        return counted

    def page(self) -> ItemPage:
        """Give the page, once the walk is over."""
        if self._page_bytes is None and self._ask.is_part and not self.is_full:
            self._page_bytes = self._counted()
        return ItemPage(
            items=self._items,
            count=self._count,
            scanned_count=self._scanned_count,
            evaluated_bytes=self.scanned_bytes,
            last=self._last if self.is_full else None,
            page_bytes=(self._page_bytes or 0) if self._ask.is_part else 0,
            fetched_units=0 if self._view is None else self._view.fetched_units,
        )
