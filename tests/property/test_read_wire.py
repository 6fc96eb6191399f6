"""What a reader asks and is shown arrives as it left."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.model.values import Item, to_plain
from dstore.service.items import ItemKey, whole_item
from dstore.service.read_answers import (
    PLAIN_ENTRY,
    WHOLE_ITEM,
    Form,
    Listing,
    ReadAsk,
    answer_of,
    listing_of,
)
from dstore.service.read_wire import (
    decode_answer,
    decode_listing,
    decode_read,
    encode_answer,
    encode_listing,
    encode_read,
)
from dstore.service.wire_form import Unreadable
from dstore.storage.entries import Entry, cells_of
from dstore.storage.range_scan import Page
from tests.support.mutations import A_KEY, item_keys, read_projections, stored_items

asks = st.one_of(
    st.sampled_from([WHOLE_ITEM, PLAIN_ENTRY]),
    read_projections().map(lambda projection: ReadAsk(form=Form.ITEM, projection=projection)),
)
decode_json = msgspec.json.decode


@given(item_keys(), asks, stored_items)
@settings(max_examples=200, deadline=None)
def test_a_sent_ask_shows_the_same(key: ItemKey, ask: ReadAsk, item: Item) -> None:
    """An entry is shown as it would be here: whole, as a projection of it, or as v1's object."""
    entry = Entry(cells_of(item), "7")
    arrived = decode_read(encode_read(ask))
    answer = answer_of(entry, ask, key=key.attributes)
    assert answer_of(entry, arrived, key=key.attributes) == answer
    assert decode_answer(encode_answer(answer)) == answer
    whole = whole_item(entry, key.attributes)
    if ask.form is Form.PLAIN:
        plain = {name: to_plain(each) for name, each in entry.item.items()}
        assert bytes(answer.body) == msgspec.json.encode(plain)
    else:
        shown = whole if ask.projection is None else ask.projection.apply(whole)
        assert decode_json(answer.body) == shown


@given(st.lists(stored_items, max_size=4), st.booleans())
@settings(max_examples=100, deadline=None)
def test_listings_arrive(found: list[Item], is_last: bool) -> None:
    """A list of entries is one piece of JSON at the other end, to be put between brackets."""
    entries = tuple((A_KEY.rid_id, Entry(cells_of(item), "1")) for item in found)
    page = Page(entries=entries, is_last=is_last or not found, size_bytes=9)
    listing = listing_of(page, A_KEY.table.definition)
    arrived = decode_listing(encode_listing(listing))
    assert (len(found), 9) == (arrived.count, arrived.size_bytes)
    assert arrived.last == listing.last == (None if page.is_last else A_KEY.rid_id)
    assert members(arrived) == members(listing)
    assert [one["id"] for one in members(arrived)] == ["x"] * len(found)


def members(listing: Listing) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = decode_json(msgspec.json.encode(listing.entries))
    return entries


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_junk_is_unreadable(junk: bytes) -> None:
    """Bytes of a peer at fault are one error, whatever they were meant to be."""
    for decode in (decode_read, decode_answer, decode_listing):
        with suppress(Unreadable):
            decode(b"\x01" + junk)
        with pytest.raises(Unreadable):
            decode(b"\x02" + junk)


@pytest.mark.parametrize(
    "fields", [("other",), ("plain", ["a", None, None]), ("item", ["a.", None, None])]
)
def test_what_nobody_asks(fields: tuple[object, ...]) -> None:
    """An ask that could not be answered is refused before anything is read for it."""
    with pytest.raises(Unreadable):
        decode_read(b"\x01" + msgspec.msgpack.encode(fields))
