"""What an answer to a write says about the item: ReturnValues, and the collection it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.capacity import is_wanted
from dstore.api.dynamodb.errors import validation
from dstore.base.limits import MIB
from dstore.service.write_answers import NOTHING_ASKED, ReturnValues, WriteAsk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.service.items import ItemKey
    from dstore.service.write_answers import Written

_SIZE: Final = "SIZE"
_GB_BYTES: Final = 1_024 * MIB


def check_old_only(mode: str | None) -> None:
    """Refuse what PutItem and DeleteItem cannot return. Raises: AwsError."""
    if mode not in {None, ReturnValues.NONE, ReturnValues.ALL_OLD}:
        raise validation("ReturnValues can only be ALL_OLD or NONE")


def ask_of(members: Mapping[str, Any]) -> WriteAsk:
    """Tell what a request wants to hear of its write."""
    returns = members.get("ReturnValues")
    is_counted = is_wanted(members.get("ReturnConsumedCapacity"))
    is_measured = members.get("ReturnItemCollectionMetrics") == _SIZE
    if not (is_counted or is_measured) and (returns is None or returns == ReturnValues.NONE):
        return NOTHING_ASKED
    return WriteAsk(ReturnValues(returns or ReturnValues.NONE), is_counted, is_measured)


def collection_metrics(key: ItemKey, mode: str | None, done: Written) -> dict[str, Any] | None:
    """Make ItemCollectionMetrics; None if not asked for, or if the table has no local index.

    The size is told as the whole gigabytes between which it is.
    Source: paritysuite/dynamodb-conformance, tests/tier1/putItem/itemCollectionMetrics.test.ts.
    """
    definition = key.table.definition
    if mode != _SIZE or not definition.settings.local_indexes:
        return None
    name, size_gb = definition.partition.name, done.collection_bytes // _GB_BYTES
    return {
        "ItemCollectionKey": {name: key.attributes[name]},
        "SizeEstimateRangeGB": (float(size_gb), float(size_gb + 1)),
    }
