"""DescribeTable, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.dynamodb_cases import Case, name_of, run
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_table_names import named_table_cases

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "DescribeTable"


@pytest.mark.parametrize("case", [*retypes(OP), *named_table_cases(OP)], ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """A name that is none, or of no table, is refused."""
    run(tables, OP, case)


def test_a_table_is_described_as_it_was_created(tables: Tables) -> None:
    """ACTIVE, else as CreateTable answered (AWS API page of DescribeTable)."""
    name = tables.new_name()
    request = {
        "TableName": name,
        "AttributeDefinitions": [
            {"AttributeName": "c", "AttributeType": "N"},
            {"AttributeName": "p", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "p", "KeyType": "HASH"},
            {"AttributeName": "c", "KeyType": "RANGE"},
        ],
        "ProvisionedThroughput": {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
    }
    created = tables.dynamodb.do("CreateTable", request)["TableDescription"]
    tables.wait_active(name)
    described = tables.dynamodb.do(OP, {"TableName": name})["Table"]
    # What a table was warmed up for is known once it is active.
    described.pop("WarmThroughput", None)
    assert described == {**created, "TableStatus": "ACTIVE"}


def test_a_table_by_its_arn(tables: Tables) -> None:
    """An ARN stands wherever a table's name may (AWS API page, TableName)."""
    by_name = tables.dynamodb.do(OP, {"TableName": tables.names["P"]})["Table"]
    by_arn = tables.dynamodb.do(OP, {"TableName": by_name["TableArn"]})["Table"]
    assert by_arn["TableId"] == by_name["TableId"]


def test_indexes_are_described(tables: Tables) -> None:
    """Each index has its ARN, keys and projection (AWS API page, TableDescription)."""
    table = tables.dynamodb.do(OP, {"TableName": tables.names["INDEXED"]})["Table"]
    (of_any,), (of_table,) = table["GlobalSecondaryIndexes"], table["LocalSecondaryIndexes"]
    assert of_any["IndexArn"] == f"{table['TableArn']}/index/gsi"
    assert of_table["IndexArn"] == f"{table['TableArn']}/index/lsi"
    assert [part["AttributeName"] for part in of_any["KeySchema"]] == ["x", "y"]
    assert of_table["Projection"] == {"ProjectionType": "ALL"}
