"""Hostile bytes on a real socket: each gets a 4xx or a documented answer, and the server lives.

The corpus is RELIABILITY.md 4.5 and 5.4. A case says which statuses come back, in order. Slow
clients are in `test_slow_clients.py`.
"""

import gzip
import logging
import zlib

import pytest
from structlog.testing import capture_logs

from tests.unit.api.http.serving import BODY_BYTES_MAX, parse, served

ENTRY = b"/v1/tenant/acme/table/orders/id/k1"
HOST = b"Host: test\r\n"
CLOSE = b"Connection: close\r\n"


def get(target: bytes = ENTRY, headers: bytes = HOST + CLOSE, *, end: bytes = b"\r\n") -> bytes:
    """Spell a GET."""
    return b"GET " + target + b" HTTP/1.1\r\n" + headers + end


def put(headers: bytes, body: bytes = b"", *, more: bytes = HOST + CLOSE) -> bytes:
    """Spell a PUT."""
    return b"PUT " + ENTRY + b" HTTP/1.1\r\n" + more + headers + b"\r\n" + body


def sized(body: bytes, headers: bytes = b"") -> bytes:
    """Spell a PUT with its Content-Length."""
    return put(b"Content-Length: %d\r\n" % len(body) + headers, body)


def chunked(body: bytes, headers: bytes = b"") -> bytes:
    """Spell a PUT with a chunked body."""
    return put(b"Transfer-Encoding: chunked\r\n" + headers, body)


CHUNKED = b"Transfer-Encoding: chunked\r\n"
GZIP = b"Content-Encoding: gzip\r\n"
DEFLATE = b"Content-Encoding: deflate\r\n"
EXPECT = b"Expect: 100-continue\r\n"
TAIL = b"\r\n" + CLOSE  # of a header that a case leaves open
END = b"0\r\n\r\n"  # of a chunked body
TEN_A = gzip.compress(b"a" * 10)
BOMB = gzip.compress(bytes(2_000_000))  # 2 KB that become 2 MB

