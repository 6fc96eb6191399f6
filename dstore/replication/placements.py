"""A range's value in the coordinator: read it, and change it only as it was when one decided (B5).

Invariant: a swap compares the revision that was captured before its sender acted on it. What
happened since is never read first and then overwritten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from dstore.base.limits import (
    RANGE_REPLICAS_MAX,
    REPLICA_BACKOFF_MS_MAX,
    REPLICA_BACKOFF_MS_MIN,
)
from dstore.model.errors import DStoreError
from dstore.topology import values
from dstore.topology.coordinator import (
    NO_REVISION,
    CoordinatorError,
    Found,
    Get,
    ModRevisionIs,
    OutcomeUnknown,
    Put,
    Transaction,
)
from dstore.topology.values import ReplicaState

if TYPE_CHECKING:
    from dstore.topology.coordinator import Coordinator, Revision
    from dstore.topology.keyspace import RangePath
    from dstore.topology.values import RangePlacement, Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A range's value as it stood at a revision."""

    path: RangePath
    value: RangePlacement
    revision: Revision

    def is_newer(self, other: Placed) -> bool:
        """Tell whether it came later; a coordinator that lost all raises epochs, not revisions."""
        return (self.value.epoch, self.revision) > (other.value.epoch, other.revision)


Swapper = Callable[[Placed, "RangePlacement"], Awaitable[Placed]]
"""Changes a range's value as `swap` does, with its errors."""


class Overtaken(DStoreError):
    """Somebody else has changed the range first; `now` is what it is, None: it is gone."""

    def __init__(self, now: Placed | None) -> None:
        """Keep what the range is now."""
        super().__init__("Another change of the range came first.")
        self.now = now


async def read(coordinator: Coordinator, path: RangePath) -> Placed | None:
    """Read a range's value as it is now. Raises: Malformed, and what a read raises."""
    found = await coordinator.get(path.path)
    return _placed(path, found)


async def swap(
    coordinator: Coordinator,
    before: Placed,
    value: RangePlacement,
    *,
    pause: Callable[[int], Awaitable[None]],
) -> Placed:
    """Change a range's value if it is still the one captured, however long it takes to know (B6).

    A change of unknown outcome is asked for again, as it was: whichever of the two comes first
    makes the other one fail, and what then stands there tells. Until that is known this does not
    return, and its caller assumes the larger in-sync set. A caller that is cancelled knows nothing.

    Args:
        coordinator: has the value.
        before: what the caller decided on.
        value: what it is to become.
        pause: waits for so many milliseconds.

    Raises:
        Overtaken: it is another one by now, and not this one; or another range is in its place.
        CoordinatorUnavailable, CoordinatorFull, CoordinatorRefused, RolledBack: it surely is not
            changed.
    """
    return (await _swap(coordinator, before, [(before.path, value)], pause=pause))[0]


async def swap_for_two(
    coordinator: Coordinator,
    before: Placed,
    children: Sequence[tuple[RangePath, RangePlacement]],
    *,
    pause: Callable[[int], Awaitable[None]],
) -> list[Placed]:
    """Put two ranges in the place of one, in one transaction, as `swap`.

    Args:
        coordinator: has the value.
        before: the range as the caller decided on it.
        children: the lower one, at the path of `before`, and the upper one, where nothing is.
        pause: waits for so many milliseconds.
    Returns: both, as they are then.
    Raises: as `swap`.
    """
    (low_path, low), (high_path, high) = children
    assert low_path == before.path, low_path
    assert (low.high_hash + 1, high.high_hash) == (high_path.low_hash, before.value.high_hash)
    return await _swap(coordinator, before, children, pause=pause)


