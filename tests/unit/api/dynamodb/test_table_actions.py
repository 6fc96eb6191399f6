"""Tables made, described, listed, deleted and tagged through the DynamoDB API's operations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dstore.model.tables import IdType
from dstore.service.node import Node
from tests.support.nodes import open_in
from tests.unit.api.dynamodb.calling import REGION, TENANT, called
from tests.unit.api.dynamodb.item_tables import refused
from tests.unit.api.dynamodb.table_requests import definitions, index, provisioned, schema, table

ARN = f"arn:aws:dynamodb:{REGION}:000000000000:table/abc"


@pytest.fixture(name="node")
async def node_fixture(tmp_path: Path) -> AsyncIterator[Node]:
    """A node with a tenant that has no tables."""
    async with open_in(tmp_path) as node:
        await node.catalog.create_tenant(TENANT)
        yield node


async def test_an_on_demand_table(node: Node) -> None:
    """The answer is CREATING, the table ACTIVE at once, and otherwise they say the same."""
    made = (await called(node, "CreateTable", **table("p", "s")))["TableDescription"]
    found = (await called(node, "DescribeTable", TableName="abc"))["Table"]
    assert made.pop("TableStatus") == "CREATING"
    assert found.pop("TableStatus") == "ACTIVE"
    assert found.pop("WarmThroughput") == {
        "ReadUnitsPerSecond": 12_000,
        "WriteUnitsPerSecond": 4_000,
        "Status": "ACTIVE",
    }
    created = made["CreationDateTime"]
    since = {"LastUpdateToPayPerRequestDateTime": created}
    made["BillingModeSummary"] |= since
    assert made == found
    assert created == found.pop("CreationDateTime")
    assert isinstance(created, float)
    assert len(found.pop("TableId")) == 36
    assert found == {
        "TableName": "abc",
        "TableArn": ARN,
        "AttributeDefinitions": definitions("p", "s"),
        "KeySchema": schema("p", "s"),
        "ItemCount": 0,
        "TableSizeBytes": 0,
        "DeletionProtectionEnabled": False,
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": 0,
            "WriteCapacityUnits": 0,
        },
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"} | since,
    }


async def test_a_table_with_everything(node: Node) -> None:
    """Definitions come sorted, indexes as given; a global one cannot be queried and says so."""
    include = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["q", "a"]}
    units = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}
    await called(
        node,
        "CreateTable",
        **provisioned(
            "p",
            "c",
            attributes=("z", "b"),
            LocalSecondaryIndexes=[index("lsi", "p", "z", Projection=include)],
            GlobalSecondaryIndexes=[
                index("one", "z", ProvisionedThroughput=units),
                index("two", "b", "p", ProvisionedThroughput=units),
            ],
            TableClass="STANDARD",
            DeletionProtectionEnabled=True,
            SSESpecification={"Enabled": True},
        ),
    )
    found = (await called(node, "DescribeTable", TableName=ARN))["Table"]
    assert found["AttributeDefinitions"] == definitions("b", "c", "p", "z")
    assert found["TableClassSummary"] == {"TableClass": "STANDARD"}
    assert found["DeletionProtectionEnabled"] is True
    assert found["SSEDescription"] == {
        "Status": "ENABLED",
        "SSEType": "KMS",
        "KMSMasterKeyArn": f"arn:aws:kms:{REGION}:000000000000:alias/aws/dynamodb",
    }
    assert "BillingModeSummary" not in found
    assert found["LocalSecondaryIndexes"] == [
        {
            "IndexName": "lsi",
            "KeySchema": schema("p", "z"),
            "Projection": include | {"NonKeyAttributes": ["a", "q"]},
            "IndexSizeBytes": 0,
            "ItemCount": 0,
            "IndexArn": f"{ARN}/index/lsi",
        }
    ]
    first, second = found["GlobalSecondaryIndexes"]
    assert [first["IndexName"], second["IndexName"]] == ["one", "two"]
    assert first["IndexStatus"] == "CREATING"
    assert first["ProvisionedThroughput"] == units | {"NumberOfDecreasesToday": 0}
    assert second["KeySchema"] == schema("b", "p")


async def test_a_name_that_is_taken(node: Node) -> None:
    """Of two that make a table of one name, one is told so."""
    await called(node, "CreateTable", **table("p"))
    assert await refused(node, "CreateTable", **table("p")) == (
        "ResourceInUseException",
        "Table already exists: abc",
    )


async def test_deletion(node: Node) -> None:
    """A deleted table is described without its keys, and gone."""
    await called(node, "CreateTable", **table("p"))
    made = (await called(node, "DescribeTable", TableName="abc"))["Table"]
    gone = (await called(node, "DeleteTable", TableName=ARN))["TableDescription"]
    absent = {"AttributeDefinitions", "KeySchema", "CreationDateTime", "WarmThroughput"}
    assert gone.pop("TableStatus") == "DELETING"
    assert gone == {name: made[name] for name in made.keys() - absent - {"TableStatus"}}
    missing = ("ResourceNotFoundException", "Requested resource not found: Table: abc not found")
    for operation in ("DeleteTable", "DescribeTable", "DescribeTimeToLive"):
        assert await refused(node, operation, TableName="abc") == missing
    update = {"TableName": "abc", "DeletionProtectionEnabled": True}
    assert await refused(node, "UpdateTable", **update) == missing
    assert await refused(node, "DescribeContinuousBackups", TableName="abc") == (
        "TableNotFoundException",
        "Table not found: abc",
    )


async def test_protection(node: Node) -> None:
    """A protected table stays until its protection is lifted."""
    await called(node, "CreateTable", **table("p", DeletionProtectionEnabled=True))
    assert await refused(node, "DeleteTable", TableName="abc") == (
        "ValidationException",
        (
            "Resource cannot be deleted as it is currently protected against deletion. "
            "Disable deletion protection first."
        ),
    )
    await called(node, "UpdateTable", TableName="abc", DeletionProtectionEnabled=False)
    await called(node, "DeleteTable", TableName="abc")


async def test_lists(node: Node) -> None:
    """Pages hold what follows a name, whether it exists or not; v1's tables are among them."""
    assert await called(node, "ListTables") == {"TableNames": []}
    for name in ("bbb", "ccc", "aaa"):
        await called(node, "CreateTable", **table("p", TableName=name))
    await node.catalog.create_table(TENANT, "b-v1", id_type=IdType.INTEGER)
    assert await called(node, "ListTables") == {"TableNames": ["aaa", "b-v1", "bbb", "ccc"]}
    assert await called(node, "ListTables", Limit=2) == {
        "TableNames": ["aaa", "b-v1"],
        "LastEvaluatedTableName": "b-v1",
    }
    assert await called(node, "ListTables", Limit=2, ExclusiveStartTableName="b-v1") == {
        "TableNames": ["bbb", "ccc"]
    }
    assert await called(node, "ListTables", ExclusiveStartTableName="bzz") == {
        "TableNames": ["ccc"]
    }
    for limit in (0, 101):
        assert (await refused(node, "ListTables", Limit=limit))[0] == "ValidationException"


