"""What every surface does for its handlers: ids, errors, headers, counts and lines in the log."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from dstore.api.http.answer import Answer
from dstore.api.http.application import build_application
from dstore.api.http.request_context import RequestIds, request_id_of
from dstore.api.http.route import Route
from dstore.base.entropy import SystemEntropy
from dstore.base.logging import LogFormat, configure, get_logger
from dstore.base.metrics import create_metrics
from dstore.model.errors import Corrupt, RefusalKind, Refused, Unknown
from tests.unit.api.http.serving import ENTRY, parse, served

GET = "GET /v1/tenant/acme/table/orders/id/"


def raising(error: Exception) -> Route:
    """Raise at GET /fail/{id}."""

    async def fail(_request: web.Request) -> Answer:
        raise error

    return Route(method="GET", path="/fail/{id}", handler=fail, operation="fail")


def returning(make: Callable[[], web.StreamResponse]) -> Route:
    """Answer GET /made."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return make()

    return Route(method="GET", path="/made", handler=answer, operation="made")


async def test_values_of_the_path_are_decoded() -> None:
    """Handlers never decode a path again."""
    async with served() as server:
        reply = await server.ask(GET + "a%2Fb%20%E2%82%AC HTTP/1.1")
        assert json.loads(reply.body) == {"tenant": "acme", "table": "orders", "id": "a/b €"}


async def test_answer_carries_the_common_headers() -> None:
    """One place decides on them, for every surface."""
    async with served() as server:
        headers = (await server.ask(GET + "x HTTP/1.1")).headers
    assert re.fullmatch(r"[0-9a-f]{20}", headers.pop("x-request-id"))
    assert headers.pop("date").endswith(" GMT")
    assert headers == {
        "server": "dStore",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "content-type": "application/json",
        "content-length": "43",
        "connection": "close",
    }


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [("abc-1._Z", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("é", False)],
)
async def test_request_id_is_kept_if_it_is_well_formed(given: str, is_kept: bool) -> None:
    """A client follows its request through the logs; but it writes nothing of its own into them."""
    async with served() as server:
        reply = await server.ask(
            f"GET /nowhere HTTP/1.1\nX-Request-Id: {given}".encode().decode("latin-1")
        )
        assert (reply.headers["x-request-id"] == given) is is_kept
        assert json.loads(reply.body)["instance"] == reply.headers["x-request-id"]


def test_new_request_ids_differ_and_count_nothing() -> None:
    """An id names one request; two ids do not tell a tenant how busy the others are (I11)."""
    ids = RequestIds(SystemEntropy())
    drawn = [ids.new() for _ in range(1_000)]
    assert len(set(drawn)) == len(drawn)
    assert all(re.fullmatch(r"[0-9a-f]{20}", one) for one in drawn)
    shared = [
        sum(a == b for a, b in zip(first, second, strict=True)) for first, second in pairwise(drawn)
    ]
    assert max(shared) < 14, "chance makes two that are so alike once in 10^12 pairs"


async def test_head_is_get_without_a_body() -> None:
    """RFC 9110 wants HEAD wherever there is GET."""
    async with served() as server:
        reply = await server.ask("HEAD" + (GET + "x HTTP/1.1")[3:])
        assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "43")


async def test_wrong_method_is_told_the_right_ones() -> None:
    """A client learns what it could do instead."""
    async with served() as server:
        reply = await server.ask("DELETE" + (GET + "x HTTP/1.1")[3:])
        assert (reply.status, reply.problem) == (405, "method-not-allowed")
        assert reply.headers["allow"] == "GET, HEAD, PUT"


async def test_expected_error_is_answered_and_not_logged() -> None:
    """Clients err all day."""
    with capture_logs() as events:
        async with served([raising(Refused(RefusalKind.CONFLICT, "It is there."))]) as server:
            reply = await server.ask("GET /fail/x HTTP/1.1")
    assert (reply.status, reply.problem) == (409, "conflict")
    assert events == []


