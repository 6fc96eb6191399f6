"""GetItem: read an item, or a projection of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb import members as of
from dstore.api.dynamodb.action import Action, Call
from dstore.api.dynamodb.attributes import check_item
from dstore.api.dynamodb.capacity import consumed, is_wanted, read_units
from dstore.api.dynamodb.expression_members import ExpressionMembers, read_projection
from dstore.api.dynamodb.index_key_values import check_paths
from dstore.api.dynamodb.item_keys import key_of_map
from dstore.api.dynamodb.table_names import table_of
from dstore.api.dynamodb.wordings import newly
from dstore.base.threads import in_thread_if
from dstore.model.values import item_bytes
from dstore.service.read_answers import COUNTED_ITEM, WHOLE_ITEM, Form, ReadAsk

if TYPE_CHECKING:
    from dstore.service.items import ItemKey
    from dstore.service.read_answers import ReadAnswer

_EXPRESSIONS: Final = ExpressionMembers(
    expressions=("ProjectionExpression",), former=("AttributesToGet",)
)


async def run(call: Call) -> dict[str, Any]:
    """Read and answer."""
    key, ask = await in_thread_if(call.is_large, partial(newly, _plan, call))
    is_eventual = not call.members.get("ConsistentRead")
    return _answer(call, key, await call.cases.items.read(key, ask, is_eventual=is_eventual))


def _plan(call: Call) -> tuple[ItemKey, ReadAsk]:
    """Check the request in AWS's order."""
    members = call.members
    _EXPRESSIONS.check_together(members)
    given = check_item(members["Key"])
    projection = read_projection(members)
    table = table_of(call, members["TableName"])
    key = key_of_map(given, table)
    is_counted = is_wanted(members.get("ReturnConsumedCapacity"))
    if projection is None:
        return key, COUNTED_ITEM if is_counted else WHOLE_ITEM
    check_paths(projection, table.definition)
    return key, ReadAsk(form=Form.ITEM, projection=projection, is_counted=is_counted)


def _answer(call: Call, key: ItemKey, found: ReadAnswer | None) -> dict[str, Any]:
    members = call.members
    answer: dict[str, Any] = {}
    if found is not None:
        answer["Item"] = found.body
    mode = members.get("ReturnConsumedCapacity")
    if is_wanted(mode):
        read_bytes = 0 if found is None else found.item_bytes + item_bytes(key.attributes)
        units = read_units(read_bytes, consistent=members.get("ConsistentRead") or False)
        answer["ConsumedCapacity"] = consumed(members["TableName"], units=units, mode=mode)
    return answer


ACTION: Final = Action(
    name="GetItem",
    shape=of.request(
        of.RETURN_CONSUMED_CAPACITY,
        of.ATTRIBUTES_TO_GET,
        of.TABLE_NAME,
        of.KEY,
        of.CONSISTENT_READ,
        of.PROJECTION_EXPRESSION,
        of.EXPRESSION_ATTRIBUTE_NAMES,
    ),
    run=run,
)
