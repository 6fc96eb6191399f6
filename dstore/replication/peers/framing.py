"""WebSocket frames over a transport, as far as components need them (RFC 6455).

A message is one binary frame; text, fragments and extensions are refused. Frames go from the
transport's callback straight to whoever listens, and out with one write: a general library's queue
and tasks in between cost 50 us a frame and side, five times as much as all of TLS and the kernel.

A client masks with the key 0. Masks keep the bytes that a web page may choose from confusing
proxies in between; here both ends are components and inside one TLS connection. Other keys are
understood.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import deque
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from dstore.base.limits import (
    PEER_CLOSE_TIMEOUT_S,
    PEER_FRAME_BYTES_MAX,
    PEER_REASON_BYTES_MAX,
    PEER_SOCKET_BYTES_MAX,
    PEER_UPGRADE_BYTES_MAX,
)
from dstore.replication.peers.records import CloseCode, Closed

if TYPE_CHECKING:
    from collections.abc import Callable

_BINARY: Final = 0x82  # and the last fragment
_TEXT: Final = 0x81
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A
_MASKED: Final = 0x80
_LENGTH_16: Final = 126  # the length follows in two bytes
_LENGTH_64: Final = 127  # ... in eight
_HEAD_BYTES_MIN: Final = 2
_CONTROL_BYTES_MAX: Final = 125
_KEY_0: Final = bytes(4)
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_END_OF_HEAD: Final = b"\r\n\r\n"
_SWITCHING: Final = 101


class NotUpgraded(Exception):
    """The other side speaks no WebSocket; the text is the rest of a sentence about it."""


class FrameStream(asyncio.Protocol):
    """One connection: a `records.FrameSocket`. Used from one event loop."""

    __slots__ = (
        "_arrived",
        "_gone",
        "_head",
        "_is_client",
        "_is_closing",
        "_is_over",
        "_is_paused",
        "_is_reading",
        "_loop",
        "_on_arrival",
        "_on_room",
        "_problem",
        "_rest",
        "_rest_bytes",
        "_taken_from",
        "_transport",
        "_waiter",
        "is_full",
    )

    def __init__(self, *, is_client: bool) -> None:
        """Begin without a transport; a client's `upgrade` comes next, or a server's `take_over`."""
        self._loop = asyncio.get_running_loop()
        self._is_client = is_client
        self._transport: asyncio.Transport | None = None
        self._taken_from: asyncio.BaseProtocol | None = None
        self._head: asyncio.Future[bytes] | None = None  # of the answer to an upgrade
        self._rest = bytearray()  # of a frame that has not arrived as a whole
        self._rest_bytes = 0  # that it must have before it is looked at again
        self._arrived: deque[bytes | Closed] = deque()  # while nobody takes it
        self._on_arrival: Callable[[bytes | Closed], None] | None = None
        self._on_room: Callable[[], None] = _nothing
        self._waiter: asyncio.Future[None] | None = None  # of `receive`
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._problem: BaseException | None = None  # with which the connection was lost
        self._is_paused = False  # by who listens
        self._is_reading = True
        self._is_over = False  # nothing that arrives is of interest
        self._is_closing = False  # our last word is said
        self.is_full = False

    # -------------------------------------------------------------------------------- beginning

    def take_over(self, transport: asyncio.Transport) -> None:
        """Be the server on a connection that has just been upgraded.

        Whoever had the transport hears of its loss all the same. The client must not have sent
        anything yet; none does before it has read the answer to its upgrade.
        """
        self._taken_from = transport.get_protocol()
        transport.set_protocol(self)
        self.connection_made(transport)

    async def upgrade(self, *, host: str, path: str, nonce: bytes) -> None:
        """Ask the server to speak WebSocket.

        Args:
            host: as its header is to say it.
            path: of the route.
            nonce: 16 random bytes.
        Raises: NotUpgraded, OSError. The caller bounds the time.
        """
        transport = self._transport
        assert transport is not None
        key = base64.b64encode(nonce)
        self._head = self._loop.create_future()
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key.decode()}",
        )
        transport.write("\r\n".join(lines).encode() + _END_OF_HEAD)
        if self._gone.done():
            raise self._problem or ConnectionResetError
        head = await self._head
        # RFC 6455 4.2.2 asks for SHA-1, to tell who understands from who repeats.
        digest = hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()
        _check_upgraded(head, accept=base64.b64encode(digest))

    # ---------------------------------------------------------------------------------- sending

    def send(self, frame: bytes) -> None:
        """Send a message; nothing happens on a connection that ends."""
        if not self._is_closing:
            self._write(_BINARY, frame)

    @property
    def unsent_bytes(self) -> int:
        """Count what was sent and lies in this process still."""
        if self._transport is None or self._gone.done():
            return 0
        return self._transport.get_write_buffer_size()

    async def close(self, closed: Closed) -> None:
        """Say why, and wait up to PEER_CLOSE_TIMEOUT_S until the other side has heard it."""
        if self._transport is None:
            return
        self._say_last_word(closed)
        self._arrived.clear()
        self._read_on()
        with suppress(TimeoutError):
            async with asyncio.timeout(PEER_CLOSE_TIMEOUT_S):
                await asyncio.shield(self._gone)

    def abort(self) -> None:
        """End at once, without a word; may be called again."""
        self._is_over = self._is_closing = True
        if self._transport is not None:
            abort_transport(self._transport)

    def _say_last_word(self, closed: Closed) -> None:
        if not self._is_closing:
            self._write(_CLOSE, closed.code.to_bytes(2, "big") + _shortened(closed.reason))
            self._is_closing = True

    def _write(self, kind: int, payload: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        size = len(payload)
        masked, mask = (_MASKED, _KEY_0) if self._is_client else (0, b"")
        if size < _LENGTH_16:
            head = bytes((kind, masked | size))
        elif size < 1 << 16:
            head = bytes((kind, masked | _LENGTH_16, size >> 8, size & 0xFF))
        else:
            head = bytes((kind, masked | _LENGTH_64)) + size.to_bytes(8, "big")
        transport.write(head + mask + payload)

    # -------------------------------------------------------------------------------- receiving

    async def receive(self) -> bytes | Closed:
        """Return the next message, or how it all ended; not with a listener."""
        while not self._arrived:
            if self._gone.done():
                return Closed(CloseCode.LOST, "")
            self._waiter = self._loop.create_future()
            await self._waiter
        arrived = self._arrived.popleft()
        self._read_on()
        return arrived

    def listen(
        self, on_arrival: Callable[[bytes | Closed], None], on_room: Callable[[], None]
    ) -> None:
        """Hand over each message, then the end, as they arrive; tell when there is room again."""
        self._on_arrival = on_arrival
        self._on_room = on_room
        self._hand_over()

    def pause(self) -> None:
        """Hand nothing over; what the other side sends fills its own memory soon."""
        self._is_paused = True

    def resume(self) -> None:
        """Go on, with what has arrived since at first."""
        self._is_paused = False
        self._hand_over()

    def _hand_over(self) -> None:
        while self._arrived and self._on_arrival is not None and not self._is_paused:
            self._on_arrival(self._arrived.popleft())
        self._read_on()

    def _arrive(self, what: bytes | Closed) -> None:
        if self._on_arrival is not None and not self._is_paused and not self._arrived:
            self._on_arrival(what)
            return
        self._arrived.append(what)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _read_on(self) -> None:
        """Read only while nothing lies here, so that what does is bounded by one read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._is_reading == bool(self._arrived):
            self._is_reading = not self._is_reading
            (transport.resume_reading if self._is_reading else transport.pause_reading)()

    # ---------------------------------------------------------------- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=PEER_SOCKET_BYTES_MAX)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell everybody."""
        self._problem = exc
        if not self._gone.done():
            self._gone.set_result(None)
        if self._head is not None and not self._head.done():
            self._head.set_exception(exc or ConnectionResetError())
        self._arrive(Closed(CloseCode.LOST, ""))
        if self._on_arrival is not None:
            self.is_full = False
            self.resume()  # whoever has paused waits for nothing any more
            self._on_room()
        if self._taken_from is not None:
            self._taken_from.connection_lost(cast("Exception | None", exc))

    def pause_writing(self) -> None:
        """Take nothing more to send."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Take more."""
        self.is_full = False
        self._on_room()

    def eof_received(self) -> bool:
        """End with the other side."""
        return False

    def data_received(self, data: bytes) -> None:
        """Take messages apart."""
        if self._is_over:
            return
        if self._rest:
            self._rest += data
            if len(self._rest) < self._rest_bytes:
                return
            data = bytes(self._rest)
            self._rest.clear()
        if self._head is not None and not self._head.done():
            self._take_head(data)
        else:
            self._take_frames(data)
        if self._arrived:
            self._read_on()

    def _take_head(self, data: bytes) -> None:
        head, end, rest = data.partition(_END_OF_HEAD)
        assert self._head is not None
        if end:
            self._head.set_result(head)
            if rest:
                self._take_frames(rest)
        elif len(data) > PEER_UPGRADE_BYTES_MAX:
            self._is_over = True
            self._head.set_exception(NotUpgraded("answers what is no HTTP"))
        else:
            self._keep(data, len(data) + 1)

    def _take_frames(self, data: bytes) -> None:
        at, size = 0, len(data)
        masked = 0 if self._is_client else _MASKED
        while size - at >= _HEAD_BYTES_MIN:
            kind, marked = data[at], data[at + 1]
            length = marked & ~_MASKED
            start = at + _HEAD_BYTES_MIN
            if length >= _LENGTH_16:
                start += 2 if length == _LENGTH_16 else 8
                length = int.from_bytes(data[at + _HEAD_BYTES_MIN : start], "big")
                if start > size:
                    self._keep(data[at:], start - at)
                    return
            if masked:
                start += 4
            if marked & _MASKED != masked:
                self._break_off("sent what is no WebSocket's frame")
                return
            if length > PEER_FRAME_BYTES_MAX:
                self._break_off("sent a frame that is too large")
                return
            end = start + length
            if end > size:
                self._keep(data[at:], end - at)
                return
            payload = data[start:end]
            if masked and (key := data[start - 4 : start]) != _KEY_0:
                payload = _unmasked(payload, key)
            self._take(kind, payload)
            if self._is_over:
                return
            at = end
        if at < size:
            self._keep(data[at:], _HEAD_BYTES_MIN)

    def _keep(self, data: bytes, bytes_count: int) -> None:
        self._rest += data
        self._rest_bytes = bytes_count

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _BINARY:
            if not self._is_closing:
                self._arrive(payload)
        elif kind == _CLOSE:
            self._take_last_word(payload)
        elif kind == _PING:
            if len(payload) > _CONTROL_BYTES_MAX:
                self._break_off("sent what is no WebSocket's frame")
            elif not self.is_full and not self._is_closing:
                self._write(_PONG, payload)
        elif kind != _PONG:
            sent = "text" if kind == _TEXT else "what is no WebSocket's frame"
            self._break_off(f"sent {sent}")

    def _take_last_word(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else int(CloseCode.LOST)
        reason = payload[2 : _CONTROL_BYTES_MAX + 1].decode(errors="replace")
        self._say_last_word(Closed(CloseCode.DONE, ""))
        self._is_over = True
        self._arrive(Closed(code, reason))
        if self._transport is not None:
            self._transport.close()

    def _break_off(self, reason: str) -> None:
        """Look at nothing more; whoever takes it says so and closes."""
        self._is_over = True
        self._arrive(Closed(CloseCode.MALFORMED, reason))


def abort_transport(transport: asyncio.BaseTransport) -> None:
    """End a connection at once, also one that has ended by itself: with TLS, asyncio fails then."""
    with suppress(
        AttributeError
    ):  # of Python 3.11.2's `sslproto`, which has let go of its protocol
        cast("asyncio.Transport", transport).abort()


def _unmasked(payload: bytes, key: bytes) -> bytes:
    """Take a mask off, every fourth byte with one table: 1 ms for 128 KiB."""
    plain = bytearray(len(payload))
    for place, byte in enumerate(key):
        plain[place::4] = payload[place::4].translate(_mask_table(byte))
    return bytes(plain)


@lru_cache(maxsize=256)
def _mask_table(byte: int) -> bytes:
    return bytes(value ^ byte for value in range(256))


def _shortened(reason: str) -> bytes:
    """Cut a reason to what a close frame holds, at a character's border."""
    return reason.encode()[:PEER_REASON_BYTES_MAX].decode(errors="ignore").encode()


def _check_upgraded(head: bytes, *, accept: bytes) -> None:
    """Look at the answer to an upgrade. Raises: NotUpgraded."""
    lines = head.split(b"\r\n")
    said = lines[0].split(b" ", 2)
    if len(said) < 2 or not said[0].startswith(b"HTTP/1.") or not said[1].isdigit():  # noqa: PLR2004 -- version and status
        raise NotUpgraded("answers what is no HTTP")
    if int(said[1]) != _SWITCHING:
        raise NotUpgraded(f"answers {int(said[1])}")
    fields = (line.partition(b":") for line in lines[1:])
    values = [value.strip() for name, _, value in fields if name.lower() == b"sec-websocket-accept"]
    if values != [accept]:
        raise NotUpgraded("answers what is no WebSocket")


def _nothing() -> None:
    return None
