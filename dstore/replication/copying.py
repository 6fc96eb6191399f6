"""Sending a copy of the rows to a replica whose log does not join the primary's, and taking it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from dstore.base.limits import (
    REPLICA_BACKOFF_MS_MAX,
    REPLICA_COPY_GIVEN_UP_S,
    REPLICA_COPY_TIMEOUT_S,
)
from dstore.base.logging import get_logger
from dstore.model.errors import Unavailable, UnavailableKind
from dstore.replication.replica_calls import BeginCopy, TakeCopy
from dstore.replication.surroundings import pause_ms, since_ms
from dstore.storage import replica_copy, replica_log
from dstore.storage.replica_copy import CopyEnd, CopyPlace

if TYPE_CHECKING:
    from dstore.replication.peers.port import Peer
    from dstore.replication.replica_calls import CopyTaken
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import LogPoint
    from dstore.storage.replica_copy import CopyPage, CopyStart
    from dstore.topology.values import Replica

_log: Final = get_logger(__name__)


class Source(Protocol):
    """The primary, as a copy is made of it."""

    range_id: str
    epoch: int

    @property
    def end(self) -> LogPoint:
        """Where the log ends in the file."""

    async def copy_page(self, place: CopyPlace) -> tuple[CopyPage, CopyPlace]:
        """Read the rows behind a place, and give the next one."""

    def depose(self, epoch: int) -> None:
        """Hear that a replica has promised a newer epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One attempt at a copy.

    `number` is higher than of any attempt before in this epoch, `found` where the replica's log was
    found to end, and `start` from where the log is to follow. `is_wrong` is as in `BeginCopy`.
    """

    number: int
    found: LogPoint
    start: CopyStart
    is_wrong: bool = False


async def copy_to(replica: Replica, source: Source, copy: Copy, *, around: Surroundings) -> bool:
    """Make a copy; if it fails it has to be begun anew, as another one.

    Returns: False if the other side has promised a newer epoch.
    Raises: DStoreError: it can't be reached, or a page is damaged on either side.
    """
    peer = around.peer_of(replica.node)
    _log.info("copy_begins", range=source.range_id, node=replica.node)
    begin = BeginCopy(
        range_id=source.range_id,
        epoch=source.epoch,
        primary=around.node,
        incarnation=replica.incarnation,
        number=copy.number,
        found=copy.found,
        is_wrong=copy.is_wrong,
    )
    begun = await peer.call(begin, deadline_s=REPLICA_COPY_TIMEOUT_S)
    while begun.promised_epoch <= source.epoch and not begun.is_ready:
        begun = await peer.call(begin, deadline_s=REPLICA_COPY_TIMEOUT_S)
    promised_epoch, index, size_bytes = begun.promised_epoch, 0, 0
    page, place = await source.copy_page(CopyPlace())
    while promised_epoch <= source.epoch:
        end = CopyEnd(start=copy.start, whole_seq=source.end.seq) if place.is_over else None
        piece = TakeCopy(
            range_id=source.range_id,
            epoch=source.epoch,
            primary=around.node,
            incarnation=replica.incarnation,
            number=copy.number,
            index=index,
            page=page,
            end=end,
        )
        await around.pace.wait(page.size_bytes, clock=around.clock)
        size_bytes += page.size_bytes
        if end is not None:
            taken = await _sent(peer, piece, around)
            promised_epoch, index = taken.promised_epoch, index + 1
            break
        # The next one is read while this one is on its way, and written.
        began_ns = around.clock.monotonic_ns()
        taken, (page, place) = await asyncio.gather(
            _sent(peer, piece, around), source.copy_page(place)
        )
        around.pace.rest(began_ns, clock=around.clock)
        promised_epoch, index = taken.promised_epoch, index + 1
    if promised_epoch > source.epoch:
        source.depose(promised_epoch)
        return False
    _log.info("copy_done", range=source.range_id, node=replica.node, pages=index, bytes=size_bytes)
    return True


async def _sent(peer: Peer, piece: TakeCopy, around: Surroundings) -> CopyTaken:
    """Send a piece until it is taken: a moment without an answer shall not cost the whole copy.

    The last piece may come again. Raises: DStoreError: it is of no copy, or not taken for
        REPLICA_COPY_GIVEN_UP_S.
    """
    began_ns = around.clock.monotonic_ns()
    while True:
        try:
            return await peer.call(piece, deadline_s=REPLICA_COPY_TIMEOUT_S)
        except Unavailable as error:
            is_late = since_ms(around.clock, began_ns) > REPLICA_COPY_GIVEN_UP_S * 1_000
            if is_late or error.kind is UnavailableKind.MOVED:
                raise
        await pause_ms(REPLICA_BACKOFF_MS_MAX)


def take_piece(connection: Any, request: TakeCopy) -> None:
    """Take a piece, if the file is becoming a copy: nothing else is ever overwritten.

    Raises: Unavailable: it is not.
    """
    if replica_log.read_state(connection).whole_seq != replica_log.NEVER_WHOLE:
        raise no_such_copy()
    replica_copy.take_page(connection, request.page)
    if request.end is not None:
        replica_copy.finish(connection, request.end)


def no_such_copy() -> Unavailable:
    """Say that a message belongs to no copy that is being made."""
    return Unavailable(UnavailableKind.MOVED, "No such copy is being made here, or no longer.")
