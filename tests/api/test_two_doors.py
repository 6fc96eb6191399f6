"""The same tables and items through v1 and through the DynamoDB API (DESIGN, APIs; issue 3)."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.api.contract import entry
from tests.support.dynamodb import DynamoDB, endpoint_of
from tests.support.dynamodb_cases import definition, normal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.contract import CheckedClient
    from tests.support.dynamodb import Answer as Told
    from tests.support.http_client import Answer
    from tests.support.server import Server

TENANT: Final = "two-doors"
_numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, seen from both sides; `key` is the name of its only key."""

    name: str
    key: str
    client: CheckedClient
    dynamodb: DynamoDB

    def path(self, entry_id: str) -> str:
        """Spell an entry's path in v1."""
        return entry(f"/v1/tenant/{TENANT}/table/{self.name}", entry_id)

    def put(self, entry_id: str, body: object) -> Answer:
        """Create an entry through v1."""
        return self.client.put(self.path(entry_id), body)

    def item(self, entry_id: str, kind: str = "S") -> Any:
        """Read an item through the DynamoDB API. Returns: None if there is none."""
        key = {self.key: {kind: entry_id}}
        return self.dynamodb.do("GetItem", {"TableName": self.name, "Key": key}).get("Item")

    def put_item(self, entry_id: str, kind: str = "S", **attributes: Any) -> None:
        """Put an item through the DynamoDB API."""
        item = {self.key: {kind: entry_id}, **attributes}
        self.dynamodb.do("PutItem", {"TableName": self.name, "Item": item})

    def call(self, operation: str, entry_id: str, **members: Any) -> Told:
        """Call an operation on an item."""
        key = {self.key: {"S": entry_id}}
        return self.dynamodb.call(operation, {"TableName": self.name, "Key": key, **members})


@pytest.fixture(scope="module")
def dynamodb(server: Server) -> Iterator[DynamoDB]:
    """Give a client of a tenant of its own; v1 is only here, so `--url` does not matter."""
    with closing(DynamoDB(endpoint_of(server, TENANT))) as made:
        yield made


def of_v1(client: CheckedClient, dynamodb: DynamoDB, id_type: str = "String") -> Table:
    """Make a table through v1."""
    name = f"v1-{next(_numbers)}"
    path = f"/v1/tenant/{TENANT}/table/{name}"
    assert client.put(path, {"idType": id_type}).status == 201
    return Table(name=name, key="_id", client=client, dynamodb=dynamodb)


def of_dynamodb(client: CheckedClient, dynamodb: DynamoDB, **keys: str) -> Table:
    """Make a table through the DynamoDB API."""
    name = f"dynamodb-{next(_numbers)}"
    dynamodb.do("CreateTable", definition(name, keys))
    return Table(name=name, key=next(iter(keys)), client=client, dynamodb=dynamodb)


@pytest.fixture(scope="module", params=["v1", "dynamodb"])
def table(request: pytest.FixtureRequest, client: CheckedClient, dynamodb: DynamoDB) -> Table:
    """Give a table with one String key, made through either door."""
    if request.param == "v1":
        return of_v1(client, dynamodb)
    return of_dynamodb(client, dynamodb, name="S")


