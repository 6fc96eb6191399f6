"""What answers to writes of items have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dstore.api.dynamodb.capacity import consumed, write_units
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.index_key_values import misfit_error
from dstore.api.dynamodb.return_values import ask_of, collection_metrics
from dstore.base.limits import ITEM_BYTES_MAX
from dstore.model.values import Item, item_bytes
from dstore.service.item_writes import ItemMisfit

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call
    from dstore.service.items import ItemKey
    from dstore.service.mutations import ItemMutation
    from dstore.service.write_answers import Written


def check_put_size(item: Item, call: Call) -> None:
    """Refuse an item to be put of more than 400 KB. Raises: AwsError."""
    if 0 < call.body_bytes <= ITEM_BYTES_MAX:
        return  # JSON spells every value with more bytes than it counts here
    if item_bytes(item) > ITEM_BYTES_MAX:
        raise validation("Item size has exceeded the maximum allowed size")


async def write_item(call: Call, key: ItemKey, mutation: ItemMutation) -> dict[str, Any]:
    """Write an item for PutItem, UpdateItem or DeleteItem, and make the answer.

    Raises: AwsError: the update makes an item that cannot be stored; and what `Items.write` does.
    """
    members = call.members
    ask = ask_of(members)
    try:
        done = await call.cases.items.write(
            key, mutation, request=call.request_name(), body_bytes=call.body_bytes, ask=ask
        )
    except ItemMisfit as misfit:
        raise misfit_error(misfit) from None
    answer: dict[str, Any] = {}
    if done.attributes is not None:
        answer["Attributes"] = done.attributes
    if ask.is_counted:
        mode, units = members["ReturnConsumedCapacity"], written_units(done)
        answer["ConsumedCapacity"] = consumed(members["TableName"], units=units, mode=mode)
    metrics = collection_metrics(key, members.get("ReturnItemCollectionMetrics"))
    if metrics is not None:
        answer["ItemCollectionMetrics"] = metrics
    return answer


def written_units(done: Written) -> float:
    """Count what a write costs whose sizes were asked for: the larger of the two."""
    return write_units(max(done.before_bytes, done.after_bytes))
