"""Clients that dawdle, flood or vanish hold nothing for long (RELIABILITY.md 4.5)."""

import asyncio
import time

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from dstore.api.http.answer import Answer
from dstore.api.http.route import Route
from dstore.base.limits import MIB
from tests.unit.api.http.serving import PATIENCE_S, Served, parse, receive, served, until

ENTRY = b"/v1/tenant/acme/table/orders/id/k1"
GET = b"GET " + ENTRY + b" HTTP/1.1\r\nHost: test\r\n\r\n"
PUT = b"PUT " + ENTRY + b" HTTP/1.1\r\nHost: test\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: te", PUT + b"Content-Length: 5\r\n"],
)
async def test_half_a_head_then_silence_is_ended(sent: bytes) -> None:
    """A slowloris connection would be held for the keep-alive time, 75 s."""
    async with served(header_timeout_s=0.2) as server:
        (reply,) = parse(await server.send(sent))
        assert (reply.status, reply.problem) == (408, "request-timeout")
        assert server.listener.connection_count == 0


async def test_trickled_head_is_ended() -> None:
    """The time is for the whole head: more bytes buy no more of it."""
    async with served(header_timeout_s=0.3) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        got = bytearray()
        answer = asyncio.get_running_loop().create_task(receive(reader, got))
        writer.write(b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(PATIENCE_S):
            while not answer.done():
                writer.write(b"A: b\r\n")
                await asyncio.sleep(0.05)
        assert [reply.status for reply in parse(bytes(got))] == [408]
        writer.close()


async def test_head_in_pieces_is_served() -> None:
    """A head may come in any number of segments, if it comes in time."""
    head = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    pieces = [head[index : index + 7] for index in range(0, len(head), 7)]
    async with served(header_timeout_s=2) as server:
        (reply,) = parse(await server.send(*pieces, pause_s=0.002))
        assert reply.status == 200


async def test_half_a_head_behind_a_request_is_ended() -> None:
    """The watch also begins behind a whole request in the same segment."""
    async with served(header_timeout_s=0.2) as server:
        replies = parse(await server.send(GET + b"GET / HT"))
        assert [reply.status for reply in replies] == [200, 408]


async def test_large_head_in_pieces_is_refused_before_its_end() -> None:
    """The bound holds while a head arrives; it need not be whole."""
    async with served(header_timeout_s=5) as server:
        lines = [b"X-A: " + b"a" * 4_000 + b"\r\n"] * 6
        (reply,) = parse(await server.send(b"GET / HTTP/1.1\r\n", *lines, pause_s=0.02))
        assert (reply.status, reply.problem) == (431, "headers-too-large")


async def test_body_in_pieces_does_not_count_as_a_head() -> None:
    """The bytes of a long upload are no head, even if more than a head may have."""
    body = [b"a" * 2_000] * 2
    async with served(header_timeout_s=0.1) as server:
        head = PUT + b"Connection: close\r\nContent-Length: 4000\r\n\r\n"
        (reply,) = parse(await server.send(head, *body, pause_s=0.11))
        assert (reply.status, reply.body) == (201, b'{"bytes":4000}')


async def test_connection_between_requests_stays_open() -> None:
    """The watch over heads is none over idle connections."""
    async with served(header_timeout_s=0.1) as server:
        replies = parse(await server.send(GET, GET, pause_s=0.3, wait_s=1))
        assert [reply.status for reply in replies] == [200, 200]


async def test_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    """An idle connection costs memory."""
    async with served(keep_alive_timeout_s=0.2) as server:
        async with asyncio.timeout(PATIENCE_S):
            assert len(parse(await server.send(GET, wait_s=2 * PATIENCE_S))) == 1


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100\r\n\r\na", b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"]
)
async def test_body_that_stops_coming_is_answered_408(framing: bytes) -> None:
    """The handler of the echo gives a body 0.5 s."""
    async with served() as server:
        (reply,) = parse(await server.send(PUT + framing, wait_s=4))
        assert (reply.status, reply.problem) == (408, "request-timeout")
        assert reply.headers["connection"] == "close"
        assert server.admission.body_bytes == 0


