"""Writes to be done later, in the queues of the nodes that hold their entries.

Who accepted a write knows how it went, so the request id that a client gets names the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.limits import REQUEST_RETENTION_S
from dstore.model.errors import NotMine, RefusalKind, Refused
from dstore.service.calls.range_calls import AskDeferred, DeferWrite
from dstore.service.moves import follow
from dstore.service.proxy.node_calls import Doing
from dstore.topology.keyspace import is_component_id

if TYPE_CHECKING:
    from dstore.model.ranges import Table
    from dstore.service.deferred_store import DeferredOutcome, DeferredWrite
    from dstore.service.directory import Directory
    from dstore.service.items import Items
    from dstore.service.proxy.node_calls import NodeCalls

_AT: Final = "."


class RemoteDeferred:
    """A `use_cases.DeferredWrites` over nodes. Used from one event loop."""

    def __init__(self, directory: Directory, items: Items, calls: NodeCalls) -> None:
        """Find the entries of writes by `items`, and their nodes' answers by `calls`."""
        self._directory = directory
        self._items = items
        self._calls = calls

    async def accept(self, write: DeferredWrite) -> str:
        """Have the node that holds the entry accept a write. Returns: its id and the node's."""
        entry = self._items.locate(write.tenant, write.table, write.id)

        async def ask(table: Table) -> str:
            ref = table.ranges.at(entry.rid_id)
            request = DeferWrite(
                range_id=ref.range_id, epoch=ref.epoch, rid_id=entry.rid_id, write=write
            )
            doing = Doing.WRITING if write.request is None else Doing.ONCE
            accepted = await self._calls.ask(ref, request, doing=doing)
            return f"{accepted.request_id}{_AT}{ref.node}"

        try:
            return await ask(entry.table)
        except NotMine as moved:
            return await follow(self._directory, entry.table, moved, ask=ask)

    async def outcome(self, tenant: str, request_id: str) -> DeferredOutcome | None:
        """Ask the node that accepted a write how it went.

        Clients write such ids as they like, so a node that is not there is not waited for.
        """
        own_id, _, node = request_id.rpartition(_AT)
        if not own_id or not is_component_id(node) or not self._calls.knows(node):
            raise Refused(
                RefusalKind.NOT_FOUND,
                f"There is no such request; outcomes are kept for {REQUEST_RETENTION_S} s.",
            )
        told = await self._calls.ask_node(node, AskDeferred(tenant=tenant, request_id=own_id))
        return told.outcome
