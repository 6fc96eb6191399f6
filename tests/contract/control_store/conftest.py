"""One suite, three engines: SQLite, PostgreSQL, and the vault for what one process needs.

A test that asks for `site` opens the store more than once, as several control processes do, and
runs on the first two; one that asks for `store` runs on all of them.

PostgreSQL's tests share one server, and so one worker of a parallel run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dstore.base.entropy import SystemEntropy
from dstore.storage.control.opening import open_store
from dstore.storage.control.store import ControlStore
from dstore.storage.control.vaulted import open_vaulted
from dstore.storage.node_keys import new_file_key
from dstore.storage.vault.vault import Vault
from tests.support.postgresql import PostgreSQL, running_postgresql

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
VAULT = "vault"


@dataclass(kw_only=True)
class Site:
    """A store's place: each `open` is another control process's view of it."""

    address: str
    directory: Path
    engine: str
    stores: list[ControlStore] = field(default_factory=list)
    fatal: list[BaseException] = field(default_factory=list)

    async def open(self) -> ControlStore:
        """Open the store once more."""
        store = await open_store(self.address, directory=self.directory, on_fatal=self.fatal.append)
        self.stores.append(store)
        return store


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """Run one server for all tests of this worker."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(
    params=[
        SQLITE,
        pytest.param(POSTGRESQL, marks=pytest.mark.xdist_group("postgresql")),
    ]
)
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Give an empty place of either engine; what a test opened there is closed after it."""
    engine: str = request.param
    with ExitStack() as borrowed:
        if engine == POSTGRESQL:
            server: PostgreSQL = request.getfixturevalue("postgresql")
            address = server.address(borrowed.enter_context(server.empty_database()))
        else:
            address = f"sqlite:{tmp_path / 'control.db'}"
        place = Site(address=address, directory=tmp_path, engine=engine)
        yield place
        for store in place.stores:
            await store.close()
    assert place.fatal == []


@pytest.fixture
def database(postgresql: PostgreSQL) -> Iterator[str]:
    """Lend an empty database of PostgreSQL's. Yields: its name."""
    with postgresql.empty_database() as name:
        yield name


@pytest.fixture(
    params=[
        SQLITE,
        VAULT,
        pytest.param(POSTGRESQL, marks=pytest.mark.xdist_group("postgresql")),
    ]
)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlStore]:
    """Open an empty store of each engine."""
    fatal: list[BaseException] = []
    with ExitStack() as borrowed:
        opened = await _opened(request, tmp_path, borrowed=borrowed, on_fatal=fatal.append)
        yield opened
        await opened.close()
    assert fatal == []


async def _opened(
    request: pytest.FixtureRequest,
    directory: Path,
    *,
    borrowed: ExitStack,
    on_fatal: Callable[[BaseException], None],
) -> ControlStore:
    if request.param == VAULT:
        vault = Vault(entropy=SystemEntropy(), page_cache_bytes=4 << 20)
        key = new_file_key(SystemEntropy())
        return await open_vaulted(directory / "control.db", key=key, vault=vault, on_fatal=on_fatal)
    address = f"sqlite:{directory / 'control.db'}"
    if request.param == POSTGRESQL:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        address = server.address(borrowed.enter_context(server.empty_database()))
    return await open_store(address, directory=directory, on_fatal=on_fatal)
