"""What answers to writes of items have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dstore.api.dynamodb.capacity import consumed, write_units
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.index_key_values import misfit_error
from dstore.api.dynamodb.return_values import ask_of, collection_metrics
from dstore.base.limits import ITEM_BYTES_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.model.values import Item, item_bytes
from dstore.service.item_writes import ItemMisfit, Misfit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstore.api.dynamodb.action import Call
    from dstore.model.tables import TableDefinition
    from dstore.service.items import ItemKey
    from dstore.service.mutations import ItemMutation
    from dstore.service.write_answers import Written


def check_put_size(item: Item, call: Call) -> None:
    """Refuse an item to be put of more than 400 KB. Raises: AwsError."""
    if 0 < call.body_bytes <= ITEM_BYTES_MAX:
        return  # JSON spells every value with more bytes than it counts here
    if item_bytes(item) > ITEM_BYTES_MAX:
        raise validation("Item size has exceeded the maximum allowed size", is_bare=True)


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
    except Refused as refused:
        if refused.kind is not RefusalKind.TOO_LARGE or call.action != "UpdateItem":
            raise
        raise misfit_error(ItemMisfit(Misfit.TOO_LARGE)) from None  # with its indexes' entries
    answer: dict[str, Any] = {}
    if done.attributes is not None:
        answer["Attributes"] = done.attributes
    if ask.is_counted:
        answer["ConsumedCapacity"] = consumed_by_writes(
            members["TableName"],
            key.table.definition,
            [done],
            mode=members["ReturnConsumedCapacity"],
        )
    metrics = collection_metrics(key, members.get("ReturnItemCollectionMetrics"), done)
    if metrics is not None:
        answer["ItemCollectionMetrics"] = metrics
    return answer


def consumed_by_writes(
    table_name: str, definition: TableDefinition, done: Iterable[Written], *, mode: str | None
) -> dict[str, Any] | None:
    """Make the ConsumedCapacity of writes of one table, whose sizes were asked for.

    The table is charged for the larger one of an item's sizes before and after, each index for what
    changes in it.
    """
    units = 0.0
    by_index: dict[str, float] = {}
    for each in done:
        units += write_units(max(each.before_bytes, each.after_bytes))
        for name, count in each.index_units.items():
            by_index[name] = by_index.get(name, 0.0) + count
    local = {index.name for index in definition.settings.local_indexes}
    return consumed(
        table_name,
        units=units,
        mode=mode,
        local={name: each for name, each in by_index.items() if name in local},
        other={name: each for name, each in by_index.items() if name not in local},
    )