async def test_a_v1_table(node: Node) -> None:
    """It has one HASH key `_id`, of its IDs' type, and is billed on demand."""
    await node.catalog.create_table(TENANT, "abc", id_type=IdType.INTEGER)
    found = (await called(node, "DescribeTable", TableName="abc"))["Table"]
    assert found["KeySchema"] == schema("_id")
    assert found["AttributeDefinitions"] == definitions("_id", kind="N")
    assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


async def test_tags(node: Node) -> None:
    """Tags are added, replaced and taken away; changes answer nothing at all."""
    await called(node, "CreateTable", **table("p", Tags=[{"Key": "a", "Value": "1"}]))

    async def tags() -> Any:
        listed = await called(node, "ListTagsOfResource", ResourceArn=ARN)
        return {tag["Key"]: tag["Value"] for tag in listed["Tags"]}

    added = [{"Key": "a", "Value": "2"}, {"Key": "é +-=._:/@", "Value": ""}]
    assert await called(node, "TagResource", ResourceArn=ARN, Tags=added) is None
    assert await tags() == {"a": "2", "é +-=._:/@": ""}
    assert await called(node, "UntagResource", ResourceArn=ARN, TagKeys=["a", "none"]) is None
    assert await tags() == {"é +-=._:/@": ""}
    many = [{"Key": str(number), "Value": ""} for number in range(50)]
    assert await refused(node, "TagResource", ResourceArn=ARN, Tags=many) == (
        "ValidationException",
        "Number of Tags exceed the current limit for the provided ResourceArn",
    )
    assert len(await tags()) == 1


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ({"Key": "", "Value": "v"}, "The Tag Key provided is invalid, Key: "),
        ({}, "The Tag Key provided is invalid, Key: null"),
        ({"Key": "k" * 129, "Value": "v"}, f"The Tag Key provided is invalid, Key: {'k' * 129}"),
        ({"Key": "hi!", "Value": "v"}, "The Tag Key provided is invalid, Key: hi!"),
        ({"Key": "k"}, "The Tag Value provided is invalid, Value: null"),
        ({"Key": "k", "Value": "d%g"}, "The Tag Value provided is invalid, Value: d%g"),
        ({"Key": "aws:k", "Value": "v"}, "Tag Key cannot be prefixed with aws:, Key: aws:k"),
    ],
)
async def test_tags_that_are_none(node: Node, tag: dict[str, str], text: str) -> None:
    """A tag that cannot be one is refused at creation and later, in the same words."""
    wanted = ("ValidationException", text)
    assert await refused(node, "CreateTable", **table("p", Tags=[tag])) == wanted
    await called(node, "CreateTable", **table("p"))
    assert await refused(node, "TagResource", ResourceArn=ARN, Tags=[tag]) == wanted


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "Invalid TableArn"),
        ({"ResourceArn": "abc"}, "ARNs must start with 'arn:': abc"),
        ({"ResourceArn": "arn:aws:s3:eu:1:table/abc"}, "not a DynamoDB resource arn"),
        ({"ResourceArn": f"{ARN}/index/gsi"}, "only table or stream is accepted"),
    ],
)
async def test_arns_that_name_no_table(node: Node, members: dict[str, str], text: str) -> None:
    """What is tagged is named by a table's ARN and nothing else."""
    for operation, others in (
        ("TagResource", {"Tags": [{"Key": "k", "Value": "v"}]}),
        ("UntagResource", {"TagKeys": ["k"]}),
        ("ListTagsOfResource", {}),
    ):
        name, said = await refused(node, operation, **members, **others)
        assert name == "ValidationException"
        assert text in said


