"""A write that was sent does what it would have done where it was planned, or is refused whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from dstore.base.limits import PAGE_EVALUATED_BYTES_MAX, RID_ID_BYTES_MAX
from dstore.model.errors import DStoreError
from dstore.model.keys import KeyKind, encode_key
from dstore.model.values import Item
from dstore.service.items import ItemKey
from dstore.service.mutation_wire import decode_mutation, encode_mutation
from dstore.service.mutations import Mutation
from dstore.service.page_wire import decode_ask, decode_page, encode_ask, encode_page
from dstore.service.queries import ItemPage, PageAsk, _PageCollector, joined, rest_of
from dstore.service.wire_expressions import sent
from dstore.service.wire_form import Unreadable
from dstore.storage.entries import Entry, cells_of
from dstore.storage.range_scan import Span
from tests.support.mutations import (
    A_KEY,
    entries,
    mutations,
    read_conditions,
    read_projections,
    stored_items,
)


def done(mutation: Mutation, previous: Entry | None) -> object:
    """Apply a write; give what it decides, or all that its refusal says."""
    try:
        return mutation.apply(previous)
    except DStoreError as error:
        return type(error), vars(error), error.message


@given(mutations(), entries)
@settings(max_examples=400, deadline=None)
def test_a_sent_write_does_the_same(
    planned: tuple[ItemKey, Mutation], previous: Entry | None
) -> None:
    """decode(encode(m)).apply(p) is m.apply(p), whatever is written, asked and refused."""
    key, mutation = planned
    encoded = encode_mutation(mutation)
    arrived = decode_mutation(encoded, definition=key.table.definition, rid_id=key.rid_id)
    assert type(arrived) is type(mutation)
    assert done(mutation, previous) == done(arrived, previous)
    assert encode_mutation(arrived) == encoded, "what arrives may be sent on"


@given(read_conditions(), stored_items)
@settings(max_examples=150, deadline=None)
def test_a_sent_condition_holds_as_it_did(condition: Any, item: Item) -> None:
    """A filter travels as a condition does; both say of an item what they said."""
    arrived = sent(condition)
    assert arrived.condition().holds(item) == condition.holds(item)
    assert arrived.filter().holds(item) == condition.holds(item)


@given(read_projections(), stored_items)
@settings(max_examples=100, deadline=None)
def test_a_sent_projection_picks_the_same(projection: Any, item: Item) -> None:
    """A projection travels as its text and the names that it uses."""
    assert sent(projection).projection().apply(item) == projection.apply(item)


@given(mutations(), st.binary(max_size=40), st.integers(0, 400), st.integers(0, 10))
@settings(max_examples=400, deadline=None)
def test_damaged_bytes_are_refused_or_read(
    planned: tuple[ItemKey, Mutation], junk: bytes, at: int, cut: int
) -> None:
    """Whatever bytes a peer at fault sends, one error comes of it, or a write that applies."""
    key, mutation = planned
    encoded = encode_mutation(mutation)
    at %= len(encoded) + 1
    damaged = encoded[:at] + junk + encoded[at + cut :]
    try:
        arrived = decode_mutation(damaged, definition=key.table.definition, rid_id=key.rid_id)
    except Unreadable:
        return
    done(arrived, None)
    done(arrived, Entry({}, "1"))


def packed(*fields: object) -> bytes:
    return b"\x01" + msgspec.msgpack.encode(fields)


DEEP = b"\x01\x92\xa8put_item\x81\xa1a" + b"\x81\xa1L\x91" * 100_000 + b"\x81\xa1S\xa1a"


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x01",
        b"\x02" + packed("delete")[1:],
        packed("no_such_write"),
        packed("put_item", {"a": {"X": "1"}}),
        packed("put_item", {"a": {"S": 1}}),
        packed("put_item", {"a": {"S": "1", "N": "1"}}),
        packed("put_item", {"a": {}}),
        packed("put_item", {"a": {"N": "one"}}),
        packed("put_item", {"a": {"N": "1e999999999"}}),
        packed("put_item", {"a": {"B": "?"}}),
        packed("put_item", {"a": {"NULL": False}}),
        packed("put_item", {"a": {"SS": []}}),
        packed("put_item", {"a": {"BS": ["AA==", "AA=="]}}),
        packed("put_item", {"": {"S": "x"}}),
        packed("delete_item", [["", None, None, [[]]]]),
        packed("delete_item", [["", None, None, [[["a", "EQ", []]]]]]),
        packed("delete_item", [["", None, None, [[["a", "LIKE", [{"S": "x"}]]]]]]),
        packed("delete_item", [["", None, None, [[["a", "EQ", [{"N": "one"}]]]]]]),
        packed("delete_item", [["", None, None, [[["", "EQ", [{"S": "x"}]]]]]]),
        packed("delete_item", [["", None, None, [[["a", "NULL"], ["a", "NULL"]]]]]),
        packed("update_item", ["", None, None, [[["a", "PUT"]]]]),
        packed("update_item", ["", None, None, [[["a", "ADD", [{"S": "x"}]]]]]),
        packed("update_item", ["", None, None, [[["a", "EQ", [{"S": "x"}]]]]]),
        packed("put_item", {"x" * 65_536: {"S": "x"}}),
        packed("put_item", {"id": {"S": "x"}}),
        packed("put_item", {"a": {"M": {"b": {"M": {"": {"S": "x"}}}}}}),
        packed("put_item", {"a": {"S": "x" * 410_000}}),
        packed("merge", {"id": None}),
        packed("merge", {"a": {"M": {"b": {"N": "one"}}}}),
        packed("merge", {"a": {"L": [None]}}),
        packed("update_item", ["SET a = ", None, None]),
        packed("update_item", ["SET a = :v", None, None]),
        packed("update_item", ["SET a = :v", None, {":v": {"S": "x"}, ":w": {"S": "x"}}]),
        packed("delete_item", [["x" * 5_000, None, None], False]),
        packed("delete_item", [["a = :v", {}, {":v": {"N": "one"}}], False]),
        DEEP,
    ],
    ids=lambda encoded: str(encoded[:40]),
)
def test_what_no_plan_makes(encoded: bytes) -> None:
    """A write that could not have been planned is refused before it is queued."""
    key = A_KEY
    with pytest.raises(Unreadable) as refused:
        decode_mutation(encoded, definition=key.table.definition, rid_id=key.rid_id)
    assert refused.value.what == "write"
    assert refused.value.why


def test_a_key_of_another_table() -> None:
    """An entry's key that is not of the table's types is the peer's fault, not a damaged file."""
    with pytest.raises(Unreadable):
        decode_mutation(packed("delete_item"), definition=A_KEY.table.definition, rid_id=b"\x00")


