"""BatchWriteItem: put and delete up to 25 items of any tables, each by itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.api.dynamodb import members as of
from dstore.api.dynamodb.action import Action, Call
from dstore.api.dynamodb.attributes import SEVERAL, check_item
from dstore.api.dynamodb.capacity import is_wanted
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.index_key_values import check_index_keys
from dstore.api.dynamodb.item_answers import check_put_size, consumed_by_writes
from dstore.api.dynamodb.item_keys import DUPLICATES, key_of_batched_item, key_of_map
from dstore.api.dynamodb.return_values import ask_of, collection_metrics
from dstore.api.dynamodb.shapes import ListOf, MapOf
from dstore.api.dynamodb.table_names import table_of
from dstore.api.dynamodb.wordings import NOT_EMPTY, out_of_bounds
from dstore.base.limits import BATCH_WRITES_MAX
from dstore.base.threads import in_thread_if
from dstore.model.errors import Unavailable
from dstore.model.values import Item
from dstore.service.batches import BatchedWrite, write_batch
from dstore.service.item_writes import delete, put
from dstore.service.write_answers import NOTHING_ASKED, WriteAsk

if TYPE_CHECKING:
    from dstore.model.ranges import Table
    from dstore.model.tables import TableId
    from dstore.service.write_answers import Written
    from dstore.storage.requests import RequestName


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One write, and the request's words for it."""

    name: str
    given: dict[str, Any]
    write: BatchedWrite


async def run(call: Call) -> dict[str, Any]:
    """Write and answer; what certainly was not written comes back to be sent again."""
    asked = await in_thread_if(call.is_large, partial(_plan, call))
    answers = await write_batch(call.cases.items, [each.write for each in asked])
    unprocessed: dict[str, list[dict[str, Any]]] = {}
    done: list[tuple[_Asked, Written]] = []
    for each, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Unavailable):
            unprocessed.setdefault(each.name, []).append(each.given)
        else:
            done.append((each, answer))
    return {"UnprocessedItems": unprocessed, **_told(call, done)}


def _told(call: Call, done: list[tuple[_Asked, Written]]) -> dict[str, Any]:
    """Tell what was consumed, and of which collections, as far as the request asks."""
    told: dict[str, Any] = {}
    mode = call.members.get("ReturnConsumedCapacity")
    if is_wanted(mode):
        by_table: dict[str, list[tuple[_Asked, Written]]] = {}
        for each, answer in done:
            by_table.setdefault(each.name, []).append((each, answer))
        told["ConsumedCapacity"] = [
            consumed_by_writes(
                name,
                written[0][0].write.key.table.definition,
                [answer for _, answer in written],
                mode=mode,
            )
            for name, written in by_table.items()
        ]
    wanted = call.members.get("ReturnItemCollectionMetrics")
    if wanted is not None:
        told |= _measured(done, wanted)
    return told


def _measured(done: list[tuple[_Asked, Written]], mode: str) -> dict[str, Any]:
    """Make ItemCollectionMetrics, each collection once, as it is behind the last of its writes."""
    largest: dict[tuple[str, bytes], Any] = {}
    for each, answer in done:
        of_item = collection_metrics(each.write.key, mode, answer)
        if of_item is not None:
            largest[each.name, msgspec.json.encode(of_item["ItemCollectionKey"])] = of_item
    metrics: dict[str, list[dict[str, Any]]] = {}
    for (name, _), of_item in largest.items():
        metrics.setdefault(name, []).append(of_item)
    return {"ItemCollectionMetrics": metrics} if metrics else {}


def _plan(call: Call) -> list[_Asked]:
    """Check the request in AWS's order: all values by themselves, then against their tables."""
    requested: dict[str, list[dict[str, Any]]] = call.members["RequestItems"]
    if not requested:
        raise out_of_bounds("RequestItems", NOT_EMPTY)
    checked: dict[str, list[tuple[bool, Item]]] = {}
    for name, block in requested.items():
        if any(len(each) != 1 for each in block):
            raise validation(SEVERAL)  # of a WriteRequest too
        checked[name] = [_values(call, each) for each in block]
    count = sum(map(len, checked.values()))
    if count > BATCH_WRITES_MAX:
        raise validation("Too many items requested for the BatchWriteItem call")
    ask: WriteAsk | None = ask_of(call.members)
    ask = None if ask is NOTHING_ASKED else ask
    asked: list[_Asked] = []
    seen: set[tuple[TableId, bytes]] = set()  # a table may come by its name and by its ARN
    for name, values in checked.items():
        table = table_of(call, name)
        for given, (is_put, item) in zip(requested[name], values, strict=True):
            write = _write(
                table,
                item,
                is_put=is_put,
                size_bytes=call.body_bytes // count,
                ask=ask,
                request=call.request_name(len(asked)),
            )
            item_name = (table.definition.table_id, write.key.rid_id)
            if item_name in seen:
                raise validation(DUPLICATES)
            seen.add(item_name)
            asked.append(_Asked(name=name, given=given, write=write))
    return asked


def _values(call: Call, request: dict[str, Any]) -> tuple[bool, Item]:
    """Check the values of one write. Returns: whether it is a put, and its item or key."""
    if "PutRequest" in request:
        item = check_item(request["PutRequest"]["Item"])
        check_put_size(item, call)
        return True, item
    return False, check_item(request["DeleteRequest"]["Key"])


def _write(
    table: Table,
    item: Item,
    *,
    is_put: bool,
    size_bytes: int,
    ask: WriteAsk | None,
    request: RequestName | None,
) -> BatchedWrite:
    """Hold the values against their table, and make the write."""
    if not is_put:
        key = key_of_map(item, table)
        apply = delete(key=key, guard=None)
        return BatchedWrite(key=key, apply=apply, size_bytes=size_bytes, ask=ask, request=request)
    key = key_of_batched_item(item, table)
    check_index_keys(item, table.definition)
    apply_put = put(item, key=key, guard=None)
    return BatchedWrite(key=key, apply=apply_put, size_bytes=size_bytes, ask=ask, request=request)


_WRITE_REQUEST: Final = of.structure(
    "WriteRequest",
    of.Member("PutRequest", of.structure("PutRequest", of.ITEM)),
    of.Member("DeleteRequest", of.structure("DeleteRequest", of.KEY)),
)

ACTION: Final = Action(
    name="BatchWriteItem",
    shape=of.request(
        of.RETURN_CONSUMED_CAPACITY,
        of.RETURN_ITEM_COLLECTION_METRICS,
        of.Member(
            "RequestItems",
            MapOf(
                ListOf(_WRITE_REQUEST, min=1, max=BATCH_WRITES_MAX),
                key=of.REQUEST_ITEMS_KEY,
            ),
            required=True,
        ),
    ),
    run=run,
)
