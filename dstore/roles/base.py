"""What a role is: a name, a sentence, and how to mount it on a running process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import SSLContext

    from dstore.api.http.admission import Admission
    from dstore.api.http.health import Readiness
    from dstore.api.http.route import Route
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.base.metrics import Metrics
    from dstore.base.tasks import Tasks
    from dstore.service.client_env import Addresses
    from dstore.settings import Settings


class Surface(StrEnum):
    """A listener of its own, so that it can live on a network of its own."""

    PUBLIC = "public"
    PEER = "peer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a process gives its roles.

    `tasks` are a role's own: they end before the role is closed. What a role starts while it is
    mounted goes there; what runs for as long as it serves is better a `Job`. `worker` is the number
    of this process among those that share its port (`dstore.workers`); what there must be one of
    is done by number 0.
    """

    settings: Settings
    clock: Clock
    entropy: Entropy
    metrics: Metrics
    admission: Admission
    role_names: tuple[str, ...]
    started_at_us: int
    on_fatal: Callable[[BaseException], None]
    tasks: Tasks
    worker: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work in the background for as long as the process serves; if it fails, the process ends."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]


async def _nothing_before() -> None:
    return None


async def _announce_nothing(_addresses: Addresses) -> None:
    return None


async def _nothing_to_give_away(_timeout_s: float) -> None:
    return None


async def _nothing_under_way(_timeout_s: float) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A role at work, as plain data.

    Attributes:
        routes: what it answers. The public surface has one owner in a process, see `registry`.
        contexts: of surfaces that have one of their own; PEER must have one wherever it has routes.
            The others serve by `tls.cert` and `tls.key`, or in clear.
        prepare: is called once the listeners have their addresses, and before anybody is served:
            what must not begin in vain because a port is taken.
        jobs: begin once the addresses are announced, and end before `close`.
        ready: whether the role can do what it is there for.
        announce: is called once the addresses are known and before the process is ready; returns
            the file that tells clients, if the role writes one.
        depart: is called before the listeners stop, with the seconds that it has: let others do
            what only this process does, while it is answered as ever.
        drain: is called while the listeners stop, with the seconds that they have: let what other
            components have asked for end, and tell them to go elsewhere (`PeerServer.drain`).
        close: is called when nothing is served any more.
    """

    routes: Mapping[Surface, tuple[Route, ...]]
    contexts: Mapping[Surface, SSLContext] = field(default_factory=dict)
    jobs: tuple[Job, ...]
    ready: Callable[[], Readiness]
    prepare: Callable[[], Awaitable[None]] = field(default=_nothing_before)
    announce: Callable[[Addresses], Awaitable[Path | None]] = field(default=_announce_nothing)
    depart: Callable[[float], Awaitable[None]] = field(default=_nothing_to_give_away)
    drain: Callable[[float], Awaitable[None]] = field(default=_nothing_under_way)
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A name for `--role`, a sentence for `--help`, and how to mount it.

    `parts` are the roles that it is made of, if it is not one by itself.
    """

    name: str
    summary: str
    mount: Callable[[Runtime], Awaitable[Mounted]]
    parts: tuple[str, ...] = ()