async def test_unexpected_error_is_logged_with_its_frames_and_without_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The operator finds the bug under the request id; nobody finds the data."""
    configure(form=LogFormat.JSON)
    async with served([raising(ValueError("the canary"))]) as server:
        reply = await server.ask("GET /fail/canary HTTP/1.1\nX-Request-Id: r1")
    assert (reply.status, reply.problem) == (500, "internal-error")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["request_failed", "request"]
    assert [line["request_id"] for line in lines] == ["r1", "r1"]
    assert lines[0]["error"] == "ValueError"
    assert any("test_application.py" in frame for frame in lines[0]["frames"])
    assert lines[1]["route"] == "/fail/{id}"
    assert "canary" not in repr(lines) + repr(reply)


@pytest.mark.parametrize(
    ("where", "place"), [("page 17", "main"), ("WAL frame 3", "wal"), ("the header", "header")]
)
async def test_damaged_storage_is_named_and_counted(where: str, place: str) -> None:
    """Issue 2: a damaged page is a problem type, an event and a counter."""
    error = Corrupt("A page is damaged.", file="a/b.db", where=where)
    with capture_logs() as events:
        async with served([raising(error)], request_log="none") as server:
            reply = await server.ask("GET /fail/x HTTP/1.1")
            page = server.metrics.render().decode()
    assert (reply.status, reply.problem) == (500, "storage-damaged")
    (event,) = events
    assert (event["event"], event["file"], event["where"]) == ("storage_damaged", "a/b.db", where)
    assert f'dstore_corruptions_total{{place="{place}"}} 1.0' in page


async def test_unknown_outcome_is_said_aloud() -> None:
    """A write that may have happened is never disguised as one that failed."""
    async with served([raising(Unknown("Read the entry to see."))]) as server:
        reply = await server.ask("GET /fail/x HTTP/1.1")
        assert (reply.status, reply.problem) == (500, "outcome-unknown")


async def test_requests_are_counted_by_operation() -> None:
    """The counts know operations and statuses, and no tenant."""
    async with served() as server:
        await server.ask(GET + "x HTTP/1.1")
        await server.ask("PUT" + (GET + "x HTTP/1.1\nContent-Length: 5")[3:], b"hello")
        await server.ask("GET /nowhere HTTP/1.1")
        page = server.metrics.render().decode()
    for labels, count in [
        ('operation="get_entry",status="200"', 1),
        ('operation="put_entry",status="201"', 1),
        ('operation="unmatched",status="404"', 1),
    ]:
        assert f'dstore_requests_total{{{labels},surface="test"}} {count}.0' in page
    assert 'dstore_request_bytes_total{operation="put_entry",surface="test"} 5.0' in page
    assert 'dstore_response_bytes_total{operation="put_entry",surface="test"} 11.0' in page
    assert "acme" not in page


@pytest.mark.parametrize(
    ("which", "logged"),
    [("none", []), ("errors", [500]), ("all", [200, 404, 500])],
)
async def test_setting_chooses_the_requests_that_are_logged(which: str, logged: list[int]) -> None:
    """The default tells of what an operator has to act on."""
    with capture_logs() as events:
        async with served([raising(Unknown("Look."))], request_log=which) as server:
            await server.ask(GET + "x HTTP/1.1")
            await server.ask("GET /nowhere HTTP/1.1")
            await server.ask("GET /fail/x HTTP/1.1")
    assert [event["status"] for event in events if event["event"] == "request"] == logged


class _SlowClock:
    """Let a second and a half pass between any two looks."""

    def __init__(self) -> None:
        self._ns = 0

    def wall_us(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        self._ns += 1_500_000_000
        return self._ns


async def test_slow_request_is_logged_by_its_route() -> None:
    """The line names the route's pattern: the ids in a path are data."""
    with capture_logs() as events:
        async with served(clock=_SlowClock()) as server:
            await server.ask(GET + "secret-id HTTP/1.1")
    (event,) = events
    assert event == {
        "event": "request",
        "log_level": "info",
        "source": "dstore.api.http.request_log",
        "surface": "test",
        "method": "GET",
        "route": ENTRY,
        "operation": "get_entry",
        "status": 200,
        "duration_ms": 1_500.0,
        "body_bytes": 0,
    }


async def test_handlers_events_carry_the_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    """One id leads through every layer's lines."""
    configure(form=LogFormat.JSON)
    seen: dict[str, str] = {}

    async def handler(request: web.Request) -> Answer:
        seen["id"] = request_id_of(request)
        get_logger("below").info("looked")
        return Answer(b"{}")

    route = Route(method="GET", path="/log", handler=handler, operation="log")
    async with served([route]) as server:
        await server.ask("GET /log HTTP/1.1")
    assert json.loads(capsys.readouterr().err)["request_id"] == seen["id"]