async def test_trickled_body_is_answered_408() -> None:
    """A byte now and then earns no time: the floor is a pace."""
    async with served() as server:
        head = PUT + b"Content-Length: 100\r\n\r\n"
        replies = parse(await server.send(head, *[b"a"] * 20, pause_s=0.04, wait_s=4))
        assert [reply.status for reply in replies] == [408]


async def test_chunk_flood_is_ended_without_a_stall() -> None:
    """200,000 chunks of a byte cost aiohttp 2 s; here the 4,097th ends it, and others go on."""
    flood = b"1\r\na\r\n" * 200_000
    async with served() as server:
        slowest = 0.0

        async def watch() -> None:
            nonlocal slowest
            while True:
                began = time.thread_time()  # of this loop alone, whoever else has the processor
                assert (await server.ask("GET /health/live HTTP/1.1")).status == 200
                slowest = max(slowest, time.thread_time() - began)

        watcher = asyncio.get_running_loop().create_task(watch())
        (reply,) = parse(
            await server.send(PUT + b"Transfer-Encoding: chunked\r\n\r\n", flood, wait_s=5)
        )
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)  # its connection ends with it
        assert reply.status in {400, 413}
        assert slowest < 0.5


async def test_client_that_leaves_amid_its_body_is_no_error() -> None:
    """Clients vanish all day: no line in the log, no 5xx in the counts, nothing held."""
    with capture_logs() as events:
        async with served() as server:
            for framing in (
                b"Content-Length: 100\r\n\r\nabc",
                b"Transfer-Encoding: chunked\r\n\r\n5\r\na",
            ):
                await server.send(PUT + framing, wait_s=0.1)
            await server.listener.stop(timeout_s=2)  # waits until every connection is gone
            assert server.admission.body_bytes == 0
            page = server.metrics.render().decode()
    assert 'dstore_requests_total{operation="put_entry",status="499",surface="test"} 2.0' in page
    assert events == []


async def test_expectation_is_answered_before_the_body_comes() -> None:
    """A client that waits for 100 Continue gets it, and only it, at first."""
    async with served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        writer.write(PUT + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert b" 201 " in await reader.readline()
        writer.close()


LARGE_BYTES = 16 * MIB  # more than the kernel's buffers take


async def _large(_request: web.Request) -> Answer:
    return Answer(b"a" * LARGE_BYTES)


LARGE = Route(method="GET", path="/large", handler=_large, operation="large")


async def _ask_and_not_read(server: Served) -> asyncio.StreamWriter:
    """Ask for a large answer, and leave it to the server; the limit makes reading pause."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.listener.port, limit=1_024)
    writer.write(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
    return writer


async def test_an_answer_that_nobody_fetches_is_given_up() -> None:
    """It lay in memory for as long as its client liked."""
    async with served([LARGE], answer_timeout_s=0.2) as server:
        writer = await _ask_and_not_read(server)
        await until(lambda: server.listener.connection_count == 1)
        await until(lambda: server.listener.connection_count == 0)
        assert b'requests_refused_total{reason="answer_too_slow"} 1.0' in server.metrics.render()
        writer.close()


async def test_an_answer_that_is_fetched_slowly_arrives() -> None:
    """The time is for the next bytes of it, not for the whole."""
    async with served([LARGE], answer_timeout_s=1.0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        writer.write(b"GET /large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        got, began_s = 0, time.monotonic()
        while data := await reader.read(1 * MIB):
            got += len(data)
            await asyncio.sleep(0.02)
        assert got > LARGE_BYTES
        assert time.monotonic() - began_s > 1.0
        writer.close()


async def test_of_too_many_answers_those_go_that_waited_longest() -> None:
    """Clients that fetch nothing must not take the memory of all others."""
    async with served([LARGE], answer_bytes_max=LARGE_BYTES * 2) as server:
        writers = [await _ask_and_not_read(server) for _ in range(4)]
        await until(lambda: b'"answer_bytes_waiting"}' in server.metrics.render())
        await until(lambda: server.listener.connection_count < 4)
        assert server.listener.connection_count >= 1
        reply = await server.ask("GET /large HTTP/1.1", wait_s=5.0)
        assert len(reply.body) == LARGE_BYTES
        for writer in writers:
            writer.close()
