"""What becomes of a range's value when its nodes are somewhere else, or have other disks; pure.

A replica is (node, disk incarnation): REPLICATION.md, identity. Of a node that comes back with
another disk nothing is known, so what it held is not counted on any more, and it learns anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from dstore.topology.values import NO_INCARNATION, RangeState, ReplicaState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.topology.values import RangePlacement, Replica


class Whereabouts(NamedTuple):
    """Where a node is and which disk it has, as it says; None: it has not said."""

    uri: str | None = None
    incarnation: str | None = None


NOWHERE = Whereabouts()


def has_other_disk(replica: Replica, where: Whereabouts) -> bool:
    """Tell whether a node has another disk than the one that a replica was on."""
    known = where.incarnation
    return known not in {None, replica.incarnation} and replica.incarnation != NO_INCARNATION


def primary_of(value: RangePlacement) -> Replica:
    """Find the primary among the replicas."""
    return next(each for each in value.replicas if each.node == value.node)


def corrected(value: RangePlacement, nodes: Mapping[str, Whereabouts]) -> RangePlacement:
    """Say what a range's value is to be, by where its nodes are and which disks they have.

    - Addresses are the nodes' own; a disk that nobody knew is the one that the node has.
    - A replica on another disk than before becomes a learner on the new one, however many that
      leaves in sync: who is gone acknowledges nothing, whatever the set says.
    - A primary on another disk stays as it is: a failover finds the next one among the others.
    - If every in-sync replica has another disk, what they held may be lost, and that is an
      operator's to decide (B10): a learner may have more of it than an empty disk, and would have
      to forget it. A range that had one replica at all goes on with what its disk has now, in an
      epoch that no disk has seen, and says POSSIBLE_LOSS.
    - A range that is not settled has no disks to be compared.

    Returns: the same object if nothing is to change.
    """
    if not value.is_settled:
        return value
    others = {
        each.node for each in value.replicas if has_other_disk(each, nodes.get(each.node, NOWHERE))
    }
    survivors = [each for each in value.in_sync if each.node not in others]
    if survivors or value.node not in others:
        movable = others - {value.node}
    elif len(value.replicas) == 1:
        value = replace(value, epoch=value.epoch + 1, state=RangeState.POSSIBLE_LOSS)
        movable = others
    else:
        movable = others - {each.node for each in value.in_sync}
    replicas = tuple(
        _corrected(
            each,
            nodes.get(each.node, NOWHERE),
            is_moved=each.node in movable,
            is_primary=each.node == value.node,
        )
        for each in value.replicas
    )
    if replicas == value.replicas:
        return value
    uri = next(each.uri for each in replicas if each.node == value.node)
    return replace(value, uri=uri, replicas=replicas)


def _corrected(
    replica: Replica, where: Whereabouts, *, is_moved: bool, is_primary: bool
) -> Replica:
    uri, incarnation, state = where.uri or replica.uri, replica.incarnation, replica.state
    if where.incarnation is not None:
        if incarnation == NO_INCARNATION or is_moved:
            incarnation = where.incarnation
        if is_moved and not is_primary:
            state = ReplicaState.LEARNER
    if (uri, incarnation, state) == (replica.uri, replica.incarnation, replica.state):
        return replica
    return replace(replica, uri=uri, incarnation=incarnation, state=state)
