"""Tell whether the process lives and whether it is ready; never asks for credentials."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.request_context import context_of
from dstore.api.http.route import Handler, Route
from dstore.base.logging import get_logger

_log: Final = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether requests are served now and, if not, why: a short phrase without secrets."""

    is_ready: bool
    reason: str = ""


def health_routes(ready: Callable[[], Readiness]) -> tuple[Route, ...]:
    """Make `GET /health/live` and `GET /health/ready`, answered even under overload.

    Live is 200 as long as the event loop turns. Ready is 200, or 503 with a reason: what `ready`
    says, and "draining" once the process is about to stop. Whoever asks every second gets a line in
    the log when the answer is another than before, and none else.
    """
    told: Readiness | None = None

    async def live(_request: web.Request) -> Answer:
        return json_answer({"status": "live"})

    async def is_ready(request: web.Request) -> Answer:
        readiness = ready()
        if context_of(request).admission.is_draining:
            readiness = Readiness(is_ready=False, reason="draining")
        nonlocal told
        if readiness != told:
            told = readiness
            _log.info("readiness", is_ready=readiness.is_ready, reason=readiness.reason)
        if readiness.is_ready:
            return json_answer({"status": "ready"})
        return json_answer({"status": "not ready", "reason": readiness.reason}, status=503)

    def route(operation: str, handler: Handler) -> Route:
        return Route(
            method="GET",
            path=f"/health/{operation}",
            handler=handler,
            operation=operation,
            is_vital=True,
            is_probe=True,
        )

    return route("live", live), route("ready", is_ready)
