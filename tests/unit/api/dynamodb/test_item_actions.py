"""PutItem, GetItem, UpdateItem, DeleteItem on a node: what they answer, and what they charge."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from dstore.api.dynamodb.errors import aws_error_of
from dstore.api.dynamodb.wordings import ENVELOPE
from dstore.api.v1.entries import plan_body
from dstore.model.errors import ConditionFailed, Refused
from dstore.service.deferred_store import Verb
from dstore.service.entry_writes import create
from dstore.service.preconditions import NO_PRECONDITIONS
from tests.support.nodes import stored_item
from tests.unit.api.dynamodb.calling import TENANT, called
from tests.unit.api.dynamodb.item_tables import (
    BINARY,
    HASH,
    INDEXED,
    RANGE,
    V1,
    node_fixture,
    stored,
    validation,
)

if TYPE_CHECKING:
    from dstore.model.values import Item
    from dstore.service.node import Node

__all__ = ["node_fixture"]

ID = {"id": {"S": "x"}}
INVALID = "One or more parameter values were invalid: "
NO_MATCH = "The provided key element does not match the schema"
EMPTY_KEY = (
    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot "
    "contain an empty {} value. Key: id"
)


async def put(node: Node, **attributes: Any) -> None:
    await called(node, "PutItem", TableName=HASH, Item={**ID, **attributes})


async def updated(node: Node, text: str, mode: str = "NONE", /, **values: Any) -> Any:
    """Update the item x. Returns: the answer's Attributes, None if it has none."""
    request: dict[str, Any] = {"TableName": HASH, "Key": ID, "ReturnValues": mode}
    if text:
        request["UpdateExpression"] = text
    if values:
        request["ExpressionAttributeValues"] = {f":{name}": each for name, each in values.items()}
    return (await called(node, "UpdateItem", **request)).get("Attributes")


# ----------------------------------------------------------------------------------- the keys


@pytest.mark.parametrize("operation", ["GetItem", "UpdateItem", "DeleteItem"])
@pytest.mark.parametrize(
    ("table", "key", "text"),
    [
        (HASH, {}, NO_MATCH),
        (HASH, {"other": {"S": "x"}}, NO_MATCH),
        (HASH, {"id": {"N": "1"}}, NO_MATCH),
        (HASH, {**ID, "more": {"S": "x"}}, NO_MATCH),
        (HASH, {"id": {"S": ""}}, EMPTY_KEY.format("string")),
        (BINARY, {"id": {"B": ""}}, EMPTY_KEY.format("binary")),
        (
            HASH,
            {"id": {"S": "é" * 1_025}},
            f"{INVALID}Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ),
        (RANGE, {"pk": {"S": "x"}}, NO_MATCH),
        (RANGE, {"pk": {"S": "x"}, "sk": {"S": "x"}}, NO_MATCH),
        (
            INDEXED,
            {"pk": {"S": "x"}, "sk": {"S": "x" * 1_025}},
            f"{INVALID}Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
        ),
    ],
)
async def test_keys_that_name_nothing(
    node: Node, operation: str, table: str, key: dict[str, Any], text: str
) -> None:
    """A key must be of the table's schema, in these words (dynalite; dynamodb-conformance)."""
    assert text == await validation(node, operation, TableName=table, Key=key)


@pytest.mark.parametrize(
    ("table", "item", "text"),
    [
        (HASH, {"a": {"S": "x"}}, f"{INVALID}Missing the key id in the item"),
        (
            HASH,
            {"id": {"L": []}},
            f"{INVALID}Type mismatch for key id expected: S actual: L",
        ),
        (HASH, {"id": {"S": ""}}, EMPTY_KEY.format("string")),
        (BINARY, {"id": {"B": ""}}, EMPTY_KEY.format("binary")),
        (RANGE, {"pk": {"S": "x"}}, f"{INVALID}Missing the key sk in the item"),
        (
            INDEXED,
            {"pk": {"S": "x"}, "sk": {"S": "x"}, "lk": {"N": "1"}},
            f"{INVALID}Type mismatch for Index Key lk Expected: S Actual: N IndexName: by_lk",
        ),
        (
            INDEXED,
            {"pk": {"S": "x"}, "sk": {"S": "x"}, "gk": {"B": ""}},
            (
                "One or more parameter values are not valid. A value specified for a secondary "
                "index key is not supported. The AttributeValue for a key attribute cannot contain "
                "an empty binary value. IndexName: by_gk, IndexKey: gk"
            ),
        ),
    ],
)
async def test_items_without_their_keys(
    node: Node, table: str, item: dict[str, Any], text: str
) -> None:
    """A put says which key is wrong, and how (dynalite; dynamodb-conformance)."""
    assert text == await validation(node, "PutItem", TableName=table, Item=item)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (HASH, {"id": {"S": "a\x00é😀"}}),
        (RANGE, {"pk": {"S": "x"}, "sk": {"N": "-1.5"}}),
        (BINARY, {"id": {"B": "AP8="}}),
        (V1, {"_id": {"S": "x"}}),
    ],
)
async def test_every_kind_of_key(node: Node, table: str, key: dict[str, Any]) -> None:
    """An item of any key is put, read, updated and deleted, and comes back with its key."""
    await called(node, "PutItem", TableName=table, Item={**key, "a": {"S": "1"}})
    assert {**key, "a": {"S": "1"}} == await stored(node, table, **key)
    answer = await called(
        node,
        "UpdateItem",
        TableName=table,
        Key=key,
        UpdateExpression="REMOVE a",
        ReturnValues="ALL_NEW",
    )
    assert answer == {"Attributes": key}
    answer = await called(node, "DeleteItem", TableName=table, Key=key, ReturnValues="ALL_OLD")
    assert answer == {"Attributes": key}
    assert await stored(node, table, **key) is None


