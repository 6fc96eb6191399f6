"""CreateTable: what it answers, and that names and settings are taken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, Error, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.dynamodb_cases import Tables

OP: Final = "CreateTable"
SOURCE: Final = "dynalite test/createTable.js"


def attribute(name: str, kind: str = "S") -> dict[str, str]:
    """Spell an attribute's definition."""
    return {"AttributeName": name, "AttributeType": kind}


def key(name: str, kind: str = "HASH") -> dict[str, str]:
    """Spell an element of a key schema."""
    return {"AttributeName": name, "KeyType": kind}


A: Final = [attribute("a")]
ABC: Final = [attribute("a"), attribute("b"), attribute("c")]
HASH: Final = [key("a")]
RANGE: Final = [key("a"), key("b", "RANGE")]
UNITS: Final[dict[str, int]] = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
ALL: Final[dict[str, Any]] = {"ProjectionType": "ALL"}
TABLE: Final[dict[str, Any]] = {
    "TableName": "cases.refused",
    "AttributeDefinitions": A,
    "KeySchema": HASH,
    "BillingMode": "PAY_PER_REQUEST",
}


def without(request: Mapping[str, Any], *members: str) -> dict[str, Any]:
    """Leave members out."""
    return {name: value for name, value in request.items() if name not in members}


def index(name: str = "abc", keys: Any = None, projection: Any = None, **more: Any) -> Any:
    """Spell an index; by default a local one of the sorted table."""
    schema = keys if keys is not None else [key("a"), key("c", "RANGE")]
    chosen = ALL if projection is None else projection
    return {"IndexName": name, "KeySchema": schema, "Projection": chosen, **more}


def created(tables: Tables, **more: Any) -> dict[str, Any]:
    """Create a table of these settings. Returns: the description that CreateTable answers."""
    request = {**without(TABLE, "BillingMode"), "TableName": tables.new_name(), **more}
    described: dict[str, Any] = tables.dynamodb.do(OP, request)["TableDescription"]
    assert re.fullmatch(r"[0-9a-f-]{36}", described.pop("TableId")), SOURCE
    assert abs(described.pop("CreationDateTime") - 1.7e9) < 1e9, SOURCE
    arn = described.pop("TableArn")
    assert re.fullmatch(rf"arn:aws:dynamodb:[^:]+:\d+:table/{request['TableName']}", arn), SOURCE
    tables.wait_active(request["TableName"])
    return described


def test_a_table_on_demand(tables: Tables) -> None:
    """CREATING, its keys, no units (LocalStack test_dynamodb.snapshot.json; AWS API page)."""
    assert created(tables, BillingMode="PAY_PER_REQUEST") == {
        "AttributeDefinitions": A,
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "DeletionProtectionEnabled": False,
        "ItemCount": 0,
        "KeySchema": HASH,
        "ProvisionedThroughput": {
            "NumberOfDecreasesToday": 0,
            "ReadCapacityUnits": 0,
            "WriteCapacityUnits": 0,
        },
        "TableName": tables.names.get("", f"{tables.prefix}.{_latest(tables)}"),
        "TableSizeBytes": 0,
        "TableStatus": "CREATING",
    }


def _latest(tables: Tables) -> int:
    return int(tables.new_name().rpartition(".")[2]) - 1


def test_a_provisioned_table(tables: Tables) -> None:
    """Its units are answered (LocalStack test_dynamodb.snapshot.json, create-table)."""
    described = created(tables, ProvisionedThroughput=UNITS)
    assert described["ProvisionedThroughput"] == {**UNITS, "NumberOfDecreasesToday": 0}
    assert "BillingModeSummary" not in described


def test_a_table_with_indexes(tables: Tables) -> None:
    """Each index is described, a global one CREATING (AWS API page, TableDescription)."""
    described = created(
        tables,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=ABC,
        KeySchema=RANGE,
        LocalSecondaryIndexes=[index("local-one")],
        GlobalSecondaryIndexes=[index("global-one", [key("c")], {"ProjectionType": "KEYS_ONLY"})],
    )
    (of_table,) = described["LocalSecondaryIndexes"]
    (of_any,) = described["GlobalSecondaryIndexes"]
    assert of_table["IndexName"] == "local-one"
    assert of_table["KeySchema"] == [key("a"), key("c", "RANGE")]
    assert of_table["Projection"] == ALL
    assert of_table["IndexArn"].endswith("/index/local-one")
    assert (of_any["IndexName"], of_any["IndexStatus"]) == ("global-one", "CREATING")
    assert of_any["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert (of_any["ItemCount"], of_any["IndexSizeBytes"]) == (0, 0)


def test_a_name_that_is_taken(tables: Tables) -> None:
    """It is refused, in LocalStack's recorded words (test_create_duplicate_table)."""
    request = {**TABLE, "TableName": tables.names["P"]}
    case = Case(
        name="",
        request=request,
        error=Error(
            name="ResourceInUseException", text=f"Table already exists: {tables.names['P']}"
        ),
        source="LocalStack test_dynamodb.snapshot.json test_create_duplicate_table",
    )
    run(tables, OP, case)


@pytest.mark.parametrize("name", ["abc", "a.b", "A_b-c.9", "a" * 255])
def test_names(tables: Tables, name: str) -> None:
    """Names of 3 to 255 letters, digits, points, dashes, underscores (AWS naming rules)."""
    name = f"{tables.new_name()}{name}"[:255]
    request = {**TABLE, "TableName": name}
    assert tables.dynamodb.do(OP, request)["TableDescription"]["TableName"] == name


def test_settings_are_answered(tables: Tables) -> None:
    """Deletion protection, class and on-demand limits (paritysuite createTable/config.test.ts)."""
    described = created(
        tables,
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
        TableClass="STANDARD_INFREQUENT_ACCESS",
        OnDemandThroughput={"MaxReadRequestUnits": 10, "MaxWriteRequestUnits": 20},
    )
    assert described["DeletionProtectionEnabled"] is True
    assert described["TableClassSummary"]["TableClass"] == "STANDARD_INFREQUENT_ACCESS"
    assert described["OnDemandThroughput"] == {
        "MaxReadRequestUnits": 10,
        "MaxWriteRequestUnits": 20,
    }


def test_tags_are_kept(tables: Tables) -> None:
    """Tags given at the creation are the table's (AWS API page, Tags)."""
    name = tables.new_name()
    tags = [{"Key": "Owner", "Value": "blueTeam"}]
    table = tables.dynamodb.do(OP, {**TABLE, "TableName": name, "Tags": tags})["TableDescription"]
    answer = tables.dynamodb.do("ListTagsOfResource", {"ResourceArn": table["TableArn"]})
    assert answer == {"Tags": tags}