def exact(text: str | bytes) -> Any:
    """Read JSON, each number to its last digit."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


# A value in v1's JSON -> the same through the DynamoDB API.
FROM_V1: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "text": ('"a"', {"S": "a"}),
    "empty": ('""', {"S": ""}),
    "unicode": ('"h\u00e9 \U0001f600"', {"S": "h\u00e9 \U0001f600"}),
    "zero-byte": ('"a\\u0000b"', {"S": "a\0b"}),
    "true": ("true", {"BOOL": True}),
    "false": ("false", {"BOOL": False}),
    "null": ("null", {"NULL": True}),
    "integer": ("1", {"N": "1"}),
    "decimal": ("1.50", {"N": "1.5"}),
    "exponent": ("1E2", {"N": "100"}),
    "small-exponent": ("25e-3", {"N": "0.025"}),
    "minus-zero": ("-0", {"N": "0"}),
    "digits-38": ("1" * 38, {"N": "1" * 38}),
    "greatest": ("9.9999999999999999999999999999999999999E+125", {"N": "9" * 38 + "0" * 88}),
    "list": ('[1.0,"a",[]]', {"L": [{"N": "1"}, {"S": "a"}, {"L": []}]}),
    "object": ('{"a.b":{"n":1e1}}', {"M": {"a.b": {"M": {"n": {"N": "10"}}}}}),
    "empty-object": ("{}", {"M": {}}),
    "looks-like-an-attribute": ('{"S":"x"}', {"M": {"S": {"S": "x"}}}),
}


@pytest.mark.parametrize("name", FROM_V1)
def test_an_entry_is_an_item(table: Table, name: str) -> None:
    """What v1 puts, GetItem gets, with the key among its attributes and numbers plain."""
    spelled, attribute = FROM_V1[name]
    assert table.put(f"is-{name}", f'{{"value":{spelled}}}').status == 201
    assert table.item(f"is-{name}") == {table.key: {"S": f"is-{name}"}, "value": attribute}
    kept = table.client.get(table.path(f"is-{name}"))
    assert exact(kept.body) == exact(f'{{"value":{spelled}}}')


@pytest.mark.parametrize("name", FROM_V1)
def test_an_item_is_an_entry(table: Table, name: str) -> None:
    """What PutItem puts, v1 gets, without the key."""
    spelled, attribute = FROM_V1[name]
    table.put_item(f"was-{name}", value=attribute)
    answer = table.client.get(table.path(f"was-{name}"))
    assert exact(answer.body) == exact(f'{{"value":{spelled}}}')
    assert answer.headers["etag"]


@pytest.mark.parametrize(
    ("attribute", "shown"),
    [
        ({"B": "AAEC/w=="}, "AAEC/w=="),
        ({"B": ""}, ""),
        ({"SS": ["b", "a", ""]}, ["", "a", "b"]),
        ({"NS": ["1.50", "2e1"]}, [1.5, 20]),
        ({"BS": ["AQ==", "/w=="]}, ["/w==", "AQ=="]),
        ({"L": [{"B": "AQ=="}, {"SS": ["x"]}]}, ["AQ==", ["x"]]),
        ({"M": {"s": {"NS": ["7"]}, "b": {"B": "AQ=="}}}, {"s": [7], "b": "AQ=="}),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_what_json_has_not(table: Table, attribute: dict[str, Any], shown: Any) -> None:
    """Binaries show as base64 strings and sets as arrays; a merge leaves them what they are."""
    entry_id = f"typed-{next(_numbers)}"
    table.put_item(entry_id, value=attribute, other={"S": "old"})
    answer = table.client.get(table.path(entry_id)).json()
    value = answer["value"]
    assert (sorted(value) if isinstance(value, list) and "L" not in attribute else value) == shown
    assert table.client.merge(table.path(entry_id), {"other": "new"}).status == 200
    found = table.item(entry_id)
    assert found["other"] == {"S": "new"}
    expected = {"NS": ["1.5", "20"]} if attribute == {"NS": ["1.50", "2e1"]} else attribute
    assert normal(found["value"]) == normal(expected)


@pytest.mark.parametrize("body", ['{"KEY":"x"}', '{"KEY":null}', '{"a":1,"KEY":{}}'])
def test_the_key_is_no_member_of_v1(table: Table, body: str) -> None:
    """A body with a top-level member of the key's name is refused, whatever its value."""
    spelled = body.replace("KEY", table.key)
    entry_id = f"no-key-{next(_numbers)}"
    assert table.put(entry_id, spelled).status == 400
    assert table.item(entry_id) is None
    assert table.put(entry_id, f'{{"nested":{spelled}}}').status == 201
    assert table.client.merge(table.path(entry_id), spelled).status == 400


