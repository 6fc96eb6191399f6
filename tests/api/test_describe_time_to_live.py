"""DescribeTimeToLive, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.dynamodb_cases import Case, name_of, run
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_table_names import named_table_cases

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "DescribeTimeToLive"


@pytest.mark.parametrize("case", [*retypes(OP), *named_table_cases(OP)], ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """A name that is none, or of no table, is refused."""
    run(tables, OP, case)


def test_it_is_off(tables: Tables) -> None:
    """DISABLED is all that is said of a table without it (dynalite describeTimeToLive.js)."""
    answer = tables.dynamodb.do(OP, {"TableName": tables.names["P"]})
    assert answer == {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}


def test_a_table_by_its_arn(tables: Tables) -> None:
    """An ARN stands wherever a table's name may (AWS API page, TableName)."""
    table = tables.dynamodb.do("DescribeTable", {"TableName": tables.names["P"]})["Table"]
    answer = tables.dynamodb.do(OP, {"TableName": table["TableArn"]})
    assert answer["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED"
