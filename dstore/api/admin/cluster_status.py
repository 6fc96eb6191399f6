"""The cluster's part of /admin/v1/status: everything of `dstore status` on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin import rows
from dstore.api.admin.status import Check, Health, Section
from dstore.api.admin.topology_checks import topology_checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstore.api.admin.status import Report
    from dstore.service.control.status import ClusterReports, ClusterStatus


class ClusterSection:
    """What control knows of its cluster."""

    def __init__(
        self, reports: ClusterReports, report: Report, *, uuid: str, location: str
    ) -> None:
        """Report.

        Args:
            reports: what control knows.
            report: what the process knows of itself.
            uuid: of this control process.
            location: where its control plane rules.
        """
        self._reports = reports
        self._report = report
        self._uuid = uuid
        self._location = location

    async def section(self) -> Section:
        """Describe the cluster, and this process."""
        status = await self._reports.status()
        return Section(
            members={
                "control": self._report.members(uuid=self._uuid, location=self._location),
                "cluster": {
                    "controlPlane": status.control_plane,
                    "location": status.location,
                    "leader": status.leader,
                    "components": [rows.component(row) for row in status.components],
                    "tenants": status.tenant_count,
                    "tables": {name.value: count for name, count in status.tables.items()},
                    "indexes": {name.value: count for name, count in status.indexes.items()},
                    "ranges": {
                        "total": status.ranges.total,
                        "unavailable": status.ranges.unavailable,
                        "readOnly": status.ranges.read_only,
                        "underReplicated": status.ranges.under_replicated,
                        "possibleLoss": status.ranges.possible_loss,
                    },
                    "failuresSurvivable": status.failures_survivable,
                    "failuresWithoutLoss": status.failures_without_loss,
                    "sentence": status.sentence,
                    "topology": rows.topology(status.topology),
                    "unfinishedTasks": status.unfinished_tasks,
                    "recentNotices": status.recent_notices,
                    "oldestScrubS": status.oldest_scrub_s,
                },
            },
            checks=tuple(_checks(status)),
        )


def _checks(status: ClusterStatus) -> Iterator[Check]:
    """Say what is wrong: an error if data can't be had or written, a warning if it may come so."""
    ranges, topology = status.ranges, status.topology
    is_bad = ranges.unavailable or ranges.read_only or ranges.possible_loss
    health = Health.HEALTH_ERR if is_bad else Health.HEALTH_WARN
    for problem in status.problems:
        yield Check(code="CLUSTER", message=problem, health=health)
    yield from topology_checks(
        topology.state,
        topology.sentence,
        problem_count=topology.problem_count,
        is_silent=topology.is_silent,
    )