async def test_one_number_is_one_key(node: Node) -> None:
    """A sort key is its value, however it is spelled, and comes back plain."""
    for spelling in ("1.50", "15E-1", "001.5"):
        item = {"pk": {"S": "x"}, "sk": {"N": spelling}, "by": {"S": spelling}}
        await called(node, "PutItem", TableName=RANGE, Item=item)
    found = await stored(node, RANGE, pk={"S": "x"}, sk={"N": "1.5"})
    assert found == {"pk": {"S": "x"}, "sk": {"N": "1.5"}, "by": {"S": "001.5"}}


# -------------------------------------------------------------------------------- the updates


async def test_return_values_of_updates(node: Node) -> None:
    """What is returned is what was touched, as it was or as it is (Alternator, run on AWS)."""
    await put(node, a={"S": "hi"}, b={"S": "dog"})
    cat, hello = {"S": "cat"}, {"S": "hello"}
    old = await updated(node, "SET b = :b, c = :c", "UPDATED_OLD", b=cat, c=hello)
    assert old == {"b": {"S": "dog"}}
    assert await updated(node, "SET b = :b", "UPDATED_OLD", b=cat) == {"b": cat}
    assert await updated(node, "SET d = :b", "UPDATED_OLD", b=cat) is None
    assert await updated(node, "REMOVE b", "UPDATED_NEW") is None
    new = await updated(node, "SET a = :b REMOVE c", "UPDATED_NEW", b=cat)
    assert new == {"a": cat}
    assert await updated(node, "", "UPDATED_NEW") is None
    everything = {**ID, "a": cat, "d": cat}
    assert await updated(node, "", "ALL_NEW") == everything
    assert await updated(node, "REMOVE d", "ALL_OLD") == everything


async def test_return_values_of_nested_updates(node: Node) -> None:
    """Of a map or list only the touched part is returned; new elements have no old number."""
    inner = {"b": {"S": "dog"}, "c": {"L": [{"N": "1"}, {"N": "2"}, {"N": "3"}]}}
    await put(node, a={"M": inner})
    seven = {"N": "7"}
    old = await updated(node, "SET a.c[1] = :v, a.b = :v", "UPDATED_OLD", v=seven)
    assert old == {"a": {"M": {"b": {"S": "dog"}, "c": {"L": [{"N": "2"}]}}}}
    assert await updated(node, "SET a.x = :v", "UPDATED_OLD", v=seven) is None
    assert await updated(node, "SET a.c[100] = :v", "UPDATED_NEW", v=seven) is None
    shifted = await updated(node, "REMOVE a.c[1]", "UPDATED_NEW")
    assert shifted == {"a": {"M": {"c": {"L": [{"N": "3"}]}}}}


