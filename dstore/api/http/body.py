"""Read a request's body, never more of it, nor for longer, than is allowed.

The bounds, in the order in which they are looked at: the content coding (gzip, deflate or none),
the stated length, the process's room for bodies; then, while it arrives, its bytes, that room, its
chunks and its pace; last, what comes out of a compressed one. Only what has arrived takes room up:
a length that is stated and not sent keeps nobody else out. A request whose handler does not call
`read_body` has its body thrown away by aiohttp.

A signature covers the body as it was sent: a door that verifies one takes the two steps of
`read_body` by itself, `receive_body` and `inflate_body`.
"""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

from dstore.api.http.problems import Problem, ProblemRaised
from dstore.api.http.request_context import ClientGone, RequestContext, context_of
from dstore.base.limits import (
    BODY_BYTES_PER_S_MIN,
    BODY_CHUNKS_MAX,
    BODY_TIMEOUT_S,
    INLINE_JSON_BYTES_MAX,
    KIB,
)
from dstore.model.errors import RefusalKind, Refused, invalid

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BUFFERED_BYTES_MAX: Final = 512 * KIB  # of a body, by aiohttp, before reading pauses
_INFLATE_STEP_BYTES: Final = 64 * KIB  # then other requests get their turn: ~0.2 ms

# What zlib calls the formats: its `wbits`.
_GZIP: Final = 31
_ZLIB: Final = 15
_RAW_DEFLATE: Final = -15
_ZLIB_METHOD: Final = 8  # the low half of a zlib stream's first byte (RFC 1950)


async def read_body(
    request: web.Request,
    *,
    bytes_max: int,
    timeout_s: float = BODY_TIMEOUT_S,
    bytes_per_s_min: int = BODY_BYTES_PER_S_MIN,
) -> bytes:
    """Return the whole body, decompressed; b"" if there is none. To be called once.

    Args:
        request: one that came through `build_application`.
        bytes_max: of the body as sent and as decompressed, >= 0.
        timeout_s: within which every body may arrive, however slowly.
        bytes_per_s_min: the pace beyond `timeout_s`.

    Raises: what `receive_body` and `inflate_body` raise.
    """
    body = await receive_body(
        request, bytes_max=bytes_max, timeout_s=timeout_s, bytes_per_s_min=bytes_per_s_min
    )
    return await inflate_body(request, body, bytes_max=bytes_max)


async def receive_body(
    request: web.Request,
    *,
    bytes_max: int,
    timeout_s: float = BODY_TIMEOUT_S,
    bytes_per_s_min: int = BODY_BYTES_PER_S_MIN,
    chunks_max: int = BODY_CHUNKS_MAX,
    before_large: Callable[[], object] | None = None,
) -> bytes:
    """Return the whole body as it was sent; b"" if there is none. To be called once.

    Args:
        request: one that came through `build_application`.
        bytes_max: of the body as sent, >= 0.
        timeout_s: within which every body may arrive, however slowly.
        bytes_per_s_min: the pace beyond `timeout_s`.
        chunks_max: of a chunked body.
        before_large: called once before more than INLINE_JSON_BYTES_MAX are held; what it raises
            ends the reading.

    Raises:
        Refused: unsupported_media_type: a coding that `inflate_body` does not know.
        Unavailable: overloaded: the process holds as many bodies as it has room for.
        ProblemRaised: 408 too slow, 413, 400 broken chunks or too many, 417 an unknown Expect.
        ClientGone: the connection ended before the body did.
    """
    arrived = arrived_body(request, bytes_max=bytes_max)
    if arrived is not None:
        return arrived
    context = context_of(request)
    _coding(request)
    length = request.content_length
    if length is not None and length > bytes_max:
        raise _too_large(bytes_max)
    if not request.body_exists:
        return b""
    content = request.content
    if length is not None and length > INLINE_JSON_BYTES_MAX and before_large is not None:
        before_large()
        before_large = None
    if content.is_eof() and length is not None:
        context.reserve(length)
        body = _from_buffer(request)  # it came with the head, as almost every item does
    else:
        context.check_room(0 if length is None else length)
        if not content.is_eof():
            _promise_to_read(request)
            content.set_read_chunk_size(min(length or bytes_max, _BUFFERED_BYTES_MAX))
        body = await _received(
            request,
            bytes_max=bytes_max,
            timeout_s=timeout_s,
            bytes_per_s_min=bytes_per_s_min,
            chunks_max=chunks_max,
            before_large=before_large,
        )
    context.body_bytes = len(body)
    return body


