"""One suite, two places: SQLite and the embedded coordinator, PostgreSQL and a real etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.service.peer_pool import Nodes
from dstore.storage.control.opening import open_store
from dstore.storage.control.store import ControlStore
from dstore.topology.coordinator import Coordinator
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.control import ControlProcess, control_process, eventually
from tests.support.etcd import EtcdServer, coordinator_of, running
from tests.support.postgresql import PostgreSQL, running_postgresql
from tests.support.replicas import TellingNodes

EMBEDDED = "embedded"
SERVERS = "servers"
_namespaces = count(1)


@dataclass(kw_only=True)
class Place:
    """Where control processes meet: their coordinator, and the address of their store."""

    coordinator: Coordinator
    address: str
    directory: Path
    stack: AsyncExitStack
    fatal: list[BaseException] = field(default_factory=list)
    started: int = 0

    async def store(self) -> ControlStore:
        """Open the store once more, as another process would."""
        store = await open_store(self.address, directory=self.directory, on_fatal=self.fatal.append)
        self.stack.push_async_callback(store.close)
        return store

    @asynccontextmanager
    async def control(
        self,
        *,
        coordinator: Coordinator | None = None,
        ranges_per_table: int | None = None,
        replication_factor: int = 1,
        nodes: Nodes | None = None,
    ) -> AsyncIterator[ControlProcess]:
        """Start one more control process; unless `nodes` are given they remember nothing."""
        self.started += 1
        async with control_process(
            coordinator or self.coordinator,
            await self.store(),
            self.directory / f"control{self.started}",
            ranges_per_table=ranges_per_table,
            replication_factor=replication_factor,
            nodes=TellingNodes.numbered(3) if nodes is None else nodes,
        ) as process:
            yield process

    @asynccontextmanager
    async def leader(
        self,
        *,
        ranges_per_table: int | None = None,
        replication_factor: int = 1,
        nodes: Nodes | None = None,
    ) -> AsyncIterator[ControlProcess]:
        """Start a control process and wait until it leads."""
        async with self.control(
            ranges_per_table=ranges_per_table, replication_factor=replication_factor, nodes=nodes
        ) as process:
            await eventually(lambda: process.leads)
            yield process


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give a real etcd; its tests have namespaces of their own."""
    with running(EtcdServer(directory=tmp_path_factory.mktemp("etcd"))) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """Run one server for all tests of this worker."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(
    params=[EMBEDDED, pytest.param(SERVERS, marks=pytest.mark.xdist_group("control_servers"))]
)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Give an empty place."""
    async with AsyncExitStack() as stack:
        if request.param == SERVERS:
            server: EtcdServer = request.getfixturevalue("etcd_server")
            database: PostgreSQL = request.getfixturevalue("postgresql")
            coordinator: Coordinator = coordinator_of(server, namespace=f"c{next(_namespaces)}/")
            address = database.address(stack.enter_context(database.empty_database()))
        else:
            coordinator = await EmbeddedCoordinator.open(
                None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=_raise
            )
            address = f"sqlite:{tmp_path / 'control.db'}"
        stack.push_async_callback(coordinator.close)
        made = Place(coordinator=coordinator, address=address, directory=tmp_path, stack=stack)
        yield made
    assert made.fatal == []


def _raise(error: BaseException) -> None:
    raise error
