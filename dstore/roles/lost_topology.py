"""A process of all roles that has lost its `topology.db`: that is made anew from control's store.

Where etcd was lost an operator says so, since somebody may be about to bring the right one back
(`service.control.recovery`). Here nobody but this process has ever written to the coordinator, and
what it has is in control's store beside it, or the node remembers it. So the recovery is ordered by
the start itself, unless one of the two is older than the other: what the node holds the store has
to know, and what the store calls in use the node has to hold, or it would make it anew, empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstore.base.logging import get_logger
from dstore.model.errors import Corrupt
from dstore.service.calls.key_calls import AskOfRange, Verdict
from dstore.service.control.status import RecoveryState
from dstore.service.control.verdicts import HoldingVerdicts
from dstore.storage.control import tables
from dstore.storage.control.opening import SQLITE_FILE
from dstore.storage.control.records import NodeUuid
from dstore.storage.table_records import NODE_FILE
from dstore.topology import keyspace as keys

if TYPE_CHECKING:
    from dstore.security.identity import Identity
    from dstore.service.control.control import Control
    from dstore.service.control.plane import ControlPlane
    from dstore.service.holdings import Holdings
    from dstore.topology.coordinator import Coordinator

TOPOLOGY_FILE: Final = "topology.db"
_log: Final = get_logger(__name__)


async def recovers_topology(
    control: Control,
    plane: ControlPlane,
    coordinator: Coordinator,
    *,
    node: Identity,
    holdings: Holdings,
) -> bool:
    """Order the recovery of a coordinator that is new, before control leads; safe to repeat.

    Returns: whether the coordinator is, or is about to be, made anew from the store, and the node
        has not been counted there yet.
    Raises: Corrupt: the coordinator is an older copy, or the store or the node's is; nothing was
        changed.
        Unavailable: the store or the coordinator.
    """
    report = await control.recovery.report()
    is_empty = (await coordinator.get(keys.PLANE.path)).kv is None
    if report.state is RecoveryState.NEEDED and not is_empty:
        raise Corrupt(
            f"{TOPOLOGY_FILE} is older than {SQLITE_FILE} beside it: put back all files of one and "
            f"the same day, or move {TOPOLOGY_FILE} away: it is made anew from {SQLITE_FILE} and "
            f"from what the node here remembers. Nothing was changed. ({report.why})",
            file=TOPOLOGY_FILE,
            where="published",
        )
    boot = keys.NodeBootPath(keys.ComponentId(node.uuid))
    is_counted = (await coordinator.get(boot.path)).kv is not None
    if is_counted or not (report.recoveries or report.state is RecoveryState.NEEDED):
        return False
    await _require_known(plane, node, holdings)
    await _require_held(plane, node, holdings)
    if report.state is RecoveryState.NEEDED:
        _log.warning("topology_lost", reason=report.why, ranges=report.ranges)
        await control.recovery.order(actor="")
    return True


async def _require_known(plane: ControlPlane, node: Identity, holdings: Holdings) -> None:
    """Refuse a store that knows less than the node holds. Raises: Corrupt."""
    verdicts = HoldingVerdicts(plane)
    for held in holdings.ranges.values():
        definition = holdings.table_of(held.range_id).definition
        asked = AskOfRange(
            tenant=definition.tenant,
            tenant_id=holdings.tenants[definition.tenant].record.tenant_id or "",
            table=definition.name,
            table_id=definition.table_id,
            created_at_us=definition.created_at_us,
            range_id=held.range_id,
            epoch=held.epoch,
        )
        if await verdicts.of_range(node, asked) is Verdict.UNKNOWN:
            raise Corrupt(
                f"{TOPOLOGY_FILE} is lost, and {SQLITE_FILE} is older than what the node here "
                "holds, so tables made since could not be used; put back all files of one and the "
                "same day. Nothing was changed.",
                file=SQLITE_FILE,
                where="ranges",
            )


async def _require_held(plane: ControlPlane, node: Identity, holdings: Holdings) -> None:
    """Refuse a node that lacks what the store says is in use there. Raises: Corrupt."""
    after = None
    while True:
        async with plane.store.snapshot() as tx:
            page = await tables.ranges_of_node(tx, NodeUuid(node.uuid), after=after)
            for lacked in [each for each in page.records if each.range_id not in holdings.ranges]:
                table = await tables.get_by_id(tx, lacked.table_id)
                if table is not None and table.status.is_held:
                    raise Corrupt(
                        f"{TOPOLOGY_FILE} is lost, and {NODE_FILE} is older than {SQLITE_FILE}, so "
                        "tables made since would be made anew, empty; put back all files of one "
                        "and the same day. Nothing was changed.",
                        file=NODE_FILE,
                        where="ranges",
                    )
        if page.after is None:
            return
        after = page.after
