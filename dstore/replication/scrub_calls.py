"""What a primary asks of the other replicas of its range when it scrubs it: nothing is changed.

All may be repeated. No epoch is named: what is read is committed, whoever asks. The incarnation is
that of the disk which is meant, as in `replica_calls`.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.base.scrub_limits import SCRUBS_ASKED_MAX
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.security.identity import ComponentRole
from dstore.storage.checksums import RidId, SpanSums
from dstore.storage.examination import PagesSeen

_Uuid = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class ReadPages(PeerRequest[PagesSeen], frozen=True, array_like=True):
    """Read pages of a replica's file from its disk. Raises: Corrupt: it can't even be opened."""

    range_id: _Uuid
    incarnation: _Uuid
    first_page: Annotated[int, msgspec.Meta(ge=1)]


class FileSeen(msgspec.Struct, frozen=True, array_like=True):
    """Whether all that belongs to anything in a file can be read."""

    is_sound: bool


class ReadFile(PeerRequest[FileSeen], frozen=True, array_like=True):
    """Read all of a replica's file, since a page of it is suspect."""

    range_id: _Uuid
    incarnation: _Uuid


class SumRows(PeerRequest[SpanSums], frozen=True, array_like=True):
    """Sum rows of a replica, see `checksums.sum_span`. Raises: Corrupt: they can't be read."""

    range_id: _Uuid
    incarnation: _Uuid
    after: RidId
    upto: RidId | None
    has_sums: bool = False


class ScrubNoted(msgspec.Struct, frozen=True, array_like=True):
    """It is noted."""


class NoteScrub(PeerRequest[ScrubNoted], frozen=True, array_like=True):
    """Remember that a range was scrubbed, at a wall time of the primary's in microseconds."""

    range_id: _Uuid
    incarnation: _Uuid
    at_us: _Count


class ScrubTold(msgspec.Struct, frozen=True, array_like=True):
    """How far the scrub of a range is.

    Attributes:
        is_waiting: it is due, and has not begun.
        is_running: `done_bytes` of about `total_bytes` are read.
        scrubbed_at_us: when it was scrubbed last; 0: never that this node knows of.
        damaged: replicas that had damaged pages, then.
        different: entries that were not the same in all replicas, then.
        repairing: replicas that are being copied anew for what was found in them.
        is_open: what was found is not repaired, or not all could be read.
        why: a sentence about what was found or could not be done; "" if all is well.
    """

    range_id: _Uuid
    is_waiting: bool
    is_running: bool
    done_bytes: _Count
    total_bytes: _Count
    scrubbed_at_us: _Count
    damaged: _Count
    different: _Count
    repairing: _Count
    is_open: bool
    why: str


class ScrubsTold(msgspec.Struct, frozen=True, array_like=True):
    """What a node says of each range, in the order in which they were asked for; None: not its."""

    told: Annotated[tuple[ScrubTold | None, ...], msgspec.Meta(max_length=SCRUBS_ASKED_MAX)]


class AskScrubs(PeerRequest[ScrubsTold], frozen=True, array_like=True):
    """Ask a primary how far scrubs are; `begins`: have the ranges scrubbed now."""

    range_ids: Annotated[tuple[_Uuid, ...], msgspec.Meta(max_length=SCRUBS_ASKED_MAX)]
    begins: bool


_NODES: Final = frozenset({ComponentRole.NODE})

READ_PAGES: Final = PeerCall(
    name="scrub.pages", request=ReadPages, reply=PagesSeen, roles=_NODES, is_safe=True
)
READ_FILE: Final = PeerCall(
    name="scrub.file", request=ReadFile, reply=FileSeen, roles=_NODES, is_safe=True
)
SUM_ROWS: Final = PeerCall(
    name="scrub.rows", request=SumRows, reply=SpanSums, roles=_NODES, is_safe=True
)
NOTE_SCRUB: Final = PeerCall(
    name="scrub.note", request=NoteScrub, reply=ScrubNoted, roles=_NODES, is_safe=True
)
ASK_SCRUBS: Final = PeerCall(
    name="scrub.ask",
    request=AskScrubs,
    reply=ScrubsTold,
    roles=frozenset({ComponentRole.NODE, ComponentRole.CONTROL}),
    is_safe=True,
)

SCRUB_CALLS: Final = (READ_PAGES, READ_FILE, SUM_ROWS, NOTE_SCRUB)
"""What replicas answer; ASK_SCRUBS is for whoever has the range scrubbed."""
