"""A node's answers to `calls.range_calls`: its own ranges, asked over `LocalRanges`.

What is there at once is answered at once, without a task of its own. Who may call is the peer
server's to check; that a key lies in the range that the caller names is checked here, since what
is outside must be taken neither for empty nor for writable.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from dstore.base.begun import begun
from dstore.base.limits import INLINE_JSON_BYTES_MAX, LOOP_BYTES_MAX
from dstore.base.threads import in_thread, in_thread_if
from dstore.model.errors import ConditionFailed, NotMine, Refused, invalid
from dstore.model.keys import HASH_BYTES
from dstore.model.values import item_bytes
from dstore.replication.peers.calls import Answered
from dstore.service.calls import range_calls
from dstore.service.calls.range_calls import (
    AskDeferred,
    DeferredTold,
    DeferWrite,
    EntriesRead,
    EntryRead,
    EntryRows,
    Listed,
    ListEntries,
    PageRead,
    ReadEntries,
    ReadEntry,
    ReadPage,
    ReadRows,
    RowsRead,
    WriteDeferred,
    WriteDone,
    WriteEntry,
)
from dstore.service.items import is_large, key_attributes
from dstore.service.mutation_wire import decode_mutation
from dstore.service.page_wire import decode_ask, encode_page
from dstore.service.read_answers import WHOLE_ITEM, answer_of, listing_of
from dstore.service.read_wire import decode_read, encode_answer, encode_listing
from dstore.service.write_answer_wire import encode_result
from dstore.service.write_answers import NOTHING_ASKED, WriteAsk, Written, written
from dstore.storage.range_writer import Write

if TYPE_CHECKING:
    from dstore.model.ranges import RangeRef, Table
    from dstore.model.tables import TableDefinition
    from dstore.model.values import Item
    from dstore.replication.peers.port import Received
    from dstore.service.deferred import Deferred
    from dstore.service.disk_space import DiskSpace
    from dstore.service.items import Items
    from dstore.service.queries import ItemPage
    from dstore.service.ranges import LocalRanges
    from dstore.storage.entries import Entry
    from dstore.storage.range_file import Page
    from dstore.storage.range_writer import Applied

_WHOLE: Final = b""


class Held(Protocol):
    """What tells which ranges are here; `holdings.Holdings` is one."""

    def table_of(self, range_id: str) -> Table:
        """Find the table of a range, with all of its ranges here. Raises: NotMine."""


class RangeServer:
    """Answers for the ranges of this process. Used from one event loop."""

    def __init__(
        self, held: Held, ranges: LocalRanges, *, items: Items, deferred: Deferred, disk: DiskSpace
    ) -> None:
        """Answer for what `held` names and `ranges` reads and writes."""
        self._held = held
        self._ranges = ranges
        self._items = items
        self._deferred = deferred
        self._disk = disk

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return (
            Answered(call=range_calls.READ_ENTRY, handler=self.read),
            Answered(call=range_calls.READ_ROWS, handler=self.read_rows),
            Answered(call=range_calls.WRITE_ENTRY, handler=self.write),
            Answered(call=range_calls.READ_PAGE, handler=self.page),
            Answered(call=range_calls.READ_ENTRIES, handler=self.entries),
            Answered(call=range_calls.LIST_ENTRIES, handler=self.list),
            Answered(call=range_calls.DEFER_WRITE, handler=self.defer),
            Answered(call=range_calls.ASK_DEFERRED, handler=self.deferred),
        )

    # ------------------------------------------------------------------------------------- reading

    def read(
        self, request: ReadEntry, _received: Received
    ) -> EntryRead | Coroutine[Any, Any, EntryRead]:
        """Answer at once with what is in memory."""
        return begun(self._read(request))

    def read_rows(
        self, request: ReadRows, _received: Received
    ) -> RowsRead | Coroutine[Any, Any, RowsRead]:
        """Answer at once with what is in memory."""
        return begun(self._read_rows(request))

    def page(
        self, request: ReadPage, _received: Received
    ) -> PageRead | Coroutine[Any, Any, PageRead]:
        """Answer a short page that is in memory at once."""
        return begun(self._page(request))

    async def entries(self, request: ReadEntries, _received: Received) -> EntriesRead:
        """Read entries as rows."""
        _, found = await self._entries(request)
        return EntriesRead(
            entries=[(rid_id, _rows(entry)) for rid_id, entry in found.entries],
            is_last=found.is_last,
            size_bytes=found.size_bytes,
        )

    async def list(self, request: ListEntries, _received: Received) -> Listed:
        """Read entries as v1 shows them."""
        definition, found = await self._entries(request)
        is_heavy = is_large(entry for _, entry in found.entries)
        return await in_thread_if(is_heavy, partial(_listed, found, definition))

    async def _read(self, request: ReadEntry) -> EntryRead:
        ask = WHOLE_ITEM if request.ask == _WHOLE else decode_read(request.ask)
        definition, ref = self._range_of(request.range_id, request.epoch, request.rid_id)
        entry = await self._ranges.read(ref, request.rid_id)
        if entry is None:
            return EntryRead(None)
        key = _key_of(entry, definition, request.rid_id)

        def shown() -> EntryRead:
            return EntryRead(encode_answer(answer_of(entry, ask, key=key)))

        return await in_thread_if(is_large((entry,)), shown)

    async def _read_rows(self, request: ReadRows) -> RowsRead:
        _, ref = self._range_of(request.range_id, request.epoch, request.rid_id)
        entry = await self._ranges.read(ref, request.rid_id)
        return RowsRead(None if entry is None else _rows(entry))

    async def _page(self, request: ReadPage) -> PageRead:
        if len(request.ask) > INLINE_JSON_BYTES_MAX:
            ask = await in_thread(lambda: decode_ask(request.ask))
        else:
            ask = decode_ask(request.ask)
        definition, ref = self._range(request.range_id, request.epoch)
        found = await self._ranges.page(ref, definition, ask)
        return await in_thread_if(_json_bytes(found) > LOOP_BYTES_MAX, partial(_paged, found))

    async def _entries(self, request: ReadEntries | ListEntries) -> tuple[TableDefinition, Page]:
        definition, ref = self._range(request.range_id, request.epoch)
        found = await self._ranges.entries(
            ref, after=request.after, limit=request.limit, bytes_max=request.bytes_max
        )
        return definition, found

    # ------------------------------------------------------------------------------------- writing

    def write(
        self, request: WriteEntry, _received: Received
    ) -> Future[WriteDone] | Coroutine[Any, Any, WriteDone]:
        """Queue a write; most are queued at once, and answered by the future of their commit."""
        definition, ref = self._range_of(request.range_id, request.epoch, request.rid_id)
        if request.ask is not None or len(request.mutation) > INLINE_JSON_BYTES_MAX:
            return self._write(request, ref, definition)
        queued = begun(self._submit(ref, _write_of(request, definition), request))
        if isinstance(queued, Future):
            return _told(queued)
        return _wait(queued)

    async def _write(
        self, request: WriteEntry, ref: RangeRef, definition: TableDefinition
    ) -> WriteDone:
        """Apply a write that takes long to decode, or whose answer may take long."""
        is_heavy = len(request.mutation) > INLINE_JSON_BYTES_MAX
        write = await in_thread_if(is_heavy, partial(_write_of, request, definition))
        ask = request.ask or NOTHING_ASKED
        try:
            applied = await (await self._submit(ref, write, request))
        except (Refused, ConditionFailed) as refusal:
            return WriteDone(encode_result(refusal))
        key = key_attributes(definition, request.rid_id)
        is_heavy |= applied.previous is not None and is_large((applied.previous,))
        return await in_thread_if(is_heavy, partial(_answered, applied, ask, key))

    async def _submit(self, ref: RangeRef, write: Write, request: WriteEntry) -> Future[Applied]:
        return await self._ranges.submit(ref, write, body_bytes=len(request.mutation))

    # ------------------------------------------------------------------------------------ deferred

    async def defer(self, request: DeferWrite, _received: Received) -> WriteDeferred:
        """Accept a write whose entry is in the range."""
        definition, _ = self._range_of(request.range_id, request.epoch, request.rid_id)
        write = request.write
        entry = self._items.locate(write.tenant, write.table, write.id)
        if entry.rid_id != request.rid_id or definition.table_id != write.table_id:
            raise invalid("The accepted write is of another entry than its key says.")
        self._disk.check_write()
        return WriteDeferred(await self._deferred.accept(write))

    async def deferred(self, request: AskDeferred, _received: Received) -> DeferredTold:
        """Tell how an accepted write went."""
        return DeferredTold(await self._deferred.outcome(request.tenant, request.request_id))

    # ------------------------------------------------------------------------------------- finding

    def _range_of(
        self, range_id: str, epoch: int, rid_id: bytes
    ) -> tuple[TableDefinition, RangeRef]:
        """Find the range of a key, which must be the one that the caller names. Raises: NotMine."""
        table = self._held.table_of(range_id)
        ref = table.ranges.whole or table.ranges.at(rid_id)
        if ref.range_id != range_id or ref.epoch != epoch:
            raise NotMine(range_id, ref.epoch if ref.range_id == range_id else 0)
        return table.definition, ref

    def _range(self, range_id: str, epoch: int) -> tuple[TableDefinition, RangeRef]:
        """Find a range. Raises: NotMine."""
        table = self._held.table_of(range_id)
        for ref in table.ranges.refs:
            if ref.range_id == range_id:
                if ref.epoch != epoch:
                    raise NotMine(range_id, ref.epoch)
                return table.definition, ref
        raise NotMine(range_id)


def _key_of(entry: Entry, definition: TableDefinition, rid_id: bytes) -> Item:
    """Give an entry's key attributes; they are kept with it, as those who make pages do."""
    if entry.key is None:
        key = key_attributes(definition, rid_id)
        entry.key = (key, item_bytes(key))
    return entry.key[0]


