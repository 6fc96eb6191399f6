"""Whether replicas may be moved: an operator's word, which stands whichever control leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dstore.storage.control.store import Transaction


async def is_paused(tx: Transaction) -> bool:
    """Tell whether no move may begin."""
    found = await tx.rows("SELECT last FROM counter WHERE name = 'moves_paused'")
    return bool(found[0][0])


async def pause(tx: Transaction, *, is_on: bool) -> bool:
    """Let no move begin, or let them again. Returns: whether that is new."""
    changed = await tx.change(
        "UPDATE counter SET last = $1 WHERE name = 'moves_paused' AND last <> $1", int(is_on)
    )
    return changed == 1