async def test_updates_of_nothing(node: Node) -> None:
    """An update makes the item that is not there, unless it only removes (scylladb#5862)."""
    assert await updated(node, "REMOVE a", "ALL_NEW") is None
    assert await stored(node, HASH, **ID) is None
    assert await updated(node, "", "ALL_NEW") == ID
    await called(node, "DeleteItem", TableName=HASH, Key=ID)
    assert await updated(node, "SET a = :a", "UPDATED_NEW", a={"N": "1"}) == {"a": {"N": "1"}}
    assert await stored(node, HASH, **ID) == {**ID, "a": {"N": "1"}}


@pytest.mark.parametrize(
    ("table", "text", "value", "expected"),
    [
        (HASH, "SET id = :v", {"S": "y"}, "Cannot update attribute id"),
        (HASH, "SET id.a = :v", {"S": "y"}, "Cannot update attribute id"),
        (HASH, "SET a = id.b ADD n :v", {"N": "1"}, "Key attributes must be scalars; "),
        (
            INDEXED,
            "SET lk = :v",
            {"N": "1"},
            "Type mismatch for Index Key lk Expected: S Actual: N",
        ),
        (
            INDEXED,
            "SET lk = :v",
            {"S": ""},
            "The update expression attempted to update a secondary",
        ),
        (INDEXED, "SET lk.a = :v", {"S": "y"}, "IndexKey: lk"),
        (HASH, "SET a = :v", {"S": "x" * 409_600}, "Item size to update has exceeded the maximum"),
        (
            HASH,
            "SET a = nowhere ADD n :v",
            {"N": "1"},
            "refers to an attribute that does not exist",
        ),
    ],
)
async def test_updates_refused(
    node: Node, table: str, text: str, value: dict[str, Any], expected: str
) -> None:
    """Keys stay what they are, index keys stay keys, and items stay storable."""
    key = ID if table == HASH else {"pk": {"S": "x"}, "sk": {"S": "y"}}
    sentence = await validation(
        node,
        "UpdateItem",
        TableName=table,
        Key=key,
        UpdateExpression=text,
        ExpressionAttributeValues={":v": value},
    )
    assert expected in sentence
    assert await stored(node, table, **key) is None


# ------------------------------------------------------------------- conditions and projections


async def test_conditions(node: Node) -> None:
    """A condition that is false changes nothing, and shows the item only to who asks."""
    await put(node, n={"N": "1"})
    request: dict[str, Any] = {
        "TableName": HASH,
        "ConditionExpression": "n = :n",
        "ExpressionAttributeValues": {":n": {"N": "2"}},
    }
    shown = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    for operation, members in (
        ("PutItem", {"Item": ID}),
        ("DeleteItem", {"Key": ID}),
        ("UpdateItem", {"Key": ID}),
    ):
        with pytest.raises(ConditionFailed) as failed:
            await called(node, operation, **request, **members)
        error = aws_error_of(failed.value)
        assert (error.name, dict(error.members)) == ("ConditionalCheckFailedException", {})
        with pytest.raises(ConditionFailed) as failed:
            await called(node, operation, **request, **members, **shown)
        assert aws_error_of(failed.value).members == {"Item": {**ID, "n": {"N": "1"}}}
    assert await stored(node, HASH, **ID) == {**ID, "n": {"N": "1"}}


async def test_conditions_into_keys(node: Node) -> None:
    """Keys are scalars to a condition too (DynamoDB local, LocalDBValidatorUtils)."""
    for operation, members in (
        ("PutItem", {"Item": {**ID, "a": {"S": "x"}}}),
        ("DeleteItem", {"Key": ID}),
        ("UpdateItem", {"Key": ID}),
    ):
        text = await validation(
            node,
            operation,
            TableName=HASH,
            ConditionExpression="attribute_not_exists(id.a)",
            **members,
        )
        assert text.startswith("Key attributes must be scalars; ")
        assert text.endswith(" Key: id")


