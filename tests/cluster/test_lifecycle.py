"""How a server process starts and stops: quickly, alone on its directory, keeping what it has."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
from pathlib import Path
from stat import S_IMODE
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.support.http_client import Client
from tests.support.server import Server, ServerEnded, prepared, running
from tests.support.table_churn import path

READY_CPU_S: Final = 4.0  # below one on an idle machine; sharing its cores costs CPU as well
LATE_S: Final = 1.0


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start programs, as users do."""
    monkeypatch.setattr(Server, "forks", False)


def _refused(server: Server) -> str:
    """Start a server that must not start. Returns: the one line that it says."""
    with pytest.raises(ServerEnded) as ended:
        server.start()
    assert ended.value.code not in {0, 70}, ended.value
    said = ended.value.stderr
    assert "Traceback" not in said
    assert said.count("\n") <= 3, said
    return said


def _cpu_s(server: Server) -> float:
    """Return the seconds of CPU that the process has taken."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_ready_soon(tmp_path: Path) -> None:
    """The first start makes keys and a tenant, the second opens them: neither computes for long.

    How long that takes by the clock is up to what else the machine does.
    """
    with prepared(tmp_path) as server:
        for _ in range(2):
            server.start()
            assert _cpu_s(server) < READY_CPU_S
            with server.client() as client:
                assert client.get("/health/live").status == 200
                assert client.get("/v1/tenant/default").status == 200
            assert server.stop() == 0


def test_the_line_of_the_banner_works_when_pasted(tmp_path: Path) -> None:
    """It is the first thing that a newcomer tries; every shell takes it, and no argument tells."""
    with running(tmp_path / "with a space") as server:
        line = server.printed().splitlines()[-1]
        told = tmp_path / "arguments"
        # A shell's own trace would not do: both sides of the line's pipe write theirs at once.
        watch = f'curl() {{ echo "$@" > {shlex.quote(str(told))}; command curl "$@"; }}'
        done = subprocess.run(
            ["sh", "-c", f"{watch}\n{line}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        )
        token = server.env()["DSTORE_TOKEN"]
    assert '"tenant":"default"' in done.stdout
    arguments = told.read_text()
    assert "/v1/tenant" in arguments
    assert token not in arguments


def test_term_lets_a_slow_request_end(tmp_path: Path) -> None:
    """A request whose body is still arriving at SIGTERM is answered; then the exit code is 0."""
    with running(tmp_path) as server:
        env = server.env()
        with server.client() as client:
            assert client.put(path("slow"), {"idType": "String"}).status == 201
        address = urlsplit(env["DSTORE_URL"])
        body = b'{"arrives":"late"}'
        head = (
            f"PUT {path('slow')}/id/a HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {env['DSTORE_TOKEN']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            connection.sendall(head.encode())
            assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is under way
            connection.sendall(body[:5])
            server.terminate()
            time.sleep(LATE_S)
            assert server.is_running
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((address.hostname, address.port), timeout=5).close()
            connection.sendall(body[5:])
            answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 201 "), answer
        assert server.wait() == 0
        server.start()
        with server.client() as client:
            assert client.get(f"{path('slow')}/id/a").json() == {"arrives": "late"}


def test_drain_has_an_end(tmp_path: Path) -> None:
    """A request that never ends can't keep the process: after the time limit it stops anyway."""
    with running(tmp_path, settings={"drain-timeout-s": "0.5"}) as server:
        env = server.env()
        address = urlsplit(env["DSTORE_URL"])
        head = (
            f"PUT {path('never')}/id/a HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {env['DSTORE_TOKEN']}\r\n"
            "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            connection.sendall(head.encode())
            time.sleep(0.2)
            assert server.stop(timeout_s=10) == 0


def test_both_surfaces_drain_within_one_time_limit(tmp_path: Path) -> None:
    """A stop that took the limit once a surface would outlast the patience of who asked for it."""
    with running(tmp_path, settings={"drain-timeout-s": "5"}) as server:
        env = server.env()
        never = []
        for url, target in (
            (env["DSTORE_URL"], "/v1/tenant/default/table/never"),
            (env["DSTORE_ADMIN_URL"], "/admin/v1/tenant/default/access-key/never"),
        ):
            address = urlsplit(url)
            connection = socket.create_connection((address.hostname, address.port), timeout=20)
            connection.sendall(
                f"PUT {target} HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Authorization: Bearer {env['DSTORE_TOKEN']}\r\n"
                "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{".encode()
            )
            never.append(connection)
        time.sleep(0.2)
        began = time.monotonic()
        assert server.stop(timeout_s=30) == 0
        assert time.monotonic() - began < 9.8
        for connection in never:
            connection.close()


def test_second_process_is_refused(tmp_path: Path) -> None:
    """Two writers of one directory would destroy it; the lock goes with its holder, even killed."""
    with running(tmp_path / "one") as server:
        with prepared(tmp_path / "two", data=server.data) as second:
            assert f"Another process uses {server.data}" in _refused(second)
        with server.client() as client:
            assert client.get("/v1/tenant").status == 200
        server.kill()
        server.start()


def test_restart_keeps_everything(tmp_path: Path) -> None:
    """Data, token and access key outlive the process; only the ports in client.env change."""
    with running(tmp_path) as server:
        before = server.env()
        with server.client() as client, server.admin() as admin:
            assert client.put(path("kept"), {"idType": "String"}).status == 201
            assert client.put(f"{path('kept')}/id/a", {"x": [1, {"y": None}]}).status == 201
            keys = admin.get("/admin/v1/tenant/default/access-key").json()
            uuid = client.get("/v1/tenant/default").json()["uuid"]
        assert server.stop() == 0
        server.start()
        after = server.env()
        with server.client() as client, server.admin() as admin:
            assert client.get(f"{path('kept')}/id/a").json() == {"x": [1, {"y": None}]}
            assert client.get(path("kept")).json()["entries"] == 1
            assert admin.get("/admin/v1/tenant/default/access-key").json() == keys
            assert client.get("/v1/tenant/default").json()["uuid"] == uuid
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "DSTORE_URL",
        "DSTORE_ADMIN_URL",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
    }
    assert before.keys() == after.keys()


