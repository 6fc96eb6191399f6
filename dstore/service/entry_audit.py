"""The operator's writes of entries, in the audit log: who wrote how often to which table.

A line a write would cost a tenth of the write (docs/adr/0005-audit-of-entries.md). The first write
of a credential to a table is told at once, those that follow are counted, and told by `flush`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from dstore.base.logging import get_logger

_audit: Final = get_logger("audit")


class EntryWrites(NamedTuple):
    """What is counted together: one credential's writes of a kind to a table.

    A tuple for speed, since every write makes one.
    """

    principal_id: str
    tenant: str
    table: str
    operation: str


class EntryAudit:
    """Counts and tells. Used from one event loop."""

    def __init__(self) -> None:
        """Begin with nothing to tell."""
        self._untold: dict[EntryWrites, int] = {}

    def note(self, writes: EntryWrites) -> None:
        """Note one write that was done or accepted."""
        untold = self._untold.get(writes)
        if untold is None:
            _tell(writes, 1)
            self._untold[writes] = 0
        else:
            self._untold[writes] = untold + 1

    def flush(self) -> None:
        """Tell what was counted; call it every few seconds, and at the end."""
        untold, self._untold = self._untold, {}
        for writes, count in untold.items():
            if count:
                _tell(writes, count)


def _tell(writes: EntryWrites, count: int) -> None:
    _audit.info(
        "entries_changed",
        operation=writes.operation,
        principal_id=writes.principal_id,
        by="operator",
        tenant=writes.tenant,
        table=writes.table,
        writes=count,
    )
