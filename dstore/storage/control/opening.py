"""Which store: its address is read here, and nothing of an engine is loaded before it is chosen.

    sqlite                                             control.db in the data directory
    sqlite:/var/lib/dstore/control.db                  that file
    postgresql://dstore@db.example/dstore?sslmode=verify-full&sslrootcert=/etc/dstore/db-ca.pem
    postgresql:///dstore?host=/var/run/postgresql      over its Unix socket

An address holds no password: addresses are settings, and settings show in arguments, environments,
logs and status pages. A password stands in a file that only this user can read, one line, named by
its own setting and read again at each connection; or where libpq looks by itself: the file that
`PGPASSFILE` names, `~/.pgpass`, `PGPASSWORD`. A Unix socket or a client certificate (`sslcert`,
`sslkey`) needs none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind, invalid

if TYPE_CHECKING:
    from dstore.storage.control.store import ControlStore

SQLITE_FILE: Final = "control.db"
_POSTGRES_SCHEMES: Final = frozenset({"postgresql", "postgres"})
_SECRET_PARAMETERS: Final = frozenset({"password", "sslpassword"})
_VERIFYING: Final = frozenset({"verify-full", "verify-ca"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PASSWORD_BYTES_MAX: Final = 1_024
_PASSWORD_RETRY_MS: Final = 1_000


async def open_store(
    address: str,
    *,
    directory: Path,
    password_file: Path | None = None,
    is_insecure: bool = False,
    on_fatal: Callable[[BaseException], None],
) -> ControlStore:
    """Open the store of this control process, and bring its schema up to date.

    Args:
        address: as above.
        directory: the data directory, which exists.
        password_file: for PostgreSQL.
        is_insecure: let PostgreSQL be on another machine without its certificate being verified.
        on_fatal: ends the process when SQLite's disk failed under a commit.
    Raises: Refused(INVALID): the address or the file is not as it must be. Unavailable: not now.
        Corrupt: a later dStore's, or no store at all.
    """
    path = sqlite_path(address, directory=directory, is_insecure=is_insecure)
    if path is not None:
        from dstore.storage.control.sqlite import open_sqlite

        return await open_sqlite(path, on_fatal=on_fatal)
    try:
        from dstore.storage.control.postgres import open_postgres
    except ModuleNotFoundError as error:
        raise invalid("PostgreSQL needs dStore's extra: pip install 'dstore[postgres]'.") from error
    if password_file is None:
        return await open_postgres(address)
    read_password(password_file)  # says at once what is wrong with it
    return await open_postgres(address, password=lambda: _password_now(password_file))


def sqlite_path(address: str, *, directory: Path, is_insecure: bool = False) -> Path | None:
    """Name the file of a store in SQLite; None: the store is elsewhere. As `open_store`."""
    parts = parse_address(address, is_insecure=is_insecure)
    if parts.scheme != "sqlite":
        return None
    return Path(parts.path) if parts.path else directory / SQLITE_FILE


def parse_address(address: str, *, is_insecure: bool = False) -> SplitResult:
    """Check an address; `sqlite` alone is a scheme without a path.

    Raises: Refused(INVALID): it is none, holds a password, or names another machine without TLS
        that verifies it. The sentence does not quote the address.
    """
    try:
        parts = urlsplit("sqlite:" if address == "sqlite" else address)
        has_password = parts.password is not None or "@" in (parts.username or "")
        host = parts.hostname or ""
        parameters = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _no_address() from None
    if parts.scheme == "sqlite" and not (parts.netloc or parts.query or parts.fragment):
        return parts
    if parts.scheme not in _POSTGRES_SCHEMES:
        raise _no_address()
    if has_password or not _SECRET_PARAMETERS.isdisjoint(parameters):
        raise invalid(
            "The address of control's store holds a password; write it into a file that only this "
            "user can read, and name that file."
        )
    hosts = parameters.get("host", host).split(",")
    is_local = all(not host or host.startswith("/") or host in _LOOPBACK for host in hosts)
    if not (is_local or is_insecure or parameters.get("sslmode") in _VERIFYING):
        raise invalid(
            "PostgreSQL is on another machine; add sslmode=verify-full and sslrootcert to its "
            "address, or say --insecure if the network is protected otherwise."
        )
    return parts


def read_password(path: Path) -> str:
    """Read a password's file: its first line.

    Raises: Refused(INVALID): others can read it, or it is empty or too long. Unavailable: it
        cannot be read.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_PASSWORD_BYTES_MAX + 1)
    except OSError as error:
        raise Unavailable(
            UnavailableKind.LOCKED, f"The password file can't be read: {error.strerror}."
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise invalid(f"Others can read the password file; chmod 600 {path.name}.")
    password = content.partition(b"\n")[0].removesuffix(b"\r")
    if not password or len(content) > _PASSWORD_BYTES_MAX:
        raise invalid(f"{path.name} holds no password: one line, 1 to {_PASSWORD_BYTES_MAX} bytes.")
    return password.decode("utf-8", "surrogateescape")


def _password_now(path: Path) -> str:
    """Read it for one more connection: what is wrong with it now is no request's fault."""
    try:
        return read_password(path)
    except Refused as refused:
        raise Unavailable(
            UnavailableKind.LOCKED, refused.message, retry_after_ms=_PASSWORD_RETRY_MS
        ) from None


def _no_address() -> Refused:
    return Refused(
        RefusalKind.INVALID,
        "Control's store is sqlite, sqlite:PATH or postgresql://USER@HOST/DATABASE.",
    )
