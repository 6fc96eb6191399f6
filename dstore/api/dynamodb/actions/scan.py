"""Scan: a page of all items of a table, or of one of equal parts of it, in the order of hashes."""

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
from dstore.api.dynamodb.former_members import read_attributes_to_get, read_filter
from dstore.api.dynamodb.page_requests import (
    check_paths,
    check_select,
    is_count,
    page_reply,
    start_of,
)
from dstore.api.dynamodb.page_targets import (
    INVALID_START,
    Target,
    check_held,
    check_start_keys,
    place_of,
    target_of,
)
from dstore.api.dynamodb.shapes import Integer
from dstore.api.dynamodb.table_names import table_of
from dstore.base.limits import SCAN_SEGMENTS_MAX
from dstore.base.threads import in_thread_if
from dstore.service.queries import PageAsk, segment_span

if TYPE_CHECKING:
    from dstore.api.dynamodb.action import Members, Reply
    from dstore.storage.range_scan import Span

_EXPRESSIONS: Final = ExpressionMembers(
    expressions=("ProjectionExpression", "FilterExpression"),
    former=("AttributesToGet", "ScanFilter", "ConditionalOperator"),
)
_TOTAL_SEGMENTS: Final = of.Member("TotalSegments", Integer(min=1, max=SCAN_SEGMENTS_MAX))
_SEGMENT: Final = of.Member("Segment", Integer(min=0, max=SCAN_SEGMENTS_MAX - 1))


async def run(call: Call) -> Reply:
    """Read a page and answer."""
    target, ask = await in_thread_if(call.is_large, partial(_plan, call))
    return await page_reply(call, target, ask)


def _plan(call: Call) -> tuple[Target, PageAsk]:
    """Check the request in AWS's order."""
    members = call.members
    _EXPRESSIONS.check_together(members)
    former_projection = read_attributes_to_get(members)
    former_filter = read_filter(members, "ScanFilter")
    start = start_of(members)
    segment, segments = _segment_of(members)
    expressions = expressions_of(members)
    kept = filter_of(expressions, members) or former_filter
    projection = projection_of(expressions, members) or former_projection
    expressions.finish()
    check_select(members)
    table = table_of(call, members["TableName"])
    target = target_of(members, table)
    if start is not None and target.index is not None:
        check_start_keys(start, target)
    check_held(members, target, kept=kept, projection=projection)
    span = segment_span(segment, segments)
    if start is not None:
        behind = place_of(start, target)
        _check_start(behind, span, segment=segment, segments=segments)
        span = span.behind(behind)
    check_paths(table.definition, projection, kept)
    return target, PageAsk(
        span=span,
        limit=members.get("Limit"),
        filter=kept,
        projection=projection,
        is_count=is_count(members),
        is_eventual=not members.get("ConsistentRead"),
        index=target.local_name,
        is_fetching=target.is_fetching(members.get("Select"), projection),
    )


def _segment_of(members: Members) -> tuple[int, int]:
    """Read which part of how many is asked for; the whole table is the first of one."""
    segment, segments = members.get("Segment"), members.get("TotalSegments")
    if segments is None:
        if segment is not None:
            raise validation(
                "The TotalSegments parameter is required but was not present in the request when "
                "Segment parameter is present"
            )
        return 0, 1
    if segment is None:
        raise validation(
            "The Segment parameter is required but was not present in the request when parameter "
            "TotalSegments is present"
        )
    if segment >= segments:
        raise validation(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {segments}"
        )
    return segment, segments


def _check_start(rid_id: bytes, span: Span, *, segment: int, segments: int) -> None:
    """Refuse a starting key of another segment."""
    if rid_id < span.low or (span.high is not None and rid_id >= span.high):
        raise validation(
            f"{INVALID_START}: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with "
            f"correct Segment. TotalSegments: {segments} Segment: {segment}"
        )


ACTION: Final = Action(
    name="Scan",
    shape=of.request(
        of.SELECT,
        of.INDEX_NAME,
        _TOTAL_SEGMENTS,
        of.RETURN_CONSUMED_CAPACITY,
        of.TABLE_NAME,
        of.CONDITIONAL_OPERATOR,
        of.SCAN_FILTER,
        _SEGMENT,
        of.LIMIT,
        of.ATTRIBUTES_TO_GET,
        of.EXCLUSIVE_START_KEY,
        of.CONSISTENT_READ,
        of.FILTER_EXPRESSION,
        of.PROJECTION_EXPRESSION,
        of.EXPRESSION_ATTRIBUTE_VALUES,
        of.EXPRESSION_ATTRIBUTE_NAMES,
    ),
    run=run,
)
