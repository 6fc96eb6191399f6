"""What CreateTable refuses, and in which words; sources: dynalite's suite and the API reference."""

from __future__ import annotations

from typing import Any

import pytest

from dstore.api.dynamodb.errors import AwsError
from dstore.api.dynamodb.table_checks import declared_table
from tests.unit.api.dynamodb.table_requests import (
    ALL,
    INVALID,
    UNITS,
    definitions,
    index,
    provisioned,
    schema,
    table,
)

SAME = "Both the Hash Key and the Range Key element in the KeySchema have the same name"


def _include(count: int, prefix: str) -> dict[str, Any]:
    names = [f"{prefix}{number}" for number in range(count)]
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": names}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "throughput on demand": (
        table("p", ProvisionedThroughput=UNITS),
        (
            f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
            "BillingMode is PAY_PER_REQUEST"
        ),
    ),
    "no throughput": (
        {**table("p"), "BillingMode": "PROVISIONED"},
        (
            f"{INVALID}ReadCapacityUnits and WriteCapacityUnits must both be specified when "
            "BillingMode is PROVISIONED"
        ),
    ),
    "too many units": (
        provisioned("p", ProvisionedThroughput=UNITS | {"WriteCapacityUnits": 10**12 + 1}),
        "Given value 1000000000001 for WriteCapacityUnits is out of bounds",
    ),
    "throughput before keys": (
        table("p", "p", ProvisionedThroughput=UNITS),
        (
            f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
            "BillingMode is PAY_PER_REQUEST"
        ),
    ),
    "a definition twice": (table("p", attributes=("p",)), "Attribute Name is duplicated: p"),
    "no definitions": (
        table("p", AttributeDefinitions=[]),
        "Invalid KeySchema: Some index key attribute have no definition",
    ),
    "another definition": (
        table("p", AttributeDefinitions=definitions("q")),
        (
            f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. "
            "Keys: [p], AttributeDefinitions: [q]"
        ),
    ),
    "the same key twice": (
        table("p", AttributeDefinitions=definitions("p", "q"), KeySchema=schema("p", "p")),
        SAME,
    ),
    "RANGE first": (
        table("p", KeySchema=[{"AttributeName": "p", "KeyType": "RANGE"}]),
        "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
    ),
    "two HASH": (
        table("p", "s", KeySchema=schema("p") + schema("s")),
        "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
    ),
    "an unused definition": (
        table("p", attributes=("q",)),
        (
            f"{INVALID}Number of attributes in KeySchema does not exactly match number of "
            "attributes defined in AttributeDefinitions"
        ),
    ),
    "an unused definition beside an index": (
        table("p", attributes=("x", "b", "a"), GlobalSecondaryIndexes=[index("gsi", "x")]),
        (
            f"{INVALID}Some AttributeDefinitions are not used. AttributeDefinitions: [a, b, p, x], "
            "keys used: [p, x]"
        ),
    ),
    "no local index": (
        table("p", "s", LocalSecondaryIndexes=[]),
        f"{INVALID}List of LocalSecondaryIndexes is empty",
    ),
    "a local index without a sort key of the table": (
        table("p", LocalSecondaryIndexes=[index("lsi", "p")]),
        (
            f"{INVALID}Table KeySchema does not have a range key, which is required when "
            "specifying a LocalSecondaryIndex"
        ),
    ),
    "a local index without a sort key": (
        table("p", "s", LocalSecondaryIndexes=[index("lsi", "p")]),
        f"{INVALID}Index KeySchema does not have a range key for index: lsi",
    ),
    "a local index with another partition key": (
        table("p", "s", LocalSecondaryIndexes=[index("lsi", "s", "p")]),
        (
            f"{INVALID}Index KeySchema does not have the same leading hash key as table KeySchema "
            "for index: lsi. index hash key: s, table hash key: p"
        ),
    ),
    "an index whose key is not defined": (
        table("p", "s", LocalSecondaryIndexes=[index("lsi", "p", "x")]),
        (
            f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. "
            "Keys: [p, x], AttributeDefinitions: [p, s]"
        ),
    ),
    "an index with one key twice": (
        table("p", GlobalSecondaryIndexes=[index("gsi", "p", "p")]),
        SAME,
    ),
    "no projection type": (
        table("p", GlobalSecondaryIndexes=[index("gsi", "p", Projection={})]),
        f"{INVALID}Unknown ProjectionType: null",
    ),
    "attributes beside ALL": (
        table(
            "p",
            GlobalSecondaryIndexes=[
                index("gsi", "p", Projection=ALL | {"NonKeyAttributes": ["q"]})
            ],
        ),
        f"{INVALID}ProjectionType is ALL, but NonKeyAttributes is specified",
    ),
    "INCLUDE of nothing": (
        table(
            "p",
            GlobalSecondaryIndexes=[index("gsi", "p", Projection={"ProjectionType": "INCLUDE"})],
        ),
        f"{INVALID}ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
    ),
    "six local indexes": (
        table(
            "p", "s", LocalSecondaryIndexes=[index(f"lsi{number}", "p", "s") for number in range(6)]
        ),
        f"{INVALID}Number of LocalSecondaryIndexes exceeds per-table limit of 5",
    ),
    "no global index": (
        table("p", GlobalSecondaryIndexes=[]),
        f"{INVALID}List of GlobalSecondaryIndexes is empty",
    ),
    "21 global indexes": (
        table("p", GlobalSecondaryIndexes=[index(f"gsi{number}", "p") for number in range(21)]),
        f"{INVALID}GlobalSecondaryIndex count exceeds the per-table limit of 20",
    ),
    "a name of both sorts of index": (
        table(
            "p",
            "s",
            LocalSecondaryIndexes=[index("idx", "p", "s")],
            GlobalSecondaryIndexes=[index("idx", "p")],
        ),
        f"{INVALID}Duplicate index name: idx",
    ),
    "more than 100 included attributes": (
        table(
            "p",
            GlobalSecondaryIndexes=[
                index(f"gsi{number}", "p", Projection=_include(17, f"a{number}_"))
                for number in range(6)
            ],
        ),
        f"{INVALID}Number of NonKeyAttributes of all indexes exceeds per-table limit of 100",
    ),
    "an index's throughput on demand": (
        table("p", GlobalSecondaryIndexes=[index("gsi", "p", ProvisionedThroughput=UNITS)]),
        (
            f"{INVALID}ProvisionedThroughput should not be specified for index: gsi when "
            "BillingMode is PAY_PER_REQUEST"
        ),
    ),
    "an index without throughput": (
        provisioned("p", GlobalSecondaryIndexes=[index("gsi", "p")]),
        f"{INVALID}ProvisionedThroughput is not specified for index: gsi",
    ),
    "a stream's view that is missing": (
        table("p", StreamSpecification={"StreamEnabled": True}),
        f"{INVALID}Table is being created with a stream enabled, UpdateViewType is required",
    ),
    "the view of no stream": (
        table("p", StreamSpecification={"StreamEnabled": False, "StreamViewType": "KEYS_ONLY"}),
        (
            f"{INVALID}Table is being created with a stream disabled, UpdateViewType should not be "
            "specified"
        ),
    ),
    "a key without encryption": (
        table("p", SSESpecification={"KMSMasterKeyId": "k"}),
        f"{INVALID}KMSMasterKeyId can not be specified if Enabled is false",
    ),
    "AES256": (
        table("p", SSESpecification={"Enabled": True, "SSEType": "AES256"}),
        f"{INVALID}SSEType AES256 is not supported",
    ),
    "a class that is none": (
        table("p", TableClass="GOLD"),
        (
            "Invalid table-class parameter provided. Please try again with a valid table-class "
            "value: [STANDARD, STANDARD_INFREQUENT_ACCESS]."
        ),
    ),
    "maxima of a provisioned table": (
        provisioned("p", OnDemandThroughput={"MaxReadRequestUnits": 1}),
        (
            f"{INVALID}MaxReadRequestUnits for OnDemandThroughput cannot be specified when table "
            "BillingMode is PROVISIONED."
        ),
    ),
    "a maximum of nothing": (
        table("p", OnDemandThroughput={"MaxWriteRequestUnits": 0}),
        (
            f"{INVALID}Requested MaxWriteRequestUnits for OnDemandThroughput for table is outside "
            "of valid range"
        ),
    ),
    "warmer than cold": (
        provisioned("p", WarmThroughput={"ReadUnitsPerSecond": 4}),
        (
            f"{INVALID}Requested ReadUnitsPerSecond for WarmThroughput for table is lower than "
            "ReadCapacityUnits of ProvisionedThroughput"
        ),
    ),
    "a tag without a value": (
        table("p", Tags=[{"Key": "k"}]),
        "The Tag Value provided is invalid, Value: null",
    ),
}


