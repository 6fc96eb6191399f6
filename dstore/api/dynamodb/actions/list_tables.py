"""ListTables: the tenant's tables by name, in the order of their characters' codes.

Tables made through v1 are among them.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.members import NAME, Member, request
from dstore.api.dynamodb.shapes import Integer
from dstore.base.limits import LIST_TABLES_MAX

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    names = call.known_tenant().table_names
    start = call.members.get("ExclusiveStartTableName")
    first = 0 if start is None else bisect_right(names, start)
    end = first + call.members.get("Limit", LIST_TABLES_MAX)
    page = {"TableNames": names[first:end]}
    return page if end >= len(names) else page | {"LastEvaluatedTableName": names[end - 1]}


ACTION: Final = Action(
    name="ListTables",
    shape=request(
        Member("Limit", Integer(min=1, max=LIST_TABLES_MAX)),
        Member("ExclusiveStartTableName", NAME),
    ),
    run=_run,
)
