"""Many ranges' values changed in one transaction, and singly where that does not do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from dstore.base.clock import SystemClock
from dstore.base.entropy import SystemEntropy
from dstore.base.limits import COORDINATOR_TIMEOUT_S, SWAPS_PACKED_MAX
from dstore.base.tasks import Tasks
from dstore.replication import packed_swaps, placements
from dstore.replication.packed_swaps import PackedSwaps, Swap, swap_all
from dstore.replication.placements import Overtaken, Placed
from dstore.topology import keyspace as keys
from dstore.topology import values
from dstore.topology.coordinator import (
    Coordinator,
    CoordinatorFull,
    CoordinatorUnavailable,
    OutcomeUnknown,
    Transaction,
    TransactionResult,
)
from dstore.topology.embedded import EmbeddedCoordinator
from tests.support.replicas import placement, replica

VALUE = placement(replica(1), replica(2), replica(3))


class _Counting:
    """Counts transactions; the first ones end as `outcomes` say."""

    def __init__(self, coordinator: Coordinator, *outcomes: str) -> None:
        self._coordinator = coordinator
        self._outcomes = list(outcomes)
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coordinator, name)

    async def commit(
        self, transaction: Transaction, *, timeout_s: float = COORDINATOR_TIMEOUT_S
    ) -> TransactionResult:
        self.sizes.append(len(transaction.then))
        outcome = self._outcomes.pop(0) if self._outcomes else ""
        if outcome == "full":
            raise CoordinatorFull("There is no room.")
        if outcome == "away":
            raise CoordinatorUnavailable("It is away.")
        if outcome == "unknown":
            raise OutcomeUnknown("Nobody knows.")
        result = await self._coordinator.commit(transaction, timeout_s=timeout_s)
        if outcome == "done, unknown":
            raise OutcomeUnknown("Nobody knows.")
        return result


@pytest.fixture
async def coordinator() -> AsyncIterator[EmbeddedCoordinator]:
    """Give an empty coordinator."""
    made = await EmbeddedCoordinator.open(
        None, clock=SystemClock(), entropy=SystemEntropy(), on_failure=_raise
    )
    yield made
    await made.close()


def _raise(error: BaseException) -> None:
    raise error


async def _swaps(coordinator: Coordinator, count: int) -> list[Swap]:
    swaps = []
    for number in range(count):
        path = keys.RangePath("acme", f"t{number}", 0)
        await coordinator.put(path.path, values.encode(VALUE))
        before = await placements.read(coordinator, path)
        assert before is not None
        swaps.append(Swap(before=before, value=msgspec.structs.replace(VALUE, epoch=2)))
    return swaps


async def _epochs(coordinator: Coordinator, swaps: list[Swap]) -> list[int]:
    read = [await placements.read(coordinator, each.before.path) for each in swaps]
    return [each.value.epoch for each in read if each is not None]


async def test_packs_are_full(coordinator: EmbeddedCoordinator) -> None:
    """As many as fit go together, and each has the revision that it was written with."""
    counting = _Counting(coordinator)
    swaps = await _swaps(coordinator, SWAPS_PACKED_MAX + 2)
    swapped = await swap_all(counting, swaps)
    assert counting.sizes == [SWAPS_PACKED_MAX, 2]
    for swap, each in zip(swaps, swapped, strict=True):
        assert each == await placements.read(coordinator, swap.before.path)


async def test_one_that_changed_holds_up_no_other(coordinator: EmbeddedCoordinator) -> None:
    """The captured revision counts (B5): the others are changed, this one stays as it is."""
    swaps = await _swaps(coordinator, 3)
    theirs = msgspec.structs.replace(VALUE, epoch=9)
    await coordinator.put(swaps[1].before.path.path, values.encode(theirs))
    swapped = await swap_all(coordinator, swaps)
    assert [isinstance(each, Placed) for each in swapped] == [True, False, True]
    assert isinstance(swapped[1], Overtaken)
    assert swapped[1].now is not None
    assert swapped[1].now.value == theirs
    assert await _epochs(coordinator, swaps) == [2, 9, 2]


@pytest.mark.parametrize("outcome", ["unknown", "done, unknown"])
async def test_a_pack_of_unknown_outcome(coordinator: EmbeddedCoordinator, outcome: str) -> None:
    """Done or not, it is found out, and nothing is changed twice (B6)."""
    swaps = await _swaps(coordinator, 3)
    swapped = await swap_all(_Counting(coordinator, outcome), swaps)
    assert all(isinstance(each, Placed) for each in swapped)
    assert [each.revision for each in swapped if isinstance(each, Placed)] == [
        placed.revision
        for swap in swaps
        if (placed := await placements.read(coordinator, swap.before.path))
    ]
    assert await _epochs(coordinator, swaps) == [2, 2, 2]


async def test_a_coordinator_that_is_away(coordinator: EmbeddedCoordinator) -> None:
    """Nothing is changed, and each range is told why."""
    swaps = await _swaps(coordinator, 3)
    swapped = await swap_all(_Counting(coordinator, "away"), swaps)
    assert all(isinstance(each, CoordinatorUnavailable) for each in swapped)
    assert await _epochs(coordinator, swaps) == [1, 1, 1]


async def test_none(coordinator: EmbeddedCoordinator) -> None:
    """Nothing to change asks nobody."""
    counting = _Counting(coordinator)
    assert await swap_all(counting, []) == []
    assert counting.sizes == []


@pytest.mark.parametrize("then", ["full", "away"])
@pytest.mark.parametrize("first", ["unknown", "done, unknown"])
async def test_what_may_be_done_is_never_said_not_to_be(
    coordinator: EmbeddedCoordinator, first: str, then: str
) -> None:
    """However the next tries fail: who believes it counts fewer replicas than there are (B6)."""
    [swap] = await _swaps(coordinator, 1)
    swapped = await placements.swap(
        _Counting(coordinator, first, then, then), swap.before, swap.value, pause=_no_pause
    )
    assert swapped == await placements.read(coordinator, swap.before.path)
    assert swapped.value.epoch == 2


async def test_what_was_never_on_its_way_is_not_done(coordinator: EmbeddedCoordinator) -> None:
    """A first try that is refused for want of room has changed nothing, and says so."""
    [swap] = await _swaps(coordinator, 1)
    with pytest.raises(CoordinatorFull):
        await placements.swap(
            _Counting(coordinator, "full"), swap.before, swap.value, pause=_no_pause
        )
    assert await _epochs(coordinator, [swap]) == [1]


async def test_a_range_of_a_table_made_anew_is_no_newer_value(
    coordinator: EmbeddedCoordinator,
) -> None:
    """It stands where the deleted one stood; whoever asked about that one hears that it is gone."""
    [swap] = await _swaps(coordinator, 1)
    other = placement(replica(1), range_number=501)
    await coordinator.put(swap.before.path.path, values.encode(other))
    with pytest.raises(Overtaken) as raised:
        await placements.swap(coordinator, swap.before, swap.value, pause=_no_pause)
    assert raised.value.now is None


async def _no_pause(_duration_ms: float) -> None:
    return None


async def test_swaps_of_many_callers_are_packed(coordinator: EmbeddedCoordinator) -> None:
    """While one is under way the next ones gather; each caller hears of its own alone."""
    counting, tasks = _Counting(coordinator), Tasks(_raise)
    packed = PackedSwaps(counting, tasks)
    swaps = await _swaps(coordinator, 12)
    theirs = msgspec.structs.replace(VALUE, epoch=9)
    await coordinator.put(swaps[5].before.path.path, values.encode(theirs))
    done = await asyncio.gather(
        *(packed.swap(each.before, each.value) for each in swaps), return_exceptions=True
    )
    assert [isinstance(each, Placed) for each in done] == [at != 5 for at in range(12)]
    assert isinstance(done[5], Overtaken)
    assert await _epochs(coordinator, swaps) == [2] * 5 + [9] + [2] * 6
    assert counting.sizes[0] == 12
    await tasks.close()


async def test_a_pack_that_may_be_on_its_way_is_not_given_up(
    coordinator: EmbeddedCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator that goes away behind an unknown outcome says nothing about it (B6)."""
    monkeypatch.setattr(packed_swaps, "REPLICA_BACKOFF_MS_MAX", 1)
    swaps = await _swaps(coordinator, 2)
    swapped = await swap_all(_Counting(coordinator, "done, unknown", "away", "away"), swaps)
    assert all(isinstance(each, Placed) for each in swapped)
    assert await _epochs(coordinator, swaps) == [2, 2]
