"""Nodes, proxies and control processes: /admin/v1/node, /admin/v1/proxy, /admin/v1/control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin import rows
from dstore.api.admin.bodies import only_member
from dstore.api.admin.door import receive, record_change
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route
from dstore.storage.control.records import ControlUuid, NodeUuid, ProxyUuid

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.service.control.status import ClusterReports

NODES = "/admin/v1/node"
NODE = f"{NODES}/{{id}}"
MAINTENANCE = f"{NODE}/maintenance"
PROXIES = "/admin/v1/proxy"
PROXY = f"{PROXIES}/{{id}}"
CONTROLS = "/admin/v1/control"
CONTROL = f"{CONTROLS}/{{id}}"


def component_routes(reports: ClusterReports, door: Door) -> tuple[Route, ...]:
    """Bind the routes to control."""
    handlers = ComponentHandlers(reports, door)
    return tuple(
        Route(method=method, path=path, handler=handler, operation=operation)
        for method, path, handler, operation in (
            ("GET", NODES, handlers.list_nodes, "list_nodes"),
            ("GET", NODE, handlers.read_node, "read_node"),
            ("DELETE", NODE, handlers.remove_node, "remove_node"),
            ("PUT", MAINTENANCE, handlers.set_maintenance, "set_maintenance"),
            ("GET", PROXIES, handlers.list_proxies, "list_proxies"),
            ("DELETE", PROXY, handlers.remove_proxy, "remove_proxy"),
            ("GET", CONTROLS, handlers.list_controls, "list_controls"),
            ("DELETE", CONTROL, handlers.remove_control, "remove_control"),
        )
    )


class ComponentHandlers:
    """What was admitted, how it is, and what the operator decides about it."""

    def __init__(self, reports: ClusterReports, door: Door) -> None:
        """Serve what control knows to whom the door lets in."""
        self._reports = reports
        self._door = door

    async def list_nodes(self, request: web.Request) -> Answer:
        """List the nodes, removed ones included."""
        await receive(request, self._door)
        found = await self._reports.nodes()
        return json_answer({"nodes": [rows.component(row) for row in found]})

    async def read_node(self, request: web.Request) -> Answer:
        """Show a node with the ranges that it holds."""
        await receive(request, self._door)
        row, ranges = await self._reports.node(request.match_info["id"])
        shown = rows.component(row)
        shown["held"] = [rows.hash_range(each) for each in ranges]
        return json_answer(shown)

    async def remove_node(self, request: web.Request) -> Answer:
        """Remove a node for good; its certificate is worth nothing any more."""
        principal, _ = await receive(request, self._door)
        node = NodeUuid(request.match_info["id"])
        row = await self._reports.remove_node(node, actor=principal.credential)
        record_change("remove_node", principal, node=node)
        return json_answer(rows.component(row))

    async def set_maintenance(self, request: web.Request) -> Answer:
        """Give a node nothing new, or new ranges again."""
        principal, body = await receive(request, self._door)
        is_on = only_member(request, body, name="maintenance", kind=bool, wanted="true or false")
        node = NodeUuid(request.match_info["id"])
        row = await self._reports.set_maintenance(node, is_on=is_on, actor=principal.credential)
        record_change("set_maintenance", principal, node=node, maintenance=is_on)
        return json_answer(rows.component(row))

    async def list_proxies(self, request: web.Request) -> Answer:
        """List the proxies, removed ones included."""
        await receive(request, self._door)
        found = await self._reports.proxies()
        return json_answer({"proxies": [rows.component(row) for row in found]})

    async def remove_proxy(self, request: web.Request) -> Answer:
        """Remove a proxy for good; its certificate is worth nothing any more."""
        principal, _ = await receive(request, self._door)
        proxy = ProxyUuid(request.match_info["id"])
        row = await self._reports.remove_proxy(proxy, actor=principal.credential)
        record_change("remove_proxy", principal, proxy=proxy)
        return json_answer(rows.component(row))

    async def list_controls(self, request: web.Request) -> Answer:
        """List the control processes."""
        await receive(request, self._door)
        found = await self._reports.controls()
        return json_answer({"controls": [rows.component(row) for row in found]})

    async def remove_control(self, request: web.Request) -> Answer:
        """Remove a control process that has ended, for good."""
        principal, _ = await receive(request, self._door)
        control = ControlUuid(request.match_info["id"])
        row = await self._reports.remove_control(control, actor=principal.credential)
        record_change("remove_control", principal, control=control)
        return json_answer(rows.component(row))
