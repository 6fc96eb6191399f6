"""What a connection stands: senders that break the protocol, that are silent, that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from dstore.base.clock import SystemClock
from dstore.base.limits import (
    PEER_FRAME_BYTES_MAX,
    PEER_FRAME_RECORDS_MAX,
    PEER_PAYLOAD_BYTES_MAX,
)
from dstore.model.errors import RefusalKind, Refused, Unknown
from dstore.replication.peers.errors import Unreachable, decode_error
from dstore.replication.peers.records import (
    VERSION,
    Answer,
    Beat,
    Call,
    CloseCode,
    GoAway,
    Hello,
    LargeAnswer,
    LargeCall,
    Part,
    Record,
    decode_frame,
    encode,
)
from dstore.security.identity import Identity
from dstore.security.tls import TlsContexts
from tests.support.peers import (
    NODE,
    PROXY,
    Echo,
    Grow,
    Node,
    Served,
    Wait,
    Write,
    credentials_in,
    remote,
    served,
    until,
)

RAW = msgspec.Raw(encode(Echo(b"x")))
CALL = Call(1, "test.echo", 5_000, "", RAW)


@pytest.fixture
async def node() -> Node:
    return Node()


@pytest.fixture
def contexts(tmp_path: Path) -> dict[Identity, TlsContexts]:
    return {one: credentials_in(tmp_path / one.uuid, one) for one in (NODE, PROXY)}


@pytest.fixture
async def at(node: Node, contexts: dict[Identity, TlsContexts]) -> AsyncIterator[Served]:
    async with served(node.methods, contexts[NODE].server, beat_s=0.1) as running:
        yield running


def hello(here: Identity, wanted: Identity, *, version: int = VERSION) -> bytes:
    said = Hello(version, here.uri, wanted.uri, SystemClock().wall_us())
    return encode([said])


@asynccontextmanager
async def raw_client(
    at: Served, context: TlsContexts, *, greeting: bytes | None = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Connect as the proxy, and greet; the rest is the test's."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            at.url + "/peer/v1", ssl=context.client, max_msg_size=0, compress=0
        ) as socket,
    ):
        await socket.send_bytes(greeting or hello(PROXY, NODE))
        yield socket


async def end_of(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """Read until the connection ends. Returns: the code and the reason."""
    async with asyncio.timeout(5):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type is not aiohttp.WSMsgType.BINARY:
                return socket.close_code, ""


async def answers(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[Answer]:
    """Read so many answers."""
    found: list[Answer] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, message
            found += [one for one in decode_frame(message.data) if isinstance(one, Answer)]
    return found


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "garbage": b"\xc1\xff\x00garbage",
    "no array": encode(7),
    "cut off": encode([CALL])[:-3],
    "nested": b"\x91" * 100_000,
    "more elements than bytes": b"\xdd\xff\xff\xff\xff",
    "a long text": b"\x91\x95\x01\x01\xdb\xff\xff\xff\xff",
    "nested payload": encode([CALL])[: -len(bytes(RAW))] + b"\x91" * 100_000,
    "unknown tag": encode([[99, 1]]),
    "too many records": encode([Beat()] * (PEER_FRAME_RECORDS_MAX + 1)),
    "number below one": encode([[1, 0, "test.echo", 5, "", 1]]),
    "negative time": encode([[1, 1, "test.echo", -5, "", 1]]),
    "a name too long": encode([[1, 1, "x" * 1_000, 5, "", 1]]),
    "a second greeting": hello(PROXY, NODE),
    "an answer": encode([Answer(1, False, RAW)]),
    "a part of nothing": encode([Part(1, b"x")]),
    "announced twice": encode([LargeCall(1, "test.echo", 5_000, "", 50_000)] * 2),
    "announced too large": encode([[3, 1, "test.echo", 5_000, "", PEER_PAYLOAD_BYTES_MAX + 1]]),
    "more than announced": encode([LargeCall(1, "test.echo", 5_000, "", 10), Part(1, b"x" * 11)]),
    "a part too large": encode([LargeCall(1, "test.echo", 5, "", 90_000), [5, 1, b"x" * 40_000]]),
    "a frame too large": b"\xc0" * (PEER_FRAME_BYTES_MAX + 1),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_frames(
    at: Served, contexts: dict[Identity, TlsContexts], node: Node, kind: str
) -> None:
    """A caller that breaks the protocol is told so and cut off; others do not notice."""
    async with raw_client(at, contexts[PROXY]) as socket:
        await socket.send_bytes(encode([CALL]))
        await answers(socket, 1)
        await socket.send_bytes(BROKEN[kind])
        code, _ = await end_of(socket)
    assert code in {CloseCode.MALFORMED, aiohttp.WSCloseCode.MESSAGE_TOO_BIG}
    await until(lambda: not at.server.connections)
    peer = remote(at.url, contexts[PROXY])
    assert (await peer.call(Echo(b"on"), deadline_s=5)).data == b"on"
    await peer.close()
    assert node.begun == 2


@pytest.mark.parametrize(
    ("greeting", "code"),
    [
        (hello(PROXY, NODE, version=99), CloseCode.VERSION),
        (b"\xc1", CloseCode.MALFORMED),
        (encode([CALL]), CloseCode.MALFORMED),
        (encode([]), CloseCode.MALFORMED),
    ],
)
async def test_broken_greetings(
    at: Served, contexts: dict[Identity, TlsContexts], greeting: bytes, code: int
) -> None:
    """Nothing is answered before a greeting; another version is told which one this is."""
    async with raw_client(at, contexts[PROXY], greeting=greeting) as socket:
        ended, reason = await end_of(socket)
    assert (ended, bool(reason)) == (code, True)


async def test_a_request_that_is_malformed(
    at: Served, contexts: dict[Identity, TlsContexts], node: Node
) -> None:
    """It is refused by itself: the frame was well-formed, so the connection goes on."""
    bad = [msgspec.Raw(encode(one)) for one in (7, [], [7], {"a": 1}, [b"x", 1, 2])]
    async with raw_client(at, contexts[PROXY]) as socket:
        calls = [Call(n, "test.echo", 5_000, "", one) for n, one in enumerate(bad, 1)]
        await socket.send_bytes(encode(calls))
        found = await answers(socket, len(bad))
    errors = [decode_error(one.payload, is_safe=True) for one in found if one.is_error]
    assert len(errors) == len(bad) - 1  # further fields are a later version's
    assert {error.kind for error in errors if isinstance(error, Refused)} == {RefusalKind.INVALID}
    assert node.begun == 1


async def test_a_call_without_time(
    at: Served, contexts: dict[Identity, TlsContexts], node: Node
) -> None:
    """A large call whose caller has given up when it is complete is not begun."""
    payload = encode(Echo(b"x" * 50_000))
    async with raw_client(at, contexts[PROXY]) as socket:
        opening = LargeCall(1, "test.echo", 1, "", len(payload))
        await socket.send_bytes(encode([opening, Part(1, payload[:30_000])]))
        await asyncio.sleep(0.05)
        await socket.send_bytes(encode([Part(1, payload[30_000:]), CALL.__class__(2, *FIELDS)]))
        found = await answers(socket, 1)
        assert [one.id for one in found] == [2]
        assert at.server.connections[0].dropped == 1
    assert node.begun == 1


FIELDS: tuple[Any, ...] = ("test.echo", 5_000, "", RAW)


async def test_a_caller_that_is_silent(at: Served, contexts: dict[Identity, TlsContexts]) -> None:
    """A side without a sign of life is given up within a few beats."""
    async with raw_client(at, contexts[PROXY]) as socket:
        await until(lambda: bool(at.server.connections))
        await until(lambda: not at.server.connections)
        assert not socket.closed


async def test_a_caller_that_stops_reading(
    at: Served, contexts: dict[Identity, TlsContexts]
) -> None:
    """What it asked for waits, bounded; it is read no further, and given up within some beats."""
    async with raw_client(at, contexts[PROXY]) as socket:
        await until(lambda: bool(at.server.connections))
        (one,) = at.server._open
        grow = msgspec.Raw(encode(Grow(4 << 20)))
        most = 0

        async def ask() -> None:
            nonlocal most
            for number in range(1, 10_000):
                await socket.send_bytes(encode([Call(number, "test.grow", 60_000, "", grow)]))
                most = max(most, one.link.bytes_waiting)
                await asyncio.sleep(0.002)

        with pytest.raises((ConnectionError, TimeoutError, aiohttp.ClientError)):
            async with asyncio.timeout(8):
                await ask()
        await until(lambda: not at.server.connections)
    assert 0 < most <= (64 << 20) + (8 << 20)


Act = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def raw_server(context: TlsContexts, act: Act) -> AsyncIterator[str]:
    """Be a node that greets, and then does what the test says."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        await socket.receive()
        await socket.send_bytes(hello(NODE, PROXY))
        await act(socket)
        return socket

    application = web.Application()
    application.router.add_get("/peer/v1", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context.server).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def replying(*replies: Record | bytes) -> Act:
    """Answer each frame of calls with these records."""

    async def act(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if any(isinstance(one, Call) for one in decode_frame(message.data)):
                for reply in replies:
                    whole = reply if isinstance(reply, bytes) else encode([reply])
                    await socket.send_bytes(whole)

    return act


SAID = msgspec.Raw(encode([b"said", 0]))
YES = Answer(1, False, SAID)


async def test_a_node_that_answers_twice(contexts: dict[Identity, TlsContexts]) -> None:
    """The first answer counts; the second is counted and passed over."""
    large = LargeAnswer(1, False, 10)
    async with raw_server(contexts[NODE], replying(YES, YES, large, Part(1, b"x" * 10))) as url:
        peer = remote(url, contexts[PROXY])
        assert (await peer.call(Echo(b""), deadline_s=5)).data == b"said"
        await until(lambda: peer.state.late_answers == 2)
        assert peer.state.dials == 1
        await peer.close()


@pytest.mark.parametrize(
    "lie",
    [
        b"\xc1",
        b"\x91" * 100_000,
        encode([Answer(999, False, SAID)]),
        encode([CALL]),
        encode([Part(1, b"x")]),
        encode([[4, 1, False, PEER_PAYLOAD_BYTES_MAX + 1]]),
        b"\xc0" * (PEER_FRAME_BYTES_MAX + 1),
    ],
)
async def test_a_node_that_breaks_the_protocol(
    contexts: dict[Identity, TlsContexts], lie: bytes
) -> None:
    """The connection ends; a write under way is unknown, since it had left."""
    async with raw_server(contexts[NODE], replying(lie)) as url:
        peer = remote(url, contexts[PROXY])
        with pytest.raises(Unknown):
            await peer.call(Write(b""), deadline_s=5)
        await peer.close()


@pytest.mark.parametrize(
    "payload", [encode(7), encode([7]), encode([b"x", "y"]), b"\x81\xa1a\x90", encode(None)]
)
async def test_an_answer_that_is_malformed(
    contexts: dict[Identity, TlsContexts], payload: bytes
) -> None:
    """The call has been answered, nobody knows how: unknown for a write, a retry for a read."""
    reply = Answer(1, False, msgspec.Raw(payload))
    for request, error in ((Write(b""), Unknown), (Wait(b""), Unreachable)):
        async with raw_server(contexts[NODE], replying(reply)) as url:
            peer = remote(url, contexts[PROXY])
            with pytest.raises(error, match="can't be read"):
                await peer.call(request, deadline_s=5)
            await peer.close()


async def test_a_node_that_falls_silent(contexts: dict[Identity, TlsContexts]) -> None:
    """A hung node is noticed within a few beats, long before the deadline."""

    async def hang(_socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(30)

    async with raw_server(contexts[NODE], hang) as url:
        peer = remote(url, contexts[PROXY], beat_s=0.1)
        async with asyncio.timeout(30):
            with pytest.raises(Unknown, match="silent"):
                await peer.call(Write(b""), deadline_s=60)
        await peer.close()


async def test_a_node_that_sends_everybody_away(contexts: dict[Identity, TlsContexts]) -> None:
    """It is dialled again, but ever more slowly, and not in a tight loop."""
    dials = 0

    async def away(socket: web.WebSocketResponse) -> None:
        nonlocal dials
        dials += 1
        await socket.send_bytes(encode([GoAway("no")]))
        await socket.receive()

    async with raw_server(contexts[NODE], away) as url:
        peer = remote(url, contexts[PROXY])
        peer.open()
        await asyncio.sleep(1)
        assert dials <= 8
        await until(lambda: dials >= 2)
        await peer.close()
