"""Scrubs of a table, asked for by the operator: /admin/v1/scrub/{tenant}/{table}."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route
from dstore.base.timestamps import instant

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.scrubs import Scrubbing, ScrubRow

SCRUB = "/admin/v1/scrub/{tenant}/{table}"


def scrub_routes(scrubbing: Scrubbing, door: Door) -> tuple[Route, ...]:
    """Bind the routes to control."""

    async def begin(request: web.Request) -> Answer:
        """Have all replicas of a table read whole and compared now."""
        principal, _ = await receive(request, door)
        tenant, table = request.match_info["tenant"], request.match_info["table"]
        found = await scrubbing.scrubs(tenant, table, begins=True, actor=principal.credential)
        record_change("scrub_table", principal, tenant=tenant, table=table)
        return json_answer({"ranges": list(map(_row, found))})

    async def show(request: web.Request) -> Answer:
        """Tell how far the scrubs of a table's ranges are."""
        principal, _ = await receive(request, door)
        tenant, table = request.match_info["tenant"], request.match_info["table"]
        found = await scrubbing.scrubs(tenant, table, begins=False, actor=principal.credential)
        return json_answer({"ranges": list(map(_row, found))})

    return (
        Route(method="POST", path=SCRUB, handler=begin, operation="scrub_table"),
        Route(method="GET", path=SCRUB, handler=show, operation="show_scrub"),
    )


def _row(row: ScrubRow) -> dict[str, Any]:
    told = row.told
    shown: dict[str, Any] = {
        "rangeId": row.range_id,
        "lowHash": row.low_hash,
        "highHash": row.high_hash,
        "node": row.node,
        "state": "unknown",
        "isOpen": True,
        "why": row.why,
    }
    if told is None:
        return shown
    is_idle = not (told.is_running or told.is_waiting or told.repairing)
    words = ("running", "waiting", "repairing")
    states = zip(words, (told.is_running, told.is_waiting, told.repairing), strict=True)
    return shown | {
        "state": "idle" if is_idle else next(word for word, holds in states if holds),
        "doneBytes": told.done_bytes,
        "totalBytes": told.total_bytes,
        "scrubbedAt": instant(told.scrubbed_at_us) if told.scrubbed_at_us else None,
        "damaged": told.damaged,
        "different": told.different,
        "repairing": told.repairing,
        "isOpen": told.is_open,
    }
