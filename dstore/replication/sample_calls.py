"""What control asks the primary of a range before it splits it: where bytes or requests are.

Nothing is changed. A sample is made while control asks again and again, and is kept for a while.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from dstore.base.split_limits import SAMPLE_BUCKETS_MAX
from dstore.model.hashing import HASH_MAX
from dstore.replication.peers.calls import PeerCall
from dstore.replication.peers.port import PeerRequest
from dstore.security.identity import ComponentRole

_Uuid = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
_Hash = Annotated[int, msgspec.Meta(ge=0, le=HASH_MAX)]
_Weight = Annotated[int, msgspec.Meta(ge=0)]


class SampleOf(StrEnum):
    """What is weighed."""

    BYTES = "bytes"
    REQUESTS = "requests"


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """What lies from a hash on, up to that of the next bucket: bytes, or requests."""

    low_hash: _Hash
    weight: _Weight


class Sampled(msgspec.Struct, frozen=True, array_like=True):
    """A range's sample, its buckets by their hashes; None: it is not made yet, ask again."""

    buckets: Annotated[tuple[Bucket, ...], msgspec.Meta(max_length=SAMPLE_BUCKETS_MAX)] | None = (
        None
    )


class AskSample(PeerRequest[Sampled], frozen=True, array_like=True):
    """Say where a range's bytes, or its requests of the next seconds, are.

    Raises: NotMine: this is not its primary in `epoch`. Unavailable: it is being read otherwise, or
        too many samples are made; later.
    """

    range_id: _Uuid
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    of: SampleOf


ASK_SAMPLE: Final = PeerCall(
    name="split.sample",
    request=AskSample,
    reply=Sampled,
    roles=frozenset({ComponentRole.CONTROL}),
    is_safe=True,
)
