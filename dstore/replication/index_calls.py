"""What control asks the primary of a base table's range while a global index is being filled.

The request may be repeated at will. Nobody but the nodes remembers how far a range is: a control
that begins to lead asks as the former one did.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.replication.replica_calls import NodeId, RangeId
from dstore.security.identity import ComponentRole
from dstore.storage.log_records import Epoch

_Count = Annotated[int, msgspec.Meta(ge=0)]


class IndexFill(msgspec.Struct, frozen=True, array_like=True):
    """How far a range of the base table is in an index.

    Attributes:
        is_done: everything that was in the range when its filling began is in the index, and so is
            all that was written meanwhile. Once said it stays true of the range, whoever is its
            primary, and of its children.
        scanned: items of the range that were looked at, for showing; may begin anew.
        lag_records, lag_ms: by how much the index is behind the range's log.
        is_lost: the range's log does not reach back any more to where the index is: nothing but
            making it anew will do.
    """

    is_done: bool
    scanned: _Count = 0
    lag_records: _Count = 0
    lag_ms: _Count = 0
    is_lost: bool = False


class FillIndex(PeerRequest[IndexFill], frozen=True, array_like=True):
    """Fill an index, given by its hidden table's id, from a range; begun already it goes on.

    It is answered at once, with how far that is.

    Raises: NotMine: this is not the primary in `epoch`. Unavailable: the index, or the range, is
        not known here yet.
    """

    range_id: RangeId
    epoch: Epoch
    index_id: NodeId


FILL_INDEX: Final = PeerCall(
    name="index.fill",
    request=FillIndex,
    reply=IndexFill,
    roles=frozenset({ComponentRole.CONTROL}),
    is_safe=True,
)

INDEX_CALLS: Final = (FILL_INDEX,)
