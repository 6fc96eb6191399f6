"""UpdateTable's indexes on a live table: they come, are filled, and go, as waiters expect it.

Sources: DynamoDB developer guide, "Managing Global Secondary Indexes" (GSI.OnlineOps); API
reference, GlobalSecondaryIndexDescription; Alternator test/alternator/test_gsi_updatetable.py;
terraform-provider-aws internal/service/dynamodb/wait.go (waitGSIActive, waitGSIDeleted).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import definition

if TYPE_CHECKING:
    from tests.support.dynamodb import DynamoDB
    from tests.support.dynamodb_cases import Tables

ONE_AT_A_TIME: Final = (
    "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per "
    "table"
)
WAIT_S: Final = 60.0
OF_X: Final[dict[str, Any]] = {
    "IndexName": "of-x",
    "KeySchema": [{"AttributeName": "x", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}


def attribute(name: str) -> dict[str, str]:
    """Define an attribute of type S."""
    return {"AttributeName": name, "AttributeType": "S"}


def change(name: str, *updates: dict[str, Any], attributes: str = "x") -> dict[str, Any]:
    """Spell a request that changes indexes."""
    return {
        "TableName": name,
        "AttributeDefinitions": [attribute(each) for each in attributes],
        "GlobalSecondaryIndexUpdates": list(updates),
    }


def described(dynamodb: DynamoDB, name: str) -> dict[str, Any]:
    """Describe a table."""
    found: dict[str, Any] = dynamodb.do("DescribeTable", {"TableName": name})["Table"]
    return found


def index_of(table: dict[str, Any], name: str = "of-x") -> dict[str, Any] | None:
    """Find an index in a description."""
    found = table.get("GlobalSecondaryIndexes", [])
    return next((each for each in found if each["IndexName"] == name), None)


def wait_index(dynamodb: DynamoDB, table: str, name: str = "of-x") -> dict[str, Any]:
    """Do wait.go's waitGSIActive: CREATING and UPDATING go on, ACTIVE ends it."""
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        found = index_of(described(dynamodb, table), name)
        assert found is not None
        assert found["IndexStatus"] in {"CREATING", "UPDATING", "ACTIVE"}
        if found["IndexStatus"] == "ACTIVE":
            return found
        time.sleep(0.05)
    raise AssertionError(described(dynamodb, table))


def wait_gone(dynamodb: DynamoDB, table: str, name: str = "of-x") -> None:
    """Do wait.go's waitGSIDeleted: ACTIVE, UPDATING and DELETING go on, its absence ends it."""
    ends = time.monotonic() + WAIT_S
    while (found := index_of(described(dynamodb, table), name)) is not None:
        assert found["IndexStatus"] in {"ACTIVE", "UPDATING", "DELETING"}
        assert time.monotonic() < ends, found
        time.sleep(0.05)


@pytest.fixture
def table(own_tables: Tables) -> str:
    """Make a table of 40 items, of which 30 have an x, ten with the same."""
    name = own_tables.new_name()
    own_tables.dynamodb.do("CreateTable", definition(name, {"p": "S"}))
    own_tables.wait_active(name)
    for number in range(40):
        item = {"p": {"S": str(number)}, "y": {"N": "1"}}
        if number < 30:
            item["x"] = {"S": "same" if number < 10 else f"x{number}"}
        own_tables.dynamodb.do("PutItem", {"TableName": name, "Item": item})
    return name


def test_an_index_is_added(own_tables: Tables, table: str) -> None:
    """It is CREATING, then ACTIVE, and has what the table had (test_gsi_backfill)."""
    dynamodb = own_tables.dynamodb
    answer = dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))["TableDescription"]
    assert answer["TableStatus"] == "UPDATING"
    asked = index_of(answer)
    assert asked is not None
    assert (asked["IndexStatus"], asked["Backfilling"]) == ("CREATING", False)
    assert (asked["ItemCount"], asked["IndexSizeBytes"]) == (0, 0)
    assert asked["IndexArn"] == f"{answer['TableArn']}/index/of-x"
    found = wait_index(dynamodb, table)
    assert "Backfilling" not in found
    assert found["ItemCount"] == 30
    assert found["IndexSizeBytes"] > 0
    assert found["KeySchema"] == OF_X["KeySchema"]
    assert found["Projection"] == {"ProjectionType": "ALL"}
    after = described(dynamodb, table)
    assert after["TableStatus"] == "ACTIVE"
    assert {each["AttributeName"] for each in after["AttributeDefinitions"]} == {"p", "x"}


