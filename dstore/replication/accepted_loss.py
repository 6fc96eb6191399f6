"""What becomes of a range that can't be opened any more, if an operator accepts what is left; pure.

A range goes on by itself as long as so many of its in-sync replicas live as a write needs. Below
that nobody may take the others out of the set (REPLICATION.md, in-sync set): whoever is not heard
may hold what was acknowledged. If they are gone for good, an operator says so, naming each of them
(RELIABILITY.md, B10; ADR 0023). Invariants kept here:
- While a replica that holds every acknowledged write can be asked, nothing else is chosen, even if
  some of what it holds can't be read.
- Who is not heard and not said to be gone is waited for.
- The next epoch is newer than every one that was heard of, so that whoever comes back is refused,
  and learns from what was accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dstore.model.errors import RefusalKind, Refused
from dstore.topology.values import RangeState, ReplicaState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dstore.replication.replica_calls import ReplicaTold
    from dstore.topology.values import RangePlacement, Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a node says of its replica: of which disk it is by now, and where it stands.

    `is_damaged`: something that it holds can't be read, as far as the node has found out.
    """

    incarnation: str
    told: ReplicaTold
    is_damaged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What is left of a range.

    Attributes:
        survivors: the nodes of in-sync replicas that answer, on the disks that count: each holds
            every acknowledged write.
        best: the node of the one that goes furthest, of those that are not damaged if there is such
            a one; None: nothing is left that could serve.
        is_damaged: whether that is damaged, as all are that could take its place.
        missing: the nodes of the other in-sync replicas.
        why_not: why nothing is to be accepted, in a sentence; "" if something is.
    """

    survivors: tuple[str, ...]
    best: str | None
    missing: tuple[str, ...]
    is_damaged: bool = False
    why_not: str = ""

    @property
    def is_lossless(self) -> bool:
        """Whether nothing acknowledged is lost with the missing ones."""
        return bool(self.survivors)


def remains(value: RangePlacement, left: Mapping[str, Left]) -> Remains:
    """Say what is left of a range, by what its replicas answer.

    Args:
        value: the range's, captured before they were asked.
        left: who has answered, by node; of all replicas, those that do not count too.
    """
    survivors = tuple(each.node for each in value.in_sync if _holds_all(each, left))
    able = survivors or tuple(each.node for each in value.replicas if _can_serve(each, left))
    best = max(able, key=lambda node: (*_worth(left[node]), node), default=None)
    missing = tuple(each.node for each in value.in_sync if each.node not in survivors)
    return Remains(
        survivors=survivors,
        best=best,
        missing=missing,
        is_damaged=best is not None and left[best].is_damaged,
        why_not=_why_not(value, left, survivors=survivors, best=best),
    )


def accepted(
    value: RangePlacement,
    left: Mapping[str, Left],
    *,
    gone: Collection[str],
    awaited: Collection[str],
) -> RangePlacement:
    """Say what a range becomes if its missing replicas are given up: the best of what is left.

    Its disk alone counts from then on; the others learn from it, whoever comes back among them. A
    range of which a survivor is left has lost nothing; any other says POSSIBLE_LOSS.

    Args:
        value: the range's, captured before anybody was asked.
        left: as `remains` takes it.
        gone: the nodes that an operator says are gone for good.
        awaited: nodes that live, so that they may serve though they were not heard.
    Raises: Refused(CONFLICT): nothing is to be accepted, or somebody is missing who was not named.
    """
    found = remains(value, left)
    if found.why_not:
        raise Refused(RefusalKind.CONFLICT, f"{found.why_not} Nothing was changed.")
    assert found.best is not None
    if wrong := sorted(set(gone) & set(found.survivors)):
        raise Refused(
            RefusalKind.CONFLICT,
            f"Node {wrong[0]} is not gone: it answers, and holds every acknowledged write. Nothing "
            "was changed.",
        )
    if unsaid := [each for each in found.missing if each not in gone]:
        raise Refused(
            RefusalKind.CONFLICT,
            f"Node {unsaid[0]} may come back with all that was acknowledged, as far as anybody "
            "has said; bring it back, or say that it is gone for good. Nothing was changed.",
        )
    if living := [each for each in found.missing if each in awaited]:
        raise Refused(
            RefusalKind.CONFLICT,
            f"Node {living[0]} is alive, and has not said where its replica stands; ask again, or "
            "stop it if what it holds is of no use. Nothing was changed.",
        )
    promised = [each.told.standing.promised_epoch for each in left.values()]
    replicas = tuple(
        _accepted(each, left.get(each.node), counts=each.node in {found.best, *found.survivors})
        for each in value.replicas
    )
    return replace(
        value,
        epoch=max(value.epoch, *promised) + 1,
        node=found.best,
        uri=next(each.uri for each in replicas if each.node == found.best),
        replicas=replicas,
        state=value.state if found.is_lossless else RangeState.POSSIBLE_LOSS,
    )


def is_accepted(value: RangePlacement, *, epoch: int, gone: Collection[str]) -> bool:
    """Tell whether those who are gone were given up, in an epoch or before a later one."""
    return value.epoch >= epoch and not any(each.node in gone for each in value.in_sync)


def _why_not(
    value: RangePlacement, left: Mapping[str, Left], *, survivors: Collection[str], best: str | None
) -> str:
    if not value.is_settled:
        return (
            "Since the topology was recovered nobody knows who is in sync: bring the range's nodes "
            "back."
        )
    if serving := next((node for node, each in left.items() if each.told.is_serving), None):
        return f"Node {serving} serves the range."
    if len(survivors) >= value.min_in_sync:
        return "Enough replicas hold every acknowledged write: the range goes on by itself."
    if best is None:
        return (
            "No node that answers has a whole replica of the range: nothing is left that could "
            "serve."
        )
    return ""


def _holds_all(replica: Replica, left: Mapping[str, Left]) -> bool:
    """Tell whether an in-sync replica answers, on its disk, and is whole."""
    found = left.get(replica.node)
    if found is None or found.incarnation != replica.incarnation:
        return False
    return found.told.standing.is_whole


def _can_serve(replica: Replica, left: Mapping[str, Left]) -> bool:
    """Tell whether a replica could be opened; an empty file never was one of this range's."""
    found = left.get(replica.node)
    return found is not None and found.told.standing.is_whole and found.told.standing.end.seq > 0


def _worth(left: Left) -> tuple[bool, int, int]:
    """Rank what is left: first what can be read whole, then what goes furthest."""
    return not left.is_damaged, left.told.standing.epoch, left.told.standing.end.seq


def _accepted(replica: Replica, left: Left | None, *, counts: bool) -> Replica:
    return replace(
        replica,
        incarnation=replica.incarnation if left is None else left.incarnation,
        state=ReplicaState.IN_SYNC if counts else ReplicaState.LEARNER,
    )
