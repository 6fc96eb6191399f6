"""UpdateTable, case by case; every case names the public source of its answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, invalid, name_of, run, violated
from tests.support.dynamodb_members import NAME_PATTERN, NOT_NULL, enumeration
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_table_names import named_table_cases

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "UpdateTable"
SOURCE: Final = "dynalite test/updateTable.js"
DOC: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html"
UNITS: Final[dict[str, int]] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
INVALID: Final = "One or more parameter values were invalid: "
UPDATES: Final = "globalSecondaryIndexUpdates.1.member"
LEAST_1: Final = "Member must have value greater than or equal to 1"


def update(**members: Any) -> dict[str, Any]:
    """Spell a request for a table that is there."""
    return {"TableName": "<P>", **members}


def indexes(*updates: Any) -> dict[str, Any]:
    """Spell a request that changes indexes."""
    return update(GlobalSecondaryIndexUpdates=list(updates))


def broken(name: str, request: dict[str, Any], *violations: tuple[object, str, str]) -> Case:
    """Make a case of constraints of the model."""
    return Case(name=name, request=request, error=violated(*violations), source=SOURCE)


def refused(name: str, request: dict[str, Any], text: str, source: str = SOURCE) -> Case:
    """Make a case of a ValidationException."""
    return Case(name=name, request=request, error=invalid(text), source=source)


CREATE: Final[dict[str, Any]] = {
    "IndexName": "abc",
    "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}
CASES: Final = [
    *named_table_cases(OP, {"BillingMode": "PAY_PER_REQUEST"}),
    broken(
        "billing-mode",
        update(BillingMode="hi"),
        ("hi", "billingMode", enumeration("PROVISIONED, PAY_PER_REQUEST")),
    ),
    broken(
        "read-units-0",
        update(ProvisionedThroughput={**UNITS, "ReadCapacityUnits": 0}),
        (0, "provisionedThroughput.readCapacityUnits", LEAST_1),
    ),
    broken(
        "write-units-0",
        update(ProvisionedThroughput={**UNITS, "WriteCapacityUnits": 0}),
        (0, "provisionedThroughput.writeCapacityUnits", LEAST_1),
    ),
    broken(
        "no-units",
        update(ProvisionedThroughput={}),
        (None, "provisionedThroughput.writeCapacityUnits", NOT_NULL),
        (None, "provisionedThroughput.readCapacityUnits", NOT_NULL),
    ),
    broken(
        "delete-no-name", indexes({"Delete": {}}), (None, f"{UPDATES}.delete.indexName", NOT_NULL)
    ),
    broken(
        "delete-name-of-2",
        indexes({"Delete": {"IndexName": "ab"}}),
        ("ab", f"{UPDATES}.delete.indexName", "Member must have length greater than or equal to 3"),
    ),
    broken(
        "delete-name-pattern",
        indexes({"Delete": {"IndexName": "abc;"}}),
        ("abc;", f"{UPDATES}.delete.indexName", NAME_PATTERN),
    ),
    broken(
        "create-no-schema",
        indexes({"Create": {k: v for k, v in CREATE.items() if k != "KeySchema"}}),
        (None, f"{UPDATES}.create.keySchema", NOT_NULL),
    ),
    broken(
        "create-no-projection",
        indexes({"Create": {k: v for k, v in CREATE.items() if k != "Projection"}}),
        (None, f"{UPDATES}.create.projection", NOT_NULL),
    ),
    broken(
        "create-empty-schema",
        indexes({"Create": {**CREATE, "KeySchema": []}}),
        ("[]", f"{UPDATES}.create.keySchema", "Member must have length greater than or equal to 1"),
    ),
    broken(
        "create-projection-type",
        indexes({"Create": {**CREATE, "Projection": {"ProjectionType": "hi"}}}),
        (
            "hi",
            f"{UPDATES}.create.projection.projectionType",
            enumeration("ALL, INCLUDE, KEYS_ONLY"),
        ),
    ),
    # The list of what may be given grows with the service.
    Case(
        name="nothing",
        request=update(),
        error=invalid(
            re.compile(
                r"^At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, "
                r"GlobalSecondaryIndexUpdates.* (is|are) required$"
            )
        ),
        source=SOURCE,
    ),
    refused(
        "provisioned-without-units",
        update(BillingMode="PROVISIONED"),
        INVALID + "ProvisionedThroughput must be specified when BillingMode is PROVISIONED",
    ),
    refused(
        "read-units-out-of-bounds",
        update(ProvisionedThroughput={**UNITS, "ReadCapacityUnits": 1_000_000_000_001}),
        "Given value 1000000000001 for ReadCapacityUnits is out of bounds",
    ),
    refused(
        "write-units-out-of-bounds",
        update(ProvisionedThroughput={**UNITS, "WriteCapacityUnits": 1_000_000_000_001}),
        "Given value 1000000000001 for WriteCapacityUnits is out of bounds",
    ),
    refused(
        "empty-index-update",
        indexes({}),
        INVALID + "One of GlobalSecondaryIndexUpdate.Update, "
        "GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be "
        "null",
    ),
    refused(
        "same-index-twice",
        indexes({"Delete": {"IndexName": "abc"}}, {"Delete": {"IndexName": "abc"}}),
        INVALID + "Only one global secondary index update per index is allowed simultaneously. "
        "Index: abc",
    ),
]


@pytest.mark.parametrize("case", retypes(OP), ids=name_of)
def test_types(tables: Tables, case: Case) -> None:
    """A member of the wrong JSON type is named by the type, before anything else."""
    run(tables, OP, case)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """What the model forbids is refused, then what says nothing or contradicts itself."""
    run(tables, OP, case)


def updated(tables: Tables, name: str, **members: Any) -> dict[str, Any]:
    """Update a table and wait. Returns: what DescribeTable then says."""
    answer = tables.dynamodb.do(OP, {"TableName": name, **members})["TableDescription"]
    assert answer["TableName"] == name
    # Deletion protection alone needs no time.
    is_quick = members.keys() == {"DeletionProtectionEnabled"}
    assert answer["TableStatus"] in ({"UPDATING", "ACTIVE"} if is_quick else {"UPDATING"})
    tables.wait_active(name)
    described: dict[str, Any] = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
    return described


def test_to_provisioned_and_back(tables: Tables) -> None:
    """A billing mode is changed and described (AWS API page, BillingModeSummary)."""
    name = tables.new({"p": "S"})
    table = updated(
        tables,
        name,
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 7, "WriteCapacityUnits": 8},
    )
    assert table["ProvisionedThroughput"]["ReadCapacityUnits"] == 7
    assert table["ProvisionedThroughput"]["WriteCapacityUnits"] == 8
    table = updated(tables, name, BillingMode="PAY_PER_REQUEST")
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["ProvisionedThroughput"]["ReadCapacityUnits"] == 0


def test_more_throughput(tables: Tables) -> None:
    """Units of a provisioned table are changed (AWS API page)."""
    name = tables.new({"p": "S"}, BillingMode="PROVISIONED", ProvisionedThroughput=UNITS)
    units = {"ReadCapacityUnits": 2, "WriteCapacityUnits": 3}
    table = updated(tables, name, ProvisionedThroughput=units)
    assert units.items() <= table["ProvisionedThroughput"].items()


def test_the_same_throughput(tables: Tables) -> None:
    """Units that are already so are refused, with the service's sentence (test/updateTable.js)."""
    name = tables.new({"p": "S"}, BillingMode="PROVISIONED", ProvisionedThroughput=UNITS)
    answer = tables.dynamodb.call(OP, {"TableName": name, "ProvisionedThroughput": UNITS})
    assert answer.error == "ValidationException"
    assert answer.message == (
        "The provisioned throughput for the table will not change. The requested value equals the "
        "current value. Current ReadCapacityUnits provisioned for the table: 1. Requested "
        "ReadCapacityUnits: 1. Current WriteCapacityUnits provisioned for the table: 1. Requested "
        "WriteCapacityUnits: 1. Refer to the Amazon DynamoDB Developer Guide for current limits "
        "and how to request higher limits."
    )


