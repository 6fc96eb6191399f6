"""AWS's quotas of an account that dStore does not have; see docs/COMPATIBILITY.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.support.nodes import open_in
from tests.unit.api.dynamodb.calling import TENANT, called
from tests.unit.api.dynamodb.table_requests import table

TABLES_QUOTA: Final = 2_500  # DynamoDB developer guide, "Quotas": of an account and region


async def test_more_tables_than_awss_quota(tmp_path: Path) -> None:
    """A tenant that has as many tables as an account may have gets one more."""
    async with open_in(tmp_path) as node:
        tenant, _ = await node.catalog.create_tenant(TENANT)
        await called(node, "CreateTable", **table("p"))
        (made,) = tenant.tables.values()
        for number in range(1, TABLES_QUOTA):
            name = f"other-{number}"
            tenant.tables[name] = replace(made, definition=replace(made.definition, name=name))
        answer = await called(node, "CreateTable", **table("p", TableName="one-more"))
        assert answer["TableDescription"]["TableStatus"] == "CREATING"
        for number in range(1, TABLES_QUOTA):
            del tenant.tables[f"other-{number}"]
