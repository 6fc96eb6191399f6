"""Bad input: each is a problem that says what to do, never a 5xx, and nothing is half-written.

That a refusal is well-formed (problem+json with type, title, status, detail, instance) is asserted
by `tests.api.contract` at every answer; here stand the inputs and the word that the detail needs.
"""

from __future__ import annotations

import gzip
import zlib
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.api.contract import entry
from tests.api.raw import exchange, head

if TYPE_CHECKING:
    from tests.api.contract import CheckedClient
    from tests.support.server import Server

_numbers = count(1)
DEEP = 32


def nested(levels: int, opening: bytes = b'{"a":', inner: bytes = b"1") -> bytes:
    """Spell an object that is nested to this depth."""
    closing = b"}" if opening.startswith(b"{") else b"]"
    return b'{"a":' + opening * (levels - 1) + inner + closing * (levels - 1) + b"}"


BAD_BODIES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "empty"),
    ("blank", b" \r\n\t", "empty"),
    ("word", b"hello", "JSON"),
    ("open object", b"{", "JSON"),
    ("open string", b'{"a', "JSON"),
    ("open value", b'{"a":', "JSON"),
    ("no value", b'{"a":}', "JSON"),
    ("trailing comma", b'{"a":1,}', "JSON"),
    ("trailing text", b'{"a":1}x', "JSON"),
    ("two objects", b"{}{}", "JSON"),
    ("single quotes", b"{'a':1}", "JSON"),
    ("bare key", b"{a:1}", "JSON"),
    ("comment", b'{"a":1/*x*/}', "JSON"),
    ("bad escape", b'{"a":"\\x41"}', "JSON"),
    ("short escape", b'{"a":"\\u12"}', "JSON"),
    ("control in string", b'{"a":"\n"}', "JSON"),
    ("nul in string", b'{"a":"\0"}', "JSON"),
    ("nul behind", b"{}\0", "JSON"),
    ("python", b'{"a":None}', "JSON"),
    ("True", b'{"a":True}', "JSON"),
    ("byte order mark", b"\xef\xbb\xbf{}", "byte order mark"),
    ("utf-16", '{"a":1}'.encode("utf-16"), "UTF-8"),
    ("latin-1", b'{"a":"\xe9"}', "UTF-8"),
    ("overlong", b'{"a":"\xc0\x80"}', "UTF-8"),
    ("raw surrogate", b'{"a":"\xed\xa0\x80"}', "UTF-8"),
    ("half pair", b'{"a":"\\ud800"}', "surrogate"),
    ("other half", b'{"a":"x\\udc00"}', "surrogate"),
    ("half pair in a key", b'{"\\ud83d":1}', "surrogate"),
    ("duplicate", b'{"a":1,"a":1}', "twice"),
    ("duplicate by escape", b'{"a":1,"\\u0061":2}', "twice"),
    ("duplicate below", b'{"x":[{"a":1,"b":2,"a":3}]}', "twice"),
    ("duplicate long key", b'{"%s":1,"%s":2}' % (b"k" * 5_000, b"k" * 5_000), "twice"),
    ("NaN", b'{"a":NaN}', "NaN"),
    ("Infinity", b'{"a":[-Infinity]}', "Infinity"),
    ("39 digits", b'{"a":%s}' % (b"9" * 39), "38"),
    ("large exponent", b'{"a":1e126}', "125"),
    ("small exponent", b'{"a":1e-131}', "130"),
    ("huge exponent", b'{"a":1e1000000000}', "125"),
    ("many digits", b'{"a":%s}' % (b"1" * 500_000), "characters"),
    ("array", b"[]", "object"),
    ("string", b'"x"', "object"),
    ("number", b"1", "object"),
    ("null", b"null", "object"),
    ("true", b"true", "object"),
    ("deep objects", nested(DEEP + 1), "32"),
    ("deep arrays", nested(DEEP + 1, b"["), "32"),
    ("400,000 brackets", b"[" * 400_000, "32"),
    ("400,000 objects", b'{"a":' * 170_000, "32"),
    ("many closing", b"]" * 400_000, "JSON"),
    ("empty name", b'{"":1}', "name"),
    ("empty name below", b'{"a":[{"":1}]}', "name"),
    ("long name", b'{"%s":1}' % (b"n" * 65_536), "65535"),
    ("id attribute", b'{"_id":"x"}', "_id"),
]


