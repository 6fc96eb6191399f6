"""What the tests of this folder share: a running server, checked clients, a tenant with a table."""

from __future__ import annotations

from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.api.contract import CheckedClient
from tests.support.shared_server import fresh_tenant, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

__all__ = ["fresh_tenant", "server"]

_numbers = count(1)


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[CheckedClient]:
    """Give the operator's client of the public surface."""
    env = server.env()
    with closing(CheckedClient(env["DSTORE_URL"], token=env["DSTORE_TOKEN"])) as made:
        yield made


@pytest.fixture(scope="session")
def admin(server: Server) -> Iterator[CheckedClient]:
    """Give the operator's client of the admin surface."""
    env = server.env()
    with closing(CheckedClient(env["DSTORE_ADMIN_URL"], token=env["DSTORE_TOKEN"])) as made:
        yield made


@pytest.fixture(scope="module")
def tenant(client: CheckedClient) -> str:
    """Make a tenant for a file of tests. Returns: its path."""
    path = f"/v1/tenant/of-file-{next(_numbers)}"
    assert client.put(path).status == 201
    return path


@pytest.fixture(scope="module")
def table(client: CheckedClient, tenant: str) -> str:
    """Make a table with String IDs for a file of tests. Returns: its path."""
    path = f"{tenant}/table/shared"
    assert client.put(path, {"idType": "String"}).status == 201
    return path


@pytest.fixture
def new_table(client: CheckedClient, tenant: str) -> str:
    """Make a table with String IDs for one test. Returns: its path."""
    path = f"{tenant}/table/own-{next(_numbers)}"
    assert client.put(path, {"idType": "String"}).status == 201
    return path