def test_an_index_that_was_added_follows(own_tables: Tables, table: str) -> None:
    """Items that come, change and go do so in the index (developer guide, GSI, synchronization)."""
    dynamodb = own_tables.dynamodb
    dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))
    wait_index(dynamodb, table)
    for number in range(40, 50):
        item = {"p": {"S": str(number)}, "x": {"S": f"x{number}"}}
        dynamodb.do("PutItem", {"TableName": table, "Item": item})
    for number in range(5):
        dynamodb.do("DeleteItem", {"TableName": table, "Key": {"p": {"S": str(number)}}})
    ends = time.monotonic() + WAIT_S
    while (found := wait_index(dynamodb, table))["ItemCount"] != 35:
        assert time.monotonic() < ends, found
        time.sleep(0.05)


def test_wrong_types_are_not_indexed(own_tables: Tables, table: str) -> None:
    """Items from before whose x is a number stay, out of the index (test_gsi_backfill)."""
    dynamodb = own_tables.dynamodb
    item = {"p": {"S": "wrong"}, "x": {"N": "3"}}
    dynamodb.do("PutItem", {"TableName": table, "Item": item})
    dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))
    assert wait_index(dynamodb, table)["ItemCount"] == 30
    read = dynamodb.do("GetItem", {"TableName": table, "Key": {"p": {"S": "wrong"}}})
    assert read["Item"] == item
    refused = dynamodb.call("PutItem", {"TableName": table, "Item": {**item, "p": {"S": "more"}}})
    assert refused.error == "ValidationException"
    assert "mismatch" in (refused.message or "")


def test_an_index_is_removed(own_tables: Tables, table: str) -> None:
    """It is DELETING, then gone, and its attribute may be anything again (test_gsi_delete)."""
    dynamodb = own_tables.dynamodb
    dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))
    wait_index(dynamodb, table)
    gone = change(table, {"Delete": {"IndexName": "of-x"}})
    answer = dynamodb.do("UpdateTable", gone)["TableDescription"]
    assert answer["TableStatus"] == "UPDATING"
    asked = index_of(answer)
    assert asked is not None
    assert asked["IndexStatus"] == "DELETING"
    wait_gone(dynamodb, table)
    after = described(dynamodb, table)
    assert "GlobalSecondaryIndexes" not in after
    assert after["AttributeDefinitions"] == [attribute("p")]
    dynamodb.do("PutItem", {"TableName": table, "Item": {"p": {"S": "n"}, "x": {"N": "7"}}})
    again = dynamodb.call("UpdateTable", gone)
    assert again.error == "ResourceNotFoundException"
    dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))
    assert wait_index(dynamodb, table)["ItemCount"] == 30


def test_a_name_is_taken_once(own_tables: Tables, table: str) -> None:
    """A second index of the name is refused (test_gsi_backfill)."""
    dynamodb = own_tables.dynamodb
    dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))
    wait_index(dynamodb, table)
    answer = dynamodb.call("UpdateTable", change(table, {"Create": OF_X}))
    assert answer.error == "ValidationException"
    assert "already exists" in (answer.message or "")