def test_v1_numbers_keep_their_spelling(table: Table) -> None:
    """The DynamoDB API reads them plain and leaves what it does not touch as it was spelled."""
    table.put("spelled", '{"a":1.50,"b":2.0}')
    told = table.call(
        "UpdateItem",
        "spelled",
        UpdateExpression="ADD a :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    )
    assert told.body["Attributes"] == {
        table.key: {"S": "spelled"},
        "a": {"N": "2.5"},
        "b": {"N": "2"},
    }
    assert table.client.get(table.path("spelled")).body == b'{"a":2.5,"b":2.0}'


def test_versions_are_shared(table: Table) -> None:
    """A write through one door makes the other's ETag out of date."""
    tag = {"If-Match": table.put("tagged", {"n": 1}).headers["etag"]}
    table.put_item("tagged", n={"N": "2"})
    assert table.client.post(table.path("tagged"), {"n": 3}, headers=tag).status == 412
    assert table.item("tagged")["n"] == {"N": "2"}
    tag = {"If-Match": table.client.get(table.path("tagged")).headers["etag"]}
    assert table.client.post(table.path("tagged"), {"n": 3}, headers=tag).status == 200
    assert table.item("tagged")["n"] == {"N": "3"}


def test_conditions_see_the_other_door(table: Table) -> None:
    """A conditional put of what v1 made fails, and v1's PUT of what PutItem made conflicts."""
    table.put("taken", {"n": 1})
    told = table.dynamodb.call(
        "PutItem",
        {
            "TableName": table.name,
            "Item": {table.key: {"S": "taken"}},
            "ConditionExpression": "attribute_not_exists(#k)",
            "ExpressionAttributeNames": {"#k": table.key},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        },
    )
    assert told.error == "ConditionalCheckFailedException"
    assert told.body["Item"] == {table.key: {"S": "taken"}, "n": {"N": "1"}}
    table.put_item("taken-too")
    assert table.put("taken-too", {}).status == 409


def test_deleted_here_is_gone_there(table: Table) -> None:
    """Both ways; an entry without attributes is an item of its key alone."""
    table.put("gone", {})
    assert table.item("gone") == {table.key: {"S": "gone"}}
    told = table.call("DeleteItem", "gone", ReturnValues="ALL_OLD")
    assert told.body == {"Attributes": {table.key: {"S": "gone"}}}
    assert table.client.get(table.path("gone")).status == 404
    table.put_item("gone", a={"S": "again"})
    assert table.client.delete(table.path("gone")).status == 204
    assert table.item("gone") is None


@pytest.mark.parametrize("entry_id", ["a", "a/b c?", "\u00e9\U0001f600", "%2F", "a" * 1000, " "])
def test_ids_are_the_same(table: Table, entry_id: str) -> None:
    """Any String ID is the key with the same characters."""
    assert table.put(entry_id, {"id": entry_id}).status == 201
    assert table.item(entry_id) == {table.key: {"S": entry_id}, "id": {"S": entry_id}}


def test_lists_and_scans_hold_the_same(client: CheckedClient, dynamodb: DynamoDB) -> None:
    """Page by page, v1's list and Scan give the same entries, in the same order."""
    table = of_v1(client, dynamodb)
    for number in range(12):
        if number % 2:
            table.put(f"e{number}", {"n": number})
        else:
            table.put_item(f"e{number}", n={"N": str(number)})
    listed: list[tuple[str, int]] = []
    after: str | None = ""
    while after is not None:
        where = f"&after={after}" if after else ""
        page = client.get(f"/v1/tenant/{TENANT}/table/{table.name}/id?limit=5{where}").json()
        listed += [(one["id"], one["data"]["n"]) for one in page["entries"]]
        after = page.get("after")
    scanned: list[tuple[str, int]] = []
    start: dict[str, Any] = {}
    while True:
        told = dynamodb.do("Scan", {"TableName": table.name, "Limit": 5, **start})
        scanned += [(one["_id"]["S"], int(one["n"]["N"])) for one in told["Items"]]
        if "LastEvaluatedKey" not in told:
            break
        start = {"ExclusiveStartKey": told["LastEvaluatedKey"]}
    assert sorted(listed) == sorted((f"e{number}", number) for number in range(12))
    assert listed == scanned


def test_integer_ids_are_number_keys(client: CheckedClient, dynamodb: DynamoDB) -> None:
    """The key of an Integer table is a number, spelled in any way."""
    table = of_v1(client, dynamodb, "Integer")
    assert table.put("12", {"a": 1}).status == 201
    assert table.item("1.2e1", "N") == {"_id": {"N": "12"}, "a": {"N": "1"}}
    table.put_item("-7.0", "N", a={"S": "x"})
    assert client.get(table.path("-7")).json() == {"a": "x"}


def test_bytes_ids_are_binary_keys(client: CheckedClient, dynamodb: DynamoDB) -> None:
    """The key of a Bytes table is a binary: base64url in a path, base64 in an item."""
    table = of_v1(client, dynamodb, "Bytes")
    raw = b"\xff\xfe\x00a"
    in_path = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert table.put(in_path, {"a": 1}).status == 201
    in_item = base64.b64encode(raw).decode()
    assert table.item(in_item, "B") == {"_id": {"B": in_item}, "a": {"N": "1"}}
    table.put_item("AQI=", "B", a={"S": "x"})
    assert client.get(table.path("AQI")).json() == {"a": "x"}


@pytest.mark.parametrize(("kind", "id_type"), [("S", "String"), ("N", "Integer"), ("B", "Bytes")])
def test_tables_are_described_by_both(
    client: CheckedClient, dynamodb: DynamoDB, kind: str, id_type: str
) -> None:
    """A v1 table has the HASH key `_id` and is on demand; it is listed like any other."""
    table = of_v1(client, dynamodb, id_type)
    described = dynamodb.do("DescribeTable", {"TableName": table.name})["Table"]
    assert described["KeySchema"] == [{"AttributeName": "_id", "KeyType": "HASH"}]
    assert described["AttributeDefinitions"] == [{"AttributeName": "_id", "AttributeType": kind}]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table.name in dynamodb.do("ListTables", {})["TableNames"]
    shown = client.get(f"/v1/tenant/{TENANT}/table/{table.name}").json()
    assert shown["idType"] == id_type
    assert shown["tableId"] == described["TableId"]


def test_a_table_of_two_keys_has_no_entries(client: CheckedClient, dynamodb: DynamoDB) -> None:
    """An ID cannot name its items: v1 refuses them, and harms none."""
    table = of_dynamodb(client, dynamodb, p="S", c="N")
    item = {"p": {"S": "a"}, "c": {"N": "1"}, "x": {"S": "kept"}}
    dynamodb.do("PutItem", {"TableName": table.name, "Item": item})
    for answer in (
        client.get(table.path("a")),
        table.put("a", {"x": "lost"}),
        client.post(table.path("a"), {"x": "lost"}),
        client.delete(table.path("a")),
    ):
        assert 400 <= answer.status < 500
    key = {"p": {"S": "a"}, "c": {"N": "1"}}
    assert dynamodb.do("GetItem", {"TableName": table.name, "Key": key}) == {"Item": item}


@pytest.mark.parametrize("door", ["v1", "dynamodb"])
def test_a_deleted_table_is_gone_for_both(
    client: CheckedClient, dynamodb: DynamoDB, door: str
) -> None:
    """Whoever deletes it; one of the same name begins empty."""
    table = of_v1(client, dynamodb)
    table.put("a", {})
    path = f"/v1/tenant/{TENANT}/table/{table.name}"
    if door == "v1":
        assert client.delete(path).status == 204
    else:
        dynamodb.do("DeleteTable", {"TableName": table.name})
    assert client.get(path).status == 404
    told = dynamodb.call("DescribeTable", {"TableName": table.name})
    assert told.error == "ResourceNotFoundException"
    assert client.put(path, {"idType": "String"}).status == 201
    assert table.item("a") is None


def test_other_tenants_see_nothing(client: CheckedClient, dynamodb: DynamoDB) -> None:
    """A key names its tenant: the tables of another are not there."""
    other = "/v1/tenant/beside-two-doors"
    assert client.put(other).status == 201
    assert client.put(f"{other}/table/theirs", {"idType": "String"}).status == 201
    assert "theirs" not in dynamodb.do("ListTables", {})["TableNames"]
    key = {"TableName": "theirs", "Key": {"_id": {"S": "a"}}}
    assert dynamodb.call("GetItem", key).error == "ResourceNotFoundException"
