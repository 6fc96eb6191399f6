"""DescribeTable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.members import TABLE_NAME, request
from dstore.api.dynamodb.table_description import described, status_of
from dstore.api.dynamodb.table_names import described_table

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    table = described_table(call, call.members["TableName"])
    return {"Table": described(call, table, status_of(call, table))}


ACTION: Final = Action(name="DescribeTable", shape=request(TABLE_NAME.first()), run=_run)
