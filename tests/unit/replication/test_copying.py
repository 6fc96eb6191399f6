"""Sending a copy: piece by piece, in order, at a pace, and the same again where nobody answered."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from dstore.base.clock import SystemClock
from dstore.model.errors import DStoreError, NotMine, Unavailable, UnavailableKind
from dstore.replication import copying
from dstore.replication.copying import Copy, copy_to
from dstore.replication.pace import Pace
from dstore.replication.replica_calls import BeginCopy, CopyTaken, TakeCopy
from dstore.storage.log_records import EpochStart, LogPoint
from dstore.storage.replica_copy import CopyPage, CopyPlace, CopyStart
from dstore.topology.values import Replica, ReplicaState
from tests.support.topology import uuid

if TYPE_CHECKING:
    from dstore.replication.surroundings import Surroundings

POINT = LogPoint(seq=7, digest=bytes(32))
PIECES = 4


@dataclass(kw_only=True)
class _Source:
    """A range of some pieces."""

    range_id: str = uuid(7)
    epoch: int = 3
    end: LogPoint = POINT
    deposed: list[int] = field(default_factory=list)

    async def copy_page(self, place: CopyPlace) -> tuple[CopyPage, CopyPlace]:
        number = len(place.rid_id)
        page = CopyPage((bytes([number]),), (), bytes(32))
        is_last = number == PIECES - 1
        return page, CopyPlace(is_over=True) if is_last else CopyPlace(rid_id=bytes(number + 1))

    def depose(self, epoch: int) -> None:
        self.deposed.append(epoch)


@dataclass(kw_only=True)
class _Peer:
    """Takes pieces, but for those that `failures` names once each."""

    failures: dict[int, DStoreError] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    promised_epoch: int = 3

    async def call(self, request: Any, *, deadline_s: float, request_id: str = "") -> CopyTaken:
        del deadline_s, request_id
        if isinstance(request, BeginCopy):
            return CopyTaken(promised_epoch=self.promised_epoch)
        assert isinstance(request, TakeCopy)
        self.taken.append(request.index)
        self.ends.append(request.end is not None)
        failure = self.failures.pop(request.index, None)
        if failure is not None:
            raise failure
        return CopyTaken(promised_epoch=self.promised_epoch)


class _Standing(SystemClock):
    def monotonic_ns(self) -> int:
        return 10**9


@dataclass(kw_only=True)
class _Around:
    peer: _Peer
    node: str = uuid(1)
    clock: SystemClock = field(default_factory=SystemClock)
    pace: Pace = field(default_factory=lambda: Pace(bytes_per_s=0))

    def peer_of(self, _node: str) -> _Peer:
        return self.peer


async def _copied(peer: _Peer, source: _Source) -> bool:
    replica = Replica(
        node=uuid(2), incarnation=uuid(3), uri="https://n:1", state=ReplicaState.LEARNER
    )
    history = (EpochStart(epoch=1, first_seq=1),)
    copy = Copy(number=1, found=POINT, start=CopyStart(epoch=1, point=POINT, history=history))
    around = cast("Surroundings", _Around(peer=peer))
    return await copy_to(replica, source, copy, around=around)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "REPLICA_BACKOFF_MS_MAX", 1)


async def test_pieces_go_in_order_and_the_last_says_so() -> None:
    """Each once, if nothing goes wrong."""
    peer = _Peer()
    assert await _copied(peer, _Source())
    assert peer.taken == list(range(PIECES))
    assert peer.ends == [False] * (PIECES - 1) + [True]


async def test_a_moment_without_an_answer_costs_one_piece() -> None:
    """It is sent again; a copy of gigabytes does not begin anew."""
    away = Unavailable(UnavailableKind.UNREACHABLE, "It does not answer.", retry_after_ms=1)
    peer = _Peer(failures={1: away, PIECES - 1: away})
    assert await _copied(peer, _Source())
    assert peer.taken == [0, 1, 1, 2, PIECES - 1, PIECES - 1]


@pytest.mark.parametrize(
    "failure", [Unavailable(UnavailableKind.MOVED, "No such copy."), NotMine(uuid(7))]
)
async def test_what_can_only_begin_anew_ends_at_once(failure: DStoreError) -> None:
    """Where the replica knows of no such copy any more, or is none."""
    peer = _Peer(failures={1: failure})
    with pytest.raises(type(failure)):
        await _copied(peer, _Source())
    assert peer.taken == [0, 1]


async def test_who_does_not_answer_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the copy is made anew, when it is back."""
    monkeypatch.setattr(copying, "REPLICA_COPY_GIVEN_UP_S", 0.0)
    away = Unavailable(UnavailableKind.UNREACHABLE, "It does not answer.", retry_after_ms=1)
    with pytest.raises(Unavailable):
        await _copied(_Peer(failures={2: away}), _Source())


async def test_a_newer_promise_ends_the_copy() -> None:
    """Who sends it is no primary any more."""
    peer, source = _Peer(promised_epoch=4), _Source()
    assert not await _copied(peer, source)
    assert source.deposed == [4]
    assert peer.taken == []


async def test_all_senders_share_the_pace() -> None:
    """What is sent together takes as long as one behind the other."""
    pace, clock = Pace(bytes_per_s=1_000_000), SystemClock()
    began_s = time.monotonic()
    await asyncio.gather(*(pace.wait(20_000, clock=clock) for _ in range(4)))
    assert time.monotonic() - began_s >= 3 * 0.02


@pytest.mark.parametrize(("is_used", "waits"), [(True, [0.05]), (False, [])])
async def test_copies_rest_while_the_node_serves_requests(
    monkeypatch: pytest.MonkeyPatch, is_used: bool, waits: list[float]
) -> None:
    """As long as what they took before, so that half of it is left; alone they go on at once."""
    waited: list[float] = []

    async def _sleep(seconds: float) -> None:
        waited.append(seconds)

    clock, pace = _Standing(), Pace(bytes_per_s=0, rests=True)
    if is_used:
        pace.used(clock.monotonic_ns())
    pace.rest(clock.monotonic_ns() - 50_000_000, clock=clock)
    monkeypatch.setattr("dstore.replication.pace.asyncio.sleep", _sleep)
    await pace.wait(1, clock=clock)
    assert waited == waits
