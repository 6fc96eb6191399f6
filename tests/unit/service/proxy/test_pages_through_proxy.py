"""Query's and Scan's own tests once more, through a proxy over two nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dstore.service.proxy.proxy import Proxy
from tests.support.proxies import proxy_cluster
from tests.unit.api.dynamodb.actions import test_query, test_scan
from tests.unit.api.dynamodb.actions.test_query import (  # noqa: F401 - collected here too
    test_limit_counts_evaluated_items_and_leaves_a_key,
    test_projection_count_and_capacity,
    test_query_answers_items_in_order,
)
from tests.unit.api.dynamodb.actions.test_scan import (  # noqa: F401 - collected here too
    test_long_pages_end_behind_the_megabyte,
    test_scan_pages_through_a_table,
    test_segments_are_parts_of_the_hashes,
)
from tests.unit.api.dynamodb.page_tables import make_page_tables


@pytest.fixture(params=["peers", "near"], autouse=True)
def _through_proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def proxied(directory: Path) -> AsyncIterator[Proxy]:
        near = request.param == "near"
        async with proxy_cluster(directory, ranges_per_table=3, near=near) as cluster:
            await make_page_tables(cluster.proxy)
            yield cluster.proxy

    for module in (test_query, test_scan):
        monkeypatch.setattr(module, "page_tables", proxied)
