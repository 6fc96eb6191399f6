"""The lanes of a node: each range that it serves feeds the global indexes of its table.

It follows what the topology shows of the hidden tables: a lane begins when an index is shown and
the range is served here, and ends when either is no more. What was noted for an index that is gone
is taken out of the range, so that its log is kept for nobody.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.clock import NS_PER_S
from dstore.base.feed_limits import INDEX_GONE_S, INDEX_SWEPT_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError, NotMine, RefusalKind, Refused, Unavailable
from dstore.model.errors import UnavailableKind as Kind
from dstore.model.index_of import is_index_table
from dstore.model.keys import HASH_BYTES
from dstore.model.status import ResourceStatus
from dstore.replication.index_calls import FILL_INDEX, FillIndex, IndexFill
from dstore.replication.peers.calls import Answered
from dstore.replication.surroundings import pause_ms
from dstore.service.calls.feed_calls import FEED_RANGE, FeedRange, RowsTaken
from dstore.service.cluster.feed_room import FeedRoom
from dstore.service.cluster.index_lane import Lane, feeding_write
from dstore.service.cluster.index_pages import FillTurns
from dstore.service.cluster.lane_parts import LaneParts
from dstore.service.cluster.recent_records import RecentBytes, RecentRecords
from dstore.service.expiring.effort import Effort
from dstore.storage import fetching, memos
from dstore.storage.feeding import MemoChange
from dstore.topology.indexes import index_views

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dstore.base.metrics import IndexMetrics
    from dstore.model.ranges import RangeRef
    from dstore.model.tables import TableDefinition
    from dstore.replication.peers.port import Received
    from dstore.replication.replicas import Replicas
    from dstore.replication.surroundings import Surroundings
    from dstore.service.cluster.notices import NodeNotices
    from dstore.service.disk_space import DiskSpace
    from dstore.service.holdings import Holdings
    from dstore.service.range_heat import RangeHeat
    from dstore.storage.log_records import LogRecord
    from dstore.storage.range_file import RangeFile
    from dstore.topology.view import TableView, TopologyView

_log: Final = get_logger(__name__)

LaneKey = tuple[str, str]
"""A range's id, and the id of an index's hidden table."""

Lanes = dict[str, tuple[Lane, asyncio.Task[None]]]
"""Of one range, by the ids of indexes' hidden tables."""