def test_units_of_a_table_on_demand(tables: Tables) -> None:
    """They are refused unless the mode changes too (dynalite actions/updateTable.js)."""
    answer = tables.dynamodb.call(
        OP, {"TableName": tables.names["P"], "ProvisionedThroughput": UNITS}
    )
    assert (answer.error, answer.message) == (
        "ValidationException",
        INVALID + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
        "BillingMode is PAY_PER_REQUEST",
    )


def test_deletion_protection(tables: Tables) -> None:
    """It is put on and described (AWS API page, DeletionProtectionEnabled)."""
    name = tables.new({"p": "S"})
    assert updated(tables, name, DeletionProtectionEnabled=True)["DeletionProtectionEnabled"]
    assert not updated(tables, name, DeletionProtectionEnabled=False)["DeletionProtectionEnabled"]


def test_items_stay(tables: Tables) -> None:
    """An update of a table changes none of its items (AWS API page)."""
    name = tables.new({"p": "S"})
    item = {"p": {"S": "a"}, "n": {"N": "1.5"}}
    tables.dynamodb.do("PutItem", {"TableName": name, "Item": item})
    updated(tables, name, BillingMode="PROVISIONED", ProvisionedThroughput=UNITS)
    key = {"TableName": name, "Key": {"p": {"S": "a"}}}
    assert tables.dynamodb.do("GetItem", key) == {"Item": item}
