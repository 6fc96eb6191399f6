"""A range's primary splits it: the steps that need nobody's state but what they are given.

See ADR 0018 for their order, and `primary.Primary.cut` for the pause.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from dstore.base.limits import (
    REPLICA_CALL_TIMEOUT_S,
    REPLICA_COMMIT_TOLD_MS,
    REPLICA_LAG_JOINING_MAX,
    RETRY_AFTER_MS,
)
from dstore.base.logging import get_logger
from dstore.base.sowing_limits import SPLIT_ASK_MS, SPLIT_PAUSE_S
from dstore.model.errors import DStoreError, NotMine, Unavailable, UnavailableKind
from dstore.replication.split_calls import Ripen, Sow
from dstore.replication.surroundings import pause_ms
from dstore.topology.keyspace import RangePath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.replication.placements import Placed
    from dstore.replication.primary import Primary
    from dstore.replication.seeds import Sower
    from dstore.replication.split_calls import Split
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import LogPoint
    from dstore.topology.values import RangePlacement, Replica

_log: Final = get_logger(__name__)


class ServedOrNot(Protocol):
    """Has a primary serve clients, or not."""

    def __call__(self, *, is_on: bool) -> None:
        """Do so, in this turn of the event loop."""


def children_of(before: Placed, split: Split) -> Sequence[tuple[RangePath, RangePlacement]]:
    """Make the values of both children, the lower one first.

    They have the parent's primary and in-sync set, in the next epoch; who learns is left out.
    """
    value, path = before.value, before.path
    assert path.low_hash < split.at_hash <= value.high_hash, split.at_hash
    common = msgspec.structs.replace(value, epoch=value.epoch + 1, replicas=value.in_sync)
    low = msgspec.structs.replace(common, range_id=split.low_id, high_hash=split.at_hash - 1)
    high = msgspec.structs.replace(common, range_id=split.high_id)
    return ((path, low), (RangePath(path.tenant, path.table, split.at_hash), high))


def not_cut() -> Unavailable:
    """Say that a range is not split yet, and goes on."""
    return Unavailable(
        UnavailableKind.UNREACHABLE,
        "The range is not split yet; ask again.",
        retry_after_ms=RETRY_AFTER_MS,
    )


async def sow_all(primary: Primary, own: Sower, around: Surroundings) -> None:
    """Have every in-sync replica fill its seeds; return when all are near the log's end.

    Who leaves the set meanwhile is waited for no longer, and who joins it is asked too.

    Raises: NotMine: this is not the primary any more.
    """
    while True:
        if primary.is_closed:
            raise NotMine(primary.range_id, primary.epoch)
        own.touch()
        others = [each for each in primary.counted if each.node != around.node]
        told = await asyncio.gather(
            *(_sown(primary, each, split=own.split, around=around) for each in others)
        )
        level_seqs = [own.level_seq, *told]
        enough_seq = primary.end.seq - REPLICA_LAG_JOINING_MAX
        if all(seq is not None and seq >= enough_seq for seq in level_seqs):
            return
        await pause_ms(SPLIT_ASK_MS)


async def _sown(
    primary: Primary, replica: Replica, *, split: Split, around: Surroundings
) -> int | None:
    """Ask one replica. Returns: up to where its seeds are level; None: not, as far as is known."""
    request = Sow(
        range_id=primary.range_id,
        epoch=primary.epoch,
        primary=around.node,
        incarnation=replica.incarnation,
        split=split,
    )
    try:
        sown = await around.peer_of(replica.node).call(request, deadline_s=REPLICA_CALL_TIMEOUT_S)
    except DStoreError as error:
        _log.info("replica_does_not_sow", node=replica.node, reason=error.message)
        return None
    if sown.promised_epoch > primary.epoch:
        primary.depose(sown.promised_epoch)
        return None
    return sown.level_seq


async def ripen_all(
    placed: Placed, point: LogPoint, *, own: Sower, range_id: str, around: Surroundings
) -> bool:
    """Have every in-sync replica of a value make its seeds ripe at the end of its log.

    Returns: whether all have, within SPLIT_PAUSE_S.
    """
    request = Ripen(
        range_id=range_id,
        epoch=placed.value.epoch,
        primary=around.node,
        incarnation="",
        split=own.split,
        point=point,
    )
    try:
        async with asyncio.timeout(SPLIT_PAUSE_S):
            await asyncio.gather(
                *(_ripened(each, request, own=own, around=around) for each in placed.value.in_sync)
            )
    except TimeoutError:
        return False
    return True


async def _ripened(replica: Replica, request: Ripen, *, own: Sower, around: Surroundings) -> None:
    """Return when a replica's seeds are ripe."""
    request = msgspec.structs.replace(request, incarnation=replica.incarnation)
    while True:
        try:
            if replica.node == around.node:
                is_ripe = await own.ripen(request.point)
            else:
                peer = around.peer_of(replica.node)
                is_ripe = (await peer.call(request, deadline_s=REPLICA_CALL_TIMEOUT_S)).is_ripe
        except DStoreError as error:
            _log.info("replica_not_ripe", node=replica.node, reason=error.message)
            is_ripe = False
        if is_ripe:
            return
        await pause_ms(REPLICA_COMMIT_TOLD_MS)
