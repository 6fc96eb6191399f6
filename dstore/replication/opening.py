"""Opening a range: the only way to become its primary, after a promotion or a mere restart.

REPLICATION.md's five steps, in their order; each sentence there whose absence loses data is a step
here. Whoever opens holds nothing back until the last one is done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from dstore.base.limits import (
    REPLICA_CALL_TIMEOUT_S,
    REPLICA_MADE_S,
    REPLICA_SILENT_MS,
    REPLICA_TENDED_MS,
    REPLICA_UNOPENED_MS,
)
from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt, DStoreError
from dstore.replication import placements
from dstore.replication.cut_off import give_to, give_to_another
from dstore.replication.forks import last_common_seq
from dstore.replication.placements import Overtaken
from dstore.replication.replica_calls import FetchRecords, SealReplica
from dstore.replication.surroundings import pause_ms, since_ms
from dstore.topology.values import ReplicaState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstore.replication.placements import Placed
    from dstore.replication.primary import Primary
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import LogPoint, LogRecord, Standing
    from dstore.topology.values import Replica

_log: Final = get_logger(__name__)


class Superseded(DStoreError):
    """A newer epoch than the one that is being opened was promised, here or elsewhere."""

    def __init__(self, epoch: int) -> None:
        """Name the epoch."""
        super().__init__(f"The range is opened in epoch {epoch} by now.")
        self.epoch = epoch


class OwnReplica(Protocol):
    """This node's replica, while it is opened; each method fails with Superseded if it must.

    `placed` is the newest value of the range that was heard of.
    """

    placed: Placed | None

    async def standing(self) -> Standing:
        """Say where it stands."""

    async def point_at(self, seq: int) -> LogPoint | None:
        """Find a point of its log; None if what follows it is not there any more."""

    async def take(self, epoch: int, after: LogPoint, records: Sequence[LogRecord]) -> bool:
        """Append what another replica holds. Returns: whether it follows what is here."""


async def gather_log(
    placed: Placed, own: OwnReplica, around: Surroundings, *, is_new: bool
) -> Placed:
    """Have every in-sync replica refuse older epochs, and hold the longest of their logs here.

    Who is not heard leaves the set, by swap, before anything is sealed with an opening record, and
    never so that fewer than `min_in_sync` are left: then this goes on asking, until they answer or
    the range's value is another one. So it becomes if control finds that a replica has lost its
    disk: nothing is left there to wait for.

    A log that goes on where this one does not reach, since it was cut there, can't be had: this
    replica has less than it acknowledged, as behind an old copy of its disk that was put back. Then
    whoever has that log is made the primary, with nothing to gather.

    Args:
        placed: the range's value, in the epoch that is being opened.
        own: this node's replica, which has promised the epoch to itself.
        around: what replicas of a node share.
        is_new: the range was only just made; its replicas may not be there yet.

    Returns: the range's value, as it is by then.
    Raises: Superseded; Overtaken: the value is another one; CoordinatorError: nobody may have been
        left out.
    """
    began_ns = around.clock.monotonic_ns()
    patience_ms = REPLICA_MADE_S * 1_000 if is_new else REPLICA_SILENT_MS
    while True:
        heard = await _seal_all(placed, around)
        missing = {each.node for each in _others(placed, around)} - heard.keys()
        if not missing:
            node = await _fetch_longest(placed, own, around, heard=heard)
            if node is None:
                return placed
            if since_ms(around.clock, began_ns) > patience_ms:
                await give_to(placed, node, around)
        if missing and since_ms(around.clock, began_ns) > patience_ms:
            placed = await _leave_out(placed, missing, around)
            if since_ms(around.clock, began_ns) > REPLICA_UNOPENED_MS:
                await give_to_another(placed, around)
        else:
            await pause_ms(REPLICA_TENDED_MS)
        if own.placed is not None and own.placed.is_newer(placed):
            raise Overtaken(own.placed)


async def until_held(primary: Primary, shipping: asyncio.Future[None], own: OwnReplica) -> None:
    """Wait until every in-sync replica holds the opening record, whoever that is by then.

    Raises: Overtaken: the range's value is one of a later epoch. Unknown: the primary has ended.
    """
    try:
        while not (await asyncio.wait((shipping,), timeout=REPLICA_TENDED_MS / 1_000))[0]:
            newest = own.placed
            if newest is not None and newest.value.epoch > primary.epoch:
                raise Overtaken(newest)
            if newest is not None:
                await primary.adopt(newest)
        shipping.result()
    finally:
        shipping.cancel()  # nobody hears what else becomes of it


async def _seal_all(placed: Placed, around: Surroundings) -> dict[str, Standing]:
    """Ask all at once. Returns: where those stand that were heard."""
    others = _others(placed, around)
    standings = await asyncio.gather(*(_seal(placed, each, around) for each in others))
    return {
        each.node: standing
        for each, standing in zip(others, standings, strict=True)
        if standing is not None
    }


async def _seal(placed: Placed, replica: Replica, around: Surroundings) -> Standing | None:
    epoch = placed.value.epoch
    request = SealReplica(
        range_id=placed.value.range_id,
        epoch=epoch,
        primary=around.node,
        incarnation=replica.incarnation,
    )
    try:
        sealed = await around.peer_of(replica.node).call(request, deadline_s=REPLICA_CALL_TIMEOUT_S)
    except DStoreError as error:
        _log.info("replica_not_sealed", node=replica.node, reason=error.message)
        return None
    if sealed.standing.promised_epoch > epoch:
        raise Superseded(sealed.standing.promised_epoch)
    return sealed.standing


async def _fetch_longest(
    placed: Placed, own: OwnReplica, around: Surroundings, *, heard: dict[str, Standing]
) -> str | None:
    """Take over what the longest of the sealed logs has more than ours.

    Returns: who has it if it could not be had; None: it is here.
    """
    ours = await own.standing()
    longest = max([*heard.values(), ours], key=lambda each: (each.epoch, each.end.seq))
    if (longest.epoch, longest.end.seq) == (ours.epoch, ours.end.seq):
        return None
    node = next(node for node, standing in heard.items() if standing is longest)
    replica = next(each for each in placed.value.replicas if each.node == node)
    if await _fetch(placed, own, around, source=(replica, longest)):
        return None
    _log.warning("log_not_joined", node=node, range=placed.value.range_id)
    return node


async def _fetch(
    placed: Placed,
    own: OwnReplica,
    around: Surroundings,
    *,
    source: tuple[Replica, Standing],
) -> bool:
    """Take over what another log has more. Raises: Unavailable: there is no room for it here."""
    replica, theirs = source
    ours = await own.standing()
    seq = last_common_seq((ours.history, ours.end.seq), (theirs.history, theirs.end.seq))
    after = await own.point_at(seq)
    while after is not None:
        records = await _records(placed, replica, around, after=after)
        if records is None:
            return False
        if not await _take(placed, own, after=after, records=records):
            return False
        if not records or records[-1].point == theirs.end:
            return True
        after = records[-1].point
    return False


async def _records(
    placed: Placed, replica: Replica, around: Surroundings, *, after: LogPoint
) -> Sequence[LogRecord] | None:
    """Ask for what follows a point of a log; None: it is not there, or nobody answers."""
    epoch = placed.value.epoch
    request = FetchRecords(
        range_id=placed.value.range_id,
        epoch=epoch,
        primary=around.node,
        incarnation=replica.incarnation,
        after=after,
    )
    try:
        fetched = await around.peer_of(replica.node).call(
            request, deadline_s=REPLICA_CALL_TIMEOUT_S
        )
    except DStoreError as error:
        _log.info("records_not_fetched", node=replica.node, reason=error.message)
        return None
    if fetched.standing.promised_epoch > epoch:
        raise Superseded(fetched.standing.promised_epoch)
    return fetched.records


async def _take(
    placed: Placed, own: OwnReplica, *, after: LogPoint, records: Sequence[LogRecord]
) -> bool:
    """Append what was fetched. Returns: whether it follows what is here."""
    try:
        return await own.take(placed.value.epoch, after, records)
    except Corrupt as error:  # of what was sent
        _log.info("records_not_taken", range=placed.value.range_id, reason=error.message)
        return False


async def _leave_out(placed: Placed, nodes: set[str], around: Surroundings) -> Placed:
    value = placed.value
    smaller = placements.with_state(value, nodes, ReplicaState.LEARNER)
    if len(smaller.in_sync) < value.min_in_sync:
        await pause_ms(REPLICA_SILENT_MS)
        return placed
    _log.warning("opened_without", range=value.range_id, nodes=sorted(nodes))
    return await placements.swap(around.coordinator, placed, smaller, pause=pause_ms)


def _others(placed: Placed, around: Surroundings) -> list[Replica]:
    return [each for each in placed.value.in_sync if each.node != around.node]
