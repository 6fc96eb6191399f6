"""A control to ask."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.unit.api.admin.fake_control import FakeControl


@pytest_asyncio.fixture
async def control() -> AsyncIterator[FakeControl]:
    async with FakeControl().serve() as fake:
        yield fake