def arrived_body(request: web.Request, *, bytes_max: int) -> bytes | None:
    """Return a body that came whole with its head, as almost every item does.

    Returns: None if it is for `receive_body`: it is under way, large, in chunks or compressed.

    Raises: as `receive_body`: Unavailable; ProblemRaised 400.
    """
    content = request.content
    if not content.is_eof() or hdrs.CONTENT_ENCODING in request.headers:
        return None
    length = request.content_length
    if not length or length > bytes_max or length > INLINE_JSON_BYTES_MAX:
        return None
    context = context_of(request)
    context.reserve(length)
    body = _from_buffer(request)
    context.body_bytes = len(body)
    return body


async def inflate_body(
    request: web.Request, body: bytes, *, bytes_max: int, streams_max: int = 1
) -> bytes:
    """Decompress what `receive_body` returned, if its Content-Encoding says so.

    Args:
        request: as there.
        body: the body as sent.
        bytes_max: of what comes out.
        streams_max: how many gzip streams may follow each other (RFC 1952 2.2), >= 1.

    Raises: Refused (invalid): the compression is broken. ProblemRaised: 413. Unavailable: the
        process has no room for what comes out.
    """
    coding = _coding(request)
    if coding is None or not body:
        return body
    inflated = _Inflated(context_of(request), bytes_max=bytes_max)
    at = 0
    while at < len(body) and streams_max:
        at = await _inflate(body, inflated, coding=coding, at=at)
        streams_max = streams_max - 1 if coding == "gzip" else 0
    if at < len(body):
        raise invalid(f"The body goes on after the end of its {coding} data; send one stream.")
    return b"".join(inflated.pieces)


async def discard_body(request: web.Request, *, bytes_max: int, timeout_s: float) -> None:
    """Throw away the rest of a body, so that its sender reads the answer instead of failing.

    Gives up, and leaves the rest to the end of the connection, after `bytes_max` or `timeout_s`;
    at once if the client waits for a 100 Continue.
    """
    content = request.content
    if hdrs.EXPECT in request.headers or content.is_eof():
        return
    discarded = 0
    with contextlib.suppress(TimeoutError, web.RequestPayloadError, OSError, RuntimeError):
        async with asyncio.timeout(timeout_s):
            while discarded <= bytes_max and (piece := await content.readany()):
                discarded += len(piece)


def _coding(request: web.Request) -> str | None:
    """Return "gzip" or "deflate", or None for a body as it is."""
    given = request.headers.getall(hdrs.CONTENT_ENCODING, None)
    if given is None:
        return None
    coding = ", ".join(given).strip().lower()
    match coding:
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return "gzip"
        case "deflate":
            return "deflate"
        case _:
            raise Refused(
                RefusalKind.UNSUPPORTED_MEDIA_TYPE,
                "The body's Content-Encoding is not supported; use gzip, deflate or none.",
            )


def _promise_to_read(request: web.Request) -> None:
    """Send 100 Continue to a client that waits for it before it sends its body."""
    expected = request.headers.get(hdrs.EXPECT)
    if expected is None or request.version < HttpVersion11:
        return
    if expected.lower() != "100-continue":
        raise ProblemRaised(
            Problem(
                name="expectation-failed",
                title="The expectation can't be met",
                status=417,
                detail="Expect may only say 100-continue; leave it out or say that.",
                closes=True,
            )
        )
    transport = request.transport
    if transport is not None:
        context_of(request).outbox.flush()  # the answer to the request before this one goes first
        transport.write(_CONTINUE)