async def _swap(
    coordinator: Coordinator,
    before: Placed,
    changed: Sequence[tuple[RangePath, RangePlacement]],
    *,
    pause: Callable[[int], Awaitable[None]],
) -> list[Placed]:
    """Write the first value over `before`, and the others where nothing is."""
    encoded = [values.encode(value) for _, value in changed]
    key = before.path.path
    transaction = Transaction(
        compares=(
            ModRevisionIs(key=key, revision=before.revision),
            *(ModRevisionIs(key=path.path, revision=NO_REVISION) for path, _ in changed[1:]),
        ),
        then=tuple(
            Put(key=path.path, value=value)
            for (path, _), value in zip(changed, encoded, strict=True)
        ),
        otherwise=(Get(key=key),),
    )
    is_open = False  # one with an unknown outcome may be on its way
    backoff_ms = REPLICA_BACKOFF_MS_MIN
    while True:
        try:
            result = await coordinator.commit(transaction)
        except OutcomeUnknown:
            is_open = True
        except CoordinatorError:  # of this try; it says nothing of one that may be on its way
            if not is_open:
                raise
        else:
            revision = result.revision
            if not result.succeeded:
                found = result.responses[0]
                assert isinstance(found, Found)
                if not is_open or found.kv is None or found.kv.value != encoded[0]:
                    raise Overtaken(_same_range(before, _placed(before.path, found)))
                revision = found.kv.mod_revision
            return [Placed(path=path, value=value, revision=revision) for path, value in changed]
        await pause(backoff_ms)
        backoff_ms = min(2 * backoff_ms, REPLICA_BACKOFF_MS_MAX)


def with_primary(value: RangePlacement, node: str) -> RangePlacement:
    """Make an in-sync replica the primary, in the next epoch. Raises: ValueError: it is none."""
    heir = next((each for each in value.in_sync if each.node == node), None)
    if heir is None:
        raise ValueError(f"{node} is no in-sync replica of the range.")
    return msgspec.structs.replace(value, epoch=value.epoch + 1, node=node, uri=heir.uri)


def with_learner(value: RangePlacement, replica: Replica) -> RangePlacement:
    """Let a replica learn; it counts when the primary has taken it in (B15).

    A replica on the same node that is on another disk is nothing any more: it becomes this one.

    Returns: the same value if it is a replica already.
    Raises: ValueError: there are too many; or the node's other disk is the primary's, or can't go
        without leaving fewer in sync than a write needs.
    """
    others = tuple(each for each in value.replicas if each.node != replica.node)
    former = next((each for each in value.replicas if each.node == replica.node), None)
    if former is not None and former.incarnation == replica.incarnation:
        return value
    if former is not None:
        value = without(value, former.node)
    if len(others) == RANGE_REPLICAS_MAX:
        raise ValueError(f"A range has {RANGE_REPLICAS_MAX} replicas at most.")
    learner = msgspec.structs.replace(replica, state=ReplicaState.LEARNER)
    return msgspec.structs.replace(value, replicas=(*others, learner))


def without(value: RangePlacement, node: str) -> RangePlacement:
    """Take a replica away; what is acknowledged stays held by as many as a write needs.

    Returns: the same value if the node has none.
    Raises: ValueError: it is the primary, which is to be handed over first; or too few would be
        left in sync.
    """
    left = tuple(each for each in value.replicas if each.node != node)
    if len(left) == len(value.replicas):
        return value
    if node == value.node:
        raise ValueError("The primary's replica can't be taken away; hand the range over first.")
    smaller = msgspec.structs.replace(value, replicas=left)
    if len(smaller.in_sync) < min(value.min_in_sync, len(value.in_sync)):
        raise ValueError(f"Fewer than {value.min_in_sync} replicas would be left in sync.")
    return smaller


def with_factor(value: RangePlacement, factor: int) -> RangePlacement:
    """Say how many replicas the range should have, once that many as a write then needs are there.

    So replicas are added, and have become in sync, before the factor rises; and it falls before
    they are taken away (B10: what is acknowledged is held by a majority of what is promised).

    Raises: ValueError: fewer are in sync than a write would need then.
    """
    changed = msgspec.structs.replace(value, factor=factor)
    if len(changed.in_sync) < changed.min_in_sync and factor > value.factor:
        raise ValueError(f"A write would need {changed.min_in_sync} replicas in sync.")
    return changed


def with_state(value: RangePlacement, nodes: set[str], state: ReplicaState) -> RangePlacement:
    """Give the replicas on some nodes another state."""
    replicas = tuple(
        msgspec.structs.replace(each, state=state) if each.node in nodes else each
        for each in value.replicas
    )
    return msgspec.structs.replace(value, replicas=replicas)


def _same_range(before: Placed, now: Placed | None) -> Placed | None:
    """Take a range that has another one in its place, of a table made anew, for gone."""
    return now if now is not None and now.value.range_id == before.value.range_id else None


def _placed(path: RangePath, found: Found) -> Placed | None:
    if found.kv is None:
        return None
    return Placed(
        path=path,
        value=values.decode(path, found.kv.value),
        revision=found.kv.mod_revision,
    )
