"""The control plane's own row, and the fence that keeps a deposed leader from writing."""

from __future__ import annotations

from typing import Final

from dstore.model.errors import RefusalKind, Refused
from dstore.storage.control.records import ControlPlaneRecord
from dstore.storage.control.relation import Relation
from dstore.storage.control.store import Transaction

_PLANES: Final = Relation(
    ControlPlaneRecord, "control_plane", key=("uuid",), noun="The control plane"
)


async def get(tx: Transaction) -> ControlPlaneRecord | None:
    """Read it; None in a new store."""
    return await _PLANES.find(tx)


async def create(tx: Transaction, plane: ControlPlaneRecord) -> ControlPlaneRecord:
    """Write it, unless another control was first. Returns: the one that holds."""
    await _PLANES.insert_new(tx, plane)
    found = await get(tx)
    assert found is not None
    return found


async def update(tx: Transaction, plane: ControlPlaneRecord) -> None:
    """Write it anew: keys sealed again, another CA. Raises: Refused(NOT_FOUND)."""
    await _PLANES.update(tx, plane)


async def act_as_leader(tx: Transaction, epoch: int, *, recoveries: int = 0) -> None:
    """Fence a transaction: after it, no older leader's transaction commits.

    A lease proves liveness, not leadership: a process that was stopped goes on with what it was
    doing. So whatever only the leader may write begins with this.

    Args:
        tx: a writing transaction.
        epoch: `topology.leadership.Leadership.epoch`, > 0.
        recoveries: how many the leader knows of; epochs of the coordinator before one are not
            comparable with those behind it.
    Raises: Refused(CONFLICT): a newer leader has written; give the leadership up.
    """
    changed = await tx.change(
        "UPDATE control_plane SET leader_epoch = $1 WHERE leader_epoch <= $1 AND recoveries = $2",
        epoch,
        recoveries,
    )
    if changed == 0:
        raise Refused(
            RefusalKind.CONFLICT, "Another control process leads by now; nothing was written."
        )


async def begin_recovery(tx: Transaction, *, after: int) -> None:
    """Note that the topology is to be recovered once more, and raise every range's epoch with it.

    From here on leaders of before are refused, whatever their epoch, and those of a coordinator
    whose revisions are lower are not. Every replica takes the range's new epoch for newer than all
    that was ever shown (REPLICATION.md).

    Args:
        tx: a writing transaction.
        after: how many recoveries there were when this was decided.
    Raises: Refused(CONFLICT): somebody else had it recovered meanwhile, or it is being recovered.
    """
    changed = await tx.change(
        "UPDATE control_plane SET recoveries = recoveries + 1, leader_epoch = 0 "
        "WHERE recoveries = $1 AND recovered = $1",
        after,
    )
    if changed == 0:
        raise Refused(
            RefusalKind.CONFLICT, "The topology is being recovered already, or was meanwhile."
        )
    await tx.change("UPDATE table_range SET epoch = epoch + 1")


async def end_recovery(tx: Transaction, *, recoveries: int) -> None:
    """Note that the coordinator shows everything, as of this recovery."""
    await tx.change(
        "UPDATE control_plane SET recovered = $1 WHERE recoveries = $1 AND recovered < $1",
        recoveries,
    )
