"""Operations of the DynamoDB API called without a door: shape checked, then run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dstore.api.dynamodb.action import Call
from dstore.api.dynamodb.actions import ACTIONS
from dstore.api.dynamodb.shapes import check
from dstore.service.access import Principal

if TYPE_CHECKING:
    from dstore.service.use_cases import UseCases

TENANT = "acme"
REGION = "eu-west-1"


async def called(node: UseCases, operation: str, /, **members: Any) -> Any:
    """Run an operation for `TENANT`. Returns: the decoded answer. Raises: as the operation does."""
    action = ACTIONS[operation]
    given = msgspec.json.decode(msgspec.json.encode(members))
    check(action.shape, given)
    reply = await action.run(
        Call(
            cases=node,
            principal=Principal(tenant=TENANT, credential="AKIA"),
            tenant=TENANT,
            region=REGION,
            members=given,
        )
    )
    return msgspec.json.decode(reply if isinstance(reply, bytes) else msgspec.json.encode(reply))
