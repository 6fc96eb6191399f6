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


async def act_as_leader(tx: Transaction, epoch: int) -> None:
    """Fence a transaction: after it, no older leader's transaction commits.

    A lease proves liveness, not leadership: a process that was stopped goes on with what it was
    doing. So whatever only the leader may write begins with this.

    Args:
        tx: a writing transaction.
        epoch: `topology.leadership.Leadership.epoch`, > 0.
    Raises: Refused(CONFLICT): a newer leader has written; give the leadership up.
    """
    changed = await tx.change(
        "UPDATE control_plane SET leader_epoch = $1 WHERE leader_epoch <= $1", epoch
    )
    if changed == 0:
        raise Refused(
            RefusalKind.CONFLICT, "Another control process leads by now; nothing was written."
        )


async def reset_leader(tx: Transaction) -> None:
    """Accept any leader again: after etcd was restored from a backup, by an operator's command."""
    await tx.change("UPDATE control_plane SET leader_epoch = 0")
