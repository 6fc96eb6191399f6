"""Turn routes into an aiohttp application: ids, errors, counts and bounds, once, for every surface.

What happens to a request, in order: aiohttp parses it; `Dispatcher.resolve` finds its route in the
path tree; `endpoint.Endpoint.serve` does the rest; `Answer.prepare` writes the answer. There is no
middleware: each would cost a request 3 us, and everything here is for all requests.
"""

import warnings
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.web_urldispatcher import UrlDispatcher

from dstore.api.http.admission import Admission
from dstore.api.http.answer import COMMON_HEADERS, REQUEST_ID_HEADER, Answer
from dstore.api.http.endpoint import UNMATCHED, Endpoint, ErrorRenderer, Service, render_problem
from dstore.api.http.path_tree import PathTree, split_path
from dstore.api.http.problems import Problem, ProblemRaised
from dstore.api.http.request_context import RequestContext, RequestIds, context_of, request_id_of
from dstore.api.http.request_log import RequestLog
from dstore.api.http.route import Dialect, Handler, Route
from dstore.base.clock import Clock, SystemClock
from dstore.base.entropy import Entropy
from dstore.base.limits import (
    HEADER_BYTES_MAX,
    HEADER_LINE_BYTES_MAX,
    KEEP_ALIVE_TIMEOUT_S,
    KIB,
)
from dstore.base.metrics import Metrics
from dstore.model.errors import DStoreError, RefusalKind, Refused, invalid
from dstore.model.refusal_texts import NO_SUCH_PATH

SERVICE: Final = web.AppKey("dstore_service", Service)
DIRECT: Final[web.AppKey[Handler]] = web.AppKey("dstore_direct")  # the way round aiohttp's own

_LINGERING_S: Final = 1.0  # for a body that nobody wanted, so that its sender sees the answer
_READ_BUFFER_BYTES: Final = 64 * KIB  # a sixteenth of it bounds the chunks parsed in one go: 4,096

CONNECTION_ARGUMENTS: Final[dict[str, Any]] = {
    "access_log": None,
    "auto_decompress": False,  # `read_body` does, with its bound on what comes out
    "keepalive_timeout": KEEP_ALIVE_TIMEOUT_S,
    "lingering_time": _LINGERING_S,
    "max_field_size": HEADER_LINE_BYTES_MAX,
    "max_line_size": HEADER_LINE_BYTES_MAX,
    "read_bufsize": _READ_BUFFER_BYTES,
}


def build_application(
    routes: Sequence[Route],
    *,
    surface: str,
    metrics: Metrics,
    entropy: Entropy,
    clock: Clock | None = None,
    admission: Admission | None = None,
    request_log: str = "errors",
    render_error: ErrorRenderer = render_problem,
) -> web.Application:
    """Build a surface's application; serve it with `listener.Listener`.

    Args:
        routes: every route of the surface; two for the same method and path are a bug.
        surface: its name in metrics and logs: "v1", "admin".
        metrics: where requests are counted.
        entropy: for request ids.
        clock: for durations and the Date header.
        admission: shared by the surfaces of a process; one of its own if None.
        request_log: which requests are logged: "none", "errors" (>= 500, or > 1 s) or "all".
        render_error: makes the answer of whatever a handler raises.
    """
    ids = RequestIds(entropy)
    service = Service(
        metrics=metrics,
        ids=ids,
        clock=clock or SystemClock(),
        admission=admission or Admission(metrics),
        request_log=RequestLog(surface=surface, which=request_log, metrics=metrics),
        dialect=Dialect(
            surface=surface,
            id_header=REQUEST_ID_HEADER,
            request_id_of=ids.of,
            render_error=_under_id(render_error),
        ),
    )
    dispatcher = Dispatcher(service, routes)
    with warnings.catch_warnings():
        # aiohttp 3 deprecates the argument, and offers no other way to a dispatcher of one's own.
        warnings.simplefilter("ignore", DeprecationWarning)
        application = web.Application(router=dispatcher, handler_args=CONNECTION_ARGUMENTS)
    application[SERVICE] = service
    application[DIRECT] = _direct(application, dispatcher)
    application.on_response_prepare.append(_add_common_headers)
    return application


