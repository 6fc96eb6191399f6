"""What an answer to a write says about the item: ReturnValues, and the collection it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.capacity import is_wanted
from dstore.api.dynamodb.errors import validation
from dstore.service.write_answers import NOTHING_ASKED, ReturnValues, WriteAsk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.service.items import ItemKey

_SIZE_RANGE_GB: Final = (0.0, 1.0)


def check_old_only(mode: str | None) -> None:
    """Refuse what PutItem and DeleteItem cannot return. Raises: AwsError."""
    if mode not in {None, ReturnValues.NONE, ReturnValues.ALL_OLD}:
        raise validation("ReturnValues can only be ALL_OLD or NONE")


def ask_of(members: Mapping[str, Any]) -> WriteAsk:
    """Tell what a request wants to hear of its write."""
    returns = members.get("ReturnValues")
    is_counted = is_wanted(members.get("ReturnConsumedCapacity"))
    if not is_counted and (returns is None or returns == ReturnValues.NONE):
        return NOTHING_ASKED
    return WriteAsk(ReturnValues(returns or ReturnValues.NONE), is_counted)


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
