"""What a range's value is by what nodes remember of it, when the coordinator has lost it; pure.

A primary notes a value durably before it opens the range in it, and before it acknowledges anything
with a smaller set (`service.cluster.placement_notes`). So of two values of which one followed the
other, whoever led under the former knows of the latter, or nothing was acknowledged under it. If
every node that was in sync by the newest value heard of has been heard, that value is the last
one. If not, a newer one may be remembered where nobody has answered, and the range is not settled.

The last value of a range may have been its split, of which control's store knows nothing yet. A
node notes that durably as it begins with a child. So nothing was acknowledged by children of which
nobody knows who was in sync by the range's last value (ADR 0018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dstore.replication.placements import Placed
from dstore.replication.splitting import children_of
from dstore.replication.whereabouts import Whereabouts, corrected
from dstore.topology.coordinator import NO_REVISION
from dstore.topology.values import UNSETTLED, RangeState, ReplicaState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.replication.split_calls import Split
    from dstore.topology.keyspace import RangePath
    from dstore.topology.values import RangePlacement


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """What a node remembers of a range.

    Attributes:
        incarnation: of the disk that it has now.
        placement: the newest value that it has noted; None: it never had one.
        revision: of the coordinator, with which that was written.
        promised_epoch: the highest that its replica has promised a primary; 0: it holds none.
        cut: how the range was split; None: as far as it knows it was not.
    """

    incarnation: str
    placement: RangePlacement | None = None
    revision: int = 0
    promised_epoch: int = 0
    cut: Split | None = None


def cut_of(told: Mapping[str, Recollection]) -> Split | None:
    """Say how a range was split; None: nobody heard knows that it was."""
    return next((each.cut for each in told.values() if each.cut is not None), None)


def cut_in_two(
    path: RangePath, created: RangePlacement, told: Mapping[str, Recollection], *, split: Split
) -> Sequence[tuple[RangePath, RangePlacement]]:
    """Make the values that the children of a range had first, for `recollected` of each of them.

    Args:
        path: where the range is shown; the lower child has it now.
        created: as the store still has the range.
        told: what nodes remember of it.
        split: how it was split.
    """
    newest = _newest(created, told) or created
    last = replace(newest, epoch=max(created.epoch, newest.epoch + 1), status=created.status)
    return children_of(Placed(path=path, value=last, revision=NO_REVISION), split)


def recollected(created: RangePlacement, told: Mapping[str, Recollection]) -> RangePlacement:
    """Say what a range's value is to be in a coordinator that knows nothing of it.

    It is in an epoch that is newer than every one that was noted or promised, and than the store's.

    Args:
        created: as the store has the range, for which it was made: where its replicas are meant to
            be, in the epoch that the recovery has raised.
        told: what nodes remember, by their ids; who has not answered is missing.

    Returns: a value that is settled only if nobody can know better.
    """
    newest = _newest(created, told)
    promised_epoch = max((each.promised_epoch for each in told.values()), default=0)
    if newest is None:
        # It never had several replicas; but who has not answered may know better.
        is_settled = all(each.node in told for each in created.replicas)
        value = replace(created, epoch=max(created.epoch, promised_epoch + 1))
        return _placed(_as_held(value, told), told) if is_settled else _unsettled(value)
    epoch = max(created.epoch, newest.epoch + 1)
    value = replace(newest, epoch=max(epoch, promised_epoch + 1), status=created.status)
    is_heard = all(each.node in told for each in newest.in_sync)
    # Somebody has begun to open it in an epoch of which nobody heard knows more.
    is_hidden = len(newest.replicas) > 1 and any(
        each.promised_epoch > newest.epoch for each in told.values()
    )
    return _placed(value, told) if is_heard and not is_hidden else _unsettled(value)


def _newest(created: RangePlacement, told: Mapping[str, Recollection]) -> RangePlacement | None:
    """Find the newest value of a range that was noted; None: none was."""
    known = [
        (each.placement, each.revision)
        for each in told.values()
        if each.placement is not None and each.placement.range_id == created.range_id
    ]
    if not known:
        return None
    return max(known, key=lambda each: (each[0].epoch, each[1]))[0]


def _as_held(value: RangePlacement, told: Mapping[str, Recollection]) -> RangePlacement:
    """Count only who has held the range before, if anybody has, of those that are to hold it.

    A node that has never promised a primary anything has nothing of its log: it was about to get a
    replica, beside the only one.
    """
    held = {
        each.node: told[each.node].promised_epoch
        for each in value.replicas
        if told[each.node].promised_epoch > 0
    }
    if not held:
        return value  # nobody has opened it yet
    node = value.node if value.node in held else max(held, key=lambda each: (held[each], each))
    replicas = tuple(
        each if each.node in held else replace(each, state=ReplicaState.LEARNER)
        for each in value.replicas
    )
    uri = next(each.uri for each in replicas if each.node == node)
    return replace(value, node=node, uri=uri, replicas=replicas)


def _placed(value: RangePlacement, told: Mapping[str, Recollection]) -> RangePlacement:
    """Name the disks that nodes have now.

    A node that starts while the coordinator is empty takes its disk for another one, and so may all
    of them. Whoever is on the same disk as before makes learners of the others; if nobody is, what
    they remember is what there is, and the longest of their logs counts.
    """
    disks = {node: each.incarnation for node, each in told.items()}
    if any(disks[each.node] == each.incarnation for each in value.in_sync):
        return corrected(
            value, {node: Whereabouts(incarnation=disk) for node, disk in disks.items()}
        )
    replicas = tuple(
        replace(each, incarnation=disks.get(each.node, each.incarnation)) for each in value.replicas
    )
    return replace(value, replicas=replicas, state=_state(value, told))


def _state(value: RangePlacement, told: Mapping[str, Recollection]) -> RangeState:
    """Say whether one of those who counted remembers less than another: its disk is an old one."""
    noted = {
        None if known is None else (known.epoch, told[each.node].revision)
        for each in value.in_sync
        for known in (told[each.node].placement,)
    }
    return value.state if len(noted) == 1 else RangeState.POSSIBLE_LOSS


def _unsettled(value: RangePlacement) -> RangePlacement:
    replicas = tuple(replace(each, incarnation=UNSETTLED) for each in value.replicas)
    return replace(value, replicas=replicas)
