"""What nodes told control: /admin/v1/notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin import rows
from dstore.api.admin.cursors import after_of, after_text
from dstore.api.admin.door import receive
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.status import ClusterReports

NOTICES = "/admin/v1/notice"


def notice_routes(reports: ClusterReports, door: Door) -> tuple[Route, ...]:
    """Bind the route to control."""

    async def list_notices(request: web.Request) -> Answer:
        """List a page of notices, the newest first."""
        await receive(request, door, parameters=("after",))
        found, after = await reports.notices(after=after_of(request, tuple[int, str]))
        return json_answer(
            {"notices": [rows.notice(record) for record in found], "after": after_text(after)}
        )

    return (Route(method="GET", path=NOTICES, handler=list_notices, operation="list_notices"),)
