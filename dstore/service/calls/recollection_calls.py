"""What control asks a node when the coordinator has lost ranges' values: what it remembers."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from dstore.base.limits import COORDINATOR_REQUEST_BYTES_MAX, RECOLLECTIONS_ASKED_MAX
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.replication.split_calls import Split
from dstore.security.identity import ComponentRole

RangeId = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]


class Remembered(msgspec.Struct, frozen=True, array_like=True):
    """What a node remembers of a range: `values.RangePlacement` as it was written, b"": none.

    `promised_epoch` is the highest that its replica has promised a primary; 0: it holds none.
    `cut` is how the range was split, so that it is none any more; None: it is one, or nobody has
    told this node so.
    """

    value: Annotated[bytes, msgspec.Meta(max_length=COORDINATOR_REQUEST_BYTES_MAX)]
    revision: int
    promised_epoch: int
    cut: Split | None = None


class AllRemembered(msgspec.Struct, frozen=True, array_like=True):
    """What a node remembers, in the order in which it was asked; None: it can't tell now."""

    incarnation: Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
    told: Annotated[tuple[Remembered | None, ...], msgspec.Meta(max_length=RECOLLECTIONS_ASKED_MAX)]


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """What control knew of the coordinator when it asked: which, and how far that was.

    `recoveries` counts those that were ordered, up to the one for which it asks.
    """

    cluster_id: str
    recoveries: int
    revision: int


class AskRemembered(PeerRequest[AllRemembered], frozen=True, array_like=True):
    """Ask what a node remembers of ranges.

    Who says of a range that it was not split begins with no child of it that was not `shown` later.
    """

    range_ids: Annotated[tuple[RangeId, ...], msgspec.Meta(max_length=RECOLLECTIONS_ASKED_MAX)]
    shown: Shown | None = None


ASK_REMEMBERED: Final = PeerCall(
    name="placements.remembered",
    request=AskRemembered,
    reply=AllRemembered,
    roles=frozenset({ComponentRole.CONTROL}),
    is_safe=True,
)
