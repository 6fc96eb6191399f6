"""A lane: what one range of a table tells one of its global indexes, in one order.

The range's primary reads its own committed log from where the index is, makes rows of it, and has
the ranges of the index take them; what may not have been taken is sent again. While the index is
filled, pages of entries go the same way: a page that was read as of a record is sent behind all
records up to that one, and before any later one. So nothing older ever comes behind something
newer, and the index needs neither positions in its rows nor tombstones (ADR 0021).

Invariants kept here:
- Of a window, and of a page, each range of the index takes one message, or none: its cursor says
  that it has had all of it. What a range has not taken goes to it, or to its children, again.
- `fed_seq` is only noted when all up to it is durable in the index.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.base.clock import NS_PER_S
from dstore.base.feed_limits import (
    INDEX_BACKOFF_MS_MAX,
    INDEX_BACKOFF_MS_MIN,
    INDEX_BATCH_BYTES,
    INDEX_BATCH_RECORDS,
    INDEX_CALL_S,
    INDEX_GATHERED_MS,
    INDEX_LOG_CROWDED_RECORDS,
    INDEX_LOG_RECORDS_MAX,
    INDEX_LOOP_RECORDS,
    INDEX_LOOP_ROWS,
    INDEX_NOTED_ITEMS,
    INDEX_NOTED_RECORDS,
    INDEX_NOTED_S,
)
from dstore.base.logging import get_logger
from dstore.model.errors import (
    Corrupt,
    DStoreError,
    NotMine,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
    invalid,
)
from dstore.model.ranges import RangeRef
from dstore.model.status import ResourceStatus
from dstore.replication.surroundings import pause_ms
from dstore.service import index_changes
from dstore.service.calls.feed_calls import FeedRange
from dstore.service.cluster import index_pages
from dstore.service.cluster.feed_room import held_bytes
from dstore.service.cluster.recent_records import is_short
from dstore.storage import log_reading, memos
from dstore.storage.feeding import MemoChange, Rows
from dstore.storage.memos import Reader
from dstore.storage.writes import Write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from dstore.model.tables import TableDefinition
    from dstore.service.cluster.feed_room import Part
    from dstore.service.cluster.lane_parts import LaneParts
    from dstore.service.cluster.recent_records import RecentRecords
    from dstore.storage.entries import Entry
    from dstore.storage.feeding import FedRow, Feeding
    from dstore.storage.log_reading import Window
    from dstore.storage.writes import Outcome
    from dstore.topology.view import TableView

_log: Final = get_logger(__name__)
_FILLED: Final = frozenset({ResourceStatus.UPDATING, ResourceStatus.ACTIVE})


class Lane:
    """One range's way to one index. Used from one event loop."""

    def __init__(
        self,
        range_id: str,
        base: TableDefinition,
        index: TableDefinition,
        *,
        parts: LaneParts,
        recent: RecentRecords,
    ) -> None:
        """Prepare; `run` feeds.

        Args:
            range_id: whose log it reads.
            base: the range's table.
            index: the hidden table's definition.
            parts: what lanes share.
            recent: what was committed in the range just now.
        """
        assert index.index_of is not None
        self.range_id = range_id
        self.index = index
        self._base = base
        self._parts = parts
        self._recent = recent
        self._shape = index_changes.shape_of(index.index_of)
        self._names = index_changes.wanted_names(index.index_of)
        self._memo = memos.reader_name(index.table_id)
        self._news = asyncio.Event()
        self._moved = asyncio.Event()
        self._now_ns = parts.around.clock.monotonic_ns
        self._behind_ns: int | None = None  # since when it knows that it is not level
        self._noted_ns = self._now_ns()
        self._unnoted = 0  # records and entries
        self._scanned, self._scanned_items = b"", 0
        self._part: Part | None = None  # of the room, while it has read something
        self._is_ahead = False  # the index is, of what the range has by now
        self.fed_seq = 0
        self.reader: Reader | None = None  # as it is noted in the range

    # ------------------------------------------------------------------------------ for others

    def heard(self) -> None:
        """Hear that there may be more to do."""
        self._news.set()
        if self._behind_ns is None:
            self._behind_ns = self._now_ns()

    @property
    def is_lost(self) -> bool:
        """Whether the index has lost its place in the log."""
        return self.reader is not None and self.reader.is_lost

    @property
    def is_filled(self) -> bool:
        """Whether all that was in the range when it began is in the index, durably known."""
        return self.reader is not None and self.reader.is_scanned and not self.reader.is_lost

    @property
    def scanned_items(self) -> int:
        """How many entries were looked at."""
        return self._scanned_items

    @property
    def lag_records(self) -> int:
        """How many records of the range the index does not have."""
        try:
            return max(0, self._parts.end_seq(self.range_id) - self.fed_seq)
        except NotMine:
            return 0

    @property
    def lag_s(self) -> float:
        """How long the index has not been level with the range."""
        if self._behind_ns is None or not self.lag_records:
            return 0.0
        return (self._now_ns() - self._behind_ns) / NS_PER_S

    async def reached(self, seq: int) -> None:
        """Return when the index has what the range's log has up to a record."""
        while self.fed_seq < seq:
            self._moved.clear()
            await self._moved.wait()

    # ---------------------------------------------------------------------------------- running

    async def run(self) -> None:
        """Feed the index until cancelled, or until it is lost."""
        wait_ms = INDEX_BACKOFF_MS_MIN
        while True:
            before_seq = self.fed_seq
            try:
                await self._begin()
                if self.is_lost:
                    self._recent.forget(self.index.table_id)
                    self._parts.on_lost(self.range_id, self.index)
                    return
                await self._feed()
            except DStoreError as error:
                _log.info("index_waits", range=self.range_id, reason=error.message)
            except Exception as error:  # noqa: BLE001 - the index goes on, whatever it is (I14)
                _log.error("index_failed", range=self.range_id, exc_info=error)
            wait_ms = INDEX_BACKOFF_MS_MIN if self.fed_seq > before_seq else wait_ms
            await pause_ms(wait_ms)
            wait_ms = min(2 * wait_ms, INDEX_BACKOFF_MS_MAX)

    async def _begin(self) -> None:
        """Find where the index is in the log; note that it reads it, if that is new."""
        reader = await self._find()
        if reader is None:
            names, revision = self._names, self._parts.view().revision
            new = Reader(
                range_id=self.range_id, names=names, seen_revision=revision, told_below=b""
            )
            await self._write(MemoChange(self._memo, memos.encode(new)))
            reader = await self._find()
            if reader is None:
                raise _not_now("The index is not noted in the range yet.")
        elif reader.formers:  # before anything is told: a child of this range has to name this one
            await self._write(MemoChange(self._memo, memos.encode(reader)))
        self.reader, self.fed_seq = reader, reader.fed_seq
        self._recent.fed(self.index.table_id, self.fed_seq)
        self._scanned, self._scanned_items = reader.scanned, reader.scanned_items

    async def _find(self) -> Reader | None:
        file = await self._parts.around.open_file(self.range_id)
        return await file.look(partial(log_reading.find_reader, reader_id=self.index.table_id))

    async def _feed(self) -> None:
        while True:
            await self._lose_if_late()  # one that gets on too slowly as well
            self._news.clear()
            is_level = self._is_level
            if not is_level:
                async with self._room() as self._part:
                    is_level = await self._feed_window(None)
            is_to_fill = is_level and self._is_to_fill()
            if is_to_fill and self._parts.turns.is_due:
                async with self._room() as self._part:
                    await self._fill()
                continue
            await self._note_if_due()
            if not is_level:
                continue
            if not (is_to_fill or self._news.is_set()):
                self._behind_ns = None
                await self._wait()
            await pause_ms(INDEX_GATHERED_MS)  # so that a window has many writes

    @property
    def _is_level(self) -> bool:
        return self.fed_seq >= self._parts.end_seq(self.range_id)

    def _room(self) -> AbstractAsyncContextManager[Part]:
        return self._parts.room.part(self.index.table_id, meanwhile=self._lose_if_late)

    async def _wait(self) -> None:
        """Wait for news, and if something is to be noted, until then."""
        if not self._unnoted:
            await self._news.wait()
            return
        try:
            async with asyncio.timeout(INDEX_NOTED_S):
                await self._news.wait()
        except TimeoutError:
            await self._note()

    # ---------------------------------------------------------------------------------- the log

    async def _feed_window(self, last_seq: int | None) -> bool:
        """Feed what comes next in the log, up to a record. Returns: whether that is all by now."""
        end_seq = self._parts.end_seq(self.range_id)
        end_seq = end_seq if last_seq is None else min(end_seq, last_seq)
        if self.fed_seq >= end_seq:
            return True
        window, rows = await self._window(end_seq)
        if not window.is_whole:
            await self._miss()
        if last_seq is None and self._part is not None:  # else the page is held as well
            self._part.shrink(held_bytes(window.records, rows))
        await self._send(rows, (window.epoch, window.reached_seq))
        self.fed_seq = window.reached_seq
        self._recent.fed(self.index.table_id, self.fed_seq)
        self._unnoted += len(window.records)
        self._parts.counts.records += len(window.records)
        self._moved.set()
        return self.fed_seq >= end_seq

    async def _miss(self) -> None:
        """Find out why records are missing: nothing is lost if the index has had them.

        Raises: Unavailable: either way this lane begins again from what is noted, or ends.
        """
        noted = await self._find()
        if noted is not None and noted.fed_seq > self.fed_seq:
            raise _not_now("A former lane has noted later that the index is further.")
        await self._lose("a part of the log is missing")

    async def _window(self, last_seq: int) -> tuple[Window, Sequence[FedRow]]:
        """Take the next records and make rows of them: what was committed just now is in memory."""
        records_max = INDEX_BATCH_RECORDS
        if last_seq - self.fed_seq <= INDEX_LOOP_RECORDS:  # a few short ones are soon told
            records_max = min(records_max, INDEX_LOOP_ROWS)
        bounds: dict[str, int] = {
            "after_seq": self.fed_seq,
            "last_seq": last_seq,
            "records_max": records_max,
            "bytes_max": INDEX_BATCH_BYTES,
        }
        recent = self._recent.read(**bounds)
        if recent is not None and is_short(recent):
            return self._with_rows(log_reading.window_of(recent))

        def work(connection: Any) -> tuple[Window, Sequence[FedRow]]:
            if recent is not None:
                return self._with_rows(log_reading.window_of(recent))
            return self._with_rows(log_reading.read_window(connection, **bounds))

        file = await self._parts.around.open_file(self.range_id)
        return await file.look(work)

    def _with_rows(self, window: Window) -> tuple[Window, Sequence[FedRow]]:
        """Make rows of records: in a thread if there are many, since that takes up to 30 ms."""
        if not window.is_whole:
            return window, ()
        assert self.reader is not None
        records = index_pages.within(window.records, self.reader.told_below)
        return window, index_changes.rows_of_records(records, self._shape, self._base)

    # ---------------------------------------------------------------------------------- entries

    def _is_to_fill(self) -> bool:
        shown = self._shown()
        is_shown = shown is not None and shown.status in _FILLED
        return is_shown and self.reader is not None and not self.reader.is_scanned

    async def _fill(self) -> None:
        """Look at the next entries, in this lane's turn; what is written meanwhile is told."""
        around, turns = self._parts.around, self._parts.turns
        began_ns = self._now_ns()
        turns.begin()
        told_below = await self._next_zone()
        page, rows = await index_pages.read_page(
            partial(around.open_file, self.range_id),
            self._shape,
            self._base,
            after=self._scanned,
            before=told_below,
            is_short=turns.is_serving,
        )
        took_ns = self._now_ns() - began_ns
        while self.fed_seq < page.applied_seq:
            if await self._feed_window(page.applied_seq) and self.fed_seq < page.applied_seq:
                await pause_ms(INDEX_BACKOFF_MS_MIN)  # it is committed, and not durable yet
        began_ns = self._now_ns()
        await self._send(rows, page.position)
        if self._part is not None:
            self._part.shrink(0)  # what follows takes its time
        turns.end(took_ns + self._now_ns() - began_ns)
        self._scanned = page.last or told_below or self._scanned
        self._scanned_items += len(page.entries)
        self._unnoted += len(page.entries)
        self._parts.counts.items += len(page.entries)
        if page.last is None and told_below is None:
            await self._note(is_scanned=True)
            _log.info("index_filled", range=self.range_id, looked_at=self._scanned_items)
        await self._note_if_due()
        await around.pace.wait(page.size_bytes, clock=around.clock)

    async def _next_zone(self) -> bytes | None:
        """Give up to where entries may be looked at; None: all.

        Before anything of a zone is told it is noted that it may be: whoever goes on with this lane
        is to tell what is written there as well.
        """
        assert self.reader is not None
        told_below = self.reader.told_below
        if told_below is None or self._scanned < told_below:
            return told_below
        file = await self._parts.around.open_file(self.range_id)
        zone_end = index_pages.zone_end(self._ref, told_below, entries=file.quantity)
        await self._note(told_below=zone_end)
        return self.reader.told_below

    @property
    def _ref(self) -> RangeRef:
        base = self._parts.view().table(self._base.tenant, self._base.name)
        refs = () if base is None else base.table.ranges.refs
        return next(
            (each for each in refs if each.range_id == self.range_id), RangeRef(range_id="")
        )

    # ---------------------------------------------------------------------------------- sending

    async def _send(self, rows: Sequence[FedRow], last: tuple[int, int]) -> None:
        """Return when all rows are durable in the index.

        Raises: Unavailable: the index is not shown any more, or it has lost its place; or others
            wait for the room that these rows take: they are read again.
        """
        left, wait_ms = rows, INDEX_BACKOFF_MS_MIN
        while left:
            groups = self._routed(left)
            are_taken = await asyncio.gather(
                *(self._is_taken(ref, group, last) for ref, group in groups)
            )
            pairs = zip(groups, are_taken, strict=True)
            left = [row for (_, group), is_taken in pairs if not is_taken for row in group]
            if self._is_ahead:
                await self._lose("the range has lost records that the index has")
            if left:
                self._parts.counts.repeated += 1
                left.sort(key=lambda row: row.position)
                await self._lose_if_late()
                if self._part is not None and self._part.is_due_back:
                    raise _not_now("What was read makes room for other indexes and ranges.")
                await pause_ms(wait_ms)
                wait_ms = min(2 * wait_ms, INDEX_BACKOFF_MS_MAX)
        self._parts.counts.rows += len(rows)

    def _routed(self, rows: Sequence[FedRow]) -> list[tuple[RangeRef, list[FedRow]]]:
        shown = self._shown()
        if shown is None or not shown.ranges or shown.status is ResourceStatus.DELETING:
            raise _not_now("The index's ranges are not shown.")
        ranges = shown.table.ranges
        groups: dict[str, tuple[RangeRef, list[FedRow]]] = {}
        for row in rows:
            ref = ranges.at(row.rid_id)
            groups.setdefault(ref.range_id, (ref, []))[1].append(row)
        return list(groups.values())

    async def _is_taken(self, ref: RangeRef, rows: list[FedRow], last: tuple[int, int]) -> bool:
        parts, reader = self._parts, self.reader
        assert reader is not None
        told = Rows(self.range_id, reader.formers, *last, tuple(rows))
        request = FeedRange(ref.range_id, ref.epoch, told)
        try:
            if ref.node == parts.around.node:
                await parts.take(request)
            else:
                peer = parts.around.peer_of(ref.node or "")
                await peer.call(request, deadline_s=INDEX_CALL_S)
        except DStoreError as error:
            if isinstance(error, Refused) and error.kind is RefusalKind.CONFLICT:
                self._is_ahead = True
            level = _log.warning if isinstance(error, Corrupt) else _log.debug
            level("index_not_fed", range=self.range_id, to=ref.range_id, reason=error.message)
            return False
        return True

    def _shown(self) -> TableView | None:
        found = self._parts.view().table(self.index.tenant, self.index.name)
        is_this = found is not None and found.definition.table_id == self.index.table_id
        return found if is_this else None

    # ---------------------------------------------------------------------------------- noting

    async def _note_if_due(self) -> None:
        is_due = self._unnoted >= INDEX_NOTED_RECORDS
        if self.reader is not None and not self.reader.is_scanned:
            is_due = self._unnoted >= INDEX_NOTED_ITEMS
        waited_ns = self._now_ns() - self._noted_ns
        if is_due or (self._unnoted and waited_ns > INDEX_NOTED_S * NS_PER_S):
            await self._note()

    async def _note(self, **changes: bytes | bool | None) -> None:
        """Note in the range how far the index is, and what else: every replica knows it then."""
        assert self.reader is not None
        reader = msgspec.structs.replace(
            self.reader,
            fed_seq=self.fed_seq,
            scanned=self._scanned,
            scanned_items=self._scanned_items,
            seen_revision=max(self.reader.seen_revision, self._seen_revision()),
            **changes,
        )
        await self._write(MemoChange(self._memo, memos.encode(reader)))
        self.reader, self._unnoted, self._noted_ns = reader, 0, self._now_ns()

    def _seen_revision(self) -> int:
        return 0 if self._shown() is None else self._parts.view().revision

    async def _write(self, feeding: Feeding) -> None:
        file = await self._parts.around.open_file(self.range_id)
        await file.submit(feeding_write(feeding))

    async def _lose_if_late(self) -> None:
        """Let go of the log if too much of it is kept. Raises: Unavailable: so it is."""
        lag_records = self.lag_records
        if lag_records > INDEX_LOG_RECORDS_MAX:
            await self._lose("it could not be reached for too long")
        if lag_records > INDEX_LOG_CROWDED_RECORDS and not self._parts.has_space():
            await self._lose("it could not be reached, and the disk is full")

    async def _lose(self, why: str) -> None:
        _log.error("index_lost", range=self.range_id, index=self.index.name, reason=why)
        await self._note(is_lost=True)
        raise _not_now(f"The index has lost its place in the range's log: {why}.")


def feeding_write(feeding: Feeding) -> Write:
    """Make a write of what feeds a range, or notes something in it."""
    return Write(rid_id=b"", entry_hash=0, apply=_nothing, feeding=feeding)


def _nothing(_previous: Entry | None) -> Outcome:
    raise invalid("A feeding is applied by the batch.")


def _not_now(message: str) -> Unavailable:
    return Unavailable(UnavailableKind.UNREACHABLE, message)
