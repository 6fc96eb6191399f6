"""The roles there are, and how those chosen become one process.

Adding a role is one file and one name in `ROLES`. `all` is not a role: it means control, node and
proxy in one process. `together` puts them together; there they ask each other by reference.
"""

from __future__ import annotations

from asyncio import Event, gather
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dstore.api.http.application import build_application
from dstore.api.http.health import Readiness, health_routes
from dstore.base.tasks import Tasks
from dstore.roles import together
from dstore.roles.base import Mounted, Role, Runtime, Surface
from dstore.roles.control import CONTROL
from dstore.roles.node import NODE
from dstore.roles.proxy import PROXY

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import SSLContext

    from aiohttp import web

    from dstore.api.http.route import Route
    from dstore.service.client_env import Addresses

ROLES: Final[tuple[Role, ...]] = (CONTROL, NODE, PROXY)
"""In the order in which they are mounted: who is asked comes before who asks.

A process ends in the opposite order, so that whoever asks is gone before who answers. The public
surface belongs to the last one that has it.
"""
ALL: Final = "all"
TOGETHER: Final = Role(
    name="together",
    summary="control, a node and a proxy in one process, with nothing else to start",
    mount=together.mount,
    parts=(CONTROL.name, NODE.name, PROXY.name),
)
"""What `all` means, and what stands in for its parts where each of them is named."""


class UnknownRole(Exception):
    """A role was asked for that does not exist."""


class RouteClash(Exception):
    """Two roles claim one route of a surface; the message is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """The chosen roles as one process.

    Attributes:
        applications: one for each surface that has routes.
        contexts: of surfaces that have one of their own.
        prepare: has the roles do what comes before anybody is served; see `Mounted`.
        announce: tells the roles where they are; returns the files that tell clients.
        begin: starts the roles' jobs.
        depart: lets others do what only this process does, within some seconds; it serves on.
        drain: lets what other components have asked for end, within some seconds.
        close: ends the roles one by one, each with its tasks; also after `compose` alone.
    """

    applications: dict[Surface, web.Application]
    contexts: dict[Surface, SSLContext]
    prepare: Callable[[], Awaitable[None]]
    announce: Callable[[Addresses], Awaitable[Sequence[Path]]]
    begin: Callable[[], None]
    depart: Callable[[float], Awaitable[None]]
    drain: Callable[[float], Awaitable[None]]
    close: Callable[[], Awaitable[None]]


def choose(names: Sequence[str]) -> tuple[Role, ...]:
    """Find the roles of these names, in the registry's order. Raises: UnknownRole."""
    known = {role.name for role in ROLES}
    for name in names:
        if name != ALL and name not in known:
            raise UnknownRole(
                f"There is no role {name!a}; the roles are {', '.join(sorted(known))}, and {ALL}."
            )
    if ALL in names or all(part in names for part in TOGETHER.parts):
        return (TOGETHER,)
    return tuple(role for role in ROLES if role.name in names)


async def compose(roles: Sequence[Role], runtime: Runtime) -> Composition:
    """Mount the roles and merge what they bring; each gets tasks of its own.

    Raises: RouteClash: two roles claim a route. What mounting raises, after what was mounted before
        is closed again.
    """
    mounted: list[tuple[Mounted, Tasks]] = []
    announced = Event()
    ending = AsyncExitStack()
    try:
        for role in roles:
            tasks = Tasks(runtime.on_fatal, failures=runtime.metrics.tasks_failed)
            ending.push_async_callback(tasks.close)  # also if mounting fails half-way
            one = await role.mount(replace(runtime, tasks=tasks))
            ending.push_async_callback(one.close)
            ending.push_async_callback(tasks.close)
            mounted.append((one, tasks))
        values = tuple(one for one, _ in mounted)
        routes, contexts = _merged(values, announced), _contexts(values)
    except BaseException:
        await ending.aclose()
        raise

    async def prepare() -> None:
        for one in values:
            await one.prepare()

    async def announce(addresses: Addresses) -> Sequence[Path]:
        files = [await one.announce(addresses) for one in values]
        announced.set()
        return [file for file in files if file is not None]

    def begin() -> None:
        for one, tasks in mounted:
            for job in one.jobs:
                tasks.spawn(job.run(), name=job.name, critical=True)

    async def depart(timeout_s: float) -> None:
        await gather(*(one.depart(timeout_s) for one in values))

    async def drain(timeout_s: float) -> None:
        await gather(*(one.drain(timeout_s) for one in values))

    return Composition(
        applications={
            surface: build_application(
                claimed,
                surface=surface,
                metrics=runtime.metrics,
                entropy=runtime.entropy,
                clock=runtime.clock,
                admission=runtime.admission,
                request_log=runtime.settings.log_requests,
            )
            for surface, claimed in routes.items()
        },
        contexts=contexts,
        prepare=prepare,
        announce=announce,
        begin=begin,
        depart=depart,
        drain=drain,
        close=ending.aclose,
    )


def _merged(mounted: Sequence[Mounted], announced: Event) -> dict[Surface, tuple[Route, ...]]:
    """Put the roles' routes together, and the health of the whole on every surface.

    Nothing is ready before all are `announced`: clients find what they need, or wait.
    """

    def ready() -> Readiness:
        if not announced.is_set():
            return Readiness(is_ready=False, reason="starting")
        states = [one.ready() for one in mounted]
        return next((state for state in states if not state.is_ready), Readiness(is_ready=True))

    merged: dict[Surface, tuple[Route, ...]] = {}
    for surface in Surface:
        claims = [one.routes[surface] for one in mounted if one.routes.get(surface)]
        if not claims:
            continue
        if surface is Surface.PUBLIC:
            claims = claims[-1:]
        claimed = [route for claim in claims for route in claim]
        claimed += health_routes(ready)
        seen: set[tuple[str, str]] = set()
        for route in claimed:
            if (route.method, route.path) in seen:
                raise RouteClash(
                    f"Two roles claim {route.method} {route.path} on the {surface} surface; run "
                    "them as processes of their own."
                )
            seen.add((route.method, route.path))
        merged[surface] = tuple(claimed)
    return merged


def _contexts(mounted: Sequence[Mounted]) -> dict[Surface, SSLContext]:
    """Collect the surfaces' own contexts; the peer surface is never without (I4)."""
    contexts = {surface: context for one in mounted for surface, context in one.contexts.items()}
    assert Surface.PEER in contexts or not any(one.routes.get(Surface.PEER) for one in mounted)
    return contexts
