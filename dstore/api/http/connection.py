"""One client's connection, with the bounds that aiohttp's own protocol lacks.

aiohttp bounds each line and the number of headers; not how long a head may take, nor its size in
all, nor how many connections there are (RELIABILITY.md 4.5), nor for how long answers lie in memory
whose clients do not fetch them. And it logs a traceback for each broken request, where one line in
ten seconds is enough.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, PayloadAccessError, RequestHandler

from dstore.api.http.answer import COMMON_HEADERS
from dstore.api.http.endpoint import Service
from dstore.api.http.problems import PROBLEM_JSON, Problem, problem_body, problem_of
from dstore.api.http.route import Handler
from dstore.base.clock import NS_PER_S
from dstore.base.limits import (
    ANSWER_BYTES_WAITING_MAX,
    ANSWER_TIMEOUT_S,
    CONNECTIONS_MAX,
    HEADER_BYTES_MAX,
    HEADER_TIMEOUT_S,
)
from dstore.base.logging import bind_request_id, get_logger

_log: Final = get_logger(__name__)

_TOO_LATE: Final = PayloadAccessError()
_END_OF_HEAD: Final = b"\r\n\r\n"
_QUIET_NS: Final = 10 * NS_PER_S  # between two lines about broken requests

_NOT_HTTP: Final = Problem(
    name="bad-request",
    title="The request is no valid HTTP",
    status=400,
    detail="The request line, a header or the body's framing breaks HTTP/1.1; correct it.",
)
_HEAD_TOO_LATE: Final = Problem(
    name="request-timeout",
    title="The request's head came too slowly",
    status=408,
    detail="Send the request line and the headers without a pause.",
)
_HEAD_TOO_LARGE: Final = Problem(
    name="headers-too-large",
    title="The headers are too large",
    status=431,
    detail=f"Send at most {HEADER_BYTES_MAX} bytes of headers.",
)
_TOO_MANY: Final = Problem(
    name="overloaded",
    title="The server is overloaded",
    status=503,
    detail="The server has as many connections as it takes; use fewer, and retry later.",
    headers={"Retry-After": "1"},
)


class ConnectionServer(web.Server):
    """Make a `Connection` for each client, and know them all."""

    def __init__(
        self,
        handler: Handler,
        *,
        request_factory: Callable[..., web.BaseRequest],
        service: Service,
        arguments: dict[str, Any],
        connections_max: int = CONNECTIONS_MAX,
        header_timeout_s: float = HEADER_TIMEOUT_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        answer_bytes_max: int = ANSWER_BYTES_WAITING_MAX,
    ) -> None:
        """Take over what a server of aiohttp's would do.

        Args:
            handler: answers every request.
            request_factory: the application's own.
            service: the application's own.
            arguments: of each connection, as `web.Application(handler_args=...)` has them.
            connections_max: open at a time; the next ones are answered 503 and closed.
            header_timeout_s: from the first byte of a head to its last.
            answer_timeout_s: for a client to fetch the next byte of an answer that waits for it.
            answer_bytes_max: of answers that wait for their clients; beyond it those connections
                end that have waited the longest.
        """
        super().__init__(
            cast("Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]", handler),
            request_factory=request_factory,  # which makes the requests that `handler` wants
            **arguments,
        )
        self.service = service
        self.open: set[Connection] = set()
        self.connections_max = connections_max
        self.header_timeout_s = header_timeout_s
        self.answer_timeout_s = answer_timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._waiting: dict[Connection, int] = {}  # bytes of their answers; the longest wait first
        self._waiting_bytes = 0
        self.all_closed = asyncio.Event()
        self.all_closed.set()
        self._arguments = arguments
        self._broken = 0  # requests since the last line about them
        self._told_ns = -_QUIET_NS

    def __call__(self) -> "Connection":
        """Make the protocol of one more connection."""
        return Connection(self, loop=asyncio.get_running_loop(), **self._arguments)

    async def end_idle(self, wait_s: float) -> None:
        """Close the idle connections; then wait up to `wait_s` for every one to be gone."""
        for connection in tuple(self.open):
            connection.end_if_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.all_closed.wait()

    def answer_waits(self, connection: "Connection", bytes_count: int) -> None:
        """Note that a client does not fetch its answer; make room if too many bytes wait."""
        self._waiting[connection] = bytes_count
        self._waiting_bytes += bytes_count
        while self._waiting_bytes > self._answer_bytes_max:
            self.service.metrics.requests_refused.labels("answer_bytes_waiting").inc()
            longest = next(iter(self._waiting))
            self.answer_went(longest)
            longest.abandon()

    def answer_went(self, connection: "Connection") -> None:
        """Note that an answer has been fetched, or is given up."""
        self._waiting_bytes -= self._waiting.pop(connection, 0)

    def tell_broken(self, error: BaseException | None) -> None:
        """Log that requests are broken, at most once in ten seconds, without what they hold."""
        self._broken += 1
        now_ns = self.service.now_ns()
        if now_ns - self._told_ns >= _QUIET_NS:
            _log.warning("bad_http", reason=type(error).__name__, requests_count=self._broken)
            self._told_ns = now_ns
            self._broken = 0


class Connection(RequestHandler):
    """aiohttp's protocol with a watch over heads; everything else is its own."""

    __slots__ = (
        "_answer_timer",
        "_head_bytes",
        "_head_timer",
        "_last_payload",
        "_server",
        "_unfetched_bytes",
    )

    def __init__(self, server: ConnectionServer, **arguments: Any) -> None:
        """Begin with no head under way."""
        super().__init__(server, **arguments)
        self._server = server
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._unfetched_bytes = 0  # of answers, when it was last looked at
        self._last_payload: StreamReader = EMPTY_PAYLOAD  # of the last request whose head is whole

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection on, or turn it away if there are too many."""
        server = self._server
        if len(server.open) >= server.connections_max:
            server.service.metrics.requests_refused.labels("connections").inc()
            self.force_close()  # takes no data from here on
            stream = cast("asyncio.Transport", transport)  # create_server makes no other kind
            stream.write(_last_words(_TOO_MANY))
            stream.close()
            return
        server.open.add(self)
        server.all_closed.clear()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of everything."""
        self._head_is_whole()
        self._answer_is_fetched()
        super().connection_lost(exc)
        server = self._server
        server.open.discard(self)
        if not server.open:
            server.all_closed.set()

    def data_received(self, data: bytes) -> None:
        """Parse, then see whether a head is left unfinished."""
        if self._upgraded:
            super().data_received(data)  # a WebSocket's, which bounds its own messages
            return
        was_in_body = not self._last_payload.is_eof()
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            if self._head_timer is not None:
                self._head_is_whole()
            if self._messages:
                self._last_payload = self._messages[-1][1]
            if self._last_payload is EMPTY_PAYLOAD and not data.endswith(_END_OF_HEAD):
                self._head_grows(len(data) - data.rfind(_END_OF_HEAD) - len(_END_OF_HEAD))
        elif data and not was_in_body:
            # A head that begins behind a body in one segment is seen when its next bytes come, or
            # when the keep-alive time ends.
            self._head_grows(len(data))

    async def start(self) -> None:
        """Answer one request after the other until the connection is to end.

        As aiohttp's own does, but in this one task: a task for each request, which it makes for the
        sake of context variables, takes two more turns of the event loop, a twentieth of a read.
        The only such variable here, the request's id, is bound anew by each request.
        """
        loop = self._loop
        while not self._force_close:
            if not self._messages:
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            if not await self._serve_next():
                break
            close_at_s = self._next_keepalive_close_time = loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = loop.call_at(close_at_s, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _serve_next(self) -> bool:
        """Answer the first request that waits. Returns: whether the connection goes on."""
        sent, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        self._server.requests_count += 1
        if isinstance(sent, RawRequestMessage):
            message, handler = sent, self._request_handler
        else:  # it could not be read
            bind_request_id(None)
            message, handler = ERROR, self._make_error_handler(sent)
        assert handler is not None
        assert self._request_factory is not None
        assert self._task_handler is not None
        writer = StreamWriter(self, self._loop)
        request = self._request_factory(message, payload, self, writer, self._task_handler)
        try:
            answer, is_lost = await self._handle_request(request, None, handler)
            if is_lost:
                return False
            self._keepalive = bool(answer.keep_alive)
            if not payload.is_eof():
                await self._pass_over(payload)
            payload.set_exception(_TOO_LATE)
        except ConnectionError:
            return False
        except Exception as error:  # noqa: BLE001 -- nothing but the end of the connection is left
            _log.error("connection_failed", exc_info=error)
            self.force_close()
        except BaseException:
            self.force_close()
            raise
        return self._keepalive and not self._close and not self._force_close

    async def _pass_over(self, payload: StreamReader) -> None:
        """Throw away the rest of a body that nobody wanted; the connection ends if it is long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._lingering_time):
                while not payload.is_eof() and not self._force_close:
                    await payload.readany()
        if not payload.is_eof() and not self._force_close:
            self.close()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 -- aiohttp's signature
        """Resume what was paused; aiohttp calls this at each read of a body, paused or not."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def pause_writing(self) -> None:
        """Watch over an answer that its client is slow to fetch."""
        super().pause_writing()
        transport = self.transport
        if transport is None:
            return
        self._unfetched_bytes = transport.get_write_buffer_size()
        self._watch_answer()
        self._server.answer_waits(self, self._unfetched_bytes)

    def resume_writing(self) -> None:
        """Go on: almost all of the answer is fetched."""
        self._answer_is_fetched()
        super().resume_writing()

    def abandon(self) -> None:
        """End the connection, and give up the answers that are on their way."""
        if self.transport is not None:
            self.transport.abort()

    def end_if_idle(self) -> None:
        """Close the connection unless a request is being read or answered on it."""
        if self._is_idle:
            self.force_close()

    def handle_error(  # noqa: PLR0917 -- aiohttp's signature
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse, or what failed outside of every endpoint."""
        del message  # it quotes the request
        if status < 500:  # noqa: PLR2004 -- the client's fault, or the server's
            self._server.tell_broken(exc)
            problem = _NOT_HTTP
        else:
            _log.error("connection_failed", exc_info=exc)
            problem = problem_of(exc or TimeoutError())
        if request.writer.output_size > 0:
            raise ConnectionResetError("An answer is already under way.")
        return self._server.service.answer_unparsed(request, problem)

    @property
    def _is_idle(self) -> bool:
        """Tell whether aiohttp's loop on this connection waits for the next request."""
        return self._waiter is not None and not self._waiter.done()

    def _watch_answer(self) -> None:
        self._answer_timer = self._loop.call_later(
            self._server.answer_timeout_s, self._look_at_answer
        )

    def _look_at_answer(self) -> None:
        """Give the answer up unless some of it was fetched since the last look."""
        self._answer_timer = None
        if self.transport is None:
            return
        bytes_count = self.transport.get_write_buffer_size()
        if bytes_count >= self._unfetched_bytes:
            self._server.service.metrics.requests_refused.labels("answer_too_slow").inc()
            self.abandon()
            return
        self._unfetched_bytes = bytes_count
        self._watch_answer()

    def _answer_is_fetched(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
        self._server.answer_went(self)

    def _head_grows(self, bytes_count: int) -> None:
        if self._close or self._force_close:
            return
        self._head_bytes += bytes_count
        if self._head_bytes > HEADER_BYTES_MAX:
            self._give_up(_HEAD_TOO_LARGE)
        elif self._head_timer is None:
            self._head_timer = self._loop.call_later(
                self._server.header_timeout_s, self._give_up, _HEAD_TOO_LATE
            )

    def _head_is_whole(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self, problem: Problem) -> None:
        """End the connection: at once if it is idle, else behind the answers that are due."""
        self._head_is_whole()
        if not self._is_idle or self.transport is None:
            self.close()
            return
        service = self._server.service
        service.metrics.operation(service.dialect.surface, "unmatched").answered(
            problem.status, 0.0
        )
        service.outbox.flush()
        self.transport.write(_last_words(problem))
        self.force_close()


def _last_words(problem: Problem) -> bytes:
    """Render the answer to a request that never came to be; it has no id."""
    body = problem_body(problem, request_id="")
    headers = {
        **COMMON_HEADERS,
        **problem.headers,
        "Content-Type": PROBLEM_JSON,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {problem.status} {problem.title}\r\n{lines}\r\n".encode("ascii") + body