def _rows(entry: Entry) -> EntryRows:
    return EntryRows(entry.version, entry.cells)


def _json_bytes(page: ItemPage) -> int:
    return 0 if page.items is None else sum(map(len, page.items))


def _paged(page: ItemPage) -> PageRead:
    return PageRead(encode_page(page))


def _listed(page: Page, definition: TableDefinition) -> Listed:
    return Listed(encode_listing(listing_of(page, definition)))


def _write_of(request: WriteEntry, definition: TableDefinition) -> Write:
    rid_id = request.rid_id
    return Write(
        rid_id=rid_id,
        entry_hash=int.from_bytes(rid_id[:HASH_BYTES], "big"),
        apply=decode_mutation(request.mutation, definition=definition, rid_id=rid_id),
        request=request.request,
    )


def _told(queued: Future[Applied]) -> Future[WriteDone]:
    """Make the future of a write's answer, of which nothing was asked but how it went."""
    answer: Future[WriteDone] = get_running_loop().create_future()
    queued.add_done_callback(partial(_tell, answer))
    return answer


def _tell(answer: Future[WriteDone], queued: Future[Applied]) -> None:
    if answer.done():
        return
    if queued.cancelled():
        answer.cancel()
        return
    error = queued.exception()
    if error is None:
        applied = queued.result()
        done = Written(existed=applied.existed, version=applied.version)
        answer.set_result(WriteDone(encode_result(done)))
    elif isinstance(error, Refused | ConditionFailed):
        answer.set_result(WriteDone(encode_result(error)))
    else:
        answer.set_exception(error)


async def _wait(queued: Coroutine[Any, Any, Future[Applied]]) -> WriteDone:
    """Queue a write whose range's file is opened first, and wait for its answer."""
    return await _told(await queued)


def _answered(applied: Applied, ask: WriteAsk, key: Item) -> WriteDone:
    return WriteDone(encode_result(written(applied, ask, key=key)))
