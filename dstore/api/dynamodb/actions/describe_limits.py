"""DescribeLimits: the throughput that a request may state.

dStore does not throttle by it; what binds is the same for a table and for all tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.members import request
from dstore.api.dynamodb.table_setting_checks import CAPACITY_UNITS_MAX

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(_call: Call) -> Reply:
    return {
        "AccountMaxReadCapacityUnits": CAPACITY_UNITS_MAX,
        "AccountMaxWriteCapacityUnits": CAPACITY_UNITS_MAX,
        "TableMaxReadCapacityUnits": CAPACITY_UNITS_MAX,
        "TableMaxWriteCapacityUnits": CAPACITY_UNITS_MAX,
    }


ACTION: Final = Action(name="DescribeLimits", shape=request(), run=_run)
