"""Whatever goes wrong on the way becomes a sentence, and a doubtful write is called doubtful."""

import socket
import threading

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import TOKEN, Run
from tests.unit.cli.fake_server import FakeServer, Reply, problem

TENANT = "/v1/tenant/acme"
ITEM = "/v1/tenant/default/table/people/id/42"


def test_request_carries_the_token_and_says_who_calls(server: FakeServer, run: Run) -> None:
    """What every call has in common."""
    server.on("GET", TENANT, {"tenant": "acme"})
    assert run("tenant", "show", "acme").exit_code == ExitCode.OK
    headers = server.seen[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["user-agent"].startswith("dstore/")


def test_detail_is_the_sentence(server: FakeServer, run: Run) -> None:
    """The server knows best what to do; it is printed once, on stderr."""
    server.on("GET", TENANT, reply=problem(403, "This credential does not reach that."))
    result = run("tenant", "show", "acme")
    assert result.exit_code == ExitCode.FAILED
    assert result.stdout == ""
    assert result.stderr == "dstore: This credential does not reach that.\n"


@pytest.mark.parametrize(
    ("reply", "exit_code"),
    [
        (problem(400, "x."), ExitCode.FAILED),
        (problem(404, "x."), ExitCode.NOT_FOUND),
        (problem(408, "x."), ExitCode.TIMEOUT),
        (problem(412, "x."), ExitCode.FAILED),
        (problem(500, "x."), ExitCode.FAILED),
        (problem(500, "x.", name="outcome-unknown"), ExitCode.TIMEOUT),
        (problem(507, "x."), ExitCode.FAILED),
    ],
)
def test_status_becomes_an_exit_status(
    server: FakeServer, run: Run, reply: Reply, exit_code: ExitCode
) -> None:
    """Scripts branch on it."""
    server.on("GET", TENANT, reply=reply)
    assert run("tenant", "show", "acme").exit_code == exit_code


def test_refused_token_is_traced_to_where_it_stood(server: FakeServer, run: Run) -> None:
    """With three places to keep a token, the wrong one is the usual mistake."""
    server.on("GET", TENANT, reply=problem(401, "The token is not valid here."))
    result = run("tenant", "show", "acme")
    assert "(The token is from DSTORE_TOKEN.)" in result.stderr
    assert TOKEN not in result.output


def test_server_error_names_its_request(server: FakeServer, run: Run) -> None:
    """With the id the operator finds the log line."""
    server.on("GET", TENANT, reply=problem(500, "The server made a mistake."))
    assert "(Request id request-7.)" in run("tenant", "show", "acme").stderr


def test_another_dstore_than_is_meant(run: Run) -> None:
    """A URL of the wrong one of its APIs: who typed it needs no description of paths."""
    result = run("tenant", "show", "acme")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert result.stderr.endswith(" is dStore, and not what answers this: check --url.\n")


def test_overload_says_when_to_come_back(server: FakeServer, run: Run) -> None:
    """Retry-After is the server's own estimate."""
    busy = problem(503, "The server is busy.")
    server.on("GET", TENANT, reply=Reply(status=503, body=busy.body, headers={"Retry-After": "3"}))
    assert run("tenant", "show", "acme").stderr.endswith("Try again in 3 s.\n")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=502, body=b"<html>Bad Gateway</html>"),
        Reply(status=404, body=b"[" * 5_000),
        Reply(status=999, body=b'{"detail": 1}'),
    ],
)
def test_stranger_on_the_port_is_recognised(server: FakeServer, run: Run, reply: Reply) -> None:
    """A proxy's page is no sentence of ours; the URL is what to look at."""
    server.on("GET", TENANT, reply=reply)
    result = run("tenant", "show", "acme")
    assert result.exit_code == ExitCode.FAILED
    assert "which is not dStore's v1 API: check --url." in result.stderr


@pytest.mark.parametrize("body", [b"", b"[]", b"not json"])
def test_answer_that_is_no_document_is_no_traceback(
    server: FakeServer, run: Run, body: bytes
) -> None:
    """A 200 from something else must not be shown as a tenant."""
    server.on("GET", TENANT, reply=Reply(body=body))
    result = run("tenant", "show", "acme")
    assert result.exit_code == ExitCode.FAILED
    assert "compare versions" in result.stderr


