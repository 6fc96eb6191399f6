"""DescribeLimits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.dynamodb import DynamoDB

LIMITS = (
    "AccountMaxReadCapacityUnits",
    "AccountMaxWriteCapacityUnits",
    "TableMaxReadCapacityUnits",
    "TableMaxWriteCapacityUnits",
)


@pytest.mark.parametrize("request_", [{}, {"Unknown": 1}, {"Limit": "x"}], ids=["none", "a", "b"])
def test_four_limits(dynamodb: DynamoDB, request_: dict[str, object]) -> None:
    """Four numbers and nothing else, an account's no smaller than a table's (AWS API page)."""
    answer = dynamodb.do("DescribeLimits", request_)
    assert sorted(answer) == sorted(LIMITS)
    assert all(type(answer[name]) is int and answer[name] > 0 for name in LIMITS)
    assert answer["AccountMaxReadCapacityUnits"] >= answer["TableMaxReadCapacityUnits"]
    assert answer["AccountMaxWriteCapacityUnits"] >= answer["TableMaxWriteCapacityUnits"]
