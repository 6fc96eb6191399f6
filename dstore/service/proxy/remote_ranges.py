"""Ranges on the nodes that hold them: what `LocalRanges` does in one process, asked over peers.

A node in this very process is asked directly, and nothing is encoded. `NodeCalls` finds a range
that is elsewhere by now.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from dstore.base.futures import into
from dstore.base.limits import INLINE_JSON_BYTES_MAX
from dstore.base.threads import in_thread_if
from dstore.service.calls.range_calls import (
    AskExpiry,
    ListEntries,
    ReadEntry,
    ReadPage,
    WriteEntry,
)
from dstore.service.mutation_wire import encode_mutation
from dstore.service.page_wire import decode_page, encode_ask
from dstore.service.proxy.node_calls import Doing
from dstore.service.proxy.paces import Size
from dstore.service.read_answers import PLAIN_ENTRY, WHOLE_ITEM
from dstore.service.read_wire import decode_answer, decode_listing, encode_read
from dstore.service.write_answer_wire import decode_result
from dstore.service.write_answers import NOTHING_ASKED, Written

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from dstore.base.tasks import Tasks
    from dstore.model.ranges import RangeRef
    from dstore.model.tables import TableDefinition
    from dstore.service.expiry_states import ExpiryTold
    from dstore.service.mutations import Mutation
    from dstore.service.proxy.node_calls import NodeCalls
    from dstore.service.queries import ItemPage, PageAsk
    from dstore.service.ranges import Ranges
    from dstore.service.read_answers import Listing, ListingAsk, ReadAnswer, ReadAsk
    from dstore.service.write_answers import WriteAsk
    from dstore.storage.range_writer import Write

_PLAIN: Final = encode_read(PLAIN_ENTRY)


class RemoteRanges:
    """A `ranges.Ranges` over nodes. Used from one event loop."""

    def __init__(
        self, calls: NodeCalls, *, tasks: Tasks, near: Mapping[str, Ranges] | None = None
    ) -> None:
        """Prepare.

        Args:
            calls: of nodes.
            tasks: own the writes that are submitted.
            near: the ranges of nodes in this process, by the node's UUID.
        """
        self._calls = calls
        self._tasks = tasks
        self._near: dict[str | None, Ranges] = {}
        self._near.update(near or {})

    def read(
        self,
        ref: RangeRef,
        rid_id: bytes,
        ask: ReadAsk | None = None,
        *,
        is_eventual: bool = False,
    ) -> Awaitable[ReadAnswer | None]:
        """Read what is asked of an entry."""
        near = self._near.get(ref.node)
        if near is not None:
            return near.read(ref, rid_id, ask, is_eventual=is_eventual)
        return self._read(ref, rid_id, ask, is_eventual=is_eventual)

    def write(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Awaitable[Written]:
        """Have a write done, and return what came of it when it is durable."""
        near = self._near.get(ref.node)
        if near is not None:
            return near.write(ref, write, ask=ask, body_bytes=body_bytes)
        return self._write(ref, write, ask=ask, body_bytes=body_bytes)

    def submit(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None = None, body_bytes: int = 0
    ) -> Awaitable[asyncio.Future[Written]]:
        """Have a write done; several are on their way at once, in the order of their submission."""
        near = self._near.get(ref.node)
        if near is not None:
            return near.submit(ref, write, ask=ask, body_bytes=body_bytes)
        return self._submit(ref, write, ask=ask, body_bytes=body_bytes)

    async def page(self, ref: RangeRef, definition: TableDefinition, ask: PageAsk) -> ItemPage:
        """Have a page made; its items come in one piece of JSON."""
        near = self._near.get(ref.node)
        if near is not None:
            return await near.page(ref, definition, ask)
        request = ReadPage(range_id=ref.range_id, epoch=ref.epoch, ask=encode_ask(ask))
        of_any = Size.PAGE if ask.is_eventual else None
        return decode_page((await self._calls.ask(ref, request, of_any=of_any)).page)

    async def listing(self, ref: RangeRef, definition: TableDefinition, ask: ListingAsk) -> Listing:
        """Have entries listed; they come in one piece of JSON."""
        near = self._near.get(ref.node)
        if near is not None:
            return await near.listing(ref, definition, ask)
        request = ListEntries(
            range_id=ref.range_id,
            epoch=ref.epoch,
            after=ask.after,
            limit=ask.limit,
            bytes_max=ask.bytes_max,
            is_eventual=ask.is_eventual,
        )
        of_any = Size.PAGE if ask.is_eventual else None
        return decode_listing((await self._calls.ask(ref, request, of_any=of_any)).listing)

    async def expiry(self, ref: RangeRef) -> ExpiryTold:
        """Have a range's primary say it."""
        near = self._near.get(ref.node)
        if near is not None:
            return await near.expiry(ref)
        return await self._calls.ask(ref, AskExpiry(range_id=ref.range_id, epoch=ref.epoch))

    def is_near(self, ref: RangeRef) -> bool:
        """Tell whether the range's node is in this process."""
        return ref.node in self._near

    async def _write(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None, body_bytes: int
    ) -> Written:
        mutation = cast("Mutation", write.apply)  # as `Ranges.submit` demands
        is_heavy = body_bytes > INLINE_JSON_BYTES_MAX
        request = WriteEntry(
            range_id=ref.range_id,
            epoch=ref.epoch,
            rid_id=write.rid_id,
            mutation=await in_thread_if(is_heavy, partial(encode_mutation, mutation)),
            ask=None if ask is NOTHING_ASKED else ask,
            request=write.request,
        )
        doing = Doing.WRITING if write.request is None else Doing.ONCE
        done = await self._calls.ask(ref, request, doing=doing)
        result = decode_result(done.result)
        if isinstance(result, Written):
            return result
        raise result

    async def _submit(
        self, ref: RangeRef, write: Write, *, ask: WriteAsk | None, body_bytes: int
    ) -> asyncio.Future[Written]:
        future: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        work = self._write(ref, write, ask=ask, body_bytes=body_bytes)
        self._tasks.spawn(into(future, work), name="remote_write")
        return future

    async def _read(
        self, ref: RangeRef, rid_id: bytes, ask: ReadAsk | None, *, is_eventual: bool
    ) -> ReadAnswer | None:
        if ask is None or ask is WHOLE_ITEM:
            wanted = b""
        else:
            wanted = _PLAIN if ask is PLAIN_ENTRY else encode_read(ask)
        request = ReadEntry(ref.range_id, ref.epoch, rid_id, wanted, is_eventual)
        of_any = Size.ENTRY if is_eventual else None
        found = (await self._calls.ask(ref, request, of_any=of_any)).answer
        return None if found is None else decode_answer(found)