CASES: list[tuple[str, bytes, list[int]]] = [
    # Framing: what request smuggling is made of.
    ("length and chunked", chunked(END, b"Content-Length: 5\r\n"), [400]),
    ("chunked and length", put(b"Content-Length: 5\r\n" + CHUNKED, END), [400]),
    ("two lengths", put(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello"), [400]),
    ("two equal lengths", put(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), [400]),
    ("length list", put(b"Content-Length: 5, 5\r\n", b"hello"), [400]),
    ("length with plus", put(b"Content-Length: +5\r\n", b"hello"), [400]),
    ("negative length", put(b"Content-Length: -5\r\n", b"hello"), [400]),
    ("hexadecimal length", put(b"Content-Length: 0x5\r\n", b"hello"), [400]),
    ("length of letters", put(b"Content-Length: five\r\n", b"hello"), [400]),
    ("empty length", put(b"Content-Length:\r\n"), [400]),
    ("length beyond 64 bits", put(b"Content-Length: 99999999999999999999\r\n"), [400]),
    ("length over the limit", put(b"Content-Length: 9999999\r\n"), [413]),
    ("unknown transfer coding", put(b"Transfer-Encoding: nonsense\r\n", b"hello"), [400]),
    ("chunked not last", put(b"Transfer-Encoding: chunked, gzip\r\n", END), [400]),
    ("chunked with a tab", put(b"Transfer-Encoding:\tchunked\r\n", END), [201]),
    ("obfuscated chunked", put(b"Transfer-Encoding: xchunked\r\n", END), [400]),
    ("transfer coding twice", put(CHUNKED + CHUNKED, END), [400]),
    ("space before colon", put(b"Content-Length : 5\r\n", b"hello"), [400]),
    ("folded header", get(headers=HOST + b"X-A: 1\r\n 2\r\n" + CLOSE), [400]),
    ("folded first header", get(headers=b" X-A: 1\r\n" + HOST + CLOSE), [400]),
    # Lines.
    ("bare LF after the request line", b"GET / HTTP/1.1\nHost: test\n\n", [400]),
    ("bare LF after a header", get(headers=b"Host: test\n" + CLOSE), [400]),
    ("bare CR in a header", get(headers=HOST + b"X-A: 1\r2\r\n" + CLOSE), [400]),
    ("NUL in a header", get(headers=HOST + b"X-A: a\0b\r\n" + CLOSE), [400]),
    ("NUL in a name", get(headers=HOST + b"X-\0A: b\r\n" + CLOSE), [400]),
    ("NUL in the path", get(b"/v1/\0"), [400]),
    ("header without colon", get(headers=HOST + b"nonsense\r\n" + CLOSE), [400]),
    ("header without name", get(headers=HOST + b": x\r\n" + CLOSE), [400]),
    ("header name with a space", get(headers=HOST + b"X A: b\r\n" + CLOSE), [400]),
    ("blank lines first", b"\r\n\r\n" + get(), [200]),
    # Hosts.
    ("no host", get(headers=CLOSE), [400]),
    ("two hosts", get(headers=HOST + b"Host: other\r\n" + CLOSE), [400]),
    ("strange host", get(headers=b"Host: a b/c@d\r\n" + CLOSE), [200]),  # dStore has no use for it
    ("no host in 1.0", b"GET " + ENTRY + b" HTTP/1.0\r\n\r\n", [200]),
    # Request lines.
    ("not HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
    ("no version", b"GET /\r\n\r\n", [404]),
    ("unknown version", b"GET / HTTP/7.3\r\n" + HOST + b"\r\n", [400]),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    ("unknown method", b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    ("lower-case method", b"get / HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    ("method not allowed", get().replace(b"GET", b"PATCH"), [405]),
    ("TRACE", get().replace(b"GET", b"TRACE"), [405]),
    ("OPTIONS of everything", b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [404]),
    ("CONNECT", b"CONNECT test:443 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [404]),
    ("two spaces", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", [404]),
    ("space in the path", get(b"/v1/a b"), [400]),
    ("absolute form", get(b"http://test" + ENTRY), [200]),
    ("absolute form, other host", get(b"http://evil.example" + ENTRY), [200]),
    ("absolute form without path", get(b"http://test"), [404]),
    ("another scheme", get(b"ftp://test/x"), [404]),
    ("broken absolute form", get(b"http://[::1/x"), [400]),
    ("relative path", get(b"v1/tenant"), [400]),
    ("path of 9 KB", get(b"/" + b"a" * 9_000), [400]),
    ("fragment", get(ENTRY + b"#part"), [400]),
    # Paths.
    ("invalid UTF-8 in the path", get(b"/v1/tenant/\xff"), [400]),
    ("raw UTF-8 in the path", get("/v1/tenant/ä/table/b/id/c".encode()), [400]),
    ("escaped invalid UTF-8", get(b"/v1/tenant/a/table/b/id/%ff"), [400]),
    ("overlong UTF-8", get(b"/v1/tenant/a/table/b/id/%c0%af"), [400]),
    ("surrogate in UTF-8", get(b"/v1/tenant/a/table/b/id/%ed%a0%80"), [400]),
    ("escaped NUL", get(b"/v1/tenant/a/table/b/id/%00"), [200]),  # an id may hold anything
    ("broken escape", get(b"/v1/tenant/a/table/b/id/%zz"), [400]),
    ("half an escape", get(b"/v1/tenant/a/table/b/id/%4"), [400]),
    ("dots", get(b"/v1/../../../etc/passwd"), [404]),
    ("escaped dots", get(b"/v1/%2e%2e/%2e%2e/etc/passwd"), [404]),
    ("double slashes", get(b"//v1//tenant"), [404]),
    ("empty id", get(b"/v1/tenant/a/table/b/id/"), [404]),
    ("4,000 segments", get(b"/" + b"a/" * 4_000), [404]),
    # Headers.
    ("invalid UTF-8 in a header", get(headers=HOST + b"X-A: \xff\xfe\r\n" + CLOSE), [400]),
    ("UTF-8 in a header", get(headers=HOST + "X-A: ä\r\n".encode() + CLOSE), [200]),
    ("header of 9 KB", get(headers=HOST + b"X-A: " + b"a" * 9_000 + TAIL), [400]),
    ("5,000 headers", get(headers=HOST + b"X-A: b\r\n" * 5_000 + CLOSE), [400]),
    ("headers of 40 KB", get(headers=HOST + (b"X-A: %b\r\n" % (b"a" * 8_000)) * 5 + CLOSE), [431]),
    ("broken request id", get(headers=HOST + b"X-Request-Id: a b\r\n" + CLOSE), [200]),
    ("request id of 8 KB", get(headers=HOST + b"X-Request-Id: " + b"a" * 8_000 + TAIL), [200]),
    ("two content types", put(b"Content-Type: a/b\r\nContent-Type: c/d\r\n"), [400]),
    ("old websocket", get(headers=HOST + b"Sec-WebSocket-Key1: x\r\n" + CLOSE), [400]),
    # Upgrades are not on offer: the request is answered as it is.
    (
        "upgrade to websocket",
        get(headers=HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\n"),
        [200],
    ),
    ("upgrade to h2c", get(headers=HOST + b"Upgrade: h2c\r\nConnection: upgrade\r\n"), [200]),
    # Bodies.
    ("body of a GET", get(headers=HOST + CLOSE + b"Content-Length: 5\r\n") + b"hello", [200]),
    ("no body", put(b""), [201]),
    ("body at the limit", sized(b"a" * BODY_BYTES_MAX), [201]),
    ("body over the limit", sized(b"a" * (BODY_BYTES_MAX + 1)), [413]),
    ("chunks at the limit", chunked(b"1000\r\n" + b"a" * 4_096 + b"\r\n0\r\n\r\n"), [201]),
    ("chunks over the limit", chunked(b"1001\r\n" + b"a" * 4_097 + b"\r\n0\r\n\r\n"), [413]),
    ("chunk extension", chunked(b"5;a=b\r\nhello\r\n0\r\n\r\n"), [201]),
    ("trailer", chunked(b"5\r\nhello\r\n0\r\nX-A: b\r\n\r\n"), [201]),
    ("chunk size of letters", chunked(b"xyz\r\nhello\r\n0\r\n\r\n"), [400]),
    ("negative chunk size", chunked(b"-5\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunk size beyond 64 bits", chunked(b"fffffffffffffffff\r\nhello\r\n"), [400]),
    ("chunk too long for its size", chunked(b"3\r\nhello\r\n0\r\n\r\n"), [400]),
    ("chunk with bare LF", chunked(b"5\nhello\n0\n\n"), [400]),
    ("5,000 chunks of one byte", chunked(b"1\r\na\r\n" * 5_000 + END), [400]),
    ("gzip", sized(gzip.compress(b"hello"), GZIP), [201]),
    ("gzip in chunks", chunked(b"%x\r\n%b\r\n" % (len(TEN_A), TEN_A) + END, GZIP), [201]),
    ("gzip at the limit", sized(gzip.compress(bytes(BODY_BYTES_MAX)), GZIP), [201]),
    ("gzip over the limit", sized(gzip.compress(bytes(BODY_BYTES_MAX + 1)), GZIP), [413]),
    ("gzip bomb", sized(BOMB, GZIP), [413]),
    ("not gzip", sized(b"hello", GZIP), [400]),
    ("half of gzip", sized(gzip.compress(b"hello")[:-4], GZIP), [400]),
    ("gzip and more", sized(gzip.compress(b"hello") + b"x", GZIP), [400]),
    ("two gzip streams", sized(gzip.compress(b"a") + gzip.compress(b"b"), GZIP), [400]),
    ("deflate", sized(zlib.compress(b"hello"), DEFLATE), [201]),
    ("raw deflate", sized(zlib.compress(b"hello")[2:-4], DEFLATE), [201]),
    ("deflate bomb", sized(zlib.compress(bytes(2_000_000)), DEFLATE), [413]),
    ("brotli", sized(b"hello", b"Content-Encoding: br\r\n"), [415]),
    ("zstd", sized(b"hello", b"Content-Encoding: zstd\r\n"), [415]),
    ("gzip of gzip", sized(b"hello", b"Content-Encoding: gzip, gzip\r\n"), [415]),
    ("two codings", sized(b"hello", GZIP + b"Content-Encoding: br\r\n"), [415]),
    ("identity", sized(b"hello", b"Content-Encoding: identity\r\n"), [201]),
    # Expect: 100 is sent only when a body is wanted and is not there yet.
    ("expect with its body", sized(b"hello", EXPECT), [201]),
    ("expect, too large", put(b"Content-Length: 9999999\r\n" + EXPECT), [413]),
    ("expect something else", put(b"Content-Length: 5\r\nExpect: miracles\r\n"), [417]),
    # Pipelining.
    ("two at once", get(headers=HOST) + get(), [200, 200]),
    ("forty at once", get(headers=HOST) * 39 + get(), [200] * 40),
    ("body, then another", put(b"Content-Length: 5\r\n", b"hello", more=HOST) + get(), [201, 200]),
    ("good, then broken", get(headers=HOST) + b"nonsense\r\n\r\n", [400]),
    ("broken, then good", b"nonsense\r\n\r\n" + get(), [400]),
    ("closed, then more", get() + get(), [400]),
]


@pytest.fixture
def library_errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Gather what libraries log: asyncio and aiohttp tell of tracebacks there."""
    caplog.set_level(logging.WARNING)
    return caplog.records


@pytest.mark.parametrize(
    ("sent", "statuses"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
async def test_hostile_request(
    sent: bytes, statuses: list[int], library_errors: list[logging.LogRecord]
) -> None:
    """No input brings a 5xx, a traceback or the end of the server (RELIABILITY.md 4.5, 5.4)."""
    with capture_logs() as events:
        async with served(header_timeout_s=0.5) as server:
            replies = parse(await server.send(sent))
            assert [reply.status for reply in replies] == statuses
            for reply in replies:
                assert reply.status < 400 or reply.problem
            assert (await server.ask("GET /health/live HTTP/1.1")).status == 200
            assert server.admission.requests == 0
            assert server.admission.body_bytes == 0
    assert [event for event in events if "exc_info" in event] == []
    assert library_errors == []
