"""DescribeLimits; every test names the public source of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.support.dynamodb import DynamoDB

OP: Final = "DescribeLimits"


def test_an_empty_request_is_answered(dynamodb: DynamoDB) -> None:
    """The request has no members (AWS API page)."""
    assert dynamodb.call(OP, {}).status == 200
