"""/admin/v1/status and /metrics: how the process is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dstore import __version__
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.authentication import authenticate, is_signed
from dstore.api.http.request_checks import check_query
from dstore.base.clock import US_PER_S
from dstore.base.metrics import CONTENT_TYPE
from dstore.base.timestamps import instant
from dstore.service.access import require_operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from dstore.base.clock import Clock
    from dstore.base.metrics import Metrics
    from dstore.service.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the process knows of itself."""

    roles: Sequence[str]
    started_at_us: int
    clock: Clock


class StatusHandlers:
    """Status for the operator; metrics for a scraper on the admin listener."""

    def __init__(self, node: Node, *, report: Report, metrics: Metrics) -> None:
        """Report on `node`."""
        self._node = node
        self._report = report
        self._metrics = metrics

    async def read(self, request: web.Request) -> Answer:
        """Answer the status as JSON."""
        require_operator(authenticate(request, self._node.access, b""))
        check_query(request, (), signed=is_signed(request))
        node, report = self._node, self._report
        checks = self._checks()
        uptime_us = report.clock.wall_us() - report.started_at_us
        return json_answer(
            {
                "node": {
                    "uuid": node.uuid,
                    "version": __version__,
                    "startedAt": instant(report.started_at_us),
                    "uptimeSeconds": max(0, uptime_us // US_PER_S),
                    "roles": list(report.roles),
                    "location": node.catalog.location,
                },
                "health": "HEALTH_WARN" if checks else "HEALTH_OK",
                "checks": checks,
                "tenants": len(node.catalog.tenant_names()),
                "tables": node.catalog.table_count,
                "entries": node.catalog.entry_count(),
                "filesOpen": node.files.open_count,
                "orphans": node.orphans_count,
                "queue": {"deferred": node.deferred.depth},
                "disk": {
                    "freeBytes": node.disk.free_bytes,
                    "usedBytes": node.disk.used_bytes,
                },
            }
        )

    async def metrics(self, _request: web.Request) -> Answer:
        """Answer the Prometheus text format. It holds no tenant's name and no secret."""
        node, metrics = self._node, self._metrics
        metrics.files_open.set(node.files.open_count)
        metrics.disk_free_bytes.set(node.disk.free_bytes)
        metrics.async_queue_depth.set(node.deferred.depth)
        return Answer(metrics.render(), content_type=CONTENT_TYPE)

    def _checks(self) -> list[dict[str, Any]]:
        checks = []
        if not self._node.disk.has_space:
            message = "The disk is nearly full: writes are refused with 507, reads go on."
            checks.append({"code": "DISK_FULL", "message": message})
        if self._node.shredder.has_failed:
            message = (
                "Keys of deleted tables or tenants could not be cut from node.db's log yet; "
                "it is tried again every few seconds, and at the next start."
            )
            checks.append({"code": "SHRED_DUE", "message": message})
        if self._node.orphans_count:
            message = (
                "Range files that no table names were set aside and will be deleted; "
                "if tables are missing, restore the newer node.db before that."
            )
            checks.append({"code": "ORPHANS", "message": message})
        return checks