async def test_projections(node: Node) -> None:
    """A projection picks keys and parts alike; of an item that has none of it, nothing is left."""
    await put(node, m={"M": {"a": {"N": "1"}, "b": {"L": [{"S": "0"}, {"S": "1"}]}}}, s={"S": "s"})
    for text, expected in (
        ("id, m.b[1]", {**ID, "m": {"M": {"b": {"L": [{"S": "1"}]}}}}),
        (
            "s, m.a, m.b[0]",
            {"s": {"S": "s"}, "m": {"M": {"a": {"N": "1"}, "b": {"L": [{"S": "0"}]}}}},
        ),
        ("nowhere", {}),
    ):
        request = {"TableName": HASH, "Key": ID, "ProjectionExpression": text}
        assert await called(node, "GetItem", **request) == {"Item": expected}
    request = {"TableName": HASH, "Key": ID, "ProjectionExpression": "id.a"}
    assert "Key: id" in await validation(node, "GetItem", **request)


@pytest.mark.parametrize(
    ("operation", "members", "expected"),
    [
        ("GetItem", {"AttributesToGet": ["a", "a"]}, "Duplicate value in attribute name: a"),
        (
            "GetItem",
            {"AttributesToGet": ["a"], "ProjectionExpression": "a"},
            (
                "Non-expression parameters: {AttributesToGet} "
                "Expression parameters: {ProjectionExpression}"
            ),
        ),
        ("GetItem", {"ExpressionAttributeNames": {}}, "can only be specified when using expr"),
        (
            "UpdateItem",
            {"AttributeUpdates": {}, "Expected": {}, "ConditionExpression": "a"},
            (
                "Non-expression parameters: {AttributeUpdates, Expected} "
                "Expression parameters: {ConditionExpression}"
            ),
        ),
        ("UpdateItem", {"AttributeUpdates": {"a": {}}}, "Only DELETE action is allowed when no"),
        ("UpdateItem", {"ConditionalOperator": "OR"}, "cannot be used without Filter or Expected"),
        (
            "UpdateItem",
            {"ExpressionAttributeValues": {}},
            f"{ENVELOPE}ExpressionAttributeValues can only be specified when using expressions",
        ),
        (
            "DeleteItem",
            {"ExpressionAttributeValues": {}},
            f"{ENVELOPE}ExpressionAttributeValues can only be specified when using expressions",
        ),
        ("DeleteItem", {"ReturnValues": "ALL_NEW"}, "ReturnValues can only be ALL_OLD or NONE"),
        (
            "DeleteItem",
            {
                "ConditionExpression": "a = :a",
                "ExpressionAttributeNames": {"a": "a"},
                "ExpressionAttributeValues": {":a": {"N": "x"}},
            },
            'contains invalid key: Syntax error; key: "a"',
        ),
        (
            "DeleteItem",
            {
                "ConditionExpression": "a = :a",
                "ExpressionAttributeValues": {":a": {"N": "x"}, "b": {"S": "x"}},
            },
            'contains invalid key: Syntax error; key: "b"',
        ),
        (
            "DeleteItem",
            {"ConditionExpression": "?", "ExpressionAttributeValues": {":a": {"N": "x"}}},
            f"{ENVELOPE}The parameter cannot be converted to a numeric value: x",
        ),
    ],
)
async def test_members_that_do_not_go_together(
    node: Node, operation: str, members: dict[str, Any], expected: str
) -> None:
    """What excludes each other comes first, then names, values, and texts (dynalite's order)."""
    assert expected in await validation(node, operation, TableName="absent", Key=ID, **members)


# ------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize(
    ("size_bytes", "write", "strong", "eventual"),
    [(100, 1.0, 1.0, 0.5), (1_025, 2.0, 1.0, 0.5), (4_097, 5.0, 2.0, 1.0)],
)
async def test_capacity(
    node: Node, size_bytes: int, write: float, strong: float, eventual: float
) -> None:
    """A unit is 1 KB written and 4 KB read; of before and after, the larger is charged."""
    padding = {"S": "y" * (size_bytes - len("id" + "x" + "a"))}

    async def charged(operation: str, **members: Any) -> Any:
        answer = await called(
            node, operation, TableName=HASH, ReturnConsumedCapacity="TOTAL", **members
        )
        assert answer["ConsumedCapacity"]["TableName"] == HASH
        return answer["ConsumedCapacity"]["CapacityUnits"]

    assert await charged("GetItem", Key=ID) == 0.5
    assert await charged("GetItem", Key=ID, ConsistentRead=True) == 1.0
    assert await charged("DeleteItem", Key=ID) == 1.0
    assert await charged("PutItem", Item={**ID, "a": padding}) == write
    assert await charged("GetItem", Key=ID) == eventual
    assert await charged("GetItem", Key=ID, ConsistentRead=True) == strong
    assert await charged("UpdateItem", Key=ID, UpdateExpression="REMOVE a") == write
    assert await charged("DeleteItem", Key=ID) == 1.0