class Dispatcher(UrlDispatcher):
    """Find a request's endpoint; what has none gets one that refuses it."""

    def __init__(self, service: Service, routes: Sequence[Route]) -> None:
        """Build the tree, and tell aiohttp of the routes too, for whoever lists them."""
        super().__init__()
        self._admission = service.admission
        self._service = service
        self._dialects: dict[str, Dialect | None] = {}
        endpoints: dict[tuple[str, str], Endpoint] = {}
        for route in routes:
            assert (route.method, route.path) not in endpoints, route
            assert self._dialects.setdefault(route.path, route.dialect) is route.dialect, route
            endpoint = Endpoint(
                service,
                handler=route.handler,
                operation=route.operation,
                pattern=route.path,
                is_vital=route.is_vital,
                is_probe=route.is_probe,
                dialect=route.dialect,
            )
            endpoint.route = self.add_route(route.method, route.path, endpoint.serve)
            endpoints[route.method, route.path] = endpoint
        for (method, path), endpoint in tuple(endpoints.items()):
            if method == hdrs.METH_GET:
                endpoints.setdefault((hdrs.METH_HEAD, path), endpoint)
        self._tree = PathTree(endpoints)
        # Paths without names in them, as they are usually spelled: found without a walk.
        self._fixed = {
            route.path: found
            for route in routes
            if not route.names and (found := self._tree.find(split_path(route.path))) is not None
        }

    async def resolve(self, request: web.Request) -> RequestContext:
        """Return the context of a request, an endpoint that answers it inside; never fails."""
        return self.find(request)

    def find(self, request: web.Request) -> RequestContext:
        """Do what `resolve` does, without a coroutine."""
        try:
            _check_headers(request)
            found = self._fixed.get(request.raw_path)
            segments: list[str] = []
            if found is None:
                segments = split_path(_raw_path(request))
                found = self._tree.find(segments)
            if found is None:
                raise _no_such_path()
            matched = found.methods.get(request.method)
            if matched is None:
                raise _no_such_method(found.allowed)
        except (DStoreError, ProblemRaised) as error:
            return self._refusing(error, request)
        endpoint, places = matched
        return RequestContext(
            {name: segments[index] for name, index in places} if places else {},
            route=endpoint.route,
            serve=endpoint.serve,
            admission=self._admission,
            outbox=self._service.outbox,
        )

    def _refusing(self, error: Exception, request: web.Request) -> RequestContext:
        """Make a context whose handler raises: refusals take the path of every other error.

        The request may be unreadable, hence a path is known here as it came, or not at all; a
        dialect for `/` and other paths without names in them is found.
        """

        async def refuse(_request: web.Request) -> web.StreamResponse:
            raise error

        endpoint = Endpoint(
            self._service,
            handler=refuse,
            operation=UNMATCHED,
            pattern=UNMATCHED,
            dialect=self._dialects.get(request.raw_path.partition("?")[0]),
        )
        return RequestContext(
            {},
            route=endpoint.route,
            serve=endpoint.serve,
            admission=self._admission,
            outbox=self._service.outbox,
        )


def _under_id(render_error: ErrorRenderer) -> Callable[[Exception, web.Request], Answer]:
    """Let a renderer be called with the request, as a dialect's is."""

    def render(error: Exception, request: web.Request) -> Answer:
        return render_error(error, request_id_of(request))

    return render


def _direct(application: web.Application, dispatcher: Dispatcher) -> Handler:
    """Do what `web.Application` does with a request, less what dStore never uses of it: 3 us."""

    async def handle(request: web.Request) -> web.StreamResponse:
        context = dispatcher.find(request)
        context._apps.append(application)  # noqa: SLF001 -- what `add_app` does, less its checks
        context._current_app = application  # noqa: SLF001 -- the same
        request._match_info = context  # noqa: SLF001 -- as aiohttp's application does itself
        return await context.serve(request)

    return handle


def _raw_path(request: web.Request) -> str:
    """Return the path as it came, without its query.

    Raises: Refused (invalid): the target is no path, or can't be read.
    """
    target = request.raw_path
    if not target.startswith("/"):
        # RFC 9112 3.2.2: a server accepts the absolute form; the Host in it is not looked at.
        target = request.rel_url.raw_path
        if not target.startswith("/") or request.method == hdrs.METH_CONNECT:
            raise _no_such_path()
    path = target.partition("?")[0] if "?" in target else target
    if not target.isascii():  # aiohttp's C parser refuses it by itself, the other one does not
        raise invalid("The path or query goes beyond ASCII; write such characters as %-escapes.")
    if "#" in path:
        raise invalid("The path has a #, which begins a fragment; write it as %23.")
    return path


def _check_headers(request: web.Request) -> None:
    """Refuse headers that are too large together, or that no program can read as text."""
    headers = request.raw_headers
    whole = b"".join(chain.from_iterable(headers))  # the quickest way to look at all of them
    if not whole.isascii():
        for _, value in headers:
            _check_text(value)
    if len(whole) > HEADER_BYTES_MAX:
        raise ProblemRaised(
            Problem(
                name="headers-too-large",
                title="The headers are too large",
                status=431,
                detail=f"Send at most {HEADER_BYTES_MAX} bytes of headers.",
                closes=True,
            )
        )


def _check_text(value: bytes) -> None:
    """Refuse what aiohttp turns into half surrogates, which break whoever encodes them."""
    try:
        value.decode()
    except UnicodeDecodeError:
        raise invalid("A header is not UTF-8; encode it, or leave it out.") from None


def _no_such_path() -> Refused:
    return Refused(RefusalKind.NOT_FOUND, NO_SUCH_PATH)


def _no_such_method(allowed: str) -> ProblemRaised:
    return ProblemRaised(
        Problem(
            name="method-not-allowed",
            title="The method is not allowed here",
            status=405,
            detail=f"This path answers {allowed}.",
            headers={"Allow": allowed},
        )
    )


async def _add_common_headers(request: web.Request, answer: web.StreamResponse) -> None:
    """Give an answer that is not an `Answer` the headers of one, and its place behind others."""
    context_of(request).outbox.flush()
    for name, value in COMMON_HEADERS.items():
        answer.headers.setdefault(name, value)
    answer.headers[hdrs.SERVER] = COMMON_HEADERS["Server"]  # aiohttp has put itself there
    answer.headers[REQUEST_ID_HEADER] = request_id_of(request)
