"""One suite for every implementation of `Coordinator`: in memory, in a file, over a real etcd."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.topology.coordinator import Coordinator
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.etcd import EtcdServer, coordinator_of, running

_ETCD = pytest.param("etcd", marks=pytest.mark.xdist_group("etcd"))
_namespaces = count(1)


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """Give a real etcd that is never stopped; its tests have namespaces of their own."""
    with running(EtcdServer(directory=tmp_path_factory.mktemp("etcd"))) as server:
        yield server


@pytest.fixture(params=["memory", "file", _ETCD])
async def coordinator(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Coordinator]:
    """Give an empty coordinator."""
    if request.param == "etcd":
        server: EtcdServer = request.getfixturevalue("etcd_server")
        opened: Coordinator = coordinator_of(server, namespace=f"t{next(_namespaces)}/")
        try:
            yield opened
        finally:
            await opened.close()
    else:
        path = tmp_path / "coordinator.db" if request.param == "file" else None
        async with embedded(path) as opened:
            yield opened


@asynccontextmanager
async def embedded(path: Path | None) -> AsyncIterator[EmbeddedCoordinator]:
    """Open an embedded coordinator on the machine's clock; it must not fail by itself."""
    failures: list[BaseException] = []
    opened = await EmbeddedCoordinator.open(
        path, clock=SystemClock(), entropy=SystemEntropy(), on_failure=failures.append
    )
    try:
        yield opened
    finally:
        await opened.close()
    assert failures == []
