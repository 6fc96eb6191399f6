"""TagResource, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, name_of, run
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_tags import resource_cases

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "TagResource"
NO_TAGS: Final = (
    "1 validation error detected: Value null at 'tags' failed to satisfy constraint: Member must "
    "not be null"
)
SOURCE: Final = "dynalite validations/tagResource.js"
TAG: Final = {"Key": "a", "Value": "b"}


@pytest.fixture(scope="module")
def arn(tables: Tables) -> str:
    """Make a table. Returns: its ARN."""
    name = tables.new({"p": "S"})
    described = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
    return str(described["TableArn"])


def tags_of(tables: Tables, arn: str) -> dict[str, str]:
    """Read a table's tags."""
    listed = tables.dynamodb.do("ListTagsOfResource", {"ResourceArn": arn})["Tags"]
    return {tag["Key"]: tag["Value"] for tag in listed}


@pytest.mark.parametrize("case", [*retypes(OP), *resource_cases(OP, {"Tags": [TAG]})], ids=name_of)
def test_refusals(tables: Tables, case: Case) -> None:
    """A resource that is none, or is not there, is refused."""
    run(tables, OP, case)


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (
            None,
            NO_TAGS,
        ),
        ([], "Atleast one Tag needs to be provided as Input."),
    ],
    ids=["absent", "empty"],
)
def test_no_tags(tables: Tables, arn: str, tags: Any, text: str) -> None:
    """Nothing to tag with is refused, in the service's words (dynalite validations)."""
    request = {"ResourceArn": arn} | ({} if tags is None else {"Tags": tags})
    answer = tables.dynamodb.call(OP, request)
    assert (answer.error, answer.message) == ("ValidationException", text), SOURCE


@pytest.mark.parametrize(
    ("key", "value"),
    [("", "a"), ("k" * 129, "a"), ("k", "v" * 257), ("aws:mine", "a")],
    ids=["no-key", "key-of-129", "value-of-257", "aws-prefix"],
)
def test_tags_that_cannot_be(tables: Tables, arn: str, key: str, value: str) -> None:
    """Keys have 1 to 128 characters, values up to 256 (AWS API page of Tag)."""
    request = {"ResourceArn": arn, "Tags": [{"Key": key, "Value": value}]}
    answer = tables.dynamodb.call(OP, request)
    assert (answer.status, answer.error) == (400, "ValidationException")
    assert key not in tags_of(tables, arn)


def test_the_answer_is_empty(tables: Tables, arn: str) -> None:
    """Success has no body at all (dynalite actions/tagResource.js)."""
    answer = tables.dynamodb.call(OP, {"ResourceArn": arn, "Tags": [TAG]})
    assert answer.status == 200
    assert answer.raw in {b"", b'""'}


def test_tags_are_added_and_replaced(tables: Tables, arn: str) -> None:
    """A key that is there gets the new value, the others stay (AWS API page)."""
    tables.dynamodb.do(OP, {"ResourceArn": arn, "Tags": [TAG, {"Key": "c", "Value": ""}]})
    tables.dynamodb.do(OP, {"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "é" * 256}]})
    assert tags_of(tables, arn).items() >= {"a": "é" * 256, "c": ""}.items()


def test_fifty_tags(tables: Tables) -> None:
    """A table has 50 tags, and not one more (AWS guide, Constraints, tags)."""
    name = tables.new({"p": "S"})
    described = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
    request: dict[str, Any] = {
        "ResourceArn": described["TableArn"],
        "Tags": [{"Key": f"k{number}", "Value": "v"} for number in range(50)],
    }
    tables.dynamodb.do(OP, request)
    answer = tables.dynamodb.call(OP, {**request, "Tags": [{"Key": "more", "Value": "v"}]})
    assert answer.status == 400
    assert len(tags_of(tables, described["TableArn"])) == 50