async def test_tags_of_a_table_that_is_not_there(node: Node) -> None:
    """AWS names the ARN."""
    gone = f"Requested resource not found: ResourceArn: {ARN} not found"
    tags = [{"Key": "k", "Value": "v"}]
    assert (await refused(node, "TagResource", ResourceArn=ARN, Tags=tags))[1] == gone
    assert (await refused(node, "ListTagsOfResource", ResourceArn=ARN))[1] == gone
    assert await refused(node, "UntagResource", ResourceArn=ARN, TagKeys=["k"]) == (
        "ResourceNotFoundException",
        gone,
    )
    for operation, name in (("TagResource", "Tags"), ("UntagResource", "TagKeys")):
        said = (await refused(node, operation, ResourceArn=ARN))[1]
        assert f"Value null at '{name[0].lower()}{name[1:]}'" in said
        said = (await refused(node, operation, ResourceArn=ARN, **{name: []}))[1]
        assert said.startswith("Atleast one Tag")


async def test_what_tables_do_not_have(node: Node) -> None:
    """Time to live and backups are truthfully off; limits are what a request may state."""
    await called(node, "CreateTable", **table("p"))
    assert await called(node, "DescribeTimeToLive", TableName="abc") == {
        "TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}
    }
    assert await called(node, "DescribeContinuousBackups", TableName=ARN) == {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "DISABLED",
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
        }
    }
    limits = await called(node, "DescribeLimits")
    assert len(limits) == 4
    assert set(limits.values()) == {10**12}
    endpoints = (await called(node, "DescribeEndpoints"))["Endpoints"]
    assert [one["CachePeriodInMinutes"] for one in endpoints] == [1_440]


async def test_what_local_indexes_have_outlives_a_restart(tmp_path: Path) -> None:
    """It is told of a table that nobody has used since, and exactly of one that somebody has."""

    async def counts(node: Node) -> list[tuple[int, bool]]:
        found = (await called(node, "DescribeTable", TableName="abc"))["Table"]
        told = found["LocalSecondaryIndexes"]
        return [(each["ItemCount"], each["IndexSizeBytes"] > 0) for each in told]

    async with open_in(tmp_path) as node:
        await node.catalog.create_tenant(TENANT)
        local = [index("by-a", "p", "a"), index("by-b", "p", "b")]
        asked = table("p", "s", attributes=("a", "b"), LocalSecondaryIndexes=local)
        await called(node, "CreateTable", **asked)
        item = {name: {"S": name} for name in ("p", "s", "a")}
        await called(node, "PutItem", TableName="abc", Item=item)
        assert await counts(node) == [(1, True), (0, False)]
    async with open_in(tmp_path) as node:
        assert node.files.open_count == 0
        assert await counts(node) == [(1, True), (0, False)]
        del item["a"]
        await called(node, "PutItem", TableName="abc", Item=item | {"b": {"S": "b"}})
        assert await counts(node) == [(0, False), (1, True)]


async def test_size(node: Node) -> None:
    """It is what the table's database takes, the same whether its file is open or closed."""
    await called(node, "CreateTable", **table("p"))
    item = {"p": {"S": "one"}, "text": {"S": "x" * 100_000}}
    await called(node, "PutItem", TableName="abc", Item=item)

    async def size() -> int:
        found = (await called(node, "DescribeTable", TableName="abc"))["Table"]
        assert found["ItemCount"] == 1
        bytes_found: int = found["TableSizeBytes"]
        return bytes_found

    opened = await size()
    assert 100_000 <= opened < 400_000
    await node.files.close()
    assert await size() == opened
