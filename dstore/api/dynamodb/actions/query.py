"""Query: a page of the items of one partition key, in the order of their sort keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from dstore.api.dynamodb import members as of
from dstore.api.dynamodb.action import Action, Call
from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.expression_members import (
    ExpressionMembers,
    expressions_of,
    filter_of,
    projection_of,
)
from dstore.api.dynamodb.former_members import (
    KEY_CONDITIONS,
    read_attributes_to_get,
    read_filter,
    read_key_conditions,
)
from dstore.api.dynamodb.page_requests import (
    check_paths,
    check_select,
    is_count,
    page_reply,
    start_of,
)
from dstore.api.dynamodb.page_targets import (
    Target,
    check_held,
    check_start_keys,
    place_of,
    target_of,
)
from dstore.api.dynamodb.shapes import Integer
from dstore.api.dynamodb.table_names import table_of
from dstore.api.dynamodb.wordings import newly
from dstore.base.threads import in_thread_if
from dstore.model.index_rows import partition_of
from dstore.service.queries import PageAsk, query_span

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Members, Reply
    from dstore.expressions import Condition, KeyCondition, KeyRange, Projection
    from dstore.model.values import Item

_EXPRESSIONS: Final = ExpressionMembers(
    expressions=("ProjectionExpression", "FilterExpression", "KeyConditionExpression"),
    former=("AttributesToGet", "QueryFilter", "ConditionalOperator", "KeyConditions"),
)
# KeyConditions may stand beside expressions, if KeyConditionExpression is not among them.
_EXPRESSIONS_BESIDE: Final = ExpressionMembers(
    expressions=_EXPRESSIONS.expressions, former=_EXPRESSIONS.former[:-1]
)
# Of paritysuite/dynamodb-conformance, tests/tier3/error-messages/query (run against AWS).
_LIMIT: Final = of.Member("Limit", Integer())
_ERROR_PREFIX: Final = "1 validation error detected: "


async def run(call: Call) -> Reply:
    """Read a page and answer."""
    target, ask = await in_thread_if(call.is_large, partial(newly, _plan, call))
    return await page_reply(call, target, ask)


def _plan(call: Call) -> tuple[Target, PageAsk]:
    """Check the request in AWS's order."""
    members = call.members
    _check_limit(members.get("Limit"))
    _check_together(members)
    former_filter = read_filter(members, "QueryFilter")
    former_projection = read_attributes_to_get(members)
    start = start_of(members)
    condition, kept, projection = _expressions_in(members)
    condition.terms()  # its shape comes before the table; how many conditions there are, after
    kept, projection = kept or former_filter, projection or former_projection
    check_select(members, prefix=_ERROR_PREFIX)
    table = table_of(call, members["TableName"])
    definition = table.definition
    target = target_of(members, table)
    if start is not None:
        check_start_keys(start, target)
    keys = condition.range_in(target.partition_keys, target.sort_keys)
    behind = None if start is None else place_of(start, target)
    if start is not None and behind is not None:
        _check_start(start, target=target, keys=keys, place=behind)
    check_paths(definition, projection)
    if kept is not None:
        kept.check_avoids_keys(target.key_names)
    check_held(members, target, kept=kept, projection=projection)
    check_paths(definition, kept)
    span = query_span(keys, is_reverse=members.get("ScanIndexForward") is False)
    return target, PageAsk(
        span=span if behind is None else span.behind(behind),
        limit=members.get("Limit"),
        filter=kept,
        projection=projection,
        is_count=is_count(members),
        is_eventual=not members.get("ConsistentRead"),
        index=target.local_name,
        is_fetching=target.is_fetching(members.get("Select"), projection),
    )


def _expressions_in(members: Members) -> tuple[KeyCondition, Condition | None, Projection | None]:
    """Read the key condition, in either form, and the other expressions. Raises: AwsError."""
    text = members.get("KeyConditionExpression")
    if text is None and members.get(KEY_CONDITIONS) is None:
        raise validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the "
            "request."
        )
    expressions = expressions_of(members)
    condition = None if text is None else expressions.key_condition(text)
    kept = filter_of(expressions, members)
    projection = projection_of(expressions, members)
    expressions.finish()
    return condition or read_key_conditions(members), kept, projection


def _check_limit(limit: int | None) -> None:
    """Refuse a limit below 1: behind other constraints, and in words that only Query has."""
    if limit is not None and limit < 1:
        raise validation(
            f"{_ERROR_PREFIX}Value at 'Limit' failed to satisfy constraint: Member must have value "
            "greater than or equal to 1"
        )


def _check_together(members: Members) -> None:
    """Refuse expressions beside what they have replaced."""
    is_beside = (
        members.get(KEY_CONDITIONS) is not None and members.get("KeyConditionExpression") is None
    )
    (_EXPRESSIONS_BESIDE if is_beside else _EXPRESSIONS).check_together(members)


def _check_start(start: Item, *, target: Target, keys: KeyRange, place: bytes) -> None:
    """Refuse a starting key that the query itself could not have come to."""
    is_same_partition = place.startswith(partition_of(keys.partition))
    if not keys.sorts:
        if not is_same_partition:
            raise validation(
                "The provided starting key is outside query boundaries based on provided conditions"
            )
        return
    sorts = zip(keys.sorts, target.sort_keys, strict=False)
    if not all(sort.holds(start[key.name]) for sort, key in sorts):
        raise validation("The provided starting key does not match the range key predicate")
    if not is_same_partition:
        raise validation("The query can return at most one row and cannot be restarted")


ACTION: Final = Action(
    name="Query",
    shape=of.request(
        of.SELECT,
        of.INDEX_NAME,
        of.RETURN_CONSUMED_CAPACITY,
        of.QUERY_FILTER,
        of.TABLE_NAME,
        of.CONDITIONAL_OPERATOR,
        of.ATTRIBUTES_TO_GET,
        _LIMIT,
        of.KEY_CONDITIONS,
        of.EXCLUSIVE_START_KEY,
        of.CONSISTENT_READ,
        of.SCAN_INDEX_FORWARD,
        of.KEY_CONDITION_EXPRESSION,
        of.FILTER_EXPRESSION,
        of.PROJECTION_EXPRESSION,
        of.EXPRESSION_ATTRIBUTE_VALUES,
        of.EXPRESSION_ATTRIBUTE_NAMES,
    ),
    run=run,
)
