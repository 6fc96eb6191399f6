"""Global indexes made anew: /admin/v1/rebuild-index/{tenant}/{table}/{index}."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.index_rebuilds import Rebuilding

REBUILD = "/admin/v1/rebuild-index/{tenant}/{table}/{index}"


def index_rebuild_routes(rebuilding: Rebuilding, door: Door) -> tuple[Route, ...]:
    """Bind the route to control."""

    async def rebuild(request: web.Request) -> Answer:
        """Have a global index made anew: it can't be asked until it is filled."""
        principal, _ = await receive(request, door)
        named = {key: request.match_info[key] for key in ("tenant", "table", "index")}
        await rebuilding.rebuild(**named, actor=principal.credential)
        record_change("rebuild_index", principal, **named)
        return json_answer(named)

    return (Route(method="POST", path=REBUILD, handler=rebuild, operation="rebuild_index"),)
