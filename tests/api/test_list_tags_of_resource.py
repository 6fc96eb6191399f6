"""ListTagsOfResource, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.dynamodb_cases import Case, name_of, run
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_tags import resource_cases

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "ListTagsOfResource"


@pytest.mark.parametrize("case", [*retypes(OP), *resource_cases(OP, {})], ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """A resource that is none, or is not there, is refused."""
    run(tables, OP, case)


def test_no_tags(tables: Tables) -> None:
    """A table without tags has an empty list of them (dynalite test/listTagsOfResource.js)."""
    table = tables.dynamodb.do("DescribeTable", {"TableName": tables.names["P"]})["Table"]
    assert tables.dynamodb.do(OP, {"ResourceArn": table["TableArn"]}) == {"Tags": []}


def test_all_of_them(tables: Tables) -> None:
    """Pages together hold each tag once (AWS API page, NextToken)."""
    name = tables.new({"p": "S"})
    arn = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]["TableArn"]
    tags = [{"Key": f"k{number:02}", "Value": f"v{number}"} for number in range(45)]
    tables.dynamodb.do("TagResource", {"ResourceArn": arn, "Tags": tags})
    found: list[dict[str, str]] = []
    token: dict[str, str] = {}
    for _ in range(10):
        answer = tables.dynamodb.do(OP, {"ResourceArn": arn, **token})
        found += answer["Tags"]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert sorted(found, key=lambda tag: tag["Key"]) == tags
