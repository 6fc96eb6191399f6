"""A real node in a scratch directory, for tests of the service layer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.security.keys import ControlShare
from dstore.service.node import Node, NodeOptions, open_node


@asynccontextmanager
async def a_node(
    directory: Path, *, free_disk_bytes_min: int = 0, shares: Sequence[ControlShare] = ()
) -> AsyncIterator[Node]:
    """Open the data directory as a starting server would, and close it at the end."""
    directory.mkdir(exist_ok=True)  # noqa: ASYNC240 - a scratch directory
    node = await open_node(
        NodeOptions(
            directory=directory,
            location="NA",
            page_cache_bytes=8 << 20,
            entry_cache_bytes=1 << 20,
            open_files_max=8,
            free_disk_bytes_min=free_disk_bytes_min,
            wal_pages_checkpoint=8_000,
        ),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        on_fatal=_fail,
        shares=shares,
    )
    try:
        yield node
    finally:
        await node.close()


def _fail(error: BaseException) -> None:
    raise AssertionError("storage called its failure fatal") from error
