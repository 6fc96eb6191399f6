"""Connections: how many, over TLS, and what becomes of them at the end."""

import asyncio
import json
import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from dstore.api.http.admission import Admission
from dstore.api.http.answer import Answer
from dstore.api.http.health import Readiness
from dstore.api.http.listener import CannotListen, Listener, _tls_context
from dstore.api.http.route import Route
from dstore.base.limits import HEADER_BYTES_MAX
from dstore.base.metrics import create_metrics
from dstore.model.errors import Unavailable
from tests.unit.api.http.serving import ENTRY, PATIENCE_S, parse, served, until

PATH = ENTRY.replace("{", "").replace("}", "")
GET = f"GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def waiting_route(started: asyncio.Event, gate: asyncio.Event) -> Route:
    """Answer GET /wait when the gate opens."""

    async def wait(_request: web.Request) -> Answer:
        started.set()
        await gate.wait()
        return Answer(b"{}")

    return Route(method="GET", path="/wait", handler=wait, operation="wait")


async def test_live_and_ready() -> None:
    """Probes need no credentials and tell one state each."""
    async with served() as server:
        live = await server.ask("GET /health/live HTTP/1.1")
        assert (live.status, json.loads(live.body)) == (200, {"status": "live"})
        ready = await server.ask("GET /health/ready HTTP/1.1")
        assert (ready.status, json.loads(ready.body)) == (200, {"status": "ready"})


async def test_not_ready_says_why() -> None:
    """An operator reads the reason; a load balancer reads the status."""
    async with served(ready=lambda: Readiness(is_ready=False, reason="locked")) as server:
        ready = await server.ask("GET /health/ready HTTP/1.1")
        assert (ready.status, json.loads(ready.body)) == (
            503,
            {"status": "not ready", "reason": "locked"},
        )


async def test_only_changes_of_readiness_are_logged() -> None:
    """A probe asks every second: its answers are no errors, and no news until they change."""
    with capture_logs() as events:
        readiness = Readiness(is_ready=False, reason="locked")
        async with served(ready=lambda: readiness, request_log="errors") as server:
            for ready in (False, False, True, True):
                readiness = replace(readiness, is_ready=ready)
                await server.ask("GET /health/ready HTTP/1.1")
    assert [(each["event"], each.get("is_ready")) for each in events] == [
        ("readiness", False),
        ("readiness", True),
    ]


async def test_draining_refuses_new_requests_and_stays_live() -> None:
    """Overload and draining must not look like death, or the orchestrator kills what drains."""
    async with served() as server:
        server.admission.is_draining = True
        (refused,) = parse(await server.send(GET))
        assert (refused.status, refused.problem) == (503, "draining")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close"
        assert (await server.ask("GET /health/live HTTP/1.1")).status == 200
        ready = await server.ask("GET /health/ready HTTP/1.1")
        assert (ready.status, json.loads(ready.body)["reason"]) == (503, "draining")


async def test_requests_over_the_bound_are_refused() -> None:
    """Early refusal keeps the rest fast; health is answered all the same."""
    started, gate = asyncio.Event(), asyncio.Event()
    async with served([waiting_route(started, gate)], requests_max=1) as server:
        first = asyncio.get_running_loop().create_task(server.ask("GET /wait HTTP/1.1"))
        await started.wait()
        refused = await server.ask("GET /wait HTTP/1.1")
        assert (refused.status, refused.problem) == (503, "overloaded")
        assert (await server.ask("GET /health/live HTTP/1.1")).status == 200
        assert b"dstore_requests_in_flight 1.0" in server.metrics.render()
        gate.set()
        assert (await first).status == 200
        assert b'dstore_requests_refused_total{reason="requests_in_flight"} 1.0' in (
            server.metrics.render()
        )


async def test_bodies_over_the_bound_are_refused_unread() -> None:
    """The process holds a bounded number of bytes for all requests together."""
    async with served(body_bytes_max=100) as server:
        put = "PUT /v1/tenant/a/table/b/id/c HTTP/1.1\nContent-Length: "
        assert (await server.ask(put + "100", b"a" * 100)).status == 201
        refused = await server.ask(put + "101", b"a" * 101)
        assert (refused.status, refused.problem) == (503, "overloaded")
        assert server.admission.body_bytes == 0


async def test_a_body_that_does_not_come_takes_no_room() -> None:
    """A few connections that stated large bodies, and sent none, kept everybody else out."""
    async with served(body_bytes_max=4_096) as server:
        put = b"PUT /v1/tenant/a/table/b/id/c HTTP/1.1\r\nHost: a\r\nContent-Length: "
        idle = [
            (await asyncio.open_connection("127.0.0.1", server.listener.port))[1] for _ in range(3)
        ]
        for writer in idle:
            writer.write(put + b"4000\r\n\r\n")
        await asyncio.sleep(0.05)
        assert (await server.ask(f"PUT {PATH} HTTP/1.1\nContent-Length: 9", b"a" * 9)).status == 201
        for writer in idle:
            writer.close()


async def test_large_bodies_leave_room_for_small_ones() -> None:
    """Uploads alone must not keep every other request out."""
    metrics = create_metrics()
    admission = Admission(metrics, body_bytes_max=400)
    admission.reserve_body(300, is_large=True)
    with pytest.raises(Unavailable):
        admission.reserve_body(1, is_large=True)
    admission.reserve_body(100)
    with pytest.raises(Unavailable):
        admission.reserve_body(1)


async def test_a_body_for_which_there_is_no_room_left_is_given_up() -> None:
    """The room is looked at as the bytes come, also those of a chunked body."""
    async with served(body_bytes_max=1_000) as server:
        server.admission.reserve_body(990)
        head = f"PUT {PATH} HTTP/1.1\nTransfer-Encoding: chunked"
        refused = await server.ask(head, b"14\r\n" + b"a" * 20 + b"\r\n0\r\n\r\n")
        assert (refused.status, refused.problem) == (503, "overloaded")
        assert server.admission.body_bytes == 990


