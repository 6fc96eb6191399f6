"""PutItem: store an item in place of whatever has its key."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb import members as of
from dstore.api.dynamodb.action import Action, Call
from dstore.api.dynamodb.attributes import check_item
from dstore.api.dynamodb.expression_members import ExpressionMembers, read_guard
from dstore.api.dynamodb.index_key_values import check_index_keys, check_paths
from dstore.api.dynamodb.item_answers import check_put_size, write_item
from dstore.api.dynamodb.item_keys import key_of_item
from dstore.api.dynamodb.return_values import check_old_only
from dstore.api.dynamodb.table_names import table_of
from dstore.api.dynamodb.wordings import enveloped, of_write
from dstore.base.threads import in_thread_if
from dstore.service.item_writes import PutItem, put

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
    """Put the item and answer."""
    key, mutation = await in_thread_if(call.is_large, partial(_plan, call))
    return await write_item(call, key, mutation)


def _plan(call: Call) -> tuple[ItemKey, PutItem]:
    """Check the request in AWS's order, and make the write that it asks for."""
    item, guard = enveloped(_read, call)
    table = table_of(call, call.members["TableName"])
    key = key_of_item(item, table)
    check_index_keys(item, table.definition)
    if guard is not None:
        check_paths(guard.condition, table.definition)
    return key, put(item, key=key, guard=guard)


def _read(call: Call) -> tuple[Item, Guard | None]:
    """Check what the request alone tells."""
    members = call.members
    _EXPRESSIONS.check_together(members)
    item = check_item(members["Item"])
    check_old_only(members.get("ReturnValues"))
    check_put_size(item, call)
    return item, read_guard(members)


ACTION: Final = Action(
    name="PutItem",
    shape=of.request(
        of.RETURN_CONSUMED_CAPACITY,
        of.TABLE_NAME,
        of.ITEM,
        of.CONDITIONAL_OPERATOR,
        of.EXPECTED,
        of.RETURN_VALUES,
        of.RETURN_ITEM_COLLECTION_METRICS,
        of.CONDITION_EXPRESSION,
        of.EXPRESSION_ATTRIBUTE_VALUES,
        of.EXPRESSION_ATTRIBUTE_NAMES,
        of.RETURN_VALUES_ON_CONDITION_CHECK_FAILURE,
        tell=of_write,
    ),
    run=run,
)
