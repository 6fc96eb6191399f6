"""UpdateItem: change an item's attributes; one that is not there begins with its key."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dstore.api.dynamodb import members as of
from dstore.api.dynamodb.action import Action, Call
from dstore.api.dynamodb.attributes import check_item
from dstore.api.dynamodb.expression_members import (
    ExpressionMembers,
    condition_of,
    expressions_of,
    guard_of,
    read_sole_update,
    update_of,
)
from dstore.api.dynamodb.former_members import read_expected, read_updates
from dstore.api.dynamodb.index_key_values import (
    check_assigned_types,
    check_index_keys,
    check_paths,
)
from dstore.api.dynamodb.item_answers import write_item
from dstore.api.dynamodb.item_keys import check_new_key, key_of_map
from dstore.api.dynamodb.table_names import table_of
from dstore.api.dynamodb.wordings import enveloped, of_update
from dstore.base.threads import in_thread_if
from dstore.service.item_writes import UpdateItem, update
from dstore.service.items import key_names

if TYPE_CHECKING:
    from dstore.expressions import Condition, Update
    from dstore.model.tables import TableDefinition
    from dstore.model.values import Item
    from dstore.service.items import ItemKey

_EXPRESSIONS: Final = ExpressionMembers(
    expressions=("UpdateExpression", "ConditionExpression"),
    former=("AttributeUpdates", "Expected", "ConditionalOperator"),
    tells_which=False,
)


class _Asked(NamedTuple):
    """A request that is right by itself: with expressions, what they have replaced, or neither."""

    key: Item
    change: Update | None
    former_change: Update | None
    condition: Condition | None


async def run(call: Call) -> dict[str, Any]:
    """Update the item and answer."""
    key, mutation = await in_thread_if(call.is_large, partial(_plan, call))
    return await write_item(call, key, mutation)


def _plan(call: Call) -> tuple[ItemKey, UpdateItem]:
    """Check the request in AWS's order, and make the write that it asks for."""
    asked = enveloped(_read, call)
    change, condition = asked.change or asked.former_change, asked.condition
    table = table_of(call, call.members["TableName"])
    key = key_of_map(asked.key, table)
    check_new_key(key.attributes, table.definition)
    if change is not None:
        _check_targets(change, table.definition)
    if asked.former_change is not None:
        check_index_keys(asked.former_change.constants(), table.definition)
    if condition is not None:
        check_paths(condition, table.definition)
    return key, update(change, key=key, guard=guard_of(condition, call.members))


def _read(call: Call) -> _Asked:
    """Check what the request alone tells."""
    members = call.members
    _EXPRESSIONS.check_together(members)
    key = check_item(members["Key"])
    change = read_sole_update(members)
    if change is not None:
        return _Asked(key, change, None, None)
    former_change, expected = read_updates(members), read_expected(members)
    expressions = expressions_of(members)
    change = update_of(expressions, members)
    condition = condition_of(expressions, members) or expected
    expressions.finish()
    return _Asked(key, change, former_change, condition)


def _check_targets(change: Update, definition: TableDefinition) -> None:
    """Refuse an update of keys, of indexes' keys to wrong types, and paths into either."""
    change.check_keys(key_names(definition))
    check_assigned_types(change, definition)
    check_paths(change, definition)


ACTION: Final = Action(
    name="UpdateItem",
    shape=of.request(
        of.RETURN_CONSUMED_CAPACITY,
        of.TABLE_NAME,
        of.RETURN_ITEM_COLLECTION_METRICS,
        of.RETURN_VALUES,
        of.KEY,
        of.CONDITIONAL_OPERATOR,
        of.EXPECTED,
        of.ATTRIBUTE_UPDATES,
        of.CONDITION_EXPRESSION,
        of.UPDATE_EXPRESSION,
        of.EXPRESSION_ATTRIBUTE_VALUES,
        of.EXPRESSION_ATTRIBUTE_NAMES,
        of.RETURN_VALUES_ON_CONDITION_CHECK_FAILURE,
        tell=of_update,
    ),
    run=run,
)
