"""What control's store says of what a node holds: asked before the node destroys any of it.

Etcd shows what the store decides (ADR 0012), and may be an old copy of itself: what it lacks proves
nothing. The store may be one too, so what it lacks proves no more; only a deletion, or a replica
that is to leave, that is written down is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.model.status import ResourceStatus
from dstore.model.tables import TableId
from dstore.service.calls.key_calls import AskOfRange, AskOfTenant, Verdict
from dstore.service.control.deletions import table_task, tenant_task
from dstore.service.control.discards import is_discarded
from dstore.service.control.membership import find, require_admitted
from dstore.storage.control import splits, tables, tasks, tenants
from dstore.storage.control.records import HolderState, NodeUuid, RangeId, SplitState

if TYPE_CHECKING:
    from dstore.security.identity import Identity
    from dstore.service.control.plane import ControlPlane
    from dstore.storage.control.store import Transaction

_log: Final = get_logger(__name__)


class HoldingVerdicts:
    """Judges from the store, whichever control leads."""

    def __init__(self, plane: ControlPlane) -> None:
        """Work for an open control plane."""
        self._plane = plane

    async def of_range(self, node: Identity, asked: AskOfRange) -> Verdict:
        """Say whether a range is a node's.

        Raises: Refused(FORBIDDEN): the node was removed. Unavailable: the store.
        """
        async with self._plane.store.snapshot() as tx:
            require_admitted(await find(tx, node), node)
            verdict = await _of_range(tx, node, asked)
            if verdict is Verdict.UNKNOWN and await is_discarded(
                tx, NodeUuid(node.uuid), RangeId(asked.range_id)
            ):
                verdict = Verdict.GONE
        if verdict is not Verdict.HELD:
            _log.info("range_judged", peer=node.uri, range=asked.range_id, verdict=verdict)
        return verdict

    async def of_tenant(self, node: Identity, asked: AskOfTenant) -> Verdict:
        """Say whether there is a tenant. Raises: as `of_range`."""
        async with self._plane.store.snapshot() as tx:
            require_admitted(await find(tx, node), node)
            verdict = await _of_tenant(tx, asked)
        if verdict is not Verdict.HELD:
            _log.info("tenant_judged", peer=node.uri, tenant_id=asked.tenant_id, verdict=verdict)
        return verdict


async def _of_range(tx: Transaction, node: Identity, asked: AskOfRange) -> Verdict:
    table = await tables.get_by_id(tx, TableId(asked.table_id))
    if table is None:
        return Verdict.GONE if await _was_deleted(tx, asked) else Verdict.UNKNOWN
    if table.status is ResourceStatus.DELETING:
        return Verdict.GONE
    placed = await tables.get_range(tx, RangeId(asked.range_id))
    if placed is None or placed.table_id != table.table_id:
        return Verdict.GONE if await _was_split(tx, asked) else Verdict.UNKNOWN
    replica = await tables.get_replica(tx, placed.range_id, NodeUuid(node.uuid))
    if replica is None:  # a store that knows none may be older than what the node holds
        return Verdict.UNKNOWN
    return Verdict.GONE if replica.state is HolderState.LEAVING else Verdict.HELD


async def _was_split(tx: Transaction, asked: AskOfRange) -> bool:
    """Tell whether other ranges are in a range's place: they have all that it had."""
    split = await splits.get(tx, RangeId(asked.range_id))
    return split is not None and split.state is SplitState.DONE and split.table_id == asked.table_id


async def _was_deleted(tx: Transaction, asked: AskOfRange) -> bool:
    """Tell whether a table that is not there was deleted; tasks are kept for a while."""
    if await tasks.get(tx, table_task(TableId(asked.table_id))) is not None:
        return True
    if asked.tenant_id and await tasks.get(tx, tenant_task(asked.tenant_id)) is not None:
        return True
    namesake = await tables.get(tx, asked.tenant, asked.table)
    return namesake is not None and namesake.created_at_us > asked.created_at_us


async def _of_tenant(tx: Transaction, asked: AskOfTenant) -> Verdict:
    tenant = await tenants.get(tx, asked.tenant)
    if tenant is not None:
        is_same = tenant.uuid == asked.tenant_id
        is_there = is_same and tenant.status is not ResourceStatus.DELETING
        return Verdict.HELD if is_there else Verdict.GONE
    deleted = await tasks.get(tx, tenant_task(asked.tenant_id))
    return Verdict.UNKNOWN if deleted is None else Verdict.GONE
