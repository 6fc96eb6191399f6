"""What is asked of a page, and the page, between components.

The items come as the JSON that they are answered as, in one piece: who passes them on to a client
takes nothing apart.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.base.limits import (
    PAGE_ASK_BYTES_MAX,
    PAGE_BYTES_MAX,
    PAGE_EVALUATED_BYTES_MAX,
    RID_ID_BYTES_MAX,
    TABLE_NAME_CHARS_MAX,
)
from dstore.model.errors import Refused
from dstore.service.queries import ItemPage, PageAsk
from dstore.service.wire_expressions import WireExpression, sent_if
from dstore.service.wire_form import WireForm
from dstore.storage.range_scan import Span

# A bound is a stored key, or the smallest bytes above one.
_Bound = Annotated[bytes, msgspec.Meta(max_length=RID_ID_BYTES_MAX + 1)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_IndexName = Annotated[str, msgspec.Meta(max_length=TABLE_NAME_CHARS_MAX)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Ask(msgspec.Struct, frozen=True, array_like=True):
    low: _Bound
    high: _Bound | None
    is_reverse: bool
    limit: _Positive | None
    bytes_max: Annotated[int, msgspec.Meta(ge=1, le=PAGE_EVALUATED_BYTES_MAX)]
    kept: WireExpression | None
    projection: WireExpression | None
    is_count: bool
    is_part: bool
    is_eventual: bool = False
    index: _IndexName | None = None
    is_fetching: bool = False


class _Page(msgspec.Struct, frozen=True, array_like=True):
    items: bytes | None  # JSON, commas between
    count: _Count
    scanned_count: _Count
    evaluated_bytes: _Count
    last: _Bound | None
    page_bytes: _Count
    fetched_units: _Count = 0


_asks: Final = WireForm[_Ask](_Ask, what="question for a page", bytes_max=PAGE_ASK_BYTES_MAX)
_pages: Final = WireForm[_Page](_Page, what="page", bytes_max=PAGE_BYTES_MAX)


def encode_ask(ask: PageAsk) -> bytes:
    """Encode what is asked. Raises: Refused: it is too large to travel."""
    return _asks.encode(
        _Ask(
            ask.span.low,
            ask.span.high,
            ask.span.is_reverse,
            ask.limit,
            ask.bytes_max,
            sent_if(ask.filter),
            sent_if(ask.projection),
            ask.is_count,
            ask.is_part,
            ask.is_eventual,
            ask.index,
            ask.is_fetching,
        )
    )


def decode_ask(encoded: bytes) -> PageAsk:
    """Decode what is asked. Raises: Unreadable: it is nothing that could be asked."""
    wire = _asks.decode(encoded)
    try:
        return PageAsk(
            span=Span(low=wire.low, high=wire.high, is_reverse=wire.is_reverse),
            limit=wire.limit,
            bytes_max=wire.bytes_max,
            filter=None if wire.kept is None else wire.kept.filter(),
            projection=None if wire.projection is None else wire.projection.projection(),
            is_count=wire.is_count,
            is_part=wire.is_part,
            is_eventual=wire.is_eventual,
            index=wire.index,
            is_fetching=wire.is_fetching,
        )
    except Refused as error:
        raise _asks.unreadable(error) from error


def encode_page(page: ItemPage) -> bytes:
    """Encode a page. O(size): a page of more than LOOP_BYTES_MAX belongs into a thread.

    Raises: Refused: it is too large to travel, which PAGE_JSON_BYTES_MAX prevents.
    """
    return _pages.encode(
        _Page(
            None if page.items is None else b",".join(page.items),
            page.count,
            page.scanned_count,
            page.evaluated_bytes,
            page.last,
            page.page_bytes,
            page.fetched_units,
        )
    )


def decode_page(encoded: bytes) -> ItemPage:
    """Decode a page. Raises: Unreadable.

    Returns: all items in one piece; whether they are JSON is not looked at.
    """
    wire = _pages.decode(encoded)
    items = None if wire.items is None else [msgspec.Raw(wire.items)] if wire.items else []
    return ItemPage(
        items=items,
        count=wire.count,
        scanned_count=wire.scanned_count,
        evaluated_bytes=wire.evaluated_bytes,
        last=wire.last,
        page_bytes=wire.page_bytes,
        fetched_units=wire.fetched_units,
    )
