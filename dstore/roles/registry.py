"""The roles there are, and how those chosen become one process.

Adding a role is one file and one name in `ROLES`. `all` is not a role: it is every name in here.
"""

from __future__ import annotations

from asyncio import Event
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dstore.api.http.application import build_application
from dstore.api.http.health import Readiness, health_routes
from dstore.roles.base import Job, Mounted, Role, Runtime, Surface
from dstore.roles.node import NODE

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from dstore.api.http.route import Route
    from dstore.service.client_env import Addresses

ROLES: Final[tuple[Role, ...]] = (NODE,)
ALL: Final = "all"


class UnknownRole(Exception):
    """A role was asked for that does not exist."""


class RouteClash(Exception):
    """Two roles claim one route of a surface."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """The chosen roles as one process: an application per surface, jobs, and its two ends."""

    applications: dict[Surface, web.Application]
    jobs: tuple[Job, ...]
    announce: Callable[[Addresses], Awaitable[Sequence[Path]]]
    close: Callable[[], Awaitable[None]]


def choose(names: Sequence[str]) -> tuple[Role, ...]:
    """Find the roles of these names, in the registry's order. Raises: UnknownRole."""
    known = {role.name for role in ROLES}
    for name in names:
        if name != ALL and name not in known:
            raise UnknownRole(
                f"There is no role {name!a}; the roles are {', '.join(sorted(known))}, and {ALL}."
            )
    return tuple(role for role in ROLES if ALL in names or role.name in names)


async def compose(roles: Sequence[Role], runtime: Runtime) -> Composition:
    """Mount the roles and merge what they bring.

    Raises: RouteClash: two roles claim a route. What mounting raises, after what was mounted before
        is closed again.
    """
    mounted: list[Mounted] = []
    announced = Event()

    async def close() -> None:
        for one in reversed(mounted):
            await one.close()

    try:
        for role in roles:
            mounted.append(await role.mount(runtime))  # noqa: PERF401 - closed on a failure
        routes = _merged(mounted, announced)
    except BaseException:
        await close()
        raise

    async def announce(addresses: Addresses) -> Sequence[Path]:
        files = [await one.announce(addresses) for one in mounted]
        announced.set()
        return [file for file in files if file is not None]

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
        jobs=tuple(job for one in mounted for job in one.jobs),
        announce=announce,
        close=close,
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
        claimed = [route for one in mounted for route in one.routes.get(surface, ())]
        if not claimed:
            continue
        claimed += health_routes(ready)
        seen: set[tuple[str, str]] = set()
        for route in claimed:
            if (route.method, route.path) in seen:
                raise RouteClash(f"Two roles claim {route.method} {route.path} on {surface}.")
            seen.add((route.method, route.path))
        merged[surface] = tuple(claimed)
    return merged