def test_no_server_says_how_to_start_one(run: Run) -> None:
    """The first thing a newcomer meets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        result = run("status", "--admin-url", url)
    assert result.exit_code == ExitCode.FAILED
    assert f"Nothing answers at {url} (connection refused)" in result.stderr
    assert "dstore serve" in result.stderr
    assert "--admin-url" in result.stderr


def test_tls_to_a_plain_port(server: FakeServer, run: Run) -> None:
    """Https where the server speaks http is a usual mistake; the sentence names it."""
    url = server.url.replace("http:", "https:")
    result = run("tenant", "list", "--url", url, "--timeout", "2")
    assert "does not speak TLS" in result.stderr


def test_read_that_times_out(server: FakeServer, run: Run) -> None:
    """Nothing happened, so trying again is safe, and 5 tells a script so."""
    server.on("GET", TENANT, reply=Reply(is_late=True))
    result = run("tenant", "show", "acme", "--timeout", "0.1")
    assert result.exit_code == ExitCode.TIMEOUT
    assert "did not answer within 0.1 s. Try again" in result.stderr


def test_write_that_times_out_is_doubtful(server: FakeServer, run: Run) -> None:
    """It may have happened; the same key finds out without doing it twice."""
    server.on("PUT", ITEM, reply=Reply(is_late=True))
    result = run("item", "put", "people", "42", "--timeout", "0.1", stdin="{}")
    assert result.exit_code == ExitCode.TIMEOUT
    assert "The outcome is unknown" in result.stderr
    assert f"--idempotency-key {server.seen[0].headers['idempotency-key']}" in result.stderr


def test_write_whose_connection_breaks_is_doubtful(server: FakeServer, run: Run) -> None:
    """A server that died may have written before."""
    server.on("DELETE", TENANT, reply=Reply(is_cut=True))
    result = run("tenant", "delete", "acme", "--yes")
    assert result.exit_code == ExitCode.TIMEOUT
    assert "broke off. The outcome is unknown" in result.stderr
    assert "Look whether it happened" in result.stderr


def test_read_whose_connection_breaks_is_not(server: FakeServer, run: Run) -> None:
    """Reading changes nothing."""
    server.on("GET", TENANT, reply=Reply(is_cut=True))
    result = run("tenant", "show", "acme")
    assert result.exit_code == ExitCode.FAILED
    assert "unknown" not in result.stderr


def test_no_token_is_found_out_before_anything_is_sent(server: FakeServer, run: Run) -> None:
    """Nothing goes out that can only be refused."""
    assert run("tenant", "list", token=None).exit_code == ExitCode.USAGE
    assert server.seen == []


def test_token_from_stdin(server: FakeServer, run: Run) -> None:
    """A program that keeps secrets writes the token into a pipe."""
    server.on("GET", TENANT, {"tenant": "acme"})
    assert run("tenant", "show", "acme", "--token-file", "-", stdin="other\n").exit_code == 0
    assert server.seen[0].headers["authorization"] == "Bearer other"


def test_token_and_body_do_not_share_stdin(server: FakeServer, run: Run) -> None:
    """One of them would silently be empty."""
    result = run("item", "put", "people", "42", "--token-file", "-", stdin="token\n{}")
    assert result.exit_code == ExitCode.USAGE
    assert server.seen == []


def test_early_refusal_of_a_large_body_is_heard(server: FakeServer, run: Run) -> None:
    """A server that answers 413 and closes breaks the pipe while the body is on its way."""
    refusal = problem(413, "The body is too large; send less.")
    head = f"HTTP/1.1 413 Too Large\r\nContent-Length: {len(refusal.body)}\r\n\r\n"

    def refuse(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:  # closed with most of the body unread: the client's next send is reset
            connection.recv(1_000)
            connection.sendall(head.encode() + refusal.body)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=refuse, args=(listening,))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        result = run("item", "put", "people", "42", "--url", url, stdin=b"x" * 20_000_000)
        thread.join()
    assert result.stderr == "dstore: The body is too large; send less.\n"
