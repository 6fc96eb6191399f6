"""The replicas of a node, by range: they answer `replica_calls`, and their files ask them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from dstore.base.limits import REPLICA_COMMIT_TOLD_MS, REPLICAS_ROUSED, REPLICAS_TOLD_S
from dstore.model.errors import (
    DStoreError,
    NotMine,
    RefusalKind,
    Refused,
    Unavailable,
    UnavailableKind,
)
from dstore.replication import replica_calls
from dstore.replication.cuts import Cuts
from dstore.replication.handing_over import is_bound, taken_over
from dstore.replication.leases import LEASE_NS
from dstore.replication.peers.calls import Answered
from dstore.replication.replica import Replica
from dstore.replication.replica_calls import HandedOver, ReplicasTold
from dstore.replication.scrub_answers import ScrubAnswers
from dstore.replication.surroundings import pause_ms

if TYPE_CHECKING:
    from dstore.replication.peers.port import Received
    from dstore.replication.placements import Placed
    from dstore.replication.replica_calls import (
        Appended,
        AppendRecords,
        AskReplica,
        AskReplicas,
        BeginCopy,
        CopyTaken,
        Fetched,
        FetchRecords,
        HandOver,
        ReplicaTold,
        Sealed,
        SealReplica,
        TakeCopy,
        TakeOver,
        TookOver,
    )
    from dstore.replication.seeds import SeedBed
    from dstore.replication.surroundings import Surroundings


class _OfPrimary(Protocol):
    """What a primary, or who was one, asks of a replica."""

    @property
    def range_id(self) -> str:
        """Of which range."""

    @property
    def primary(self) -> str:
        """The node that asks."""


class Replicas:
    """The replicas of this node. Used from one event loop."""

    def __init__(self, around: Surroundings, *, bed: SeedBed | None = None) -> None:
        """Begin with none; without a `bed` for seeds no range is split."""
        self._around = around
        self._cuts = None if bed is None else Cuts(around, bed, find=self._find)
        self._replicas: dict[str, Replica] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._removed_ns: dict[str, int] = {}  # when; its promise outlives a replica
        self._scrubbed = ScrubAnswers(around, holds=self._replicas.__contains__)

    def of(self, range_id: str) -> Replica | None:
        """Find a range's replica: what its file asks for, `range_file.Surroundings`."""
        return self._replicas.get(range_id)

    def add(self, range_id: str) -> Replica:
        """Let a range that is held here be replicated; before its file is opened."""
        found = self._replicas.get(range_id)
        if found is None:
            began_ns = self._removed_ns.get(range_id, self._around.began_ns)
            found = self._replicas[range_id] = Replica(range_id, self._around, began_ns=began_ns)
            self._runs[range_id] = self._around.tasks.spawn(found.run(), name="be_replica")
        return found

    def all(self) -> tuple[Replica, ...]:
        """List them."""
        return tuple(self._replicas.values())

    def follow(self, placed: Placed) -> None:
        """Hear of a range's value as the topology shows it."""
        found = self._replicas.get(placed.value.range_id)
        if found is not None:
            found.follow(placed)

    async def rouse(self, node: str) -> None:
        """Ask a node's replicas that learn from here, since it may be back; some at a time."""
        for number, replica in enumerate(self.all(), start=1):
            primary = replica.serving
            follower = None if primary is None else primary.follower(node)
            if follower is not None and not follower.is_required:
                follower.rouse()
            if number % REPLICAS_ROUSED == 0:
                await pause_ms(REPLICA_COMMIT_TOLD_MS)

    def remove(self, range_id: str) -> None:
        """Let go of a range that is about to be deleted here; `Replica.leave` comes first."""
        if self._replicas.pop(range_id, None) is not None:
            self._runs.pop(range_id).cancel()
            if self._cuts is not None:
                self._cuts.end(range_id)
            now_ns = self._around.clock.monotonic_ns()
            recent = {key: ns for key, ns in self._removed_ns.items() if now_ns - ns < LEASE_NS}
            self._removed_ns = {**recent, range_id: now_ns}

    def answered(self) -> tuple[Answered[Any, Any], ...]:
        """List the calls and their handlers."""
        return (
            Answered(call=replica_calls.APPEND_RECORDS, handler=self._append),
            Answered(call=replica_calls.SEAL_REPLICA, handler=self._seal),
            Answered(call=replica_calls.FETCH_RECORDS, handler=self._fetch),
            Answered(call=replica_calls.BEGIN_COPY, handler=self._begin_copy),
            Answered(call=replica_calls.TAKE_COPY, handler=self._take_copy),
            Answered(call=replica_calls.ASK_REPLICA, handler=self._tell),
            Answered(call=replica_calls.ASK_REPLICAS, handler=self._tell_all),
            Answered(call=replica_calls.HAND_OVER, handler=self._hand_over),
            Answered(call=replica_calls.TAKE_OVER, handler=self._take_over),
            *self._scrubbed.answered(),
            *(() if self._cuts is None else self._cuts.answered()),
        )

    async def _append(self, request: AppendRecords, received: Received) -> Appended:
        return await self._find_for(request, received).append(request)

    async def _seal(self, request: SealReplica, received: Received) -> Sealed:
        return await self._find_for(request, received).seal(request)

    async def _fetch(self, request: FetchRecords, received: Received) -> Fetched:
        return await self._find_for(request, received).fetch(request)

    async def _begin_copy(self, request: BeginCopy, received: Received) -> CopyTaken:
        return await self._find_for(request, received).begin_copy(request)

    async def _take_copy(self, request: TakeCopy, received: Received) -> CopyTaken:
        return await self._find_for(request, received).take_copy(request)

    async def _tell(self, request: AskReplica, _received: Received) -> ReplicaTold:
        return await self._find(request.range_id).tell(request)

    async def _tell_all(self, request: AskReplicas, _received: Received) -> ReplicasTold:
        told = await asyncio.gather(*(self._told(each) for each in request.asked))
        return ReplicasTold(told=tuple(told))

    async def _told(self, request: AskReplica) -> ReplicaTold | None:
        """Ask one of several, for which the others do not wait."""
        try:
            async with asyncio.timeout(REPLICAS_TOLD_S):
                return await self._find(request.range_id).tell(request)
        except (DStoreError, TimeoutError):
            return None

    async def _hand_over(self, request: HandOver, _received: Received) -> HandedOver:
        """Hand over as control says, unless it means another disk or epoch."""
        replica = self._find(request.range_id)
        epoch = replica.serving_epoch
        if request.incarnation != self._around.incarnation or request.epoch != epoch:
            raise NotMine(request.range_id, epoch or 0)
        if request.node is not None and is_bound(replica, request.node):
            raise Unavailable(
                UnavailableKind.UNREACHABLE, "That replica could not serve at once; retry."
            )
        return HandedOver(epoch=await replica.hand_over(request.node))

    async def _take_over(self, request: TakeOver, received: Received) -> TookOver:
        replica = self._find_for(request, received)
        answer = await replica.take_over(request)
        await taken_over(replica, epoch=request.epoch)
        return answer

    def _find_for(self, request: _OfPrimary, received: Received) -> Replica:
        """Find the replica that a primary means. Raises: Refused: another node speaks for it."""
        if received.caller.uuid != request.primary:
            raise Refused(RefusalKind.FORBIDDEN, "A node asks other replicas in its own name only.")
        return self._find(request.range_id)

    def _find(self, range_id: str) -> Replica:
        found = self._replicas.get(range_id)
        if found is None:
            raise NotMine(range_id)
        return found
