"""What a reader is shown of an entry, as the JSON that its client is answered.

Made where the entry is, so that what lies between passes it on untouched.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.model.keys import decode_key
from dstore.model.plain_numbers import plain_attribute
from dstore.model.values import Item, plain_from_cell
from dstore.service.items import answered, entry_id
from dstore.service.preconditions import is_matched

if TYPE_CHECKING:
    from dstore.expressions import Projection
    from dstore.model.tables import TableDefinition
    from dstore.storage.entries import Entry
    from dstore.storage.range_scan import Page

_encode: Final = msgspec.json.Encoder().encode


class Form(StrEnum):
    """How an entry is written."""

    ITEM = "item"  # DynamoDB's: whole, each attribute with its type, numbers plainly spelled
    PLAIN = "plain"  # v1's: as it was stored, without its key


class ReadAsk(msgspec.Struct, frozen=True, kw_only=True):
    """What to show of an entry; a projection is of an item.

    `is_counted` asks for its size. Of a version in `unless`, which may be `preconditions.ANY`, the
    reader needs no body.
    """

    form: Form
    projection: Projection | None = None
    is_counted: bool = False
    unless: tuple[str, ...] = ()


class ReadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it was asked for.

    `version` is what an ETag shows; `body` is JSON, or empty if the reader needs none.
    `item_bytes` is what capacity counts, the key left out, and 0 if nobody asked.
    """

    version: str
    body: msgspec.Raw
    item_bytes: int = 0


class ListingAsk(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries of a range to list.

    `after` is the key behind which to begin, b"" for the range's beginning; `limit` entries at
    most, >= 0; with 0 the listing tells only whether there is one. It stops behind the entry that
    reaches `bytes_max`. If `is_eventual`, acknowledged versions will do that may be old.
    """

    after: bytes
    limit: int
    bytes_max: int
    is_eventual: bool = False


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
COUNTED_ITEM: Final = ReadAsk(form=Form.ITEM, is_counted=True)
PLAIN_ENTRY: Final = ReadAsk(form=Form.PLAIN)
_NO_BODY: Final = msgspec.Raw(b"")


def answer_of(entry: Entry, ask: ReadAsk, *, key: Item) -> ReadAnswer:
    """Answer a read. O(size): of a large entry in a thread (`items.is_large`).

    Args:
        entry: as it is stored.
        ask: what to show.
        key: the entry's key attributes in wire form, plainly spelled; v1's form has no use for it.
    Raises: Corrupt: a row is not what it says.
    """
    return ReadAnswer(
        version=entry.version,
        body=_body(entry, ask, key),
        item_bytes=entry.item_bytes if ask.is_counted else 0,
    )


def listing_of(page: Page, definition: TableDefinition) -> Listing:
    """Write a page of entries. O(size), as `answer_of`. Raises: Corrupt: as there."""
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


def _body(entry: Entry, ask: ReadAsk, key: Item) -> msgspec.Raw:
    if ask.unless and is_matched(ask.unless, entry.version):
        return _NO_BODY
    if ask.projection is not None:
        return msgspec.Raw(_encode(_projected(entry, key, ask.projection)))
    return answered(entry, key) if ask.form is Form.ITEM else msgspec.Raw(_encode(_plain(entry)))


def _plain(entry: Entry) -> dict[str, object]:
    return {name: plain_from_cell(cell) for name, cell in entry.cells.items()}


def _projected(entry: Entry, key: Item, projection: Projection) -> Item:
    """Pick a projection out of an item; what it does not name is not even decoded."""
    item, cells = {}, entry.cells
    for path in projection.paths:
        name = str(path[0])
        if name in key:
            item[name] = key[name]
        elif name in cells and name not in item:
            item[name] = plain_attribute(cells[name])
    return projection.apply(item)
