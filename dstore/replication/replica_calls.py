"""What replicas of one range ask of each other, and control of a replica.

Every request names the range, the epoch of who asks, and the incarnation of the disk that is asked:
a node that came back with another disk is not the replica that was meant. All may be repeated,
reordered and doubled on their way; an answer that a replica has promised a newer epoch is a reply,
not an error, so that the old primary learns of it.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.base.limits import (
    COORDINATOR_REQUEST_BYTES_MAX,
    REPLICA_BATCH_RECORDS_MAX,
    REPLICAS_ASKED_MAX,
)
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.replication.scrub_calls import SCRUB_CALLS
from dstore.security.identity import ComponentRole
from dstore.storage.log_records import Epoch, LogPoint, LogRecord, Sequence64, Standing
from dstore.storage.replica_copy import CopyEnd, CopyPage

RangeId = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
NodeId = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
Records = Annotated[tuple[LogRecord, ...], msgspec.Meta(max_length=REPLICA_BATCH_RECORDS_MAX)]


class Appended(msgspec.Struct, frozen=True, array_like=True):
    """What came of an append.

    `promised_epoch` above the request's: the sender is no primary any more, and nothing was done.
    `matched` is up to where the replica holds the primary's log, durably; None if its log is not at
    the place the request names, and then `standing` says where it is. `is_leaving`: it is about to
    stop, or damaged, and is not to be counted on if that is possible. `is_bound`: it has promised
    something to a primary before this one, and could not serve at once.
    """

    promised_epoch: Sequence64
    matched: LogPoint | None = None
    standing: Standing | None = None
    is_leaving: bool = False
    is_bound: bool = False
    is_damaged: bool = False


class AppendRecords(PeerRequest[Appended], frozen=True, array_like=True):
    """Hold records durably behind a point, and apply what is committed; without any: a heartbeat.

    The answer promises not to serve as another primary for REPLICA_LEASE_MS.
    """

    range_id: RangeId
    epoch: Epoch
    primary: NodeId
    incarnation: NodeId
    after: LogPoint
    records: Records
    committed_seq: Sequence64


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """Where a replica stands that refuses every epoch older than `promised_epoch` from now on."""

    standing: Standing


class SealReplica(PeerRequest[Sealed], frozen=True, array_like=True):
    """Promise an epoch to a primary that is about to open the range."""

    range_id: RangeId
    epoch: Epoch
    primary: NodeId
    incarnation: NodeId


class Fetched(msgspec.Struct, frozen=True, array_like=True):
    """Records behind a point; None: the log does not reach there, or parts before."""

    records: Records | None
    standing: Standing


class FetchRecords(PeerRequest[Fetched], frozen=True, array_like=True):
    """Read what a sealed replica holds, for the primary that it was sealed for."""

    range_id: RangeId
    epoch: Epoch
    primary: NodeId
    incarnation: NodeId
    after: LogPoint


class CopyTaken(msgspec.Struct, frozen=True, array_like=True):
    """A step of a copy is done durably; above the request's, `promised_epoch` means it is not.

    Unless `is_ready`, the same request does the next part of what it asks for.
    """

    promised_epoch: Sequence64
    is_ready: bool = True


class BeginCopy(PeerRequest[CopyTaken], frozen=True, array_like=True):
    """Become no replica, and empty, so that a copy can be made here; asked until that is done.

    `number` grows from copy to copy within an epoch. `found` is where the replica's log was found
    to end: if that is not so any more, this is an old message, and nothing is done. With `is_wrong`
    what is there is not what its log says, so that its end tells nothing: the range's value does.
    """

    range_id: RangeId
    epoch: Epoch
    primary: NodeId
    incarnation: NodeId
    number: Sequence64
    found: LogPoint
    is_wrong: bool = False


class TakeCopy(PeerRequest[CopyTaken], frozen=True, array_like=True):
    """Take the next piece of a copy, and with the last one its end; the last may come again.

    Raises: Unavailable: it is not the next one, or of another copy.
    """

    range_id: RangeId
    epoch: Epoch
    primary: NodeId
    incarnation: NodeId
    number: Sequence64
    index: Sequence64
    page: CopyPage
    end: CopyEnd | None = None


class ReplicaTold(msgspec.Struct, frozen=True, array_like=True):
    """Where a replica stands, and whether it is certain right now that it is the primary.

    `newest_at_us` is the time of the newest record in its log, in microseconds since 1970; 0: its
    log holds none any more.
    """

    standing: Standing
    is_serving: bool
    newest_at_us: Sequence64 = 0


class AskReplica(PeerRequest[ReplicaTold], frozen=True, array_like=True):
    """Ask where a replica stands: control does, before it chooses another primary."""

    range_id: RangeId
    incarnation: NodeId


class ReplicasTold(msgspec.Struct, frozen=True, array_like=True):
    """What each replica says, in the order in which they were asked for; None: it can't now."""

    told: Annotated[tuple[ReplicaTold | None, ...], msgspec.Meta(max_length=REPLICAS_ASKED_MAX)]


