"""Where dStore's DynamoDB API differs from AWS's on purpose, as docs/COMPATIBILITY.md lists it.

A test here pins what dStore does instead; that page says why. What is meant to be AWS's own answer
is tested in the files of the operations, and what the door does differently in
`test_compatibility_door.py`.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import pytest

from dstore.model.hashing import hash_bytes
from tests.support.compatibility import offered_and_not
from tests.support.dynamodb import DynamoDB, Endpoint, endpoint_of, model
from tests.support.dynamodb_cases import LOCALS, Tables, definition

if TYPE_CHECKING:
    from tests.support.server import Server

INVALID: Final = "One or more parameter values were invalid: "
UNKNOWN: Final = "UnknownOperationException"
STREAM: Final = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
OWN_KEY: Final = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "alias/mine"}


# ------------------------------------------------------------------------- what is not offered


@pytest.mark.parametrize("operation", model().operation_names)
def test_an_operation_is_offered_or_unknown(dynamodb: DynamoDB, operation: str) -> None:
    """A running server and the page agree on each operation of botocore's model."""
    listed = offered_and_not()
    error = dynamodb.call(operation, {}).error
    assert operation in listed[error == UNKNOWN], "see docs/COMPATIBILITY.md, Operations"


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"StreamSpecification": STREAM}, "StreamSpecification: dStore does not offer streams; "),
        ({"SSESpecification": OWN_KEY}, "dStore has no KMS; it encrypts every table "),
        ({"ResourcePolicy": "{}"}, "ResourcePolicy: dStore does not offer resource policies; "),
        (
            {"ReplicaUpdates": [{"Create": {"RegionName": "eu-west-1"}}]},
            "ReplicaUpdates: dStore does not offer global tables; ",
        ),
        (
            {"VectorIndexUpdates": [{"Create": {"IndexName": "vectors"}}]},
            "VectorIndexUpdates: dStore does not offer vector indexes; ",
        ),
    ],
)
def test_what_a_table_cannot_have(tables: Tables, members: dict[str, Any], sentence: str) -> None:
    """It is refused, not kept without being done; the sentence says what to leave out."""
    known = {
        name: set(model().operation_model(name).input_shape.members)
        for name in ("CreateTable", "UpdateTable")
    }
    requests = {
        "CreateTable": definition(tables.new_name(), {"p": "S"}) | members,
        "UpdateTable": {"TableName": tables.names["P"]} | members,
    }
    asked = [name for name in requests if members.keys() <= known[name]]
    assert asked
    for name in asked:
        answer = tables.dynamodb.call(name, requests[name])
        assert answer.error == "ValidationException"
        assert sentence in (answer.message or "")


@pytest.mark.parametrize(
    ("operation", "member"), [("DeleteItem", "Expected"), ("Scan", "ScanFilter")]
)
def test_former_conditions_are_bounded(tables: Tables, operation: str, member: str) -> None:
    """As many attributes and values as an expression of 4 KB can name are compared, no more."""
    key = {"Key": {"p": {"S": "x"}}} if operation == "DeleteItem" else {}
    for values in (999, 1_000):
        compared = {"AttributeValueList": [{"N": str(at)} for at in range(values)]}
        condition = {"a": {**compared, "ComparisonOperator": "IN"}}
        request = {"TableName": tables.names["P"], **key, member: condition}
        answer = tables.dynamodb.call(operation, request)
        text = f"{INVALID}dStore takes at most 1000 attributes and values in {member}, not 1001"
        assert (answer.message or "").endswith(text) == (values == 1_000)
        assert answer.status in {200, 400}