@pytest.mark.parametrize(
    ("body", "word"), [(body, word) for _, body, word in BAD_BODIES], ids=[b[0] for b in BAD_BODIES]
)
def test_bad_bodies(client: CheckedClient, table: str, body: bytes, word: str) -> None:
    """Create, replace and merge refuse alike, say what is wrong, and change nothing."""
    path = entry(table, f"bad-{next(_numbers)}")
    answers = [client.put(path, body)]
    assert client.get(path).status == 404
    client.put(path, {"a": 1})
    answers += [client.post(path, body), client.merge(path, body)]
    for answer in answers:
        assert answer.status == 400
        assert word in answer.json()["detail"]
    assert client.get(path).json() == {"a": 1}


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_32_levels_are_stored(client: CheckedClient, table: str, opening: bytes) -> None:
    """The bound is the last that works, and brackets in strings are no nesting."""
    path = entry(table, f"deep-{next(_numbers)}")
    body = nested(DEEP, opening, b'"%s"' % (b"[{" * 1_000))
    assert client.put(path, body).status == 201
    assert client.get(path).body == body


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "text/json", "application/jsonx", "application/x-www-form-urlencoded",
     "application/json; charset=latin-1", "application/json; charset=utf-16", "json", "*/*",
     "application/json, text/plain", "application/octet-stream", "\xe9", "x" * 4_000],
    ids=lambda value: ascii(value)[:30],
)  # fmt: skip
def test_unsupported_media_types(client: CheckedClient, table: str, content_type: str) -> None:
    """415, naming what would do, wherever a body is read as JSON."""
    path = entry(table, "typed")
    for answer in (
        client.put(path, {}, content_type=content_type),
        client.post(path, {}, content_type=content_type),
        client.put(table, {"idType": "String"}, content_type=content_type),
        client.put(table.partition("/table")[0], {}, content_type=content_type),
    ):
        assert answer.status == (415 if content_type.isascii() else 400)
        assert content_type != "text/plain" or "application/json" in answer.json()["detail"]
    assert client.get(path).status == 404


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json;charset=utf-8",
     'application/json; charset="UTF-8"', " application/json "],
)  # fmt: skip
def test_supported_media_types(client: CheckedClient, table: str, content_type: str) -> None:
    """Case, blanks and a charset of UTF-8 make no difference."""
    path = entry(table, f"typed-{next(_numbers)}")
    assert client.put(path, {}, content_type=content_type).status == 201


def test_a_body_without_a_content_type(client: CheckedClient, table: str) -> None:
    """Guessing is for browsers: 415."""
    headers = {
        "Authorization": f"Bearer {client.token}",
        "Content-Length": "2",
        "Connection": "close",
    }
    answer = exchange(client.url, head("PUT", entry(table, "untyped"), headers) + b"{}")
    assert answer.status == 415


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 2 * 1024**3, 10**18])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "GET"])
def test_a_large_body_is_refused_unread(
    client: CheckedClient, table: str, method: str, size: int
) -> None:
    """413 comes when only the head was sent: nobody waits for two gigabytes to say no."""
    headers = {
        "Authorization": f"Bearer {client.token}",
        "Content-Type": "application/json",
        "Content-Length": str(size),
    }
    answer = exchange(client.url, head(method, entry(table, "large"), headers) + b'{"a":"')
    assert answer.status == 413
    assert "1048576" in answer.json()["detail"]
    assert answer.headers["connection"] == "close"


def test_a_large_chunked_body_is_refused_under_way(client: CheckedClient, table: str) -> None:
    """Without a length the bytes are counted: 413 at the bound, the end never sent."""
    headers = {
        "Authorization": f"Bearer {client.token}",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer = exchange(client.url, head("PUT", entry(table, "large"), headers) + chunk * 17)
    assert answer.status == 413


def test_a_body_at_the_bound_is_read(client: CheckedClient, table: str) -> None:
    """A mebibyte is read whole (and then refused as an entry, for another reason)."""
    body = b'{"a":1}'.ljust(1024 * 1024)
    assert client.put(entry(table, "padded"), body).status == 201


def test_compressed_bodies(client: CheckedClient, table: str) -> None:
    """Gzip and deflate are understood, bombs are refused by what comes out, others are 415."""
    for coding, body in (("gzip", gzip.compress(b'{"a":1}')), ("deflate", zlib.compress(b"{}"))):
        path = entry(table, f"compressed-{coding}")
        assert client.put(path, body, headers={"Content-Encoding": coding}).status == 201
    path = entry(table, "bomb")
    bomb = gzip.compress(b" " * 50_000_000)
    for coding, sent, status in (
        ("gzip", bomb, 413),
        ("gzip", gzip.compress(b'{"a":1}')[:-9], 400),
        ("gzip", b"{}", 400),
        ("br", b"{}", 415),
        ("gzip, gzip", b"{}", 415),
    ):
        answer = client.put(path, sent, headers={"Content-Encoding": coding})
        assert answer.status == status
    assert client.get(path).status == 404


QUERIES = ["x=1", "force=true", "Limit=1", "limit", "limit=1&limit=2", "after=AQ&after=AQ",
           "consistency=strong&consistency=strong", "=", "=1", "%00=1", "%FF=1", "a" * 4_000,
           "&&x", "limit=1;after=x", "X-Amz-Signature", "consistency%00=strong"]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=lambda value: ascii(value)[:30])
