"""DescribeTimeToLive: by which attribute items expire, and whether all ranges do so by now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.members import TABLE_NAME, request
from dstore.api.dynamodb.table_names import described_table

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    table = described_table(call, call.members["TableName"])
    found = table.definition.settings.time_to_live
    if found is None:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    is_settled = await call.cases.tables.is_expiry_settled(table)
    if found.is_enabled:
        status = "ENABLED" if is_settled else "ENABLING"
    elif is_settled:  # what the attribute was is told no more
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    else:
        status = "DISABLING"
    return {"TimeToLiveDescription": {"TimeToLiveStatus": status, "AttributeName": found.attribute}}


ACTION: Final = Action(name="DescribeTimeToLive", shape=request(TABLE_NAME.first()), run=_run)
