"""Where the ranges of tables are: /admin/v1/placement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin import rows
from dstore.api.admin.cursors import after_of, after_text
from dstore.api.admin.door import receive
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route
from dstore.model.errors import invalid

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.status import ClusterReports

PLACEMENT = "/admin/v1/placement"


def placement_routes(reports: ClusterReports, door: Door) -> tuple[Route, ...]:
    """Bind the route to control."""

    async def read(request: web.Request) -> Answer:
        """Show tables with their ranges, a page of them; `tenant` and `table` say of which."""
        await receive(request, door, parameters=("tenant", "table", "after"))
        tenant, table = request.query.get("tenant"), request.query.get("table")
        if table is not None and tenant is None:
            raise invalid("A table is named with its tenant: give tenant too.")
        found = await reports.placement(
            tenant=tenant, table=table, after=after_of(request, tuple[str, str])
        )
        return json_answer(
            {
                "tables": [rows.table(row) for row in found.tables],
                "ranges": [rows.hash_range(row) for row in found.ranges],
                "after": after_text(found.after),
            }
        )

    return (Route(method="GET", path=PLACEMENT, handler=read, operation="read_placement"),)
