"""The port below the use cases: what can be asked of a range, wherever it is.

`LocalRanges` asks the files of this process. A proxy asks the node that holds the range. What is
asked and answered can be encoded: keys, `mutations`, page requests, and of entries no more than
their readers and writers want (`read_answers`, `write_answers`).

Whoever asks names the range and the epoch in which it knows it (`RangeRef`). Where the range is
not, or not in that epoch, the answer is NotMine, and nothing was done: `Items` and `RangeWalks`
find it anew (`Directory.moved`) and ask again.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from functools import partial
from typing import TYPE_CHECKING, Protocol

from dstore.base.limits import INLINE_JSON_BYTES_MAX
from dstore.base.threads import in_thread, in_thread_if
from dstore.model.errors import NotMine
from dstore.model.index_rows import index_shapes
from dstore.service.expiry_states import ExpiryTold
from dstore.service.items import is_large, key_attributes
from dstore.service.mutations import ItemMutation
from dstore.service.queries import page_of
from dstore.service.read_answers import WHOLE_ITEM, Form, ReadAnswer, answer_of, listing_of
from dstore.service.write_answers import NOTHING_ASKED, Written, written
from dstore.storage.derived_rows import expiry_of
from dstore.storage.entries import EntryKey
from dstore.storage.wholeness import check_whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dstore.model.index_rows import IndexShape
    from dstore.model.ranges import RangeRef, Table
    from dstore.model.tables import TableDefinition
    from dstore.model.values import Item
    from dstore.service.disk_space import DiskSpace
    from dstore.service.queries import ItemPage, PageAsk
    from dstore.service.read_answers import Listing, ListingAsk, ReadAsk
    from dstore.service.write_answers import WriteAsk
    from dstore.storage.entries import Entry
    from dstore.storage.range_file import RangeFile
    from dstore.storage.range_writer import Applied, Write


class Ranges(Protocol):
    """Ranges, each asked by its reference. Every method raises NotMine, with nothing done."""

    def read(
        self,
        ref: RangeRef,
        rid_id: bytes,
        ask: ReadAsk | None = None,
        *,
        is_eventual: bool = False,
    ) -> Awaitable[ReadAnswer | None]:
        """Show the newest acknowledged version of an entry, or None.

        Args:
            ref: the range that the key is in.
            rid_id: the key.
            ask: what the reader is going to show of it; None for the whole item.
            is_eventual: an older acknowledged version will do, so any replica may show it.
        Raises: Corrupt.
        """

    def write(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Awaitable[Written]:
        """Do a write as `submit` does, and return its answer, given when it is durable.

        Raises: what the write refuses. Unavailable: nothing was written. Unknown: perhaps it was.
        """

    def submit(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Awaitable[Future[Written]]:
        """Queue a write behind those submitted to the range before.

        Args:
            ref: the range that the key is in.
            write: what to do; safe to run twice (I3). What is to leave this process is one of
                `mutations`.
            ask: what the writer is going to tell of it; None for nothing.
            body_bytes: roughly what it holds in memory.
        Returns: a future of its answer, given when it is durable. It may fail with NotMine too.
        Raises: Unavailable: nothing was queued.
        """

    async def page(self, ref: RangeRef, definition: TableDefinition, ask: PageAsk) -> ItemPage:
        """Evaluate the items of a range that a page asks for, as `queries.page_of`.

        The span may go beyond the range; of what is not in it nothing is seen.

        Raises: Corrupt: a page on the way is damaged.
        """

    async def listing(self, ref: RangeRef, definition: TableDefinition, ask: ListingAsk) -> Listing:
        """Read entries of a range as v1 lists them. Raises: Corrupt: a page is damaged."""

    async def expiry(self, ref: RangeRef) -> ExpiryTold:
        """Tell by what entries of a range expire, as far as its primary has seen to it."""

    def is_near(self, ref: RangeRef) -> bool:
        """Tell whether a range is in this process, so that asking it takes no time to travel."""


class RangeStore(Protocol):
    """Where the files of this process's ranges are; `holdings.Holdings` is one."""

    def peek(self, ref: RangeRef) -> RangeFile | None:
        """Return the range's file if it is open. Raises: NotMine."""

    async def open(self, ref: RangeRef) -> RangeFile:
        """Open the range's file, or return it open. Raises: NotMine, Unavailable, Corrupt."""

    def peek_held(self, range_id: str) -> RangeFile | None:
        """Return the file of a range if it is held here and open, whoever its primary is."""

    async def open_held(self, range_id: str) -> RangeFile:
        """Open the file of a range that is held here, whoever its primary is. Raises: as `open`."""

    def table_of(self, range_id: str) -> Table:
        """Find the table of a range. Raises: NotMine."""


