"""Moving replicas: what is planned, and what the operator says about it and about nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.admin import rows
from dstore.api.admin.bodies import only_member
from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route
from dstore.base.timestamps import instant
from dstore.model.errors import invalid
from dstore.storage.control.records import ComponentState, NodeUuid, RangeId

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.status import MoveRow, Placing, SplitRow

PLAN = "/admin/v1/placement/plan"
APPLY = "/admin/v1/placement/apply"
PAUSE = "/admin/v1/placement/pause"
ABORT = "/admin/v1/placement/abort"
SPLIT = "/admin/v1/placement/split"
INTENT = "/admin/v1/node/{id}/intent"
DISCARD = "/admin/v1/node/{id}/discard"
OK_TO_STOP = "/admin/v1/node/{id}/ok-to-stop"

_RANGE_ID: Final = "the id of the range"
_INTENTS: Final = {
    "stay": ComponentState.ACTIVE,
    "drain": ComponentState.DRAINING,
    "decommission": ComponentState.DECOMMISSIONING,
}


def elasticity_routes(placing: Placing, door: Door) -> tuple[Route, ...]:
    """Bind the routes to control."""

    async def plan(request: web.Request) -> Answer:
        """Show what is moved, and what will be."""
        await receive(request, door)
        found = await placing.plan()
        return json_answer(
            {
                "token": found.token,
                "isPaused": found.is_paused,
                "moves": list(map(_move, found.moves)),
                "splits": list(map(_split, found.splits)),
                "tasks": list(map(rows.task, found.following)),
            }
        )

    async def apply(request: web.Request) -> Answer:
        """Carry out a plan that was shown."""
        principal, body = await receive(request, door)
        token = only_member(
            request, body, name="token", kind=str, wanted="the token of the plan that was shown"
        )
        task = await placing.apply(token, actor=principal.credential)
        record_change("apply_plan", principal, task=task)
        return json_answer({"task": task})

    async def pause(request: web.Request) -> Answer:
        """Let no move begin, or let them again."""
        principal, body = await receive(request, door)
        is_on = only_member(request, body, name="paused", kind=bool, wanted="true or false")
        await placing.pause(is_on=is_on, actor=principal.credential)
        record_change("pause_moves", principal, paused=is_on)
        return json_answer({"isPaused": is_on})

    async def abort(request: web.Request) -> Answer:
        """Take back what is under way, and let no move begin."""
        principal, _ = await receive(request, door)
        ranges = await placing.abort(actor=principal.credential)
        record_change("abort_moves", principal, ranges=ranges)
        return json_answer({"isPaused": True, "ranges": ranges})

    async def split(request: web.Request) -> Answer:
        """Have a range split in two."""
        principal, body = await receive(request, door)
        range_id = only_member(request, body, name="rangeId", kind=str, wanted=_RANGE_ID)
        task = await placing.split(RangeId(range_id), actor=principal.credential)
        record_change("split_range", principal, range=range_id, task=task)
        return json_answer({"rangeId": range_id, "task": task})

    return (
        Route(method="GET", path=PLAN, handler=plan, operation="plan_moves"),
        Route(method="POST", path=APPLY, handler=apply, operation="apply_plan"),
        Route(method="PUT", path=PAUSE, handler=pause, operation="pause_moves"),
        Route(method="POST", path=ABORT, handler=abort, operation="abort_moves"),
        Route(method="POST", path=SPLIT, handler=split, operation="split_range"),
        *_node_routes(placing, door),
    )


def _node_routes(placing: Placing, door: Door) -> tuple[Route, ...]:
    """Bind what is said of single nodes."""

    async def intend(request: web.Request) -> Answer:
        """Drain or decommission a node, or have it stay."""
        principal, body = await receive(request, door)
        wanted = f"one of {', '.join(_INTENTS)}"
        intent = only_member(request, body, name="intent", kind=str, wanted=wanted)
        if intent not in _INTENTS:
            raise invalid(f'The body is {{"intent": {wanted}}}.')
        node = NodeUuid(request.match_info["id"])
        task = await placing.intend(node, _INTENTS[intent], actor=principal.credential)
        record_change("intend_of_node", principal, node=node, intent=intent)
        return json_answer({"id": node, "intent": intent, "task": task})

    async def discard(request: web.Request) -> Answer:
        """Let a node delete a range that nobody else knows."""
        principal, body = await receive(request, door)
        range_id = only_member(request, body, name="rangeId", kind=str, wanted=_RANGE_ID)
        node = NodeUuid(request.match_info["id"])
        task = await placing.discard(node, RangeId(range_id), actor=principal.credential)
        record_change("discard_range", principal, node=node, range=range_id)
        return json_answer({"id": node, "rangeId": range_id, "task": task})

    async def ok_to_stop(request: web.Request) -> Answer:
        """Say whether all ranges go on without a node."""
        await receive(request, door)
        found = await placing.ok_to_stop(NodeUuid(request.match_info["id"]))
        return json_answer(
            {
                "isOkay": found.is_okay,
                "losing": found.losing,
                "why": found.why,
                "reasons": list(found.reasons),
            }
        )

    return (
        Route(method="PUT", path=INTENT, handler=intend, operation="intend_of_node"),
        Route(method="POST", path=DISCARD, handler=discard, operation="discard_range"),
        Route(method="GET", path=OK_TO_STOP, handler=ok_to_stop, operation="ok_to_stop"),
    )


def _split(row: SplitRow) -> dict[str, Any]:
    return {
        "tenant": row.tenant,
        "table": row.table,
        "rangeId": row.range_id,
        "lowHash": row.low_hash,
        "highHash": row.high_hash,
        "atHash": row.at_hash,
        "lowRangeId": row.low_id,
        "highRangeId": row.high_id,
        "why": row.why,
        "begunAt": instant(row.begun_at_us),
    }


def _move(row: MoveRow) -> dict[str, Any]:
    return {
        "tenant": row.tenant,
        "table": row.table,
        "rangeId": row.range_id,
        "lowHash": row.low_hash,
        "highHash": row.high_hash,
        "isUnderWay": row.done_bytes is not None,
        "why": row.why,
        "add": row.add or None,
        "remove": row.remove or None,
        "primary": row.primary or None,
        "sizeBytes": row.size_bytes,
        "doneBytes": row.done_bytes,
    }