class AskReplicas(PeerRequest[ReplicasTold], frozen=True, array_like=True):
    """Ask where the replicas of several ranges on one node stand."""

    asked: Annotated[tuple[AskReplica, ...], msgspec.Meta(max_length=REPLICAS_ASKED_MAX)]


class HandedOver(msgspec.Struct, frozen=True, array_like=True):
    """Another replica is the primary, in this epoch."""

    epoch: Sequence64


class HandOver(PeerRequest[HandedOver], frozen=True, array_like=True):
    """Make another in-sync replica the primary; `node` None: whichever answers first.

    Raises: NotMine: this is not the primary in `epoch`. Unavailable: it can't be now; nothing has
    changed.
    """

    range_id: RangeId
    epoch: Epoch
    incarnation: NodeId
    node: NodeId | None = None


class TookOver(msgspec.Struct, frozen=True, array_like=True):
    """It is heard."""


class TakeOver(PeerRequest[TookOver], frozen=True, array_like=True):
    """Hear that `primary` has ended in `epoch`, for good, and what the range's value is now.

    So a promise that it was given in that epoch or before holds nobody up any more.
    """

    range_id: RangeId
    epoch: Epoch
    primary: NodeId
    incarnation: NodeId
    value: Annotated[bytes, msgspec.Meta(max_length=COORDINATOR_REQUEST_BYTES_MAX)]
    revision: Sequence64


_NODES: Final = frozenset({ComponentRole.NODE})

APPEND_RECORDS: Final = PeerCall(
    name="replica.append", request=AppendRecords, reply=Appended, roles=_NODES, is_safe=True
)
SEAL_REPLICA: Final = PeerCall(
    name="replica.seal", request=SealReplica, reply=Sealed, roles=_NODES, is_safe=True
)
FETCH_RECORDS: Final = PeerCall(
    name="replica.fetch", request=FetchRecords, reply=Fetched, roles=_NODES, is_safe=True
)
BEGIN_COPY: Final = PeerCall(
    name="replica.begin_copy", request=BeginCopy, reply=CopyTaken, roles=_NODES, is_safe=True
)
TAKE_COPY: Final = PeerCall(
    name="replica.copy", request=TakeCopy, reply=CopyTaken, roles=_NODES, is_safe=True
)
ASK_REPLICA: Final = PeerCall(
    name="replica.ask",
    request=AskReplica,
    reply=ReplicaTold,
    roles=frozenset({ComponentRole.CONTROL}),
    is_safe=True,
)
ASK_REPLICAS: Final = PeerCall(
    name="replica.ask_many",
    request=AskReplicas,
    reply=ReplicasTold,
    roles=frozenset({ComponentRole.CONTROL}),
    is_safe=True,
)
HAND_OVER: Final = PeerCall(
    name="replica.hand_over",
    request=HandOver,
    reply=HandedOver,
    roles=frozenset({ComponentRole.CONTROL}),
    is_safe=True,
)
TAKE_OVER: Final = PeerCall(
    name="replica.take_over", request=TakeOver, reply=TookOver, roles=_NODES, is_safe=True
)

REPLICA_CALLS: Final = (
    APPEND_RECORDS,
    SEAL_REPLICA,
    FETCH_RECORDS,
    BEGIN_COPY,
    TAKE_COPY,
    ASK_REPLICA,
    ASK_REPLICAS,
    HAND_OVER,
    TAKE_OVER,
    *SCRUB_CALLS,
)
"""All may be repeated: a replica that holds a record already says so again."""
