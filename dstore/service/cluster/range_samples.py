"""Samples of the ranges that a node is the primary of: where their bytes are, or their requests.

One is made when control asks, some at a time, at the pace of a copy, and kept for a short while.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dstore.base.clock import NS_PER_S
from dstore.base.limits import RETRY_AFTER_MS
from dstore.base.logging import get_logger
from dstore.base.split_limits import (
    SAMPLE_BUCKETS_MAX,
    SAMPLE_KEPT_S,
    SAMPLE_PAUSE_S,
    SAMPLE_REQUESTS,
    SAMPLE_REQUESTS_LOOKS,
    SAMPLE_REQUESTS_S,
    SAMPLE_ROWS,
    SAMPLES_AT_ONCE,
)
from dstore.model.errors import DStoreError, NotMine, Unavailable, UnavailableKind
from dstore.model.keys import HASH_BYTES
from dstore.replication.peers.calls import Answered
from dstore.replication.sample_calls import ASK_SAMPLE, Bucket, Sampled, SampleOf
from dstore.storage.weighing import Buckets, weigh

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dstore.replication.peers.port import Received
    from dstore.replication.replicas import Replicas
    from dstore.replication.sample_calls import AskSample
    from dstore.replication.surroundings import Surroundings
    from dstore.service.range_heat import RangeHeat

_log: Final = get_logger(__name__)

Key = tuple[str, SampleOf]


@dataclass(slots=True, kw_only=True)
class _Sample:
    """One that is made, or was; `buckets` is None until it is."""

    asked_ns: int
    making: asyncio.Task[None] | None = None
    buckets: tuple[Bucket, ...] | None = None


class RangeSamples:
    """Answers ASK_SAMPLE. Used from one event loop."""

    def __init__(
        self,
        replicas: Replicas,
        around: Surroundings,
        *,
        heat: RangeHeat,
        is_busy: Callable[[str], bool],
    ) -> None:
        """Sample what `replicas` serve, unless it `is_busy`: its file is being read otherwise."""
        self._replicas = replicas
        self._around = around
        self._heat = heat
        self._is_busy = is_busy
        self._samples: dict[Key, _Sample] = {}

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return (Answered(call=ASK_SAMPLE, handler=self._told),)

    async def _told(self, request: AskSample, _received: Received) -> Sampled:
        replica = self._replicas.of(request.range_id)
        if replica is None or replica.serving_epoch != request.epoch:
            raise NotMine(request.range_id)
        now_ns = self._around.clock.monotonic_ns()
        self._forget_old(now_ns)
        key = (request.range_id, request.of)
        found = self._samples.get(key)
        if found is None:
            found = self._begin(key, now_ns)
        found.asked_ns = now_ns
        return Sampled(found.buckets)

    def _begin(self, key: Key, now_ns: int) -> _Sample:
        if self._is_busy(key[0]):
            raise _not_now("The range is being scrubbed.")
        if sum(each.buckets is None for each in self._samples.values()) >= SAMPLES_AT_ONCE:
            raise _not_now("This node samples other ranges now.")
        found = self._samples[key] = _Sample(asked_ns=now_ns)
        found.making = self._around.tasks.spawn(self._make(key, found), name="sample_range")
        return found

    def _forget_old(self, now_ns: int) -> None:
        """Let go of what nobody asks for any more."""
        kept_ns = int(SAMPLE_KEPT_S * NS_PER_S)
        for key, each in list(self._samples.items()):
            if now_ns - each.asked_ns > kept_ns:
                del self._samples[key]
                if each.making is not None:
                    each.making.cancel()

    async def _make(self, key: Key, sample: _Sample) -> None:
        range_id, of = key
        try:
            made = await (self._bytes(range_id) if of is SampleOf.BYTES else self._seen(range_id))
        except DStoreError as error:
            _log.info("range_not_sampled", range=range_id, reason=error.message)
            if self._samples.get(key) is sample:
                del self._samples[key]
        else:
            sample.buckets = tuple(Bucket(low_hash, weight) for low_hash, weight in made)

    async def _bytes(self, range_id: str) -> Sequence[tuple[int, int]]:
        """Weigh all that is in the file; what is written meanwhile is seen or not."""
        buckets = Buckets(most=SAMPLE_BUCKETS_MAX)
        after: bytes | None = b""
        while after is not None:
            file = await self._around.open_file(range_id)
            piece = await file.look(partial(weigh, after=after, rows=SAMPLE_ROWS))
            buckets.add(piece.weights)
            after = piece.last
            await asyncio.sleep(SAMPLE_PAUSE_S)
        return buckets.taken()

    async def _seen(self, range_id: str) -> Sequence[tuple[int, int]]:
        """Watch for which keys requests come."""
        seen = self._heat.watch(range_id)
        try:
            for _ in range(SAMPLE_REQUESTS_LOOKS):
                await asyncio.sleep(SAMPLE_REQUESTS_S / SAMPLE_REQUESTS_LOOKS)
                if len(seen) == SAMPLE_REQUESTS:
                    break
        finally:
            self._heat.unwatch(range_id)
        counted = Counter(int.from_bytes(rid_id[:HASH_BYTES], "big") for rid_id in seen)
        buckets = Buckets(most=SAMPLE_BUCKETS_MAX)
        buckets.add(sorted(counted.items()))
        return buckets.taken()


def _not_now(message: str) -> Unavailable:
    return Unavailable(UnavailableKind.OVERLOADED, message, retry_after_ms=RETRY_AFTER_MS)
