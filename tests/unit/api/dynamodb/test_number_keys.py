"""Keys that are numbers, through both doors: who names an item must be able to find it there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from dstore.api.v1.entries import plan_body
from dstore.model.errors import Refused
from dstore.model.tables import IdType
from dstore.service.deferred_store import Verb
from dstore.service.preconditions import NO_PRECONDITIONS
from tests.support.nodes import stored_item
from tests.unit.api.dynamodb.calling import TENANT, called
from tests.unit.api.dynamodb.item_tables import node_fixture, stored, validation

if TYPE_CHECKING:
    from dstore.service.node import Node

__all__ = ["node_fixture"]

NUMBERS, INTEGERS = "numbers", "integers"
_REFUSED: Final = (
    "One or more parameter values were invalid: dStore's table integers was made through v1 with "
    "Integer IDs: _id must be an integer of at most 38 digits"
)


async def _make_numbers(node: Node) -> None:
    await called(
        node,
        "CreateTable",
        TableName=NUMBERS,
        AttributeDefinitions=[{"AttributeName": "n", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "n", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.mark.parametrize("number", ["1.50", "1E50", "-25e-3", "7", "-0", "1E-130"])
async def test_v1_finds_every_number_that_it_lists(node: Node, number: str) -> None:
    """By the ID of the list an entry is read, replaced and deleted."""
    await _make_numbers(node)
    await called(node, "PutItem", TableName=NUMBERS, Item={"n": {"N": number}, "a": {"S": "x"}})
    page = await node.items.list(TENANT, NUMBERS, after=b"", limit=2)
    [only] = page.entries
    listed = msgspec.json.decode(only)["id"]
    entry = node.items.locate(TENANT, NUMBERS, listed)
    assert await stored_item(node, entry) == {"a": {"S": "x"}}
    for verb, body in ((Verb.REPLACE, b'{"b":1}'), (Verb.DELETE, b"")):
        apply = plan_body(verb, body, key=entry, preconditions=NO_PRECONDITIONS)
        await node.items.write(entry, apply)
        kept = await stored(node, NUMBERS, n={"N": number})
        assert kept == (None if verb is Verb.DELETE else {"n": {"N": listed}, "b": {"N": "1"}})


@pytest.mark.parametrize("spelled", ["1.50", "15e-1", "+1.5", "01.5"])
async def test_v1_names_a_number_in_one_way(node: Node, spelled: str) -> None:
    """Another spelling of the number is refused, and the sentence has the one that is right."""
    await _make_numbers(node)
    with pytest.raises(Refused, match=r"write 1\.5\."):
        node.items.locate(TENANT, NUMBERS, spelled)


@pytest.mark.parametrize("number", ["1.5", "1E50", "1" * 38 + "0", "1E38", "-1E-5"])
async def test_tables_of_integer_ids_stay_so(node: Node, number: str) -> None:
    """Nothing makes an item that v1 could not name; reads and deletes of it find none."""
    await node.catalog.create_table(TENANT, INTEGERS, id_type=IdType.INTEGER)
    key = {"_id": {"N": number}}
    table: dict[str, Any] = {"TableName": INTEGERS}
    put = {INTEGERS: [{"PutRequest": {"Item": key}}]}
    assert await validation(node, "PutItem", **table, Item=key) == _REFUSED
    assert await validation(node, "UpdateItem", **table, Key=key) == _REFUSED
    assert await validation(node, "BatchWriteItem", RequestItems=put) == _REFUSED
    assert await stored(node, INTEGERS, **key) is None
    assert await called(node, "DeleteItem", **table, Key=key, ReturnValues="ALL_OLD") == {}
    with pytest.raises(Refused, match="no Integer ID"):
        node.items.locate(TENANT, INTEGERS, number)


@pytest.mark.parametrize("number", ["7.0", "-12e1", "9" * 38, "1E37", "-0"])
async def test_integers_in_any_spelling_are_ids_of_integer_tables(node: Node, number: str) -> None:
    """It is the value that must be an integer."""
    await node.catalog.create_table(TENANT, INTEGERS, id_type=IdType.INTEGER)
    await called(node, "PutItem", TableName=INTEGERS, Item={"_id": {"N": number}})
    item = await stored(node, INTEGERS, _id={"N": number})
    entry = node.items.locate(TENANT, INTEGERS, item["_id"]["N"])
    assert await node.items.read(entry) is not None
