"""A table's file with items in it, read page by page to the end."""

from __future__ import annotations

from asyncio import gather
from base64 import b64decode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import structs

from dstore.model.keys import KeyKind, KeyValue, encode_key
from dstore.model.tables import Door, KeyAttribute, TableDefinition, TableId
from dstore.model.values import Item
from dstore.service.queries import ItemPage, PageAsk, read_page
from dstore.storage.entries import Entry
from dstore.storage.node_records import RangeRecord, TableRecord
from dstore.storage.range_file import RangeFile
from dstore.storage.range_writer import Put, Write
from tests.support.stores import store

Key = tuple[KeyValue, KeyValue | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedTable:
    """A table of keys `id` and maybe `sk`, whose open file it holds."""

    table: TableRecord
    range_file: RangeFile

    async def file(self, table: TableRecord) -> RangeFile:
        """Be where `read_page` finds the file."""
        assert table is self.table
        return self.range_file

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
        await gather(*(self.range_file.submit(_put(self.rid_id(key), item)) for key, item in items))

    async def page(self, ask: PageAsk) -> ItemPage:
        """Read a page."""
        return await read_page(self, self.table, ask)

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
    directory: Path, *, partition: KeyKind = KeyKind.STRING, sort: KeyKind | None = KeyKind.STRING
) -> AsyncIterator[PagedTable]:
    """Make an empty table."""
    async with store(directory) as it:
        yield PagedTable(
            table=table_record(partition=partition, sort=sort),
            range_file=await it.open(await it.new_range()),
        )


def table_record(
    *, partition: KeyKind = KeyKind.STRING, sort: KeyKind | None = KeyKind.STRING
) -> TableRecord:
    """Make the record of a table that no catalog knows."""
    return TableRecord(
        definition=TableDefinition(
            tenant="tenant",
            name="table",
            table_id=TableId("00000000-0000-0000-0000-000000000000"),
            partition=KeyAttribute(name="id", kind=partition),
            sort=None if sort is None else KeyAttribute(name="sk", kind=sort),
            door=Door.DYNAMODB,
            created_at_us=0,
        ),
        range=RangeRecord(
            range_id="range",
            tenant_uuid="",
            table_version=1,
            file_uuid=b"",
            generation=1,
            file_key=b"",
        ),
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