async def test_capacity_of_indexes_and_of_collections(node: Node) -> None:
    """INDEXES adds the table's share; collections are told of tables with local indexes only."""
    asked = {"ReturnConsumedCapacity": "INDEXES", "ReturnItemCollectionMetrics": "SIZE"}
    consumed = {"TableName": HASH, "CapacityUnits": 1.0, "Table": {"CapacityUnits": 1.0}}
    answer = await called(node, "PutItem", TableName=HASH, Item=ID, **asked)
    assert answer == {"ConsumedCapacity": consumed}
    key = {"pk": {"S": "x"}, "sk": {"S": "y"}}
    answer = await called(node, "PutItem", TableName=INDEXED, Item=key, **asked)
    metrics = {"ItemCollectionKey": {"pk": {"S": "x"}}, "SizeEstimateRangeGB": [0.0, 1.0]}
    assert answer["ItemCollectionMetrics"] == metrics


async def test_put_keeps_within_400_kb(node: Node) -> None:
    """The bound counts names and values, the key's too, and is told before the table."""
    room = 409_600 - len("id" + "x" + "a")
    await put(node, a={"S": "y" * room})
    item = {**ID, "a": {"S": "y" * (room + 1)}}
    text = await validation(node, "PutItem", TableName="absent", Item=item)
    assert text == "Item size has exceeded the maximum allowed size"


# -------------------------------------------------------------------------------- the other door


async def test_numbers_of_v1_are_answered_plainly(node: Node) -> None:
    """v1 keeps the spelling; here a number has one, however it is read, alone and inside."""
    entry = node.items.locate(TENANT, V1, "x")
    item: Item = {"n": {"N": "1.50"}, "l": {"L": [{"N": "1E2"}]}, "keep": {"N": "2.0"}}
    await node.items.write(entry, create(item, key=entry, preconditions=NO_PRECONDITIONS))
    plain = {"n": {"N": "1.5"}, "l": {"L": [{"N": "100"}]}, "keep": {"N": "2"}}
    key = {"_id": {"S": "x"}}
    assert await stored(node, V1, **key) == {**key, **plain}
    answer = await called(node, "GetItem", TableName=V1, Key=key, ProjectionExpression="l[0], n")
    assert answer["Item"] == {"l": plain["l"], "n": plain["n"]}
    answer = await called(
        node,
        "UpdateItem",
        TableName=V1,
        Key=key,
        UpdateExpression="ADD n :n",
        ConditionExpression="n = :was",
        ExpressionAttributeValues={":n": {"N": "1"}, ":was": {"N": "1.5"}},
        ReturnValues="ALL_NEW",
    )
    assert answer["Attributes"] == {**key, **plain, "n": {"N": "2.5"}}
    kept = await stored_item(node, entry)
    assert kept is not None
    assert kept["keep"] == {"N": "2.0"}


@pytest.mark.parametrize(("table", "name"), [(HASH, "id"), (V1, "_id")])
async def test_v1_neither_shows_nor_takes_the_key(node: Node, table: str, name: str) -> None:
    """To v1 the key stands in the URL: an entry's object has no member of its name."""
    await called(node, "PutItem", TableName=table, Item={name: {"S": "x"}, "a": {"S": "1"}})
    entry = node.items.locate(TENANT, table, "x")
    assert await stored_item(node, entry) == {"a": {"S": "1"}}
    for body in (f'{{"{name}": "y"}}', f'{{"{name}": null}}'):
        with pytest.raises(Refused, match=f"{name} is the entry's ID"):
            plan_body(Verb.MERGE, body.encode(), key=entry, preconditions=NO_PRECONDITIONS)


async def test_sentences_of_missing_tables(node: Node) -> None:
    """A table that is not there is told behind everything that is wrong with the request."""
    with pytest.raises(Exception, match=re.escape("Requested resource not found")):
        await called(node, "GetItem", TableName="absent", Key=ID)
