"""The fixture `server`: one real server for all black-box tests of a session (and of a worker).

A `conftest.py` imports both fixtures. Tests that share the server make tenants of
their own (`fresh_tenant`), and never stop it.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.support.server import Server, running

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a running server; it has the default settings and logs every request."""
    directory = tmp_path_factory.mktemp("server")
    with running(directory, settings={"log-requests": "all", "log-level": "debug"}) as started:
        yield started
        assert started.is_running, started.said()[-2_000:]
        assert started.stop() == 0


@pytest.fixture
def fresh_tenant(server: Server) -> str:
    """Make a tenant that no other test knows. Returns: its name."""
    name = f"tenant-{next(_numbers)}"
    with server.client() as client:
        assert client.put(f"/v1/tenant/{name}").status == 201
    return name
