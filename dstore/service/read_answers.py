"""What a reader is shown of an entry, as the JSON that its client is answered.

Made where the entry is, so that what lies between passes it on untouched.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.model.keys import decode_key
from dstore.model.plain_numbers import plain_attribute
from dstore.model.values import Item, plain_from_row
from dstore.service.items import answered, entry_id

if TYPE_CHECKING:
    from dstore.expressions import Projection
    from dstore.model.tables import TableDefinition
    from dstore.storage.entries import Entry
    from dstore.storage.range_file import Page

_encode: Final = msgspec.json.Encoder().encode


class Form(StrEnum):
    """How an entry is written."""

    ITEM = "item"  # DynamoDB's: whole, each attribute with its type, numbers plainly spelled
    PLAIN = "plain"  # v1's: as it was stored, without its key


class ReadAsk(msgspec.Struct, frozen=True, kw_only=True):
    """What to show of an entry; a projection is of an item."""

    form: Form
    projection: Projection | None = None


class ReadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it was asked for.

    `version` is what an ETag shows; `item_bytes` what capacity counts, the key left out.
    """

    version: str
    body: msgspec.Raw
    item_bytes: int


class ListingAsk(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries of a range to list.

    `after` is the key behind which to begin, b"" for the range's beginning; `limit` entries at
    most, >= 0; with 0 the listing tells only whether there is one. It stops behind the entry that
    reaches `bytes_max`.
    """

    after: bytes
    limit: int
    bytes_max: int


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Entries in the order of their keys, as v1 lists them.

    Each of `entries` is an object's JSON, or several with commas between. `size_bytes` are what
    they count towards a page's bound; `last` is the stored key of the last, None if no entry
    follows it, and b"" if none is listed though there are some.
    """

    entries: list[msgspec.Raw]
    count: int
    size_bytes: int
    last: bytes | None


WHOLE_ITEM: Final = ReadAsk(form=Form.ITEM)
PLAIN_ENTRY: Final = ReadAsk(form=Form.PLAIN)


def answer_of(entry: Entry | ReadAnswer, ask: ReadAsk, *, key: Item) -> ReadAnswer:
    """Answer a read, with all that must be known of the entry; as `shown`."""
    if isinstance(entry, ReadAnswer):
        return entry
    body = shown(entry, ask, key=key)
    if not isinstance(body, msgspec.Raw):
        body = msgspec.Raw(_encode(body))
    return ReadAnswer(version=entry.version, body=body, item_bytes=entry.item_bytes)


def shown(entry: Entry | ReadAnswer, ask: ReadAsk, *, key: Item) -> Item | msgspec.Raw:
    """Give what is asked of an entry. O(size): of a large one in a thread (`items.is_large`).

    Args:
        entry: as it is stored, or what was made of it for `ask` where it is.
        ask: what to show.
        key: the entry's key attributes in wire form, plainly spelled.
    Returns: JSON, or the little that a projection picks, to be encoded with what is around it.
    Raises: Corrupt: a row is not what it says.
    """
    if isinstance(entry, ReadAnswer):
        return entry.body
    if ask is WHOLE_ITEM:
        return answered(entry, key)
    if ask.projection is not None:
        return _projected(entry, key, ask.projection)
    return answered(entry, key) if ask.form is Form.ITEM else msgspec.Raw(plain_json(entry))


def plain_json(entry: Entry | ReadAnswer) -> bytes:
    """Write the object that v1 answers. O(size), as `shown`. Raises: Corrupt: as there."""
    if isinstance(entry, ReadAnswer):
        return bytes(entry.body)
    return _encode(_plain(entry))


def listing_of(page: Page, definition: TableDefinition) -> Listing:
    """Write a page of entries. O(size), as `shown`. Raises: Corrupt: as there."""
    kind = definition.partition.kind
    entries = [
        _encode({"id": entry_id(definition, decode_key(rid_id, kind)[1]), "data": _plain(entry)})
        for rid_id, entry in page.entries
    ]
    return Listing(
        entries=[msgspec.Raw(entry) for entry in entries],
        count=len(entries),
        size_bytes=page.size_bytes,
        last=None if page.is_last else page.entries[-1][0] if page.entries else b"",
    )


def _plain(entry: Entry) -> dict[str, object]:
    return {name: plain_from_row(kind, data) for name, (kind, data) in entry.cells.items()}


def _projected(entry: Entry, key: Item, projection: Projection) -> Item:
    """Pick a projection out of an item; what it does not name is not even decoded."""
    item, cells = {}, entry.cells
    for path in projection.paths:
        name = str(path[0])
        if name in key:
            item[name] = key[name]
        elif name in cells and name not in item:
            item[name] = plain_attribute(*cells[name])
    return projection.apply(item)
