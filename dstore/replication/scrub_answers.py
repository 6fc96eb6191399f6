"""A replica's part in a scrub: it reads what it has, and says what it finds. Nothing is changed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dstore.model.errors import Corrupt, NotMine
from dstore.replication.peers.calls import Answered
from dstore.replication.scrub_calls import (
    NOTE_SCRUB,
    READ_FILE,
    READ_PAGES,
    SUM_ROWS,
    FileSeen,
    ScrubNoted,
)
from dstore.storage.checksums import sum_span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dstore.replication.peers.port import Received
    from dstore.replication.scrub_calls import NoteScrub, ReadFile, ReadPages, SumRows
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.checksums import SpanSums
    from dstore.storage.examination import PagesSeen

Result = TypeVar("Result")


class ScrubAnswers:
    """Answers `scrub_calls` for the replicas of a node. Used from one event loop."""

    def __init__(self, around: Surroundings, *, holds: Callable[[str], bool]) -> None:
        """Answer for the ranges that `holds` knows."""
        self._around = around
        self._holds = holds

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return (
            Answered(call=READ_PAGES, handler=self._pages),
            Answered(call=READ_FILE, handler=self._file),
            Answered(call=SUM_ROWS, handler=self._rows),
            Answered(call=NOTE_SCRUB, handler=self._note),
        )

    async def _pages(self, request: ReadPages, _received: Received) -> PagesSeen:
        self._check(request.range_id, request.incarnation)
        return await self.noticing(request.range_id, read_pages(self._around, request))

    async def _file(self, request: ReadFile, _received: Received) -> FileSeen:
        self._check(request.range_id, request.incarnation)
        return FileSeen(is_sound=await is_sound(self._around, request.range_id))

    async def _rows(self, request: SumRows, _received: Received) -> SpanSums:
        self._check(request.range_id, request.incarnation)
        return await self.noticing(request.range_id, sum_rows(self._around, request))

    async def _note(self, request: NoteScrub, _received: Received) -> ScrubNoted:
        self._check(request.range_id, request.incarnation)
        await self._around.files.note_scrub(request.range_id, request.at_us)
        return ScrubNoted()

    def _check(self, range_id: str, incarnation: str) -> None:
        if incarnation != self._around.incarnation or not self._holds(range_id):
            raise NotMine(range_id)

    async def noticing(self, range_id: str, work: Awaitable[Result]) -> Result:
        """Do some work, and tell if the file turns out to be damaged."""
        try:
            return await work
        except Corrupt as error:
            self._around.files.found_damaged(range_id, error)
            raise


async def read_pages(around: Surroundings, request: ReadPages) -> PagesSeen:
    """Read pages of the replica here. Raises: Corrupt: the file can't even be opened."""
    return await around.files.read_pages(request.range_id, first_page=request.first_page)


async def is_sound(around: Surroundings, range_id: str) -> bool:
    """Read the whole file of the replica here, and tell if it is damaged."""
    is_sound = await around.files.is_sound(range_id)
    if not is_sound:
        around.files.found_damaged(
            range_id,
            Corrupt("A page of the file can't be read.", file=f"{range_id}.db", where="scrub"),
        )
    return is_sound


async def sum_rows(around: Surroundings, request: SumRows) -> SpanSums:
    """Sum rows of the replica here. Raises: Corrupt: a row can't be read, or is none."""
    file = await around.open_file(request.range_id)
    return await file.look(
        partial(sum_span, after=request.after, upto=request.upto, has_sums=request.has_sums)
    )
