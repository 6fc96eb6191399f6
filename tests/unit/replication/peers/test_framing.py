"""WebSocket frames over a played transport: what arrives in any pieces, and what is said."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstore.base.limits import PEER_FRAME_BYTES_MAX, PEER_UPGRADE_BYTES_MAX
from dstore.replication.peers.framing import FrameStream, NotUpgraded
from dstore.replication.peers.records import CloseCode, Closed

NONCE = b"the sample nonce"  # of RFC 6455 1.3
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"sec-websocket-accept:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Played(asyncio.Transport):
    """A transport whose other side is the test."""

    def __init__(self, protocol: asyncio.BaseProtocol | None = None) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.reading = True
        self.closing = False
        self.aborted = False

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self.protocol is not None
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True


class Former(asyncio.Protocol):
    """Who had the transport before."""

    lost = 0

    def connection_lost(self, exc: BaseException | None) -> None:
        del exc
        self.lost += 1


def stream(*, is_client: bool = False) -> tuple[FrameStream, Played]:
    """Make one side that is connected."""
    one, transport = FrameStream(is_client=is_client), Played(Former())
    one.take_over(transport)
    return one, transport


def taken(one: FrameStream) -> list[bytes | Closed]:
    """Listen, and return where all that arrives is gathered."""
    arrived: list[bytes | Closed] = []
    one.listen(arrived.append, lambda: None)
    return arrived


def framed(payload: bytes, *, kind: int = 0x82, key: bytes | None = b"\x01\x80\x00\xff") -> bytes:
    """Write a frame as RFC 6455 5.2 has it; without a key it is not masked."""
    size = len(payload)
    masked = 0 if key is None else 0x80
    if size < 126:
        head = bytes((kind, masked | size))
    elif size < 1 << 16:
        head = bytes((kind, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((kind, masked | 127)) + size.to_bytes(8, "big")
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))


@given(
    payloads=st.lists(
        st.one_of(
            st.binary(max_size=200), st.sampled_from([125, 126, 127, 65_535, 65_536]).map(bytes)
        ),
        max_size=5,
    ),
    cuts=st.lists(st.integers(min_value=0, max_value=140_000), max_size=8),
    key=st.binary(min_size=4, max_size=4),
)
def test_frames_in_any_pieces(payloads: list[bytes], cuts: list[int], key: bytes) -> None:
    """Whatever pieces the kernel gives, the messages arrive whole, in order, and unmasked."""

    async def run() -> None:
        one, _ = stream()
        arrived = taken(one)
        data = b"".join(framed(payload, key=key) for payload in payloads)
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        for start, end in pairwise(edges):
            one.data_received(data[start:end])
        assert arrived == payloads

    asyncio.run(run())


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, PEER_FRAME_BYTES_MAX])
@pytest.mark.parametrize("is_client", [False, True])
async def test_what_one_side_sends_the_other_reads(size: int, *, is_client: bool) -> None:
    """Each length has its form; a client's frames are masked and a server's are not."""
    sender, transport = stream(is_client=is_client)
    receiver, _ = stream(is_client=not is_client)
    arrived = taken(receiver)
    sender.send(bytes(size))
    receiver.data_received(bytes(transport.written))
    assert arrived == [bytes(size)]
    assert bool(transport.written[1] & 0x80) is is_client


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (framed(b"text", kind=0x81), "sent text"),
        (framed(b"not masked", key=None), "sent what is no WebSocket's frame"),
        (framed(b"the first fragment", kind=0x02), "sent what is no WebSocket's frame"),
        (framed(b"the last fragment", kind=0x80), "sent what is no WebSocket's frame"),
        (framed(b"compressed", kind=0xC2), "sent what is no WebSocket's frame"),
        (framed(bytes(126), kind=0x89), "sent what is no WebSocket's frame"),
        (framed(bytes(PEER_FRAME_BYTES_MAX + 1)), "sent a frame that is too large"),
        (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", "too large"),
    ],
)
async def test_what_breaks_the_protocol(data: bytes, reason: str) -> None:
    """It ends the stream with a reason, once, and nothing behind it is looked at."""
    one, _ = stream()
    arrived = taken(one)
    one.data_received(framed(b"before") + data + framed(b"behind"))
    one.data_received(framed(b"later"))
    before, closed = arrived
    assert before == b"before"
    assert isinstance(closed, Closed)
    assert closed.code == CloseCode.MALFORMED
    assert reason in closed.reason


async def test_a_size_that_is_only_announced() -> None:
    """A frame too large is refused by its head; its bytes are not waited for."""
    one, _ = stream()
    arrived = taken(one)
    one.data_received(framed(bytes(PEER_FRAME_BYTES_MAX + 1))[:14])
    assert [type(what) for what in arrived] == [Closed]


async def test_pings() -> None:
    """A ping is answered with what it holds, unless the other side takes nothing; a pong is not."""
    one, transport = stream()
    arrived = taken(one)
    one.data_received(framed(b"there?", kind=0x89) + framed(b"yes", kind=0x8A))
    assert bytes(transport.written) == framed(b"there?", kind=0x8A, key=None)
    one.pause_writing()
    one.data_received(framed(b"there?", kind=0x89))
    assert bytes(transport.written) == framed(b"there?", kind=0x8A, key=None)
    assert arrived == []


@pytest.mark.parametrize(
    ("payload", "closed"),
    [
        (b"\x11\x33moved \xe2\x82", Closed(4403, "moved �")),
        (b"", Closed(CloseCode.LOST, "")),
        (b"\x03", Closed(CloseCode.LOST, "")),
    ],
)
async def test_the_last_word_of_the_other_side(payload: bytes, closed: Closed) -> None:
    """It is told, answered, and the connection ends; what follows is of no interest."""
    one, transport = stream()
    arrived = taken(one)
    one.data_received(framed(payload, kind=0x88) + framed(b"behind"))
    one.connection_lost(None)
    assert arrived[0] == closed
    assert [what for what in arrived if isinstance(what, bytes)] == []
    assert bytes(transport.written) == framed(b"\x03\xe8", kind=0x88, key=None)
    assert transport.closing


async def test_closing() -> None:
    """Our last word is said once, nothing is sent or handed over after it, the answer ends all."""
    one, transport = stream()
    arrived = taken(one)
    closing = asyncio.gather(
        one.close(Closed(CloseCode.FORBIDDEN, "€" * 100)), one.close(Closed(CloseCode.DONE, ""))
    )
    await asyncio.sleep(0)
    one.send(b"too late")
    one.data_received(framed(b"too late"))
    said = framed(b"\x11\x33" + ("€" * 41).encode(), kind=0x88, key=None)
    assert bytes(transport.written) == said
    one.data_received(framed(b"\x11\x33", kind=0x88))
    assert transport.closing
    one.connection_lost(None)
    await closing
    assert [what for what in arrived if isinstance(what, bytes)] == []


async def test_pausing() -> None:
    """What arrives meanwhile lies bounded, since nothing more is read, and comes first after it."""
    one, transport = stream()
    arrived = taken(one)
    one.pause()
    one.data_received(framed(b"1") + framed(b"2"))
    assert (arrived, transport.reading) == ([], False)
    one.resume()
    assert transport.reading
    one.data_received(framed(b"3"))
    assert arrived == [b"1", b"2", b"3"]


async def test_a_loss_while_paused() -> None:
    """What had arrived is handed over, then the end: whoever has paused waits for nothing more."""
    one, transport = stream()
    arrived = taken(one)
    one.pause()
    one.data_received(framed(b"1"))
    transport.closing = True
    one.connection_lost(ConnectionResetError())
    assert arrived == [b"1", Closed(CloseCode.LOST, "")]
    former = one._taken_from
    assert isinstance(former, Former)
    assert former.lost == 1


async def test_receiving_one_by_one() -> None:
    """Before anybody listens, messages wait to be received, and so does the end."""
    one, transport = stream()
    waiting = asyncio.gather(one.receive())
    await asyncio.sleep(0)
    one.data_received(framed(b"1") + framed(b"2"))
    assert (one._is_reading, transport.reading) == (False, False)
    assert [*await waiting, await one.receive()] == [b"1", b"2"]
    assert (one._is_reading, transport.reading) == (True, True)
    transport.closing = True
    one.connection_lost(None)
    assert await one.receive() == Closed(CloseCode.LOST, "")
    assert await one.receive() == Closed(CloseCode.LOST, "")


async def upgrading(*answers: bytes, lost: BaseException | None = None) -> FrameStream:
    """Be a client whose server answers so."""
    one, transport = FrameStream(is_client=True), Played()
    one.connection_made(transport)
    asked = asyncio.gather(one.upgrade(host="node:1", path="/peer/v1", nonce=NONCE))
    await asyncio.sleep(0)
    assert transport.written.startswith(b"GET /peer/v1 HTTP/1.1\r\nHost: node:1\r\n")
    assert b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in transport.written
    for answer in answers:
        one.data_received(answer)
    if lost is not None:
        one.connection_lost(lost)
    await asked
    return one


@pytest.mark.parametrize("cut", [0, 1, len(ACCEPTED) - 1, len(ACCEPTED), len(ACCEPTED) + 1])
async def test_an_upgrade(cut: int) -> None:
    """Its answer may come in pieces, and with the first frame behind it."""
    whole = ACCEPTED + framed(b"hello", key=None)
    one = await upgrading(whole[:cut], whole[cut:])
    assert await one.receive() == b"hello"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers 503"),
        (ACCEPTED.replace(b"s3pP", b"s3pQ"), "no WebSocket"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "no WebSocket"),
        (b"SSH-2.0\r\n\r\n", "no HTTP"),
        (b"x" * (PEER_UPGRADE_BYTES_MAX + 1), "no HTTP"),
    ],
)
async def test_an_upgrade_that_is_refused(answer: bytes, told: str) -> None:
    """The caller is told what the other side has answered instead."""
    with pytest.raises(NotUpgraded, match=told):
        await upgrading(answer)


async def test_an_upgrade_that_is_cut_off() -> None:
    """The reason of the loss is the reason of the failure."""
    with pytest.raises(ConnectionAbortedError):
        await upgrading(b"HTTP/1.1 101", lost=ConnectionAbortedError())
