"""A write that was sent does what it would have done where it was planned, or is refused whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstore.model.errors import DStoreError
from dstore.model.values import Item
from dstore.service.items import ItemKey
from dstore.service.mutation_wire import decode_mutation, encode_mutation
from dstore.service.mutations import Mutation
from dstore.service.wire_expressions import sent
from dstore.service.wire_form import Unreadable
from dstore.storage.entries import Entry
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
