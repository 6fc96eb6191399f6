"""Entries by their key: found, read, listed, written; and items as DynamoDB sees them.

An entry's rows hold its attributes without those of the key, which stand in RID_ID (ADR 0004).
`whole_item` puts both together. What a write does is a pure function of the entry before it:
v1's are in `entry_writes`, DynamoDB's in `item_writes`.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import INLINE_JSON_BYTES_MAX
from dstore.model.errors import NotMine, RefusalKind, Refused
from dstore.model.keys import HASH_BYTES, KeyKind, KeyValue, decode_key, encode_key
from dstore.model.plain_numbers import plain_attribute
from dstore.model.tables import KeyAttribute, TableDefinition, format_id, parse_id
from dstore.model.values import Attribute, Item
from dstore.service.moves import follow
from dstore.storage.range_writer import Apply, Write

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Iterable

    from dstore.model.ranges import Table
    from dstore.service.directory import Directory
    from dstore.service.range_walks import RangeWalks
    from dstore.service.ranges import Ranges
    from dstore.service.read_answers import Listing, ReadAnswer, ReadAsk
    from dstore.service.write_answers import WriteAsk, Written
    from dstore.storage.entries import Entry
    from dstore.storage.requests import RequestName

Key = tuple[KeyKind, KeyValue]

# What an entry and an attribute take to render beyond their data, as bytes of data.
_ENTRY_WEIGHT: Final = 256
_CELL_WEIGHT: Final = 64
_encode: Final = msgspec.json.Encoder().encode


class EntryKey(msgspec.Struct, frozen=True, kw_only=True):
    """Which entry of which table: the key as a v1 client gave it, and as it is stored."""

    table: Table
    key: Key
    rid_id: bytes


class ItemKey(msgspec.Struct, frozen=True, kw_only=True):
    """Which item of which table: the key as it is stored, and its attributes.

    `attributes` are the table's key attributes in wire form, numbers in their plain spelling.
    """

    table: Table
    rid_id: bytes
    attributes: Item


class Items:
    """Reads and writes of entries, wherever their ranges are."""

    def __init__(self, directory: Directory, ranges: Ranges, walks: RangeWalks) -> None:
        """Find tables in `directory`, and their entries in `ranges`, by `walks` page by page."""
        self._directory = directory
        self._ranges = ranges
        self._walks = walks

    def locate(self, tenant: str, table_name: str, id_text: str) -> EntryKey:
        """Find the table and read the ID as its type wants it.

        Raises: Refused: no such tenant or table, not one's type of ID, or a table whose entries
            have two keys.
        """
        table = self._directory.table(tenant, table_name)
        definition = table.definition
        _check_single_key(definition)
        key = parse_id(definition.id_type, id_text, door=definition.door)
        return EntryKey(table=table, key=key, rid_id=encode_key(key))

    async def read(
        self, entry: EntryKey | ItemKey, ask: ReadAsk | None = None, *, is_eventual: bool = False
    ) -> ReadAnswer | None:
        """Read what is asked of the newest acknowledged version; None if there is none.

        Args:
            entry: which one.
            ask: what is going to be shown of it (`read_answers`); None for the whole item.
            is_eventual: an older acknowledged version will do.
        """
        table, rid_id = entry.table, entry.rid_id
        try:
            ref = table.ranges.whole or table.ranges.at(rid_id)
            return await self._ranges.read(ref, rid_id, ask, is_eventual=is_eventual)
        except NotMine as moved:

            def again(found: Table) -> Awaitable[ReadAnswer | None]:
                ref = found.ranges.at(rid_id)
                return self._ranges.read(ref, rid_id, ask, is_eventual=is_eventual)

            return await follow(self._directory, table, moved, ask=again)

    def is_near(self, entry: EntryKey | ItemKey) -> bool:
        """Tell whether an entry is in this process, so that asking for it takes no time to travel.

        Raises: NotMine: it is not known where it is.
        """
        return self._ranges.is_near(entry.table.ranges.at(entry.rid_id))

    async def list(
        self,
        tenant: str,
        table_name: str,
        *,
        after: bytes,
        limit: int,
        is_eventual: bool = False,
    ) -> Listing:
        """Read a page of a table's entries in key order (which is the order of their hashes)."""
        table = self._directory.table(tenant, table_name)
        _check_single_key(table.definition)
        return await self._walks.listing(table, after=after, limit=limit, is_eventual=is_eventual)

    async def write(
        self,
        entry: EntryKey | ItemKey,
        apply: Apply,
        *,
        request: RequestName | None = None,
        body_bytes: int = 0,
        ask: WriteAsk | None = None,
    ) -> Written:
        """Apply a write and return once it is durable.

        A caller that is cancelled leaves the write in the queue: it happens all the same.

        Args:
            entry: of which entry.
            apply: what to do.
            request: under which name it is done once, however often it is asked for.
            body_bytes: roughly what the write holds in memory.
            ask: what is going to be told of it (`write_answers`); None for nothing.
        Raises: what `apply` refuses; Unavailable (nothing written) or Unknown (perhaps written).
        """
        table, rid_id = entry.table, entry.rid_id
        write = _write(rid_id, apply, request)
        try:
            ref = table.ranges.whole or table.ranges.at(rid_id)
            return await self._ranges.write(ref, write, ask=ask, body_bytes=body_bytes)
        except NotMine as moved:

            def again(found: Table) -> Awaitable[Written]:
                ref = found.ranges.at(rid_id)
                return self._ranges.write(ref, write, ask=ask, body_bytes=body_bytes)

            return await follow(self._directory, table, moved, ask=again)

    def submit(
        self,
        entry: EntryKey | ItemKey,
        apply: Apply,
        *,
        request: RequestName | None = None,
        body_bytes: int = 0,
        ask: WriteAsk | None = None,
    ) -> Awaitable[Future[Written]]:
        """Queue a write behind those submitted before; the future holds its answer.

        Raises: Unavailable: nothing was queued; NotMine among them, which `write` follows.
        """
        ref = entry.table.ranges.at(entry.rid_id)
        write = _write(entry.rid_id, apply, request)
        return self._ranges.submit(ref, write, ask=ask, body_bytes=body_bytes)


