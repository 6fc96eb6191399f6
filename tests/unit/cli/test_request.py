"""`dstore request`: what became of a queued write."""

import pytest

from dstore.cli.failures import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake_server import FakeServer

PATH = "/v1/tenant/default/request/r-1"


def test_queued_is_no_failure(server: FakeServer, run: Run) -> None:
    """Without --wait the command only looks."""
    server.on("GET", PATH, {"requestId": "r-1", "state": "queued"})
    result = run("request", "show", "r-1")
    assert (result.exit_code, result.stdout) == (0, "request  r-1\nstate    queued\n")


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(201, ExitCode.OK), (404, ExitCode.NOT_FOUND), (409, ExitCode.FAILED)],
)
def test_wait_ends_with_the_requests_own_exit_status(
    server: FakeServer, run: Run, status: int, exit_code: ExitCode
) -> None:
    """A script treats a queued write as if it had waited for it."""
    server.on("GET", PATH, {"requestId": "r-1", "state": "queued"})
    server.on("GET", PATH, {"requestId": "r-1", "state": "done", "status": status, "detail": "D."})
    result = run("request", "show", "r-1", "--wait")
    assert result.exit_code == exit_code
    assert f"status   {status}\n" in result.stdout


def test_wait_has_an_end(server: FakeServer, run: Run) -> None:
    """--timeout bounds the waiting, and 5 says that it did."""
    server.on("GET", PATH, {"requestId": "r-1", "state": "queued"})
    result = run("request", "show", "r-1", "--wait", "--timeout", "0.15")
    assert result.exit_code == ExitCode.TIMEOUT
    assert "still queued" in result.stderr
