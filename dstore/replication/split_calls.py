"""What a primary asks the other replicas of its range when it is split, and control of the primary.

As in `replica_calls`, every request names the range, the epoch of who asks and the disk that is
asked, all may be repeated, reordered and doubled, and a newer promise is a reply.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.model.hashing import HASH_MAX
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.replication.replica_calls import NodeId, RangeId
from dstore.security.identity import ComponentRole
from dstore.storage.log_records import Epoch, LogPoint, Sequence64


class Split(msgspec.Struct, frozen=True, array_like=True):
    """One attempt: the ids of both children, and the lowest hash of the upper one."""

    low_id: RangeId
    high_id: RangeId
    at_hash: Annotated[int, msgspec.Meta(ge=1, le=HASH_MAX)]


class Sown(msgspec.Struct, frozen=True, array_like=True):
    """How far a replica's seeds are.

    Above the request's, `promised_epoch` means that nothing was done. Up to `level_seq` of the
    parent's log both seeds are all of it; None: they are not filled yet.
    """

    promised_epoch: Sequence64
    level_seq: Sequence64 | None = None


class Sow(PeerRequest[Sown], frozen=True, array_like=True):
    """Fill the seeds of both children from the parent's file, and go on until they are ripe."""

    range_id: RangeId
    epoch: Epoch
    primary: NodeId
    incarnation: NodeId
    split: Split


class Ripened(msgspec.Struct, frozen=True, array_like=True):
    """Whether both seeds are replicas by now, durably, of what the parent was at the point."""

    promised_epoch: Sequence64
    is_ripe: bool = False


class Ripen(PeerRequest[Ripened], frozen=True, array_like=True):
    """Make replicas of both seeds, if the parent's log ends at `point` and is applied up to it."""

    range_id: RangeId
    epoch: Epoch
    primary: NodeId
    incarnation: NodeId
    split: Split
    point: LogPoint


class RangeCut(msgspec.Struct, frozen=True, array_like=True):
    """The range is split; its children stand in the coordinator."""


class CutRange(PeerRequest[RangeCut], frozen=True, array_like=True):
    """Split a range; the same attempt is asked for again until it is known how it went.

    Raises: NotMine: this is not the primary in `epoch`. Unavailable: it is not split yet; ask
        again. Unknown.
    """

    range_id: RangeId
    epoch: Epoch
    incarnation: NodeId
    split: Split


_NODES: Final = frozenset({ComponentRole.NODE})

SOW: Final = PeerCall(name="split.sow", request=Sow, reply=Sown, roles=_NODES, is_safe=True)
RIPEN: Final = PeerCall(
    name="split.ripen", request=Ripen, reply=Ripened, roles=_NODES, is_safe=True
)
CUT_RANGE: Final = PeerCall(
    name="split.cut",
    request=CutRange,
    reply=RangeCut,
    roles=frozenset({ComponentRole.CONTROL}),
    is_safe=True,
)

SPLIT_CALLS: Final = (SOW, RIPEN, CUT_RANGE)
