"""DeleteTable. The table is gone when it answers; the answer says DELETING all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.members import TABLE_NAME, request
from dstore.api.dynamodb.table_description import deleted
from dstore.api.dynamodb.table_names import described_table, no_such_table
from dstore.model.errors import RefusalKind, Refused

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Reply


async def _run(call: Call) -> Reply:
    table = described_table(call, call.members["TableName"])
    name, answer = table.definition.name, deleted(call, table)
    try:
        await call.cases.tables.delete(call.tenant, name, by=call.principal)
    except Refused as refused:
        if refused.kind is RefusalKind.NOT_FOUND:  # since it was found here
            raise no_such_table(name) from None
        raise validation(refused.message) from None
    return {"TableDescription": answer}


ACTION: Final = Action(name="DeleteTable", shape=request(TABLE_NAME.first()), run=_run)
