"""The admin surface of one component: metrics, and a status if somebody can tell who asks."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dstore.api.admin.door import LocalDoor
from dstore.api.admin.process import ComponentSection, process_routes
from dstore.api.admin.status import Report
from dstore.base.clock import SystemClock
from dstore.base.metrics import Metrics, create_metrics
from dstore.security.identity import ComponentRole, Identity
from dstore.service.access import Principal, unauthenticated
from dstore.topology.coordinator import Revision
from dstore.topology.fold import Problem
from dstore.topology.status import TopologyState, TopologyStatus
from tests.unit.api.admin.fake_control import PLANE, PROXY
from tests.unit.api.http.serving import served


class _Access:
    """Knows the operator."""

    def bearer(self, authorization: str) -> Principal:
        if authorization != "Bearer operator":
            raise unauthenticated("The token is not valid here.")
        return Principal(tenant=None, credential="op-1")


class _Serving:
    """Has somebody who knows."""

    access: Any = _Access()


def a_status(state: TopologyState, *problems: Problem) -> TopologyStatus:
    """What a watcher says."""
    return TopologyStatus(
        state=state,
        sentence=f"The topology is {state}.",
        cluster_id="c",
        revision=Revision(7),
        heard_ms_ago=0,
        problem_count=len(problems),
        problems=problems,
        ignored_keys=0,
    )


@pytest.mark.parametrize(
    ("status", "health", "codes"),
    [
        (a_status(TopologyState.LIVE), "HEALTH_OK", []),
        (replace(a_status(TopologyState.LIVE), heard_ms_ago=14_900), "HEALTH_OK", []),
        (
            replace(a_status(TopologyState.LIVE), heard_ms_ago=15_000),
            "HEALTH_WARN",
            ["TOPOLOGY_SILENT"],
        ),
        (a_status(TopologyState.COPY), "HEALTH_WARN", ["TOPOLOGY_COPY"]),
        (a_status(TopologyState.EMPTY), "HEALTH_ERR", ["TOPOLOGY"]),
        (a_status(TopologyState.FROZEN), "HEALTH_ERR", ["TOPOLOGY"]),
        (
            a_status(
                TopologyState.LIVE, Problem(path="table/a/b", why="is torn", revision=Revision(1))
            ),
            "HEALTH_WARN",
            ["TOPOLOGY_VALUES"],
        ),
    ],
)
async def test_status_tells_what_the_topology_is_worth(
    status: TopologyStatus, health: str, codes: list[str]
) -> None:
    """A proxy that serves from a copy serves; its operator should know all the same."""
    identity = Identity(control_plane=PLANE, role=ComponentRole.PROXY, uuid=PROXY)
    report = Report(roles=("proxy",), started_at_us=0, clock=SystemClock())
    section = ComponentSection(identity, report, location="EU", topology=lambda: status)
    routes = process_routes(
        create_metrics(), door=LocalDoor(_Serving()), sections=(section.section,)
    )
    async with served(routes) as listening:
        refused = await listening.ask("GET /admin/v1/status HTTP/1.1")
        assert refused.status == 401
        reply = await listening.ask("GET /admin/v1/status HTTP/1.1\nAuthorization: Bearer operator")
    shown = json.loads(reply.body)
    assert shown["health"] == health
    assert [check["code"] for check in shown["checks"]] == codes
    assert (shown["proxy"]["uuid"], shown["proxy"]["controlPlane"]) == (PROXY, PLANE)
    assert len(shown["topology"]["problems"]) == status.problem_count


async def test_without_a_door_there_are_metrics_alone() -> None:
    """A node of a cluster knows no credentials; control tells how it is."""
    measured: list[Metrics] = []
    routes = process_routes(create_metrics(), measure=measured.append)
    async with served(routes) as listening:
        assert (await listening.ask("GET /metrics HTTP/1.1")).status == 200
        assert (await listening.ask("GET /admin/v1/status HTTP/1.1")).status == 404
    assert len(measured) == 1