def _of_keys(tables: Tables, roles: str) -> dict[str, Any]:
    """Make a request for a table with an index of these keys, H and R."""
    names = [f"k{place}" for place in range(len(roles))]
    request = definition(tables.new_name(), {"p": "S"})
    request["AttributeDefinitions"] += [
        {"AttributeName": name, "AttributeType": "S"} for name in names
    ]
    kinds = {"H": "HASH", "R": "RANGE"}
    schema = [
        {"AttributeName": name, "KeyType": kinds[role]}
        for name, role in zip(names, roles, strict=True)
    ]
    index = {"IndexName": "gsi", "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}
    return request | {"GlobalSecondaryIndexes": [index]}


@pytest.mark.parametrize("roles", ["HHHHH", "HRRRRR", "HRH", "HHRHR"])
def test_index_keys_are_four_of_each_at_most(tables: Tables, roles: str) -> None:
    """So many AWS takes as well; of its words for more, or for another order, little is published.

    Source: Alternator test/alternator/test_gsi_composite_keys.py, which matches these.
    """
    answer = tables.dynamodb.call("CreateTable", _of_keys(tables, roles))
    assert answer.error == "ValidationException"
    assert (answer.message or "").startswith("Invalid KeySchema: An index has up to 4 HASH keys")
    assert re.search("HASH.*precede.*RANGE", answer.message or "")


def test_what_every_table_is_without(tables: Tables) -> None:
    """Time to live and backups are off at first; at AWS backups on demand are always on."""
    named = {"TableName": tables.names["P"]}
    assert tables.dynamodb.do("DescribeTimeToLive", named) == {
        "TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}
    }
    found = tables.dynamodb.do("DescribeContinuousBackups", named)["ContinuousBackupsDescription"]
    assert found["ContinuousBackupsStatus"] == "DISABLED"


# ------------------------------------------------------------------------------------- tables


def test_tables_are_there_and_gone_at_once(tables: Tables) -> None:
    """CREATING, UPDATING and DELETING stand in the answers alone; nobody has to wait."""
    dynamodb, name = tables.dynamodb, tables.new_name()
    for _ in range(3):
        made = dynamodb.do("CreateTable", definition(name, {"p": "S"}))["TableDescription"]
        assert made["TableStatus"] == "CREATING"
        dynamodb.do("PutItem", {"TableName": name, "Item": {"p": {"S": "x"}}})
        change = {"TableName": name, "TableClass": "STANDARD_INFREQUENT_ACCESS"}
        changed = dynamodb.do("UpdateTable", change)["TableDescription"]
        assert changed["TableStatus"] == "UPDATING"
        table = dynamodb.do("DescribeTable", {"TableName": name})["Table"]
        assert (table["TableStatus"], table["ItemCount"]) == ("ACTIVE", 1)
        gone = dynamodb.do("DeleteTable", {"TableName": name})["TableDescription"]
        assert gone["TableStatus"] == "DELETING"
        answer = dynamodb.call("DescribeTable", {"TableName": name})
        assert answer.error == "ResourceNotFoundException"


def test_regions_are_one(tables: Tables) -> None:
    """A tenant's tables are the same in each region; a table's ARN shows that of the signature."""
    asked = tables.dynamodb.endpoint
    elsewhere = Endpoint(url=asked.url, key_id=asked.key_id, secret=asked.secret, region="mars-1")
    name = tables.names["P"]
    with closing(DynamoDB(elsewhere)) as other:
        for given in (name, f"arn:aws:dynamodb:eu-west-1:000000000000:table/{name}"):
            arn = other.do("DescribeTable", {"TableName": given})["Table"]["TableArn"]
            assert arn == f"arn:aws:dynamodb:mars-1:000000000000:table/{name}"


def test_there_is_one_account(tables: Tables) -> None:
    """Its number is zeros; a table of another cannot be reached by its ARN."""
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{tables.names['P']}"
    answer = tables.dynamodb.call("DescribeTable", {"TableName": arn})
    assert answer.error == "AccessDeniedException"


def test_every_key_of_a_tenant_may_do_everything(server: Server, fresh_tenant: str) -> None:
    """There are no policies between them; and another tenant's keys see nothing of its tables."""
    with server.admin() as admin:
        made = [admin.post(f"/admin/v1/tenant/{fresh_tenant}/access-key").json() for _ in range(2)]
    url = server.env()["DSTORE_URL"]
    endpoints = [Endpoint(url=url, key_id=key["id"], secret=key["secret"]) for key in made]
    endpoints.append(endpoint_of(server, f"{fresh_tenant}-other"))
    first, second, other = (DynamoDB(endpoint) for endpoint in endpoints)
    with closing(first), closing(second), closing(other):
        first.do("CreateTable", definition("shared", {"p": "S"}))
        answer = other.call("DescribeTable", {"TableName": "shared"})
        assert answer.error == "ResourceNotFoundException"
        assert other.do("ListTables", {}) == {"TableNames": []}
        second.do("DeleteTable", {"TableName": "shared"})


def test_capacity_is_reported_never_enforced(tables: Tables) -> None:
    """A table of one unit a second takes 200 at once, on demand or provisioned."""
    one = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    for members in (
        {"BillingMode": "PROVISIONED", "ProvisionedThroughput": one},
        {"OnDemandThroughput": {"MaxReadRequestUnits": 1, "MaxWriteRequestUnits": 1}},
    ):
        name = tables.new({"p": "S"}, **members)
        for _ in range(20):
            item = {"p": {"S": "x"}, "a": {"S": "x" * 10_000}}
            request = {"TableName": name, "Item": item, "ReturnConsumedCapacity": "TOTAL"}
            answer = tables.dynamodb.do("PutItem", request)
            assert answer["ConsumedCapacity"]["CapacityUnits"] == 10.0


def test_throughput_is_lowered_as_often_as_wanted(tables: Tables) -> None:
    """AWS allows it four times a day, and then once an hour; dStore only counts."""
    units = {"ReadCapacityUnits": 100, "WriteCapacityUnits": 100}
    billing = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}
    name = tables.new({"p": "S"}, **billing)
    for reads in range(99, 89, -1):
        change = {"TableName": name, "ProvisionedThroughput": units | {"ReadCapacityUnits": reads}}
        tables.dynamodb.do("UpdateTable", change)
    found = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
    assert found["ProvisionedThroughput"]["NumberOfDecreasesToday"] == 10


