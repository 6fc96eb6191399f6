"""A whole node in a scratch directory, without any surface, for tests of the service layer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.tasks import Tasks
from dstore.service.node import Node, NodeOptions, open_node

if TYPE_CHECKING:
    from pathlib import Path

    from dstore.model.values import Item
    from dstore.service.deferred import Plan
    from dstore.service.items import EntryKey


class ShiftedClock:
    """The system's clock, whose wall can be moved."""

    def __init__(self) -> None:
        """Begin at the real time."""
        self._real = SystemClock()
        self.shift_us = 0

    def wall_us(self) -> int:
        return self._real.wall_us() + self.shift_us

    def monotonic_ns(self) -> int:
        return self._real.monotonic_ns()


@asynccontextmanager
async def open_in(directory: Path, *, clock: ShiftedClock | None = None) -> AsyncIterator[Node]:
    """Open a node, making it the first time, and close it at the end; no job runs in it."""
    fatal: list[BaseException] = []
    node = await open_node(
        NodeOptions(
            directory=directory,
            location="NA",
            page_cache_bytes=4 << 20,
            entry_cache_bytes=1 << 20,
            open_files_max=8,
            free_disk_bytes_min=0,
            wal_pages_checkpoint=8_000,
        ),
        clock=clock or ShiftedClock(),
        entropy=SystemEntropy(),
        on_fatal=fatal.append,
    )
    try:
        yield node
    finally:
        await node.close()
    assert fatal == []


@asynccontextmanager
async def doing_deferred(node: Node, plan: Plan) -> AsyncIterator[None]:
    """Do the writes accepted with 202 meanwhile; the job must not end by itself."""
    ended: list[BaseException] = []
    tasks = Tasks(ended.append)
    tasks.spawn(node.do_deferred(plan), name="do_deferred", critical=True)
    try:
        yield
    finally:
        await tasks.close()
    assert ended == []


async def stored_item(node: Node, key: EntryKey) -> Item | None:
    """Read an entry's attributes as they are stored, numbers as they were spelled."""
    file = await node.holdings.open(key.table.ranges.at(key.rid_id))
    entry = await file.read(key.rid_id)
    return None if entry is None else entry.item
