"""Shredding: what was deleted from the node database leaves its log too.

A transaction that deletes a key notes that a shred is due. The log, which still has the key, is
then folded and cut; only after that is the note taken away. A crash or an error in between leaves
the note, so a later look, or the next start, shreds.
"""

from __future__ import annotations

from asyncio import Lock
from typing import TYPE_CHECKING

from dstore.base.logging import get_logger
from dstore.model.errors import DStoreError
from dstore.storage import node_records

if TYPE_CHECKING:
    from dstore.storage.node_database import NodeDatabase

_log = get_logger(__name__)


class Shredder:
    """Cuts the node database's log while that is due."""

    def __init__(self, database: NodeDatabase) -> None:
        """Nothing is known to be due before the first look."""
        self._database = database
        self._lock = Lock()
        self.has_failed = False  # the latest attempt; deleted keys may be in the log

    async def shred_if_due(self) -> bool:
        """Shred if a key was deleted since the last time.

        Returns: whether nothing is due any more; after a failure, logged once, call again.
        """
        async with self._lock:
            try:
                due = await self._database.read(node_records.shred_due)
                if due:
                    await self._database.shred()
                    await self._database.run(lambda db: node_records.clear_shred_due(db, due))
            except DStoreError as error:
                if not self.has_failed:
                    _log.warning("shred_failed", error=type(error).__name__)
                self.has_failed = True
            else:
                self.has_failed = False
            return not self.has_failed
