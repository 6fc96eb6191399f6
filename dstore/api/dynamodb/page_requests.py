"""What Query and Scan have in common: Select, indexes, ExclusiveStartKey, and the answer.

Texts and order: dynalite's validations/ and actions/ of query and scan, whose suite was run against
AWS; of Select: paritysuite/dynamodb-conformance, tests/tier2 and tier3, and DynamoDB local.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.api.dynamodb.attributes import check_attribute
from dstore.api.dynamodb.errors import AwsError, validation
from dstore.api.dynamodb.index_key_values import index_key_names
from dstore.api.dynamodb.page_targets import INVALID_START, consumed_by, read_from, start_at
from dstore.base.limits import LOOP_BYTES_MAX
from dstore.base.threads import in_thread
from dstore.expressions import Condition, Projection
from dstore.service.items import key_names

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Call, Members, Reply
    from dstore.api.dynamodb.page_targets import Target
    from dstore.model.tables import TableDefinition
    from dstore.model.values import Item
    from dstore.service.queries import ItemPage, PageAsk

_encode: Final = msgspec.json.Encoder().encode
_COUNT: Final = "COUNT"
_PROJECTING: Final = ("ProjectionExpression", "AttributesToGet")  # one of them at most
_CHOSEN: Final = {
    _COUNT: "only the Count",
    "ALL_ATTRIBUTES": "ALL_ATTRIBUTES",
    "ALL_PROJECTED_ATTRIBUTES": "ALL_PROJECTED_ATTRIBUTES",
}
# AWS puts "The provided starting key is invalid: " before all complaints about values but these.
_BARE: Final = re.compile(
    "contains duplicates|number set|numeric value|significant digits|number with magnitude"
)


def start_of(members: Members) -> Item | None:
    """Check the values of ExclusiveStartKey, if there is one, and normalise them.

    Raises: AwsError: ValidationException.
    """
    given = members.get("ExclusiveStartKey")
    if given is None:
        return None
    try:
        return {name: check_attribute(value) for name, value in given.items()}
    except AwsError as error:
        text = str(error.text)
        if _BARE.search(text):
            raise
        raise validation(f"{INVALID_START}: {text}") from None


def check_select(members: Members, *, prefix: str = "") -> None:
    """Refuse a Select that does not go with the request's projection or index.

    Args:
        members: the request's.
        prefix: what stands before the texts; Query has one there, Scan none.
    Raises: AwsError: ValidationException.
    """
    select = members.get("Select")
    if select is None:
        return
    projecting = [name for name in _PROJECTING if members.get(name) is not None]
    if projecting and select in _CHOSEN:
        raise validation(
            f"{prefix}Cannot specify the {projecting[0]} when choosing to get {_CHOSEN[select]}"
        )
    if not projecting and select == "SPECIFIC_ATTRIBUTES":
        raise validation(
            f"{prefix}Must specify the AttributesToGet or ProjectionExpression when choosing to "
            "get SPECIFIC_ATTRIBUTES"
        )
    if select == "ALL_PROJECTED_ATTRIBUTES" and members.get("IndexName") is None:
        raise validation(f"{select} can be used only when Querying using an IndexName")


def check_paths(definition: TableDefinition, *expressions: Condition | Projection | None) -> None:
    """Refuse expressions that look into key attributes, of the table or of an index.

    Raises: ExpressionError.
    """
    for expression in expressions:
        if expression is not None:
            expression.check_key_paths(
                keys=key_names(definition), index_keys=index_key_names(definition)
            )


async def page_reply(call: Call, target: Target, ask: PageAsk) -> Reply:
    """Read a page and make the answer; a long one is encoded in a thread.

    `ask` says whether it is eventual, as the request's ConsistentRead does.
    """
    # No name is kept for the page: a megabyte of items takes the loop a while to give back.
    page = call.cases.walks.page(read_from(call, target), ask)
    reply, is_long = _reply_of(call.members, target, await page)
    return await in_thread(partial(_encoded, reply)) if is_long else reply


def _reply_of(members: Members, target: Target, page: ItemPage) -> tuple[dict[str, Any], bool]:
    """Make the answer. Returns: it, and whether its items are many or large."""
    reply: dict[str, Any] = {"Count": page.count, "ScannedCount": page.scanned_count}
    if page.items is not None:
        reply["Items"] = page.items
    if page.last is not None:
        reply["LastEvaluatedKey"] = start_at(page.last, target)
    capacity = consumed_by(members, target, page)
    if capacity is not None:
        reply["ConsumedCapacity"] = capacity
    return reply, bool(page.items) and page.evaluated_bytes > LOOP_BYTES_MAX


def _encoded(reply: dict[str, Any]) -> bytes:
    """Encode an answer whose items are JSON already."""
    items = b",".join(reply.pop("Items"))
    return b'%b,"Items":[%b]}' % (_encode(reply)[:-1], items)


def is_count(members: Members) -> bool:
    """Say whether the answer is to have no items."""
    return bool(members.get("Select") == _COUNT)