def test_unknown_and_doubled_parameters(client: CheckedClient, table: str, query: str) -> None:
    """A parameter that is not known is a misunderstanding; it is told, not ignored."""
    path, tenant = entry(table, "query"), table.partition("/table")[0]
    answers = [
        client.get(f"{path}?{query}"),
        client.put(f"{path}?{query}", {}),
        client.post(f"{path}?{query}", {}),
        client.delete(f"{path}?{query}"),
        client.get(f"{table}/id?{query}"),
        client.get(f"{table}?{query}"),
        client.put(f"{table}?{query}", {"idType": "String"}),
        client.get(f"{tenant}/table?{query}"),
        client.get(f"{tenant}?{query}"),
        client.put(f"{tenant}?{query}"),
        client.get(f"/v1/tenant?{query}"),
        client.get(f"{tenant}/request/x?{query}"),
    ]
    assert {answer.status for answer in answers} == {400}
    assert client.get(path).status == 404


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE", "POST", "PUT", "DELETE", "LINK"])
def test_wrong_methods(client: CheckedClient, table: str, method: str) -> None:
    """405 with the methods that the path has, which every path answers as it says."""
    tenant = table.partition("/table")[0]
    for path, allowed in (
        ("/v1/tenant", {"GET", "HEAD"}),
        (tenant, {"GET", "HEAD", "PUT", "DELETE"}),
        (f"{tenant}/table", {"GET", "HEAD"}),
        (table, {"GET", "HEAD", "PUT", "DELETE"}),
        (f"{table}/id", {"GET", "HEAD"}),
        (entry(table, "x"), {"GET", "HEAD", "PUT", "POST", "DELETE"}),
        (f"{tenant}/request/x", {"GET", "HEAD"}),
        ("/openapi.json", {"GET", "HEAD"}),
        ("/health/live", {"GET", "HEAD"}),
    ):
        if method in allowed:
            continue
        answer = client.request(method, path)
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/tenant/", "/V1/tenant", "/v2/tenant", "/v1/tenants", "/v1/tenant/x/",
     "/v1/tenant/x/tables", "/v1/tenant//table", "/v1//tenant", "//v1/tenant", "/v1/tenant/x/y/z",
     "/v1/tenant/../tenant", "/./v1/tenant", "/v1/tenant/x/table/abc/ids", "/admin/v1/status",
     "/metrics", "/favicon.ico", "/%2e%2e/etc/passwd", "/" + "x" * 5_000],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_unknown_paths(client: CheckedClient, path: str) -> None:
    """404 for whatever is no route of this surface; the admin's routes are on another."""
    for method in ("GET", "PUT", "POST", "DELETE"):
        assert client.request(method, path).status == 404


def test_a_delete_has_no_body(client: CheckedClient, table: str) -> None:
    """What would be ignored is refused."""
    path = entry(table, "deleted-with-body")
    client.put(path, {})
    assert client.delete(path, body={"a": 1}).status == 400
    assert client.get(path).status == 200


def test_headers_that_are_no_text(client: CheckedClient, table: str) -> None:
    """Bytes that are no UTF-8 in any header: 400 rather than a traceback."""
    path = entry(table, "headers")
    for name in ("If-Match", "Prefer", "Idempotency-Key", "Content-Type", "X-Request-Id", "X"):
        answer = client.put(path, {}, headers={name: "\xff\xfe"})
        assert answer.status == 400


def test_large_heads(client: CheckedClient, table: str) -> None:
    """Headers together, one header, or the request line beyond their bounds: 400 or 431."""
    many = {f"X-{number}": "y" * 1_000 for number in range(20)}
    assert client.get(table, headers=many).status == 431
    for headers, target in (({"X": "y" * 9_000}, table), ({}, f"{table}/id/{'x' * 9_000}")):
        lines = headers | {"Authorization": f"Bearer {client.token}"}
        assert exchange(client.url, head("GET", target, lines)).status in {400, 431}


def test_request_ids_are_the_clients_own_if_they_are_plain(client: CheckedClient) -> None:
    """A good X-Request-Id comes back; one that could forge a log line is replaced."""
    good = client.get("/v1/tenant", headers={"X-Request-Id": "Abc-1.2_3"})
    assert good.headers["x-request-id"] == "Abc-1.2_3"
    for bad in ("x" * 65, "a b", "a,b", "\x1b[31m", '"', ""):
        answer = client.get("/v1/tenant?x=1", headers={"X-Request-Id": bad})
        assert answer.headers["x-request-id"] != bad
        assert answer.json()["instance"] == answer.headers["x-request-id"]


def test_no_traceback_was_logged(server: Server) -> None:
    """Whatever this file and those before it sent, nothing of it surprised the server."""
    assert "Traceback" not in server.said()
    assert not [line for line in server.said().splitlines() if '"level":"error"' in line]
