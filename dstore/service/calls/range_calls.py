"""What proxies ask of the node that holds a range, and nodes of one another.

A request names the range and the epoch in which the caller knows it; where that is not so, the
answer is NotMine, and nothing was done. `rid_id` is an entry's stored key. The service's values
travel in their own wire forms, as bytes: see `read_wire`, `page_wire`, `mutation_wire`,
`write_answer_wire`. Whoever shares the node's process asks its `LocalRanges` instead, and encodes
nothing.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.base.limits import LIST_BYTES_MAX, LIST_LIMIT_MAX, RID_ID_BYTES_MAX
from dstore.model.keys import HASH_BYTES
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.security.identity import ComponentRole
from dstore.service.deferred_store import DeferredOutcome, DeferredWrite
from dstore.service.expiry_states import ExpiryTold
from dstore.service.write_answers import WriteAsk
from dstore.storage.requests import RequestName

RidId = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=RID_ID_BYTES_MAX)]
_DEFERRED_ID_CHARS_MAX: Final = 36  # a UUID
_Beginning = Annotated[bytes, msgspec.Meta(max_length=RID_ID_BYTES_MAX + 1)]


class EntryRead(msgspec.Struct, frozen=True, array_like=True):
    """An entry as it was asked for, as `read_wire.encode_answer` writes it; None: there is none."""

    answer: bytes | None


class ReadEntry(PeerRequest[EntryRead], frozen=True, array_like=True):
    """Read the newest acknowledged version of an entry, as the JSON that a client is answered.

    `ask` is `read_wire.encode_read`'s; b"", the commonest, stands for `read_answers.WHOLE_ITEM`. If
    `is_eventual`, whoever holds a replica answers, in whatever epoch, with what that has applied.

    Raises: NotMine, Corrupt. Unavailable: control's share of the range's key is not at hand.
    """

    range_id: str
    epoch: int
    rid_id: RidId
    ask: bytes = b""
    is_eventual: bool = False


class WriteDone(msgspec.Struct, frozen=True, array_like=True):
    """What came of a write, as `write_answer_wire.encode_result` writes it: a refusal too."""

    result: bytes


class WriteEntry(PeerRequest[WriteDone], frozen=True, array_like=True):
    """Apply a write, and answer once it is durable (I1).

    Attributes:
        mutation: as `mutation_wire.encode_mutation` writes it.
        ask: what the writer wants to hear; None stands for `write_answers.NOTHING_ASKED`.
        request: under which name it is done once, however often it is asked for (I9).
    Raises: NotMine. Unavailable: nothing was written. Unknown, Corrupt.
    """

    range_id: str
    epoch: int
    rid_id: RidId
    mutation: bytes
    ask: WriteAsk | None = None
    request: RequestName | None = None


class PageRead(msgspec.Struct, frozen=True, array_like=True):
    """A page, as `page_wire.encode_page` writes it."""

    page: bytes


class ReadPage(PeerRequest[PageRead], frozen=True, array_like=True):
    """Evaluate the items of a range that a page asks for; `ask` is `page_wire.encode_ask`'s.

    It says whether it is eventual, as ReadEntry has it.

    Raises: as ReadEntry.
    """

    range_id: str
    epoch: int
    ask: bytes


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A list of entries, as `read_wire.encode_listing` writes it."""

    listing: bytes


class ListEntries(PeerRequest[Listed], frozen=True, array_like=True):
    """Read entries behind a key as v1 lists them. `is_eventual` and errors: as ReadEntry."""

    range_id: str
    epoch: int
    after: _Beginning
    limit: Annotated[int, msgspec.Meta(ge=0, le=LIST_LIMIT_MAX)]
    bytes_max: Annotated[int, msgspec.Meta(le=LIST_BYTES_MAX)] = LIST_BYTES_MAX
    is_eventual: bool = False


class WriteDeferred(msgspec.Struct, frozen=True, array_like=True):
    """A write was accepted; ask how it went under this id, at the same node."""

    request_id: str


class DeferWrite(PeerRequest[WriteDeferred], frozen=True, array_like=True):
    """Accept a write of v1 durably, to be done later: `Prefer: respond-async`.

    Raises: NotMine. Unavailable: the queue or the disk is full; nothing was accepted. Unknown.
    """

    range_id: str
    epoch: int
    rid_id: RidId
    write: DeferredWrite


class DeferredTold(msgspec.Struct, frozen=True, array_like=True):
    """How an accepted write went; None: it waits."""

    outcome: DeferredOutcome | None


class AskDeferred(PeerRequest[DeferredTold], frozen=True, array_like=True):
    """Ask how an accepted write went. Raises: Refused (not found): not known, or no longer."""

    tenant: str
    request_id: Annotated[str, msgspec.Meta(max_length=_DEFERRED_ID_CHARS_MAX)]


class AskExpiry(PeerRequest[ExpiryTold], frozen=True, array_like=True):
    """Ask by what entries of a range expire. Raises: as ReadEntry."""

    range_id: str
    epoch: int


# Nobody else: whoever steals one node's certificate reads nothing of the others'. Nodes hand on
# what they have accepted, if its range has moved on since (`cluster.forwarding`).
_ROLES: Final = frozenset({ComponentRole.PROXY})
_WRITERS: Final = frozenset({ComponentRole.PROXY, ComponentRole.NODE})

READ_ENTRY: Final = PeerCall(
    name="range.read", request=ReadEntry, reply=EntryRead, roles=_ROLES, is_safe=True
)
WRITE_ENTRY: Final = PeerCall(
    name="range.write", request=WriteEntry, reply=WriteDone, roles=_WRITERS, is_safe=False
)
READ_PAGE: Final = PeerCall(
    name="range.page", request=ReadPage, reply=PageRead, roles=_ROLES, is_safe=True
)
LIST_ENTRIES: Final = PeerCall(
    name="range.entries", request=ListEntries, reply=Listed, roles=_ROLES, is_safe=True
)
DEFER_WRITE: Final = PeerCall(
    name="range.defer", request=DeferWrite, reply=WriteDeferred, roles=_ROLES, is_safe=False
)
ASK_DEFERRED: Final = PeerCall(
    name="range.deferred", request=AskDeferred, reply=DeferredTold, roles=_ROLES, is_safe=True
)
ASK_EXPIRY: Final = PeerCall(
    name="range.expiry", request=AskExpiry, reply=ExpiryTold, roles=_ROLES, is_safe=True
)

RANGE_CALLS: Final = (
    READ_ENTRY,
    WRITE_ENTRY,
    READ_PAGE,
    LIST_ENTRIES,
    DEFER_WRITE,
    ASK_DEFERRED,
    ASK_EXPIRY,
)