def an_ask(**members: Any) -> PageAsk:
    """Make one; hypothesis would look up the types of the class itself, and not find them."""
    return PageAsk(**members)


asks = st.builds(
    an_ask,
    span=st.builds(
        Span,
        low=st.binary(max_size=9),
        high=st.none() | st.binary(max_size=9),
        is_reverse=st.booleans(),
    ),
    limit=st.none() | st.integers(1, 2**31),
    bytes_max=st.integers(1, PAGE_EVALUATED_BYTES_MAX),
    filter=st.none() | read_conditions(),
    projection=st.none() | read_projections(),
    is_count=st.booleans(),
    is_part=st.booleans(),
)


def collected(ask: PageAsk, found: list[Item]) -> ItemPage:
    """Collect a page of items, in memory."""
    collector = _PageCollector(ask, A_KEY.table.definition)
    for at, item in enumerate(found):
        collector.add(encode_key((KeyKind.STRING, f"{at}")), Entry(cells_of(item), "1"))
        if collector.is_full:
            break
    return collector.page()


@given(asks, st.lists(stored_items, max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_sent_ask_collects_the_same_page(ask: PageAsk, found: list[Item]) -> None:
    """What is asked, and the page that comes of it, arrive as they left, items as JSON."""
    encoded = encode_ask(ask)
    arrived = decode_ask(encoded)
    assert encode_ask(arrived) == encoded
    assert arrived.span == ask.span
    page = collected(ask, found)
    assert collected(arrived, found) == page
    shown = decode_page(encode_page(page))
    assert structs.replace(shown, items=None) == structs.replace(page, items=None)
    assert (shown.items is None) is ask.is_count
    assert msgspec.json.encode(shown.items) == msgspec.json.encode(page.items)


@given(asks, st.binary(max_size=30), st.integers(0, 200), st.integers(0, 10))
@settings(max_examples=200, deadline=None)
def test_damaged_asks_are_refused_or_read(ask: PageAsk, junk: bytes, at: int, cut: int) -> None:
    """As of writes: one error, or something that can be asked."""
    encoded = encode_ask(ask)
    at %= len(encoded) + 1
    try:
        arrived = decode_ask(encoded[:at] + junk + encoded[at + cut :])
    except Unreadable:
        return
    collected(arrived, [{"a": {"N": "1"}}, {}])


@pytest.mark.parametrize(
    "encoded",
    [
        packed(b"", None, False, 0, 1, None, None, False, False),
        packed(b"", None, False, None, 2**40, None, None, False, False),
        packed(bytes(RID_ID_BYTES_MAX + 2), None, False, None, 1, None, None, False, False),
        packed(b"", None, False, None, 1, ["a = ", None, None], None, False, False),
        packed(b"", None, False, None, 1),
    ],
)
def test_what_nobody_asks(encoded: bytes) -> None:
    """An ask is held to its bounds before anything is read for it."""
    with pytest.raises(Unreadable):
        decode_ask(encoded)


@given(
    st.lists(st.lists(stored_items, max_size=4), min_size=1, max_size=3),
    st.none() | st.integers(1, 8),
    st.integers(1, 400),
)
@settings(max_examples=200, deadline=None)
def test_a_page_over_several_ranges_is_one_page(
    parts: list[list[Item]], limit: int | None, bytes_max: int
) -> None:
    """A page that goes on in the next range ends where it would if there were one range."""
    whole = [item for part in parts for item in part]
    ask: PageAsk | None = PageAsk(span=Span(), limit=limit, bytes_max=bytes_max, is_part=True)
    assert ask is not None
    expected = collected(ask, whole)
    pages = []
    for part in parts:
        assert ask is not None
        pages.append(collected(ask, part))
        ask = rest_of(ask, pages[-1])
        if ask is None:
            break
    found = joined(pages)
    assert found.count == expected.count
    assert (found.last is None) == (expected.last is None)
    assert found.page_bytes == expected.page_bytes
