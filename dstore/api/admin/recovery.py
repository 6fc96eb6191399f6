"""Recovering the topology from control's store: /admin/v1/topology/recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin import rows
from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.status import TopologyRecovery

RECOVERY = "/admin/v1/topology/recovery"


def recovery_routes(recovery: TopologyRecovery, door: Door) -> tuple[Route, ...]:
    """Bind the routes to control."""

    async def read(request: web.Request) -> Answer:
        """Say whether store and coordinator belong together; nothing is changed."""
        await receive(request, door)
        return json_answer(rows.recovery(await recovery.report()))

    async def order(request: web.Request) -> Answer:
        """Have everything published anew from the store."""
        principal, _ = await receive(request, door)
        report = await recovery.order(actor=principal.credential)
        record_change("recover_topology", principal, recoveries=report.recoveries)
        return json_answer(rows.recovery(report))

    return (
        Route(method="GET", path=RECOVERY, handler=read, operation="read_recovery"),
        Route(method="POST", path=RECOVERY, handler=order, operation="recover_topology"),
    )
