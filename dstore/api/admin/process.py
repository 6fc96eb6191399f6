"""The admin surface of a proxy, or of a node in a cluster: this one process, and nothing to change.

process_routes(metrics)                                       a node: metrics alone
process_routes(metrics, door=LocalDoor(proxy), sections=(ComponentSection(…).section,))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstore.api.admin.status import Section, StatusHandlers, metrics_route
from dstore.api.admin.topology_checks import topology_checks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dstore.api.admin.ports import Door
    from dstore.api.admin.status import Report
    from dstore.api.http.route import Route
    from dstore.base.metrics import Metrics
    from dstore.security.identity import Identity
    from dstore.topology.status import TopologyStatus


def process_routes(
    metrics: Metrics,
    *,
    measure: Callable[[Metrics], None] | None = None,
    door: Door | None = None,
    sections: Sequence[Callable[[], Awaitable[Section]]] = (),
) -> tuple[Route, ...]:
    """Bind the admin surface of one component.

    Args:
        metrics: of the process.
        measure: sets those metrics that are looked up when they are asked for.
        door: lets the operator at the status; without one there is no status here, and control
            tells how the component is.
        sections: make the parts of the status.
    """
    if door is None:
        return (metrics_route(metrics, measure),)
    return StatusHandlers(door, sections=sections, metrics=metrics, measure=measure).routes


class ComponentSection:
    """A component of a cluster, and what its view of the topology is worth."""

    def __init__(
        self,
        identity: Identity,
        report: Report,
        *,
        location: str,
        topology: Callable[[], TopologyStatus],
    ) -> None:
        """Report on the component that is `identity`; `topology` is its watcher's `status`."""
        self._identity = identity
        self._report = report
        self._location = location
        self._topology = topology

    async def section(self) -> Section:
        """Describe it, under the name of its role."""
        topology = self._topology()
        identity = self._identity
        return Section(
            members={
                identity.role.value: {
                    **self._report.members(uuid=identity.uuid, location=self._location),
                    "controlPlane": identity.control_plane,
                },
                "topology": {
                    "state": topology.state,
                    "sentence": topology.sentence,
                    "revision": topology.revision,
                    "clusterId": topology.cluster_id,
                    "problemCount": topology.problem_count,
                    "problems": [f"{one.path}: {one.why}" for one in topology.problems],
                },
            },
            checks=tuple(
                topology_checks(
                    topology.state,
                    topology.sentence,
                    problem_count=topology.problem_count,
                    is_silent=topology.is_silent,
                )
            ),
        )
