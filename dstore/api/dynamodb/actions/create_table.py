"""CreateTable. The table serves at once; the answer says CREATING all the same, as AWS's does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.members import TABLE_NAME, request
from dstore.api.dynamodb.table_checks import declared_table
from dstore.api.dynamodb.table_description import created
from dstore.api.dynamodb.table_members import (
    ATTRIBUTE_DEFINITIONS,
    BILLING_MODE,
    CREATE_ONLY,
    KEY_SCHEMA,
    LATER_MEMBERS,
    THROUGHPUT,
)
from dstore.base.threads import in_thread_if

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    declared = await in_thread_if(call.is_large, lambda: declared_table(call.members))
    table = await call.cases.tables.create(call.tenant, declared, by=call.principal)
    return {"TableDescription": created(call, table)}


ACTION: Final = Action(
    name="CreateTable",
    shape=request(
        ATTRIBUTE_DEFINITIONS,
        TABLE_NAME.first(),
        BILLING_MODE,
        THROUGHPUT,
        KEY_SCHEMA,
        *CREATE_ONLY,
        *LATER_MEMBERS,
    ),
    run=_run,
)
