"""Run a real dStore server process in a directory of its own, on free ports.

    with running(tmp_path) as server:                # started, ready
        with server.client() as client:              # operator's token, keep-alive, one thread
            assert client.get("/v1/tenant").status == 200
        server.kill()                                # SIGKILL, as a crash would
        server.start()                               # again on the same data; new free ports
        assert server.stop() == 0                    # SIGTERM, drains
        assert server.events("storage_damaged") == []

In `directory` lie `data/` (the data directory), `tmp/` (the process's TMPDIR), `stdout` and
`stderr`, which gather over all starts. The environment of the process is bare, so that a test
depends on nothing of the machine's. `settings` are flags of `dstore serve`:
`{"log-level": "debug"}` is `--log-level debug`. Many black-box tests may share one server: the
fixture `server` of `tests/support/shared_server.py`, one a session and worker; such tests make
tenants of their own.

Only processes that a `Server` started are ever signalled, each by its own id.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from tests.support.forked import ForkedProgram
from tests.support.http_client import Client, NoAnswer

ROOT: Final = Path(__file__).parents[2]
READY_S: Final = 60.0  # a machine that runs other tests beside us is slow
STOP_S: Final = 60.0
# Util-linux runs a program so that it ends with whoever started it, even one that was killed, and
# that a terminal's Ctrl-C goes to that one alone. What is forked does so too.
TIED: Final = ("setpriv", "--pdeathsig", "TERM", "setsid")
_POLL_S: Final = 0.01
_BANNER: Final = "is ready"
_TAIL_CHARS: Final = 2_000


class ServerEnded(Exception):
    """The process ended before it was ready; the message has its exit code and what it said."""

    def __init__(self, code: int, stderr: str) -> None:
        """Keep both for the test that expects it."""
        super().__init__(f"exit code {code}: {stderr[-_TAIL_CHARS:]}")
        self.code = code
        self.stderr = stderr


class Server:
    """One data directory and, while it runs, the process that serves it.

    With `forks` the process is forked, see `forked`, where nothing but what it imports would differ
    for a program of its own.
    """

    forks: ClassVar[bool] = False

    def __init__(
        self,
        directory: Path,
        *,
        data: Path | None = None,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        config: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Prepare; nothing runs before `start`. All but `directory` may be changed between starts.

        Args:
            directory: for everything; made if absent.
            data: the data directory, if it is not `directory / "data"`.
            settings: flags without their dashes; `port` is 0 unless given.
            environment: further variables of the process.
            config: a TOML file.
            prefix: a program that becomes the server, keeping its process id (`prlimit`).
        """
        self.directory = directory
        self.data = data or directory / "data"
        self.tmp = directory / "tmp"
        self.stdout = directory / "stdout"
        self.stderr = directory / "stderr"
        self.settings = dict(settings or {})
        self.environment = dict(environment or {})
        self.config = config
        self.prefix = tuple(prefix)
        self._process: subprocess.Popen[bytes] | ForkedProgram | None = None
        self._stdout_offset = self._stderr_offset = 0  # where the latest start begins
        self.tmp.mkdir(parents=True, exist_ok=True)

    # ------------------------------------------------------------------------------ the process

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Tell whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float = READY_S) -> float:
        """Start the process and wait until it is ready. Returns: the seconds that took.

        Raises: ServerEnded: it ended instead. TimeoutError: neither; it is killed.
        """
        began = time.monotonic()
        self.launch()
        self.wait_ready(timeout_s=timeout_s)
        return time.monotonic() - began

    def launch(self) -> None:
        """Start the process without waiting for anything."""
        assert not self.is_running, "the server runs already"
        with self.stdout.open("ab") as stdout, self.stderr.open("ab") as stderr:
            self._stdout_offset, self._stderr_offset = stdout.tell(), stderr.tell()
            if self.forks and self._is_plain:
                self._process = ForkedProgram(
                    self._arguments(),
                    directory=self.directory,
                    environment=self._variables(),
                    outputs=(self.stdout, self.stderr),
                )
                return
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    def wait_ready(self, *, timeout_s: float = READY_S) -> None:
        """Wait for the banner and then for /health/ready. Raises: see `start`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.is_running:
                raise ServerEnded(self.wait(), self.said())
            if _BANNER in self.printed() and self._is_ready():
                return
            time.sleep(_POLL_S)
        self.kill()
        raise TimeoutError(f"not ready after {timeout_s} s: {self.said()[-_TAIL_CHARS:]}")

    def terminate(self) -> None:
        """Send SIGTERM and return at once."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, *, timeout_s: float = STOP_S) -> int:
        """Wait for the process to end by itself. Returns: its exit code, -9 after SIGKILL."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def stop(self, *, timeout_s: float = STOP_S) -> int:
        """Send SIGTERM and wait. Returns: the exit code."""
        self.terminate()
        return self.wait(timeout_s=timeout_s)

    def kill(self) -> None:
        """Send SIGKILL, as a crash of the process would end it, and wait; harmless if it ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def command(self) -> list[str]:
        """Spell the command line."""
        return [*self.prefix, sys.executable, "-m", "dstore", *self._arguments()]

    # ------------------------------------------------------------------------- what it tells us

    def env(self) -> dict[str, str]:
        """Read `client.env`."""
        lines = (self.data / "client.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def client(self, *, token: str | None = None, timeout_s: float = 20.0) -> Client:
        """Make a client of the public surface, with the operator's token unless one is given."""
        env = self.env()
        return Client(env["DSTORE_URL"], token=token or env["DSTORE_TOKEN"], timeout_s=timeout_s)

    def admin(self, *, token: str | None = None) -> Client:
        """Make a client of the admin surface."""
        env = self.env()
        return Client(env["DSTORE_ADMIN_URL"], token=token or env["DSTORE_TOKEN"])

    def printed(self) -> str:
        """Return what the process of the latest start wrote to stdout."""
        return self.stdout.read_bytes()[self._stdout_offset :].decode(errors="replace")

    def said(self) -> str:
        """Return what the process of the latest start wrote to stderr."""
        return self.stderr.read_bytes()[self._stderr_offset :].decode(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log events of this name, of all starts, oldest first."""
        lines = self.stderr.read_text(errors="replace").splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in logged if event.get("event") == name]

    def _arguments(self) -> list[str]:
        flags = {"data": str(self.data), "port": "0"} | self.settings
        spelled = [part for name, value in flags.items() for part in (f"--{name}", value)]
        config = ["--config", str(self.config)] if self.config is not None else []
        return ["serve", *config, *spelled]

    @property
    def _is_plain(self) -> bool:
        """Whether what it is started with is for dStore alone, and not for Python."""
        others = [name for name in self.environment if not name.startswith("DSTORE_")]
        return self.prefix in {(), TIED} and set(others) <= {"PYTHONDONTWRITEBYTECODE"}

    def _variables(self) -> dict[str, str]:
        bare = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "TMPDIR": str(self.tmp),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
        }
        return bare | self.environment

    def _is_ready(self) -> bool:
        with Client(self.env()["DSTORE_URL"], token=None, timeout_s=5.0) as client:
            try:
                return client.get("/health/ready").status == 200
            except NoAnswer:
                return False


@contextmanager
def running(directory: Path, **options: Any) -> Iterator[Server]:
    """Start a server, see `Server`; at the end kill it if it still runs."""
    with prepared(directory, **options) as server:
        server.start()
        yield server


@contextmanager
def prepared(directory: Path, **options: Any) -> Iterator[Server]:
    """Prepare a server without starting it; at the end kill it if it runs."""
    server = Server(directory, **options)
    try:
        yield server
    finally:
        server.kill()
