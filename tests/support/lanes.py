"""A lane's world: a range of a table, its index, and whatever may befall them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from dstore.base.clock import SystemClock
from dstore.base.metrics import IndexMetrics
from dstore.model.errors import NotMine, Unavailable, UnavailableKind, Unknown
from dstore.model.hashing import HASH_MAX
from dstore.model.index_of import IndexOf, index_table_name
from dstore.model.keys import HASH_BYTES, KeyKind
from dstore.model.status import ResourceStatus
from dstore.model.table_settings import KeyAttribute, ProjectionType
from dstore.model.tables import Door, TableDefinition, TableId
from dstore.replication.pace import Pace
from dstore.service import index_changes
from dstore.service.calls.feed_calls import FeedRange, RowsTaken
from dstore.service.cluster.feed_room import FeedRoom
from dstore.service.cluster.index_lane import Lane, feeding_write
from dstore.service.cluster.index_pages import FillTurns
from dstore.service.cluster.lane_parts import LaneParts
from dstore.service.cluster.recent_records import RecentBytes, RecentRecords
from dstore.service.expiring.effort import Effort
from dstore.storage import memos, range_log
from dstore.storage.log_reading import EntryPage, read_entries
from dstore.storage.writes import Delete
from dstore.topology import values
from dstore.topology.coordinator import Revision
from dstore.topology.view import PlacedRange, TableView
from tests.support.stores import put, store, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dstore.storage.range_file import RangeFile
    from tests.support.stores import Store

NODE = "22222222-2222-4222-8222-222222222222"
BASE = TableDefinition(
    tenant="acme",
    name="orders",
    table_id=TableId("33333333-3333-4333-8333-333333333333"),
    partition=KeyAttribute(name="id", kind=KeyKind.STRING),
    door=Door.DYNAMODB,
    created_at_us=0,
)
OF = IndexOf(
    table_id=BASE.table_id,
    table=BASE.name,
    name="by-state",
    hash_keys=(KeyAttribute(name="state", kind=KeyKind.STRING),),
    table_keys=BASE.keys,
    projection=ProjectionType.ALL,
)
INDEX = TableDefinition(
    tenant="acme",
    name=index_table_name(BASE.name, OF.name),
    table_id=TableId("44444444-4444-4444-8444-444444444444"),
    partition=OF.hash_keys[0],
    door=Door.DYNAMODB,
    created_at_us=0,
    index_of=OF,
)
SHAPE = index_changes.shape_of(OF)


class ShiftedClock(SystemClock):
    """A clock that leaps when a test says so."""

    shift_ns = 0

    def monotonic_ns(self) -> int:
        """Read the clock, leaps counted in."""
        return super().monotonic_ns() + self.shift_ns


@dataclass(kw_only=True)
class World:
    """A range of a table, and the ranges of its index, by their bounds."""

    stored: Store
    base: RangeFile
    ranges: dict[tuple[int, int], RangeFile]
    status: ResourceStatus = ResourceStatus.ACTIVE
    random: Random = field(default_factory=lambda: Random(1))
    fails: float = 0.0
    has_space: bool = True
    index: TableDefinition = INDEX
    room: FeedRoom = field(default_factory=lambda: FeedRoom(SystemClock()))
    lost: list[str] = field(default_factory=list)
    messages: list[FeedRange] = field(default_factory=list)
    counts: IndexMetrics = field(default_factory=IndexMetrics)
    recent: RecentRecords = field(default_factory=lambda: RecentRecords(RecentBytes()))
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    heard_seq: int = 0
    is_asked: bool = False  # all the time
    requests: int = 0
    opened: int = 0

    def lane(self) -> Lane:
        """Make a lane, as a primary does that has just begun to serve."""
        around = SimpleNamespace(
            clock=self.clock, open_file=self._open, node=NODE, pace=Pace(bytes_per_s=0)
        )
        parts = LaneParts(
            around=cast("Any", around),
            view=cast("Any", lambda: SimpleNamespace(table=self._table, revision=7)),
            take=self.take,
            end_seq=lambda _: self.base._writer.end.seq,
            turns=FillTurns(self.clock, Effort(SystemClock(), self._requests)),
            has_space=lambda: self.has_space,
            room=self.room,
            on_lost=lambda range_id, _: self.lost.append(range_id),
            counts=self.counts,
        )
        return Lane(self.base.path.stem, BASE, self.index, parts=parts, recent=self.recent)

    def _requests(self) -> int:
        self.requests += self.is_asked
        return self.requests

    async def _open(self, _range_id: str) -> RangeFile:
        self.opened += 1
        return self.base

    async def hear(self) -> None:
        """Keep in memory what was committed since this was called last, as a primary does."""
        records = await self.base.look(
            partial(range_log.read, after_seq=self.heard_seq, last_seq=1 << 60)
        )
        if records:
            self.heard_seq = records[-1].seq
            self.recent.add(records)

    def _table(self, _tenant: str, _name: str) -> TableView:
        placed = tuple(
            PlacedRange(
                low_hash=low,
                placement=values.RangePlacement(
                    node=NODE,
                    uri="",
                    high_hash=high,
                    table_id=self.index.table_id,
                    range_id=file.path.stem,
                    epoch=1,
                    replicas=(),
                ),
                mod_revision=Revision(1),
            )
            for (low, high), file in sorted(self.ranges.items())
        )
        return TableView(
            definition=self.index, status=self.status, mod_revision=Revision(1), ranges=placed
        )

    async def take(self, request: FeedRange) -> RowsTaken:
        """Take rows, or fail, before or after."""
        self.messages.append(request)
        if self.random.random() < self.fails:
            raise Unavailable(UnavailableKind.UNREACHABLE, "not now")
        bounds = {file.path.stem: bounds for bounds, file in self.ranges.items()}
        if request.range_id not in bounds:
            raise NotMine(request.range_id)
        low, high = bounds[request.range_id]
        for row in request.rows.rows:
            assert low <= int.from_bytes(row.rid_id[:HASH_BYTES], "big") <= high
        await self.ranges[low, high].submit(feeding_write(request.rows))
        if self.random.random() < self.fails:
            raise Unknown("who knows")
        return RowsTaken()

    async def change(self, count: int = 1) -> None:
        """Write to the table."""
        for _ in range(count):
            name, number = f"o{self.random.randrange(12)}", self.random.randrange(1_000)
            draw = self.random.random()
            if draw < 0.2:
                await self.base.submit(write(name, lambda _: Delete()))
            elif draw < 0.3:
                await self.base.submit(put(name, {"n": {"N": str(number)}}))
            else:
                state = {"S": self.random.choice("abcdef")}
                await self.base.submit(put(name, {"state": state, "n": {"N": str(number)}}))

    async def split(self) -> None:
        """Put two ranges in the place of one of the index's: rows and cursors go with them."""
        (low, high), file = self.random.choice(list(self.ranges.items()))
        at = self.random.randrange(low + 1, high)
        del self.ranges[low, high]
        # Between two batches: what a lane that was cancelled has told may still be on its way.
        entries, kept = await file.change(_all)
        for bounds in ((low, at - 1), (at, high)):
            child = await self.stored.open(await self.stored.new_range())
            for rid_id, entry in entries.entries:
                hashed = int.from_bytes(rid_id[:HASH_BYTES], "big")
                if bounds[0] <= hashed <= bounds[1]:
                    made = put("x", dict(entry.item))
                    await child.submit(
                        type(made)(rid_id=rid_id, entry_hash=hashed, apply=made.apply)
                    )
            await child.change(partial(memos.take, rows=kept))
            self.ranges[bounds] = child

    async def rows(self) -> dict[bytes, Any]:
        """Read the index."""
        found: dict[bytes, Any] = {}
        for file in self.ranges.values():
            page = await file.look(
                partial(read_entries, after=b"", entries_max=999, bytes_max=9**9)
            )
            found.update({rid_id: entry.item for rid_id, entry in page.entries})
        return found

    async def expected(self) -> dict[bytes, Any]:
        """Compute the index anew."""
        page = await self.base.look(
            partial(read_entries, after=b"", entries_max=999, bytes_max=9**9)
        )
        rows = index_changes.rows_of_entries(page.entries, SHAPE, BASE, position=(1, 1))
        return {
            row.rid_id: range_log.item_of(row.image, file="")
            for row in rows
            if row.image is not None
        }

    async def settled(self, lane: Lane) -> None:
        """Return when the index has everything."""
        async with asyncio.timeout(20):
            while not lane.is_filled or lane.lag_records:
                lane.heard()
                await asyncio.sleep(0.005)


def _all(connection: Any) -> tuple[EntryPage, tuple[memos.MemoRow, ...]]:
    """Read entries and memos, all as of one moment."""
    connection.execute("ROLLBACK")
    page = read_entries(connection, after=b"", entries_max=999, bytes_max=9**9)
    connection.execute("BEGIN IMMEDIATE")
    return page, memos.page(connection, after="", limit=999)


@asynccontextmanager
async def a_world(directory: Path, **settings: Any) -> AsyncIterator[World]:
    """Make a table's range, and an index of one range."""
    async with store(directory, open_files_max=64) as stored:
        base = await stored.open(await stored.new_range())
        index = await stored.open(await stored.new_range())
        yield World(stored=stored, base=base, ranges={(0, HASH_MAX): index}, **settings)


@asynccontextmanager
async def running(lane: Lane) -> AsyncIterator[Lane]:
    """Run a lane for as long as this lasts."""
    task = asyncio.get_running_loop().create_task(lane.run())
    try:
        yield lane
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