def test_local_indexes_are_counted_as_rows(tables: Tables) -> None:
    """An index has the items that have its key; its size is that of their keys alone."""
    name = tables.new({"p": "S", "c": "S"}, **LOCALS)
    item = {"p": {"S": "a"}, "c": {"S": "b"}, "z": {"N": "1"}}
    tables.dynamodb.do("PutItem", {"TableName": name, "Item": item})
    sparse = {"p": {"S": "a"}, "c": {"S": "without"}, "long": {"S": "x" * 10_000}}
    tables.dynamodb.do("PutItem", {"TableName": name, "Item": sparse})
    table = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
    assert table["ItemCount"] == 2
    told = {each["IndexName"]: each for each in table["LocalSecondaryIndexes"]}
    counts = {name: each["ItemCount"] for name, each in told.items()}
    assert counts == {"all": 1, "keys": 0, "some": 0, "same": 2}
    assert told["keys"]["IndexSizeBytes"] == 0
    assert 0 < told["same"]["IndexSizeBytes"] < 200
    asked = {"TableName": name, "IndexName": "all", "Select": "COUNT"}
    assert tables.dynamodb.do("Scan", asked) == {"Count": 1, "ScannedCount": 1}


def test_limits_are_those_of_a_request(dynamodb: DynamoDB) -> None:
    """DescribeLimits tells the bound of the members, since no account has a quota."""
    assert set(dynamodb.do("DescribeLimits", {}).values()) == {1_000_000_000_000}


# ---------------------------------------------------------------------------------------- items


def test_every_read_is_consistent(tables: Tables) -> None:
    """On one node an eventually consistent read sees the last write; it costs half all the same."""
    key = {"p": {"S": "consistent"}}
    read = {"TableName": tables.names["P"], "Key": key, "ReturnConsumedCapacity": "TOTAL"}
    for number in range(50):
        item = key | {"n": {"N": str(number)}}
        tables.dynamodb.do("PutItem", {"TableName": tables.names["P"], "Item": item})
        answer = tables.dynamodb.do("GetItem", read)
        assert answer["Item"] == item
        assert answer["ConsumedCapacity"]["CapacityUnits"] == 0.5


def test_an_empty_page_costs_the_minimum(tables: Tables) -> None:
    """AWS says so of Query; dStore charges a Scan of an empty table alike."""
    name = tables.new({"p": "S"})
    request = {"TableName": name, "ReturnConsumedCapacity": "TOTAL"}
    condition = {
        "KeyConditionExpression": "p = :p",
        "ExpressionAttributeValues": {":p": {"S": "nobody"}},
    }
    for operation, members in (("Scan", {}), ("Query", condition)):
        for consistent, units in ((True, 1.0), (False, 0.5)):
            answer = tables.dynamodb.do(
                operation, request | members | {"ConsistentRead": consistent}
            )
            assert answer["ConsumedCapacity"]["CapacityUnits"] == units


def test_batches_answer_in_the_order_of_the_request(tables: Tables) -> None:
    """AWS promises no order of BatchGetItem's items."""
    name = tables.names["P"]
    keys = [{"p": {"S": f"ordered-{number}"}} for number in (7, 3, 9, 1, 5)]
    for key in keys:
        tables.dynamodb.do("PutItem", {"TableName": name, "Item": key})
    answer = tables.dynamodb.do("BatchGetItem", {"RequestItems": {name: {"Keys": keys}}})
    assert answer["Responses"] == {name: keys}