class LocalRanges:
    """The ranges of this process. Used from one event loop.

    What takes long to show is shown in a thread, all else at once; a whole item's JSON stays with
    its entry.
    """

    def __init__(
        self,
        store: RangeStore,
        disk: DiskSpace,
        *,
        note: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """Ask the files of `store`; `disk` refuses writes that would not fit.

        `note` is told of every request the range, by its id, and the key, or where a page begins.
        """
        self._store = store
        self._peek = store.peek
        self._peek_held = store.peek_held
        self._disk = disk
        self._note = note or _note_nothing

    async def read(
        self,
        ref: RangeRef,
        rid_id: bytes,
        ask: ReadAsk | None = None,
        *,
        is_eventual: bool = False,
    ) -> ReadAnswer | None:
        """Show an entry, at once if the file is open and the entry in memory."""
        self._note(ref.range_id, rid_id)
        if is_eventual:
            file = self._peek_held(ref.range_id) or await self._store.open_held(ref.range_id)
            if file.whole_at != file.changes:
                await check_whole(file)
            entry = await file.read(rid_id, is_certain=False)
            if file.whole_at != file.changes:
                await check_whole(file)
        else:
            file = self._peek(ref) or await self._store.open(ref)
            entry = await file.read(rid_id)
        if entry is None:
            return None
        ask = ask or WHOLE_ITEM
        if ask is WHOLE_ITEM and entry.whole is not None:  # most reads
            return ReadAnswer(version=entry.version, body=entry.whole)
        key = {} if ask.form is Form.PLAIN else self._key_of(entry, ref, rid_id)
        if is_large((entry,)):
            return await in_thread(partial(answer_of, entry, ask, key=key))
        answer = answer_of(entry, ask, key=key)
        if ask is WHOLE_ITEM:
            entry.whole = answer.body
        return answer

    async def write(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Written:
        """Do a write, and wait until it is durable."""
        file = self._writable(ref, write) or await self._store.open(ref)
        if ask is None or ask is NOTHING_ASKED:
            short: Written = await file.submit(write, item_bytes=body_bytes, tell=_short)
            return short
        applied: Applied = await file.submit(write, item_bytes=body_bytes)
        tell = self._teller(ref, write, ask)
        return await in_thread_if(_is_heavy(applied, body_bytes), partial(tell, applied))

    async def submit(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Future[Written]:
        """Queue a write."""
        file = self._writable(ref, write) or await self._store.open(ref)
        if ask is None or ask is NOTHING_ASKED:
            return file.submit(write, item_bytes=body_bytes, tell=_short)
        queued: Future[Applied] = file.submit(write, item_bytes=body_bytes)
        told: Future[Written] = get_running_loop().create_future()
        tell = self._teller(ref, write, ask)
        queued.add_done_callback(partial(_tell_more, told, tell=tell, body_bytes=body_bytes))
        return told

    async def page(self, ref: RangeRef, definition: TableDefinition, ask: PageAsk) -> ItemPage:
        """Evaluate items; few that are in memory on the event loop, any others in a thread."""
        self._note(ref.range_id, ask.span.low)
        if not ask.is_eventual:
            file = self._peek(ref) or await self._store.open(ref)
            return await page_of(file, definition, ask)
        file = await self._whole(ref.range_id)
        page = await page_of(file, definition, ask)
        await check_whole(file)
        return page

    async def listing(self, ref: RangeRef, definition: TableDefinition, ask: ListingAsk) -> Listing:
        """Read entries, and write those that are many or large in a thread too."""
        self._note(ref.range_id, ask.after)
        if ask.is_eventual:
            file = await self._whole(ref.range_id)
        else:
            file = self._peek(ref) or await self._store.open(ref)
        page = await file.scan(
            after=ask.after,
            before=None,
            limit=ask.limit,
            bytes_max=ask.bytes_max,
            is_certain=not ask.is_eventual,
        )
        if ask.is_eventual:
            await check_whole(file)
        is_heavy = is_large(entry for _, entry in page.entries)
        return await in_thread_if(is_heavy, partial(listing_of, page, definition))

    async def expiry(self, ref: RangeRef) -> ExpiryTold:
        """Tell what the file says, which is in memory."""
        state = expiry_of((self._peek(ref) or await self._store.open(ref)).derived)
        return ExpiryTold(
            attribute=None if state.rule is None else state.rule.attribute,
            is_settled=state.built_to is None and not state.is_dropping,
        )

    def is_near(self, _ref: RangeRef) -> bool:
        """All of them are."""
        return True

    async def _whole(self, range_id: str) -> RangeFile:
        """Open a range that is held here, primary or not. Raises: NotMine: it is being copied."""
        file = self._peek_held(range_id) or await self._store.open_held(range_id)
        await check_whole(file)
        return file

    def _writable(self, ref: RangeRef, write: Write) -> RangeFile | None:
        """Let a write in. Returns: the range's file if it is open. Raises: NotMine, Unavailable."""
        if not ref.low <= write.entry_hash <= ref.high:
            raise NotMine(ref.range_id, ref.epoch)  # it would be lost to every reader
        self._disk.check_write()
        self._note(ref.range_id, write.rid_id)
        return self._peek(ref)

    def _key_of(self, entry: Entry, ref: RangeRef, rid_id: bytes) -> Item:
        """Give an entry's key attributes, which stay with it."""
        if entry.key is None:
            definition = self._store.table_of(ref.range_id).definition
            entry.key = EntryKey.of(key_attributes(definition, rid_id))
        return entry.key.item

    def _key_written(self, ref: RangeRef, write: Write) -> Item:
        mutation = write.apply
        if isinstance(mutation, ItemMutation):
            return mutation.key
        return key_attributes(self._store.table_of(ref.range_id).definition, write.rid_id)

    def _teller(self, ref: RangeRef, write: Write, ask: WriteAsk) -> Callable[[Applied], Written]:
        key, indexes = self._key_written(ref, write), self._indexes_counted(ref, ask)
        return partial(written, ask=ask, key=key, indexes=indexes)

    def _indexes_counted(self, ref: RangeRef, ask: WriteAsk) -> Sequence[IndexShape]:
        """Give the indexes of a range's table, if it is asked what a write costs in them."""
        if not ask.is_counted:
            return ()
        return index_shapes(self._store.table_of(ref.range_id).definition)


def _note_nothing(_range_id: str, _rid_id: bytes) -> None:
    """Leave requests uncounted, where nobody asks for their number."""


def _is_heavy(applied: Applied, body_bytes: int) -> bool:
    """Tell whether a write met or made what takes long to count or to show."""
    if body_bytes > INLINE_JSON_BYTES_MAX:
        return True
    return applied.previous is not None and is_large((applied.previous,))


def _short(applied: Applied) -> Written:
    """Answer a write of which nothing more was asked."""
    return Written(existed=applied.existed, version=applied.version)


def _tell_more(
    told: Future[Written],
    queued: Future[Applied],
    *,
    tell: Callable[[Applied], Written],
    body_bytes: int,
) -> None:
    """Answer a write that is done, or was refused, with what was asked of it."""
    if _has_ended(told, queued):
        return
    applied = queued.result()
    if _is_heavy(applied, body_bytes):
        telling = get_running_loop().run_in_executor(None, tell, applied)
        telling.add_done_callback(partial(_hand_on, told))
        return
    try:
        told.set_result(tell(applied))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this write's answer
        told.set_exception(error)


def _hand_on(told: Future[Written], telling: Future[Written]) -> None:
    if not _has_ended(told, telling):
        told.set_result(telling.result())


def _has_ended(told: Future[Written], before: Future[Applied] | Future[Written]) -> bool:
    """End `told` as what comes before it, unless that has a result; it may be awaited no more."""
    error = None if before.cancelled() else before.exception()
    if told.done():
        return True
    if before.cancelled():
        told.cancel()
    elif error is not None:
        told.set_exception(error)
    return told.done()
