"""A batch of a replicated range on its way: held by all in-sync replicas first, then committed."""

from __future__ import annotations

from asyncio import Future, get_running_loop
from typing import TYPE_CHECKING, Final

from dstore.model.errors import Unavailable, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstore.storage.range_writer import Prepared
    from dstore.storage.replication_port import Replication

_ENDED: Final = "The server ends; whether the write will be kept is unknown."
_FULL: Final = "The primary's disk is full; whether the write will be kept is unknown."


class Shipment:
    """One prepared batch. Its transaction stays open meanwhile, and no thread waits.

    If it is empty nothing is shipped: a refusal is a strong read, and is told when it is certain
    that this is the range's primary (REPLICATION.md, write 7).
    """

    def __init__(
        self,
        prepared: Prepared,
        replication: Replication,
        *,
        commit: Callable[[], Future[None]],
        abandon: Callable[[], None],
    ) -> None:
        """Set out.

        Args:
            prepared: the batch.
            replication: the other replicas.
            commit: begins to make it durable here. It fails with Unavailable if the disk is full:
                then it is undone; the process ends if it fails otherwise.
            abandon: undoes it here.
        """
        self.done: Future[None] = get_running_loop().create_future()
        self._prepared = prepared
        self._replication = replication
        self._commit = commit
        self._abandon = abandon
        try:
            asking = replication.certain() if prepared.is_empty else replication.ship(prepared)
        except Exception as error:  # noqa: BLE001 - handed to those who wait for the batch
            self._fail(error)
            return
        if asking is None:
            self._abandon()
            self.done.set_result(None)
        else:
            asking.add_done_callback(self._asked)

    def _asked(self, asking: Future[None]) -> None:
        """Commit what all in-sync replicas hold."""
        error = Unknown(_ENDED) if asking.cancelled() else asking.exception()
        if error is not None:
            self._fail(error)
            return
        if self._prepared.is_empty:
            self._abandon()
            self.done.set_result(None)
            return
        try:
            committing = self._commit()
        except Exception as failure:  # noqa: BLE001 - as above
            self.done.set_exception(self._missed(failure))
            return
        committing.add_done_callback(self._committed)

    def _committed(self, committing: Future[None]) -> None:
        error = Unknown(_ENDED) if committing.cancelled() else committing.exception()
        if error is not None:
            self.done.set_exception(self._missed(error))
            return
        self._replication.committed(self._prepared)
        self.done.set_result(None)

    def _missed(self, error: BaseException) -> BaseException:
        """Say what became of a batch that could not be committed here."""
        if not isinstance(error, Unavailable):
            return Unknown(_ENDED)
        return error if self._replication.missed(self._prepared) else Unknown(_FULL)

    def _fail(self, error: BaseException) -> None:
        self._abandon()
        self.done.set_exception(error)
