"""Reads of entries and their answers, between components."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.base.limits import (
    PAGE_ASK_BYTES_MAX,
    PAGE_BYTES_MAX,
    READ_ANSWER_BYTES_MAX,
    RID_ID_BYTES_MAX,
)
from dstore.model.errors import Refused
from dstore.service.read_answers import (
    PLAIN_ENTRY,
    WHOLE_ITEM,
    Form,
    Listing,
    ReadAnswer,
    ReadAsk,
)
from dstore.service.wire_expressions import WireExpression, sent_if
from dstore.service.wire_form import WireForm

_Count = Annotated[int, msgspec.Meta(ge=0)]
_SIMPLE: Final = {Form.ITEM: WHOLE_ITEM, Form.PLAIN: PLAIN_ENTRY}


class _Ask(msgspec.Struct, frozen=True, array_like=True):
    form: Form
    projection: WireExpression | None = None
    is_counted: bool = False
    unless: tuple[str, ...] = ()


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    version: str
    body: bytes
    item_bytes: _Count


class _Listing(msgspec.Struct, frozen=True, array_like=True):
    entries: bytes  # JSON, commas between
    count: _Count
    size_bytes: _Count
    last: Annotated[bytes, msgspec.Meta(max_length=RID_ID_BYTES_MAX)] | None


_asks: Final = WireForm[_Ask](_Ask, what="question for an entry", bytes_max=PAGE_ASK_BYTES_MAX)
_answers: Final = WireForm[_Answer](_Answer, what="entry", bytes_max=READ_ANSWER_BYTES_MAX)
_listings: Final = WireForm[_Listing](_Listing, what="list", bytes_max=PAGE_BYTES_MAX)


def encode_read(ask: ReadAsk) -> bytes:
    """Encode what is asked. Raises: Refused: it is too large to travel."""
    return _asks.encode(_Ask(ask.form, sent_if(ask.projection), ask.is_counted, ask.unless))


def decode_read(encoded: bytes) -> ReadAsk:
    """Decode what is asked. Raises: Unreadable: it is nothing that could be asked."""
    wire = _asks.decode(encoded)
    if wire.projection is None:
        if not (wire.is_counted or wire.unless):
            return _SIMPLE[wire.form]
        return ReadAsk(form=wire.form, is_counted=wire.is_counted, unless=wire.unless)
    if wire.form is not Form.ITEM:
        raise _asks.unreadable("a projection of what is no item")
    try:
        projection = wire.projection.projection()
    except Refused as error:
        raise _asks.unreadable(error) from error
    return ReadAsk(
        form=wire.form, projection=projection, is_counted=wire.is_counted, unless=wire.unless
    )


def encode_answer(answer: ReadAnswer) -> bytes:
    """Encode an entry. Raises: Refused: it is too large to travel, which no entry is."""
    return _answers.encode(_Answer(answer.version, bytes(answer.body), answer.item_bytes))


def decode_answer(encoded: bytes) -> ReadAnswer:
    """Decode an entry; whether its body is JSON is not looked at. Raises: Unreadable."""
    wire = _answers.decode(encoded)
    return ReadAnswer(version=wire.version, body=msgspec.Raw(wire.body), item_bytes=wire.item_bytes)


def encode_listing(listing: Listing) -> bytes:
    """Encode a list of entries. O(size). Raises: Refused: it is too large to travel."""
    entries = b",".join(listing.entries)
    return _listings.encode(_Listing(entries, listing.count, listing.size_bytes, listing.last))


def decode_listing(encoded: bytes) -> Listing:
    """Decode a list of entries, all in one piece. Raises: Unreadable."""
    wire = _listings.decode(encoded)
    return Listing(
        entries=[msgspec.Raw(wire.entries)] if wire.entries else [],
        count=wire.count,
        size_bytes=wire.size_bytes,
        last=wire.last,
    )
