"""Giving a range whose primary is dead to another replica: control's part of a failover.

Control only chooses. The new primary opens the range as any other (`opening`), so that a wrong
choice, or two controls that both believe they lead, cost time and no data: a swap changes only the
value that was captured before anybody was asked (B5).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import FAILOVER_ASK_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.replication import placements
from dstore.replication.replica_calls import AskReplica, ReplicaTold
from dstore.replication.surroundings import pause_ms
from dstore.topology.values import ReplicaState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.values import RangePlacement, Replica

_log: Final = get_logger(__name__)


async def fail_over(
    placed: Placed, coordinator: Coordinator, *, peer_of: Callable[[str], Peer]
) -> Placed | None:
    """Name the reachable in-sync replica with the highest position primary, in the next epoch.

    Args:
        placed: the range's value, as it was when its primary was found dead.
        coordinator: has the value.
        peer_of: finds a node. Raises: Unreachable.

    Returns: the range's new value; None if no other in-sync replica can be reached, or if the
        primary serves after all: the end of its etcd lease alone harms nothing (B14).
    Raises: Overtaken: somebody else has changed the range. CoordinatorError: it is unchanged.
    """
    value = placed.value
    told = await asyncio.gather(*(_ask(placed, each, peer_of) for each in value.in_sync))
    heard = {
        replica.node: each
        for each, replica in zip(told, value.in_sync, strict=True)
        if each is not None
    }
    chosen = succeeded(value, heard)
    if chosen is None:
        return None
    note(value, chosen)
    return await placements.swap(coordinator, placed, chosen, pause=pause_ms)


def succeeded(value: RangePlacement, heard: Mapping[str, ReplicaTold]) -> RangePlacement | None:
    """Say what a range becomes whose primary is dead, by what its in-sync replicas say.

    Who is not heard leaves the set, if that keeps `min_in_sync`: the others hold every
    acknowledged write, and the opening need not wait for it. It is the set as it was captured that
    says so, not what anybody has told.

    Args:
        value: the range's, captured before they were asked.
        heard: what each in-sync replica said that has answered, by its node.

    Returns: None if the primary serves after all, or no other in-sync replica has answered.
    """
    if any(each.is_serving for each in heard.values()):
        return None
    able = [
        (heard[each.node].standing, each)
        for each in value.in_sync
        if each.node != value.node and each.node in heard and heard[each.node].standing.is_whole
    ]
    if not able:
        return None
    _, best = max(able, key=lambda each: (each[0].epoch, each[0].end.seq))
    silent = {each.node for each in value.in_sync if each.node not in heard}
    smaller = placements.with_state(value, silent, ReplicaState.LEARNER)
    if len(smaller.in_sync) >= value.min_in_sync:
        value = smaller
    return msgspec.structs.replace(value, epoch=value.epoch + 1, node=best.node, uri=best.uri)


def note(before: RangePlacement, after: RangePlacement) -> None:
    """Log that a range is given to another primary."""
    _log.warning("failed_over", range=before.range_id, of=before.node, to=after.node)


async def _ask(
    placed: Placed, replica: Replica, peer_of: Callable[[str], Peer]
) -> ReplicaTold | None:
    request = AskReplica(range_id=placed.value.range_id, incarnation=replica.incarnation)
    try:
        return await peer_of(replica.node).call(request, deadline_s=FAILOVER_ASK_S)
    except DStoreError as error:
        _log.info("replica_not_heard", node=replica.node, reason=error.message)
        return None
