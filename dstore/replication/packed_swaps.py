"""Many ranges' values changed at once, each as `placements.swap` changes one.

A pack is one transaction, so one range that somebody else has changed fails all of it; then each is
swapped by itself, which also tells what has become of a pack whose outcome is unknown (B6).

`PackedSwaps` gathers the swaps of many callers: while one pack is under way, the next one gathers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dstore.base.limits import REPLICA_BACKOFF_MS_MAX, SWAPS_PACKED_MAX
from dstore.model.errors import DStoreError
from dstore.replication import placements
from dstore.replication.placements import Overtaken, Placed
from dstore.replication.surroundings import pause_ms
from dstore.topology import values
from dstore.topology.coordinator import (
    CoordinatorError,
    ModRevisionIs,
    OutcomeUnknown,
    Put,
    Transaction,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.base.tasks import Tasks
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.values import RangePlacement


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A change of one range's value: what it is decided on, and what it is to become."""

    before: Placed
    value: RangePlacement


Swapped = Placed | DStoreError
"""What came of one: the new value, or why there is none, as `placements.swap` raises it."""


class PackedSwaps:
    """Swaps for many callers at once, each as if it were alone. Used from one event loop."""

    def __init__(self, coordinator: Coordinator, tasks: Tasks) -> None:
        """Change values of `coordinator`; `tasks` own what is under way."""
        self._coordinator = coordinator
        self._tasks = tasks
        self._waiting: list[tuple[Swap, asyncio.Future[Swapped]]] = []
        self._is_busy = False

    async def swap(self, before: Placed, value: RangePlacement) -> Placed:
        """Change a range's value; a `placements.Swapper`.

        A caller that is cancelled knows nothing. A range is swapped by one caller at a time.
        """
        done: asyncio.Future[Swapped] = asyncio.get_running_loop().create_future()
        self._waiting.append((Swap(before=before, value=value), done))
        if not self._is_busy:
            self._is_busy = True
            self._tasks.spawn(self._work(), name="swap_ranges")
        swapped = await done
        if isinstance(swapped, Placed):
            return swapped
        raise swapped

    async def _work(self) -> None:
        """Swap until nobody waits; each is answered whatever happens."""
        try:
            while self._waiting:
                gathered, self._waiting = self._waiting, []
                try:
                    swapped = await swap_all(self._coordinator, [swap for swap, _ in gathered])
                except BaseException:
                    for _, done in gathered:
                        done.cancel()
                    raise
                for (_, done), each in zip(gathered, swapped, strict=True):
                    if not done.done():
                        done.set_result(each)
        finally:
            self._is_busy = False


async def swap_all(coordinator: Coordinator, swaps: Sequence[Swap]) -> list[Swapped]:
    """Change ranges' values that are still those captured. Returns: what came of each, in order.

    Args:
        coordinator: has the values.
        swaps: of different ranges.
    """
    done: list[Swapped] = []
    for start in range(0, len(swaps), SWAPS_PACKED_MAX):
        done += await _pack(coordinator, swaps[start : start + SWAPS_PACKED_MAX])
    return done


async def _pack(coordinator: Coordinator, swaps: Sequence[Swap]) -> list[Swapped]:
    transaction = Transaction(
        compares=tuple(
            ModRevisionIs(key=each.before.path.path, revision=each.before.revision)
            for each in swaps
        ),
        then=tuple(
            Put(key=each.before.path.path, value=values.encode(each.value)) for each in swaps
        ),
    )
    is_open = False  # it may be done already, or later
    if len(swaps) > 1:
        try:
            result = await coordinator.commit(transaction)
        except OutcomeUnknown:
            is_open = True
        except CoordinatorError as error:
            return [error for _ in swaps]
        else:
            if result.succeeded:
                return [
                    Placed(path=each.before.path, value=each.value, revision=result.revision)
                    for each in swaps
                ]
    return await asyncio.gather(*(_alone(coordinator, each, is_open=is_open) for each in swaps))


async def _alone(coordinator: Coordinator, swap: Swap, *, is_open: bool) -> Swapped:
    while True:
        try:
            return await placements.swap(coordinator, swap.before, swap.value, pause=pause_ms)
        except Overtaken as error:
            if is_open and error.now is not None and error.now.value == swap.value:
                return error.now  # the pack was done
            return error
        except CoordinatorError as error:
            if not is_open:
                return error
        except DStoreError as error:
            return error
        await pause_ms(REPLICA_BACKOFF_MS_MAX)  # the pack may be on its way yet