def test_one_comes_at_a_time(own_tables: Tables, table: str) -> None:
    """Two in a request are too many; the next may come once the former is ACTIVE (QuickStart)."""
    dynamodb = own_tables.dynamodb
    of_y = {**OF_X, "IndexName": "of-y", "KeySchema": [{"AttributeName": "z", "KeyType": "HASH"}]}
    both = change(table, {"Create": OF_X}, {"Create": of_y}, attributes="xz")
    answer = dynamodb.call("UpdateTable", both)
    assert (answer.error, answer.message) == ("LimitExceededException", ONE_AT_A_TIME)
    dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))
    second = dynamodb.call("UpdateTable", change(table, {"Create": of_y}, attributes="z"))
    if second.status != 200:  # the first is still coming, if the machine was quick enough
        assert (second.error, second.message) == ("LimitExceededException", ONE_AT_A_TIME)
        wait_index(dynamodb, table)
        dynamodb.do("UpdateTable", change(table, {"Create": of_y}, attributes="z"))
    assert wait_index(dynamodb, table, "of-y")["ItemCount"] == 0


def test_units_of_an_index(own_tables: Tables) -> None:
    """An index whose units change is UPDATING, then ACTIVE with the new ones (wait.go)."""
    dynamodb, name = own_tables.dynamodb, own_tables.new_name()
    units = {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4}
    request = definition(name, {"p": "S"})
    request.pop("BillingMode", None)
    dynamodb.do(
        "CreateTable",
        request
        | {
            "ProvisionedThroughput": units,
            "AttributeDefinitions": [attribute("p"), attribute("x")],
            "GlobalSecondaryIndexes": [OF_X | {"ProvisionedThroughput": units}],
        },
    )
    own_tables.wait_active(name)
    first = wait_index(dynamodb, name)
    assert first["ProvisionedThroughput"]["ReadCapacityUnits"] == 3
    assert "Backfilling" not in first
    more = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 4}
    updates = {"Update": {"IndexName": "of-x", "ProvisionedThroughput": more}}
    answer = dynamodb.do(
        "UpdateTable", {"TableName": name, "GlobalSecondaryIndexUpdates": [updates]}
    )
    asked = index_of(answer["TableDescription"])
    assert asked is not None
    assert asked["IndexStatus"] == "UPDATING"
    assert wait_index(dynamodb, name)["ProvisionedThroughput"]["ReadCapacityUnits"] == 5


def test_a_table_goes_while_an_index_comes(own_tables: Tables, table: str) -> None:
    """It goes with what is there of the index, and its name is free for another one."""
    dynamodb = own_tables.dynamodb
    dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))
    answer = dynamodb.do("DeleteTable", {"TableName": table})["TableDescription"]
    assert answer["TableStatus"] == "DELETING"
    gone = dynamodb.call("DescribeTable", {"TableName": table})
    assert gone.error == "ResourceNotFoundException"
    ends = time.monotonic() + WAIT_S
    request = definition(table, {"p": "S"})
    while dynamodb.call("CreateTable", request).status != 200:
        assert time.monotonic() < ends
        time.sleep(0.1)
    own_tables.wait_active(table)
    assert "GlobalSecondaryIndexes" not in described(dynamodb, table)


@pytest.mark.parametrize("spelled", ["{table}:of-x", "{table}%3Aof-x"])
def test_what_holds_an_index_is_nobodys_to_name(
    own_tables: Tables, table: str, spelled: str
) -> None:
    """No operation takes such a name, and no list has it (ListTables, API reference)."""
    dynamodb = own_tables.dynamodb
    dynamodb.do("UpdateTable", change(table, {"Create": OF_X}))
    wait_index(dynamodb, table)
    name = spelled.format(table=table)
    for operation, members in (
        ("DescribeTable", {}),
        ("DeleteTable", {}),
        ("Scan", {}),
        ("GetItem", {"Key": {"p": {"S": "0"}}}),
        ("PutItem", {"Item": {"p": {"S": "0"}}}),
        ("UpdateTable", {"DeletionProtectionEnabled": True}),
    ):
        answer = dynamodb.call(operation, {"TableName": name, **members})
        assert answer.error == "ValidationException", operation
    assert all(":" not in each for each in dynamodb.do("ListTables", {})["TableNames"])
