"""DescribeEndpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.support.dynamodb import DynamoDB


def test_it_names_itself(dynamodb: DynamoDB) -> None:
    """The endpoint asked is the one to use (Alternator test_describe_endpoints.py)."""
    (endpoint,) = dynamodb.do("DescribeEndpoints", {})["Endpoints"]
    assert endpoint.keys() == {"Address", "CachePeriodInMinutes"}
    assert endpoint["Address"] == urlsplit(dynamodb.endpoint.url).netloc
    assert endpoint["CachePeriodInMinutes"] > 0


def test_unknown_members_are_ignored(dynamodb: DynamoDB) -> None:
    """It takes no members and minds none (botocore's model: an empty input)."""
    assert "Endpoints" in dynamodb.do("DescribeEndpoints", {"Anything": [1]})
