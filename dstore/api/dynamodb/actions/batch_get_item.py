"""BatchGetItem: read up to 100 items of any tables; those that do not fit are to be asked again.

How many tables and keys there may be is told in the words of AWS's newer checks, behind what is
wrong with names and enumerations, which is told in those of the older ones.
Source: paritysuite/dynamodb-conformance, tests/tier3/error-messages/batchGetItem.test.ts and
tests/tier3/validation-ordering/batchOperations.test.ts (October 2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.api.dynamodb import members as of
from dstore.api.dynamodb.action import Action, Call
from dstore.api.dynamodb.attributes import check_item
from dstore.api.dynamodb.capacity import consumed, is_wanted, read_units
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.expression_members import ExpressionMembers, read_projection
from dstore.api.dynamodb.index_key_values import check_paths
from dstore.api.dynamodb.item_keys import DUPLICATES, key_of_map
from dstore.api.dynamodb.shapes import AttributeValue, ListOf, MapOf
from dstore.api.dynamodb.table_names import table_of
from dstore.api.dynamodb.wordings import NOT_EMPTY, newly, out_of_bounds
from dstore.base.limits import BATCH_READ_KEYS_MAX
from dstore.base.threads import in_thread_if
from dstore.service.batches import BatchedRead, ReadItem, read_batch
from dstore.service.read_answers import COUNTED_ITEM, Form, ReadAsk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dstore.expressions import Projection
    from dstore.model.values import Item

_EXPRESSIONS: Final = ExpressionMembers(
    expressions=("ProjectionExpression",), former=("AttributesToGet",)
)
_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the request asks of one table: `given` is its KeysAndAttributes as it came."""

    name: str
    given: Mapping[str, Any]
    reads: Sequence[BatchedRead]


@dataclass(frozen=True, slots=True)
class _Requests(MapOf):
    """The map of tables, which AWS prints as JSON."""

    def pieces(self, value: Any) -> Iterator[str]:
        """Print it whole."""
        yield msgspec.json.encode(value).decode()


async def run(call: Call) -> dict[str, Any]:
    """Read and answer."""
    asked = await in_thread_if(call.is_large, partial(newly, _plan, call))
    reads = [read for table in asked for read in table.reads]
    found = await read_batch(call.cases.items, reads)
    return _answer(call, asked, found)


def _plan(call: Call) -> list[_Asked]:
    """Check the request in AWS's order: each table's block by itself, then against the table."""
    requested: dict[str, Any] = call.members["RequestItems"]
    _check_counts(requested)
    counted = 0
    checked: list[tuple[list[Item], Projection | None]] = []
    for block in requested.values():
        _EXPRESSIONS.check_together(block)
        projection = read_projection(block)
        keys = _distinct_keys(block["Keys"], already=counted)
        counted += len(keys)
        checked.append((keys, projection))
    return [
        _fitted(call, name, block, keys=keys, projection=projection)
        for (name, block), (keys, projection) in zip(requested.items(), checked, strict=True)
    ]


def _check_counts(requested: Mapping[str, Any]) -> None:
    """Refuse a request without tables, and a table without keys, or with more than 100."""
    if not requested:
        raise out_of_bounds("RequestItems", NOT_EMPTY)
    for name, block in requested.items():
        if not block["Keys"]:
            raise out_of_bounds(f"RequestItems.{name}.member.Keys", NOT_EMPTY)
        if len(block["Keys"]) > BATCH_READ_KEYS_MAX:
            bound = f"less than or equal to {BATCH_READ_KEYS_MAX}"
            raise out_of_bounds(f"RequestItems.{name}.member.Keys", bound)


def _distinct_keys(given: list[dict[str, Any]], *, already: int) -> list[Item]:
    """Check a block's keys as values, one by one.

    Raises: AwsError: ValidationException: no attribute value, a key that came before in this
        block, or more than 100 in the request.
    """
    keys: list[Item] = []
    seen: set[bytes] = set()
    for each in given:
        key = check_item(each)
        text = _canonical(key)
        if text in seen:
            raise validation(DUPLICATES)
        seen.add(text)
        keys.append(key)
        if already + len(keys) > BATCH_READ_KEYS_MAX:
            raise validation("Too many items requested for the BatchGetItem call")
    return keys


def _fitted(
    call: Call,
    name: str,
    block: Mapping[str, Any],
    *,
    keys: list[Item],
    projection: Projection | None,
) -> _Asked:
    """Hold a block against its table. Raises: AwsError, ExpressionError."""
    table = table_of(call, name)
    item_keys = [key_of_map(key, table) for key in keys]
    ask = COUNTED_ITEM
    if projection is not None:
        check_paths(projection, table.definition)
        ask = ReadAsk(form=Form.ITEM, projection=projection, is_counted=True)
    is_eventual = not block.get("ConsistentRead")
    reads = [BatchedRead(key=key, ask=ask, is_eventual=is_eventual) for key in item_keys]
    return _Asked(name=name, given=block, reads=reads)


def _answer(call: Call, asked: list[_Asked], found: list[ReadItem]) -> dict[str, Any]:
    responses: dict[str, list[Any]] = {}
    unprocessed: dict[str, Any] = {}
    capacities: list[dict[str, Any] | None] = []
    mode = call.members.get("ReturnConsumedCapacity")
    at = 0
    for table in asked:
        reads = found[at : at + len(table.reads)]
        at += len(table.reads)
        responses[table.name] = [read.item for read in reads if read.item is not None]
        if len(reads) < len(table.reads):
            unprocessed[table.name] = {**table.given, "Keys": table.given["Keys"][len(reads) :]}
        consistent = table.given.get("ConsistentRead") or False
        units = sum(read_units(read.size_bytes, consistent=consistent) for read in reads)
        capacities.append(consumed(table.name, units=units, mode=mode))
    answer: dict[str, Any] = {"Responses": responses, "UnprocessedKeys": unprocessed}
    if is_wanted(mode):
        answer["ConsumedCapacity"] = capacities
    return answer


ACTION: Final = Action(
    name="BatchGetItem",
    shape=of.request(
        of.RETURN_CONSUMED_CAPACITY,
        of.Member(
            "RequestItems",
            _Requests(
                of.structure(
                    "KeysAndAttributes",
                    of.Member(
                        "Keys",
                        ListOf(MapOf(AttributeValue())),
                        required=True,
                    ),
                    of.ATTRIBUTES_TO_GET,
                    of.CONSISTENT_READ,
                    of.PROJECTION_EXPRESSION,
                    of.EXPRESSION_ATTRIBUTE_NAMES,
                ),
                key=of.REQUEST_ITEMS_KEY,
            ),
            required=True,
        ),
    ),
    run=run,
)
