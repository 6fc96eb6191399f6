"""The moment in which a primary puts two ranges in the place of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from dstore.base.clock import SystemClock
from dstore.base.tasks import Tasks
from dstore.model.errors import NotMine, Unavailable
from dstore.replication import placements
from dstore.replication.placements import Placed
from dstore.replication.primary import Primary
from dstore.replication.split_calls import Split
from dstore.replication.surroundings import Surroundings
from dstore.storage.log_records import LogPoint
from dstore.topology.coordinator import CoordinatorUnavailable, Revision
from dstore.topology.keyspace import RangePath
from tests.support.replicas import DISK, placement, replica
from tests.support.topology import uuid

ME = 1
BEGINNING = LogPoint(seq=0, digest=bytes(32))
SPLIT = Split(low_id=uuid(601), high_id=uuid(602), at_hash=1 << 30)


@pytest.fixture
async def around() -> AsyncIterator[Surroundings]:
    """Give what a replica of node 1 needs, as long as no file is asked for."""
    unused = cast("Any", None)
    tasks = Tasks(lambda _error: None)
    yield Surroundings(
        node=uuid(ME),
        incarnation=uuid(DISK),
        clock=SystemClock(),
        coordinator=unused,
        peer_of=unused,
        open_file=unused,
        on_serving=lambda *_: None,
        on_fault=unused,
        files=unused,
        tasks=tasks,
        began_ns=0,
    )
    await tasks.close()


@pytest.fixture
def primary(around: Surroundings) -> Primary:
    """Give the primary of a range that nobody else has."""
    placed = Placed(
        path=RangePath("acme", "orders", 0),
        value=placement(replica(ME), factor=1),
        revision=Revision(1),
    )
    return Primary(placed, around, end=BEGINNING, history=(), on_deposed=lambda _epoch: None)


async def _ripe(_placed: Placed, _point: LogPoint) -> bool:
    return True


async def test_nobody_is_served_while_a_range_is_cut(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children's primaries wait for no lease of the parent's: a read of it might be stale."""
    served = [True]

    def be_served(*, is_on: bool) -> None:
        served.append(is_on)

    async def swap(*_args: Any, pause: Any) -> Any:
        del pause
        assert served == [True, False]
        raise CoordinatorUnavailable("It is away.")

    monkeypatch.setattr(placements, "swap_for_two", swap)
    with pytest.raises(Unavailable):
        await primary.cut(SPLIT, ripen=_ripe, be_served=be_served)
    assert served == [True, False, True], "it surely is not cut"
    assert not primary.is_closed


async def test_a_cut_that_is_cancelled_ends_the_primary(
    around: Surroundings, primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether there are children by then, which others may have begun to serve."""
    is_asked = asyncio.Event()

    async def swap(*_args: Any, pause: Any) -> Any:
        is_asked.set()
        await pause(60_000)

    monkeypatch.setattr(placements, "swap_for_two", swap)
    cut = primary.cut(SPLIT, ripen=_ripe, be_served=lambda **_: None)
    cutting = around.tasks.spawn(cut, name="cut")
    await is_asked.wait()
    cutting.cancel()
    await asyncio.wait([cutting])
    assert primary.is_closed
    with pytest.raises(NotMine):
        primary.ship((), end=BEGINNING)
