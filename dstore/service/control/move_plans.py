"""Plans that an operator approves, and the tasks by which moves are followed: how they are kept."""

from __future__ import annotations

import hashlib
from dataclasses import astuple
from typing import TYPE_CHECKING, Final

import msgspec

from dstore.base.limits import PLAN_TOKEN_CHARS
from dstore.model.errors import Corrupt
from dstore.service.control.planner import Change, Why
from dstore.service.control.tasks import new_task
from dstore.storage.control import tasks
from dstore.storage.control.records import ComponentState, NodeUuid, TaskId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dstore.service.control.moves import Planned
    from dstore.service.control.realm import Realm
    from dstore.storage.control.records import TaskRecord
    from dstore.storage.control.store import Transaction

MOVE_REPLICAS: Final = "move_replicas"
APPLY_PLAN: Final = "apply_plan"
PLACEMENT: Final = "placement"  # the subject of both
OF_INTENT: Final[Mapping[ComponentState, str]] = {
    ComponentState.DRAINING: "drain_node",
    ComponentState.DECOMMISSIONING: "decommission_node",
}
KINDS: Final = frozenset({MOVE_REPLICAS, APPLY_PLAN, *OF_INTENT.values()})


class ApprovedChange(msgspec.Struct, frozen=True, array_like=True):
    """A change of a plan that an operator has approved, as a task keeps it."""

    range_id: str
    why: str
    add: str | None
    remove: str | None
    primary: str | None
    size_bytes: int

    @property
    def change(self) -> Change:
        """The change."""
        return Change(
            range_id=self.range_id,
            why=Why(self.why),
            add=self.add,
            remove=self.remove,
            primary=self.primary,
            size_bytes=self.size_bytes,
        )


def plan_token(found: Planned) -> str:
    """Name a plan: another one, or one of other nodes or other replicas, has another name.

    How large ranges are does not count, since they grow all the time.
    """
    outlook = found.outlook
    changed = {change.range_id for change in found.changes}
    told = (
        [
            (each.range_id, str(each.why), each.add, each.remove, each.primary)
            for each in found.changes
        ],
        sorted(
            (site.range_id, site.primary, site.factor, [astuple(each) for each in site.copies])
            for site in outlook.ranges
            if site.range_id in changed
        ),
        sorted(
            (each.node, each.zone, each.keeps, each.takes, each.leads) for each in outlook.nodes
        ),
    )
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:PLAN_TOKEN_CHARS]


def approval(changes: Sequence[Change]) -> str:
    """Write changes down for a task."""
    approved = [
        ApprovedChange(
            change.range_id,
            str(change.why),
            change.add,
            change.remove,
            change.primary,
            change.size_bytes,
        )
        for change in changes
    ]
    return msgspec.json.encode(approved).decode()


def approved(task: TaskRecord) -> tuple[Change, ...]:
    """Read the changes of a task. Raises: Corrupt: they are not such."""
    try:
        found = msgspec.json.decode(task.parameters, type=list[ApprovedChange])
        return tuple(each.change for each in found)
    except (ValueError, msgspec.MsgspecError):
        raise Corrupt(
            "A task of an approved plan can't be read; cancel it.",
            file="control",
            where=f"task {task.id}",
        ) from None


async def add_task(
    tx: Transaction, realm: Realm, kind: str, *, subject: str, parameters: str = "{}"
) -> TaskRecord:
    """Have moves followed, unless a task of the kind does so for the subject. Returns: the task."""
    task = new_task(
        TaskId(f"{kind}-{realm.entropy.uuid()}"),
        kind,
        subject=subject,
        parameters=parameters,
        now_us=realm.clock.wall_us(),
    )
    return await tasks.add(tx, task)


async def end_tasks(tx: Transaction, realm: Realm, node: NodeUuid, *, but: str = "") -> None:
    """Follow no longer what was said of a node before."""
    for kind in OF_INTENT.values():
        if kind != but:
            for task in await tasks.unfinished_of(tx, kind):
                if task.subject == str(node):
                    await tasks.cancel(tx, task.id, now_us=realm.clock.wall_us())
