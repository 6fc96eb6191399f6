"""Roles are values; the registry chooses and composes them."""

import asyncio
import ssl
from dataclasses import replace
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
from dstore.base.tasks import Tasks
from dstore.roles.base import Job, Mounted, Role, Runtime, Surface
from dstore.roles.registry import (
    ALL,
    ROLES,
    TOGETHER,
    Composition,
    RouteClash,
    UnknownRole,
    choose,
    compose,
)
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
        tasks=Tasks(lambda _error: None),
    )


def a_role(name: str, path: str, closed: list[str], *, surface: Surface = Surface.ADMIN) -> Role:
    """A role with one route and one job that notes when each of its parts ends."""

    async def answer(_request: web.Request) -> Answer:
        return Answer()

    async def close() -> None:
        closed.append(name)

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(f"job of {name}")

    async def depart(timeout_s: float) -> None:
        closed.append(f"{name} gives away for {timeout_s} s")

    async def drain(timeout_s: float) -> None:
        closed.append(f"{name} has {timeout_s} s")

    async def mount(_runtime: Runtime) -> Mounted:
        route = Route(method="GET", path=path, handler=answer, operation="probe")
        return Mounted(
            routes={surface: (route,)},
            jobs=(Job(name=f"work_{name}", run=work),),
            depart=depart,
            drain=drain,
            ready=lambda: Readiness(is_ready=True),
            close=close,
        )

    return Role(name=name, summary="a test's", mount=mount)


def test_all_is_no_role() -> None:
    """`all` is the three roles in one process, whatever is named beside it."""
    assert choose([ALL]) == choose(["node", ALL]) == (TOGETHER,)
    assert choose(["node"]) == tuple(role for role in ROLES if role.name == "node")
    assert ALL not in {role.name for role in ROLES}
    assert len({role.name for role in ROLES}) == len(ROLES)


def test_all_three_are_put_together() -> None:
    """Each of them named is as good as `all`; some of them are components of a cluster."""
    assert choose(["proxy", "node", "control"]) == (TOGETHER,)
    assert set(TOGETHER.parts) <= {role.name for role in ROLES}
    assert choose(["node", "control"]) == tuple(r for r in ROLES if r.name in {"node", "control"})


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
    listener = Listener(composition.applications[Surface.ADMIN], host="127.0.0.1", port=0)
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
    roles = [a_role("one", "/one", []), a_role("two", "/two", [])]
    composition = await compose(roles, a_runtime(tmp_path))
    assert paths_of(composition, Surface.ADMIN) == {
        "/one",
        "/two",
        "/health/live",
        "/health/ready",
    }
    assert set(composition.applications) == {Surface.ADMIN}
    await composition.close()


async def test_who_asks_ends_before_who_answers(tmp_path: Path) -> None:
    """Each role's jobs end, then the role itself, and only then those that it has asked things."""
    ended: list[str] = []
    roles = [a_role("one", "/one", ended), a_role("two", "/two", ended)]
    composition = await compose(roles, a_runtime(tmp_path))
    composition.begin()
    await asyncio.sleep(0)
    await composition.depart(4)
    await composition.drain(3)
    await composition.close()
    assert ended == [
        "one gives away for 4 s",
        "two gives away for 4 s",
        "one has 3 s",
        "two has 3 s",
        "job of two",
        "two",
        "job of one",
        "one",
    ]


async def test_a_role_that_cannot_be_closed_leaves_none_open(tmp_path: Path) -> None:
    """A node's files are closed even if the proxy in front of it failed to end."""
    ended: list[str] = []

    async def mount(runtime: Runtime) -> Mounted:
        one = await a_role("two", "/two", ended).mount(runtime)

        async def close() -> None:
            raise OSError("it would not")

        return replace(one, close=close)

    failing = Role(name="two", summary="a test's", mount=mount)
    composition = await compose([a_role("one", "/one", ended), failing], a_runtime(tmp_path))
    with pytest.raises(OSError, match="it would not"):
        await composition.close()
    assert ended == ["one"]


async def test_what_clients_reach_has_one_owner(tmp_path: Path) -> None:
    """A proxy answers clients for the node in its process, whose own routes are not served."""
    roles = [
        a_role("node", "/of-the-node", [], surface=Surface.PUBLIC),
        a_role("proxy", "/of-the-proxy", [], surface=Surface.PUBLIC),
    ]
    composition = await compose(roles, a_runtime(tmp_path))
    assert "/of-the-proxy" in paths_of(composition, Surface.PUBLIC)
    assert "/of-the-node" not in paths_of(composition, Surface.PUBLIC)
    await composition.close()


async def test_the_peer_surface_is_never_served_without_a_context(tmp_path: Path) -> None:
    """Components know each other by their certificates; in clear nobody would be anybody (I4)."""
    role = a_role("node", "/peer", [], surface=Surface.PEER)
    with pytest.raises(AssertionError):
        await compose([role], a_runtime(tmp_path))

    async def mount(runtime: Runtime) -> Mounted:
        return replace(await role.mount(runtime), contexts={Surface.PEER: context})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    composition = await compose(
        [Role(name="node", summary="a test's", mount=mount)], a_runtime(tmp_path)
    )
    assert composition.contexts == {Surface.PEER: context}
    await composition.close()


async def test_each_role_has_tasks_of_its_own(tmp_path: Path) -> None:
    """What a role starts while it is mounted ends with it, also if mounting fails later."""
    seen: list[Tasks] = []

    async def mount(runtime: Runtime) -> Mounted:
        seen.append(runtime.tasks)
        runtime.tasks.spawn(asyncio.Event().wait(), name="waits")
        raise OSError("no disk")

    role = Role(name="one", summary="a test's", mount=mount)
    with pytest.raises(OSError, match="no disk"):
        await compose([role], a_runtime(tmp_path))
    assert [len(tasks) for tasks in seen] == [0]


def paths_of(composition: Composition, surface: Surface) -> set[str]:
    """The paths that a surface answers."""
    return {resource.canonical for resource in composition.applications[surface].router.resources()}
