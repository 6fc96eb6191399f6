"""A walk over a table whose ranges are split: each page is of the range that has its place then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dstore.model.keys import hash_bounds
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.security.identity import ComponentRole
from dstore.storage.range_scan import Span
from tests.simulation.replicated_calls import value_of
from tests.simulation.replicated_node import read_log

if TYPE_CHECKING:
    from typing import Any

    from dstore.storage.entries import Entry
    from dstore.storage.range_file import RangeFile
    from tests.simulation.checkers import Log
    from tests.simulation.history import Value

_ENTRIES_MAX: Final = 3  # of a page


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Entries by RID_ID, and the first hash behind the range if they were the last ones of it."""

    entries: tuple[tuple[bytes, int | str | None], ...]
    next_hash: int | None


class AskPage(PeerRequest[Page], frozen=True, array_like=True):
    """Read on behind an entry, b"": from the first one on; in the range that has a hash."""

    at_hash: int
    after: bytes


PAGE: Final = PeerCall(
    name="test.page",
    request=AskPage,
    reply=Page,
    roles=frozenset({ComponentRole.PROXY}),
    is_safe=True,
)


class _Some:
    """A `Collector` of a page."""

    def __init__(self) -> None:
        self.entries: list[tuple[bytes, Value]] = []
        self.scanned_bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.entries) == _ENTRIES_MAX

    def add(self, rid_id: bytes, entry: Entry) -> None:
        self.entries.append((rid_id, value_of(entry)))


async def read_page(file: RangeFile, after: bytes, *, low_hash: int, high_hash: int) -> Page:
    """Read a page of a range, whose bounds are inclusive."""
    low, high = hash_bounds(low_hash, high_hash)
    span = Span(low=low, high=high)
    some = _Some()
    await file.walk(span.behind(after) if after else span, some)
    next_hash = None if some.is_full else high_hash + 1
    return Page(entries=tuple(some.entries), next_hash=next_hash)


async def read_range(file: RangeFile) -> tuple[Log, Any]:
    """Read the applied part of a range's log, and its rows."""
    return await file.look(
        lambda connection: (
            read_log(connection),
            connection.execute("SELECT * FROM v1 ORDER BY RID_ID, C_COL").fetchall(),
        )
    )