def entry_id(definition: TableDefinition, key_value: KeyValue) -> str:
    """Spell an entry's key as its ID."""
    return format_id((definition.partition.kind, key_value))


def key_names(definition: TableDefinition) -> tuple[str, ...]:
    """Name a table's key attributes, the partition key first."""
    if definition.sort is None:
        return (definition.partition.name,)
    return definition.partition.name, definition.sort.name


def key_attributes(definition: TableDefinition, rid_id: bytes) -> Item:
    """Decode the key attributes out of a stored key; numbers come in their plain spelling.

    Raises: Corrupt: the key is not of the table's types.
    """
    sort = definition.sort
    _, partition_value, sort_value = decode_key(
        rid_id, definition.partition.kind, None if sort is None else sort.kind
    )
    attributes = {definition.partition.name: key_attribute(definition.partition, partition_value)}
    if sort is not None:
        assert sort_value is not None
        attributes[sort.name] = key_attribute(sort, sort_value)
    return attributes


def whole_item(entry: Entry, key: Item) -> Item:
    """Put an entry's attributes and its key's together, every number in its plain spelling.

    v1 stores numbers as they were spelled; DynamoDB answers 1.50 as 1.5, inside lists and maps
    too.

    Args:
        entry: as it is stored; it stays as it is.
        key: the key attributes in wire form, plain already.
    Cost: 0.3 us an attribute, and a search for numbers in the text of lists and maps.
    Raises: Corrupt: a row is not what it says.
    """
    item = key.copy()
    for name, cell in entry.cells.items():
        item[name] = plain_attribute(cell)
    return item


def answered(entry: Entry, key: Item) -> msgspec.Raw:
    """Write the JSON that an entry is answered as, all of it; what `whole_item` gives, as text.

    Args:
        entry: as it is stored; most of the text stays with it for the next answer.
        key: the key attributes in wire form, plain already.
    Raises: Corrupt: a row is not what it says.
    """
    rest = entry.answer
    if not key:  # of the hidden table of an index
        return msgspec.Raw(b"{%b}" % rest)
    return msgspec.Raw(b"%b,%b}" % (_encode(key)[:-1], rest) if rest else _encode(key))


def key_attribute(key: KeyAttribute, value: KeyValue) -> Attribute:
    """Write a decoded key in wire form."""
    text = b64encode(value).decode() if isinstance(value, bytes) else value
    return {key.kind.value: text}


def _write(rid_id: bytes, apply: Apply, request: RequestName | None) -> Write:
    entry_hash = int.from_bytes(rid_id[:HASH_BYTES], "big")
    return Write(rid_id=rid_id, entry_hash=entry_hash, apply=apply, request=request)


def is_large(entries: Iterable[Entry]) -> bool:
    """Tell whether rendering takes so long that it belongs into a thread.

    Many small attributes take as long as a large one. Where an entry is one large String, the
    thread is not needed, and costs little beside it.
    """
    weight = 0
    for entry in entries:
        weight += _ENTRY_WEIGHT + _CELL_WEIGHT * len(entry.cells) + entry.data_bytes
        if weight > INLINE_JSON_BYTES_MAX:
            return True
    return False


def _check_single_key(definition: TableDefinition) -> None:
    if definition.sort is not None:
        raise Refused(
            RefusalKind.INVALID,
            "The table's entries have two keys; v1 serves tables with one. Use the DynamoDB API.",
        )
