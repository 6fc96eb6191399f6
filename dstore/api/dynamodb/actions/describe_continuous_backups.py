"""DescribeContinuousBackups: no table has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.errors import AwsError
from dstore.api.dynamodb.members import TABLE_NAME, request
from dstore.api.dynamodb.table_names import name_of

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    name = name_of(call.members["TableName"])
    if name not in call.known_tenant().tables:
        raise AwsError("TableNotFoundException", f"Table not found: {name}")
    return {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "DISABLED",
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
        }
    }


ACTION: Final = Action(
    name="DescribeContinuousBackups", shape=request(TABLE_NAME.first()), run=_run
)
