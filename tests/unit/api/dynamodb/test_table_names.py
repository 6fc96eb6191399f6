"""A table's name or ARN names the table; anything else is refused in AWS's words."""

from __future__ import annotations

import pytest

from dstore.api.dynamodb.errors import AwsError
from dstore.api.dynamodb.table_names import name_of, table_arn

FORMAT = "Valid ARN format is 'arn:<awsPartition>"


@pytest.mark.parametrize(
    "given",
    [
        "abc",
        "a" * 255,
        "A.b-c_9",
        table_arn("eu-west-1", "abc"),
        table_arn("no region", "a.b-c_9"),
        "arn:aws-cn:dynamodb:cn-north-1:000000000000:table/abc",
    ],
)
def test_names(given: str) -> None:
    """The name stands alone or ends the ARN; the region is free text."""
    assert given.endswith(name_of(given))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("ab", "at least 3 characters"),
        ("a" * 256, "at most 255 characters"),
        ("abc;", "regular expression pattern"),
        ("arn:", FORMAT),
        ("arn:aws:dynamodb:eu-west-1:000000000000:", FORMAT),
        ("arn:aws:dynamodb:eu-west-1:000000000000:table/abc/index/gsi", FORMAT),
        ("arn:aws:dynamodb:eu-west-1:000000000000:table/a;c", FORMAT),
        ("arn:aws:dynamodb:eu-west-1:000000000000:table/ab", "Table name of ARN must have length"),
        ("arn:aws:dynamodb:eu-west-1:000000000000:stream/abc", "Invalid resource type"),
        ("arn:aws:s3:eu-west-1:000000000000:table/abc", "Invalid resource type"),
    ],
)
def test_no_names(given: str, text: str) -> None:
    """What can be no table's name is a ValidationException, never a table that is not there."""
    with pytest.raises(AwsError) as caught:
        name_of(given)
    assert caught.value.name == "ValidationException"
    assert text in str(caught.value.text)


def test_another_account() -> None:
    """Another account's table is not told from one that is not there."""
    with pytest.raises(AwsError) as caught:
        name_of("arn:aws:dynamodb:eu-west-1:123456789012:table/abc")
    assert caught.value.name == "AccessDeniedException"
