"""Serve one request: id, bounds, handler, error, count, log; the path that every request takes.

Written for speed where it is taken by every request (about 5 us in all), and plainly where only
failures come.
"""

from collections.abc import Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.web_urldispatcher import AbstractRoute, SystemRoute

from dstore.api.http.admission import Admission
from dstore.api.http.answer import REQUEST_ID_HEADER, Answer, HttpDate
from dstore.api.http.outbox import Outbox
from dstore.api.http.problems import Problem, ProblemRaised, problem_answer, problem_of
from dstore.api.http.request_context import ClientGone, RequestContext, RequestIds
from dstore.api.http.request_log import RequestLog
from dstore.api.http.route import Dialect, Handler
from dstore.base.clock import NS_PER_S, US_PER_S, Clock
from dstore.base.logging import bind_request_id
from dstore.base.metrics import Metrics, OperationMetrics
from dstore.model.errors import ConditionFailed, Refused, Unavailable, Unknown

ErrorRenderer = Callable[[Exception, str], Answer]  # an error and the request id

UNMATCHED: Final = "unmatched"  # the operation of requests without a route
_CLIENT_GONE: Final = 499  # counted only: nobody is left to read an answer
_EXPECTED: Final = (
    Refused,
    ConditionFailed,
    Unavailable,
    Unknown,
    ProblemRaised,
    web.HTTPException,
)


def render_problem(error: Exception, request_id: str) -> Answer:
    """Render an error as `application/problem+json`; the usual `ErrorRenderer`."""
    return problem_answer(problem_of(error), request_id=request_id)


class Service:
    """What the endpoints of one application share."""

    __slots__ = (
        "_date",
        "_wall_us",
        "admission",
        "dialect",
        "ids",
        "metrics",
        "now_ns",
        "outbox",
        "request_log",
    )

    def __init__(
        self,
        *,
        metrics: Metrics,
        ids: RequestIds,
        clock: Clock,
        admission: Admission,
        request_log: RequestLog,
        dialect: Dialect,
    ) -> None:
        """Keep everything; see `application.build_application` for what it means."""
        self.metrics = metrics
        self.ids = ids
        self.now_ns = clock.monotonic_ns
        self._wall_us = clock.wall_us
        self._date = HttpDate()
        self.outbox = Outbox()
        self.admission = admission
        self.request_log = request_log
        self.dialect = dialect

    def seal(
        self,
        answer: Answer,
        request: web.BaseRequest,
        request_id: str,
        *,
        id_header: str = REQUEST_ID_HEADER,
    ) -> None:
        """Render an answer's head; while draining, the answer ends its connection.

        Raises: ValueError: a header of the answer can't be sent.
        """
        if self.admission.is_draining:
            answer.force_close()
        date = self._date.at(self._wall_us() // US_PER_S)
        answer.seal(
            request, request_id=request_id, date=date, outbox=self.outbox, id_header=id_header
        )

    def answer_unparsed(self, request: web.BaseRequest, problem: Problem) -> Answer:
        """Answer what never became a request, as a broken request line; the connection closes."""
        request_id = self.ids.new()
        answer = problem_answer(problem, request_id=request_id)
        answer.force_close()
        self.seal(answer, request, request_id)
        self.metrics.operation(self.dialect.surface, UNMATCHED).answered(problem.status, 0.0)
        return answer


class Endpoint:
    """One route at work."""

    __slots__ = (
        "_counts",
        "_dialect",
        "_handler",
        "_is_vital",
        "_log",
        "_named",
        "_operation",
        "_pattern",
        "_service",
        "route",
    )

    def __init__(
        self,
        service: Service,
        *,
        handler: Handler,
        operation: str,
        pattern: str,
        is_vital: bool = False,
        is_probe: bool = False,
        dialect: Dialect | None = None,
    ) -> None:
        """Bind what the route needs, its metrics included."""
        self._service = service
        self._handler = handler
        self._pattern = pattern
        self._is_vital = is_vital
        self._operation = operation
        self._dialect = dialect or service.dialect
        log = service.request_log.of_surface(self._dialect.surface)
        self._log = log.of_probes() if is_probe else log
        self._counts = service.metrics.operation(self._dialect.surface, operation)
        self._named: dict[str, OperationMetrics] = {}  # what handlers name is a closed set
        self.route: AbstractRoute = SystemRoute(web.HTTPNotFound())  # until aiohttp's is known

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, whatever happens; only a cancellation passes through."""
        service = self._service
        admission = service.admission
        started_ns = service.now_ns()
        # A cast, not an isinstance: the dispatcher has just made it, and this is the hot path.
        context = cast("RequestContext", request.match_info)
        dialect = self._dialect
        request_id = context.request_id = dialect.request_id_of(request)
        bind_request_id(request_id)
        try:
            if admission.is_busy and not self._is_vital:
                admission.check_request()
            admission.requests += 1
            try:
                answer = await self._handler(request)
            finally:
                admission.requests -= 1
                context.release()
            if isinstance(answer, Answer):
                service.seal(answer, request, request_id, id_header=dialect.id_header)
            status = answer.status
        except Exception as error:  # noqa: BLE001 -- the map from errors to answers is total
            answer, status = self._failed(error, request, context)
        took_ns = service.now_ns() - started_ns
        self._counts_of(context.operation).answered(
            status,
            took_ns / NS_PER_S,
            received_bytes=context.body_bytes,
            sent_bytes=len(answer.body) if isinstance(answer, Answer) else answer.body_length,
        )
        if self._log.wants(status, took_ns):
            self._log.write(
                method=request.method,
                route=self._pattern,
                operation=context.operation or self._operation,
                status=status,
                took_ns=took_ns,
                body_bytes=context.body_bytes,
            )
        return answer

    def _counts_of(self, operation: str) -> OperationMetrics:
        """Find where a request is counted; `operation` is "" unless its handler named one."""
        if not operation:
            return self._counts
        counts = self._named.get(operation)
        if counts is None:
            metrics = self._service.metrics
            counts = self._named[operation] = metrics.operation(self._dialect.surface, operation)
        return counts

    def _failed(
        self, error: Exception, request: web.Request, context: RequestContext
    ) -> tuple[Answer, int]:
        """Make the answer of an error, and the status to count."""
        service, dialect, request_id = self._service, self._dialect, context.request_id
        is_gone = request.transport is None
        if is_gone and isinstance(error, ConnectionError | ClientGone):
            answer = Answer(status=400)  # aiohttp wants one; it is never sent
            service.seal(answer, request, request_id, id_header=dialect.id_header)
            return answer, _CLIENT_GONE
        if not isinstance(error, (*_EXPECTED, *dialect.expected)):
            operation = context.operation or self._operation
            self._log.failed(error, route=self._pattern, operation=operation)
        answer = dialect.render_error(error, request)
        if request.writer.output_size > 0 and request.transport is not None:
            # Part of another answer is out: only a broken connection tells the client so.
            request.transport.abort()
        service.seal(answer, request, request_id, id_header=dialect.id_header)
        return answer, answer.status
