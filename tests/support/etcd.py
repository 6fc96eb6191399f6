"""A real etcd of a test's own: on ports of its own, in a scratch directory, ended by its pid."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.topology.etcd import EtcdCoordinator
from dstore.topology.etcd_wire import EtcdTls
from tests.support.ports import lasting_port

START_S_MAX = 20.0


@dataclass(kw_only=True)
class EtcdServer:
    """One member, which a test may stop, pause and start again."""

    directory: Path
    options: tuple[str, ...] = ()
    scheme: str = "http"
    host: str = "127.0.0.1"  # for clients
    name: str = "only"
    client_port: int = field(default_factory=lasting_port)
    peer_port: int = field(default_factory=lasting_port)
    cluster: str = ""  # name=url of every member; its own alone if empty
    prefix: tuple[str, ...] = ()  # a program that becomes the server, keeping its process id
    _process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, waits: bool = True) -> None:
        """Start the server on its directory and wait until it answers."""
        client_url = f"{self.scheme}://{self.address}"
        self.directory.mkdir(exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self.prefix,
                    "etcd",
                    f"--name={self.name}",
                    f"--data-dir={self.directory / 'data'}",
                    f"--listen-client-urls={client_url}",
                    f"--advertise-client-urls={client_url}",
                    f"--listen-peer-urls={self.peer_url}",
                    f"--initial-advertise-peer-urls={self.peer_url}",
                    f"--initial-cluster={self.cluster or f'{self.name}={self.peer_url}'}",
                    "--logger=zap",
                    *self.options,
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine},
            )
        if waits:
            self.wait()

    def wait(self) -> None:
        """Wait until the server takes connections."""
        assert self._process is not None
        ends_at = time.monotonic() + START_S_MAX
        while time.monotonic() < ends_at and self._process.poll() is None:
            with suppress(OSError), socket.create_connection((self.host, self.client_port), 0.2):
                return
            time.sleep(0.02)
        raise AssertionError((self.directory / "log").read_text()[-2_000:])

    def stop(self) -> None:
        """Kill the server; what it acknowledged is on its disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let the server hang with its connections open; its threads stop one after another."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while not all(_is_stopped(thread) for thread in threads.iterdir()):
            time.sleep(0.001)

    def resume(self) -> None:
        """End `pause`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def _is_stopped(thread: Path) -> bool:
    try:
        state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return True
    return state == "T"


@contextmanager
def running(server: EtcdServer) -> Iterator[EtcdServer]:
    """Start a server and kill it at the end."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def running_together(directory: Path, count: int) -> Iterator[tuple[EtcdServer, ...]]:
    """Start a cluster of several members."""
    servers = tuple(
        EtcdServer(directory=directory / f"m{index}", name=f"m{index}") for index in range(count)
    )
    cluster = ",".join(f"{server.name}={server.peer_url}" for server in servers)
    try:
        for server in servers:
            server.cluster = cluster
            server.start(waits=False)
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            server.stop()


def coordinator_of(
    *servers: EtcdServer, tls: EtcdTls | None = None, namespace: str = ""
) -> EtcdCoordinator:
    """Connect to servers; call it within a running loop, and close what it returns."""
    return EtcdCoordinator(
        [server.address for server in servers],
        tls=tls,
        clock=SystemClock(),
        entropy=SystemEntropy(),
        namespace=namespace,
    )
