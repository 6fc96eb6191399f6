"""UpdateTable: what it does, what it answers meanwhile, and what it refuses."""

from __future__ import annotations

from asyncio import gather
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dstore.model.keys import KeyKind
from dstore.model.tables import index_keys
from dstore.service.node import Node
from tests.support.nodes import ShiftedClock, open_in
from tests.unit.api.dynamodb.calling import TENANT, called
from tests.unit.api.dynamodb.item_tables import refused
from tests.unit.api.dynamodb.table_requests import (
    INVALID,
    UNITS,
    definitions,
    index,
    provisioned,
    table,
)

GSI = "GlobalSecondaryIndexUpdates"
NAMES = {"TableName": "abc"}


@pytest.fixture(name="clock")
def clock_fixture() -> ShiftedClock:
    """The node's clock."""
    return ShiftedClock()


@pytest.fixture(name="node")
async def node_fixture(tmp_path: Path, clock: ShiftedClock) -> AsyncIterator[Node]:
    """A node with a tenant that has no tables."""
    async with open_in(tmp_path, clock=clock) as node:
        await node.catalog.create_tenant(TENANT)
        yield node


async def described(node: Node) -> Any:
    """Describe the table."""
    return (await called(node, "DescribeTable", **NAMES))["Table"]


async def updated(node: Node, **members: Any) -> Any:
    """Update the table. Returns: what the answer describes."""
    return (await called(node, "UpdateTable", **NAMES, **members))["TableDescription"]


async def said(node: Node, **members: Any) -> str:
    """Update the table, which must be refused as invalid. Returns: the sentence."""
    name, text = await refused(node, "UpdateTable", **NAMES, **members)
    assert name == "ValidationException", (name, text)
    return text


async def test_throughput(node: Node) -> None:
    """The answer has the old units with the new date; later there are the new ones."""
    await called(node, "CreateTable", **provisioned("p"))
    more = {"ReadCapacityUnits": 15, "WriteCapacityUnits": 6}
    answer = await updated(node, ProvisionedThroughput=more)
    assert answer["TableStatus"] == "UPDATING"
    assert answer["ProvisionedThroughput"].pop("LastIncreaseDateTime") > 0
    assert answer["ProvisionedThroughput"] == UNITS | {"NumberOfDecreasesToday": 0}
    await updated(node, ProvisionedThroughput=UNITS)
    found = (await described(node))["ProvisionedThroughput"]
    assert found["LastDecreaseDateTime"] >= found["LastIncreaseDateTime"]
    assert found["NumberOfDecreasesToday"] == 1
    assert (found["ReadCapacityUnits"], found["WriteCapacityUnits"]) == (5, 6)
    assert await said(node, ProvisionedThroughput=UNITS) == (
        "The provisioned throughput for the table will not change. The requested value equals the "
        "current value. Current ReadCapacityUnits provisioned for the table: 5. Requested "
        "ReadCapacityUnits: 5. Current WriteCapacityUnits provisioned for the table: 6. Requested "
        "WriteCapacityUnits: 6. Refer to the Amazon DynamoDB Developer Guide for current limits "
        "and how to request higher limits."
    )


async def test_changes_at_once_see_each_other(node: Node) -> None:
    """What an answer tells of before is what its own change found, not what another has changed."""
    await called(node, "CreateTable", **provisioned("p"))
    units = [{"ReadCapacityUnits": read, "WriteCapacityUnits": 6} for read in (15, 20)]
    answers = await gather(*[updated(node, ProvisionedThroughput=each) for each in units])
    assert [one["ProvisionedThroughput"]["ReadCapacityUnits"] for one in answers] == [5, 15]


