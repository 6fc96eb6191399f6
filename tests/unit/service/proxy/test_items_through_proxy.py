"""The item operations' own tests once more, through a proxy over two nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dstore.service.control import tables as control_tables
from dstore.service.proxy import remote_registrar
from dstore.service.proxy.proxy import Proxy
from tests.support.proxies import proxy_cluster
from tests.unit.api.dynamodb.item_tables import make_item_tables
from tests.unit.api.dynamodb.test_item_actions import (  # noqa: F401 - collected here too
    test_capacity,
    test_capacity_of_indexes_and_of_collections,
    test_conditions,
    test_every_kind_of_key,
    test_projections,
    test_put_keeps_within_400_kb,
    test_return_values_of_nested_updates,
    test_return_values_of_updates,
    test_updates_of_nothing,
    test_updates_refused,
)
from tests.unit.api.dynamodb.test_item_batches import (  # noqa: F401 - collected here too
    test_batch_of_every_table,
    test_cancelled_requests,
    test_counters_lose_nothing,
    test_many_updates_of_a_list,
    test_one_winner,
    test_reads_beyond_16_mb,
)


@pytest.fixture(name="node", params=["peers", "near"])
async def node_fixture(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Proxy]:
    """A proxy with the tables, over nodes that it calls, or that are in its process."""
    # Nobody here fills a global index, and who makes a table with one need not wait for that.
    monkeypatch.setattr(control_tables, "SETTLED_TIMEOUT_S", 0.1)
    monkeypatch.setattr(remote_registrar, "PROXY_TABLE_TIMEOUT_S", 0.1)
    async with proxy_cluster(tmp_path, ranges_per_table=2, near=request.param == "near") as cluster:
        await make_item_tables(cluster.proxy)
        yield cluster.proxy