def test_client_env_is_private_and_whole(tmp_path: Path) -> None:
    """It holds secrets, so nobody else reads it; a reader never meets half a file."""
    with running(tmp_path) as server:
        file = server.data / "client.env"
        held = file.open("rb")
        before = held.read()
        assert S_IMODE(file.stat().st_mode) == 0o600
        assert S_IMODE(server.data.stat().st_mode) == 0o700
        assert set(server.env()) == {
            "DSTORE_URL",
            "DSTORE_ADMIN_URL",
            "DSTORE_TOKEN",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL_DYNAMODB",
            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
        }
        assert server.stop() == 0
        file.chmod(0o644)
        server.start()
        with held:
            held.seek(0)
            assert held.read() == before, "the file was written in place"
        assert S_IMODE(file.stat().st_mode) == 0o600
        modes = {S_IMODE(f.stat().st_mode) for f in server.data.rglob("*") if f.is_file()}
        assert modes == {0o600}
        assert not list(server.data.glob(".client.env*"))


def test_lost_token_is_replaced(tmp_path: Path) -> None:
    """Whoever deletes client.env gets a new token, and the lost one stops working."""
    with running(tmp_path) as server:
        lost = server.env()
        assert server.stop() == 0
        (server.data / "client.env").unlink()
        server.start()
        found = server.env()
        assert found["DSTORE_TOKEN"] != lost["DSTORE_TOKEN"]
        assert found["AWS_SECRET_ACCESS_KEY"] == lost["AWS_SECRET_ACCESS_KEY"]
        with server.client() as client, server.admin() as admin:
            assert client.get("/v1/tenant").status == 200
            assert len(admin.get("/admin/v1/token").json()["tokens"]) == 1
        with Client(found["DSTORE_URL"], token=lost["DSTORE_TOKEN"]) as client:
            assert client.get("/v1/tenant").problem == "unauthenticated"


def test_flags_overrule_variables_overrule_the_file(tmp_path: Path) -> None:
    """TOML < DSTORE_* < flags, each seen from outside."""
    config = tmp_path / "dstore.toml"
    config.write_text('location = "FILE"\nopen_files_max = 9\n[log]\nrequests = "all"\n')
    with prepared(tmp_path, config=config) as server:
        for environment, settings, location in (
            ({}, {}, "FILE"),
            ({"DSTORE_LOCATION": "VAR"}, {}, "VAR"),
            ({"DSTORE_LOCATION": "VAR"}, {"location": "FLAG"}, "FLAG"),
        ):
            server.environment, server.settings = environment, settings
            server.start()
            with server.admin() as admin:
                status = admin.get("/admin/v1/status").json()
            assert status["node"]["location"] == location
            assert server.events("request"), "log.requests of the file holds"
            assert server.stop() == 0


@pytest.mark.parametrize(
    ("settings", "environment", "told"),
    [
        ({"role": "janitor"}, {}, "janitor"),
        ({"port": "99999"}, {}, "port"),
        ({}, {"DSTORE_WAL_PAGES_CHECKPOINT": "many"}, "DSTORE_WAL_PAGES_CHECKPOINT"),
        ({"host": "0.0.0.0"}, {}, "insecure"),  # noqa: S104 - it is refused
        ({"tls-cert": "/nowhere", "tls-key": "/nowhere"}, {}, "/nowhere"),
    ],
)
def test_bad_setting_is_refused(
    tmp_path: Path, settings: dict[str, str], environment: dict[str, str], told: str
) -> None:
    """A process that can't be what was asked says so in a sentence that names the setting."""
    with prepared(tmp_path, settings=settings, environment=environment) as server:
        assert told in _refused(server)


def test_unknown_key_of_the_file_is_refused(tmp_path: Path) -> None:
    """A misspelt key would be silently without effect."""
    config = tmp_path / "dstore.toml"
    config.write_text("prot = 1\n")
    with prepared(tmp_path, config=config) as server:
        said = _refused(server)
        assert "prot" in said
        assert str(config) in said


def test_taken_port_is_refused(tmp_path: Path) -> None:
    """The message names the port; nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with prepared(tmp_path, settings={"port": port, "admin-port": "0"}) as server:
            assert f"port {port}" in _refused(server)


@pytest.mark.parametrize("data", ["file", "file/below", "/proc/nowhere"])
def test_bad_data_directory_is_refused(tmp_path: Path, data: str) -> None:
    """What can't be a directory, or can't be made, is named."""
    (tmp_path / "file").write_text("not a directory")
    with prepared(tmp_path, data=tmp_path / data) as server:
        said = _refused(server)
        assert f"The data directory {server.data} can't be used" in said


def test_the_operators_writes_leave_a_trace(tmp_path: Path) -> None:
    """The audit log tells of each write, of a burst in one line, and of no entry's ID."""
    with running(tmp_path) as server:
        with server.client() as client:
            assert client.put(path("traced"), {"idType": "String"}).status == 201
            for number in range(10):
                assert client.put(f"{path('traced')}/id/canary-{number}", {}).status == 201
        assert server.stop() == 0
        told = server.events("entries_changed")
        assert sum(event["writes"] for event in told) == 10
        assert {event["table"] for event in told} == {"traced"}
        assert "canary" not in server.said()