async def test_billing_there_and_back(node: Node, clock: ShiftedClock) -> None:
    """On demand has no units; back, the table and each of its indexes need some."""
    indexes = [index("one", "x", ProvisionedThroughput=UNITS)]
    await called(
        node,
        "CreateTable",
        **provisioned("p", attributes=("x",), GlobalSecondaryIndexes=indexes),
    )
    clock.shift_us = 5_000_000
    await updated(node, BillingMode="PAY_PER_REQUEST")
    found = await described(node)
    since = found["BillingModeSummary"]["LastUpdateToPayPerRequestDateTime"]
    assert since >= found["CreationDateTime"] + 5
    assert found["ProvisionedThroughput"]["ReadCapacityUnits"] == 0
    assert found["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]["WriteCapacityUnits"] == 0
    await updated(node, OnDemandThroughput={"MaxReadRequestUnits": 9})
    back = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS}
    assert await said(node, **back) == (
        f"{INVALID}ProvisionedThroughput must be specified for index: one"
    )
    index_units = [{"Update": {"IndexName": "one", "ProvisionedThroughput": UNITS}}]
    await updated(node, **back, **{GSI: index_units})
    found = await described(node)
    assert found["BillingModeSummary"] == {
        "BillingMode": "PROVISIONED",
        "LastUpdateToPayPerRequestDateTime": since,
    }
    assert "OnDemandThroughput" not in found
    assert found["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]["ReadCapacityUnits"] == 5


async def test_an_index_comes_and_goes(node: Node) -> None:
    """Its definition is kept, its key's type holds for items, and is forgotten with it."""
    await called(node, "CreateTable", **table("p"))
    create = {GSI: [{"Create": index("gsi", "x", "p")}]}
    assert await said(node, **create) == (
        f"{INVALID}AttributeDefinitions is not specified for index: gsi"
    )
    answer = await updated(node, AttributeDefinitions=definitions("x", "p"), **create)
    assert answer["TableStatus"] == "UPDATING"
    assert [one["IndexStatus"] for one in answer["GlobalSecondaryIndexes"]] == ["CREATING"]
    (key,) = index_keys(node.catalog.table(TENANT, "abc").definition)
    assert (key.attribute, key.kind, key.is_partition) == ("x", KeyKind.STRING, True)
    again = {"AttributeDefinitions": definitions("x", "p")} | create
    assert await said(node, **again) == "Attempting to create an index which already exists"
    other = {
        "AttributeDefinitions": definitions("x", kind="N"),
        GSI: [{"Create": index("other", "x")}],
    }
    assert await said(node, **other) == (
        f"{INVALID}Attributes cannot be redefined. Please check that your attribute has the same "
        "type as previously defined. Existing schema: Schema:[SchemaElement: key{x:S:HASH}] "
        "New schema: Schema:[SchemaElement: key{x:N:HASH}]"
    )
    answer = await updated(node, **{GSI: [{"Delete": {"IndexName": "gsi"}}]})
    assert [one["IndexStatus"] for one in answer["GlobalSecondaryIndexes"]] == ["DELETING"]
    found = await described(node)
    assert "GlobalSecondaryIndexes" not in found
    assert found["AttributeDefinitions"] == definitions("p")
    assert index_keys(node.catalog.table(TENANT, "abc").definition) == ()
    assert await refused(
        node, "UpdateTable", **NAMES, **{GSI: [{"Delete": {"IndexName": "gsi"}}]}
    ) == (
        "ResourceNotFoundException",
        "Requested resource not found: Index gsi for table abc",
    )


async def test_one_index_at_a_time(node: Node) -> None:
    """Two that come or go in one request are too many."""
    await called(node, "CreateTable", **table("p"))
    for second in ({"Create": index("two", "p")}, {"Delete": {"IndexName": "two"}}):
        updates = [{"Create": index("one", "p")}, second]
        assert await refused(
            node,
            "UpdateTable",
            **NAMES,
            AttributeDefinitions=definitions("p"),
            **{GSI: updates},
        ) == (
            "LimitExceededException",
            (
                "Subscriber limit exceeded: Only 1 online index can be created or deleted "
                "simultaneously per table"
            ),
        )


async def test_labels(node: Node) -> None:
    """Class, protection, encryption, maxima and warmth are set one at a time and read back."""
    await called(node, "CreateTable", **table("p"))
    answer = await updated(node, TableClass="STANDARD_INFREQUENT_ACCESS")
    summary = answer["TableClassSummary"]
    assert summary.pop("LastUpdateDateTime") > 0
    assert summary == {"TableClass": "STANDARD_INFREQUENT_ACCESS"}
    assert (await updated(node, DeletionProtectionEnabled=True))["TableStatus"] == "ACTIVE"
    await updated(node, SSESpecification={"Enabled": True})
    await updated(node, WarmThroughput={"ReadUnitsPerSecond": 12_345})
    await updated(node, OnDemandThroughput={"MaxReadRequestUnits": 7, "MaxWriteRequestUnits": 8})
    await updated(node, OnDemandThroughput={"MaxReadRequestUnits": -1})
    found = await described(node)
    assert found["DeletionProtectionEnabled"] is True
    assert found["SSEDescription"]["Status"] == "ENABLED"
    assert found["WarmThroughput"]["ReadUnitsPerSecond"] == 12_345
    assert found["WarmThroughput"]["WriteUnitsPerSecond"] == 4_000
    assert found["OnDemandThroughput"] == {"MaxWriteRequestUnits": 8}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "At least one of ProvisionedThroughput, BillingMode, "),
        ({GSI: []}, "At least one of ProvisionedThroughput, BillingMode, "),
        ({"AttributeDefinitions": []}, "At least one of ProvisionedThroughput, BillingMode, "),
        (
            {"BillingMode": "PROVISIONED"},
            f"{INVALID}ProvisionedThroughput must be specified when BillingMode is PROVISIONED",
        ),
        (
            {"ProvisionedThroughput": UNITS},
            (
                f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
                "BillingMode is PAY_PER_REQUEST"
            ),
        ),
        (
            {"TableClass": "STANDARD", "SSESpecification": {}},
            (
                f"{INVALID}Server-Side Encryption modification must be the only operation in the "
                "request"
            ),
        ),
        (
            {"DeletionProtectionEnabled": True, "BillingMode": "PAY_PER_REQUEST"},
            f"{INVALID}DeletionProtection modification must be the only operation in the request",
        ),
        (
            {
                "OnDemandThroughput": {"MaxReadRequestUnits": 9},
                "StreamSpecification": {"StreamEnabled": False},
            },
            (
                f"{INVALID}OnDemandThroughput can only be combined with BillingMode in an "
                "UpdateTable request"
            ),
        ),
        ({GSI: [{}]}, f"{INVALID}One of GlobalSecondaryIndexUpdate.Update, "),
        (
            {GSI: [{"Create": index("one", "p"), "Delete": {"IndexName": "one"}}]},
            (
                f"{INVALID}Only one global secondary index action is allowed per "
                "GlobalSecondaryIndexUpdate object"
            ),
        ),
        (
            {GSI: [{"Delete": {"IndexName": "one"}}] * 2},
            (
                f"{INVALID}Only one global secondary index update per index is allowed "
                "simultaneously. Index: one"
            ),
        ),
        (
            {GSI: [{"Delete": {"IndexName": "one"}}], "ProvisionedThroughput": UNITS},
            f"{INVALID}You cannot create or delete index while updating table IOPS",
        ),
        (
            {GSI: [{"Update": {"IndexName": "gsi"}}]},
            (
                f"{INVALID}The only Updates for index: gsi when TableThroughputMode is "
                "PAY_PER_REQUEST can be to OnDemandThroughput, WarmThroughput"
            ),
        ),
        (
            {GSI: [{"Delete": {"IndexName": "lsi"}}]},
            "Cannot delete an index that is not a GlobalSecondaryIndex: lsi",
        ),
        (
            {"StreamSpecification": {"StreamEnabled": False}},
            "Table has no stream to disable: TableName: abc",
        ),
        (
            {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}},
            f"{INVALID}StreamSpecification: dStore does not offer streams",
        ),
        ({"SSESpecification": {}}, f"{INVALID}Table is already encrypted by default"),
        (
            {"WarmThroughput": {"WriteUnitsPerSecond": 3_999}},
            (
                f"{INVALID}Requested WriteUnitsPerSecond for WarmThroughput for table is lower "
                "than current WarmThroughput, decreasing WarmThroughput is not supported"
            ),
        ),
        (
            {"OnDemandThroughput": {"MaxReadRequestUnits": -2}},
            (
                f"{INVALID}Requested MaxReadRequestUnits for OnDemandThroughput for table is "
                "outside of valid range"
            ),
        ),
        ({"ReplicaUpdates": [{}]}, f"{INVALID}ReplicaUpdates: dStore does not offer global tables"),
    ],
)
async def test_refused(node: Node, members: dict[str, Any], text: str) -> None:
    """Every rule has AWS's sentence, and a refusal changes nothing."""
    await called(
        node,
        "CreateTable",
        **table(
            "p",
            "s",
            LocalSecondaryIndexes=[index("lsi", "p", "s")],
            GlobalSecondaryIndexes=[index("gsi", "s")],
        ),
    )
    before = await described(node)
    assert (await said(node, **members)).startswith(text)
    assert await described(node) == before
