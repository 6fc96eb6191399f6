"""Telling the next primary of a range that the one before it has ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.limits import REPLICA_CALL_TIMEOUT_S, REPLICA_TAKEN_OVER_S
from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.replication.placements import Placed
from dstore.replication.replica_calls import TakeOver
from dstore.topology import values
from dstore.topology.coordinator import Revision

if TYPE_CHECKING:
    from dstore.replication.primary import Primary
    from dstore.replication.surroundings import Surroundings

_log: Final = get_logger(__name__)


class Heir(Protocol):
    """A replica that is to be primary next; `replica.Replica` is one.

    `has_begun` is set whenever it begins to serve, or ends.
    """

    has_begun: asyncio.Event

    @property
    def is_named(self) -> bool:
        """Whether the range's value names it primary."""

    @property
    def serving_epoch(self) -> int | None:
        """The epoch in which it serves."""


async def pass_on(placed: Placed, around: Surroundings, *, epoch: int) -> None:
    """Tell the primary of `placed` that this node's, of `epoch`, has ended; else its watch does.

    Returns once that one serves, if it soon does.
    """
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
        deadline_s = REPLICA_TAKEN_OVER_S + REPLICA_CALL_TIMEOUT_S
        await around.peer_of(heir.node).call(request, deadline_s=deadline_s)
    except DStoreError as error:
        _log.info("heir_not_told", node=heir.node, reason=error.message)


class Led(Protocol):
    """A replica that may be the primary; `replica.Replica` is one."""

    @property
    def serving(self) -> Primary | None:
        """The primary that answers here, if this is one."""


def is_bound(replica: Led, node: str) -> bool:
    """Tell whether a node could take a range over only after what it has promised others is over.

    That takes REPLICA_LEASE_MS at most, in which this one had better go on.
    """
    primary = replica.serving
    follower = None if primary is None else primary.follower(node)
    return follower is not None and follower.is_bound


async def taken_over(replica: Heir, *, epoch: int) -> None:
    """Return once an heir serves behind `epoch`, or has had REPLICA_TAKEN_OVER_S for it."""
    replica.has_begun.clear()
    if not replica.is_named or (replica.serving_epoch or 0) > epoch:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(REPLICA_TAKEN_OVER_S):
            await replica.has_begun.wait()


def passed_on(request: TakeOver, before: Placed) -> Placed:
    """Read what an heir is told. Raises: Malformed."""
    return Placed(
        path=before.path,
        value=values.decode(before.path, request.value),
        revision=Revision(request.revision),
    )
