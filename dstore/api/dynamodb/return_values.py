"""What an answer to a write says about the item: ReturnValues, and the collection it is in."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.errors import validation
from dstore.expressions import Projection
from dstore.model.plain_numbers import plain
from dstore.service.items import whole_item
from dstore.storage.range_writer import Put

if TYPE_CHECKING:
    from dstore.model.values import Item
    from dstore.service.items import ItemKey
    from dstore.storage.range_writer import Applied

_SIZE_RANGE_GB: Final = (0.0, 1.0)


class ReturnValues(StrEnum):
    """The values of ReturnValues."""

    NONE = "NONE"
    ALL_OLD = "ALL_OLD"
    UPDATED_OLD = "UPDATED_OLD"
    ALL_NEW = "ALL_NEW"
    UPDATED_NEW = "UPDATED_NEW"


def check_old_only(mode: str | None) -> None:
    """Refuse what PutItem and DeleteItem cannot return. Raises: AwsError."""
    if mode not in {None, ReturnValues.NONE, ReturnValues.ALL_OLD}:
        raise validation("ReturnValues can only be ALL_OLD or NONE")


def returned(mode: str | None, applied: Applied, key: ItemKey) -> Item | None:
    """Give the Attributes of an answer, None if it has none.

    What was touched comes back as a projection of the touched paths, so that of a list only the
    elements at their numbers show; nothing of an item that is not there, and no empty map.
    Source: Alternator's suite, test_returnvalues.py, which runs against AWS.
    """
    if mode is None or mode == ReturnValues.NONE:
        return None
    previous, outcome = applied.previous, applied.outcome
    is_old = mode in {ReturnValues.ALL_OLD, ReturnValues.UPDATED_OLD}
    if is_old:
        item = None if previous is None else whole_item(previous, key.attributes)
    else:
        item = _new_item(outcome, key) if isinstance(outcome, Put) else None
    if item is None or mode in {ReturnValues.ALL_OLD, ReturnValues.ALL_NEW}:
        return item
    touched = outcome.touched if isinstance(outcome, Put) else ()
    return Projection(touched).apply(item) or None


def collection_metrics(key: ItemKey, mode: str | None) -> dict[str, Any] | None:
    """Make ItemCollectionMetrics; None if not asked for, or if the table has no local index.

    A collection is said to be below 1 GB: nothing counts it, and nothing bounds it.
    """
    definition = key.table.definition
    if mode != "SIZE" or not definition.settings.local_indexes:
        return None
    name = definition.partition.name
    return {
        "ItemCollectionKey": {name: key.attributes[name]},
        "SizeEstimateRangeGB": _SIZE_RANGE_GB,
    }


def _new_item(outcome: Put, key: ItemKey) -> Item:
    """Put the new item together, as `whole_item` would once it is stored."""
    item = key.attributes.copy()
    for name, attribute in outcome.item.items():
        item[name] = plain(attribute)
    return item
