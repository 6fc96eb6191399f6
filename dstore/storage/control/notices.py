"""Notices: what nodes told control. The newest NOTICES_KEPT stay."""

from __future__ import annotations

from typing import Final

from dstore.base.limits import CONTROL_PAGE_MAX, NOTICES_KEPT
from dstore.storage.control.records import NodeUuid, NoticeRecord
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Key, Page, Transaction

_NOTICES: Final = Relation(NoticeRecord, "notice", key=("node", "at_us"), noun="A notice")


async def insert(tx: Transaction, notice: NoticeRecord) -> bool:
    """Keep a notice. Returns: False if it is kept already (etcd delivers it again)."""
    return await _NOTICES.insert_new(tx, notice)


async def count_since(tx: Transaction, at_us: int) -> int:
    """Count the notices of a moment and later, wall time in microseconds since 1970."""
    counted = await tx.rows("SELECT COUNT(*) FROM notice WHERE at_us >= $1", at_us)
    count: int = counted[0][0]
    return count


async def page(
    tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
) -> Page[NoticeRecord]:
    """List notices, the newest first; `after` is (at_us, node)."""
    return await _NOTICES.page(tx, after=after, limit=limit, order=("at_us", "node"), descends=True)


async def has_told(tx: Transaction, node: NodeUuid, *, kind: str, about: str) -> bool:
    """Tell whether a node has told something of a kind about something, a UUID."""
    found = await tx.rows(
        "SELECT 1 FROM notice WHERE node = $1 AND kind = $2 AND details LIKE $3 LIMIT 1",
        node,
        kind,
        f"%{about}%",
    )
    return bool(found)


async def trim(tx: Transaction, *, kept: int = NOTICES_KEPT) -> int:
    """Remove all but the newest ones. Returns: how many."""
    return await tx.change(
        "DELETE FROM notice WHERE (at_us, node) IN "
        "(SELECT at_us, node FROM notice ORDER BY at_us DESC, node DESC LIMIT $1 OFFSET $2)",
        CONTROL_PAGE_MAX,
        kept,
    )
