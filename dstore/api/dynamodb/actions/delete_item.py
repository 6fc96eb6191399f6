"""DeleteItem: remove an item; one that is not there is removed all the same."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb import members as of
from dstore.api.dynamodb.action import Action, Call
from dstore.api.dynamodb.attributes import check_item
from dstore.api.dynamodb.expression_members import ExpressionMembers, read_guard
from dstore.api.dynamodb.index_key_values import check_paths
from dstore.api.dynamodb.item_answers import write_item
from dstore.api.dynamodb.item_keys import key_of_map
from dstore.api.dynamodb.return_values import check_old_only
from dstore.api.dynamodb.table_names import table_of
from dstore.api.dynamodb.wordings import enveloped, of_write
from dstore.base.threads import in_thread_if
from dstore.service.item_writes import DeleteItem, delete

if TYPE_CHECKING:
    from dstore.model.values import Item
    from dstore.service.item_writes import Guard
    from dstore.service.items import ItemKey

_EXPRESSIONS: Final = ExpressionMembers(
    expressions=("ConditionExpression",),
    former=("Expected", "ConditionalOperator"),
    tells_which=False,
)


async def run(call: Call) -> dict[str, Any]:
    """Delete the item and answer."""
    key, mutation = await in_thread_if(call.is_large, partial(_plan, call))
    return await write_item(call, key, mutation)


def _plan(call: Call) -> tuple[ItemKey, DeleteItem]:
    """Check the request in AWS's order, and make the write that it asks for."""
    given, guard = enveloped(_read, call)
    table = table_of(call, call.members["TableName"])
    key = key_of_map(given, table)
    if guard is not None:
        check_paths(guard.condition, table.definition)
    return key, delete(key=key, guard=guard)


def _read(call: Call) -> tuple[Item, Guard | None]:
    """Check what the request alone tells."""
    members = call.members
    _EXPRESSIONS.check_together(members)
    given = check_item(members["Key"])
    check_old_only(members.get("ReturnValues"))
    return given, read_guard(members)


ACTION: Final = Action(
    name="DeleteItem",
    shape=of.request(
        of.RETURN_CONSUMED_CAPACITY,
        of.TABLE_NAME,
        of.RETURN_VALUES,
        of.RETURN_ITEM_COLLECTION_METRICS,
        of.KEY,
        of.CONDITIONAL_OPERATOR,
        of.EXPECTED,
        of.CONDITION_EXPRESSION,
        of.EXPRESSION_ATTRIBUTE_VALUES,
        of.EXPRESSION_ATTRIBUTE_NAMES,
        of.RETURN_VALUES_ON_CONDITION_CHECK_FAILURE,
        tell=of_write,
    ),
    run=run,
)
