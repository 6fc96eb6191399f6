"""Answers wait for the end of a turn, and never change places on a connection."""

import asyncio

from aiohttp import web

from dstore.api.http.answer import Answer
from dstore.api.http.body import read_body
from dstore.api.http.outbox import Outbox
from dstore.api.http.route import Route
from tests.unit.api.http.serving import served


class _Wire(asyncio.Transport):
    """A transport that notes what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed


async def test_a_turn_is_written_at_its_end_in_order() -> None:
    """Nothing goes out while the turn lasts; then all of it does."""
    outbox, one, two, gone = Outbox(), _Wire(), _Wire(), _Wire()
    outbox.put(one, b"1")
    outbox.put(two, b"2")
    outbox.put(one, b"3")
    outbox.put(gone, b"4")
    gone.is_closed = True
    assert one.written == []
    await asyncio.sleep(0)
    assert (one.written, two.written, gone.written) == ([b"1", b"3"], [b"2"], [])
    outbox.put(one, b"5")
    await asyncio.sleep(0)
    assert one.written == [b"1", b"3", b"5"]


async def test_answers_keep_their_places_whatever_their_kind() -> None:
    """One connection, four requests in one segment: fast, streamed, 100 Continue, closing."""

    async def fast(_request: web.Request) -> Answer:
        return Answer(b"first", content_type="text/plain")

    async def streamed(_request: web.Request) -> web.Response:
        return web.Response(text="second")

    async def echo(request: web.Request) -> Answer:
        return Answer(await read_body(request, bytes_max=10), content_type="text/plain")

    routes = (
        Route(method="GET", path="/fast", handler=fast, operation="fast"),
        Route(method="GET", path="/streamed", handler=streamed, operation="streamed"),
        Route(method="PUT", path="/echo", handler=echo, operation="echo"),
    )
    async with served(routes) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.listener.port)
        host = b" HTTP/1.1\r\nHost: x\r\n"
        writer.write(
            b"GET /fast" + host + b"\r\n"
            b"GET /streamed" + host + b"\r\n"
            b"GET /fast" + host + b"\r\n"
            b"PUT /echo" + host + b"Expect: 100-continue\r\nContent-Length: 5\r\n"
            b"Connection: close\r\n\r\n"
        )
        whole = await reader.readuntil(b"100 Continue")
        writer.write(b"third")
        whole += await reader.read()
        writer.close()
    places = [whole.index(part) for part in (b"first", b"second", b"100 Continue", b"third")]
    assert places == sorted(places)
    assert whole.count(b"first") == 2
    assert whole.rindex(b"first") < whole.index(b"100 Continue")
