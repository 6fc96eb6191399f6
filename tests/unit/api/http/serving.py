"""A small application behind a real listener on a free port of loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from dstore.api.http.admission import Admission
from dstore.api.http.answer import Answer, json_answer
from dstore.api.http.application import build_application
from dstore.api.http.body import read_body
from dstore.api.http.health import Readiness, health_routes
from dstore.api.http.listener import Listener
from dstore.api.http.route import Route
from dstore.base.entropy import SystemEntropy
from dstore.base.metrics import Metrics, create_metrics

BODY_BYTES_MAX = 4_096
PATIENCE_S = 20.0  # other tests may have the machine meanwhile
ENTRY = "/v1/tenant/{tenant}/table/{table}/id/{id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def problem(self) -> str:
        """Return the last part of the problem's type; the answer must be a well-formed one."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["detail"].endswith("."), problem
        name: str = problem["type"].removeprefix("urn:dstore:problem:")
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The listener and what a test wants to look at."""

    listener: Listener
    metrics: Metrics
    admission: Admission

    async def send(self, *pieces: bytes, pause_s: float = 0.0, wait_s: float = 2.0) -> bytes:
        """Send bytes on a connection of their own; return what came until it was closed.

        Returns what there is after `wait_s` if the connection stays open.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        got = bytearray()
        receiving = asyncio.get_running_loop().create_task(receive(reader, got))
        try:
            async with asyncio.timeout(wait_s):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    if pause_s:
                        await asyncio.sleep(pause_s)
                await receiving
        except (TimeoutError, ConnectionError):
            pass
        finally:
            receiving.cancel()
            await asyncio.wait((receiving,))
            writer.close()
        return bytes(got)

    async def ask(self, head: str, body: bytes = b"", **options: float) -> Reply:
        """Send one request with `Connection: close`; `head` is its lines but for Host."""
        lines = head.replace("\n", "\r\n") + "\r\nHost: test\r\nConnection: close\r\n\r\n"
        return parse(await self.send(lines.encode("latin-1") + body, **options))[-1]


async def receive(reader: asyncio.StreamReader, got: bytearray) -> None:
    """Read until the connection ends, also by a reset, behind which nothing could be read later."""
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            got += data


async def until(holds: Callable[[], object]) -> None:
    """Wait for what the server does a moment later."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for announces itself to nobody
            await asyncio.sleep(0.005)


def parse(data: bytes) -> list[Reply]:
    """Cut what a server sent into answers; each has a Content-Length, or no body."""
    replies: list[Reply] = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        status_line, *lines = head.decode("ascii").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), lines  # no header comes twice
        length = int(headers.get("content-length", "0"))
        status = int(status_line.split(" ")[1])
        replies.append(Reply(status=status, headers=headers, body=data[:length]))
        data = data[length:]
    return replies


@asynccontextmanager
async def served(
    routes: Sequence[Route] = (), *, ready: Callable[[], Readiness] | None = None, **options: Any
) -> AsyncIterator[Served]:
    """Serve routes, besides those of health and an echo at ENTRY.

    Options named `request_log`, `clock` and `render_error` are the application's, `requests_max`
    and `body_bytes_max` the admission's, the others the listener's.
    """
    metrics = create_metrics()
    admission = Admission(
        metrics, **{name: options.pop(name) for name in _OF_ADMISSION if name in options}
    )
    of_application = {name: options.pop(name) for name in _OF_APPLICATION if name in options}
    application = build_application(
        (*echo_routes(), *health_routes(ready or (lambda: Readiness(is_ready=True))), *routes),
        surface="test",
        metrics=metrics,
        entropy=SystemEntropy(),
        admission=admission,
        **of_application,
    )
    listener = Listener(application, host="127.0.0.1", port=0, **options)
    await listener.start()
    try:
        yield Served(listener=listener, metrics=metrics, admission=admission)
    finally:
        await listener.stop(timeout_s=0.2)


_OF_ADMISSION = ("requests_max", "body_bytes_max")
_OF_APPLICATION = ("request_log", "clock", "render_error")


def echo_routes() -> tuple[Route, ...]:
    """Answer the values of the path, and the length of the body."""

    async def get(request: web.Request) -> Answer:
        return json_answer(dict(request.match_info))

    async def put(request: web.Request) -> Answer:
        body = await read_body(
            request, bytes_max=BODY_BYTES_MAX, timeout_s=0.5, bytes_per_s_min=65_536
        )
        return json_answer({"bytes": len(body)}, status=201)

    return (
        Route(method="GET", path=ENTRY, handler=get, operation="get_entry"),
        Route(method="PUT", path=ENTRY, handler=put, operation="put_entry"),
    )
