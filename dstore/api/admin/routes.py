"""/admin/v1: what only the operator may do. A stand-alone node serves a part of it itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dstore.api.admin.cluster_status import ClusterSection
from dstore.api.admin.components import component_routes
from dstore.api.admin.credentials import NodeCredentials, credential_routes
from dstore.api.admin.door import LocalDoor
from dstore.api.admin.elasticity import elasticity_routes
from dstore.api.admin.index_rebuilds import index_rebuild_routes
from dstore.api.admin.join_tokens import join_token_routes
from dstore.api.admin.losses import loss_routes
from dstore.api.admin.notices import notice_routes
from dstore.api.admin.placement import placement_routes
from dstore.api.admin.recovery import recovery_routes
from dstore.api.admin.scrubs import scrub_routes
from dstore.api.admin.status import NodeStatus, StatusHandlers
from dstore.api.admin.tasks import task_routes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dstore.api.admin.ports import Credentials, Door, JoinTokens
    from dstore.api.admin.status import Report, Section
    from dstore.api.http.route import Route
    from dstore.base.metrics import Metrics
    from dstore.service.control.index_rebuilds import Rebuilding
    from dstore.service.control.loss_reports import Losing
    from dstore.service.control.scrubs import Scrubbing
    from dstore.service.control.status import ClusterReports, Placing, TopologyRecovery
    from dstore.service.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlAdmin:
    """What the admin API of a control process is made of.

    `process` is this control process's UUID, `location` where its control plane rules.
    """

    process: str
    location: str
    door: Door
    credentials: Credentials
    join_tokens: JoinTokens
    reports: ClusterReports
    recovery: TopologyRecovery
    placing: Placing
    losing: Losing
    scrubbing: Scrubbing
    rebuilding: Rebuilding


def admin_routes(node: Node, *, report: Report, metrics: Metrics) -> tuple[Route, ...]:
    """Bind the admin API to a stand-alone node; `report` says what the process knows of itself."""
    door, status = LocalDoor(node), NodeStatus(node, report)
    return (
        *credential_routes(NodeCredentials(node), door),
        *StatusHandlers(
            door, sections=(status.section,), metrics=metrics, measure=status.measure
        ).routes,
    )


def control_routes(
    control: ControlAdmin,
    *,
    report: Report,
    metrics: Metrics,
    sections: Sequence[Callable[[], Awaitable[Section]]] = (),
    measure: Callable[[Metrics], None] | None = None,
) -> tuple[Route, ...]:
    """Bind the admin API to control, which answers for the whole cluster.

    Args:
        control: what it is made of.
        report: what the process knows of itself.
        metrics: of the process.
        sections: what the status says besides: `NodeStatus.section` of a node in this process.
        measure: sets the metrics of such a node, `NodeStatus.measure`.
    """
    cluster = ClusterSection(
        control.reports, report, uuid=control.process, location=control.location
    )
    status = StatusHandlers(
        control.door,
        sections=(cluster.section, *sections),
        metrics=metrics,
        measure=measure,
    )
    return (
        *credential_routes(control.credentials, control.door),
        *join_token_routes(control.join_tokens, control.door, wall_us=report.clock.wall_us),
        *component_routes(control.reports, control.door),
        *placement_routes(control.reports, control.door),
        *elasticity_routes(control.placing, control.door),
        *loss_routes(control.losing, control.door),
        *scrub_routes(control.scrubbing, control.door),
        *index_rebuild_routes(control.rebuilding, control.door),
        *task_routes(control.reports, control.door),
        *notice_routes(control.reports, control.door),
        *recovery_routes(control.recovery, control.door),
        *status.routes,
    )
