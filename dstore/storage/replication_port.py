"""What a range file asks of the replication of its range; a file with none is its only replica."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import Future

    from dstore.storage.range_writer import Prepared


class Replication(Protocol):
    """The other replicas, as the primary's file sees them. Used from the event loop."""

    @property
    def wanted_after_seq(self) -> int | None:
        """What is behind this record in the log is still to be read by another replica.

        None: there is no other replica; so what is written now need not be read from the log.
        """

    def ship(self, prepared: Prepared) -> Future[None]:
        """Send a batch's records to every in-sync replica; it has none if nobody wanted any.

        One batch at a time; the next one comes when this one is committed or abandoned.

        Returns: a future that has a result when all of them hold the records durably (I5). It fails
            with Unknown if any may hold them: their places are never used for other content.
        Raises: Unavailable, NotMine: nothing has left this process, nor will.
        """

    def committed(self, prepared: Prepared) -> None:
        """Hear that a batch that was shipped is committed and durable here."""

    def missed(self, prepared: Prepared) -> bool:
        """Hear that the disk was too full to commit a batch that was shipped; it is undone here.

        Returns: whether no other replica can hold it, so that it did not happen. If not, this is
            no longer the primary.
        """

    def certain(self) -> Future[None] | None:
        """Make certain that nobody else may have acknowledged a write by now (I7).

        Returns: None if a lease says so; else a future that has a result when the replicas have
            said so. It fails with NotMine or Unavailable.
        Raises: NotMine: this is not the primary.
        """
