"""Addresses of the store, and the file that its password comes from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dstore.model.errors import RefusalKind, Refused, Unavailable, UnavailableKind
from dstore.storage.control.opening import open_store, parse_address, read_password

ROOT = Path(__file__).parents[4]

SAFE = [
    "sqlite",
    "sqlite:/var/lib/dstore/control.db",
    "sqlite:control.db",
    "postgresql:///dstore?host=/var/run/postgresql",
    "postgresql://dstore@localhost/dstore",
    "postgresql://dstore@[::1]:5432/dstore",
    "postgres://dstore@db.example/dstore?sslmode=verify-full&sslrootcert=/etc/ca.pem",
]
WITH_PASSWORD = [
    "postgresql://dstore:canary-77@localhost/dstore",
    "postgresql://dstore:@localhost/dstore",
    "postgresql://dstore:canary-77@x@localhost/dstore",
    "postgresql://localhost/dstore?password=canary-77",
    "postgresql://localhost/dstore?user=a&sslpassword=canary-77",
]
NONE = [
    "",
    "mysql://localhost/dstore",
    "control.db",
    "sqlite://host/control.db",
    "sqlite:control.db?mode=memory",
    "postgresql://[::1/dstore",
    "postgresql://localhost/dstore?canary-77",
]
UNVERIFIED = [
    "postgresql://dstore@db.example/dstore",
    "postgresql://dstore@db.example/dstore?sslmode=require",
    "postgresql://dstore@localhost/dstore?host=db.example",
    "postgresql://dstore@127.0.0.1,db.example/dstore",
    "postgresql:///dstore?host=/var/run/postgresql,db.example",
]


@pytest.mark.parametrize("address", SAFE)
def test_addresses_that_are_taken(address: str) -> None:
    """Both engines, over a socket, this machine, or another one that proves who it is."""
    assert parse_address(address).scheme in {"sqlite", "postgresql", "postgres"}


@pytest.mark.parametrize("address", WITH_PASSWORD)
def test_a_password_in_an_address_is_refused(address: str) -> None:
    """An address stands in arguments and status pages; the refusal itself does not quote it."""
    with pytest.raises(Refused, match="holds a password") as refused:
        parse_address(address)
    assert "canary" not in refused.value.message


@pytest.mark.parametrize("address", NONE)
def test_what_is_no_address_is_refused(address: str) -> None:
    """The sentence says what one looks like, and not what was given."""
    with pytest.raises(Refused, match="is sqlite, sqlite:PATH or postgresql:") as refused:
        parse_address(address)
    assert refused.value.kind is RefusalKind.INVALID
    assert "canary" not in refused.value.message


@pytest.mark.parametrize("address", UNVERIFIED)
def test_another_machine_must_prove_itself(address: str) -> None:
    """Digests and placements travel there; --insecure is the operator's word that they may."""
    with pytest.raises(Refused, match="verify-full"):
        parse_address(address)
    parse_address(address, is_insecure=True)


@pytest.mark.parametrize("content", [b"p4ss", b"p4ss\n", b"p4ss\r\n", b"p4ss\nrest\n"])
def test_a_password_is_the_first_line(tmp_path: Path, content: bytes) -> None:
    """However an editor ends it."""
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_bytes(content)
    assert read_password(path) == "p4ss"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """It is no secret any more."""
    path = tmp_path / "password"
    path.write_text("canary-77")
    path.chmod(mode)
    with pytest.raises(Refused, match="chmod 600") as refused:
        read_password(path)
    assert "canary" not in refused.value.message


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 2_000])
def test_a_file_without_a_password_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty password would be tried, and refused by PostgreSQL in other words."""
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(Refused, match="holds no password"):
        read_password(path)


def test_a_file_that_is_not_there_is_locked(tmp_path: Path) -> None:
    """It may come: a secret that is mounted late."""
    with pytest.raises(Unavailable) as locked:
        read_password(tmp_path / "absent")
    assert locked.value.kind is UnavailableKind.LOCKED


def test_asyncpg_is_loaded_only_for_postgresql() -> None:
    """`dstore serve` is ready in a second, and runs where the extra is not installed."""
    script = (
        "import asyncio, sys, tempfile, pathlib\n"
        "from dstore.storage.control import audit, components, credentials, join_tokens, notices\n"
        "from dstore.storage.control import outbox, planes, tables, tasks, tenants, opening\n"
        "assert 'aiosqlite' not in sys.modules\n"
        "async def main(directory):\n"
        "    store = await opening.open_store('sqlite', directory=directory, on_fatal=print)\n"
        "    await store.close()\n"
        "with tempfile.TemporaryDirectory() as name:\n"
        "    asyncio.run(main(pathlib.Path(name)))\n"
        "assert 'asyncpg' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


async def test_without_the_extra_the_choice_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence is the command that helps."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    for name in ("postgres", "postgres_failures"):
        monkeypatch.delitem(sys.modules, f"dstore.storage.control.{name}", raising=False)
    with pytest.raises(Refused, match=r"pip install 'dstore\[postgres\]'"):
        await open_store("postgresql:///dstore", directory=tmp_path, on_fatal=print)
