"""UpdateTable. What it asks for is durable when it answers, and done but for indexes.

A global index that it adds is filled, and one that it removes is taken from nodes, from then on.
The answer says UPDATING where AWS's does, and shows provisioned throughput as it was before,
with the time of the change: AWS answers before the change is done.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.action import Action
from dstore.api.dynamodb.index_updates import check_idle, one_at_a_time
from dstore.api.dynamodb.members import TABLE_NAME, request
from dstore.api.dynamodb.table_changes import changed_settings
from dstore.api.dynamodb.table_description import TableStatus, updated
from dstore.api.dynamodb.table_members import (
    ATTRIBUTE_DEFINITIONS,
    BILLING_MODE,
    GLOBAL_INDEX_UPDATES,
    LATER_MEMBERS,
    THROUGHPUT,
    UPDATE_ONLY,
)
from dstore.api.dynamodb.table_names import described_table, name_of, no_such_table
from dstore.api.dynamodb.update_checks import check_update, index_actions
from dstore.base.threads import in_thread_if
from dstore.model.errors import RefusalKind, Refused

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Members, Reply
    from dstore.model.table_settings import TableSettings
    from dstore.model.tables import TableDefinition

_SLOW: Final = ("ProvisionedThroughput", "BillingMode", "SSESpecification", "TableClass")


async def _run(call: Call) -> Reply:
    members = call.members
    name = name_of(members["TableName"])
    await in_thread_if(call.is_large, partial(check_update, members))
    table = described_table(call, name)
    check_idle(members, table.definition, call.cases.directory.indexes(table))
    before = table.definition

    def change(definition: TableDefinition, now_us: int) -> TableSettings:
        nonlocal before
        before = definition  # another change may have come in between
        return changed_settings(members, definition, now_us=now_us)

    try:
        after = await call.cases.tables.update(call.tenant, name, change, by=call.principal)
    except Refused as refused:
        if refused.kind is RefusalKind.NOT_FOUND:  # since it was found here
            raise no_such_table(name) from None
        if refused.kind is RefusalKind.CONFLICT:  # the same: an index has begun to come or go
            raise one_at_a_time() from None
        raise
    return {"TableDescription": updated(call, before, after, status=_status(members))}


def _status(members: Members) -> TableStatus:
    """Tell whether AWS would still be at it."""
    updates: list[dict[str, Any]] = members.get("GlobalSecondaryIndexUpdates", [])
    is_structural = index_actions(updates, "Create") or index_actions(updates, "Delete")
    if is_structural or any(name in members for name in _SLOW):
        return TableStatus.UPDATING
    return TableStatus.ACTIVE


ACTION: Final = Action(
    name="UpdateTable",
    shape=request(
        TABLE_NAME.first(),
        THROUGHPUT,
        BILLING_MODE,
        GLOBAL_INDEX_UPDATES,
        ATTRIBUTE_DEFINITIONS.optional(),
        *LATER_MEMBERS,
        *UPDATE_ONLY,
    ),
    run=_run,
)
