"""One suite, two engines: every test that asks for `site` runs on SQLite and on PostgreSQL.

PostgreSQL's tests share one server, and so one worker of a parallel run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dstore.storage.control.opening import open_store
from dstore.storage.control.store import ControlStore
from tests.support.postgresql import PostgreSQL, running_postgresql

SQLITE = "sqlite"
POSTGRESQL = "postgresql"


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


@pytest.fixture
async def store(site: Site) -> ControlStore:
    """Open an empty store."""
    return await site.open()
