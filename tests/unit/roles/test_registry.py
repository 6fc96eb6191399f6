"""Roles are values; the registry chooses and composes them."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from dstore.api.http.admission import Admission
from dstore.api.http.answer import Answer
from dstore.api.http.health import Readiness
from dstore.api.http.listener import Listener
from dstore.api.http.route import Route
from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.metrics import create_metrics
from dstore.roles.base import Mounted, Role, Runtime, Surface
from dstore.roles.registry import ALL, ROLES, RouteClash, UnknownRole, choose, compose
from dstore.service.client_env import Addresses
from dstore.settings import load
from tests.support.http_client import Client


def a_runtime(tmp_path: Path) -> Runtime:
    """What a process gives its roles."""
    metrics = create_metrics()
    return Runtime(
        settings=load(flags={"data": tmp_path}),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        metrics=metrics,
        admission=Admission(metrics),
        role_names=("one",),
        started_at_us=0,
        on_fatal=lambda _error: None,
    )


def a_role(name: str, path: str, closed: list[str]) -> Role:
    """A role with one route that notes when it is closed."""

    async def answer(_request: web.Request) -> Answer:
        return Answer()

    async def close() -> None:
        closed.append(name)

    async def mount(_runtime: Runtime) -> Mounted:
        route = Route(method="GET", path=path, handler=answer, operation="probe")
        return Mounted(
            routes={Surface.PUBLIC: (route,)},
            jobs=(),
            ready=lambda: Readiness(is_ready=True),
            close=close,
        )

    return Role(name=name, summary="a test's", mount=mount)


def test_all_is_every_role_and_no_role() -> None:
    """`all` grows with the registry by itself."""
    assert choose([ALL]) == ROLES
    assert choose(["node"]) == tuple(role for role in ROLES if role.name == "node")
    assert ALL not in {role.name for role in ROLES}
    assert len({role.name for role in ROLES}) == len(ROLES)


def test_an_unknown_role_is_refused_by_name() -> None:
    """The sentence lists what there is."""
    with pytest.raises(UnknownRole, match=r"'proxies'.*node"):
        choose(["proxies"])


async def test_two_claims_on_one_route_are_refused_and_undone(tmp_path: Path) -> None:
    """A silent winner would be a wrong answer; what was mounted is closed again."""
    closed: list[str] = []
    roles = [a_role("one", "/same", closed), a_role("two", "/same", closed)]
    with pytest.raises(RouteClash, match="/same"):
        await compose(roles, a_runtime(tmp_path))
    assert closed == ["two", "one"]


async def test_not_ready_before_clients_can_know_where(tmp_path: Path) -> None:
    """Whoever waits for readiness finds `client.env`; until it is written the answer is 503."""
    composition = await compose([a_role("one", "/one", [])], a_runtime(tmp_path))
    listener = Listener(composition.applications[Surface.PUBLIC], host="127.0.0.1", port=0)
    await listener.start()

    def ask() -> tuple[int, bytes]:
        with Client(listener.url, token=None) as client:
            answer = client.get("/health/ready")
            return answer.status, answer.body

    status, body = await asyncio.to_thread(ask)
    assert (status, b"starting" in body) == (503, True)
    await composition.announce(Addresses(public_url=listener.url, admin_url=listener.url))
    assert (await asyncio.to_thread(ask))[0] == 200
    await listener.stop()


async def test_composition_merges_and_adds_health(tmp_path: Path) -> None:
    """Every surface answers for the health of the whole."""
    closed: list[str] = []
    roles = [a_role("one", "/one", closed), a_role("two", "/two", closed)]
    composition = await compose(roles, a_runtime(tmp_path))
    paths = {
        resource.canonical
        for resource in composition.applications[Surface.PUBLIC].router.resources()
    }
    assert paths == {"/one", "/two", "/health/live", "/health/ready"}
    assert set(composition.applications) == {Surface.PUBLIC}
    await composition.close()
    assert closed == ["two", "one"]
