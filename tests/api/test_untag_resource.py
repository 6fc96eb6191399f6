"""UntagResource, case by case; every case names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.dynamodb_cases import Case, name_of, run
from tests.support.dynamodb_retypes import retypes
from tests.support.dynamodb_tags import resource_cases

if TYPE_CHECKING:
    from tests.support.dynamodb_cases import Tables

OP: Final = "UntagResource"
NO_TAGS: Final = (
    "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member "
    "must not be null"
)
SOURCE: Final = "dynalite validations/untagResource.js"


@pytest.fixture
def arn(tables: Tables) -> str:
    """Make a table with the tags a, b and c. Returns: its ARN."""
    name = tables.new({"p": "S"})
    table = tables.dynamodb.do("DescribeTable", {"TableName": name})["Table"]
    tags = [{"Key": key, "Value": f"of {key}"} for key in "abc"]
    tables.dynamodb.do("TagResource", {"ResourceArn": table["TableArn"], "Tags": tags})
    return str(table["TableArn"])


def keys_of(tables: Tables, arn: str) -> list[str]:
    """Read the keys of a table's tags."""
    listed = tables.dynamodb.do("ListTagsOfResource", {"ResourceArn": arn})["Tags"]
    return sorted(tag["Key"] for tag in listed)


@pytest.mark.parametrize(
    "case",
    [
        *retypes(OP),
        *resource_cases(
            OP,
            {"TagKeys": ["a"]},
        ),
    ],
    ids=name_of,
)
def test_refusals(tables: Tables, case: Case) -> None:
    """A resource that is none, or is not there, is refused."""
    run(tables, OP, case)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (
            None,
            NO_TAGS,
        ),
        ([], "Atleast one Tag Key needs to be provided as Input."),
    ],
    ids=["absent", "empty"],
)
def test_no_keys(tables: Tables, arn: str, keys: Any, text: str) -> None:
    """Nothing to take off is refused, in the service's words (dynalite validations)."""
    request = {"ResourceArn": arn} | ({} if keys is None else {"TagKeys": keys})
    answer = tables.dynamodb.call(OP, request)
    assert (answer.error, answer.message) == ("ValidationException", text), SOURCE


@pytest.mark.parametrize(
    ("keys", "left"),
    [(["a"], ["b", "c"]), (["a", "c"], ["b"]), (["z"], ["a", "b", "c"]), (["a", "b", "c"], [])],
)
def test_tags_are_taken_off(tables: Tables, arn: str, keys: list[str], left: list[str]) -> None:
    """Those that are there go, others do not matter (AWS API page); the answer has no body."""
    answer = tables.dynamodb.call(OP, {"ResourceArn": arn, "TagKeys": keys})
    assert answer.status == 200
    assert answer.raw in {b"", b'""'}
    assert keys_of(tables, arn) == left