class IndexFeeds:
    """The lanes of one node, and what other nodes' lanes bring. Used from one event loop."""

    def __init__(
        self,
        replicas: Replicas,
        around: Surroundings,
        holdings: Holdings,
        *,
        disk: DiskSpace,
        heat: RangeHeat,
        notices: NodeNotices,
        view: Callable[[], TopologyView],
        counts: IndexMetrics,
    ) -> None:
        """Begin with none; `served` and `look` tell of ranges and tables."""
        self._replicas = replicas
        self._around = around
        self._holdings = holdings
        self._disk = disk
        self._heat = heat
        self._notices = notices
        self._view = view
        self._counts = counts
        self._served: dict[tuple[str, str], set[str]] = {}  # ids of ranges, by their table
        self._lanes: dict[str, Lanes] = {}  # by their ranges; none is empty
        self._recent: dict[str, RecentRecords] = {}  # of the ranges that have lanes
        self._recent_bytes = RecentBytes()
        self._fed_rows = 0  # that lanes have brought, of this node and others
        self._missed_ns: dict[LaneKey, int] = {}  # since when an index is not shown
        self._to_sweep: set[str] = set()  # served ranges that have readers, or may
        # What lanes bring is no request of a client's, though it is counted as one.
        effort = Effort(around.clock, lambda: heat.noted - self._fed_rows)
        self._parts = LaneParts(
            around=around,
            view=view,
            take=self._take,
            end_seq=self._end_seq,
            turns=FillTurns(around.clock, effort),
            has_space=lambda: disk.has_space,
            room=FeedRoom(around.clock),
            on_lost=self._lost,
            counts=counts,
        )
        counts.look = self._lags

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return (
            Answered(call=FEED_RANGE, handler=self._taken),
            Answered(call=FILL_INDEX, handler=self._filled),
        )

    def lane(self, range_id: str, index_id: str) -> Lane | None:
        """Find the lane from a range that is served here to an index."""
        found = self._lanes.get(range_id, {}).get(index_id)
        return None if found is None else found[0]

    # ------------------------------------------------------------------------------- following

    def serving(self, range_id: str, epoch: int | None) -> None:
        """Hear that a range is served here in an epoch from now on, or, with None, no longer."""
        held = self._holdings.ranges.get(range_id)
        self._to_sweep.discard(range_id)
        for ranges in (*self._served.values(),) if held is None else (self._served_of(held),):
            ranges.discard(range_id)
        for index_id in list(self._lanes.get(range_id, ())):
            self._end((range_id, index_id))
        if held is not None and epoch is not None:
            self._served_of(held).add(range_id)
            self._to_sweep.add(range_id)
            self._look((held.tenant, held.table), {range_id})

    def _served_of(self, held: Any) -> set[str]:
        return self._served.setdefault((held.tenant, held.table), set())

    def look(self, name: tuple[str, str]) -> None:
        """Look at a table, by tenant and name, or at an index's hidden one: it may have changed."""
        tenant, table = name
        if is_index_table(table):
            table = table.partition(":")[0]
        self._look((tenant, table), self._served.get((tenant, table), ()))

    def _look(self, name: tuple[str, str], served: Collection[str]) -> None:
        """Begin and end the lanes of some ranges of a table."""
        if not served or is_index_table(name[1]):
            return
        view, (tenant, table) = self._view(), name
        base = view.table(tenant, table)
        shown = {} if base is None else self._shown(view, base.definition)
        for range_id in served:
            for index_id in [each for each in self._lanes.get(range_id, ()) if each not in shown]:
                self._end((range_id, index_id))
            for index_id, index in shown.items():
                if base is not None:
                    self._begin((range_id, index_id), base.definition, index.definition)

    def _shown(self, view: TopologyView, base: TableDefinition) -> dict[str, TableView]:
        """List the hidden tables that are to be fed, by their ids."""
        found = index_views(view, base)
        return {
            each.definition.table_id: each
            for each in found
            if each.status is not ResourceStatus.DELETING
        }

    def _begin(self, key: LaneKey, base: TableDefinition, index: TableDefinition) -> None:
        range_id, index_id = key
        known, replica = self.lane(range_id, index_id), self._replicas.of(range_id)
        if known is not None:
            known.heard()  # it may be filled by now
            return
        if replica is None:
            return
        recent = self._recent.setdefault(range_id, RecentRecords(self._recent_bytes))
        lane = Lane(range_id, base, index, parts=self._parts, recent=recent)
        run = self._around.tasks.spawn(lane.run(), name="feed_index")
        lanes = self._lanes.setdefault(range_id, {})
        lanes[index_id] = (lane, run)
        self._to_sweep.add(range_id)
        replica.on_committed = partial(_committed, lanes, recent)

    def _end(self, key: LaneKey) -> None:
        range_id, index_id = key
        lanes = self._lanes[range_id]
        _, run = lanes.pop(index_id)
        run.cancel()
        self._recent[range_id].forget(index_id)
        if lanes:
            return
        del self._lanes[range_id], self._recent[range_id]
        replica = self._replicas.of(range_id)
        if replica is not None:
            replica.on_committed = None

    def _end_seq(self, range_id: str) -> int:
        replica = self._replicas.of(range_id)
        primary = None if replica is None else replica.serving
        if primary is None:
            raise NotMine(range_id)
        return primary.end.seq

    def _lost(self, range_id: str, index: TableDefinition) -> None:
        self._notices.tell_of_lost_index(range_id, index.name.replace(":", ", index "))

    def _lags(self) -> tuple[int, float, int]:
        """Say how many records the lanes are behind, for how long, and how many are lost."""
        lanes = [lane for of_range in self._lanes.values() for lane, _ in of_range.values()]
        return (
            sum(lane.lag_records for lane in lanes if not lane.is_lost),
            max((lane.lag_s for lane in lanes if not lane.is_lost), default=0.0),
            sum(lane.is_lost for lane in lanes),
        )

    # ----------------------------------------------------------------------------------- calls

    async def _filled(self, request: FillIndex, _received: Received) -> IndexFill:
        """Say how far a range is in an index."""
        replica = self._replicas.of(request.range_id)
        if replica is None or replica.serving_epoch != request.epoch:
            raise NotMine(request.range_id)
        lane = self.lane(request.range_id, request.index_id)
        if lane is None or lane.reader is None:
            raise Unavailable(Kind.UNREACHABLE, "The index is not known here yet; ask again.")
        return IndexFill(
            is_done=lane.is_filled,
            scanned=lane.scanned_items,
            lag_records=lane.lag_records,
            lag_ms=int(lane.lag_s * 1_000),
            is_lost=lane.is_lost,
        )

    async def _taken(self, request: FeedRange, _received: Received) -> RowsTaken:
        return await self._take(request)

    async def _take(self, request: FeedRange) -> RowsTaken:
        """Take rows for a range of an index that is served here."""
        ref = self._ref(request)
        for row in request.rows.rows:
            if not ref.low <= int.from_bytes(row.rid_id[:HASH_BYTES], "big") <= ref.high:
                raise NotMine(ref.range_id, ref.epoch)
        self._disk.check_write()
        fetch = partial(fetching.entries, rid_ids=[row.rid_id for row in request.rows.rows])
        await fetching.fetch_at_hand(partial(self._holdings.open, ref), fetch)
        file = await self._holdings.open(ref)
        size_bytes = sum(len(row.image or b"") for row in request.rows.rows)
        for row in request.rows.rows:
            self._heat.note(ref.range_id, row.rid_id)
        self._fed_rows += len(request.rows.rows)
        await file.submit(feeding_write(request.rows), item_bytes=size_bytes)
        return RowsTaken()

    def _ref(self, request: FeedRange) -> RangeRef:
        table = self._holdings.table_of(request.range_id)
        if table.definition.index_of is None:
            raise Refused(RefusalKind.FORBIDDEN, "Only a range of an index takes such rows.")
        for ref in table.ranges.refs:
            if ref.range_id == request.range_id and ref.epoch == request.epoch:
                return ref
        raise NotMine(request.range_id)

    # --------------------------------------------------------------------------------- sweeping

    async def sweep(self) -> None:
        """Take out of ranges what was noted for indexes that are gone, until cancelled."""
        while True:
            await asyncio.sleep(INDEX_SWEPT_S)
            for range_id in list(self._to_sweep):
                held, file = self._holdings.ranges.get(range_id), self._holdings.peek_held(range_id)
                if held is not None and file is not None:
                    await self._sweep_range((held.tenant, held.table), range_id, file)
                    await pause_ms(1)

    async def _sweep_range(self, name: tuple[str, str], range_id: str, file: RangeFile) -> None:
        try:
            readers = await file.look(memos.readers)
            if not readers and range_id not in self._lanes:
                self._to_sweep.discard(range_id)
                return
            view = self._view()
            shown = view.table(*name)
            if shown is None:
                return
            found = index_views(view, shown.definition)
            statuses = {str(each.definition.table_id): each.status for each in found}
            for index_id, reader in readers.items():
                is_old = view.revision < reader.seen_revision
                if not is_old and self._is_gone((range_id, index_id), statuses.get(index_id)):
                    change = MemoChange(memos.reader_name(index_id), None)
                    await file.submit(feeding_write(change))
                    _log.info("index_forgotten", range=range_id, index=index_id)
        except DStoreError as error:
            _log.info("readers_not_swept", range=range_id, reason=error.message)

    def _is_gone(self, key: LaneKey, status: ResourceStatus | None) -> bool:
        """Tell whether an index is not there any more: a view may lack one for a moment."""
        if status is ResourceStatus.DELETING:
            return True
        if status is not None:
            self._missed_ns.pop(key, None)
            return False
        now_ns = self._around.clock.monotonic_ns()
        since_ns = self._missed_ns.setdefault(key, now_ns)
        if now_ns - since_ns < INDEX_GONE_S * NS_PER_S:
            return False
        del self._missed_ns[key]
        return True


def _committed(lanes: Lanes, recent: RecentRecords, records: Sequence[LogRecord]) -> None:
    recent.add(records)
    for lane, _ in lanes.values():
        lane.heard()
