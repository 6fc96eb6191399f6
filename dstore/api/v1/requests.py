"""/v1/tenant/{tenant}/request/{request}: how a write went that was accepted with 202."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.problems import problem_of
from dstore.api.v1.exchange import Exchange
from dstore.model.errors import ConditionFailed, RefusalKind, Refused

if TYPE_CHECKING:
    from aiohttp import web

    from dstore.service.deferred_store import DeferredOutcome
    from dstore.service.use_cases import UseCases

_KINDS: Final = {kind.value: kind for kind in RefusalKind}
_SERVER_ERROR: Final = 500


class RequestHandlers:
    """Asking after deferred writes."""

    def __init__(self, cases: UseCases) -> None:
        """Serve the deferred writes of `cases`."""
        self._cases = cases

    async def read(self, request: web.Request) -> Answer:
        """Tell whether a write waits or is done, and then with which status."""
        exchange = await Exchange.receive(request, self._cases)
        tenant, request_id = exchange.value("tenant"), exchange.value("request")
        self._cases.directory.tenant(tenant)
        outcome = await self._cases.deferred.outcome(tenant, request_id)
        if outcome is None:
            return json_answer({"requestId": request_id, "state": "queued"})
        described = {
            "requestId": request_id,
            "state": "done",
            "status": _status(outcome),
            "detail": outcome.detail,
            "etag": None if outcome.version is None else f'"{outcome.version}"',
        }
        return json_answer({name: value for name, value in described.items() if value is not None})


def _status(outcome: DeferredOutcome) -> int:
    """Say the status that the write would have been answered with at once."""
    if outcome.error is None:
        if outcome.version is None:
            return 204
        return 200 if outcome.existed else 201
    if outcome.error in _KINDS:
        return problem_of(Refused(_KINDS[outcome.error], "")).status
    if outcome.error == ConditionFailed.__name__:
        return problem_of(ConditionFailed()).status
    return _SERVER_ERROR
