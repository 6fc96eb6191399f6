"""Telling the next primary of a range that the one before it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.limits import REPLICA_CALL_TIMEOUT_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.replication.placements import Placed
from dstore.replication.replica_calls import TakeOver
from dstore.topology import values
from dstore.topology.coordinator import Revision

if TYPE_CHECKING:
    from dstore.replication.surroundings import Surroundings

_log: Final = get_logger(__name__)


async def pass_on(placed: Placed, around: Surroundings, *, epoch: int) -> None:
    """Tell the primary of `placed` that this node's, of `epoch`, has ended; else its watch does."""
    heir = next(each for each in placed.value.replicas if each.node == placed.value.node)
    request = TakeOver(
        range_id=placed.value.range_id,
        epoch=epoch,
        primary=around.node,
        incarnation=heir.incarnation,
        value=values.encode(placed.value),
        revision=placed.revision,
    )
    try:
        await around.peer_of(heir.node).call(request, deadline_s=REPLICA_CALL_TIMEOUT_S)
    except DStoreError as error:
        _log.info("heir_not_told", node=heir.node, reason=error.message)


def passed_on(request: TakeOver, before: Placed) -> Placed:
    """Read what an heir is told. Raises: Malformed."""
    return Placed(
        path=before.path,
        value=values.decode(before.path, request.value),
        revision=Revision(request.revision),
    )
