"""A PostgreSQL of our own: a cluster in a temporary directory, on a Unix socket and a free port.

    with running_postgresql() as server:
        address = server.new_database()      # postgresql://…, no password in it
        server.restart(mode="immediate")     # as a crash would
        server.terminate_backends("name")    # cuts the connections to one database

PostgreSQL refuses to run as root; root then runs it as the user `postgres` of Debian's package.
The texts of its databases sort as an ICU locale does, unlike SQLite's, unless a statement says
otherwise. Only processes that were started here are ended.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.ports import lasting_port

SUPERUSER: Final = "dstore_admin"
_TERMINATED_MS: Final = 10_000
PASSWORD: Final = "not-so-secret-1f6d"  # for connections over TCP
_SYSTEM_USER: Final = "postgres"
_INSTALLED: Final = Path("/usr/lib/postgresql")
_CONFIGURATION: Final = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{socket_directory}'
max_connections = 60
shared_buffers = 16MB
fsync = off
autovacuum = off
logging_collector = off
"""


class PostgreSQL:
    """One running cluster."""

    def __init__(
        self, directory: Path, *, port: int | None = None, password: str = PASSWORD
    ) -> None:
        """Prepare; `start` makes the cluster on its first call, with this password."""
        self.directory = directory
        self.socket_directory = directory / "socket"
        self.log = directory / "log"
        self.port = port or lasting_port()
        self._password = password
        self._data = directory / "data"
        self._free: list[str] = []

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        if not self._data.exists():
            self._make()
        self._pg_ctl("start", "-w", "-t", "60", "-l", str(self.log))

    def stop(self, *, mode: str = "fast") -> None:
        """Stop it: `fast` rolls back what runs, `immediate` is a crash."""
        self._pg_ctl("stop", "-w", "-t", "60", "-m", mode)

    def is_running(self) -> bool:
        """Tell whether a server runs on the directory, even one that an earlier process left."""
        return (
            self._data.exists() and self._ended("pg_ctl", "-D", str(self._data), "status")[0] == 0
        )

    def ensure_database(self, name: str) -> None:
        """Make a database of this name, if there is none."""
        found = self.run(f"SELECT 1 FROM pg_database WHERE datname = '{name}'")  # noqa: S608
        if not found:
            self.run(f"CREATE DATABASE {name} TEMPLATE template0")

    def restart(self, *, mode: str = "fast") -> None:
        """Stop and start it."""
        self.stop(mode=mode)
        self.start()

    def new_database(self, *, encoding: str = "UTF8") -> str:
        """Make an empty database. Returns: its address, over the socket."""
        name = f"test_{secrets.token_hex(6)}"
        wanted = (
            "TEMPLATE template0"
            if encoding == "UTF8"
            else f"TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"
        )
        self.run(f"CREATE DATABASE {name} {wanted}")
        return self.address(name)

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """Lend an empty database. Yields: its name.

        It is emptied and lent again: each has 300 files, which take a disk half a second to remove.
        """
        name = self._free.pop() if self._free else self._name_of(self.new_database())
        try:
            yield name
        finally:
            self.terminate_backends(name)
            self.run(f"ALTER DATABASE {name} RESET ALL")
            self.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public", database=name)
            self._free.append(name)

    def address(self, database: str) -> str:
        """Name a database over the socket."""
        return f"postgresql://{SUPERUSER}@/{database}?host={self.socket_directory}&port={self.port}"

    def tcp_address(self, database: str) -> str:
        """Name a database over TCP, which asks for PASSWORD."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str, *, database: str = "postgres") -> str:
        """Run a statement as an operator would, with psql. Returns: its rows, unadorned."""
        return self._as_owner(
            "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h",
            str(self.socket_directory), "-p", str(self.port), "-U", SUPERUSER, "-d", database,
            "-c", statement,
        )  # fmt: skip

    def terminate_backends(self, database: str) -> None:
        """Cut every connection to a database, as an operator or a failing server would.

        Their other ends may not have noticed yet.
        """
        self.run(
            f"SELECT pg_terminate_backend(pid, {_TERMINATED_MS}) FROM pg_stat_activity "  # noqa: S608 - our own name
            f"WHERE datname = '{database}'"
        )

    @staticmethod
    def _name_of(address: str) -> str:
        return address.partition("?")[0].rpartition("/")[2]

    def _make(self) -> None:
        self.socket_directory.mkdir()
        password = self.directory / "password"
        password.write_text(self._password + "\n")
        if os.getuid() == 0:
            shutil.chown(self.directory, _SYSTEM_USER)
            shutil.chown(self.socket_directory, _SYSTEM_USER)
            shutil.chown(password, _SYSTEM_USER)
        self.directory.chmod(0o755)  # the tests connect as another user
        self._as_owner(
            "initdb", "-D", str(self._data), "-U", SUPERUSER, "-E", "UTF8", "--no-sync",
            "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US",
            "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}",
        )  # fmt: skip
        self._write(
            self._data / "postgresql.auto.conf",
            _CONFIGURATION.format(port=self.port, socket_directory=self.socket_directory),
        )

    def _pg_ctl(self, *arguments: str) -> None:
        self._as_owner("pg_ctl", "-D", str(self._data), *arguments)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        if os.getuid() == 0:
            shutil.chown(path, _SYSTEM_USER)

    def _as_owner(self, program: str, *arguments: str) -> str:
        code, said = self._ended(program, *arguments)
        assert code == 0, f"{program}: {said}"
        return said

    def _ended(self, program: str, *arguments: str) -> tuple[int, str]:
        """Run a program as the server's user. Returns: its exit code, and what it said."""
        command: Sequence[str] = (str(_programs() / program), *arguments)
        is_root = os.getuid() == 0
        # A file, not a pipe: the server that pg_ctl starts keeps it open.
        with tempfile.TemporaryFile() as output:
            ended = subprocess.run(
                command,
                user=_SYSTEM_USER if is_root else None,
                group=pwd.getpwnam(_SYSTEM_USER).pw_gid if is_root else None,
                extra_groups=() if is_root else None,
                cwd=self.directory,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            output.seek(0)
            said = output.read().decode()
        return ended.returncode, said.strip()


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Run a cluster of its own for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="dstore-postgresql-") as name:
        server = PostgreSQL(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop(mode="immediate")


def _programs() -> Path:
    """Find Debian's programs, the newest version's; they are not on PATH."""
    versions = sorted(
        (path for path in _INSTALLED.glob("*/bin") if (path / "initdb").exists()),
        key=lambda path: float(path.parent.name),
    )
    assert versions, "PostgreSQL is not installed; scripts/test installs it."
    return versions[-1]
