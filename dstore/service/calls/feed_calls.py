"""What the primary of a table's range asks of the primary of a range of one of its indexes."""

from __future__ import annotations

from typing import Final

import msgspec

from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.replication.replica_calls import RangeId
from dstore.security.identity import ComponentRole
from dstore.storage.feeding import Rows
from dstore.storage.log_records import Epoch


class RowsTaken(msgspec.Struct, frozen=True, array_like=True):
    """The rows are durable in every in-sync replica, or were so before."""


class FeedRange(PeerRequest[RowsTaken], frozen=True, array_like=True):
    """Take rows that another range's log makes, as a whole; the same may come again, late too.

    Raises: NotMine: this is not the primary in `epoch`, or a row is of another range; nothing was
        done. Unavailable: as NotMine. Unknown: ask again. Corrupt.
    """

    range_id: RangeId
    epoch: Epoch
    rows: Rows


FEED_RANGE: Final = PeerCall(
    name="index.feed",
    request=FeedRange,
    reply=RowsTaken,
    roles=frozenset({ComponentRole.NODE}),
    is_safe=True,
)
