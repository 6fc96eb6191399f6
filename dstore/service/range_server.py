"""A node's answers to `calls.range_calls`: its own ranges, asked over `LocalRanges`.

What is there at once is answered at once, without a task of its own. Who may call is the peer
server's to check; that a key lies in the range that the caller names is checked here, since what
is outside must be taken neither for empty nor for writable.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from dstore.base.begun import begun
from dstore.base.limits import INLINE_JSON_BYTES_MAX, LOOP_BYTES_MAX
from dstore.base.threads import in_thread, in_thread_if
from dstore.model.errors import (
    ConditionFailed,
    Corrupt,
    NotMine,
    Refused,
    Unknown,
    invalid,
)
from dstore.model.keys import HASH_BYTES
from dstore.replication.peers.calls import Answered
from dstore.service.calls import range_calls
from dstore.service.calls.range_calls import (
    AskDeferred,
    AskExpiry,
    DeferredTold,
    DeferWrite,
    EntryRead,
    Listed,
    ListEntries,
    PageRead,
    ReadEntry,
    ReadPage,
    WriteDeferred,
    WriteDone,
    WriteEntry,
)
from dstore.service.mutation_wire import decode_mutation
from dstore.service.page_wire import decode_ask, encode_page
from dstore.service.read_answers import WHOLE_ITEM, ListingAsk
from dstore.service.read_wire import decode_read, encode_answer, encode_listing
from dstore.service.write_answer_wire import encode_result
from dstore.service.write_answers import Written
from dstore.storage.range_writer import Write

if TYPE_CHECKING:
    from dstore.model.ranges import RangeRef, Table
    from dstore.model.tables import TableDefinition
    from dstore.replication.peers.port import Received
    from dstore.service.deferred import Deferred
    from dstore.service.disk_space import DiskSpace
    from dstore.service.expiry_states import ExpiryTold
    from dstore.service.items import Items
    from dstore.service.queries import ItemPage
    from dstore.service.ranges import LocalRanges
    from dstore.service.read_answers import Listing
    from dstore.service.write_answer_wire import WriteResult

_WHOLE: Final = b""

Result = TypeVar("Result")
OnDamage = Callable[[str, Corrupt], None]


class Held(Protocol):
    """What tells which ranges are here; `holdings.Holdings` is one."""

    def table_of(self, range_id: str) -> Table:
        """Find the table of a range, with all of its ranges here. Raises: NotMine."""


class RangeServer:
    """Answers for the ranges of this process. Used from one event loop."""

    def __init__(
        self,
        held: Held,
        ranges: LocalRanges,
        *,
        items: Items,
        deferred: Deferred,
        disk: DiskSpace,
        on_damage: OnDamage | None = None,
    ) -> None:
        """Answer for what `held` names and `ranges` reads and writes.

        `on_damage` is told of each range in which something is found damaged, by its id.
        """
        self._on_damage = on_damage or _tell_nobody
        self._held = held
        self._ranges = ranges
        self._items = items
        self._deferred = deferred
        self._disk = disk

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return (
            Answered(call=range_calls.READ_ENTRY, handler=self.read),
            Answered(call=range_calls.WRITE_ENTRY, handler=self.write),
            Answered(call=range_calls.READ_PAGE, handler=self.page),
            Answered(call=range_calls.LIST_ENTRIES, handler=self.list),
            Answered(call=range_calls.DEFER_WRITE, handler=self.defer),
            Answered(call=range_calls.ASK_DEFERRED, handler=self.deferred),
            Answered(call=range_calls.ASK_EXPIRY, handler=self.expiry),
        )

    # ------------------------------------------------------------------------------------- reading

    def read(
        self, request: ReadEntry, _received: Received
    ) -> EntryRead | Coroutine[Any, Any, EntryRead]:
        """Answer at once with what is in memory."""
        return begun(self._noticing(request.range_id, self._read(request)))

    def page(
        self, request: ReadPage, _received: Received
    ) -> PageRead | Coroutine[Any, Any, PageRead]:
        """Answer a short page that is in memory at once."""
        return begun(self._noticing(request.range_id, self._page(request)))

    async def list(self, request: ListEntries, _received: Received) -> Listed:
        """Read entries as v1 shows them."""
        return await self._noticing(request.range_id, self._list(request))

    async def _read(self, request: ReadEntry) -> EntryRead:
        ask = WHOLE_ITEM if request.ask == _WHOLE else decode_read(request.ask)
        is_eventual = request.is_eventual
        epoch = None if is_eventual else request.epoch
        _, ref = self._range_of(request.range_id, epoch, request.rid_id)
        answer = await self._ranges.read(ref, request.rid_id, ask, is_eventual=is_eventual)
        return EntryRead(None if answer is None else encode_answer(answer))

    async def _page(self, request: ReadPage) -> PageRead:
        if len(request.ask) > INLINE_JSON_BYTES_MAX:
            ask = await in_thread(lambda: decode_ask(request.ask))
        else:
            ask = decode_ask(request.ask)
        epoch = None if ask.is_eventual else request.epoch
        definition, ref = self._range(request.range_id, epoch)
        found = await self._ranges.page(ref, definition, ask)
        return await in_thread_if(_json_bytes(found) > LOOP_BYTES_MAX, partial(_paged, found))

    async def _list(self, request: ListEntries) -> Listed:
        epoch = None if request.is_eventual else request.epoch
        definition, ref = self._range(request.range_id, epoch)
        ask = ListingAsk(
            after=request.after,
            limit=request.limit,
            bytes_max=request.bytes_max,
            is_eventual=request.is_eventual,
        )
        found = await self._ranges.listing(ref, definition, ask)
        return await in_thread_if(found.size_bytes > LOOP_BYTES_MAX, partial(_listed, found))

    async def _noticing(self, range_id: str, work: Coroutine[Any, Any, Result]) -> Result:
        """Do some work, and tell if a range turns out to be damaged."""
        try:
            return await work
        except Corrupt as error:
            self._on_damage(range_id, error)
            raise

    # ------------------------------------------------------------------------------------- writing

    def write(
        self, request: WriteEntry, _received: Received
    ) -> Future[WriteDone] | Coroutine[Any, Any, WriteDone]:
        """Queue a write; most are queued at once, and answered by the future of their commit."""
        definition, ref = self._range_of(request.range_id, request.epoch, request.rid_id)
        if request.ask is not None or len(request.mutation) > INLINE_JSON_BYTES_MAX:
            return self._noticing(request.range_id, self._write(request, ref, definition))
        queued = begun(self._submit(ref, _write_of(request, definition), request))
        if isinstance(queued, Future):
            return self._told(request.range_id, queued)
        return self._noticing(request.range_id, self._wait(request.range_id, queued))

    async def _write(
        self, request: WriteEntry, ref: RangeRef, definition: TableDefinition
    ) -> WriteDone:
        """Apply a write that takes long to decode, or whose answer may take long."""
        is_heavy = len(request.mutation) > INLINE_JSON_BYTES_MAX
        write = await in_thread_if(is_heavy, partial(_write_of, request, definition))
        body_bytes = len(request.mutation)
        try:
            done = await self._ranges.write(ref, write, ask=request.ask, body_bytes=body_bytes)
        except (Refused, ConditionFailed) as refusal:
            return _answer_of(refusal)
        return _answer_of(done)

    async def _submit(self, ref: RangeRef, write: Write, request: WriteEntry) -> Future[Written]:
        return await self._ranges.submit(ref, write, body_bytes=len(request.mutation))

    def _told(self, range_id: str, queued: Future[Written]) -> Future[WriteDone]:
        """Make the future of a write's answer, of which nothing was asked but how it went."""
        answer: Future[WriteDone] = get_running_loop().create_future()
        queued.add_done_callback(partial(self._tell, range_id, answer))
        return answer

    def _tell(self, range_id: str, answer: Future[WriteDone], queued: Future[Written]) -> None:
        if answer.done():
            return
        if queued.cancelled():
            answer.cancel()
            return
        error = queued.exception()
        if error is not None and not isinstance(error, Refused | ConditionFailed):
            if isinstance(error, Corrupt):
                self._on_damage(range_id, error)
            answer.set_exception(error)
            return
        try:
            answer.set_result(_answer_of(queued.result() if error is None else error))
        except Exception as failure:  # noqa: BLE001 - whatever it is, somebody waits for it
            answer.set_exception(failure)

    async def _wait(self, range_id: str, queued: Coroutine[Any, Any, Future[Written]]) -> WriteDone:
        """Queue a write whose range's file is opened first, and wait for its answer."""
        return await self._told(range_id, await queued)

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

    async def expiry(self, request: AskExpiry, _received: Received) -> ExpiryTold:
        """Tell by what entries of a range expire."""
        _, ref = self._range(request.range_id, request.epoch)
        return await self._ranges.expiry(ref)

    # ------------------------------------------------------------------------------------- finding

    def _range_of(
        self, range_id: str, epoch: int | None, rid_id: bytes
    ) -> tuple[TableDefinition, RangeRef]:
        """Find the range of a key, which must be the one that the caller names. Raises: NotMine.

        `epoch` is that in which the caller knows it; None for any.
        """
        table = self._held.table_of(range_id)
        ref = table.ranges.whole or table.ranges.at(rid_id)
        if ref.range_id != range_id or (ref.epoch != epoch and epoch is not None):
            raise NotMine(range_id, ref.epoch if ref.range_id == range_id else 0)
        return table.definition, ref

    def _range(self, range_id: str, epoch: int | None) -> tuple[TableDefinition, RangeRef]:
        """Find a range; `epoch` is as `_range_of` has it. Raises: NotMine."""
        table = self._held.table_of(range_id)
        for ref in table.ranges.refs:
            if ref.range_id == range_id:
                if ref.epoch != epoch and epoch is not None:
                    raise NotMine(range_id, ref.epoch)
                return table.definition, ref
        raise NotMine(range_id)


def _answer_of(result: WriteResult) -> WriteDone:
    """Encode how a write went.

    Raises: Unknown: it was done, and its answer does not fit. Refused: it was refused, and how does
        not fit; so nothing was written.
    """
    try:
        return WriteDone(encode_result(result))
    except Refused as error:
        if not isinstance(result, Written):
            raise
        raise Unknown(
            "The write was done, and its answer is too large to be passed on: read to see it."
        ) from error


def _json_bytes(page: ItemPage) -> int:
    return 0 if page.items is None else sum(map(len, page.items))


def _paged(page: ItemPage) -> PageRead:
    return PageRead(encode_page(page))


def _listed(listing: Listing) -> Listed:
    return Listed(encode_listing(listing))


def _write_of(request: WriteEntry, definition: TableDefinition) -> Write:
    rid_id = request.rid_id
    return Write(
        rid_id=rid_id,
        entry_hash=int.from_bytes(rid_id[:HASH_BYTES], "big"),
        apply=decode_mutation(request.mutation, definition=definition, rid_id=rid_id),
        request=request.request,
    )


def _tell_nobody(_range_id: str, _error: Corrupt) -> None:
    """Leave it to the caller, who hears of it anyway."""
