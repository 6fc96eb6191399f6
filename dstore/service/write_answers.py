"""What a writer wants to hear of its write, and what it hears: no more has to travel to it.

`Applied` holds the entry before and what was decided; of both a client mostly wants nothing. A
refusal is an answer too; what it shows of the item, the write itself says (`item_writes.Guard`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.expressions import Projection
from dstore.model.errors import Corrupt, Unknown
from dstore.model.index_rows import write_units
from dstore.model.plain_numbers import plain
from dstore.model.values import item_bytes
from dstore.service.items import answered, whole_item
from dstore.storage.range_writer import Put

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.model.index_rows import IndexShape
    from dstore.model.values import Item
    from dstore.storage.range_writer import Applied

_encode: Final = msgspec.json.Encoder().encode


NO_UNITS: Final[Mapping[str, int]] = MappingProxyType({})


class ReturnValues(StrEnum):
    """What of an item a write returns; DynamoDB's words. None of it is v1's choice too."""

    NONE = "NONE"
    ALL_OLD = "ALL_OLD"
    UPDATED_OLD = "UPDATED_OLD"
    ALL_NEW = "ALL_NEW"
    UPDATED_NEW = "UPDATED_NEW"


_OLD: Final = frozenset({ReturnValues.ALL_OLD, ReturnValues.UPDATED_OLD})
_ALL: Final = frozenset({ReturnValues.ALL_OLD, ReturnValues.ALL_NEW})


class WriteAsk(msgspec.Struct, frozen=True, array_like=True):
    """What a writer wants to hear beside whether there was an entry, and its version now.

    `is_counted` asks for the sizes before and after, which capacity is counted from, and for what
    the write costs in the table's indexes. `is_measured` asks for the size of the item collection.
    """

    returns: ReturnValues = ReturnValues.NONE
    is_counted: bool = False
    is_measured: bool = False


NOTHING_ASKED: Final = WriteAsk()


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What a write did, as far as it was asked.

    `version` is what an ETag shows, None if there is no entry now. `attributes` are JSON, None if
    there is nothing to return. The sizes are of whole items, 0 if there is none or nobody asked.
    `index_units` are AWS's write units by index, those it costs something in. `collection_bytes`
    are what all items of the partition key count, 0 where the table has no local index.
    """

    existed: bool
    version: str | None
    attributes: msgspec.Raw | None = None
    before_bytes: int = 0
    after_bytes: int = 0
    index_units: Mapping[str, int] = NO_UNITS
    collection_bytes: int = 0


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """What was asked of a write, as it is kept with its request's name."""

    attributes: bytes | None
    before_bytes: int
    after_bytes: int
    index_units: dict[str, int] = {}
    collection_bytes: int = 0


_encode_kept: Final = msgspec.msgpack.Encoder().encode
_decode_kept: Final = msgspec.msgpack.Decoder(_Kept).decode


def answer_to_keep(
    applied: Applied, *, ask: WriteAsk, key: Item, indexes: Sequence[IndexShape]
) -> bytes:
    """Write down what was asked of a write, for `written` to answer it, and every repetition of it.

    Cost and errors: those of `written`.
    """
    told = written(applied, ask, key=key, indexes=indexes)
    attributes = None if told.attributes is None else bytes(told.attributes)
    return _encode_kept(
        _Kept(
            attributes,
            told.before_bytes,
            told.after_bytes,
            dict(told.index_units),
            told.collection_bytes,
        )
    )


def written(
    applied: Applied, ask: WriteAsk, *, key: Item, indexes: Sequence[IndexShape]
) -> Written:
    """Answer what was asked; `key` are the entry's key attributes in wire form, plainly spelled.

    `indexes` are those of the table; of interest only if the write `is_counted`.

    Cost: O(size) if anything is asked and it is not written down yet, so a large item belongs into
    a thread.

    Raises:
        Corrupt: a row of the entry before is not what it says.
        Unknown: the request was done before, and what is asked was not kept.
    """
    if ask is NOTHING_ASKED:
        return Written(existed=applied.existed, version=applied.version)
    if applied.answer is not None:
        return _told_again(applied, applied.answer)
    if applied.outcome is None:
        raise Unknown(
            "The write was done when it was sent before; its answer was too large to be kept. "
            "Read the item to see it."
        )
    before_bytes = after_bytes = 0
    units: Mapping[str, int] = NO_UNITS
    if ask.is_counted:
        key_bytes = item_bytes(key)
        if applied.previous is not None:
            before_bytes = applied.previous.item_bytes + key_bytes
        if isinstance(applied.outcome, Put):
            after_bytes = item_bytes(applied.outcome.item) + key_bytes
        if indexes:
            units = _index_units(applied, key, indexes)
    return Written(
        existed=applied.existed,
        version=applied.version,
        attributes=_returned(ask.returns, applied, key),
        before_bytes=before_bytes,
        after_bytes=after_bytes,
        index_units=units,
        collection_bytes=applied.collection_bytes if ask.is_measured else 0,
    )


def _index_units(applied: Applied, key: Item, indexes: Sequence[IndexShape]) -> dict[str, int]:
    """Count what a write costs in each index, if anything."""
    previous, outcome = applied.previous, applied.outcome
    before = None if previous is None else whole_item(previous, key)
    after = _new_item(outcome, key) if isinstance(outcome, Put) else None
    counted = {shape.name: write_units(shape, before, after) for shape in indexes}
    return {name: units for name, units in counted.items() if units}


def _told_again(applied: Applied, answer: bytes) -> Written:
    try:
        kept = _decode_kept(answer)
    except msgspec.MsgspecError:
        raise Corrupt("A kept answer is none.", file="", where="name") from None
    return Written(
        existed=applied.existed,
        version=applied.version,
        attributes=None if kept.attributes is None else msgspec.Raw(kept.attributes),
        before_bytes=kept.before_bytes,
        after_bytes=kept.after_bytes,
        index_units=kept.index_units,
        collection_bytes=kept.collection_bytes,
    )


def _returned(mode: ReturnValues, applied: Applied, key: Item) -> msgspec.Raw | None:
    """Give the attributes to return, None if there are none.

    What was touched comes back as a projection of the touched paths, so that of a list only the
    elements at their numbers show; nothing of an item that is not there, and no empty map.
    Source: Alternator's suite, test_returnvalues.py, which runs against AWS.
    """
    if mode is ReturnValues.NONE:
        return None
    previous, outcome = applied.previous, applied.outcome
    if mode is ReturnValues.ALL_OLD:
        return None if previous is None else answered(previous, key)
    if mode in _OLD:
        item = None if previous is None else whole_item(previous, key)
    else:
        item = _new_item(outcome, key) if isinstance(outcome, Put) else None
    if item is not None and mode not in _ALL:
        item = Projection(outcome.touched if isinstance(outcome, Put) else ()).apply(item) or None
    return None if item is None else msgspec.Raw(_encode(item))


def _new_item(outcome: Put, key: Item) -> Item:
    """Put the new item together, as `whole_item` would once it is stored."""
    item = key.copy()
    for name, attribute in outcome.item.items():
        item[name] = plain(attribute)
    return item
