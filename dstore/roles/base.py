"""What a role is: a name, a sentence, and how to mount it on a running process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.api.http.admission import Admission
    from dstore.api.http.health import Readiness
    from dstore.api.http.route import Route
    from dstore.base.clock import Clock
    from dstore.base.entropy import Entropy
    from dstore.base.metrics import Metrics
    from dstore.service.client_env import Addresses
    from dstore.settings import Settings


class Surface(StrEnum):
    """A listener of its own, so that it can live on a network of its own."""

    PUBLIC = "public"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a process gives its roles."""

    settings: Settings
    clock: Clock
    entropy: Entropy
    metrics: Metrics
    admission: Admission
    role_names: tuple[str, ...]
    started_at_us: int
    on_fatal: Callable[[BaseException], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work in the background for as long as the process serves; if it fails, the process ends."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]


async def _announce_nothing(_addresses: Addresses) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A role at work, as plain data.

    `announce` is called once the addresses are known and before the process is ready; it returns
    the file that tells clients, if the role writes one. `close` is called when nothing is served
    any more.
    """

    routes: Mapping[Surface, tuple[Route, ...]]
    jobs: tuple[Job, ...]
    ready: Callable[[], Readiness]
    announce: Callable[[Addresses], Awaitable[Path | None]] = field(default=_announce_nothing)
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A name for `--role`, a sentence for `--help`, and how to mount it."""

    name: str
    summary: str
    mount: Callable[[Runtime], Awaitable[Mounted]]
