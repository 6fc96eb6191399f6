"""How items are read for an answer, and what answers to writes have in common."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dstore.api.dynamodb.capacity import consumed, write_units
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.index_key_values import misfit_error
from dstore.api.dynamodb.return_values import ask_of, collection_metrics
from dstore.base.limits import ITEM_BYTES_MAX
from dstore.base.threads import in_thread_if
from dstore.model.values import Item, item_bytes
from dstore.service.item_writes import ItemMisfit
from dstore.service.items import is_large
from dstore.service.write_answers import NOTHING_ASKED, Written, written

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call
    from dstore.service.items import ItemKey
    from dstore.service.mutations import ItemMutation
    from dstore.service.read_answers import ReadAnswer
    from dstore.service.write_answers import WriteAsk
    from dstore.storage.entries import Entry
    from dstore.storage.range_writer import Applied


def entry_bytes(entry: Entry | ReadAnswer | None, key_bytes: int) -> int:
    """Count a stored item as DynamoDB does, its key included; 0 if there is none."""
    return 0 if entry is None else entry.item_bytes + key_bytes


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
    ask = ask_of(call.members)
    try:
        applied = await call.cases.items.write(key, mutation, body_bytes=call.body_bytes, ask=ask)
    except ItemMisfit as misfit:
        raise misfit_error(misfit) from None
    is_heavy = call.is_large or touches_large(applied)
    return await in_thread_if(is_heavy, partial(_answer, call, key, ask=ask, applied=applied))


def touches_large(applied: Applied | Written) -> bool:
    """Tell whether a write met an item that takes long to count or to show."""
    if isinstance(applied, Written):
        return False  # it was counted and shown where it is
    return applied.previous is not None and is_large((applied.previous,))


def _answer(
    call: Call, key: ItemKey, *, ask: WriteAsk, applied: Applied | Written
) -> dict[str, Any]:
    members = call.members
    answer: dict[str, Any] = {}
    if ask is not NOTHING_ASKED:
        done = written(applied, ask, key=key.attributes)
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
