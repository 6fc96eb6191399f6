"""Opening a range: who is waited for, and until when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dstore.base.clock import SystemClock
from dstore.model.hashing import HASH_MAX
from dstore.replication import opening
from dstore.replication.opening import gather_log
from dstore.replication.peers.errors import Unreachable
from dstore.replication.placements import Overtaken, Placed
from dstore.replication.surroundings import Surroundings
from dstore.storage.log_records import EpochStart, LogPoint, Standing
from dstore.topology.coordinator import Revision
from dstore.topology.keyspace import RangePath
from dstore.topology.values import RangePlacement, Replica, ReplicaState

if TYPE_CHECKING:
    from dstore.replication.opening import OwnReplica
    from dstore.replication.peers.port import Peer

ME, OTHER = (f"a0000000-0000-4000-8000-{number:012d}" for number in (1, 2))
RANGE_ID = "5a0e0000-0000-4000-8000-000000000001"


class OwnHere:
    """A replica that is only asked which value of the range it knows."""

    placed: Placed | None = None


def _nobody(_node: str) -> Peer:
    raise Unreachable("It is away.")


def _surroundings() -> Surroundings:
    unused = cast("Any", None)
    return Surroundings(
        node=ME,
        incarnation=RANGE_ID,
        clock=SystemClock(),
        coordinator=unused,
        peer_of=_nobody,
        open_file=unused,
        on_serving=unused,
        on_fault=unused,
        files=unused,
        tasks=unused,
        began_ns=0,
    )


def _placed(revision: int, *states: ReplicaState) -> Placed:
    replicas = tuple(
        Replica(node=node, incarnation=RANGE_ID, uri="https://h:1", state=state)
        for node, state in zip((ME, OTHER), states, strict=True)
    )
    value = RangePlacement(
        node=ME,
        high_hash=HASH_MAX,
        uri="https://h:1",
        table_id=RANGE_ID,
        range_id=RANGE_ID,
        epoch=3,
        replicas=replicas,
        factor=2,
    )
    path = RangePath(tenant="acme", table="things", low_hash=0)
    return Placed(path=path, value=value, revision=Revision(revision))


@pytest.mark.parametrize("patience_ms", [50, 60_000])
async def test_nobody_is_waited_for_whose_disk_is_lost(
    monkeypatch: pytest.MonkeyPatch, patience_ms: int
) -> None:
    """Who can't be left out is waited for, until the range's value says that he is not counted."""
    monkeypatch.setattr(opening, "REPLICA_SILENT_MS", patience_ms)
    own, around = OwnHere(), _surroundings()
    begun = _placed(5, ReplicaState.IN_SYNC, ReplicaState.IN_SYNC)
    own.placed = begun

    async def open_range() -> Placed:
        return await gather_log(begun, cast("OwnReplica", own), around, is_new=False)

    async with asyncio.TaskGroup() as group:
        gathering = group.create_task(_overtaken(open_range()))
        await asyncio.sleep(0.3)
        assert not gathering.done()
        own.placed = _placed(6, ReplicaState.IN_SYNC, ReplicaState.LEARNER)
    assert gathering.result() is own.placed


async def _overtaken(opening: Any) -> Placed | None:
    with pytest.raises(Overtaken) as raised:
        await opening
    return raised.value.now


class BehindOthers(OwnHere):
    """A replica whose log ends where others' do not begin any more."""

    async def standing(self) -> Standing:
        return _standing(2)

    async def point_at(self, _seq: int) -> LogPoint | None:
        return None


class _Sealed:
    async def call(self, _request: object, *, deadline_s: float) -> Any:  # noqa: ARG002
        return SimpleNamespace(standing=_standing(9))


def _standing(end_seq: int) -> Standing:
    end = LogPoint(seq=end_seq, digest=bytes(32))
    history = (EpochStart(epoch=1, first_seq=1),)
    return Standing(promised_epoch=3, epoch=1, end=end, applied_seq=end_seq, history=history)


async def test_who_lacks_what_it_acknowledged_gives_the_range_to_who_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind an old copy of its disk: what it lacks was cut from the other's log by now."""
    monkeypatch.setattr(opening, "REPLICA_SILENT_MS", 50)
    begun = _placed(5, ReplicaState.IN_SYNC, ReplicaState.IN_SYNC)
    heirs = []

    async def _give_to(placed: Placed, heir: str, _around: Surroundings) -> None:
        heirs.append(heir)
        raise Overtaken(placed)

    monkeypatch.setattr(opening, "give_to", _give_to)
    around = replace(_surroundings(), peer_of=lambda _node: cast("Peer", _Sealed()))
    own = cast("OwnReplica", BehindOthers())
    with pytest.raises(Overtaken):
        await gather_log(begun, own, around, is_new=False)
    assert heirs == [OTHER]
