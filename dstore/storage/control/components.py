"""Control processes, nodes and proxies: what was admitted, and what the operator decided since.

await NODES.insert(tx, node)
page = await NODES.page(tx, after=None, limit=100)
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from dstore.base.limits import CONTROL_PAGE_MAX
from dstore.model.errors import RefusalKind, Refused
from dstore.storage.control.records import (
    ComponentState,
    ControlRecord,
    NodeRecord,
    ProxyRecord,
)
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Key, Page, Transaction, every

Component = TypeVar("Component", ControlRecord, NodeRecord, ProxyRecord)


class Components(Generic[Component]):
    """The components of one role, found by UUID. Those that were removed stay, by their state."""

    __slots__ = ("_noun", "_relation", "_table")

    def __init__(self, record: type[Component], table: str, *, noun: str) -> None:
        """Name the table, and what an error calls a row of it."""
        self._relation: Relation[Component] = Relation(record, table, key=("uuid",), noun=noun)
        self._table: Final = table
        self._noun = noun

    async def insert(self, tx: Transaction, component: Component) -> None:
        """Admit one. Raises: Refused(CONFLICT): its UUID is taken, for ever."""
        await self._relation.insert(tx, component)

    async def get(self, tx: Transaction, uuid: str) -> Component | None:
        """Find one, removed ones included."""
        return await self._relation.find(tx, uuid=uuid)

    async def update(self, tx: Transaction, component: Component) -> None:
        """Write one anew: a renewed certificate, another address. Raises: Refused(NOT_FOUND)."""
        await self._relation.update(tx, component)

    async def page(
        self, tx: Transaction, *, after: Key | None = None, limit: int = CONTROL_PAGE_MAX
    ) -> Page[Component]:
        """List them by UUID, removed ones included."""
        return await self._relation.page(tx, after=after, limit=limit)

    async def every(self, tx: Transaction) -> tuple[Component, ...]:
        """Read all of them by UUID, removed ones included, however many."""
        return await every(lambda after: self.page(tx, after=after))

    async def removed(self, tx: Transaction, *, since_us: int, limit: int) -> tuple[str, ...]:
        """Name those that were removed since then, the latest first."""
        found = await tx.rows(
            f"SELECT uuid FROM {self._table} "  # noqa: S608 - one of three constants below
            "WHERE state = 'removed' AND changed_at_us >= $1 "
            f"ORDER BY changed_at_us DESC, uuid LIMIT {limit}",
            since_us,
        )
        return tuple(row[0] for row in found)

    async def set_state(
        self, tx: Transaction, uuid: str, state: ComponentState, *, now_us: int
    ) -> None:
        """Move one on in its life.

        Raises: Refused(NOT_FOUND): there is none. Refused(CONFLICT): it was removed, for good.
        """
        # The table's name is one of three constants below.
        statement = f"UPDATE {self._table} SET state = $2, changed_at_us = $3 "  # noqa: S608
        changed = await tx.change(
            statement + "WHERE uuid = $1 AND (state <> 'removed' OR $2 = 'removed')",
            uuid,
            state,
            now_us,
        )
        if changed:
            return
        if await self.get(tx, uuid) is None:
            raise Refused(RefusalKind.NOT_FOUND, f"{self._noun} does not exist.")
        raise Refused(
            RefusalKind.CONFLICT,
            f"{self._noun} was removed; let it join anew, with an empty directory.",
        )


CONTROLS: Final = Components(ControlRecord, "control_process", noun="A control of this UUID")
NODES: Final = Components(NodeRecord, "node", noun="A node of this UUID")
PROXIES: Final = Components(ProxyRecord, "proxy", noun="A proxy of this UUID")
