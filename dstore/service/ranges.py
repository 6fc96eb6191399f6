"""The port below the use cases: what can be asked of a range, wherever it is.

`LocalRanges` asks the files of this process. A proxy asks the node that holds the range; what
crosses to it can be encoded: keys, `mutations`, page requests, and entries in one of two forms.

Whoever asks names the range and the epoch in which it knows it (`RangeRef`). Where the range is
not, or not in that epoch, the answer is NotMine, and nothing was done: `Items` and `RangeWalks`
find it anew (`Directory.moved`) and ask again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from dstore.base.threads import in_thread_if
from dstore.model.errors import NotMine
from dstore.service.items import is_large
from dstore.service.queries import page_of
from dstore.service.read_answers import listing_of

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable

    from dstore.model.ranges import RangeRef
    from dstore.model.tables import TableDefinition
    from dstore.service.disk_space import DiskSpace
    from dstore.service.queries import ItemPage, PageAsk
    from dstore.service.read_answers import Listing, ListingAsk, ReadAnswer, ReadAsk
    from dstore.service.write_answers import WriteAsk, Written
    from dstore.storage.entries import Entry
    from dstore.storage.range_file import Page, RangeFile
    from dstore.storage.range_writer import Applied, Write


class Ranges(Protocol):
    """Ranges, each asked by its reference. Every method raises NotMine, with nothing done."""

    def read(
        self, ref: RangeRef, rid_id: bytes, ask: ReadAsk | None = None
    ) -> Awaitable[Entry | ReadAnswer | None]:
        """Read the newest acknowledged version of an entry, or None.

        Args:
            ref: the range that the key is in.
            rid_id: the key.
            ask: what the reader is going to show of it; None for the whole item. What is not here
                comes as that, and not as rows.
        Raises: Corrupt.
        """

    async def write(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Applied | Written:
        """Do a write as `submit` does, and return its answer, given when it is durable."""

    async def submit(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Future[Applied] | Future[Written]:
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

    async def listing(
        self, ref: RangeRef, definition: TableDefinition, ask: ListingAsk
    ) -> Listing:
        """Read entries of a range as v1 lists them. Raises: Corrupt: a page is damaged."""

    def is_near(self, ref: RangeRef) -> bool:
        """Tell whether a range is in this process, so that asking it takes no time to travel."""


class RangeStore(Protocol):
    """Where the files of this process's ranges are; `holdings.Holdings` is one."""

    def peek(self, ref: RangeRef) -> RangeFile | None:
        """Return the range's file if it is open. Raises: NotMine."""

    async def open(self, ref: RangeRef) -> RangeFile:
        """Open the range's file, or return it open. Raises: NotMine, Unavailable, Corrupt."""


class LocalRanges:
    """The ranges of this process. Used from one event loop."""

    def __init__(self, store: RangeStore, disk: DiskSpace) -> None:
        """Ask the files of `store`; `disk` refuses writes that would not fit."""
        self._store = store
        self._peek = store.peek
        self._disk = disk

    def read(
        self, ref: RangeRef, rid_id: bytes, _ask: ReadAsk | None = None
    ) -> Awaitable[Entry | None]:
        """Read an entry, at once if the file is open and the entry in memory."""
        file = self._peek(ref)
        return self._read_cold(ref, rid_id) if file is None else file.read(rid_id)

    async def write(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Applied:
        """Do a write; its caller may make of the whole answer what it wants to tell."""
        del ask
        file = self._writable(ref, write) or await self._store.open(ref)
        return await file.submit(write, item_bytes=body_bytes)

    async def submit(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Future[Applied]:
        """Queue a write."""
        del ask
        file = self._writable(ref, write) or await self._store.open(ref)
        return file.submit(write, item_bytes=body_bytes)

    async def page(self, ref: RangeRef, definition: TableDefinition, ask: PageAsk) -> ItemPage:
        """Evaluate items; few that are in memory on the event loop, any others in a thread."""
        return await page_of(await self._store.open(ref), definition, ask)

    async def entries(self, ref: RangeRef, *, after: bytes, limit: int, bytes_max: int) -> Page:
        """Read entries of a range as rows, in key order, in a thread.

        Args:
            ref: the range.
            after: the key behind which to begin; b"" for the range's beginning.
            limit: entries at most, >= 0; with 0 the page tells only whether there is one.
            bytes_max: stop behind the entry that reaches it.
        Raises: NotMine. Corrupt: a page on the way is damaged.
        """
        file = await self._store.open(ref)
        return await file.scan(after=after, before=None, limit=limit, bytes_max=bytes_max)

    async def listing(
        self, ref: RangeRef, definition: TableDefinition, ask: ListingAsk
    ) -> Listing:
        """Read entries, and write those that are many or large in a thread too."""
        page = await self.entries(
            ref, after=ask.after, limit=ask.limit, bytes_max=ask.bytes_max
        )
        is_heavy = is_large(entry for _, entry in page.entries)
        return await in_thread_if(is_heavy, partial(listing_of, page, definition))

    def is_near(self, _ref: RangeRef) -> bool:
        """All of them are."""
        return True

    def _writable(self, ref: RangeRef, write: Write) -> RangeFile | None:
        """Let a write in. Returns: the range's file if it is open. Raises: NotMine, Unavailable."""
        if not ref.low <= write.entry_hash <= ref.high:
            raise NotMine(ref.range_id, ref.epoch)  # it would be lost to every reader
        self._disk.check_write()
        return self._peek(ref)

    async def _read_cold(self, ref: RangeRef, rid_id: bytes) -> Entry | None:
        file = await self._store.open(ref)
        return await file.read(rid_id)