async def test_requests_of_a_connection_are_logged_under_their_own_ids(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are answered in one task; an id that stayed would lead to somebody else's request."""
    configure(form=LogFormat.JSON)

    async def handler(_request: web.Request) -> Answer:
        get_logger("below").info("looked")
        return Answer(b"{}")

    route = Route(method="GET", path="/log", handler=handler, operation="log")
    asked = b"".join(
        b"GET /log HTTP/1.1\r\nHost: test\r\nX-Request-Id: %b\r\n\r\n" % name
        for name in (b"r1", b"r2")
    )
    async with served([route]) as server:
        replies = parse(await server.send(asked, b"nonsense\r\n\r\n", pause_s=0.05))
    assert [reply.status for reply in replies] == [200, 200, 400]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["event"], line.get("request_id")) for line in lines]
    assert told == [("looked", "r1"), ("looked", "r2"), ("bad_http", None)]


async def test_own_headers_are_sent_and_win() -> None:
    """A handler may say more, and may overrule what is common."""
    made = returning(lambda: Answer(b"{}", headers={"ETag": '"1"', "cache-control": "max-age=1"}))
    async with served([made]) as server:
        headers = (await server.ask("GET /made HTTP/1.1")).headers
    assert (headers["etag"], headers["cache-control"]) == ('"1"', "max-age=1")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\x00", "ä", "a\x7f"])
async def test_header_can_not_be_split(value: str) -> None:
    """A stored value in a header must not become a header of its own."""
    made = returning(lambda: Answer(b"{}", headers={"X-A": value}))
    with capture_logs():
        async with served([made]) as server:
            reply = await server.ask("GET /made HTTP/1.1")
    assert (reply.status, reply.problem) == (500, "internal-error")


@pytest.mark.parametrize("status", [204, 304])
async def test_bodyless_status_has_no_length(status: int) -> None:
    """RFC 9110 8.6; a length would make clients wait for a body."""
    async with served([returning(lambda: Answer(status=status))]) as server:
        reply = await server.ask("GET /made HTTP/1.1")
    assert (reply.status, reply.body) == (status, b"")
    assert not {"content-length", "content-type"} & reply.headers.keys()


async def test_any_other_response_of_aiohttps_works() -> None:
    """A handler that streams, or serves a file, is not bound to `Answer`."""
    made = returning(lambda: web.Response(text="hi"))
    async with served([made]) as server:
        reply = await server.ask("GET /made HTTP/1.1")
    assert (reply.status, reply.body, reply.headers["server"]) == (200, b"hi", "dStore")
    assert reply.headers["x-request-id"]


async def test_error_in_the_middle_of_a_stream_breaks_the_connection() -> None:
    """What has been sent can't be taken back; a clean end would pass for the whole."""

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise ValueError("the canary")

    route = Route(method="GET", path="/stream", handler=stream, operation="stream")
    with capture_logs():
        async with served([route]) as server:
            got = await server.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    body = got.partition(b"\r\n\r\n")[2]
    assert body == b"4\r\nhalf\r\n"


async def test_surface_may_render_errors_its_own_way() -> None:
    """DynamoDB's door has another form of error."""

    def render(error: Exception, request_id: str) -> Answer:
        return Answer(f"{type(error).__name__} {bool(request_id)}".encode(), status=400)

    async with served([raising(Unknown("x"))], render_error=render) as server:
        reply = await server.ask("GET /fail/x HTTP/1.1")
    assert (reply.status, reply.body) == (400, b"Unknown True")


def test_routes_are_listed_by_aiohttp_too() -> None:
    """Whoever proves something of every route asks the application for them."""

    async def handler(_request: web.Request) -> Answer:
        return Answer()

    application = build_application(
        [Route(method="GET", path="/a/{b}", handler=handler, operation="x")],
        surface="test",
        metrics=create_metrics(),
        entropy=SystemEntropy(),
    )
    listed: list[Any] = list(application.router.routes())
    assert [(route.method, route.resource.canonical) for route in listed] == [("GET", "/a/{b}")]
