"""Entries: read, list, and the four writes of v1. A write is a pure function of the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dstore.base.limits import ITEM_BYTES_MAX, LIST_BYTES_MAX
from dstore.model.errors import ConditionFailed, RefusalKind, Refused
from dstore.model.keys import KeyKind, KeyValue, encode_key
from dstore.model.tables import TableDefinition, format_id, parse_id
from dstore.model.values import Item, item_bytes
from dstore.service.merge_patch import merged
from dstore.service.preconditions import Preconditions, check
from dstore.storage.range_writer import Applied, Apply, Delete, Outcome, Put, Write

if TYPE_CHECKING:
    from asyncio import Future

    from dstore.service.catalog import Catalog
    from dstore.service.disk_space import DiskSpace
    from dstore.storage.entries import Entry
    from dstore.storage.node_records import TableRecord
    from dstore.storage.range_file import Page
    from dstore.storage.requests import RequestName

Key = tuple[KeyKind, KeyValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryKey:
    """Which entry of which table: the key as the client gave it, and as it is stored."""

    table: TableRecord
    key: Key
    rid_id: bytes


class Items:
    """Reads and writes of entries on a stand-alone node."""

    def __init__(self, catalog: Catalog, disk: DiskSpace) -> None:
        """`disk` refuses writes that would not fit."""
        self._catalog = catalog
        self._disk = disk

    def locate(self, tenant: str, table_name: str, id_text: str) -> EntryKey:
        """Find the table and read the ID as its type wants it.

        Raises: Refused: no such tenant or table, not one's type of ID, or a table whose entries
            have two keys.
        """
        table = self._catalog.table(tenant, table_name)
        _check_single_key(table.definition)
        key = parse_id(table.definition.id_type, id_text)
        return EntryKey(table=table, key=key, rid_id=encode_key(key))

    async def read(self, entry: EntryKey) -> Entry | None:
        """Read the newest acknowledged version, or None."""
        file = await self._catalog.file(entry.table)
        return await file.read(entry.rid_id)

    async def list(self, tenant: str, table_name: str, *, after: bytes, limit: int) -> Page:
        """Read a page of a table's entries in key order (which is the order of their hashes)."""
        table = self._catalog.table(tenant, table_name)
        _check_single_key(table.definition)
        file = await self._catalog.file(table)
        return await file.scan(after=after, before=None, limit=limit, bytes_max=LIST_BYTES_MAX)

    async def write(
        self, entry: EntryKey, apply: Apply, *, request: RequestName | None, body_bytes: int = 0
    ) -> Applied:
        """Apply a write and return once it is durable.

        Raises: what `apply` refuses; Unavailable (nothing written) or Unknown (perhaps written).
        """
        return await (await self.submit(entry, apply, request=request, body_bytes=body_bytes))

    async def submit(
        self, entry: EntryKey, apply: Apply, *, request: RequestName | None, body_bytes: int = 0
    ) -> Future[Applied]:
        """Queue a write behind those submitted before; the future holds its answer."""
        self._disk.check_write()
        file = await self._catalog.file(entry.table)
        write = Write(
            rid_id=entry.rid_id,
            entry_hash=int.from_bytes(entry.rid_id[:4], "big"),
            apply=apply,
            request=request,
        )
        return file.submit(write, item_bytes=body_bytes)


def entry_id(definition: TableDefinition, key_value: KeyValue) -> str:
    """Spell an entry's key as its ID."""
    return format_id((definition.partition.kind, key_value))


# ------------------------------------------------------------------------------------ the writes


def create(item: Item, *, key: Key, preconditions: Preconditions) -> Apply:
    """Store a new entry; 409 if there is one, or 412 if the client said `If-None-Match: *`."""
    check_size(item, key)

    def apply(previous: Entry | None) -> Outcome:
        if previous is not None:
            if preconditions.excludes_any:
                raise ConditionFailed("The entry exists, and If-None-Match: * excludes that.")
            raise Refused(
                RefusalKind.CONFLICT, "The entry exists; replace it with POST, or delete it first."
            )
        check(preconditions, previous)
        return Put(item)

    return apply


def replace(item: Item, *, key: Key, preconditions: Preconditions) -> Apply:
    """Put a whole item in the place of an existing one; 404 if there is none."""
    check_size(item, key)

    def apply(previous: Entry | None) -> Outcome:
        _existing(previous)
        check(preconditions, previous)
        return Put(item)

    return apply


def merge(patch: dict[str, Any], *, key: Key, preconditions: Preconditions) -> Apply:
    """Merge a patch into an existing entry; 404 if there is none."""

    def apply(previous: Entry | None) -> Outcome:
        entry = _existing(previous)
        check(preconditions, previous)
        item = merged(entry.item, patch)
        check_size(item, key)
        return Put(item)

    return apply


def delete(*, preconditions: Preconditions) -> Apply:
    """Remove an existing entry; 404 if there is none."""

    def apply(previous: Entry | None) -> Outcome:
        _existing(previous)
        check(preconditions, previous)
        return Delete()

    return apply


def check_size(item: Item, key: Key) -> None:
    """Refuse an item of more than 400 KB, its key included, as DynamoDB counts."""
    value = key[1]
    key_bytes = len(value) if isinstance(value, bytes) else len(value.encode())
    size_bytes = item_bytes(item) + key_bytes
    if size_bytes > ITEM_BYTES_MAX:
        raise Refused(
            RefusalKind.TOO_LARGE,
            f"The entry has {size_bytes} bytes of names and values; {ITEM_BYTES_MAX} fit. "
            "Split it, or store large parts elsewhere.",
        )


def _existing(previous: Entry | None) -> Entry:
    if previous is None:
        raise Refused(RefusalKind.NOT_FOUND, "There is no such entry; create it with PUT.")
    return previous


def _check_single_key(definition: TableDefinition) -> None:
    if definition.sort is not None:
        raise Refused(
            RefusalKind.INVALID,
            "The table's entries have two keys; v1 serves tables with one. Use the DynamoDB API.",
        )
