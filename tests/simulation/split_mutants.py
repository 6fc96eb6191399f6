"""Broken variants of splits: every sentence of ADR 0018 whose absence loses data or reads old."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dstore.replication import cuts, members, placements, splitting
from dstore.replication.placements import Placed
from dstore.replication.seeds import Sower
from dstore.service.control import recollecting
from dstore.storage import sowing
from dstore.topology.coordinator import NO_REVISION, CoordinatorUnavailable, OutcomeUnknown
from dstore.topology.values import ReplicaState
from tests.simulation.mutants import Mutant
from tests.simulation.split_recovered import RECOVERED
from tests.simulation.splitting import SPLIT

if TYPE_CHECKING:
    from dstore.storage.log_records import LogPoint
    from tests.simulation.mutants import Patches


def _ripens_for_others() -> Patches:
    """Take it for granted that the other replicas' seeds are ripe where one's own are."""

    async def ripen_all(placed: Placed, point: LogPoint, *, own: Sower, **_: Any) -> bool:
        del placed
        return await own.ripen(point)

    return ((cuts, "ripen_all", ripen_all),)


def _ripens_anywhere() -> Patches:
    """Make a seed ripe where it is level, wherever the primary says that the log ends."""

    async def ripen(self: Sower, point: LogPoint) -> bool:
        if self._ripe_at == point:
            return True
        if self.level_seq is None:
            return False
        self._ripe_at, self._is_any_ripe = point, True
        for range_id in self._spans:
            work = partial(sowing.ripen, range_id=range_id, epoch=self.epoch, point=point)
            await self._change(range_id, work)
        return True

    return ((Sower, "ripen", ripen),)


def _ripens_before_it_is_durable() -> Patches:
    """Answer that seeds are ripe, and write it down some time later."""

    async def ripen(self: Sower, point: LogPoint) -> bool:
        turns = [await self._take_turn(range_id) for range_id in self._spans]
        return all(turn is not None and turn.place.point == point for turn in turns)

    return ((Sower, "ripen", ripen),)


def _sows_rows_only() -> Patches:
    """Copy rows, and nothing of what was written meanwhile."""
    return ((sowing, "_is_copied", lambda *_: False),)


def _takes_an_unknown_cut_for_failed() -> Patches:
    """Go on serving the parent when nobody knows whether there are children (B6)."""

    async def swap_for_two(coordinator: Any, *args: Any, **kwargs: Any) -> Any:
        hasty: Any = _Hasty(coordinator)
        return await original(hasty, *args, **kwargs)

    original = placements.swap_for_two
    return ((placements, "swap_for_two", swap_for_two),)


class _Hasty:
    """Takes what is unknown for what has not happened."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator

    async def commit(self, transaction: Any) -> Any:
        try:
            return await self._coordinator.commit(transaction)
        except OutcomeUnknown:
            raise CoordinatorUnavailable("Nobody knows.") from None


def _cuts_in_two_steps() -> Patches:
    """Write one child after the other (I8)."""

    async def swap_for_two(coordinator: Any, before: Placed, children: Any, *, pause: Any) -> Any:
        low, high = children
        first = await placements._swap(coordinator, before, [low], pause=pause)
        there = Placed(path=high[0], value=high[1], revision=NO_REVISION)
        return [*first, *await placements._swap(coordinator, there, [high], pause=pause)]

    return ((placements, "swap_for_two", swap_for_two),)


def _counts_who_learns() -> Patches:
    """Count all the parent's replicas as the children's, be they in sync or not."""

    def children_of(before: Placed, split: Any) -> Any:
        every = [(path, _all_of(before, value)) for path, value in original(before, split)]
        return tuple(every)

    original = splitting.children_of
    return ((members, "children_of", children_of),)


def _all_of(before: Placed, value: Any) -> Any:
    replicas = tuple(
        msgspec.structs.replace(each, state=ReplicaState.IN_SYNC) for each in before.value.replicas
    )
    return msgspec.structs.replace(value, replicas=replicas)


def _recovers_the_parent() -> Patches:
    """Publish the range that control's store has, whatever nodes say of its children."""
    return ((recollecting, "cut_of", lambda _told: None),)


SPLIT_MUTANTS: Final = tuple(
    Mutant(name=patches.__name__.strip("_"), patches=patches, scenario=scenario, seed=seed)
    for patches, scenario, seed in (
        (_ripens_for_others, SPLIT, 1),
        (_ripens_anywhere, SPLIT, 3),
        (_ripens_before_it_is_durable, SPLIT, 0),
        (_sows_rows_only, SPLIT, 0),
        (_takes_an_unknown_cut_for_failed, SPLIT, 2),
        (_cuts_in_two_steps, SPLIT, 0),
        (_counts_who_learns, SPLIT, 4),
        (_recovers_the_parent, RECOVERED, 12),
    )
)
