"""Reading global indexes on a node without control, which makes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.api.dynamodb.item_tables import INDEXED, node_fixture, validation

if TYPE_CHECKING:
    from dstore.service.node import Node

__all__ = ["node_fixture"]


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        (
            "Query",
            {
                "KeyConditionExpression": "gk = :g",
                "ExpressionAttributeValues": {":g": {"B": "AA=="}},
            },
        ),
        ("Scan", {}),
    ],
)
async def test_a_node_alone_fills_no_global_index(
    node: Node, operation: str, members: dict[str, Any]
) -> None:
    """It is refused as AWS refuses one that is being filled."""
    request = {"TableName": INDEXED, "IndexName": "by_gk", **members}
    text = await validation(node, operation, **request)
    assert text == "Cannot read from backfilling global secondary index: by_gk"
