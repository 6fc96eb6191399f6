"""Giving a range whose primary is dead to another replica: control's part of a failover.

Control only chooses. The new primary opens the range as any other (`opening`), so that a wrong
choice, or two controls that both believe they lead, cost time and no data.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import REPLICA_CALL_TIMEOUT_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.replication import placements
from dstore.replication.replica_calls import AskReplica, ReplicaTold
from dstore.replication.surroundings import pause_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.replication.peers.port import Peer
    from dstore.replication.placements import Placed
    from dstore.topology.coordinator import Coordinator
    from dstore.topology.values import Replica

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
    heard = [
        (each.standing, replica)
        for each, replica in zip(told, value.in_sync, strict=True)
        if each is not None and each.standing.is_whole and replica.node != value.node
    ]
    if not heard or any(each is not None and each.is_serving for each in told):
        return None
    _, best = max(heard, key=lambda each: (each[0].epoch, each[0].end.seq))
    _log.warning("failed_over", range=value.range_id, of=value.node, to=best.node)
    return await placements.swap(
        coordinator,
        placed,
        msgspec.structs.replace(value, epoch=value.epoch + 1, node=best.node, uri=best.uri),
        pause=pause_ms,
    )


async def _ask(
    placed: Placed, replica: Replica, peer_of: Callable[[str], Peer]
) -> ReplicaTold | None:
    request = AskReplica(range_id=placed.value.range_id, incarnation=replica.incarnation)
    try:
        return await peer_of(replica.node).call(request, deadline_s=REPLICA_CALL_TIMEOUT_S)
    except DStoreError as error:
        _log.info("replica_not_heard", node=replica.node, reason=error.message)
        return None
