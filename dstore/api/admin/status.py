"""/admin/v1/status and /metrics: how the process is, and the cluster if this is control.

The status is put together of sections, so that a process of several roles answers for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from dstore import __version__
from dstore.api.admin.door import receive
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.route import Route
from dstore.base.clock import US_PER_S
from dstore.base.metrics import CONTENT_TYPE
from dstore.base.timestamps import instant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp import web

    from dstore.api.admin.ports import Door
    from dstore.base.clock import Clock
    from dstore.base.metrics import Metrics
    from dstore.service.node import Node


class Health(IntEnum):
    """How something is, the worse the greater; the names are what is answered."""

    HEALTH_OK = 0
    HEALTH_WARN = 1
    HEALTH_ERR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that an operator should know: a code for programs, a sentence for people."""

    code: str
    message: str
    health: Health = Health.HEALTH_WARN


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the status: members of the answer, and what is not as it should be."""

    members: Mapping[str, Any]
    checks: Sequence[Check] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the process knows of itself."""

    roles: Sequence[str]
    started_at_us: int
    clock: Clock

    def members(self, *, uuid: str, location: str) -> dict[str, Any]:
        """Describe the process that is this component."""
        uptime_us = self.clock.wall_us() - self.started_at_us
        return {
            "uuid": uuid,
            "version": __version__,
            "startedAt": instant(self.started_at_us),
            "uptimeSeconds": max(0, uptime_us // US_PER_S),
            "roles": list(self.roles),
            "location": location,
        }


class StatusHandlers:
    """Status for the operator; metrics for a scraper on the admin listener."""

    def __init__(
        self,
        door: Door,
        *,
        sections: Sequence[Callable[[], Awaitable[Section]]],
        metrics: Metrics,
        measure: Callable[[Metrics], None] | None = None,
    ) -> None:
        """Report.

        Args:
            door: lets the operator at the status.
            sections: make the parts of the status; no two have a member of the same name.
            metrics: of the process.
            measure: sets those metrics that are looked up when they are asked for.
        """
        self._door = door
        self._sections = sections
        self._metrics = metrics
        self._measure = measure

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return what the surface serves."""
        return (
            Route(
                method="GET",
                path="/admin/v1/status",
                handler=self.read,
                operation="read_status",
            ),
            metrics_route(self._metrics, self._measure),
        )

    async def read(self, request: web.Request) -> Answer:
        """Answer the status as JSON."""
        await receive(request, self._door)
        sections = [await section() for section in self._sections]
        checks = [check for section in sections for check in section.checks]
        status: dict[str, Any] = {
            "health": max((check.health for check in checks), default=Health.HEALTH_OK).name,
            "checks": [{"code": check.code, "message": check.message} for check in checks],
        }
        for section in sections:
            assert not status.keys() & section.members.keys()
            status |= section.members
        return json_answer(status)


def metrics_route(metrics: Metrics, measure: Callable[[Metrics], None] | None) -> Route:
    """Bind the metrics, which everybody may read who reaches the surface."""

    async def read(_request: web.Request) -> Answer:
        """Answer the Prometheus text format. It holds no tenant's name and no secret."""
        if measure is not None:
            measure(metrics)
        return Answer(metrics.render(), content_type=CONTENT_TYPE)

    return Route(
        method="GET", path="/metrics", handler=read, operation="read_metrics", is_vital=True
    )


class NodeStatus:
    """What there is to say of a node in this process."""

    def __init__(self, node: Node, report: Report) -> None:
        """Report on `node`."""
        self._node = node
        self._report = report

    async def section(self) -> Section:
        """Describe the node, its data and its disk."""
        node = self._node
        return Section(
            members={
                "node": self._report.members(uuid=node.uuid, location=node.catalog.location),
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
            },
            checks=self._checks(),
        )

    def measure(self, metrics: Metrics) -> None:
        """Set the node's metrics that nobody counts."""
        node = self._node
        metrics.files_open.set(node.files.open_count)
        metrics.disk_free_bytes.set(node.disk.free_bytes)
        metrics.async_queue_depth.set(node.deferred.depth)

    def _checks(self) -> list[Check]:
        checks = []
        if not self._node.disk.has_space:
            message = "The disk is nearly full: writes are refused with 507, reads go on."
            checks.append(Check(code="DISK_FULL", message=message))
        if self._node.shredder.has_failed:
            message = (
                "Keys of deleted tables or tenants could not be cut from node.db's log yet; "
                "it is tried again every few seconds, and at the next start."
            )
            checks.append(Check(code="SHRED_DUE", message=message))
        if self._node.orphans_count:
            message = (
                "Range files that no table names were set aside and will be deleted; "
                "if tables are missing, restore the newer node.db before that."
            )
            checks.append(Check(code="ORPHANS", message=message))
        return checks
