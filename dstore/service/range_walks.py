"""Walks over a table's entries that go on from range to range: a Query's or Scan's page, v1's list.

A walk asks one range after the other, in the order of keys or backwards, each for what the page has
room for, and ends where a walk over a single range would have ended. A Query never leaves its
partition's range.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from dstore.base.limits import LIST_BYTES_MAX
from dstore.model.errors import NotMine
from dstore.model.keys import hash_bounds
from dstore.service.moves import follow
from dstore.service.queries import joined, rest_of
from dstore.service.read_answers import Listing, ListingAsk

if TYPE_CHECKING:
    from dstore.model.ranges import RangeRef, Table
    from dstore.service.directory import Directory
    from dstore.service.queries import ItemPage, PageAsk
    from dstore.service.ranges import Ranges
    from dstore.storage.range_scan import Span


class RangeWalks:
    """Reads pages of tables, wherever their ranges are."""

    def __init__(self, directory: Directory, ranges: Ranges) -> None:
        """Ask `ranges`, and `directory` for those that have moved."""
        self._directory = directory
        self._ranges = ranges

    async def page(self, table: Table, ask: PageAsk) -> ItemPage:
        """Read a page; each item is the newest acknowledged version at the moment it is reached.

        An eventual page may have older ones.

        Raises: Refused: the table was deleted meanwhile. Corrupt: a page on the way is damaged.
        """
        walk = _PageWalk(self._ranges, ask)
        try:
            return await walk.go_on(table)
        except NotMine as moved:
            return await follow(self._directory, table, moved, ask=walk.go_on)

    async def listing(
        self, table: Table, *, after: bytes, limit: int, is_eventual: bool = False
    ) -> Listing:
        """List entries behind a key; b"" for the beginning. Raises: as `page`."""
        ask = ListingAsk(
            after=after, limit=limit, bytes_max=LIST_BYTES_MAX, is_eventual=is_eventual
        )
        walk = _ListingWalk(self._ranges, ask)
        try:
            return await walk.go_on(table)
        except NotMine as moved:
            return await follow(self._directory, table, moved, ask=walk.go_on)


class _PageWalk:
    """A page in the making: `_ask` is what is left of it, behind the ranges that were asked."""

    __slots__ = ("_ask", "_ranges", "_taken")

    def __init__(self, ranges: Ranges, ask: PageAsk) -> None:
        self._ranges = ranges
        self._ask = ask
        self._taken: list[ItemPage] = []

    async def go_on(self, table: Table) -> ItemPage:
        """Ask the ranges that are left, until the page is full or there are no more.

        Raises: NotMine: one is elsewhere; go on with a table that knows better.
        """
        span = self._ask.span
        refs = table.ranges.crossing(span.low, span.high)
        if len(refs) == 1 and not self._taken:  # every Query, and tables of one range
            return await self._ranges.page(refs[0], table.definition, self._ask)
        if span.is_reverse:
            refs = refs[::-1]
        for place, ref in enumerate(refs, start=1):
            ask = structs.replace(self._ask, is_part=place < len(refs))
            found = await self._ranges.page(ref, table.definition, ask)
            self._taken.append(found)
            rest = rest_of(ask, found) if ask.is_part else None
            if rest is None:
                break
            self._ask = structs.replace(rest, span=_beyond(span, ref))
        return self._taken[0] if len(self._taken) == 1 else joined(self._taken)


class _ListingWalk:
    """A page of v1's list in the making: what is left of it."""

    __slots__ = ("_ask", "_ranges", "_taken")

    def __init__(self, ranges: Ranges, ask: ListingAsk) -> None:
        self._ranges = ranges
        self._ask = ask
        self._taken: list[Listing] = []

    async def go_on(self, table: Table) -> Listing:
        """Ask the ranges that are left; behind a full page, whether one more entry follows."""
        for ref in table.ranges.crossing(self._ask.after, None):
            ask = self._ask
            found = await self._ranges.listing(ref, table.definition, ask)
            self._taken.append(found)
            if found.last is not None:
                # Where the page was full at the border, it goes on behind the border.
                return self._joined(last=found.last or ask.after)
            self._ask = structs.replace(
                ask,
                after=hash_bounds(ref.low, ref.high)[1] or ask.after,
                limit=ask.limit - found.count,
                bytes_max=ask.bytes_max - found.size_bytes,
            )
        return self._joined(last=None)

    def _joined(self, *, last: bytes | None) -> Listing:
        taken = self._taken
        return Listing(
            entries=[one for listing in taken for one in listing.entries],
            count=sum(listing.count for listing in taken),
            size_bytes=sum(listing.size_bytes for listing in taken),
            last=last,
        )


def _beyond(span: Span, ref: RangeRef) -> Span:
    """Give what of a span a walk finds behind a range that is not the last."""
    low, end = hash_bounds(ref.low, ref.high)
    return replace(span, high=low) if span.is_reverse else replace(span, low=end or span.low)
