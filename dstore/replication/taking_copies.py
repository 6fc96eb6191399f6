"""A replica that is copied anew: it is emptied first, or if its file is ruined, gets a new one.

What is there is destroyed only on the word of a primary that has taken this replica out of the set
before (ADR 0014). Where that can't be checked by where the log ends, since what is wrong is not the
log (ADR 0019), the range's value is read first, linearizably: a message that comes late never
empties a replica that counts by now.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt
from dstore.replication import placements
from dstore.replication.copying import no_such_copy, take_piece
from dstore.storage import replica_copy

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.replication.placements import Placed
    from dstore.replication.replica_calls import BeginCopy, TakeCopy
    from dstore.replication.surroundings import Surroundings
    from dstore.storage.log_records import Standing

_log: Final = get_logger(__name__)
_WIPING: Final = -1


class Emptied(Protocol):
    """The replica that a copy is made in."""

    range_id: str
    placed: Placed | None
    is_damaged: bool

    async def look(self) -> Standing:
        """Say where it stands."""

    async def alter(self, work: Callable[[Any], Any]) -> Any:
        """Change its file durably, and forget where it stood."""


class CopyTaker:
    """Takes one copy after another. Its methods run in the replica's turn."""

    def __init__(self, replica: Emptied, around: Surroundings) -> None:
        """Begin with none."""
        self._replica = replica
        self._around = around
        # The copy that is being made here, (epoch, number), and the piece of it that comes next.
        self._name = (0, 0)
        self._next_index = 0
        self._is_ruined = False  # the file takes no copy

    async def make_room(self, request: BeginCopy) -> bool:
        """Delete a part of what is here; the same request comes again until nothing is left.

        Returns: whether that is so.
        Raises: Corrupt: it can't be done in this file. Unavailable: an old message.
        """
        replica, name = self._replica, (request.epoch, request.number)
        if self._is_ruined:
            raise Corrupt("The file can't take a copy.", file=replica.range_id, where="copy")
        if name > self._name:
            if (await replica.look()).end != request.found:
                raise no_such_copy()
            if request.is_wrong:
                await self._require_left(request)
            self._name, self._next_index = name, _WIPING
            _log.warning("replica_learns_anew", range=replica.range_id)
            await replica.alter(replica_copy.begin)
            self._forget_damage()
        if self._name == name and self._next_index == _WIPING:
            if await replica.alter(replica_copy.wipe_some):
                return False
            self._next_index = 0
        if self._name != name:
            raise no_such_copy()
        return True

    async def begin_anew(self, request: BeginCopy) -> None:
        """Put an empty file in the place of one that can't even be emptied.

        Raises: Unavailable: an old message, or it can't be done now. CoordinatorError: nobody knows
            whether this replica counts.
        """
        range_id = self._replica.range_id
        await self._require_left(request)
        _log.warning("replica_file_begun_anew", range=range_id)
        await self._around.files.renew(range_id, promised_epoch=request.epoch)
        self._name, self._next_index = (request.epoch, request.number), 0
        self._is_ruined = False
        self._forget_damage()

    async def take(self, request: TakeCopy) -> None:
        """Take a piece. Raises: Unavailable: it is not the next one. Corrupt."""
        if (request.epoch, request.number) != self._name:
            raise no_such_copy()
        if request.index == self._next_index:
            try:
                await self._replica.alter(partial(take_piece, request=request))
            except Corrupt:
                self._is_ruined = True
                raise
            self._next_index += 1
        elif request.index != self._next_index - 1:
            raise no_such_copy()

    def _forget_damage(self) -> None:
        self._replica.is_damaged = False
        self._around.files.begins_anew(self._replica.range_id)

    async def _require_left(self, request: BeginCopy) -> None:
        """See that this replica does not count, in no epoch after the one of who asks.

        While the turn is held nobody can take it in: it would have to answer.
        """
        placed, around = self._replica.placed, self._around
        now = None if placed is None else await placements.read(around.coordinator, placed.path)
        if (
            now is None
            or now.value.range_id != self._replica.range_id
            or now.value.epoch > request.epoch
            or around.node in {each.node for each in now.value.in_sync}
        ):
            raise no_such_copy()
