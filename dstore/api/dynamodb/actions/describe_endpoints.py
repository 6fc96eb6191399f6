"""DescribeEndpoints: the endpoint by which the client came, since it serves everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.members import request

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


CACHE_MINUTES: Final = 1_440  # a day, as AWS answers


async def _run(call: Call) -> Reply:
    return {"Endpoints": [{"Address": call.host, "CachePeriodInMinutes": CACHE_MINUTES}]}


ACTION: Final = Action(name="DescribeEndpoints", shape=request(), run=_run)