def test_a_name_and_an_arn_are_two_entries_of_a_batch(tables: Tables) -> None:
    """One table, asked for by both, is answered and charged under both; an item is put once."""
    name = tables.names["P"]
    arn = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]["TableArn"]
    key = {"p": {"S": "one"}}
    put = [{"PutRequest": {"Item": key}}]
    other = [{"PutRequest": {"Item": {"p": {"S": "other"}}}}]
    refused = tables.dynamodb.call("BatchWriteItem", {"RequestItems": {name: put, arn: put}})
    assert refused.status == 400
    request = {"RequestItems": {name: put, arn: other}, "ReturnConsumedCapacity": "TOTAL"}
    written = tables.dynamodb.do("BatchWriteItem", request)
    assert {one["TableName"] for one in written["ConsumedCapacity"]} == {name, arn}
    asked = {"RequestItems": {name: {"Keys": [key]}, arn: {"Keys": [key]}}}
    assert tables.dynamodb.do("BatchGetItem", asked)["Responses"] == {name: [key], arn: [key]}


def test_scans_go_by_hash(tables: Tables) -> None:
    """The hash is murmur3 of the partition key, docs/hash-vectors.md; AWS's is its secret."""
    name = tables.new({"p": "S"})
    keys = [f"key-{number}" for number in range(200)]
    for start in range(0, len(keys), 25):
        puts = [{"PutRequest": {"Item": {"p": {"S": key}}}} for key in keys[start : start + 25]]
        tables.dynamodb.do("BatchWriteItem", {"RequestItems": {name: puts}})
    found = tables.dynamodb.do("Scan", {"TableName": name})["Items"]
    assert [item["p"]["S"] for item in found] == sorted(
        keys, key=lambda key: hash_bytes(key.encode())
    )


# ------------------------------------------------------------------------------- the other door


def test_v1_leaves_tables_of_dynamodb_as_they_are(server: Server, fresh_tenant: str) -> None:
    """It reads and writes those of one key, makes none anew, and has no words for two keys."""
    path = f"/v1/tenant/{fresh_tenant}-both/table"
    with (
        closing(DynamoDB(endpoint_of(server, f"{fresh_tenant}-both"))) as dynamodb,
        server.client() as v1,
    ):
        dynamodb.do("CreateTable", definition("one", {"p": "S"}))
        dynamodb.do("CreateTable", definition("two", {"p": "S", "c": "S"}))
        dynamodb.do("PutItem", {"TableName": "one", "Item": {"p": {"S": "x"}, "a": {"S": "y"}}})
        assert v1.get(f"{path}/one/id/x").json() == {"a": "y"}
        assert v1.put(f"{path}/one/id/z", {"a": 1}).status == 201
        read = dynamodb.do("GetItem", {"TableName": "one", "Key": {"p": {"S": "z"}}})
        assert read["Item"] == {"p": {"S": "z"}, "a": {"N": "1"}}
        assert v1.put(f"{path}/one", {"idType": "String"}).status == 409
        refused = v1.get(f"{path}/two/id/x")
        assert (refused.status, refused.problem) == (400, "invalid")
        assert "two keys" in refused.json()["detail"]


def test_v1_knows_the_types_of_json(server: Server, fresh_tenant: str) -> None:
    """It shows sets as arrays and binaries as base64; what it writes back, it writes as such."""
    path = f"/v1/tenant/{fresh_tenant}-types/table/one/id/x"
    typed = {"b": {"B": "AAE="}, "s": {"SS": ["a", "b"]}, "n": {"NS": ["1", "2.5"]}}
    plain = {"b": {"S": "AAE="}, "s": {"L": [{"S": "a"}, {"S": "b"}]}}
    plain |= {"n": {"L": [{"N": "1"}, {"N": "2.5"}]}}
    key = {"p": {"S": "x"}}
    with (
        closing(DynamoDB(endpoint_of(server, f"{fresh_tenant}-types"))) as dynamodb,
        server.client() as v1,
    ):
        dynamodb.do("CreateTable", definition("one", {"p": "S"}))
        dynamodb.do("PutItem", {"TableName": "one", "Item": key | typed})
        shown = v1.get(path).json()
        assert shown == {"b": "AAE=", "s": ["a", "b"], "n": [1, 2.5]}
        assert v1.post(path, shown).status == 200
        found = dynamodb.do("GetItem", {"TableName": "one", "Key": key})["Item"]
        assert found == key | plain


def test_tables_of_v1_have_the_key_id(server: Server, fresh_tenant: str) -> None:
    """Its name is `_id`, its type that of the table's IDs."""
    path = f"/v1/tenant/{fresh_tenant}-v1/table/numbered"
    with (
        closing(DynamoDB(endpoint_of(server, f"{fresh_tenant}-v1"))) as dynamodb,
        server.client() as v1,
    ):
        assert v1.put(path, {"idType": "Integer"}).status == 201
        assert v1.put(f"{path}/id/7", {"a": "b"}).status == 201
        found = dynamodb.do("GetItem", {"TableName": "numbered", "Key": {"_id": {"N": "7"}}})
        assert found["Item"] == {"_id": {"N": "7"}, "a": {"S": "b"}}
