"""A server to talk to, and the command line as its user types it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

from dstore.cli.program import dstore
from tests.unit.cli.fake_server import FakeServer

TOKEN = "dst_abcdefghijkl_canary-canary-canary-canary-canary-canary"


class Run(Protocol):
    """Run a command."""

    def __call__(self, *args: str, stdin: str | bytes = "", token: str | None = TOKEN) -> Result:
        """Run `dstore ARGS` and return what it printed and its exit status."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def run(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run commands that find `server` in their environment and nothing in their directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("DSTORE_DATA", "DSTORE_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DSTORE_URL", server.url)
    monkeypatch.setenv("DSTORE_ADMIN_URL", server.url)

    def call(*args: str, stdin: str | bytes = "", token: str | None = TOKEN) -> Result:
        return CliRunner().invoke(
            dstore, list(args), input=stdin, env={"DSTORE_TOKEN": token}, prog_name="dstore"
        )

    return call