async def test_connections_over_the_bound_are_turned_away() -> None:
    """Each connection costs memory and a descriptor."""
    async with served(connections_max=1) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        await until(lambda: server.listener.connection_count == 1)
        (reply,) = parse(await server.send(GET))
        assert (reply.status, reply.problem) == (503, "overloaded")
        writer.close()
        await until(lambda: server.listener.connection_count == 0)
        assert (await server.ask("GET /health/live HTTP/1.1")).status == 200


async def test_stop_lets_requests_end_and_closes_idle_connections() -> None:
    """A rolling restart loses no request, and waits for no client that has nothing to say."""
    started, gate = asyncio.Event(), asyncio.Event()
    async with served([waiting_route(started, gate)]) as server:
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        idle_writer.write(GET)
        await idle.readuntil(b"}")
        port = server.listener.port
        waiting = asyncio.get_running_loop().create_task(
            server.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        )
        await started.wait()
        stopping = asyncio.get_running_loop().create_task(server.listener.stop(timeout_s=60))
        async with asyncio.timeout(PATIENCE_S):
            assert await idle.read() == b""
        idle_writer.close()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)
        assert not stopping.done()
        gate.set()
        (reply,) = parse(await waiting)
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        async with asyncio.timeout(PATIENCE_S):
            await stopping


async def test_stop_receives_a_body_that_is_under_way() -> None:
    """Aiohttp's own shutdown stops reading and so loses uploads that have begun."""
    async with served() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
        writer.write(
            GET.replace(b"GET", b"PUT").replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\nabc")
        )
        await until(lambda: server.admission.body_bytes > 0)
        stopping = asyncio.get_running_loop().create_task(server.listener.stop(timeout_s=60))
        await until(lambda: server.admission.is_draining)
        await asyncio.sleep(0.05)
        writer.write(b"def")
        (reply,) = parse(await reader.read())
        assert (reply.status, reply.body) == (201, b'{"bytes":6}')
        writer.close()
        await stopping


async def test_stop_ends_at_its_deadline() -> None:
    """A handler that never ends does not hold up the end of the process."""
    started = asyncio.Event()
    async with served([waiting_route(started, asyncio.Event())]) as server:
        waiting = asyncio.get_running_loop().create_task(
            server.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        )
        await started.wait()
        async with asyncio.timeout(PATIENCE_S):
            await server.listener.stop(timeout_s=0.1)
            assert await waiting == b""
        assert server.admission.requests == 0


async def test_taken_port_is_told_in_a_sentence() -> None:
    """The commonest failure to start."""
    async with served() as server, served() as other:
        application = other.listener._runner.app
        again = Listener(application, host="127.0.0.1", port=server.listener.port)
        with pytest.raises(CannotListen, match="choose another port"):
            await again.bind()


async def test_nobody_is_served_before_the_start() -> None:
    """A process that is not ready yet has its address, and lets nobody in."""
    async with served() as other:
        application = other.listener._runner.app
    listener = Listener(application, host="127.0.0.1", port=0)
    await listener.bind()
    (bound,) = listener._sockets
    host, port = bound.getsockname()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)
    await listener.start()
    assert listener.port == port
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    await listener.stop(timeout_s=0.2)
    await listener.bind()  # and ends again without having served
    await listener.stop(timeout_s=0.2)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate."""
    program = shutil.which("openssl")
    assert program is not None
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = ("-out", str(cert), "-keyout", str(key))
    subprocess.run(
        [program, "req", "-x509", *curve, *subject, "-days", "2", *files],
        check=True,
        capture_output=True,
    )
    return cert, key


async def test_https_takes_tls_1_3_or_1_2(certificate: tuple[Path, Path]) -> None:
    """1.3 is taken whenever the client has it."""
    cert, key = certificate
    async with served(tls_cert=cert, tls_key=key) as server:
        assert server.listener.url == f"https://127.0.0.1:{server.listener.port}"
        context = ssl.create_default_context(cafile=cert)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.listener.port, ssl=context, server_hostname="localhost"
        )
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.write(GET)
        assert b" 200 " in await reader.readline()
        writer.close()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        _, writer = await asyncio.open_connection(
            "127.0.0.1", server.listener.port, ssl=context, server_hostname="localhost"
        )
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        writer.close()


def test_tls_below_1_2_is_refused(certificate: tuple[Path, Path]) -> None:
    """Older ones are broken; no client of today can even be told to use them."""
    assert _tls_context(*certificate).minimum_version is ssl.TLSVersion.TLSv1_2


async def test_unusable_certificate_is_told_in_a_sentence(tmp_path: Path) -> None:
    """A wrong file is found at the start, not at the first connection."""
    (tmp_path / "cert.pem").write_text("nonsense")
    with pytest.raises(CannotListen, match="can't be used"):
        async with served(tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "cert.pem"):
            pass


async def test_web_socket_over_a_context_that_is_ready(certificate: tuple[Path, Path]) -> None:
    """Messages beyond the bound of a head pass, both ways: they are no heads."""
    cert, _ = certificate

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket

    route = Route(method="GET", path="/socket", handler=echo, operation="socket")
    async with served([route], tls_context=_tls_context(*certificate)) as server:
        trusted = ssl.create_default_context(cafile=cert)
        url = f"{server.listener.url}/socket"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=trusted, server_hostname="localhost") as socket,
        ):
            for size in (10, 3 * HEADER_BYTES_MAX, 1_000_000):
                await socket.send_bytes(b"x" * size)
                assert len(await socket.receive_bytes()) == size
