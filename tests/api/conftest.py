"""What the tests of this folder share: a running server, checked clients, a tenant with a table.

The tests of the DynamoDB API, which use the fixtures `dynamodb` and `tables`, also run against any
other endpoint: `pytest tests/api/test_*_item.py --url http://127.0.0.1:4567`. With `--dynalite`
that endpoint is dynalite, and a case where dynalite is known to differ must differ.
"""

from __future__ import annotations

from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.api.contract import CheckedClient
from tests.support.dynalite_differs import difference_of
from tests.support.dynamodb import DynamoDB, Endpoint, endpoint_of
from tests.support.dynamodb_cases import Tables
from tests.support.shared_server import fresh_tenant, server
from tests.support.terraform import config, provider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

__all__ = ["config", "fresh_tenant", "provider", "server"]

_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what names another endpoint."""
    parser.addoption("--url", default=None, help="the endpoint of the DynamoDB tests")
    parser.addoption("--dynalite", action="store_true", help="--url is dynalite's")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect dynalite to differ where a source says that it is wrong."""
    if not config.getoption("--dynalite", default=False):
        return
    for item in items:
        known = difference_of(item.nodeid)
        if known is not None:
            reason = f"dynalite {known.why} ({known.source})"
            item.add_marker(
                pytest.mark.xfail(
                    reason=reason, strict=not known.is_partial, run=not known.is_deadly
                )
            )


@pytest.fixture(scope="session")
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """Give the endpoint of `--url`, or a fresh tenant of dStore."""
    url = request.config.getoption("--url", default=None)
    if url is not None:
        return Endpoint(url=url, key_id="AKIAIOSFODNN7EXAMPLE", secret="example")
    started: Server = request.getfixturevalue("server")
    return endpoint_of(started, f"dynamodb-{next(_numbers)}")


@pytest.fixture(scope="session")
def dynamodb(endpoint: Endpoint) -> Iterator[DynamoDB]:
    """Give a client of the DynamoDB API."""
    with closing(DynamoDB(endpoint)) as made:
        yield made


@pytest.fixture(scope="session")
def own_tables(dynamodb: DynamoDB) -> Tables:
    """Give the maker of tables, whose names no other session uses."""
    return Tables(dynamodb, f"cases-{uuid4().hex[:8]}")


@pytest.fixture(scope="session")
def tables(own_tables: Tables) -> Tables:
    """Give the shared tables of `dynamodb_cases.TABLES`."""
    own_tables.create()
    return own_tables


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
