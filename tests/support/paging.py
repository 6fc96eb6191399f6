"""A table's file with items in it, read page by page to the end."""

from __future__ import annotations

from asyncio import gather
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
from msgspec import structs

from dstore.model.keys import KeyKind, KeyValue, encode_key
from dstore.model.ranges import RangeMap, RangeRef, Table, even_ranges
from dstore.model.tables import Door, KeyAttribute, TableDefinition, TableId
from dstore.model.values import Item
from dstore.service.directory import Directory
from dstore.service.disk_space import DiskSpace
from dstore.service.queries import ItemPage, PageAsk
from dstore.service.range_walks import RangeWalks
from dstore.service.ranges import LocalRanges
from dstore.storage.entries import Entry
from dstore.storage.range_file import RangeFile
from dstore.storage.range_writer import Put, Write
from tests.support.stores import store

Key = tuple[KeyValue, KeyValue | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedTable:
    """A table of keys `id` and maybe `sk` in one range or more, whose open files it holds."""

    table: Table
    range_files: Mapping[str, RangeFile]

    def peek(self, ref: RangeRef) -> RangeFile:
        """Be where the files of ranges are found."""
        return self.range_files[ref.range_id]

    async def open(self, ref: RangeRef) -> RangeFile:
        """Be where the files of ranges are found."""
        return self.peek(ref)

    def peek_held(self, range_id: str) -> RangeFile:
        """Be where the files of ranges are found."""
        [ref] = [ref for ref in self.table.ranges.refs if ref.range_id == range_id]
        return self.peek(ref)

    async def open_held(self, range_id: str) -> RangeFile:
        """Be where the files of ranges are found."""
        return self.peek_held(range_id)

    def table_of(self, _range_id: str) -> Table:
        """Be where the tables of ranges are found."""
        return self.table

    def rid_id(self, key: Key) -> bytes:
        """Encode a key."""
        definition = self.table.definition
        partition, sort = key
        if definition.sort is None:
            return encode_key((definition.partition.kind, partition))
        assert sort is not None
        return encode_key((definition.partition.kind, partition), (definition.sort.kind, sort))

    async def put(self, items: Iterable[tuple[Key, Item]]) -> None:
        """Store items, given without their key attributes, in as few batches as there may be."""
        writes = [_put(self.rid_id(key), item) for key, item in items]
        at = self.table.ranges.at
        await gather(*(self.peek(at(write.rid_id)).submit(write) for write in writes))

    async def page(self, ask: PageAsk) -> ItemPage:
        """Read a page."""
        ranges = LocalRanges(self, cast("DiskSpace", None))  # nothing is written through it
        return await RangeWalks(cast("Directory", None), ranges).page(self.table, ask)

    async def pages(self, ask: PageAsk) -> list[ItemPage]:
        """Read a page, and all behind it."""
        pages = []
        while True:
            page = await self.page(ask)
            pages.append(page)
            if page.last is None:
                return pages
            ask = structs.replace(ask, span=ask.span.behind(page.last))

    def key_in(self, item: Item) -> Key:
        """Take an item's key out of it."""
        definition = self.table.definition
        partition = key_value(item, definition.partition)
        return partition, None if definition.sort is None else key_value(item, definition.sort)


def items_of(page: ItemPage) -> list[Item]:
    """Decode a page's items."""
    items: list[Item] = msgspec.json.decode(msgspec.json.encode(page.items))
    return items


@asynccontextmanager
async def paged_table(
    directory: Path,
    *,
    partition: KeyKind = KeyKind.STRING,
    sort: KeyKind | None = KeyKind.STRING,
    bounds: Sequence[tuple[int, int]] = even_ranges(1),
) -> AsyncIterator[PagedTable]:
    """Make an empty table whose ranges have these bounds."""
    async with store(directory) as it:
        refs = [RangeRef(range_id=await it.new_range(), low=low, high=high) for low, high in bounds]
        yield PagedTable(
            table=a_table(partition=partition, sort=sort, refs=refs),
            range_files={ref.range_id: await it.open(ref.range_id) for ref in refs},
        )


def a_table(
    *,
    partition: KeyKind = KeyKind.STRING,
    sort: KeyKind | None = KeyKind.STRING,
    refs: Sequence[RangeRef] = (RangeRef(range_id="range"),),
) -> Table:
    """Make a table that no catalog knows."""
    return Table(
        definition=TableDefinition(
            tenant="tenant",
            name="table",
            table_id=TableId("00000000-0000-0000-0000-000000000000"),
            partition=KeyAttribute(name="id", kind=partition),
            sort=None if sort is None else KeyAttribute(name="sk", kind=sort),
            door=Door.DYNAMODB,
            created_at_us=0,
        ),
        ranges=RangeMap.of(refs),
    )


def key_value(item: Item, key: KeyAttribute) -> KeyValue:
    """Take one key out of an item, as `model.keys` wants it."""
    text: str = item[key.name][key.kind.value]
    return b64decode(text) if key.kind is KeyKind.BINARY else text


def _put(rid_id: bytes, item: Item) -> Write:
    def apply(_previous: Entry | None) -> Put:
        return Put(item)

    entry_hash = int.from_bytes(rid_id[:4], "big")
    return Write(rid_id=rid_id, entry_hash=entry_hash, apply=apply, request=None)