@pytest.mark.parametrize(("members", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(members: dict[str, Any], text: str) -> None:
    """Every rule has AWS's sentence, and comes in AWS's order."""
    with pytest.raises(AwsError) as caught:
        declared_table(members)
    assert (caught.value.name, caught.value.text) == ("ValidationException", text)


@pytest.mark.parametrize(
    "members",
    [
        {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}},
        {"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "own-key"}},
        {"ResourcePolicy": "{}"},
        {"GlobalTableSourceArn": "arn"},
        {"VectorIndexes": []},
    ],
)
def test_what_is_not_offered_is_not_kept_silently(members: dict[str, Any]) -> None:
    """A client must not believe that it has what dStore does not do."""
    with pytest.raises(AwsError, match="dStore") as caught:
        declared_table(table("p", **members))
    assert caught.value.name == "ValidationException"


@pytest.mark.parametrize(
    "members",
    [
        table("p", StreamSpecification={"StreamEnabled": False}),
        table("p", SSESpecification={}),
        table("p", SSESpecification={"Enabled": True, "SSEType": "KMS"}),
        table("p", OnDemandThroughput={}, WarmThroughput={}),
        table("p", WarmThroughput={"ReadUnitsPerSecond": 12_001}),
        table("p", "s", attributes=("x",), LocalSecondaryIndexes=[index("lsi", "p", "x")]),
        provisioned("p", GlobalSecondaryIndexes=[index("gsi", "p", ProvisionedThroughput=UNITS)]),
        table("p", TableName="arn:aws:dynamodb:eu-west-1:000000000000:table/abc"),
    ],
)
def test_accepted(members: dict[str, Any]) -> None:
    """What AWS takes is taken."""
    assert declared_table(members).name == "abc"
