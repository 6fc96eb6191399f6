"""Ranges that nobody can open any more: what is left of them, and what the operator accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.admin.bodies import members
from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route
from dstore.base.limits import RANGE_REPLICAS_MAX
from dstore.base.timestamps import instant
from dstore.model.errors import invalid
from dstore.storage.control.records import RangeId

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.loss_reports import LeftRow, Losing, LossReport

REPORT = "/admin/v1/placement/range/{id}/loss"
ACCEPT = "/admin/v1/placement/range/{id}/accept-loss"
CLEAR = "/admin/v1/placement/range/{id}/clear-loss"

_ACCEPTED: Final = frozenset({"gone", "reason"})
_CLEARED: Final = frozenset({"reason"})


def loss_routes(losing: Losing, door: Door) -> tuple[Route, ...]:
    """Bind the routes to control."""

    async def report(request: web.Request) -> Answer:
        """Say what is left of a range."""
        await receive(request, door)
        return json_answer(_report(await losing.report(_range_id(request))))

    async def accept(request: web.Request) -> Answer:
        """Let the best of what is left of a range serve."""
        principal, body = await receive(request, door)
        told = members(request, body, what="request", names=_ACCEPTED)
        if told is None or not _are_nodes(told["gone"]) or type(told["reason"]) is not str:
            raise invalid('The body is {"gone": [the ids of nodes], "reason": why}.')
        range_id, gone = _range_id(request), sorted(set(told["gone"]))
        task = await losing.accept(
            range_id, gone=gone, reason=told["reason"], actor=principal.credential
        )
        record_change("accept_loss", principal, range=range_id, gone=", ".join(gone), task=task)
        return json_answer({"rangeId": range_id, "task": task})

    async def clear(request: web.Request) -> Answer:
        """Say of a range no longer that it may have lost writes."""
        principal, body = await receive(request, door)
        told = members(request, body, what="request", names=_CLEARED)
        if told is None or type(told["reason"]) is not str:
            raise invalid('The body is {"reason": why}.')
        range_id = _range_id(request)
        task = await losing.clear(range_id, reason=told["reason"], actor=principal.credential)
        record_change("clear_loss", principal, range=range_id, task=task)
        return json_answer({"rangeId": range_id, "task": task})

    return (
        Route(method="GET", path=REPORT, handler=report, operation="report_loss"),
        Route(method="POST", path=ACCEPT, handler=accept, operation="accept_loss"),
        Route(method="POST", path=CLEAR, handler=clear, operation="clear_loss"),
    )


def _range_id(request: web.Request) -> RangeId:
    return RangeId(request.match_info["id"])


def _are_nodes(told: object) -> bool:
    """Tell whether it is a list of as many ids as a range can have replicas."""
    if not isinstance(told, list) or len(told) > RANGE_REPLICAS_MAX:
        return False
    return all(type(each) is str for each in told)


def _report(found: LossReport) -> dict[str, Any]:
    return {
        "tenant": found.tenant,
        "table": found.table,
        "rangeId": found.range_id,
        "lowHash": found.low_hash,
        "highHash": found.high_hash,
        "epoch": found.epoch,
        "possibleLoss": found.has_possible_loss,
        "replicas": [_left(each) for each in found.replicas],
        "best": found.best,
        "missing": list(found.missing),
        "isLossless": found.is_lossless,
        "whyNot": found.why_not or None,
    }


def _left(row: LeftRow) -> dict[str, Any]:
    return {
        "node": row.node,
        "state": row.state,
        "isAlive": row.is_alive,
        "isHeard": row.is_heard,
        "isSameDisk": row.is_same_disk,
        "isWhole": row.is_whole,
        "isDamaged": row.is_damaged,
        "epoch": row.epoch,
        "sequence": row.sequence,
        "newestAt": instant(row.newest_at_us) if row.newest_at_us else None,
        "entries": row.entries,
    }