async def _received(
    request: web.Request,
    *,
    bytes_max: int,
    timeout_s: float,
    bytes_per_s_min: int,
    chunks_max: int,
    before_large: Callable[[], object] | None,
) -> bytes:
    """Gather the body as it was sent, within its bounds of size, chunks and time."""
    context = context_of(request)
    began_s = asyncio.get_running_loop().time()
    pieces: list[bytes] = []
    received = noted = 0
    try:
        async with asyncio.timeout(timeout_s) as limit:
            async for piece in _pieces(request, chunks_max):
                received += len(piece)
                if received > bytes_max:
                    raise _too_large(bytes_max)
                if before_large is not None and received > INLINE_JSON_BYTES_MAX:
                    before_large()
                    before_large = None
                context.reserve(len(piece))
                pieces.append(piece)
                if received - noted >= bytes_per_s_min:  # another second is earned
                    noted = received
                    limit.reschedule(began_s + timeout_s + received / bytes_per_s_min)
    except TimeoutError:
        raise ProblemRaised(
            Problem(
                name="request-timeout",
                title="The body came too slowly",
                status=408,
                detail=f"After {timeout_s:g} s a body has to come at {bytes_per_s_min} bytes a "
                "second or faster; send it again.",
                closes=True,
            )
        ) from None
    return b"".join(pieces)


def _from_buffer(request: web.Request) -> bytes:
    try:
        return request.content.read_nowait()
    except web.RequestPayloadError:
        raise _broken("The body is broken; send it again.") from None


async def _pieces(request: web.Request, chunks_max: int) -> AsyncIterator[bytes]:
    """Yield the body piece by piece, until its end; at most `chunks_max` chunks of it."""
    content = request.content
    is_chunked = request.content_length is None
    chunks = 0
    try:
        while True:
            if is_chunked:
                piece, is_end_of_chunk = await content.readchunk()
                chunks += is_end_of_chunk
                if chunks > chunks_max:
                    raise _broken(
                        f"The body came in more than {chunks_max} chunks; send larger ones."
                    )
                if not piece and not is_end_of_chunk:
                    return
            else:
                piece = await content.readany()
                if not piece:
                    return
            yield piece
    except web.RequestPayloadError:
        raise _broken("The body's chunks are broken; send it again.") from None
    except (OSError, RuntimeError):
        # What aiohttp's stream raises when the connection is lost; RuntimeError from its next wait.
        if request.transport is not None:
            raise
        raise ClientGone from None


class _Inflated:
    """What has come out of a compressed body, for which room is taken as it comes."""

    __slots__ = ("_bytes_max", "_context", "_count", "pieces")

    def __init__(self, context: RequestContext, *, bytes_max: int) -> None:
        self.pieces: list[bytes] = []
        self._context = context
        self._bytes_max = bytes_max
        self._count = 0

    def add(self, piece: bytes) -> None:
        self._count += len(piece)
        if self._count > self._bytes_max:
            raise _too_large(self._bytes_max)
        self._context.reserve(len(piece))
        self.pieces.append(piece)


async def _inflate(body: bytes, inflated: _Inflated, *, coding: str, at: int) -> int:
    """Decompress the stream at `at` step by step; stop at the bound, however much would come out.

    Returns: where the stream ends.
    """
    # Deflate is a zlib stream (RFC 9110), and raw deflate from clients that err.
    deflate = _ZLIB if body[at] & 0xF == _ZLIB_METHOD else _RAW_DEFLATE
    decoder = zlib.decompressobj(_GZIP if coding == "gzip" else deflate)
    view = memoryview(body)
    rest: bytes | memoryview = b""  # of what was fed; a copy, hence little is fed at a time
    try:
        while not decoder.eof:
            if not rest:
                rest = view[at : at + _INFLATE_STEP_BYTES]
                at += len(rest)
            is_end = not rest
            piece = decoder.decompress(rest, _INFLATE_STEP_BYTES)
            rest = decoder.unconsumed_tail
            if is_end and not piece and not decoder.eof:
                raise invalid(f"The body's {coding} data ends too early; send all of it.")
            if piece:
                inflated.add(piece)
            await asyncio.sleep(0)
    except zlib.error:
        raise invalid(f"The body is not {coding} data, as its Content-Encoding says.") from None
    return at - len(decoder.unused_data)


def _too_large(bytes_max: int) -> ProblemRaised:
    """Refuse a body and give up the connection: the rest of the body is in the way on it."""
    return ProblemRaised(
        Problem(
            name="too-large",
            title="The request is too large",
            status=413,
            detail=f"A body may have at most {bytes_max} bytes, decompressed; send less at a time.",
            closes=True,
        )
    )


def _broken(detail: str) -> ProblemRaised:
    return ProblemRaised(
        Problem(
            name="bad-request",
            title="The request is no valid HTTP",
            status=400,
            detail=detail,
            closes=True,
        )
    )
